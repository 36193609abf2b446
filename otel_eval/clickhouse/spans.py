"""Rows of `otel_traces`, made here: for values that the landing table cannot take apart, and for servers before 25.9.

They are the rows that the landing table's view makes of the same bytes. The landing table's is the way to take where
`raw.fits`: this one takes six times its CPU here.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from otel_eval.clickhouse.cells import nanoseconds
from otel_eval.clickhouse.values import Pairs, pairs, parse
from otel_eval.wire.schema import lens_classes

_Request: Final = lens_classes(
    "otel_eval.clickhouse.spans",
    {
        "Request": [("resources", 1, ["ResourceSpans"])],
        "ResourceSpans": [("resource", 1, "Resource"), ("scopes", 2, ["ScopeSpans"])],
        "Resource": [("attributes", 1, ["bytes"])],
        "ScopeSpans": [("scope", 1, "Scope"), ("spans", 2, ["Span"])],
        "Scope": [("name", 1, "bytes"), ("version", 2, "bytes")],
        "Span": [
            ("trace_id", 1, "bytes"),
            ("span_id", 2, "bytes"),
            ("trace_state", 3, "bytes"),
            ("parent_span_id", 4, "bytes"),
            ("name", 5, "bytes"),
            ("kind", 6, "int32"),
            ("start_time_unix_nano", 7, "fixed64"),
            ("end_time_unix_nano", 8, "fixed64"),
            ("attributes", 9, ["bytes"]),
            ("events", 11, ["Event"]),
            ("links", 13, ["Link"]),
            ("status", 15, "Status"),
        ],
        "Event": [("time_unix_nano", 1, "fixed64"), ("name", 2, "bytes"), ("attributes", 3, ["bytes"])],
        "Link": [("trace_id", 1, "bytes"), ("span_id", 2, "bytes"), ("trace_state", 3, "bytes"), ("attributes", 4, ["bytes"])],
        "Status": [("message", 2, "bytes"), ("code", 3, "int32")],
    },
)["Request"]  # fmt: skip

_KINDS: Final = {1: "Internal", 2: "Server", 3: "Client", 4: "Producer", 5: "Consumer"}
_STATUS_CODES: Final = {1: "Ok", 2: "Error"}

COLUMNS: Final = (
    "Timestamp", "TraceId", "SpanId", "ParentSpanId", "TraceState", "SpanName", "SpanKind", "ServiceName",
    "ResourceAttributes", "ScopeName", "ScopeVersion", "SpanAttributes", "Duration", "StatusCode", "StatusMessage",
    "Events.Timestamp", "Events.Name", "Events.Attributes",
    "Links.TraceId", "Links.SpanId", "Links.TraceState", "Links.Attributes",
)  # fmt: skip


def columns(bodies: Iterable[bytes]) -> dict[str, list[Any]]:
    """The columns of all spans of trace requests, in order. Raises PermanentError when one is no request.

    Times are ns since 1970, no later than 2262; ids are lowercase hexadecimal, other texts bytes.
    """
    rows = [row for body in bodies for row in _rows(parse(_Request, body))]
    return dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True)) if rows else {name: [] for name in COLUMNS}


def _rows(request: Any) -> Iterator[tuple[Any, ...]]:
    for group in request.resources:
        resource = pairs(group.resource.attributes)
        service = resource.first(b"service.name")
        for scope_spans in group.scopes:
            scope = scope_spans.scope
            for span in scope_spans.spans:
                yield _row(span, service, resource, scope.name, scope.version)


def _row(span: Any, service: bytes, resource: Pairs, scope: bytes, version: bytes) -> tuple[Any, ...]:
    start, status, events, links = span.start_time_unix_nano, span.status, span.events, span.links
    return (
        nanoseconds(start), span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.trace_state,
        span.name, _KINDS.get(span.kind, "Unspecified"), service, resource, scope, version, pairs(span.attributes),
        max(span.end_time_unix_nano - start, 0), _STATUS_CODES.get(status.code, "Unset"), status.message,
        [nanoseconds(event.time_unix_nano) for event in events],
        [event.name for event in events],
        [pairs(event.attributes) for event in events],
        [link.trace_id.hex() for link in links],
        [link.span_id.hex() for link in links],
        [link.trace_state for link in links],
        [pairs(link.attributes) for link in links],
    )  # fmt: skip
