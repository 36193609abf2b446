"""What the policies decide about recorded traces.

Each trace is decided once, as if it had come at its end, with all that was recorded of it and says of it. What a hop finds
out later is left out: that the user of a trace asked again, or did not answer.
"""

from collections.abc import Iterable, Iterator

from otel_eval.config.sampling import Sampling
from otel_eval.sampling.cap import Cap
from otel_eval.sampling.deciding import Decider, Draft
from otel_eval.sampling.ledger import MINUTE_NS, Decided
from otel_eval.sampling.randomness import IdCheck
from otel_eval.sampling.sessions import SessionMemory
from otel_eval.traces.entry import Entry, Trigger
from otel_eval.traces.view import TraceView


class Recorded:
    """Decides about traces that come in the order in which they ended. Raises ConfigError for policies that cannot work.

    Views that name no trace, or are nothing but feedback, have no decision. With a cap, decisions wait for the end of its
    window; `finish` gives the last ones.
    """

    def __init__(self, config: Sampling) -> None:
        self._decider = Decider(config, {}, SessionMemory(), IdCheck())
        self._cap = Cap(config.cap, {}) if config.cap is not None else None
        self._waiting: list[Draft] = []
        self._window_ns = 0
        self._minute = 0

    def decide(self, view: TraceView) -> Iterator[Decided]:
        """The decisions that are due with this trace; one that ended a little before the last one counts with that."""
        if not view.trace_id:
            return
        if (now := view.end_ns // MINUTE_NS) > self._minute:
            self._minute = now
            self._decider.roll(now)
        entry = Entry(view.start_ns, view.end_ns, due_ns=view.end_ns, complete=True, trigger=Trigger.ROOT)
        found = self._decider.look(bytes.fromhex(view.trace_id), entry, view, whole=True)
        if found is None:
            return
        draft = found.draft
        if self._cap is None or not draft.decided.wanted:
            yield draft.final(draft.decided.wanted, chosen=draft.u <= draft.decided.wanted)
            return
        if (begun := view.end_ns - view.end_ns % self._cap.window_ns) > self._window_ns:
            yield from self.finish()
            self._window_ns = begun
        self._waiting.append(draft)

    @property
    def waits(self) -> bool:
        """Whether decisions wait."""
        return bool(self._waiting)

    def finish(self) -> Iterator[Decided]:
        """The decisions that wait."""
        waiting, self._waiting = self._waiting, []
        if self._cap is not None and waiting:
            resolved = self._cap.choose([draft.candidate for draft in waiting], self._window_ns)
            for draft, result in zip(waiting, resolved, strict=True):
                yield draft.final(result.probability, chosen=result.chosen)


def decide(config: Sampling, views: Iterable[TraceView]) -> Iterator[Decided]:
    """The decisions about these traces, which have been joined, in the order in which they ended; a cap's by its windows.

    Raises ConfigError for policies that cannot work.
    """
    recorded = Recorded(config)
    for view in sorted((view for view in views if view.trace_id), key=lambda view: view.end_ns):
        yield from recorded.decide(view)
    yield from recorded.finish()
