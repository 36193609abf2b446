"""The spans that are held back now, and those that were; see the package docstring."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
import xxhash
from msgspec import Struct
from msgspec.structs import replace

from otel_eval.config.models import Emit
from otel_eval.errors import RetryableError
from otel_eval.holding.records import Cut, Mark, Released, Root, decode, encode, held
from otel_eval.journal import RELEASED, Journal, Record
from otel_eval.records import Kind, OwnKind
from otel_eval.telemetry import Metrics
from otel_eval.wire import edit, lens

_log = structlog.get_logger(__name__)

MAX_WAITING: Final = 50_000
_SHARE: Final = 16
_MAX_GONE: Final = 10_000
"""Of so many traces it is remembered how their roots have gone on: a judgement is published again soon, or never."""
_TICK_S: Final = 0.1
_TURN: Final = 50

Change = Callable[[bytes, bytes], bytes]
"""Gives the bytes with which a span goes on, from its id and the bytes that came."""


class _Trace(Struct):
    """The roots of a trace that wait, by span id, with the position of the record that they are in."""

    deadline_ns: int
    roots: dict[bytes, int]


def unchanged(_span_id: bytes, raw: bytes) -> bytes:
    """The span goes on as it came."""
    return raw


class HeldSpans:
    """Use from one event loop: `hold`, then `release`, while `run` works; `close` lets all go on that still wait.

    `saved` is the position from which the next start observes the log, `remembers` says which traces may still be read.
    """

    def __init__(self, journal: Journal, metrics: Metrics, emit: Emit) -> None:
        self._journal = journal
        self._metrics = metrics
        self._log = journal.logs[OwnKind.HELD]
        self._traces = journal.logs[Kind.TRACES]
        self._timeout_ns = round(emit.hold_timeout * 1e9) if emit.mode == "hold" else 0
        self._open = emit.mode == "hold"
        self.saved = self._log.end
        self.remembers: Callable[[bytes], bool] = lambda _: False
        self._waiting: dict[bytes, _Trace] = {}
        self._records: deque[tuple[int, bytes]] = deque()  # positions, with the trace
        self._positions: dict[bytes, list[int]] = {}  # by trace
        self._unmarked: list[tuple[int, Mark]] = []  # with the position in the log `traces`
        self._marking = asyncio.Lock()
        self._gone: dict[bytes, dict[bytes, int]] = {}  # checksums by trace and span
        self._restore()
        self._log.holders.append(self._needed)
        self._traces.holders.append(lambda: self._unmarked[0][0] if self._unmarked else None)
        metrics.gauge("judging_spans_held", lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """How many spans wait."""
        return sum(len(trace.roots) for trace in self._waiting.values())

    @property
    def end(self) -> int:
        """The position behind what is written."""
        return self._log.end

    def has_room(self, size: int) -> bool:
        """Whether spans of so many bytes may be held."""
        self._needed()  # forgets what is not
        budget = self._journal.budget
        kept = self._log.end - (self._records[0][0] if self._records else self._log.end)
        fits = kept + size <= budget.limit // _SHARE and budget.used + 3 * size <= budget.limit * 3 // 4
        return self._open and fits and len(self._waiting) < MAX_WAITING

    def hold(self, cut: Cut) -> tuple[Record, Cut]:
        """Write down what is cut out of a request, before its rest is journaled. Raises RetryableError without room."""
        cut = replace(cut, traces_end=self._traces.end, marked=self._marked(0))
        record = self._journal.append(OwnKind.HELD, encode(cut), len(cut.roots))
        self._keep(record, cut)
        return record, cut

    def roots(self, trace_id: bytes) -> list[bytes]:
        """The ids of the spans of a trace that were held back, in the order in which they came."""
        cuts = filter(None, map(self._read, self._positions.get(trace_id, ())))
        return [root.span_id for cut in cuts for root in cut.roots]

    def groups(self, trace_id: bytes) -> list[lens.Group]:
        """What came of a trace and was held back, whether it has gone on or not."""
        found = []
        for position in self._positions.get(trace_id, ()):
            cut = self._read(position)
            found += [group for _, group in held(cut)] if cut is not None else []
        return found

    def release(self, trace_id: bytes, reason: str, change: Change = unchanged) -> set[bytes]:
        """Let the roots of a trace that wait go on as `change` makes them; raises RetryableError while there is no room.

        Gives the ids of those that have gone on like that, now or before.
        """
        earlier = self._gone.get(trace_id, {})
        same = {span_id for span_id in earlier if self._checksum(Root(trace_id, span_id), change) == earlier[span_id]}
        trace = self._waiting.get(trace_id)
        while trace is not None and trace.roots:
            span_id, position = next(iter(trace.roots.items()))
            root = Root(trace_id, span_id)
            body = self._request(position, root, change)
            if body is None:
                _log.error("a span that was held back is lost: the journal is damaged", position=position)
            else:
                record = self._journal.append(Kind.TRACES, body, 1, RELEASED)
                mark = Mark(root, xxhash.xxh3_64_intdigest(body))
                self._unmarked.append((record.position, mark))
                self._remember(mark)
                same.add(span_id)
                self._metrics.counter("judging_spans_released", reason=reason).add()
            del trace.roots[span_id]
        self._waiting.pop(trace_id, None)
        return same

    async def run(self) -> None:
        """Let go on what has waited for too long, until cancelled."""
        while True:
            with contextlib.suppress(RetryableError):  # the journal is full and has said so
                await self.work(self._journal.clock.now())
            await asyncio.sleep(_TICK_S)

    async def work(self, now: int, reason: str = "timeout") -> None:
        """Release what is over its time by `now`, and mark what was released. Raises RetryableError without room."""
        overdue = []
        for trace_id, trace in self._waiting.items():  # in the order of their deadlines
            if trace.deadline_ns > now:
                break
            overdue.append(trace_id)
        for turn, trace_id in enumerate(overdue, 1):
            self.release(trace_id, reason)
            if turn % _TURN == 0:
                await asyncio.sleep(0)
        await self._mark()

    async def close(self) -> None:
        """Hold nothing any more: all that waits goes on, unscored."""
        self._open = False
        try:
            await self.work(2**63, "shutdown")
        except RetryableError as error:
            _log.warning("spans that are held back wait for the next start", spans=self.waiting, reason=str(error))

    async def _mark(self) -> None:
        async with self._marking:
            marks = [mark for _, mark in self._unmarked]
            if marks:
                await self._journal.durable()  # or a power failure could take the release, and leave its mark
                body = encode(Released(tuple(marks), self._marked(len(marks))))
                self._journal.append(OwnKind.HELD, body, len(marks))
                del self._unmarked[: len(marks)]

    def _marked(self, besides: int) -> int:
        """Up to where all releases are marked, once that many more are."""
        return self._unmarked[besides][0] if len(self._unmarked) > besides else self._traces.end

    def _keep(self, record: Record, cut: Cut) -> None:
        for trace_id, span_id in cut.roots:
            trace = self._waiting.setdefault(trace_id, _Trace(record.time_ns + self._timeout_ns, {}))
            trace.roots[span_id] = record.position
        for trace_id in {root.trace_id for root in cut.roots}:
            self._positions.setdefault(trace_id, []).append(record.position)
            self._records.append((record.position, trace_id))

    def _remember(self, mark: Mark) -> None:
        self._gone.setdefault(mark.root.trace_id, {})[mark.root.span_id] = mark.checksum
        if len(self._gone) > _MAX_GONE:
            del self._gone[next(iter(self._gone))]

    def _restore(self) -> None:
        """Learn from the log what waits, and from the last requests what has gone on and is not marked."""
        marked = 0
        for _, record in self._journal.records(OwnKind.HELD, self._log.start):
            found = decode(record.body)
            if isinstance(found, Cut):
                self._keep(record, found)
            for mark in found.marks if isinstance(found, Released) else ():
                self._went(mark)
            marked = found.marked if found is not None else marked
        if self._waiting and marked < self._traces.end:
            for _, record in self._journal.records(Kind.TRACES, max(marked, self._traces.start)):
                if record.flags & RELEASED:
                    self._find(record)
        if self._waiting:
            _log.info("spans are held back since before the start", spans=self.waiting)

    def _find(self, record: Record) -> None:
        body = bytes(record.body)
        span = lens.span(next(lens.items(body)))
        mark = Mark(Root(span.trace_id, span.span_id), xxhash.xxh3_64_intdigest(body))
        if self._went(mark):
            self._unmarked.append((record.position, mark))

    def _went(self, mark: Mark) -> bool:
        """It has gone on; False when that was known."""
        trace = self._waiting.get(mark.root.trace_id)
        if trace is None or trace.roots.pop(mark.root.span_id, None) is None:
            return False
        if not trace.roots:
            del self._waiting[mark.root.trace_id]
        self._remember(mark)
        return True

    def _checksum(self, root: Root, change: Change) -> int | None:
        bodies = (self._request(position, root, change) for position in self._positions.get(root.trace_id, ()))
        return next((xxhash.xxh3_64_intdigest(body) for body in bodies if body is not None), None)

    def _request(self, position: int, root: Root, change: Change) -> bytes | None:
        """The request with which a root goes on, None when it is not in the record there."""
        cut = self._read(position)
        for one, group in held(cut) if cut is not None else ():
            if one == root:
                return edit.assemble([group._replace(items=[change(root.span_id, group.items[0])])])
        return None

    def _read(self, position: int) -> Cut | None:
        records = self._log.read(position, 1).records
        found = decode(records[0].body) if records and records[0].position == position else None
        return found if isinstance(found, Cut) else None

    def _needed(self) -> int:
        """The lowest position of the log that is needed; what only a remembered trace needs may take half of the share."""
        most = self._journal.budget.limit // _SHARE // 2
        while self._records and self._records[0][0] < self.saved:  # a start may not have observed the others yet
            position, trace_id = self._records[0]
            wanted = self._log.end - position <= most and self.remembers(trace_id)
            if wanted or self._waiting_at(trace_id, position):
                return position
            self._records.popleft()
            self._forget(trace_id, position)
        return self.saved

    def _waiting_at(self, trace_id: bytes, position: int) -> bool:
        trace = self._waiting.get(trace_id)
        return trace is not None and position in trace.roots.values()

    def _forget(self, trace_id: bytes, position: int) -> None:
        positions = self._positions[trace_id]
        positions.remove(position)
        if not positions:
            del self._positions[trace_id]
