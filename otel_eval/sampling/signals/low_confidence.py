"""A model was not sure: low log-probabilities, which only raw responses hold, or what the application says."""

from collections.abc import Sequence
from typing import Final

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, because
from otel_eval.traces.values import number
from otel_eval.traces.view import TraceView

MIN_MEAN_LOGPROB: Final = -0.5
"""A mean token log-probability below this (a token probability of about 0.6) is low."""

MIN_CONFIDENCE: Final = 0.5
"""`otel_eval.signal.confidence` below this is low."""


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """Without log-probabilities the confidence is unknown, and nothing fires."""
    for span in view.spans:
        if "otel_eval.signal.confidence" in span.attributes:
            confidence = number(span.get("otel_eval.signal.confidence"))
            if confidence is not None and confidence < MIN_CONFIDENCE:
                return because(f"confidence {confidence:.2f}", span.span_id, confidence)
    for call in view.model_calls:
        if call.mean_logprob is not None and call.mean_logprob < MIN_MEAN_LOGPROB:
            return because(f"mean token log-probability {call.mean_logprob:.2f}", call.span_id, call.mean_logprob)
    return None
