"""Reading a trace back from the journal by the positions that the table has of it."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from otel_eval.errors import PermanentError
from otel_eval.holding import HeldSpans
from otel_eval.journal import RELEASED, Log, Record
from otel_eval.records import Kind
from otel_eval.traces.entry import Entry
from otel_eval.wire import lens
from otel_eval.wire.schema import lens_classes

MAX_BYTES: Final = 32 << 20
MAX_ITEMS: Final = 10_000
"""Of a larger trace only the first spans and log records are read."""

_READ_BYTES: Final = 4 << 20
_KEEP_BYTES: Final = 16 << 20
_ITEM_BYTES: Final = 300
"""About what an item takes in memory beside its bytes: a sender may send very many tiny ones."""


class Stored(NamedTuple):
    """A trace as it lies in the journal; `whole` is False when parts of it are gone or were too many to read."""

    spans: list[lens.Group]
    logs: list[lens.Group]
    whole: bool


class Requests:
    """The requests in a journal, the last ones taken apart in memory: traces that come together are finished together.

    A span that was held back is read from where it was put, and never as it has gone on.
    """

    def __init__(self, logs: Mapping[Kind, Log], held: HeldSpans | None = None) -> None:
        self._logs = logs
        self._held = held
        self._kept: OrderedDict[tuple[Kind, int], _Request] = OrderedDict()
        self._bytes = 0

    async def retrieve(self, trace_id: bytes, entry: Entry) -> Stored:
        """The spans and log records of one trace; others get their turn in between."""
        room = [MAX_ITEMS, MAX_BYTES]
        whole = True
        found: dict[Kind, list[lens.Group]] = {Kind.TRACES: [], Kind.LOGS: []}
        if self._held is not None:
            found[Kind.TRACES] = self._held.groups(trace_id)
            whole = len(found[Kind.TRACES]) >= len(entry.held)
            room[1] -= sum(len(group.items[0]) for group in found[Kind.TRACES])
        for kind, groups in found.items():
            log = self._logs[kind]
            for start, end in entry.ranges(kind):
                whole = whole and log.start <= start and end <= log.end
                async for request in self._between(kind, start, min(end, log.end)):
                    for group in request.of(trace_id):
                        room[0] -= len(group.items)
                        room[1] -= sum(map(len, group.items))
                        if min(room) < 0:
                            return Stored(found[Kind.TRACES], found[Kind.LOGS], False)
                        groups.append(group)
        return Stored(found[Kind.TRACES], found[Kind.LOGS], whole)

    async def _between(self, kind: Kind, start: int, end: int) -> AsyncIterator["_Request"]:
        while start < end:
            kept = self._kept.get((kind, start))
            if kept is not None:
                self._kept.move_to_end((kind, start))
                yield kept
                start = kept.end
                continue
            chunk = self._logs[kind].read(start, min(_READ_BYTES, end - start))
            for record in chunk.records:
                if record.position >= end:
                    return
                if record.flags & RELEASED:
                    continue
                yield self._kept.get((kind, record.position)) or self._keep(kind, record)
            if chunk.end <= start:
                return
            start = chunk.end
            await asyncio.sleep(0)

    def _keep(self, kind: Kind, record: Record) -> "_Request":
        request = _Request(kind, record)
        if not request.is_shared:
            return request
        self._kept[kind, record.position] = request
        self._bytes += request.size
        while self._bytes > _KEEP_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].size
        return request


_IDS: Final = {
    kind: lens_classes(
        f"otel_eval.retrieval.{kind}",
        {
            "Request": [("resources", 1, ["Resource"])],
            "Resource": [("scopes", 2, ["Scope"])],
            "Scope": [("items", 2, ["Item"])],
            "Item": [("trace_id", number, "bytes")],
        },
    )["Request"]
    for kind, number in ((Kind.TRACES, 1), (Kind.LOGS, 9))
}


def taken_apart(body: bytes) -> "_Request":
    """A traces request that is not in the journal yet."""
    return _Request(Kind.TRACES, Record(0, 0, 0, 0, body))


class _Request:
    """A request with the trace ids of its items; it is sorted by them when it is asked for a second trace.

    What is no request after all, because the journal was damaged, holds nothing.
    """

    def __init__(self, kind: Kind, record: Record) -> None:
        self.end = record.end
        self.size = len(record.body) + _ITEM_BYTES * record.items
        self._groups: list[tuple[lens.Group, list[bytes]]] = []
        self._traces: dict[bytes, list[lens.Group]] = {}
        self._asked = 0
        body = bytes(record.body)
        try:
            request: Any = _IDS[kind].FromString(body)
            ids = [[item.trace_id for item in scope.items] for resource in request.resources for scope in resource.scopes]
            self._groups = list(zip(lens.groups(body), ids, strict=True))
        except (DecodeError, PermanentError):
            pass

    @property
    def is_shared(self) -> bool:
        """Whether there are several traces in it."""
        return len({one for _, ids in self._groups for one in ids}) > 1

    def of(self, trace_id: bytes) -> list[lens.Group]:
        """The groups with the items of one trace."""
        self._asked += 1
        if self._asked == 1:
            return [group._replace(items=own) for group, ids in self._groups if (own := _own(group.items, ids, trace_id))]
        if self._asked == 2:
            self._sort()
        return self._traces.get(trace_id, [])

    def _sort(self) -> None:
        for group, ids in self._groups:
            own: dict[bytes, list[bytes]] = {}
            for raw, trace_id in zip(group.items, ids, strict=True):
                own.setdefault(trace_id, []).append(raw)
            for trace_id, items in own.items():
                self._traces.setdefault(trace_id, []).append(group._replace(items=items))
        self._groups = []


def _own(items: list[bytes], ids: list[bytes], trace_id: bytes) -> list[bytes]:
    return [raw for raw, one in zip(items, ids, strict=True) if one == trace_id]
