"""The exporters that agents really use, of the OpenTelemetry SDK, through the hop to a backend."""

import asyncio
from typing import Any

import grpc
import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as ProtoLogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_eval.records import Kind
from otel_eval.service import Service
from otel_eval.wire import lens
from tests import oracle
from tests.conftest import StartHop
from tests.hop import otlp_to
from tests.sink import Sink

SENDERS = [(protocol, compression) for protocol in ("grpc", "http") for compression in ("gzip", "none")]
RESOURCE = Resource({"service.name": "agent", "deployment.environment.name": "tests"})


def exporter(service: Service, kind: Kind, protocol: str, compression: str) -> Any:
    port = service.receivers[protocol].port
    if protocol == "grpc":
        grpc_class: Any = {Kind.TRACES: GrpcSpans, Kind.LOGS: GrpcLogs, Kind.METRICS: GrpcMetrics}[kind]
        packed = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
        return grpc_class(endpoint=f"127.0.0.1:{port}", insecure=True, compression=packed)
    http_class: Any = {Kind.TRACES: HttpSpans, Kind.LOGS: HttpLogs, Kind.METRICS: HttpMetrics}[kind]
    packing = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    return http_class(endpoint=f"http://127.0.0.1:{port}/v1/{kind}", compression=packing)


def service_names(body: bytes) -> set[bytes]:
    return {b"agent" for item in oracle.items(body) if b"service.name" in item.resource and b"agent" in item.resource}


@pytest.mark.parametrize(("protocol", "compression"), SENDERS)
async def test_spans_of_the_sdk_arrive(sink: Sink, start_hop: StartHop, protocol: str, compression: str) -> None:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})

    def work() -> dict[bytes, bytes]:
        provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter(service, Kind.TRACES, protocol, compression)))
        tracer = provider.get_tracer("tests", "1.0", schema_url="https://example.org/1")
        made = {}
        for turn in range(300):
            with tracer.start_as_current_span(f"invoke_agent {turn}") as parent:
                parent.set_attribute("gen_ai.input.messages", "où? 日本 " * 20)
                with tracer.start_as_current_span("execute_tool") as child:
                    child.add_event("done", {"n": turn})
            for span in (parent, child):
                made[span.get_span_context().span_id.to_bytes(8, "big")] = span.name.encode()  # type: ignore[attr-defined]
        provider.shutdown()
        return made

    made = await asyncio.to_thread(work)
    seen = [lens.span(raw) for raw in await sink.wait_for_items(len(made))]
    assert {span.span_id: span.name for span in seen} == made
    assert len(seen) == len(made) == 600
    assert all(service_names(body) == {b"agent"} for body in sink.received[Kind.TRACES])
    assert all(b"https://example.org/1" in item.scope for body in sink.received[Kind.TRACES] for item in oracle.items(body))


@pytest.mark.parametrize(("protocol", "compression"), SENDERS)
async def test_log_records_of_the_sdk_arrive(sink: Sink, start_hop: StartHop, protocol: str, compression: str) -> None:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})

    def work() -> None:
        provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter(service, Kind.LOGS, protocol, compression)))
        logger = provider.get_logger("tests")
        for number in range(200):
            record = LogRecord(
                timestamp=number + 1,
                severity_number=SeverityNumber.INFO,
                body={"n": number},
                event_name="gen_ai.evaluation.result",
            )
            logger.emit(record)
        provider.shutdown()

    await asyncio.to_thread(work)
    raw = await sink.wait_for_items(200, Kind.LOGS)
    assert {lens.log_record(record).event_name for record in raw} == {b"gen_ai.evaluation.result"}
    records = [ProtoLogRecord.FromString(record) for record in raw]
    assert [(record.time_unix_nano, record.body.kvlist_value.values[0].value.int_value) for record in records] == [
        (number + 1, number) for number in range(200)
    ]


@pytest.mark.parametrize(("protocol", "compression"), SENDERS)
async def test_metrics_of_the_sdk_arrive(sink: Sink, start_hop: StartHop, protocol: str, compression: str) -> None:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})

    def work() -> None:
        reader = PeriodicExportingMetricReader(exporter(service, Kind.METRICS, protocol, compression))
        provider = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
        meter = provider.get_meter("tests")
        meter.create_counter("tokens").add(42, {"model": "m"})
        meter.create_histogram("latency").record(0.5)
        provider.shutdown()

    await asyncio.to_thread(work)
    metrics = {metric.name: metric for metric in map(Metric.FromString, await sink.wait_for_items(2, Kind.METRICS))}
    assert metrics["tokens"].sum.data_points[0].as_int == 42
    assert metrics["latency"].histogram.data_points[0].count == 1
    assert len(service_names(sink.received[Kind.METRICS][0])) == 1
