"""The durable place of one reader in one log."""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import xxhash

MAX_ENDS: Final = 64
_FIELDS = struct.Struct(f"<QQQ{MAX_ENDS}Q")
_CHECK = struct.Struct("<Q")
SLOT_BYTES: Final = _FIELDS.size + _CHECK.size


class Cursor:
    """A position in a file, safe against a crash in the middle of a write; `position` is None in a new file.

    `ends` are the positions, beyond it, at which the batches end that are on their way.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._sequence = 0
        self.position: int | None = None
        self.ends: Sequence[int] = ()
        stored = os.pread(self._fd, 2 * SLOT_BYTES, 0)
        for offset in range(0, len(stored) - SLOT_BYTES + 1, SLOT_BYTES):
            fields = stored[offset : offset + _FIELDS.size]
            sequence, position, count, *ends = _FIELDS.unpack(fields)
            if _CHECK.pack(xxhash.xxh3_64_intdigest(fields)) == stored[offset + _FIELDS.size : offset + SLOT_BYTES]:
                if sequence > self._sequence:
                    self._sequence, self.position, self.ends = sequence, position, ends[:count]

    def store(self, position: int, ends: Sequence[int] = ()) -> None:
        """Make `position` and `ends` those that a restart finds."""
        self._sequence += 1
        fields = _FIELDS.pack(self._sequence, position, len(ends), *ends, *[0] * (MAX_ENDS - len(ends)))
        os.pwrite(self._fd, fields + _CHECK.pack(xxhash.xxh3_64_intdigest(fields)), self._sequence % 2 * SLOT_BYTES)
        self.position, self.ends = position, ends

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
