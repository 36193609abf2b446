"""One record of a log: its header, its checksums, and finding the next one after damage."""

import struct
from typing import Final, NamedTuple

import xxhash

MAGIC = b"oJ"
_VERSION = 1
_HEADER = struct.Struct("<2sBBIIQQ")
_CHECK = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CHECK.size

RELEASED: Final = 1
"""The flag of a traces record whose span was held back: the record in the log `held` stands for it in its trace."""


class Header(NamedTuple):
    """The fields of a record's header; times in ns since 1970."""

    items: int
    length: int
    time_ns: int
    checksum: int
    flags: int


class Record(NamedTuple):
    """A record: `body` as it was appended or a view of the read buffer, `end` the position behind the record."""

    position: int
    end: int
    items: int
    time_ns: int
    body: bytes | memoryview
    flags: int = 0


def encode_header(body: bytes, items: int, time_ns: int, flags: int = 0) -> bytes:
    """The header for `body`."""
    fields = _HEADER.pack(MAGIC, _VERSION, flags, items, len(body), time_ns, xxhash.xxh3_64_intdigest(body))
    return fields + _CHECK.pack(xxhash.xxh32_intdigest(fields))


def decode_header(buffer: memoryview, offset: int) -> Header | None:
    """The header at `offset`, None when there is no intact one."""
    fields = buffer[offset : offset + _HEADER.size]
    if len(buffer) - offset < HEADER_BYTES or fields[:2] != MAGIC:
        return None
    if _CHECK.unpack_from(buffer, offset + _HEADER.size)[0] != xxhash.xxh32_intdigest(fields):
        return None
    _, version, flags, items, length, time_ns, checksum = _HEADER.unpack(fields)
    return Header(items, length, time_ns, checksum, flags) if version == _VERSION else None


def intact(header: Header, body: memoryview) -> bool:
    """Whether the body is the one that the header was made for."""
    return xxhash.xxh3_64_intdigest(body) == header.checksum
