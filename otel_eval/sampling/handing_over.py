"""Giving chosen traces, and sessions that have gone quiet, to the judges."""

import asyncio
import math
import time
from collections.abc import Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol

import structlog

from otel_eval.errors import OtelEvalError
from otel_eval.sampling.ledger import MINUTE_NS, Decided
from otel_eval.sampling.sessions import Turn
from otel_eval.traces.entry import Entry, Trigger
from otel_eval.traces.retrieval import Requests, Stored
from otel_eval.traces.table import TraceTable

_log = structlog.get_logger(__name__)

_GONE: Final = Stored([], [], whole=False)
_TOGETHER: Final = 8
"""So many are given at once: one write to disk takes them all."""

_RETRY_S: Final = 1.0

Session = tuple[Decided, list[bytes]]
"""The decision for a session that has gone quiet, and its traces."""


class Judges(Protocol):
    """Who judges. What was given once may be given again after a crash, and is judged once."""

    @property
    def wants_sessions(self) -> bool:
        """Whether anybody judges whole sessions."""
        ...

    async def judge(self, decided: Decided, traces: Sequence[Stored], *, session: bool = False) -> None:
        """Take the last of these traces, or all of them as one session; returns when that is durable.

        Raises RetryableError while there is no room.
        """
        ...

    async def drop(self, decided: Decided) -> None:
        """Put down that a trace is not judged, since there was no room for too long. Raises RetryableError."""
        ...

    def pressure(self) -> int:
        """How much of the judges' budget or room is used, as a level up to 100."""
        ...


class HandingOver:
    """What waits to be given to the judges, all of it part of the checkpoint: decisions by trace id, and `sessions`.

    Nothing else waits for the judges: while they have no room a trace waits here for as long as it is remembered.
    """

    def __init__(
        self,
        judges: Judges | None,
        requests: Requests,
        table: TraceTable,
        waiting: dict[bytes, Decided],
        sessions: list[Session],
    ) -> None:
        self._judges = judges
        self._requests = requests
        self._table = table
        self._entries = {trace_id: entry for trace_id in waiting if (entry := table.get(trace_id)) is not None}
        self._again_at = 0.0
        self._told = False
        self.waiting = waiting
        self.sessions = sessions

    @property
    def pressure(self) -> int:
        """The level of the judges' budget or room."""
        return self._judges.pressure() if self._judges is not None else 0

    def put(self, decided: Decided, *, again: bool) -> None:
        """A decision was made; `again`: an earlier one had chosen the trace. Then only what came late is judged anew."""
        if self._judges is not None and decided.chosen and (not again or decided.trigger is Trigger.LATE):
            self.waiting[decided.trace_id] = decided
            if (entry := self._table.get(decided.trace_id)) is not None:
                self._entries[decided.trace_id] = entry  # the table may forget it soon

    def put_sessions(self, sessions: Iterable[Sequence[Turn]]) -> None:
        """Nothing came in these sessions for a while; those with a chosen trace and several turns are judged."""
        if self._judges is not None and self._judges.wants_sessions:
            for turns in sessions:
                traces = [bytes.fromhex(turn.trace_id) for turn in turns]
                entries = [entry for entry in map(self._table.get, traces) if entry is not None]
                if len(turns) > 1 and any(entry.chosen for entry in entries):
                    self.sessions.append((_decided(traces[-1], entries), traces))

    async def give(self) -> None:
        """Give what waits, as long as the judges have room."""
        if self._judges is None or time.monotonic() < self._again_at:
            return
        try:
            while self.waiting:
                await _all(self._give(self._judges, one) for one in list(islice(self.waiting.values(), _TOGETHER)))
            while self.sessions:
                await self._give_session(self._judges, *self.sessions[0])
                del self.sessions[0]
            self._told = False
        except OtelEvalError as error:
            self._again_at = time.monotonic() + _RETRY_S
            if not self._told:
                _log.warning(
                    "chosen traces wait for room for their judging",
                    traces=len(self.waiting),
                    sessions=len(self.sessions),
                    reason=str(error),
                )
                self._told = True

    async def _give(self, judges: Judges, decided: Decided) -> None:
        trace_id = decided.trace_id
        stored = await self._stored(trace_id)
        try:
            if stored is not _GONE:
                await judges.judge(decided, [stored])
        except OtelEvalError:
            if self._table.get(trace_id) is not None:
                raise
            stored = _GONE
        if stored is _GONE:
            await judges.drop(decided)
        if self.waiting.get(trace_id) is decided:
            del self.waiting[trace_id]
            self._entries.pop(trace_id, None)

    async def _give_session(self, judges: Judges, decided: Decided, traces: Sequence[bytes]) -> None:
        stored = [await self._stored(trace_id) for trace_id in traces]
        try:
            await judges.judge(decided, stored, session=True)
        except OtelEvalError:
            if any(self._table.get(trace_id) is not None for trace_id in traces):
                raise  # else nobody waits for it: it is one score more for traces that have an end of their own

    async def _stored(self, trace_id: bytes) -> Stored:
        entry = self._entries.get(trace_id) or self._table.get(trace_id)
        return _GONE if entry is None else await self._requests.retrieve(trace_id, entry)


async def _all(giving: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Each to its end, then the first error."""
    for outcome in await asyncio.gather(*giving, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


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
