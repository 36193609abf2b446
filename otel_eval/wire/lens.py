"""Looking at request bodies, spans and log records without decoding what nobody asked for.

All three request kinds have one shape with the same field numbers: groups by resource, in them groups by scope, in
them the items (spans, log records, metrics). See opentelemetry-proto, `collector/*/v1/*_service.proto`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, cast

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_eval.errors import PermanentError
from otel_eval.records import Kind
from otel_eval.wire.schema import lens_classes

REQUESTS: Mapping[Kind, type[Message]] = {
    Kind.TRACES: ExportTraceServiceRequest,
    Kind.LOGS: ExportLogsServiceRequest,
    Kind.METRICS: ExportMetricsServiceRequest,
}
_GROUPS = lens_classes(
    "otel_eval.lens.groups",
    {
        "Request": [("resources", 1, ["Resource"])],
        "Resource": [("scopes", 2, ["Scope"])],
        "Scope": [("items", 2, ["bytes"])],
    },
)
_ITEMS = lens_classes(
    "otel_eval.lens.items",
    {
        "Span": [
            ("trace_id", 1, "bytes"),
            ("span_id", 2, "bytes"),
            ("trace_state", 3, "bytes"),
            ("parent_span_id", 4, "bytes"),
            ("name", 5, "bytes"),
            ("kind", 6, "int32"),
            ("start_time_unix_nano", 7, "fixed64"),
            ("end_time_unix_nano", 8, "fixed64"),
            ("attributes", 9, "map"),
            ("events", 11, ["Event"]),
            ("links", 13, ["Link"]),
            ("status", 15, "Status"),
            ("flags", 16, "fixed32"),
        ],
        "Event": [("time_unix_nano", 1, "fixed64"), ("name", 2, "bytes"), ("attributes", 3, "map")],
        "Link": [("trace_id", 1, "bytes"), ("span_id", 2, "bytes"), ("attributes", 4, "map")],
        "Status": [("message", 2, "bytes"), ("code", 3, "int32")],
        "LogRecord": [
            ("time_unix_nano", 1, "fixed64"),
            ("severity_number", 2, "int32"),
            ("body", 5, "bytes"),
            ("attributes", 6, "map"),
            ("trace_id", 9, "bytes"),
            ("span_id", 10, "bytes"),
            ("observed_time_unix_nano", 11, "fixed64"),
            ("event_name", 12, "bytes"),
        ],
        "Metric": [(name, number, "Points") for name, number in
                   (("gauge", 5), ("sum", 7), ("histogram", 9), ("exponential_histogram", 10), ("summary", 11))],
        "Points": [("data_points", 1, ["bytes"])],
    },
)  # fmt: skip

_AROUND = lens_classes(
    "otel_eval.lens.around",
    {
        "ResourceFields": [("resource", 1, "Resource")],
        "Resource": [("attributes", 1, "map")],
        "ScopeFields": [("scope", 1, "Scope")],
        "Scope": [("name", 1, "bytes")],
    },
)
_VALUES = lens_classes(
    "otel_eval.lens.values",
    {
        "AnyValue": [
            ("string_value", 1, "bytes"),
            ("bool_value", 2, "int32"),
            ("int_value", 3, "int64"),
            ("double_value", 4, "double"),
            ("array_value", 5, "ArrayValue"),
            ("kvlist_value", 6, "KeyValueList"),
            ("bytes_value", 7, "bytes"),
        ],
        "ArrayValue": [("values", 1, ["AnyValue"])],
        "KeyValueList": [("values", 1, ["KeyValue"])],
        "KeyValue": [("key", 1, "bytes"), ("value", 2, "AnyValue")],
    },
)


class AttributeMap(Protocol):
    """Attribute keys to the undecoded bytes of their AnyValue; of a key given twice the last one counts.

    A key that is not UTF-8 is given as bytes. An attribute with more fields than key and value is not seen (protobuf
    takes it for an unknown field); OTLP has such only in profiles.
    """

    def get(self, key: str, default: bytes | None = None) -> bytes | None: ...  # noqa: D102
    def __contains__(self, key: str) -> bool: ...
    def __getitem__(self, key: str) -> bytes: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...


class Status(Protocol):
    """A span's status: `code` 0 unset, 1 ok, 2 error."""

    message: bytes
    code: int


class Event(Protocol):
    """A span event."""

    time_unix_nano: int
    name: bytes
    attributes: AttributeMap


class Link(Protocol):
    """A link to another span."""

    trace_id: bytes
    span_id: bytes
    attributes: AttributeMap


class Span(Protocol):
    """What is read of a span; text is bytes, since it need not be UTF-8. Bits 8 and 9 of `flags` tell a remote parent."""

    trace_id: bytes
    span_id: bytes
    trace_state: bytes
    parent_span_id: bytes
    name: bytes
    kind: int
    start_time_unix_nano: int
    end_time_unix_nano: int
    attributes: AttributeMap
    events: list[Event]
    links: list[Link]
    status: Status
    flags: int


class LogRecord(Protocol):
    """What is read of a log record; `body` is the undecoded AnyValue."""

    time_unix_nano: int
    observed_time_unix_nano: int
    severity_number: int
    body: bytes
    attributes: AttributeMap
    trace_id: bytes
    span_id: bytes
    event_name: bytes


class Group(NamedTuple):
    """The items of one scope, with the encoded fields around them: each level without the one below it.

    `request` holds the fields beside the resource groups: none are known yet, but a later OTLP may have some.
    """

    request: bytes
    resource: bytes
    scope: bytes
    items: list[bytes]


def count_items(kind: Kind, body: bytes) -> int:
    """How many spans, log records or data points a request holds."""
    scopes = (scope for resource in _request(body).resources for scope in resource.scopes)
    if kind is Kind.METRICS:
        return sum(_count_points(metric) for scope in scopes for metric in scope.items)
    return sum(len(scope.items) for scope in scopes)


def _count_points(metric: bytes) -> int:
    lens = cast(Any, _parse("Metric", metric))
    return sum(len(points.data_points) for _, points in lens.ListFields())


def groups(body: bytes) -> Iterator[Group]:
    """The items of a request, by scope, each item as the bytes that were sent."""
    request = _request(body)
    resources = list(request.resources)
    request_fields = _fields_besides(request, "resources")
    for resource in resources:
        scopes = [(list(scope.items), _fields_besides(scope, "items")) for scope in resource.scopes]
        resource_fields = _fields_besides(resource, "scopes")
        for scope_items, scope_fields in scopes:
            yield Group(request_fields, resource_fields, scope_fields, scope_items)


def items(body: bytes) -> Iterator[bytes]:
    """Every span, log record or metric of a request, as the bytes that were sent."""
    for resource in _request(body).resources:
        for scope in resource.scopes:
            yield from scope.items


def span(raw: bytes) -> Span:
    """Look at one encoded span; raises PermanentError when it does not parse."""
    return cast(Span, _parse("Span", raw))


def log_record(raw: bytes) -> LogRecord:
    """Look at one encoded log record; raises PermanentError when it does not parse."""
    return cast(LogRecord, _parse("LogRecord", raw))


def resource_attributes(resource: bytes) -> AttributeMap:
    """The attributes of a group's `resource`; raises PermanentError when it does not parse."""
    return cast(AttributeMap, cast(Any, _parse("ResourceFields", resource, _AROUND)).resource.attributes)


def scope_name(scope: bytes) -> bytes:
    """The name of the instrumentation scope of a group's `scope`; raises PermanentError when it does not parse."""
    return cast(bytes, cast(Any, _parse("ScopeFields", scope, _AROUND)).scope.name)


def any_value(raw: bytes) -> Any:
    """Look at an encoded AnyValue; its texts are bytes. Raises PermanentError when it does not parse."""
    return _parse("AnyValue", raw, _VALUES)


def _parse(message: str, raw: bytes, classes: Mapping[str, type[Message]] = _ITEMS) -> Message:
    try:
        return classes[message].FromString(raw)
    except DecodeError:
        raise PermanentError(f"not an OTLP {message}") from None


def _request(body: bytes) -> Any:
    try:
        return _GROUPS["Request"].FromString(body)
    except DecodeError:
        raise PermanentError("not an OTLP request: the protobuf is malformed") from None


def _fields_besides(message: Any, field: str) -> bytes:
    """Empty `field` and encode the rest: the undeclared fields, which are resource, scope, schema URL and later ones."""
    message.ClearField(field)
    return cast(bytes, message.SerializeToString())
