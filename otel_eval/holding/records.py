"""The records of the log `held`; see the package docstring."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from otel_eval.wire import lens

ID_BYTES = 8


class First(Struct, frozen=True, array_like=True):
    """What was decided of a trace when its root came: the rate, its random number, and whether it is chosen.

    `holds` says whether its local roots are held back: not without room for them.
    """

    trace_id: bytes
    rate: float
    r: int
    r_source: str
    chosen: bool
    holds: bool


class Root(NamedTuple):
    """A span that is held back."""

    trace_id: bytes
    span_id: bytes


class Mark(NamedTuple):
    """A root that has gone on, and the xxh3-64 of the request that it is in now."""

    root: Root
    checksum: int


class Cut(Struct, frozen=True, array_like=True, tag="cut"):
    """What came of one trace with a request: `request` holds the `roots`, in this order. Without roots, `firsts` of many.

    `traces_end` is where the log `traces` ended then. All releases before position `marked` of it are marked.
    """

    firsts: tuple[First, ...]
    roots: tuple[Root, ...]
    request: bytes
    traces_end: int = 0
    marked: int = 0


class Released(Struct, frozen=True, array_like=True, tag="released"):
    """These have gone on; `marked` as in a Cut."""

    marks: tuple[Mark, ...]
    marked: int


_decoder: msgspec.msgpack.Decoder[Cut | Released] = msgspec.msgpack.Decoder(Cut | Released)


def encode(record: Cut | Released) -> bytes:
    """The body of a record."""
    return msgspec.msgpack.encode(record)


def decode(body: bytes | memoryview) -> Cut | Released | None:
    """The record, None when it is of a version that is not known here."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError:
        return None


def held(cut: Cut) -> Iterator[tuple[Root, lens.Group]]:
    """Each span that was cut out, alone in its group."""
    roots = iter(cut.roots)
    for group in lens.groups(cut.request):
        for raw in group.items:
            yield next(roots), group._replace(items=[raw])
