"""A user changed what the agent had made, or refused it."""

from collections.abc import Sequence

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, given
from otel_eval.traces.view import TraceView


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """The application says so; or Claude Code: a tool use that the user rejected."""
    return given(view, "edit")
