"""Hypothesis strategies for OTLP: messages of the generated classes, and bytes that are nearly such messages."""

import math
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from otel_eval.records import Kind
from otel_eval.wire.lens import REQUESTS
from tests import oracle, traffic

CAPTURES = sorted((Path(__file__).parent / "captures").glob("*.pb"))
_ID_BYTES = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
_MAX_DEPTH = 9
_INTEGERS = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}
PROPERTY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No deadlines: the machines that run this are shared."""

kinds = st.sampled_from(list(Kind))


def capture_kind(file: Path) -> Kind:
    return Kind.LOGS if file.name.endswith(".logs.pb") else Kind.TRACES


@st.composite
def unknown_fields(draw: st.DrawFn) -> bytes:
    """A few fields of every wire type that no OTLP message has, with numbers as long as they may be."""
    encoded = b""
    for _ in range(draw(st.integers(1, 2))):
        number = draw(st.sampled_from([1001, 5000, (1 << 29) - 1]))
        match draw(st.sampled_from([0, 1, 2, 3, 5])):
            case 0:
                encoded += oracle.field(number, draw(st.integers(0, (1 << 64) - 1)))
            case 2:
                encoded += oracle.field(number, draw(st.binary(max_size=6)))
            case 3:
                inner = oracle.field(1, draw(st.binary(max_size=3)))
                encoded += oracle.varint(number << 3 | 3) + inner + oracle.varint(number << 3 | 4)
            case wire_type:
                size = 8 if wire_type == 1 else 4
                encoded += oracle.varint(number << 3 | wire_type) + draw(st.binary(min_size=size, max_size=size))
    return encoded


@cache
def _scalar(field_type: int, name: str) -> st.SearchStrategy[Any]:
    from google.protobuf.descriptor import FieldDescriptor as Field

    sizes = {
        **dict.fromkeys((Field.TYPE_INT32, Field.TYPE_SINT32, Field.TYPE_SFIXED32), "int32"),
        **dict.fromkeys((Field.TYPE_INT64, Field.TYPE_SINT64, Field.TYPE_SFIXED64), "int64"),
        **dict.fromkeys((Field.TYPE_UINT32, Field.TYPE_FIXED32), "uint32"),
        **dict.fromkeys((Field.TYPE_UINT64, Field.TYPE_FIXED64), "uint64"),
    }
    if field_type in sizes:
        return st.integers(*_INTEGERS[sizes[field_type]])
    if field_type == Field.TYPE_ENUM:
        return st.integers(0, 6)  # unknown numbers are valid too
    if name in _ID_BYTES:
        return st.binary(min_size=_ID_BYTES[name], max_size=_ID_BYTES[name]) | st.binary(max_size=20)
    return {
        Field.TYPE_STRING: st.text(max_size=6),
        Field.TYPE_BYTES: st.binary(max_size=6),
        Field.TYPE_BOOL: st.booleans(),
        Field.TYPE_DOUBLE: st.floats(allow_nan=False) | st.just(math.nan),  # JSON has one NaN only
        Field.TYPE_FLOAT: st.floats(width=32, allow_nan=False),
    }[field_type]


@st.composite
def messages(draw: st.DrawFn, message: Any, *, unknown: bool = True, depth: int = 0) -> Any:
    """A message of this generated class with some of its fields, and with unknown fields at any level."""
    built = message()
    fields = [field for field in message.DESCRIPTOR.fields if depth < _MAX_DEPTH or field.message_type is None]
    way_down = [field for field in fields if depth < 3 and field.is_repeated]  # otherwise most requests would be empty
    more = st.lists(st.sampled_from(fields), max_size=6, unique_by=lambda field: field.number) if fields else st.just([])
    chosen = way_down + draw(more)
    for field in {field.number: field for field in chosen}.values():
        nested = field.message_type is not None
        concrete = field.message_type._concrete_class if nested else None
        values = messages(concrete, unknown=unknown, depth=depth + 1) if nested else _scalar(field.type, field.name)
        if field.is_repeated:
            smallest = draw(st.sampled_from([0, 1, 1, 1])) if depth < 3 else 0
            getattr(built, field.name).extend(draw(st.lists(values, min_size=smallest, max_size=2)))
        elif nested:
            getattr(built, field.name).CopyFrom(draw(values))
        else:
            setattr(built, field.name, draw(values))
    if unknown and draw(st.integers(0, 5)) == 0:
        built.MergeFromString(draw(unknown_fields()))
    return built


@cache
def requests(kind: Kind, *, unknown: bool = True) -> st.SearchStrategy[Any]:
    return messages(REQUESTS[kind], unknown=unknown)


@st.composite
def bodies(draw: st.DrawFn, kind: Kind) -> bytes:
    """Encoded requests, most with items, some broken."""
    body = draw(requests(kind)).SerializeToString()
    changes = draw(st.sampled_from([0, 0, 0, 1, 2]))
    return mutate(body, random.Random(draw(st.integers(0, 1 << 32))), changes) if changes else body


_TAGS = [number << 3 | wire_type for number in (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 15) for wire_type in (0, 1, 2, 2, 2, 3, 4, 5)]


def fragment(source: random.Random, size: int = 16) -> bytes:
    """Bytes of which many are tags and lengths."""
    return bytes(
        source.choice(_TAGS) if source.random() < 0.5 else source.choice((0, 1, 2, 4, 127, 128, 255)) for _ in range(size)
    )


def mutate(body: bytes, source: random.Random, changes: int) -> bytes:
    """The body with so many small changes."""
    changed = bytearray(body)
    for _ in range(changes):
        at = source.randrange(len(changed) + 1)
        match source.randrange(6):
            case 0:
                changed[at : at + 1] = source.randbytes(1)
            case 1:
                changed[at:at] = source.randbytes(source.randrange(1, 4))
            case 2:
                del changed[at : at + source.randrange(1, 4)]
            case 3:
                del changed[at:]
            case 4 if at < len(changed):
                changed[at] ^= 1 << source.randrange(8)
            case _:
                changed[at:at] = fragment(source)
    return bytes(changed)


def hostile_bodies(source: random.Random) -> Callable[[], bytes]:
    """A generator of bodies, half of them changed real requests, half built of fragments, some very deep."""
    seeds = [file.read_bytes() for file in CAPTURES if file.stat().st_size < 8000]
    seeds += [traffic.metrics(3).SerializeToString(), b"", b"\x0a\x00"]

    def nested(depth: int, *numbers: int) -> bytes:
        body = fragment(source, source.randrange(20))
        for _ in range(depth):
            body = oracle.field(source.choice(numbers), body)
        return body

    def body() -> bytes:
        way = source.random()
        if way < 0.5:
            return mutate(source.choice(seeds), source, source.choice((1, 1, 2, 4)))
        if way < 0.9:
            return nested(source.randrange(6), 1, 2, 2, 5, 7, 9, 10, 11, 13)
        depth = source.randrange(40, 60)
        values = [oracle.nest(*[5, 1] * depth, value=b""), b"\x4b" * 2 * depth + b"\x4c" * 2 * depth]
        return oracle.nest(1, 2, 2, 9, 2, value=source.choice(values))

    return body
