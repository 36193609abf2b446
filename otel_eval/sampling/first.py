"""The first decision about a trace, made when its root comes, and cutting the roots of chosen traces out of their request.

Its rate is a lower bound of the trace's probability: the decision at the end of the quiet period only raises it. It is
written down before anything else is done with the request (see `holding`), for the traces that are not chosen too, so
that a restart does not come to another one. A trace has one first decision, by the first local root that comes; one that was
decided without its root (idle, evicted) has none, and its root is not held.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from otel_eval.holding import Cut, First, HeldSpans
from otel_eval.holding.records import Root
from otel_eval.journal import Record
from otel_eval.records import Kind
from otel_eval.sampling.deciding import Decider
from otel_eval.telemetry import Metrics
from otel_eval.traces.retrieval import Requests, Stored, taken_apart
from otel_eval.traces.table import TraceTable
from otel_eval.wire import edit, lens
from otel_eval.wire.check import Arrival, Inspection, LocalRoot, local_roots

_log = structlog.get_logger(__name__)

MAX_ROOTS: Final = 16
"""So many local roots of one trace are held; the others go on at once."""

_THREAD_FROM_BYTES: Final = 1 << 20
_THREAD_FROM_ITEMS: Final = 300
_MAX_GROWTH: Final = 4
_SMALL: Final = 1 << 20
"""Each span goes on with its resource: together they may be four times the size of their request, or 1 MiB."""
_EMPTY: Final = Stored([], [], whole=True)


class FirstDecisions:
    """See the module docstring. `cut` for each request before it is journaled, `observe` for what is read again."""

    def __init__(self, table: TraceTable, requests: Requests, decider: Decider, held: HeldSpans, metrics: Metrics) -> None:
        self._table = table
        self._requests = requests
        self._decider = decider
        self._held = held
        self._metrics = metrics

    async def cut(self, found: Inspection, body: bytes) -> tuple[Inspection, bytes]:
        """Decide about the traces whose root is in a request, and give what of it is to be journaled: all but what is held.

        Raises RetryableError while there is no room in the journal. What was held until then is known when it comes again.
        """
        roots = await asyncio.to_thread(local_roots, body) if len(body) >= _THREAD_FROM_BYTES else local_roots(body)
        request = taken_apart(body)
        firsts: dict[bytes, First] = {}
        for trace_id in dict.fromkeys(root.trace_id for root in roots):
            if self._is_new(trace_id):
                try:
                    firsts[trace_id] = await self._decide(trace_id, request.of(trace_id))
                except Exception as error:  # noqa: BLE001 - what is looked at must never keep requests out
                    _log.error("a first decision failed unexpectedly", trace_id=trace_id.hex(), exc_info=error)
                await asyncio.sleep(0)
        # Nothing is waited for from here on: another request may have brought the same root in the meantime.
        return self._journal(found, body, roots, {one: first for one, first in firsts.items() if self._is_new(one)})

    async def _decide(self, trace_id: bytes, new: Sequence[lens.Group]) -> First:
        entry = self._table.get(trace_id)
        known = _EMPTY if entry is None else await self._requests.retrieve(trace_id, entry)
        stored = known._replace(spans=[*known.spans, *new])
        heard = () if entry is None else entry.heard
        if sum(len(group.items) for group in (*stored.spans, *stored.logs)) >= _THREAD_FROM_ITEMS:
            return await asyncio.to_thread(self._decider.first, trace_id, stored, heard)
        return self._decider.first(trace_id, stored, heard)

    def observe(self, record: Record, cut: Cut) -> None:
        """What was cut out of a request has been journaled."""
        self._table.advance(record.time_ns)
        counts = Counter(root.trace_id for root in cut.roots)
        for trace_id in dict.fromkeys((*(first.trace_id for first in cut.firsts), *counts)):
            # It stands where its request does, in which it is not.
            self._table.observe(Kind.TRACES, trace_id, counts[trace_id], True, cut.traces_end, cut.traces_end, record.time_ns)
        for first in cut.firsts:
            entry = self._table.get(first.trace_id)
            if entry is not None and not entry.decided_ns:
                entry.first, entry.holds, entry.chosen = True, first.holds, first.chosen
                entry.pi, entry.r, entry.r_source = first.rate, first.r, first.r_source
        for trace_id, span_id in cut.roots:
            entry = self._table.get(trace_id)
            if entry is not None:
                entry.held = (*entry.held, span_id)

    def _journal(
        self, found: Inspection, body: bytes, roots: Sequence[LocalRoot], firsts: Mapping[bytes, First]
    ) -> tuple[Inspection, bytes]:
        wanted, repeated = self._sorted(roots, firsts)
        alone = edit.pick(body, {root.position for root in wanted}) if wanted else {}
        size = sum(map(edit.size_alone, alone.values()))
        if wanted and not (size <= max(_MAX_GROWTH * len(body), _SMALL) and self._held.has_room(size)):
            self._metrics.counter("judging_spans_released", reason="full").add(len(wanted))
            firsts = {first.trace_id: replace(first, holds=False) for first in (*self._again(wanted), *firsts.values())}
            wanted = []
        self._write(wanted, alone, dict(firsts))
        gone = [*wanted, *repeated]
        if not gone:
            return found, body
        if repeated:
            self._metrics.counter("judging_spans_repeated").add(len(repeated))
        positions = {root.position for root in gone}
        left = {root.trace_id for root in roots if root.position not in positions}
        rest = Inspection(found.items - len(gone), found.invalid, _besides(found.arrivals, gone, left))
        return rest, edit.drop(body, positions)

    def _write(self, wanted: Iterable[LocalRoot], alone: Mapping[int, lens.Group], firsts: dict[bytes, First]) -> None:
        """Journal what is held, trace by trace, and then what was found out of all the others."""
        traces: dict[bytes, list[LocalRoot]] = {}
        for root in wanted:
            traces.setdefault(root.trace_id, []).append(root)
        for trace_id, roots in traces.items():
            first = (firsts.pop(trace_id),) if trace_id in firsts else ()
            request = edit.assemble(alone[root.position] for root in roots)
            self.observe(*self._held.hold(Cut(first, tuple(Root(trace_id, root.span_id) for root in roots), request)))
        if firsts:
            self.observe(*self._held.hold(Cut(tuple(firsts.values()), (), b"")))

    def _sorted(self, roots: Iterable[LocalRoot], firsts: Mapping[bytes, First]) -> tuple[list[LocalRoot], list[LocalRoot]]:
        """The roots to hold, and those that have come before and were held then."""
        wanted, repeated = [], []
        ids: dict[bytes, set[bytes]] = {}
        for root in roots:
            entry, first = self._table.get(root.trace_id), firsts.get(root.trace_id)
            known = ids.setdefault(root.trace_id, set(entry.held) if entry is not None else set())
            open_and_held = entry is not None and entry.holds and self._is_open(root.trace_id)
            if root.span_id in known:
                repeated.append(root)
            elif (open_and_held or (first is not None and first.holds)) and len(known) < MAX_ROOTS:
                wanted.append(root)
                known.add(root.span_id)
        return wanted, repeated

    def _again(self, wanted: Iterable[LocalRoot]) -> Iterator[First]:
        """The first decisions that were made earlier about these: when one root has gone on, it must not be held next time."""
        for trace_id in {root.trace_id for root in wanted}:
            entry = self._table.get(trace_id)
            if entry is not None and entry.first:
                yield First(trace_id, entry.pi, entry.r, entry.r_source, entry.chosen, entry.holds)

    def _is_new(self, trace_id: bytes) -> bool:
        """Whether there is no decision of any kind about a trace, nor will be one in this moment."""
        entry = self._table.get(trace_id)
        return entry is None or (self._is_open(trace_id) and not entry.first)

    def _is_open(self, trace_id: bytes) -> bool:
        entry = self._table.open.get(trace_id)
        return entry is not None and not entry.decided_ns


def _besides(arrivals: Iterable[Arrival], gone: Iterable[LocalRoot], left: set[bytes]) -> list[Arrival]:
    """What a request brings without the roots that are gone; `left` are the traces of which others are in it."""
    counts = Counter(root.trace_id for root in gone)
    rest = (
        arrival._replace(items=arrival.items - counts[arrival.trace_id], has_root=arrival.trace_id in left)
        if arrival.trace_id in counts
        else arrival
        for arrival in arrivals
    )
    return [arrival for arrival in rest if arrival.items]
