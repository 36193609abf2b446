"""A guardrail was hit."""

import re
from collections.abc import Sequence
from typing import Final

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, because
from otel_eval.traces.view import TraceView

_TYPES: Final = re.compile(r"guardrail|tripwire|content_?policy|blocked_?prompt", re.IGNORECASE)


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """A guardrail that did not pass, or an error that names one."""
    hit = next((guardrail for guardrail in view.guardrails if guardrail.passed is False), None)
    if hit is not None:
        return because(hit.name, hit.span_id)
    error = next((error for error in view.errors if _TYPES.search(error.type or "")), None)
    return None if error is None else because(error.type, error.span_id)
