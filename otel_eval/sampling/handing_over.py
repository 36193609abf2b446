"""Giving chosen traces, and sessions that have gone quiet, to the judges."""

import math
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from otel_eval.sampling.ledger import MINUTE_NS, Decided
from otel_eval.sampling.sessions import Turn
from otel_eval.traces.entry import Entry, Trigger
from otel_eval.traces.retrieval import Requests, Stored
from otel_eval.traces.table import TraceTable

_GONE: Final = Stored([], [], whole=False)


class Judges(Protocol):
    """Who judges. What was given once may be given again after a crash, and is judged once."""

    @property
    def wants_sessions(self) -> bool:
        """Whether anybody judges whole sessions."""
        ...

    async def judge(self, decided: Decided, traces: Sequence[Stored], *, session: bool = False) -> None:
        """Take the last of these traces, or all of them as one session; returns when that is durable."""
        ...

    def pressure(self) -> int:
        """How much of the judges' budget is used, as a level up to 100."""
        ...


class HandingOver:
    """What waits to be given to the judges: decisions by trace id, `waiting`, which is part of the checkpoint."""

    def __init__(self, judges: Judges | None, requests: Requests, table: TraceTable, waiting: dict[bytes, Decided]) -> None:
        self._judges = judges
        self._requests = requests
        self._table = table
        self._sessions: list[tuple[Decided, list[bytes]]] = []
        self.waiting = waiting

    @property
    def pressure(self) -> int:
        """The level of the judges' budget."""
        return self._judges.pressure() if self._judges is not None else 0

    def put(self, decided: Decided, *, again: bool) -> None:
        """A decision was made; `again`: an earlier one had chosen the trace. Then only what came late is judged anew."""
        if self._judges is not None and decided.chosen and (not again or decided.trigger is Trigger.LATE):
            self.waiting[decided.trace_id] = decided

    def put_sessions(self, sessions: Iterable[Sequence[Turn]]) -> None:
        """Nothing came in these sessions for a while; those with a chosen trace and several turns are judged."""
        if self._judges is not None and self._judges.wants_sessions:
            for turns in sessions:
                traces = [bytes.fromhex(turn.trace_id) for turn in turns]
                entries = [entry for entry in map(self._table.get, traces) if entry is not None]
                if len(turns) > 1 and any(entry.chosen for entry in entries):
                    self._sessions.append((_decided(traces[-1], entries), traces))

    async def give(self) -> None:
        """Give everything that waits. While the judges' queue is full this waits too."""
        while self._judges is not None and self.waiting:
            trace_id, decided = next(iter(self.waiting.items()))
            await self._judges.judge(decided, [await self._stored(trace_id)])
            if self.waiting.get(trace_id) is decided:
                del self.waiting[trace_id]
        while self._judges is not None and self._sessions:
            decided, traces = self._sessions[0]
            stored = [await self._stored(trace_id) for trace_id in traces]
            await self._judges.judge(decided, stored, session=True)
            del self._sessions[0]

    async def _stored(self, trace_id: bytes) -> Stored:
        entry = self._table.get(trace_id)
        return _GONE if entry is None else await self._requests.retrieve(trace_id, entry)


def _decided(last: bytes, entries: Sequence[Entry]) -> Decided:
    """The decision for a session that ends with that trace: it is judged when any is chosen, each by its own number."""
    pi = 1.0 - math.prod(1.0 - entry.pi for entry in entries)
    return Decided(
        trace_id=last,
        time_ns=entries[-1].decided_ns,
        revision=0,
        trigger=Trigger.IDLE,
        pi=pi,
        own_pi=pi,
        wanted=pi,
        r=0,
        r_source="session",
        chosen=True,
        policy="session",
        rates={"session": pi},
        minute=entries[-1].decided_ns // MINUTE_NS,
    )
