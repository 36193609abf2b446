"""Writing the ledger, each entry once although a crash makes the sampler come to the same decisions again."""

from collections.abc import Iterable
from typing import Final

import msgspec
import structlog

from otel_eval.errors import PermanentError
from otel_eval.journal import Journal
from otel_eval.records import OwnKind
from otel_eval.sampling.ledger import MINUTE_MS, Decided, Entry, Traffic, TrafficBook, decode, encode

_log = structlog.get_logger(__name__)

_READ_BYTES: Final = 1 << 20
_RECORD_ENTRIES: Final = 256
_KEEP_SHARE: Final = 20


class LedgerWriter:
    """Appends to the ledger log; what it holds from after the last checkpoint stays as it was written.

    The log keeps a twentieth of the disk budget beyond what its readers need, for `explain`. `held` is the position from
    which the next start reads, `waiting` what is to be written.
    """

    def __init__(self, journal: Journal, held: int, waiting: Iterable[Entry]) -> None:
        self._journal = journal
        self._log = journal.logs[OwnKind.LEDGER]
        self.held = min(held, self._log.end)
        self.waiting = list(waiting)
        self._decisions: dict[tuple[bytes, int], Decided] = {}
        self._others: set[object] = set()
        keep = journal.budget.limit // _KEEP_SHARE
        self._log.holders.append(lambda: min(self.held, max(0, self._log.end - keep)))

    @property
    def end(self) -> int:
        """The position behind what is written."""
        return self._log.end

    def read_back(self, book: TrafficBook) -> None:
        """Learn what was written after the last checkpoint, whose `book` counts what a stop has written since."""
        position = max(self.held, self._log.start)
        while (chunk := self._log.read(position, _READ_BYTES)).end > position:
            position = chunk.end
            for entry in (entry for record in chunk.records for entry in decode(record.body)):
                if isinstance(entry, Decided):
                    self._decisions[entry.trace_id, entry.revision] = entry
                elif isinstance(entry, Traffic) and entry.flushed % MINUTE_MS:
                    book.take_out(entry)
                else:
                    self._others.add(_identity(entry))
        waiting, self.waiting = self.waiting, []
        for entry in waiting:
            if isinstance(entry, Decided):
                self.decision(entry)
            else:
                self.put(entry)

    def decision(self, decided: Decided) -> Decided:
        """Put down a decision; gives the one that counts, which is another when it was written before."""
        written = self._decisions.pop((decided.trace_id, decided.revision), None)
        if written is None:
            self.waiting.append(decided)
        return written or decided

    def put(self, entry: Entry) -> None:
        """Put down anything else."""
        if _identity(entry) not in self._others:
            self.waiting.append(entry)

    def count(self, book: TrafficBook, flushed: int) -> None:
        """Put down the counts of a book, and empty it; `flushed` as in Traffic."""
        for row in book.rows():
            row.flushed = flushed
            self.put(row)
        book.clear()

    def flush(self) -> None:
        """Append what was put down. Raises RetryableError, and keeps it, while the journal has no room."""
        while self.waiting:
            size = _size(self.waiting)
            try:
                self._journal.append(OwnKind.LEDGER, encode(self.waiting[:size]), size)
            except PermanentError as error:
                _log.error("a part of the ledger is lost", entries=size, reason=str(error))
            del self.waiting[:size]


def _size(waiting: list[Entry]) -> int:
    """How many entries go into the next record; rows of traffic that follow each other stay together."""
    size = min(_RECORD_ENTRIES, len(waiting))
    while size < len(waiting) and isinstance(waiting[size - 1], Traffic) and isinstance(waiting[size], Traffic):
        size += 1
    return size


def _identity(entry: Entry) -> object:
    """Of a traffic row when it was written: all rows of one time are written at once."""
    return entry.flushed if isinstance(entry, Traffic) else msgspec.msgpack.encode(entry)
