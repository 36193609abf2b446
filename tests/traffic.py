"""OTLP requests for tests."""

import json
import os
import time

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.trace import Tracer


def attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def traces(spans: int = 2, *, attributes: int = 3, value_bytes: int = 10, service: str = "agent") -> ExportTraceServiceRequest:
    """One request with spans of random ids."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.append(attribute("service.name", service))
    scope = group.scope_spans.add()
    scope.scope.name = "tests"
    trace_id = os.urandom(16)
    for index in range(spans):
        span = scope.spans.add(trace_id=trace_id, span_id=os.urandom(8), name=f"step {index}", kind=1, flags=0x101)
        span.start_time_unix_nano = time.time_ns()
        span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000
        span.attributes.extend(attribute(f"gen_ai.key.{n}", "v" * value_bytes) for n in range(attributes))
    return request


def logs(records: int = 2) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for _ in range(records):
        record = scope.log_records.add(trace_id=os.urandom(16), span_id=os.urandom(8), event_name="gen_ai.choice")
        record.body.string_value = "hello"
    return request


def metrics(points: int = 2) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="tokens")
    for value in range(points):
        metric.sum.data_points.add(as_int=value)
    return request


def ask(tracer: Tracer, number: int) -> None:
    """A trace by an SDK: an agent and its one model call."""
    with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        asked, answered = f"Where is order {number}?", f"Order {number} left our house this morning."
        said = {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o",
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": asked}]}]),
            "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": answered}]}]),
        }  # fmt: skip
        with tracer.start_as_current_span("chat", attributes=said):
            pass
