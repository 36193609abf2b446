"""Changes to request bodies as bytes; see the package docstring for what they guarantee."""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.wire import lens

AttributeValue = str | bool | int | float | bytes
"""What an attribute that we add can hold."""

# Tags of the length-delimited fields on the way to an item, the same for traces, logs and metrics.
_RESOURCE = b"\x0a"  # field 1 of a request
_SCOPE = b"\x12"  # field 2 of a resource group
_ITEM = b"\x12"  # field 2 of a scope group

_SURROGATE = re.compile("[\ud800-\udfff]")

_ENVELOPE_BYTES = 2 * (1 + 5)
"""The most that the tags and lengths of one resource and one scope group take."""

_MAX_GROWTH = 4
"""How many times the size of a request its parts may have together."""


def join(bodies: Iterable[bytes | memoryview]) -> bytes:
    """One request with everything of several requests of one kind: protobuf concatenation."""
    return b"".join(bodies)


def split(body: bytes, max_bytes: int) -> list[bytes]:
    """Requests of at most `max_bytes` each that together hold every item of `body`, in order.

    Cuts only between items; an item that is over the limit with its resource and scope stands in a request alone.
    Groups without items are left out. When the parts would repeat so much of a large resource or scope that they
    grow to more than four times the body, it is not cut at all.
    """
    parts: list[bytes] = []
    part: list[lens.Group] = []
    size = 0
    room = _MAX_GROWTH * len(body)
    for group in lens.groups(body):
        opened = False  # whether the part that is being filled has this group
        for item in group.items:
            cost = 1 + _varint_bytes(len(item)) + len(item)
            more = cost if opened else cost + _around(group, part)
            if part and size + more > max_bytes:
                parts.append(assemble(part))
                room -= len(parts[-1])
                if room < 0:
                    return [body]
                part, size, opened = [], 0, False
                more = cost + _around(group, part)
            if not opened:
                part.append(group._replace(items=[]))
                opened = True
            part[-1].items.append(item)
            size += more
    if part:
        parts.append(assemble(part))
    return parts


def _around(group: lens.Group, part: list[lens.Group]) -> int:
    """The most bytes that the fields around the items of `group` add to a part."""
    size = len(group.scope) + _ENVELOPE_BYTES
    if not part:
        size += len(group.request)
    if not part or part[-1].resource != group.resource:
        size += len(group.resource)
    return size


def drop(body: bytes, positions: Collection[int]) -> bytes:
    """The request without the items at these positions (counted over the whole request, from 0)."""
    kept: list[lens.Group] = []
    start = 0
    for group in lens.groups(body):
        items = [item for position, item in enumerate(group.items, start) if position not in positions]
        kept.append(group._replace(items=items))
        start += len(group.items)
    return assemble(kept)


def pick(body: bytes, positions: Collection[int]) -> dict[int, lens.Group]:
    """What `drop` leaves out: the items at these positions, each alone in its group."""
    found = {}
    start = 0
    for group in lens.groups(body):
        for position, item in enumerate(group.items, start):
            if position in positions:
                found[position] = group._replace(items=[item])
        start += len(group.items)
    return found


def size_alone(group: lens.Group) -> int:
    """The most bytes that a request takes in which there is nothing but this group of one item."""
    return len(group.request) + len(group.resource) + len(group.scope) + len(group.items[0]) + 2 * _ENVELOPE_BYTES


def assemble(groups: Iterable[lens.Group]) -> bytes:
    """The request that holds these groups; a group without items is left out, neighbours of one resource stay together."""
    kept = [group for group in groups if group.items]
    parts = [kept[0].request] if kept else []
    for resource, scopes in itertools.groupby(kept, key=attrgetter("resource")):
        fields = [resource]
        for group in scopes:
            scope = [group.scope]
            for item in group.items:
                scope += (_ITEM, _varint(len(item)), item)
            fields.append(_field(_SCOPE, b"".join(scope)))
        parts.append(_field(_RESOURCE, b"".join(fields)))
    return b"".join(parts)


def append_attributes(span: bytes, attributes: Mapping[str, AttributeValue]) -> bytes:
    """The encoded span with attributes added behind its own; for a key that it has already, readers may take either.

    Characters that are not Unicode become U+FFFD; raises ValueError for integers of more than 64 bits.
    """
    return span + Span(attributes=_key_values(attributes)).SerializeToString()


def append_event(span: bytes, name: str, time_unix_nano: int, attributes: Mapping[str, AttributeValue]) -> bytes:
    """The encoded span with one more span event; texts and numbers as for attributes."""
    event = Span.Event(name=_text(name), time_unix_nano=time_unix_nano, attributes=_key_values(attributes))
    return span + Span(events=[event]).SerializeToString()


def _key_values(attributes: Mapping[str, AttributeValue]) -> list[KeyValue]:
    return [KeyValue(key=_text(key), value=_any_value(value)) for key, value in attributes.items()]


def _any_value(value: AttributeValue) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case _:
            return AnyValue(string_value=_text(value))


def _text(value: str) -> str:
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _varint_bytes(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7)
