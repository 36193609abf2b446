"""The sampler's memory on disk, so that a restart goes on where it was instead of reading everything again.

The file is the xxh3-64 of what follows (8 bytes) and a Checkpoint as MessagePack.
"""

import asyncio
import errno
import os
import time
from pathlib import Path
from typing import Final

import msgspec
import structlog
import xxhash
from msgspec import Struct

from otel_eval.records import Kind
from otel_eval.sampling.cap import Spent
from otel_eval.sampling.deciding import Draft
from otel_eval.sampling.hearing import Memory
from otel_eval.sampling.ledger import Decided, Traffic
from otel_eval.sampling.ledger import Entry as LedgerEntry
from otel_eval.sampling.policies.strata import State as StrataState
from otel_eval.sampling.policies.uncertainty import State as UncertaintyState
from otel_eval.sampling.randomness import IdCheck
from otel_eval.sampling.sessions import Turn
from otel_eval.telemetry import Metrics
from otel_eval.traces.entry import Entry

_log = structlog.get_logger(__name__)

_VERSION: Final = 3
_SUM_BYTES: Final = 8
_INTERVAL_S: Final = 15.0
_SHARE: Final = 50
"""A checkpoint is not begun before this many times of what the last one held everything up has passed."""


class Checkpoint(Struct, kw_only=True):
    """All that the sampler knew when it had read the journal up to `read` and written the ledger up to `ledger`.

    `held` is how far it had read the log of that name.
    `waiting` was to be written next, `chosen` and `quiet` (sessions) to be given to the judges; `time_ns` is when that was.
    """

    version: int = _VERSION
    time_ns: int = 0
    read: dict[Kind, int] = {}
    ledger: int = 0
    held: int = 0
    waiting: list[LedgerEntry] = []
    minute: int = 0
    window_ns: int = 0
    open: dict[bytes, Entry] = {}
    due: dict[bytes, Entry] = {}
    decided: dict[bytes, Entry] = {}
    window: dict[bytes, Draft] = {}
    chosen: dict[bytes, Decided] = {}
    quiet: list[tuple[Decided, list[bytes]]] = []
    sessions: list[tuple[tuple[str, str], list[Turn]]] = []
    strata: StrataState | None = None
    uncertainty: UncertaintyState | None = None
    spent: dict[str, Spent] = {}
    traffic: list[Traffic] = []
    ids: IdCheck = msgspec.field(default_factory=IdCheck)
    heard: Memory = msgspec.field(default_factory=lambda: Memory([], {}, {}))


_decoder = msgspec.msgpack.Decoder(Checkpoint)


def load(path: Path) -> Checkpoint:
    """The last one, or an empty one when there is none that can be read."""
    try:
        found = _decode(path.read_bytes())
    except FileNotFoundError:
        return Checkpoint()
    except (OSError, ValueError) as error:  # msgspec's error is a ValueError
        _log.warning("the sampler's checkpoint cannot be read; it starts from what the journal still has", reason=str(error))
        return Checkpoint()
    return found if found.version == _VERSION else Checkpoint()


class Checkpoints:
    """Writes a checkpoint into a file, in place of the last one, every now and then."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        self._path = path
        self._metrics = metrics
        self._soonest = 0.0
        self._next = time.monotonic() + _INTERVAL_S
        self._storing: asyncio.Task[None] | None = None

    def is_due(self, *, wanted: bool) -> bool:
        """Whether it is time for another one, which is sooner when one is wanted."""
        return time.monotonic() >= (self._soonest if wanted else self._next)

    async def write(self, checkpoint: Checkpoint) -> bool:
        """Write one; False when that failed, and the journal is to be kept instead.

        A full disk is no such failure: nothing would get better if the journal stayed because of it.
        """
        started = time.monotonic()
        content = _encode(checkpoint)
        took = time.monotonic() - started
        self._metrics.record("sampling_checkpoint_duration", took)
        if self._storing is not None:
            await asyncio.wait([self._storing])  # whoever waited for it may have been cancelled
        self._soonest = time.monotonic() + took * _SHARE
        self._next = max(self._soonest, time.monotonic() + _INTERVAL_S)
        self._storing = asyncio.create_task(asyncio.to_thread(_store, self._path, content))
        try:
            await asyncio.shield(self._storing)
        except OSError as error:
            _log.error("the sampler's checkpoint cannot be written", reason=error.strerror)
            self._soonest = self._next
            return error.errno == errno.ENOSPC
        return True


def _encode(checkpoint: Checkpoint) -> bytes:
    content = msgspec.msgpack.encode(checkpoint)
    return xxhash.xxh3_64_digest(content) + content


def _store(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(fd)
        fresh.replace(path)
    except OSError:
        fresh.unlink()
        raise
    finally:
        os.close(fd)


def _decode(stored: bytes) -> Checkpoint:
    content = memoryview(stored)[_SUM_BYTES:]
    if xxhash.xxh3_64_digest(content) != stored[:_SUM_BYTES]:
        raise ValueError("it is damaged")
    return _decoder.decode(content)
