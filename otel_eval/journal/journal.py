"""The logs of all kinds under one directory: lock, budget, and writing through to the disk."""

import asyncio
import contextlib
import fcntl
import heapq
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import structlog

from otel_eval.errors import ConfigError, RetryableError
from otel_eval.journal.budget import RETRY_AFTER_S, DiskBudget
from otel_eval.journal.clock import JournalClock
from otel_eval.journal.log import Log, Reader
from otel_eval.journal.record import Record
from otel_eval.journal.segment import Segment
from otel_eval.records import Kind, OwnKind, Sync

AnyKind = TypeVar("AnyKind", bound=Kind | OwnKind)

_log = structlog.get_logger(__name__)

_SEGMENT_BYTES = 16 << 20
_SYNC_INTERVAL_S = 1.0
_PROBLEM_S = 10.0
_READ_BYTES = 4 << 20
_ID_BYTES = 16


class Journal:
    """See the package docstring. Use from one event loop; raises ConfigError when the directory cannot be used.

    `id` tells it from any other journal.
    """

    def __init__(self, directory: Path, max_bytes: int, sync: Sync = Sync.INTERVAL) -> None:
        self._directory = directory
        self._sync = sync
        self._appended = 0
        self._synced = 0
        self._syncing: asyncio.Future[None] | None = None
        self.budget = DiskBudget(max_bytes)
        self.clock = JournalClock()
        self._problem: str | None = None
        self._refused_at = 0.0
        with self._usable():
            (directory / "cursors").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(directory / "lock")
            self.id = _id(directory / "id")
            segment_bytes = min(_SEGMENT_BYTES, max(1 << 16, max_bytes // 16))
            self.logs = {kind: Log(directory / kind, self.budget, segment_bytes, self.clock) for kind in (*Kind, *OwnKind)}

    @property
    def problem(self) -> str | None:
        """Why requests are refused, None while they are taken.

        A refusal counts for ten seconds: whoever keeps senders away because of it would otherwise never see it end.
        """
        return self._problem if time.monotonic() - self._refused_at < _PROBLEM_S else None

    def append(self, kind: Kind | OwnKind, body: bytes, items: int, flags: int = 0) -> Record:
        """Journal one request in the log of its kind; raises RetryableError when it is full."""
        try:
            record = self.logs[kind].append(body, items, flags)
        except RetryableError as error:
            if self._problem is None:
                _log.error("refusing new requests", reason=str(error))
            self._problem, self._refused_at = str(error), time.monotonic()
            raise
        if self._problem is not None:
            _log.info("accepting requests again")
            self._problem = None
        self._appended += 1
        return record

    async def durable(self) -> None:
        """Wait until all that was appended before is as safe as `sync` promises; raises RetryableError when it fails."""
        if self._sync is not Sync.ALWAYS:
            return
        wanted = self._appended
        while self._synced < wanted:
            if self._syncing is None or self._syncing.done():
                self._syncing = asyncio.ensure_future(self.write_through())
            await asyncio.shield(self._syncing)

    async def sync_periodically(self) -> None:
        """Write through once a second, for `sync: interval`; runs until cancelled."""
        while self._sync is Sync.INTERVAL:
            await asyncio.sleep(_SYNC_INTERVAL_S)
            try:
                await self.write_through()
            except RetryableError as error:
                _log.error("the journal could not be written through to the disk", reason=str(error))

    async def write_through(self) -> None:
        """Put everything that was appended on disk; raises RetryableError when the disk fails."""
        reached = self._appended
        segments = {segment: log for log in self.logs.values() for segment in log.unsynced}
        for log in self.logs.values():
            log.unsynced = set()
        if not segments:
            self._synced = reached
            return
        try:
            await asyncio.to_thread(_sync_files, list(segments))
        except OSError as error:
            for segment, log in segments.items():
                log.unsynced.add(segment)
            raise RetryableError(f"the journal cannot be written: {error.strerror}", RETRY_AFTER_S) from error
        self._synced = reached

    def reader(self, kind: Kind | OwnKind, name: str) -> Reader:
        """The reader of that name in the log of that kind, where it stood before; raises ConfigError when it has no file."""
        with self._usable():
            return Reader(self.logs[kind], self._directory / "cursors" / f"{quote(name, safe='')}.{kind}")

    def records(self, kind: AnyKind, position: int) -> Iterator[tuple[AnyKind, Record]]:
        """The records of a log from this position on."""
        log = self.logs[kind]
        while (chunk := log.read(position, _READ_BYTES)).end > position:
            position = chunk.end
            for record in chunk.records:
                yield kind, record

    def merged(self, positions: Mapping[AnyKind, int]) -> Iterator[tuple[AnyKind, Record]]:
        """The records of several logs from these positions on, in the order in which they were journaled."""
        each = [self.records(kind, position) for kind, position in positions.items()]
        return heapq.merge(*each, key=lambda entry: entry[1].time_ns)

    def reader_names(self) -> set[str]:
        """The names of all readers that have ever had a place in this journal."""
        return {unquote(path.stem) for path in (self._directory / "cursors").iterdir()}

    async def close(self) -> None:
        """Write through and close, even when that fails; afterwards another process may use the directory."""
        try:
            if self._sync is not Sync.NEVER:
                await self.write_through()
        finally:
            for log in self.logs.values():
                log.close()
            os.close(self._lock)

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(f"journal.directory: {self._directory} cannot be used: {error.strerror}") from error


def _sync_files(segments: list[Segment]) -> None:
    for directory in {segment.path.parent for segment in segments}:
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)  # a new segment's name
        finally:
            os.close(fd)
    for segment in segments:
        segment.sync()


def _id(path: Path) -> str:
    """What tells this journal from any other one; made once."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        made = os.pread(fd, _ID_BYTES, 0).decode(errors="replace")
        if not re.fullmatch(f"[0-9a-f]{{{_ID_BYTES}}}", made):  # new, or cut off by a crash
            made = secrets.token_hex(_ID_BYTES // 2)
            os.pwrite(fd, f"{made}\n".encode(), 0)
        return made
    finally:
        os.close(fd)


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 20, 0).decode(errors="replace").strip()
        os.close(fd)
        raise ConfigError(f"journal.directory: {path.parent} is in use by another otel-eval (process {owner})") from None
    with contextlib.suppress(OSError):  # only for the message above: a full disk must not keep us from emptying it
        os.pwrite(fd, f"{os.getpid():<20}".encode(), 0)
    return fd
