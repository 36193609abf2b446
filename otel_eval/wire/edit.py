"""Changes to request bodies as bytes; see the package docstring for what they guarantee."""

from collections.abc import Collection, Iterable, Mapping

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.wire import lens

AttributeValue = str | bool | int | float | bytes
"""What an attribute that we add can hold."""

# Tags of the length-delimited fields on the way to an item, the same for traces, logs and metrics.
_RESOURCE = b"\x0a"  # field 1 of a request
_SCOPE = b"\x12"  # field 2 of a resource group
_ITEM = b"\x12"  # field 2 of a scope group

_ENVELOPE_BYTES = 2 * (1 + 5)
"""The most that the tags and lengths of one resource and one scope group take."""


def join(bodies: Iterable[bytes | memoryview]) -> bytes:
    """One request with everything of several requests of one kind: protobuf concatenation."""
    return b"".join(bodies)


def split(body: bytes, max_bytes: int) -> list[bytes]:
    """Requests of at most `max_bytes` each that together hold every item of `body`, in order.

    Cuts only between items; an item that is over the limit with its resource and scope stands in a request alone.
    Groups without items are left out.
    """
    parts: list[bytes] = []
    groups: list[lens.Group] = []
    size = 0
    for group in lens.groups(body):
        around = len(group.resource) + len(group.scope) + _ENVELOPE_BYTES
        items: list[bytes] = []
        for item in group.items:
            cost = 1 + _varint_bytes(len(item)) + len(item)
            if size and size + (0 if items else around) + cost > max_bytes:
                parts.append(assemble([*groups, group._replace(items=items)]))
                groups, items, size = [], [], 0
            size += cost + (0 if items else around)
            items.append(item)
        groups.append(group._replace(items=items))
    if size:
        parts.append(assemble(groups))
    return parts


def drop(body: bytes, positions: Collection[int]) -> bytes:
    """The request without the items at these positions (counted over the whole request, from 0)."""
    kept: list[lens.Group] = []
    start = 0
    for group in lens.groups(body):
        items = [item for position, item in enumerate(group.items, start) if position not in positions]
        kept.append(group._replace(items=items))
        start += len(group.items)
    return assemble(kept)


def assemble(groups: Iterable[lens.Group]) -> bytes:
    """The request that holds these groups; a group without items is left out."""
    parts: list[bytes] = []
    for resource, scope, items in groups:
        if not items:
            continue
        fields = [scope]
        for item in items:
            fields += (_ITEM, _varint(len(item)), item)
        parts.append(_field(_RESOURCE, resource + _field(_SCOPE, b"".join(fields))))
    return b"".join(parts)


def append_attributes(span: bytes, attributes: Mapping[str, AttributeValue]) -> bytes:
    """The encoded span with attributes added behind its own; for a key that it has already, readers may take either."""
    return span + Span(attributes=_key_values(attributes)).SerializeToString()


def append_event(span: bytes, name: str, time_unix_nano: int, attributes: Mapping[str, AttributeValue]) -> bytes:
    """The encoded span with one more span event."""
    event = Span.Event(name=name, time_unix_nano=time_unix_nano, attributes=_key_values(attributes))
    return span + Span(events=[event]).SerializeToString()


def _key_values(attributes: Mapping[str, AttributeValue]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any_value(value)) for key, value in attributes.items()]


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
            return AnyValue(string_value=value)


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
