"""One file of a log."""

import os
from pathlib import Path

from otel_eval.journal.record import HEADER_BYTES, MAGIC, decode_header

_SEARCH_BYTES = 1 << 20


class Segment:
    """A file that starts at position `base` of its log and holds `size` bytes of records.

    It is kept open only for appending: a long outage makes more segments than a process may have files open.
    """

    def __init__(self, path: Path, base: int) -> None:
        self.path = path
        self.base = base
        self._fd = -1
        self._open()
        self.size = os.fstat(self._fd).st_size
        self.close()

    @property
    def end(self) -> int:
        """The position behind the last record."""
        return self.base + self.size

    def append(self, header: bytes, body: bytes) -> None:
        """Write one record at the end; raises OSError and leaves the file as it was when it cannot."""
        if self._fd < 0:
            self._open()
        try:
            written = os.pwritev(self._fd, (header, body), self.size)
            if written < len(header) + len(body):  # the system may write less than asked for, and tell the reason next time
                whole = memoryview(header + body)
                while written < len(whole):
                    written += os.pwrite(self._fd, whole[written:], self.size + written)
        except OSError:
            self.truncate(self.size)
            raise
        self.size += written

    def read(self, position: int, length: int) -> memoryview:
        """At most `length` bytes from `position` on."""
        offset = position - self.base
        length = min(length, self.size - offset)
        if self._fd >= 0:
            return memoryview(os.pread(self._fd, length, offset))
        with open(self.path, "rb", buffering=0) as file:
            return memoryview(os.pread(file.fileno(), length, offset))

    def find_header(self, position: int) -> int:
        """The position of the first intact header at or after `position`, or the end of the segment."""
        while position < self.end:
            buffer = self.read(position, _SEARCH_BYTES + HEADER_BYTES)
            raw = buffer.tobytes()
            at = raw.find(MAGIC)
            while at >= 0 and at < _SEARCH_BYTES:
                if decode_header(buffer, at) is not None:
                    return position + at
                at = raw.find(MAGIC, at + 1)
            position += _SEARCH_BYTES
        return self.end

    def truncate(self, size: int) -> None:
        """Cut the file to its first `size` bytes."""
        os.truncate(self.path, size)
        self.size = size

    def sync(self) -> None:
        """Wait until the file is on disk; for another thread, while this one may close or delete it."""
        try:
            with open(self.path, "rb", buffering=0) as file:
                os.fdatasync(file.fileno())
        except FileNotFoundError:
            pass  # everybody has read it

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def delete(self) -> None:
        """Close and remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)
