"""The Collector configurations at work, with a real Collector, real hops and a backend, through what goes wrong.

What the texts in collector_config/ promise: nothing lost, nothing twice where they say so, traces whole. Skipped where no
Collector is installed.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from otel_eval.records import Kind
from otel_eval.wire import lens
from tests import traffic
from tests.deploy.collector import ABSENT, COLLECTOR, CollectorProcess
from tests.hop import HopProcess, otlp_to, settings
from tests.senders import export
from tests.sink import INVALID, OK, UNAVAILABLE, Sink

pytestmark = [pytest.mark.skipif(COLLECTOR is None, reason=ABSENT), pytest.mark.slow]
GRPC, BOTH = ["grpc"], ["grpc", "http"]
Stack = contextlib.AsyncExitStack


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[Stack]:
    async with contextlib.AsyncExitStack() as stack:
        yield stack


async def started_hop(stack: Stack, directory: Path, exporters: dict[str, Any], **sections: Any) -> HopProcess:
    directory.mkdir()
    hop = HopProcess(directory, settings(directory, exporters, **sections))
    await hop.start()
    stack.push_async_callback(quietly, hop)
    return hop


async def quietly(hop: HopProcess) -> None:
    with contextlib.suppress(ProcessLookupError):
        await hop.kill()


async def collector(
    stack: Stack, name: str, directory: Path, receivers: dict[str, list[str]], **variables: str
) -> CollectorProcess:
    process = CollectorProcess(name, directory / "collector", receivers, variables)
    stack.push_async_callback(process.end)
    return await process.start()


async def sent(address: str, requests: int, traces_each: int = 1, spans: int = 3) -> set[bytes]:
    """Send requests of several traces each, all of which are taken; returns the ids of the spans."""
    ids: set[bytes] = set()
    for _ in range(requests):
        request = traffic.traces(spans)
        for _ in range(traces_each - 1):
            request.resource_spans.extend(traffic.traces(spans).resource_spans)
        assert await export(address, Kind.TRACES, request.SerializeToString()) is grpc.StatusCode.OK
        ids |= {span.span_id for group in request.resource_spans for scope in group.scope_spans for span in scope.spans}
    return ids


def arrived(*sinks: Sink) -> Counter[bytes]:
    return Counter(lens.span(raw).span_id for sink in sinks for raw in sink.spans())


async def until(seen: Any, timeout_s: float = 40.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not seen():
            await asyncio.sleep(0.05)


async def test_the_agent_loses_nothing_when_the_hop_is_away_and_it_is_killed(stack: Stack, tmp_path: Path, sink: Sink) -> None:
    hop = await started_hop(stack, tmp_path / "hop", {"otlp": otlp_to(sink.grpc_port)})
    agent = await collector(stack, "agent", tmp_path, {"otlp": BOTH}, OTEL_EVAL_ENDPOINT=hop.grpc)
    ids = await sent(agent.grpc, 5)
    await until(lambda: set(arrived(sink)) == ids)
    await hop.kill()
    ids |= await sent(agent.grpc, 20)
    await agent.end()
    await agent.start()
    ids |= await sent(agent.grpc, 5)
    await hop.start()
    await until(lambda: set(arrived(sink)) == ids)


async def test_the_gateway_keeps_traces_whole_and_waits_for_a_hop_without_duplicates(stack: Stack, tmp_path: Path) -> None:
    sinks = [await Sink().start() for _ in range(3)]
    for sink in sinks:
        stack.push_async_callback(sink.stop)
    hops = [await started_hop(stack, tmp_path / f"hop{n}", {"otlp": otlp_to(sink.grpc_port)}) for n, sink in enumerate(sinks)]
    names = {f"HOP_{number}": hop.grpc for number, hop in enumerate(hops)}
    gateway = await collector(stack, "gateway", tmp_path, {"otlp": BOTH}, **names)
    ids = await sent(gateway.grpc, 10, traces_each=6)
    await until(lambda: set(arrived(*sinks)) == ids)
    await hops[1].stop()
    ids |= await sent(gateway.grpc, 10, traces_each=6)
    await asyncio.sleep(8)  # longer than the tries of one export, and than the default timeout of the exporter
    assert set(arrived(*sinks)) < ids
    await hops[1].start()
    await until(lambda: set(arrived(*sinks)) == ids)
    assert set(arrived(*sinks).values()) == {1}
    homes = [{lens.span(raw).trace_id for raw in sink.spans()} for sink in sinks]
    assert all(homes)
    assert sum(map(len, homes)) == len(set.union(*homes))


async def test_the_tee_brings_scores_back_and_nothing_twice(stack: Stack, tmp_path: Path, sink: Sink) -> None:
    directory = tmp_path / "hop"
    directory.mkdir()
    sections = {
        "traces": {"quiet_period": "100ms"},
        "sampling": {"baseline": {"rate": 1.0}},
        "judging": {"evaluators": ["latency"]},
    }
    config = settings(directory, {"otlp": {}}, **sections)
    hop = HopProcess(directory, config)
    variables = {"BACKEND_ENDPOINT": f"127.0.0.1:{sink.grpc_port}", "OTEL_EVAL_ENDPOINT": hop.grpc}
    tee = await collector(stack, "tee", tmp_path, {"otlp": BOTH, "otlp/from_hop": GRPC}, **variables)
    host, port = tee.addresses["otlp/from_hop"]["grpc"].split(":")
    config["exporters"]["otlp"] |= {"endpoint": f"{host}:{port}", "tls": {"insecure": True}, "types": ["traces", "logs"]}
    await hop.start()
    stack.push_async_callback(quietly, hop)
    request = traffic.traces(1)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.extend([traffic.attribute("gen_ai.operation.name", "chat"), traffic.attribute("gen_ai.request.model", "m")])
    assert await export(tee.grpc, Kind.TRACES, request.SerializeToString()) is grpc.StatusCode.OK
    await until(lambda: len(sink.spans()) >= 2 and sink.items(Kind.LOGS))
    await asyncio.sleep(1)
    assert Counter(lens.span(raw).name for raw in sink.spans()) == {b"step 0": 1, b"evaluation latency": 1}
    assert len(sink.items(Kind.LOGS)) == 1


async def test_behind_the_hop_it_answers_what_the_backend_answers(stack: Stack, tmp_path: Path, sink: Sink) -> None:
    endpoint = f"http://127.0.0.1:{sink.http_port}"
    behind = await collector(stack, "behind", tmp_path, {"otlp": GRPC}, BACKEND_ENDPOINT=endpoint)
    host, port = behind.grpc.split(":")
    exporter = {"endpoint": f"{host}:{port}", "tls": {"insecure": True}, "compression": "gzip"}
    hop = await started_hop(stack, tmp_path / "hop", {"otlp": exporter})
    sink.behave = lambda _kind, _body: UNAVAILABLE
    ids = await sent(hop.grpc, 3)
    await until(lambda: sink.requests > 3)
    assert await hop.metric("exporter_sent_spans_total") == 0
    sink.behave = lambda _kind, _body: OK
    await until(lambda: set(arrived(sink)) == ids)
    sink.behave = lambda _kind, _body: INVALID
    await sent(hop.grpc, 1)
    async with asyncio.timeout(20):
        while await hop.metric("exporter_send_failed_spans_total") != 3:
            await asyncio.sleep(0.05)
