"""Verdicts that were given before: the same content, judged by the same version of an evaluator, is not judged again.

The key is the SHA-256 of the evaluator's version and the SHA-256 of the judged content, as it is after scrubbing and
before a fence with its nonce is put around it; never the trace id. Verdicts of one server are not used for another: by the
same name of a model it may serve another one, or a stand-in. What is stored comes back exactly.

The file is an SQLite database in rollback-journal mode (a hop and a command may use it at once) and can be deleted at any
time: a damaged one is started anew, and one that cannot be used for now makes every look-up a miss. Of more entries or
bytes than the limits, the oldest go first.
"""

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from otel_eval.config.models import Positive
from otel_eval.config.section import Section
from otel_eval.config.values import PositiveDuration
from otel_eval.errors import ConfigError
from otel_eval.evaluators.evaluator import Result

_log = structlog.get_logger(__name__)

_DAY_S: Final = 86400
_LOCK_TIMEOUT_S: Final = 2.0
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_ENTRY_BYTES: Final = 160
"""About what an entry takes beside its results."""

_TOGETHER_S: Final = 0.02
"""What comes within this time is stored in one transaction: it costs as much as a single verdict."""

_SCHEMA: Final = """
PRAGMA journal_mode = TRUNCATE;
PRAGMA synchronous = NORMAL;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS verdict (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, stored_s REAL NOT NULL, size INTEGER NOT NULL, results BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS total (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO total SELECT 0, 0 WHERE NOT EXISTS (SELECT * FROM total);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON verdict BEGIN
    UPDATE total SET entries = entries + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON verdict BEGIN
    UPDATE total SET entries = entries - 1, bytes = bytes - old.size;
END;
COMMIT;
"""


class CacheConfig(Section, frozen=True):
    """Verdicts that are kept, so that the same content is not judged twice by the same version of an evaluator."""

    ttl: PositiveDuration = PositiveDuration(30 * _DAY_S)
    max_entries: Positive = 100_000
    max_size_mib: Positive = 256


_T = TypeVar("_T")


def verdict_key(version: str, content: str) -> bytes:
    """The key for that version of an evaluator and that content, 64 bytes.

    >>> verdict_key("9f86d081", "4")[:32] == verdict_key("9f86d081", "5")[:32]
    True
    """
    return b"".join(hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in (version, content))


class VerdictCache:
    """See the module docstring; `server` is the URL of who gives the verdicts, `clock` the wall clock.

    Raises ConfigError when the file cannot be made.
    """

    def __init__(self, path: Path, config: CacheConfig, server: str = "", clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._server = hashlib.sha256(server.encode()).digest()[:8]
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[bytes, bytes] = {}
        self._storing: asyncio.Task[None] | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{path}: verdicts cannot be kept in this file: {error}") from error

    async def get(self, key: bytes) -> tuple[Result, ...] | None:
        """What is stored and not too old."""
        return await asyncio.to_thread(self._usable, lambda: self._get(self._server + key))

    async def put(self, key: bytes, results: Sequence[Result]) -> None:
        """Store a verdict in place of an older one; what is too large, or holds lone surrogates, is not stored."""
        try:
            body = msgspec.msgpack.encode(list(results))
        except UnicodeEncodeError:
            return
        if len(body) + _ENTRY_BYTES <= self._max_bytes:
            self._waiting[self._server + key] = body
            if self._storing is None:
                self._storing = asyncio.ensure_future(self._store())
            await asyncio.shield(self._storing)

    def close(self) -> None:
        """Store what waits, and close the file."""
        if self._storing is not None:
            self._storing.cancel()
            self._usable(lambda: self._put(self._waiting))
        with self._lock:
            self._database.close()

    def _open(self) -> None:
        """The database without what is too old, started anew when it is damaged."""
        try:
            self._begin()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            _log.warning("the cache of verdicts is damaged; it is started anew", file=str(self._path), reason=str(error))
            _discard(self._path)
            self._begin()

    def _begin(self) -> None:
        self._database = _connected(self._path)
        try:
            self._database.execute("DELETE FROM verdict WHERE stored_s < ?", (self._clock() - self._config.ttl,))
            self._trim()
        except sqlite3.Error:
            self._database.close()
            raise

    async def _store(self) -> None:
        await asyncio.sleep(_TOGETHER_S)
        waiting, self._waiting, self._storing = self._waiting, {}, None
        await asyncio.to_thread(self._usable, lambda: self._put(waiting))

    @property
    def _max_bytes(self) -> int:
        return self._config.max_size_mib << 20

    def _get(self, key: bytes) -> tuple[Result, ...] | None:
        row = self._database.execute("SELECT stored_s, results FROM verdict WHERE key = ?", (key,)).fetchone()
        now = self._clock()
        if row is None or not 0 <= now - row[0] <= self._config.ttl:
            return None
        try:
            return msgspec.msgpack.decode(row[1], type=tuple[Result, ...])
        except (msgspec.DecodeError, UnicodeDecodeError):  # written by another release
            return None

    def _put(self, bodies: Mapping[bytes, bytes]) -> None:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for key, body in bodies.items():
                self._database.execute("DELETE FROM verdict WHERE key = ?", (key,))
                row = (key, self._clock(), len(body) + _ENTRY_BYTES, body)
                self._database.execute("INSERT INTO verdict (key, stored_s, size, results) VALUES (?, ?, ?, ?)", row)
            self._trim()

    def _trim(self) -> None:
        over = "SELECT entries > ? OR bytes > ? FROM total"
        while self._database.execute(over, (self._config.max_entries, self._max_bytes)).fetchone()[0]:
            self._database.execute("DELETE FROM verdict WHERE id = (SELECT min(id) FROM verdict)")

    def _usable(self, operation: Callable[[], _T]) -> _T | None:
        with self._lock:
            try:
                return operation()
            except sqlite3.Error as error:
                _log.warning("the cache of verdicts cannot be used", file=str(self._path), reason=str(error))
                if _is_damage(error):
                    with contextlib.suppress(sqlite3.Error, OSError):
                        self._database.close()
                        _discard(self._path)
                        self._database = _connected(self._path)
                return None


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _discard(path: Path) -> None:
    for file in (path, path.with_name(f"{path.name}-journal")):
        file.unlink(missing_ok=True)


def _connected(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(FileExistsError):  # closing one that is in use would take SQLite's locks away
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        database.executescript(_SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database
