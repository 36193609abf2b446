"""The durable place of one reader in one log."""

import os
import struct
from pathlib import Path

import xxhash

_FIELDS = struct.Struct("<QQ")
_SLOT = struct.Struct("<QQQ")


class Cursor:
    """A position in a file, safe against a crash in the middle of a write; `position` is None in a new file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._sequence = 0
        self.position: int | None = None
        stored = os.pread(self._fd, 2 * _SLOT.size, 0)
        for offset in range(0, len(stored) - _SLOT.size + 1, _SLOT.size):
            sequence, position, checksum = _SLOT.unpack_from(stored, offset)
            if checksum == _checksum(sequence, position) and sequence > self._sequence:
                self._sequence, self.position = sequence, position

    def store(self, position: int) -> None:
        """Make `position` the one that a restart finds."""
        self._sequence += 1
        slot = _SLOT.pack(self._sequence, position, _checksum(self._sequence, position))
        os.pwrite(self._fd, slot, self._sequence % 2 * _SLOT.size)
        self.position = position

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _checksum(sequence: int, position: int) -> int:
    return xxhash.xxh3_64_intdigest(_FIELDS.pack(sequence, position))
