"""Whether a body is an OTLP request at all, how much is in it, and which of its items cannot be passed on."""

from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.message import DecodeError

from otel_eval.errors import PermanentError, TooLargeError
from otel_eval.records import Kind
from otel_eval.wire.lens import REQUESTS, count_items
from otel_eval.wire.schema import lens_classes, merging_class

MAX_ITEMS = 1 << 20
"""More items than this in one request are refused, or as many fields around them: 64 MiB of real spans hold far fewer."""

_SCAN_FROM_BYTES = 2 * MAX_ITEMS
"""Fewer bytes cannot hold so many fields."""

# The numbers of the fields on the way from a request to its items.
_ITEM_PATHS = {
    Kind.TRACES: ({1}, {2}, {2}),
    Kind.LOGS: ({1}, {2}, {2}),
    Kind.METRICS: ({1}, {2}, {2}, {5, 7, 9, 10, 11}, {1}),
}
_FIXED_BYTES = {1: 8, 5: 4}
"""The length of a value by its wire type."""

_CHECKS = {kind: merging_class(request) for kind, request in REQUESTS.items()}

_IDS = {
    kind: lens_classes(
        f"otel_eval.lens.ids.{kind}",
        {
            "Request": [("resources", 1, ["Resource"])],
            "Resource": [("scopes", 2, ["Scope"])],
            "Scope": [("items", 2, ["Item"])],
            "Item": [("trace_id", trace_id, "bytes"), ("span_id", span_id, "bytes"), ("parent_span_id", parent, "bytes")],
        },
    )["Request"]
    # A log record has no parent: 1000 is a number that OTLP does not use.
    for kind, (trace_id, span_id, parent) in {Kind.TRACES: (1, 2, 4), Kind.LOGS: (9, 10, 1000)}.items()
}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `inspect` found: the number of items and, by position in the request, those with ids of a wrong length."""

    items: int
    invalid: frozenset[int] = frozenset()


def inspect(kind: Kind, body: bytes) -> Inspection:
    """Check that `body` is an OTLP request of this kind and count its items.

    Items are spans, log records, or data points. Raises PermanentError when it does not parse and TooLargeError when
    it holds more than MAX_ITEMS items, or as many fields around them.
    """
    try:
        _CHECKS[kind].FromString(body)
    except DecodeError:
        raise PermanentError(f"not an OTLP {kind} request: the protobuf is malformed or nested deeper than 100 levels") from None
    if len(body) > _SCAN_FROM_BYTES:
        _refuse_too_many(kind, body)
    count = count_items(kind, body)
    if count > MAX_ITEMS:
        raise _too_many()
    return Inspection(count, _wrong_id_lengths(kind, body) if count and kind in _IDS else frozenset())


def _wrong_id_lengths(kind: Kind, body: bytes) -> frozenset[int]:
    """Positions of items whose ids are neither empty nor 16 and 8 bytes: a Collector downstream refuses the whole request."""
    request = cast(Any, _IDS[kind].FromString(body))
    wrong = []
    position = -1
    for resource in request.resources:
        for scope in resource.scopes:
            for item in scope.items:
                position += 1
                trace_id, span_id, parent = len(item.trace_id), len(item.span_id), len(item.parent_span_id)
                if trace_id not in (16, 0) or span_id not in (8, 0) or parent not in (8, 0):
                    wrong.append(position)
    return frozenset(wrong)


def _too_many() -> TooLargeError:
    return TooLargeError(f"more than {MAX_ITEMS} items in one request")


def _refuse_too_many(kind: Kind, body: bytes) -> None:
    """Raise TooLargeError for too many fields on the levels down to the items, before a lens makes an array of them.

    The body is known to parse. What an unknown group holds counts too, since each of its fields takes a step.
    """
    path = _ITEM_PATHS[kind]
    fields = 0
    open_groups = 0
    levels = [(0, len(body))]  # (position, end) of the levels being walked, the innermost last
    while levels:
        position, end = levels.pop()
        while position < end:
            fields += 1
            if fields > MAX_ITEMS:
                raise _too_many()
            key, position = _varint(body, position)
            wire_type = key & 7
            if wire_type == 2:
                length, position = _varint(body, position)
                depth = len(levels)
                if depth + 1 < len(path) and key >> 3 in path[depth] and not open_groups:
                    levels.append((position + length, end))
                    end = position + length
                else:
                    position += length
            elif wire_type == 0:
                position = _varint(body, position)[1]
            elif wire_type in _FIXED_BYTES:
                position += _FIXED_BYTES[wire_type]
            else:  # a group begins (3) or ends (4)
                open_groups += 1 if wire_type == 3 else -1


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """The varint at this position, and the position behind it."""
    value = body[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    shift = 7
    while True:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
