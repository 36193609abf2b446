"""A model stopped because it had no tokens left."""

from collections.abc import Sequence

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, because
from otel_eval.traces.view import TraceView


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """The finish reason is length, in any spelling."""
    call = next((call for call in view.model_calls if "length" in call.finish_reasons), None)
    return None if call is None else because("finish reason length", call.span_id)
