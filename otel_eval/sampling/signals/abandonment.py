"""A user went away: the answer was stopped, or the application says so.

That nobody answered a question of the agent can only be told later: see `SessionMemory.abandoned`.
"""

from collections.abc import Sequence

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, because, given
from otel_eval.traces.view import TraceView


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """A cancelled model call, or feedback of this kind."""
    reported = given(view, "abandon")
    cancelled = next((call for call in view.model_calls if call.cancelled), None)
    return reported if reported is not None or cancelled is None else because("cancelled", cancelled.span_id)
