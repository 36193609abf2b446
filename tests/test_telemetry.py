"""Our own metrics on the page of a real hop: all of them, each once, and nowhere else."""

import asyncio
import json
from collections import defaultdict

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceResponse
from prometheus_client.parser import text_string_to_metric_families

from otel_eval.records import Kind
from otel_eval.standin import StandIn
from otel_eval.telemetry import METRICS
from tests.conftest import StartProcess
from tests.hop import HopProcess, otlp_to
from tests.senders import export, named, post
from tests.sink import INVALID, OK, UNAVAILABLE, Answer, Sink
from tests.spans import log, log_request, span, trace_request


def one_in_part(_kind: Kind, body: bytes) -> Answer:
    """Refuses what a service named `refused` sends, and rejects one item of a request from `partial`."""
    partial = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=1, error_message="one"))
    if b"refused" in body:
        return INVALID
    return Answer(response=partial.SerializeToString()) if b"partial" in body else OK


async def settled(process: HopProcess, metric: str, value: float) -> None:
    """Return when the metric has that value."""
    async with asyncio.timeout(20):
        while await process.metric(metric) != value:
            await asyncio.sleep(0.02)


async def test_every_metric_that_is_declared_is_shown_once_used(sink: Sink, start_process: StartProcess) -> None:
    sink.behave = one_in_part
    process = await start_process({"otlp/main": otlp_to(sink.grpc_port)}, journal={"directory": "journal", "max_size_mib": 1})
    for kind in Kind:
        for service in ("good", "partial", "refused"):
            assert await export(process.grpc, kind, named(kind, 2, service)) is grpc.StatusCode.OK
        await settled(process, f"exporter_send_failed_{kind.items}_total", 2)
    sink.behave = lambda _kind, _body: UNAVAILABLE
    full: set[Kind] = set()
    while full != set(Kind):
        full |= {kind for kind in Kind if await post(process.http, kind, named(kind, 1, "long" * 25_000)) == 503}
    status, text = await process.page("metrics", "metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(name.startswith("otel_eval_") for name in families)
    units = defaultdict(str, {"By": "_bytes", "s": "_seconds"})
    for name, metric in METRICS.items():
        if name.startswith(("sampling_", "judging_")) or name.endswith(("_ledger_entries", "_scores")):
            families.pop(f"otel_eval_{name}{units[metric.unit]}", None)
            continue
        family = families.pop(f"otel_eval_{name}{units[metric.unit]}")
        assert (family.type, family.documentation) == (metric.type, metric.description)
        assert family.samples, name
        series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(series) == len(set(series)), "each only once"
    assert {name.removeprefix("otel_eval_process_") for name in families} >= {"cpu_seconds", "resident_memory_bytes"}
    assert all(name.startswith("otel_eval_process_") for name in families), "nothing that METRICS does not name"


async def test_every_metric_of_sampling_and_judging_is_shown_once_used(sink: Sink, start_process: StartProcess) -> None:
    traces = {"quiet_period": "100ms", "idle_timeout": "200ms"}
    sampling = {"baseline": {"rate": 1.0}}
    async with StandIn() as judge:
        waits = {"rubric": "task_completion", "freshness": "1s"}
        provider = {"api_key": "k", "base_url": judge.url}
        judging = {"evaluators": ["answered", "quality_4d", waits], "provider": provider, "rejudge_rate": 1.0}
        exporters = {"otlp": otlp_to(sink.grpc_port), "clickhouse": {"directory": "engine"}}
        process = await start_process(exporters, traces=traces, sampling=sampling, judging=judging)
        asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Where is my order?"}]}])
        answered = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "It is on its way."}]}])
        said = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": asked, "gen_ai.output.messages": answered}
        await export(process.grpc, Kind.TRACES, trace_request([span(said)]))
        feedback = log(
            "otel_eval.feedback", {"otel_eval.feedback.value": 0.0, "gen_ai.response.id": "r"}, trace=0, span_identity=0
        )
        await export(process.grpc, Kind.LOGS, log_request([feedback]))
        async with asyncio.timeout(60):
            while not await process.metric("judging_traces_total", state="scored"):
                await asyncio.sleep(0.1)
            for items in ("ledger_entries", "scores"):
                while not await process.metric(f"exporter_sent_{items}_total", exporter="clickhouse"):
                    await asyncio.sleep(0.1)
        _, text = await process.page("metrics", "metrics")
    shown = {family.name.removeprefix("otel_eval_") for family in text_string_to_metric_families(text)}
    wanted = {name for name, metric in METRICS.items() if metric.type == "gauge" and name.startswith(("sampling_", "judging_"))}
    wanted |= {"sampling_traces_decided", "sampling_traces_chosen", "sampling_feedback", "judging_traces", "judging_results"}
    later = {"judging_queue_size", "judging_canary_accuracy", "judging_canary_injections"}  # with its unit; after a canary
    assert wanted - later - shown == set()
    assert {"judging_queue_size_bytes", "judging_cost_microdollars"} <= shown


async def test_its_own_telemetry_is_not_forwarded(
    sink: Sink, start_process: StartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{sink.grpc_port}")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    for name in ("TRACES", "METRICS", "LOGS"):
        monkeypatch.setenv(f"OTEL_{name}_EXPORTER", "otlp")
    process = await start_process({"otlp": otlp_to(sink.grpc_port)})
    bodies = [named(Kind.TRACES, 1) for _ in range(3)]
    for body in bodies:
        await export(process.grpc, Kind.TRACES, body)
        await process.page("metrics", "metrics")
    assert await process.stop() == 0
    assert b"".join(sink.received[Kind.TRACES]) == b"".join(bodies)
    assert sink.received[Kind.METRICS] == sink.received[Kind.LOGS] == []


@pytest.mark.parametrize("off", ["metrics", "health"])
async def test_a_page_that_is_null_is_off(start_process: StartProcess, off: str) -> None:
    process = await start_process({"debug": {}})
    assert await process.stop() == 0
    host, port = process.config["telemetry"][off].split(":")
    process.config["telemetry"][off] = None
    starting = asyncio.create_task(process.start())
    async with asyncio.timeout(20):
        while process.log().count("otel-eval is running") < 2:
            await asyncio.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert await process.stop() == 0
