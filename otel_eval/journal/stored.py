"""Looking into a journal from another process, while a hop writes it."""

import os
from collections.abc import Iterator
from pathlib import Path

from otel_eval.errors import ConfigError
from otel_eval.journal.record import HEADER_BYTES, MAGIC, decode_header, intact
from otel_eval.records import Kind, OwnKind


def stored_bodies(directory: Path, kind: Kind | OwnKind) -> Iterator[memoryview]:
    """The intact requests of that kind that are in the journal now, the oldest first; nothing is changed or locked.

    What every exporter has delivered may be gone already, and a record that is just being written is left out. Raises
    ConfigError when the journal cannot be read.
    """
    try:
        for name in sorted(os.listdir(directory / kind)):
            if name.endswith(".log"):
                yield from _bodies(_content(directory / kind / name))
    except FileNotFoundError:
        return
    except OSError as error:  # not allowed, most often: the hop runs as somebody else
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from None


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # delivered and deleted in the meantime
        return b""


def _bodies(content: bytes) -> Iterator[memoryview]:
    buffer = memoryview(content)
    offset = 0
    while 0 <= offset < len(buffer):
        header = decode_header(buffer, offset)
        if header is None:
            offset = content.find(MAGIC, offset + 1)
            continue
        body = buffer[offset + HEADER_BYTES : offset + HEADER_BYTES + header.length]
        if len(body) == header.length and intact(header, body):
            yield body
        offset += HEADER_BYTES + header.length
