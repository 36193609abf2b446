"""One log: segments in a row, appended at one end and deleted at the other."""

import asyncio
import bisect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from otel_eval.errors import RetryableError
from otel_eval.journal.budget import RETRY_AFTER_S, DiskBudget
from otel_eval.journal.clock import JournalClock
from otel_eval.journal.cursor import Cursor
from otel_eval.journal.record import HEADER_BYTES, Record, decode_header, encode_header, intact
from otel_eval.journal.segment import Segment
from otel_eval.telemetry import Counter

_log = structlog.get_logger(__name__)

_RECENT_BYTES = 16 << 20
_OBJECT_BYTES = 256
"""About what a record takes in memory beside its body: a sender may send millions of tiny ones."""

_NAMES = f"{'[0-9]' * 20}.log"


Holder = Callable[[], int | None]
"""Gives the lowest position that somebody still needs, None when it needs none."""


class Chunk(NamedTuple):
    """Some records in a row, and the position to read on from (behind damage too, where there is any)."""

    records: list[Record]
    end: int


class Log:
    """The log of one kind of record; see the package docstring.

    `holders` are asked before a segment is deleted: each gives the lowest position that it still needs, or None.
    The newest `recent_bytes` of records are kept in memory as well.
    """

    def __init__(
        self, directory: Path, budget: DiskBudget, segment_bytes: int, clock: JournalClock, recent_bytes: int = _RECENT_BYTES
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._keep_bytes = recent_bytes
        self._budget = budget
        self._segment_bytes = segment_bytes
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.holders: list[Holder] = []
        self.unsynced: set[Segment] = set()
        self._recent: list[Record] = []
        self._recent_bytes = 0
        self.damage = Counter()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segments = [Segment(path, int(path.stem)) for path in sorted(directory.glob(_NAMES))]
        for segment, following in zip(self._segments, self._segments[1:], strict=False):
            segment.size = min(segment.size, following.base - segment.base)
        if self._segments:
            self._cut_torn_tail(self._segments[-1])
        else:
            self._segments.append(self._new_segment(0))
        self._budget.used += sum(segment.size for segment in self._segments)
        self._budget.releases.append(self._release)

    @property
    def start(self) -> int:
        """The position of the oldest record that is still there."""
        return self._segments[0].base

    @property
    def first_end(self) -> int:
        """The position behind the oldest segment: the next part that can be deleted ends here."""
        return self._segments[0].end

    @property
    def end(self) -> int:
        """The position behind the newest record."""
        return self._segments[-1].end

    def record_before(self, position: int) -> int:
        """The position of a record that is there and not behind `position`, where one can begin to read."""
        return self._segment_at(position).base

    def append(self, body: bytes, items: int, flags: int = 0) -> Record:
        """Write one record; raises RetryableError when there is no room for it."""
        size = HEADER_BYTES + len(body)
        try:
            self._budget.check(size)
            segment = self._segment_for(size)
            time_ns = self._clock.now()
            segment.append(encode_header(body, items, time_ns, flags), body)
        except OSError as error:
            raise RetryableError(f"the journal cannot be written: {error.strerror}", RETRY_AFTER_S) from error
        self._budget.used += size
        self.unsynced.add(segment)
        record = Record(segment.end - size, segment.end, items, time_ns, body, flags)
        self._remember(record)
        if self._waiting:
            self.wake(self.end)
        return record

    async def wait_beyond(self, position: int) -> None:
        """Return as soon as the end is beyond `position`, or when `wake` says so."""
        if self.end <= position:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((position, future))
            await future

    def wake(self, end: int | None = None) -> None:
        """Let those go on who wait for a position before `end`, or all."""
        still = []
        for waiting in self._waiting:
            position, future = waiting
            if future.done():  # nobody waits any more
                continue
            if end is not None and end <= position:
                still.append(waiting)
            else:
                future.set_result(None)
        self._waiting = still

    def read(self, position: int, max_bytes: int) -> Chunk:
        """Records from `position` on: as many as fit into `max_bytes`, or one that is larger.

        An empty chunk whose end is beyond `position` stepped over damage; one whose end is `position` is the end.
        """
        if self._recent and position >= self._recent[0].position:
            return self._read_recent(position, max_bytes)
        segment = self._segment_at(position)
        if self.start <= position < segment.base:
            self._report_damage(position, segment.base)  # the file before this one is cut short or gone
        position = max(position, segment.base)
        buffer = segment.read(position, max(max_bytes, HEADER_BYTES))
        first = decode_header(buffer, 0)
        if first is not None and HEADER_BYTES + first.length > len(buffer):
            buffer = segment.read(position, HEADER_BYTES + first.length)
        records: list[Record] = []
        offset = 0
        while offset < len(buffer):
            header = decode_header(buffer, offset)
            end = offset + HEADER_BYTES + (header.length if header else 0)
            if header is None or end > len(buffer):
                if offset and position + len(buffer) < segment.end:
                    break  # only the end of the buffer; the next read starts here
                bad = position + offset
                # Nothing inside an unfinished record is looked at: senders chose those bytes.
                found = segment.end if header else segment.find_header(bad + 1)
                self._report_damage(bad, found)
                return Chunk(records, found)
            body = buffer[offset + HEADER_BYTES : end]
            if intact(header, body):
                records.append(Record(position + offset, position + end, header.items, header.time_ns, body, header.flags))
            else:
                self._report_damage(position + offset, position + end)
            offset = end
        return Chunk(records, position + offset)

    def trim(self) -> None:
        """Delete the segments that no holder needs."""
        needed = self.needed()
        while len(self._segments) > 1 and self._segments[0].end <= needed:
            segment = self._segments.pop(0)
            self._budget.used -= segment.size
            self.unsynced.discard(segment)
            segment.delete()

    def close(self) -> None:
        """Close all files."""
        for segment in self._segments:
            segment.close()

    def _remember(self, record: Record) -> None:
        """Keep the newest records in memory as they came: an exporter that keeps up needs neither the file nor a copy."""
        self._recent.append(record)
        self._recent_bytes += len(record.body) + _OBJECT_BYTES
        forgotten = 0
        while self._recent_bytes > self._keep_bytes:
            self._recent_bytes -= len(self._recent[forgotten].body) + _OBJECT_BYTES
            forgotten += 1
        del self._recent[:forgotten]

    def _read_recent(self, position: int, max_bytes: int) -> Chunk:
        first = bisect.bisect_left(self._recent, position, key=lambda record: record.position)
        limit = position + max_bytes
        behind = max(first + 1, bisect.bisect_right(self._recent, limit, key=lambda record: record.end))
        records = self._recent[first:behind]
        return Chunk(records, records[-1].end if records else position)

    def needed(self, besides: Holder | None = None) -> int:
        """The lowest position that any holder needs, but for the one named; the end when none needs any."""
        positions = (holder() for holder in self.holders if holder is not besides)
        return min((position for position in positions if position is not None), default=self.end)

    def _release(self) -> None:
        """Delete even the last segment when nobody needs it: in a small budget it may be all that keeps the next one out."""
        if self._segments[-1].size and self.needed() >= self.end:
            self._segments.append(self._new_segment(self.end))
        self.trim()

    def _segment_for(self, size: int) -> Segment:
        last = self._segments[-1]
        if last.size and last.size + size > self._segment_bytes:
            last.close()
            last = self._new_segment(last.end)
            self._segments.append(last)
            self.trim()
        return last

    def _new_segment(self, base: int) -> Segment:
        return Segment(self._directory / f"{base:020}.log", base)

    def _segment_at(self, position: int) -> Segment:
        """The segment to read from at `position`: the one that holds it, or the first one behind it."""
        at = bisect.bisect_right(self._segments, position, key=lambda segment: segment.base) - 1
        segment = self._segments[max(at, 0)]
        return self._segments[at + 1] if position >= segment.end and at + 1 < len(self._segments) else segment

    def _report_damage(self, position: int, end: int) -> None:
        self.damage.add()
        _log.error("skipped what is damaged in the journal", log=str(self._directory), position=position, bytes=end - position)

    def _cut_torn_tail(self, segment: Segment) -> None:
        """Remove what a crash left of the last write: everything behind the last intact record."""
        buffer = segment.read(segment.base, segment.size)
        offset = good = 0
        while offset < len(buffer):
            header = decode_header(buffer, offset)
            if header is not None:
                self._clock.start_after(header.time_ns)
            if header is None:
                offset = segment.find_header(segment.base + offset + 1) - segment.base
                continue
            end = offset + HEADER_BYTES + header.length
            if end > len(buffer):  # nothing inside an unfinished record is looked at: senders chose those bytes
                break
            if end < len(buffer) or intact(header, buffer[offset + HEADER_BYTES : end]):
                good = end
            offset = end
        if good < len(buffer):
            _log.warning("removed an unfinished record from the journal", file=str(segment.path), bytes=len(buffer) - good)
            segment.truncate(good)


class Reader:
    """A named reader of a log whose place survives restarts; while it exists, nothing that it has not passed is deleted.

    A new reader starts at the oldest record that is still there. What it has frozen as a batch stays one after a restart.
    """

    def __init__(self, log: Log, path: Path) -> None:
        self.log = log
        self._cursor = Cursor(path)
        stored = self._cursor.position
        if stored is not None and stored < log.start:
            _log.warning("what this reader had not read is gone", reader=path.name, bytes=log.start - stored)
        # Behind the end: a power failure took records that had been delivered. New ones will have their positions.
        self.position = log.start if stored is None else min(max(stored, log.start), log.end)
        self._ends = [end for end in self._cursor.ends if self.position < end <= log.end]
        if self.position != stored or len(self._ends) < len(self._cursor.ends):
            for _ in range(2):  # in both slots: a position beyond the end must not come back when the other one is torn
                self._cursor.store(self.position, self._ends)
        log.holders.append(self._hold)

    @property
    def ends(self) -> Sequence[int]:
        """The ends of the batches, from `position` on, that were on their way, perhaps before a restart."""
        return tuple(self._ends)

    def freeze(self, end: int) -> None:
        """A batch that ends here, behind all that were on their way already, is on its way; at most MAX_ENDS are at once."""
        self._ends.append(end)
        self._cursor.store(self.position, self._ends)

    def advance(self, position: int) -> None:
        """Everything before `position` is done with."""
        self.position = position
        self._ends = [end for end in self._ends if end > position]
        self._cursor.store(position, self._ends)
        self.log.trim()

    def close(self) -> None:
        """Stop holding records; the place is kept in the file."""
        self.log.holders.remove(self._hold)
        self._cursor.close()

    def _hold(self) -> int:
        return self.position
