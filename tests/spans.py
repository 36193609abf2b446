"""Spans and log records for tests of the trace view, from plain Python values."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.traces.joining import read_traces
from otel_eval.traces.records import ModelCall
from otel_eval.traces.view import TraceView
from otel_eval.wire import lens

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000

Attributes = Mapping[str, Any]


class Made(NamedTuple):
    """A span or log record with what stands around it."""

    item: Span | LogRecord
    scope: str
    resource: Attributes


def any_value(value: Any) -> AnyValue:
    encoded = AnyValue()
    match value:
        case None:
            pass
        case bool():
            encoded.bool_value = value
        case int():
            encoded.int_value = value
        case float():
            encoded.double_value = value
        case bytes():
            encoded.bytes_value = value
        case list() | tuple():
            encoded.array_value.SetInParent()
            encoded.array_value.values.extend(any_value(item) for item in value)
        case dict():
            encoded.kvlist_value.SetInParent()
            for key, item in value.items():
                encoded.kvlist_value.values.add(key=str(key)).value.CopyFrom(any_value(item))
        case _:
            encoded.string_value = value
    return encoded


def _put(target: Any, attributes: Attributes) -> None:
    for key, value in attributes.items():
        target.add(key=key).value.CopyFrom(any_value(value))


def span(
    attributes: Attributes | None = None,
    *,
    name: str = "span",
    identity: int = 1,
    parent: int = 0,
    trace: int = 1,
    start_ms: float = 0,
    duration_ms: float = 100,
    scope: str = "",
    resource: Attributes | None = None,
    failed: bool | None = None,
    message: str = "",
    events: Sequence[tuple[str, Attributes]] = (),
    links: Sequence[tuple[int, int]] = (),
) -> Made:
    """A span; `failed` sets the status ERROR or OK. Events come a millisecond after another from the start."""
    start = START_NS + int(start_ms * MS)
    made = Span(name=name, trace_id=trace.to_bytes(16, "big"), span_id=identity.to_bytes(8, "big"))
    made.parent_span_id = parent.to_bytes(8, "big") if parent else b""
    made.start_time_unix_nano, made.end_time_unix_nano = start, start + int(duration_ms * MS)
    _put(made.attributes, attributes or {})
    if failed is not None:
        made.status.code = Span().status.STATUS_CODE_ERROR if failed else Span().status.STATUS_CODE_OK
        made.status.message = message
    for index, (event_name, event_attributes) in enumerate(events):
        event = made.events.add(name=event_name, time_unix_nano=start + index * MS)
        _put(event.attributes, event_attributes)
    for linked_trace, linked_span in links:
        made.links.add(trace_id=linked_trace.to_bytes(16, "big"), span_id=linked_span.to_bytes(8, "big"))
    return Made(made, scope, resource or {})


def log(
    name: str,
    attributes: Attributes | None = None,
    body: Any = None,
    *,
    span_identity: int = 1,
    trace: int = 1,
    at_ms: float = 0,
    scope: str = "",
) -> Made:
    """A log record of a span."""
    record = LogRecord(
        event_name=name, trace_id=trace.to_bytes(16, "big") if trace else b"", time_unix_nano=START_NS + int(at_ms * MS)
    )
    record.span_id = span_identity.to_bytes(8, "big") if span_identity else b""
    if body is not None:
        record.body.CopyFrom(any_value(body))
    _put(record.attributes, attributes or {})
    return Made(record, scope, {})


def trace_request(items: Sequence[Made]) -> bytes:
    request = ExportTraceServiceRequest()
    for item, scope_name, resource in items:
        group = request.resource_spans.add()
        _put(group.resource.attributes, resource)
        scope = group.scope_spans.add()
        scope.scope.name = scope_name
        if isinstance(item, Span):
            scope.spans.append(item)
    return request.SerializeToString()


def log_request(items: Sequence[Made]) -> bytes:
    request = ExportLogsServiceRequest()
    for item, scope_name, _ in items:
        scope = request.resource_logs.add().scope_logs.add()
        scope.scope.name = scope_name
        if isinstance(item, LogRecord):
            scope.log_records.append(item)
    return request.SerializeToString()


def views(*items: Made) -> list[TraceView]:
    """The joined traces of spans and log records."""
    spans = [item for item in items if isinstance(item.item, Span)]
    logs = [item for item in items if isinstance(item.item, LogRecord)]
    return read_traces(lens.groups(trace_request(spans)), lens.groups(log_request(logs)))


def view(*items: Made) -> TraceView:
    """The one trace of these spans and log records."""
    (found,) = views(*items)
    return found


def call(attributes: Attributes, **more: Any) -> ModelCall:
    """The one model call of a trace of one span."""
    (found,) = view(span(attributes, **more)).model_calls
    return found
