"""A user asked for the same again."""

from collections.abc import Sequence

from otel_eval.sampling.sessions import Turn, is_continuation, normalised
from otel_eval.sampling.signals.signal import Signal, because, given
from otel_eval.traces.view import TraceView


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """The application says so, or the session's last turn had the same text."""
    reported = given(view, "regenerate")
    if reported is not None or not earlier or not view.user_input or is_continuation(view):
        return reported
    same = normalised(view.user_input) == earlier[-1].user_text
    return because(f"same text as in trace {earlier[-1].trace_id}") if same else None
