"""A model declined: by its finish reason, by a refusal that the provider marked, or by how it speaks."""

import re
from collections.abc import Sequence
from typing import Final

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, because
from otel_eval.traces.records import Refusal
from otel_eval.traces.view import TraceView

_REASONS: Final = frozenset({"refusal", "content_filter"})
_PHRASES: Final = re.compile(
    r"\s*((i['\u2019]?m|i am) (very |really |so )?sorry|i apologi[sz]e|sorry|unfortunately|as an ai\b[^.,]{0,40})?[,.]?"
    r"\s*(but)?\s*i(['\u2019]m| am)? ?"
    r"(can['\u2019]?t|cannot|can not|won['\u2019]?t|will not|unable to|not able to|must decline|have to decline)"
    r" ?(to )?(help|assist|comply|fulfil|provide|support|discuss|do that|answer that|engage|create|generate|with)",
    re.IGNORECASE,
)


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """The phrase is a weak sign: it counts only where the answer begins with it."""
    for call in view.model_calls:
        reason = next((reason for reason in call.finish_reasons if reason in _REASONS), None)
        if reason is not None:
            return because(f"finish reason {reason}", call.span_id)
        if any(isinstance(part, Refusal) for message in call.output_messages for part in message.parts):
            return because(f"refused: {call.output_text}", call.span_id)
        if _PHRASES.match(call.output_text[:500]):
            return because(f"says: {call.output_text}", call.span_id)
    return None
