"""A user liked the answer."""

from collections.abc import Sequence

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, given
from otel_eval.traces.view import TraceView


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """The first thumb that points up, or an answer that was accepted."""
    return given(view, "thumbs", positive=True) or given(view, "accept")
