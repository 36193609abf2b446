"""Spans for tests of the tables."""

import time
from collections.abc import Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.clickhouse import raw
from otel_eval.clickhouse.client import ClickHouse

EXACTLY_ONCE = {**raw.SETTINGS, "async_insert": 0, "deduplicate_blocks_in_dependent_materialized_views": 1}


def request(spans: Sequence[Span], service: str = "shop") -> ExportTraceServiceRequest:
    whole = ExportTraceServiceRequest()
    group = whole.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = service
    of_scope = group.scope_spans.add()
    of_scope.scope.name, of_scope.scope.version = "library", "1.2"
    of_scope.spans.extend(spans)
    return whole


def span(number: int, name: str = "chat", start: int | None = None) -> Span:
    """A span of its own trace."""
    begun = time.time_ns() if start is None else start
    return Span(
        trace_id=number.to_bytes(16), span_id=number.to_bytes(8), name=name, kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=begun, end_time_unix_nano=begun + 5,
    )  # fmt: skip


async def insert(client: ClickHouse, table: str, spans: Sequence[Span], token: str, **settings: int) -> None:
    body = request(spans).SerializeToString()
    assert raw.fits(body)
    await client.insert_raw(table, body, raw.FORMAT, {**EXACTLY_ONCE, "insert_deduplication_token": token, **settings})
