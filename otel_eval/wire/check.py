"""Whether a body is an OTLP request at all, how much is in it, and which of its items cannot be passed on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message

from otel_eval.errors import PermanentError, TooLargeError
from otel_eval.records import Kind
from otel_eval.wire.lens import REQUESTS
from otel_eval.wire.schema import merging_class

MAX_ITEMS = 1 << 20
"""More items than this in one request are refused, or as many fields around them: 64 MiB of real spans hold far fewer."""

_SCAN_FROM_BYTES = 2 * MAX_ITEMS
"""Fewer bytes cannot hold so many fields."""

# The fields on the way from a request to its items, by number and by name.
_ITEM_PATHS = {
    Kind.TRACES: ({1}, {2}, {2}),
    Kind.LOGS: ({1}, {2}, {2}),
    Kind.METRICS: ({1}, {2}, {2}, {5, 7, 9, 10, 11}, {1}),
}
_ITEM_PATH_NAMES = {
    Kind.TRACES: ("resource_spans", "scope_spans", "spans"),
    Kind.LOGS: ("resource_logs", "scope_logs", "log_records"),
    Kind.METRICS: ("resource_metrics", "scope_metrics", "metrics", "data_points"),
}
_FIXED_BYTES = {1: 8, 5: 4}
"""The length of a value by its wire type."""

_METRIC_DATA = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
_REMOTE_PARENT = 0x300
"""Span flags: the sender knows whether the parent is remote, and it is."""

OWN_SCOPE = b"otel_eval"
"""The instrumentation scope of what this program makes; it is never judged."""

_SMALL = {kind: merging_class(request, _ITEM_PATH_NAMES[kind]) for kind, request in REQUESTS.items()}
"""Checks a request and gives its items one by one, all that is below them merged."""

_LARGE = {kind: merging_class(request) for kind, request in REQUESTS.items()}
"""Checks a request of any size in constant memory."""


class Arrival(NamedTuple):
    """What a request brings of one trace: `items` spans or log records, and whether a local root is among the spans.

    A local root has no parent, or one that its flags say is in another process.
    """

    trace_id: bytes
    items: int
    has_root: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `inspect` found: the number of items and, by position in the request, those with ids of a wrong length.

    `arrivals` are the traces of the valid items, each once; what our own scope has made is left out, and so are log
    records without a trace id.
    """

    items: int
    invalid: frozenset[int] = frozenset()
    arrivals: Sequence[Arrival] = ()


class LocalRoot(NamedTuple):
    """A span that is the first of its trace in its process, by its position in the request."""

    position: int
    trace_id: bytes
    span_id: bytes


def inspect(kind: Kind, body: bytes) -> Inspection:
    """Check that `body` is an OTLP request of this kind and count its items.

    Items are spans, log records, or data points. Raises PermanentError when it does not parse and TooLargeError when
    it holds more than MAX_ITEMS items, or as many fields around them.
    """
    if len(body) > _SCAN_FROM_BYTES:
        _parse(_LARGE, kind, body)
        _refuse_too_many(kind, body)
    request = _parse(_SMALL, kind, body)
    if kind is Kind.METRICS:
        return Inspection(_count_points(request))
    return _inspect_spans(request) if kind is Kind.TRACES else _inspect_records(request)


def _inspect_spans(request: Any) -> Inspection:
    """Find spans whose ids are neither empty nor 16 and 8 bytes: a Collector downstream refuses all that comes with them.

    This is the loop that every span goes through: each field is asked for once.
    """
    wrong = []
    counts: dict[bytes, int] = {}
    roots = set()
    position = 0
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            own = scope.scope.name == OWN_SCOPE
            for span in scope.spans:
                position += 1
                trace_id, parent = span.trace_id, span.parent_span_id
                if len(trace_id) != 16 or len(span.span_id) != 8 or (parent and len(parent) != 8):
                    if not _valid_ids(trace_id, span.span_id, parent):
                        wrong.append(position - 1)
                elif not own:
                    counts[trace_id] = counts.get(trace_id, 0) + 1
                    if not parent or (span.flags & _REMOTE_PARENT) == _REMOTE_PARENT:
                        roots.add(trace_id)
    arrivals = [Arrival(trace_id, count, trace_id in roots) for trace_id, count in counts.items()]
    return Inspection(position, frozenset(wrong), arrivals)


def local_roots(body: bytes) -> list[LocalRoot]:
    """The local roots of a traces request that parses, but for what our own scope has made or what has invalid ids."""
    found = []
    position = 0
    for resource in _parse(_SMALL, Kind.TRACES, body).resource_spans:
        for scope in resource.scope_spans:
            own = scope.scope.name == OWN_SCOPE
            for span in scope.spans:
                parent = span.parent_span_id
                is_root = not own and (not parent or (span.flags & _REMOTE_PARENT) == _REMOTE_PARENT)
                if is_root and len(span.trace_id) == 16 and len(span.span_id) == 8 and len(parent) in (0, 8):
                    found.append(LocalRoot(position, span.trace_id, span.span_id))
                position += 1
    return found


def _inspect_records(request: Any) -> Inspection:
    """The same for log records."""
    wrong = []
    counts: dict[bytes, int] = {}
    position = 0
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            own = scope.scope.name == OWN_SCOPE
            for record in scope.log_records:
                position += 1
                trace_id = record.trace_id
                if not _valid_ids(trace_id, record.span_id, b""):
                    wrong.append(position - 1)
                elif trace_id and not own:
                    counts[trace_id] = counts.get(trace_id, 0) + 1
    return Inspection(position, frozenset(wrong), [Arrival(trace_id, count, False) for trace_id, count in counts.items()])


def _valid_ids(trace_id: bytes, span_id: bytes, parent_span_id: bytes) -> bool:
    return len(trace_id) in (16, 0) and len(span_id) in (8, 0) and len(parent_span_id) in (8, 0)


def _count_points(request: Any) -> int:
    metrics = (metric for resource in request.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics)
    return sum(len(getattr(metric, data).data_points) for metric in metrics for data in _METRIC_DATA if metric.HasField(data))


def _parse(classes: Mapping[Kind, type[Message]], kind: Kind, body: bytes) -> Any:
    try:
        return classes[kind].FromString(body)
    except DecodeError:
        raise PermanentError(f"not an OTLP {kind} request: the protobuf is malformed or nested deeper than 100 levels") from None


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
