"""Rows of `otel_logs`, as the Collector's exporter makes them."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from otel_eval.clickhouse.cells import nanoseconds, unsigned
from otel_eval.clickhouse.values import Pairs, pairs, parse, text
from otel_eval.wire.schema import lens_classes

_Request: Final = lens_classes(
    "otel_eval.clickhouse.logs",
    {
        "Request": [("resources", 1, ["ResourceLogs"])],
        "ResourceLogs": [("resource", 1, "Resource"), ("scopes", 2, ["ScopeLogs"]), ("schema_url", 3, "bytes")],
        "Resource": [("attributes", 1, ["bytes"])],
        "ScopeLogs": [("scope", 1, "Scope"), ("records", 2, ["LogRecord"]), ("schema_url", 3, "bytes")],
        "Scope": [("name", 1, "bytes"), ("version", 2, "bytes"), ("attributes", 3, ["bytes"])],
        "LogRecord": [
            ("time_unix_nano", 1, "fixed64"),
            ("severity_number", 2, "int32"),
            ("severity_text", 3, "bytes"),
            ("body", 5, "bytes"),
            ("attributes", 6, ["bytes"]),
            ("flags", 8, "fixed32"),
            ("trace_id", 9, "bytes"),
            ("span_id", 10, "bytes"),
            ("observed_time_unix_nano", 11, "fixed64"),
            ("event_name", 12, "bytes"),
        ],
    },
)["Request"]

COLUMNS: Final = (
    "Timestamp", "TraceId", "SpanId", "TraceFlags", "SeverityText", "SeverityNumber", "ServiceName", "Body",
    "ResourceSchemaUrl", "ResourceAttributes", "ScopeSchemaUrl", "ScopeName", "ScopeVersion", "ScopeAttributes",
    "LogAttributes", "EventName",
)  # fmt: skip


def columns(bodies: Iterable[bytes]) -> dict[str, list[Any]]:
    """The columns of all records of logs requests, in order. Raises PermanentError when one is no request.

    A record without a time has the one at which it was observed. Ids are lowercase hexadecimal, other texts bytes.
    """
    rows = [row for body in bodies for row in _rows(parse(_Request, body))]
    return dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True)) if rows else {name: [] for name in COLUMNS}


def _rows(request: Any) -> Iterator[tuple[Any, ...]]:
    for group in request.resources:
        resource = pairs(group.resource.attributes)
        for scope_logs in group.scopes:
            scope = scope_logs.scope
            around = (group.schema_url, resource, scope_logs.schema_url, scope.name, scope.version, pairs(scope.attributes))
            service = resource.first(b"service.name")
            for record in scope_logs.records:
                yield _row(record, service, around)


def _row(record: Any, service: bytes, around: tuple[bytes | Pairs, ...]) -> tuple[Any, ...]:
    return (
        nanoseconds(record.time_unix_nano or record.observed_time_unix_nano),
        record.trace_id.hex(),
        record.span_id.hex(),
        record.flags & 0xFF,
        record.severity_text,
        unsigned(record.severity_number, 8),
        service,
        text(record.body),
        *around,
        pairs(record.attributes),
        record.event_name,
    )
