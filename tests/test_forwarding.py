"""The main job: what real senders send arrives, byte for byte."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import structlog.testing

from otel_eval.records import Kind
from otel_eval.service import Service
from otel_eval.wire import lens, otlp_json
from tests import traffic
from tests.conftest import StartHop
from tests.hop import otlp_to
from tests.sink import Sink

CAPTURES = sorted((Path(__file__).parent / "captures").glob("*.pb"))


async def send_grpc(service: Service, kind: Kind, body: bytes) -> bytes:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.receivers['grpc'].port}") as channel:
        export: Any = channel.unary_unary(f"/{kind.service}/Export")
        return bytes(await export(body))


async def send_http(service: Service, kind: Kind, body: bytes, content_type: str = "application/x-protobuf") -> bytes:
    url = f"http://127.0.0.1:{service.receivers['http'].port}/v1/{kind}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers={"Content-Type": content_type}) as response,
    ):
        assert response.status == 200, await response.text()
        return await response.read()


async def test_every_kind_is_forwarded_over_grpc(sink: Sink, start_hop: StartHop) -> None:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})
    requests = {Kind.TRACES: traffic.traces(3), Kind.LOGS: traffic.logs(2), Kind.METRICS: traffic.metrics(4)}
    for kind, request in requests.items():
        assert await send_grpc(service, kind, request.SerializeToString()) == b""
    for kind, request in requests.items():
        await sink.wait_for_items(1, kind)
        assert sink.received[kind] == [request.SerializeToString()]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_captured_requests_arrive_span_for_span(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    exporter = otlp_to(sink.grpc_port) if protocol == "grpc" else {"endpoint": f"http://127.0.0.1:{sink.http_port}"}
    service = await start_hop({"otlp" if protocol == "grpc" else "otlp_http": exporter})
    sent: dict[Kind, list[bytes]] = {Kind.TRACES: [], Kind.LOGS: []}
    for file in CAPTURES:
        kind = Kind.LOGS if file.name.endswith(".logs.pb") else Kind.TRACES
        body = file.read_bytes()
        await (send_grpc if protocol == "grpc" else send_http)(service, kind, body)
        sent[kind] += lens.items(body)
    assert len(sent[Kind.TRACES]) > 100
    for kind, items in sent.items():
        assert await sink.wait_for_items(len(items), kind) == items


async def test_the_captured_json_request_arrives(sink: Sink, start_hop: StartHop) -> None:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})
    (file,) = (Path(__file__).parent / "captures").glob("*.otlp.json")
    answer = await send_http(service, Kind.TRACES, file.read_bytes(), "application/json")
    assert answer == b"{}"
    expected = list(lens.items(otlp_json.to_protobuf(Kind.TRACES, file.read_bytes())))
    assert await sink.wait_for_items(len(expected)) == expected
    binary = file.with_name(file.name.replace(".otlp.json", ".pb")).read_bytes()
    assert [lens.span(raw).span_id for raw in expected] == [lens.span(raw).span_id for raw in lens.items(binary)]


async def test_a_backend_that_comes_back_gets_everything(sink: Sink, start_hop: StartHop) -> None:
    grpc_port = sink.grpc_port
    await sink.stop()
    service = await start_hop({"otlp": otlp_to(grpc_port)})
    bodies = [traffic.traces(2).SerializeToString() for _ in range(20)]
    for body in bodies:
        await send_grpc(service, Kind.TRACES, body)
    await asyncio.sleep(0.3)
    back = await Sink().start(grpc_port)
    try:
        expected = [item for body in bodies for item in lens.items(body)]
        assert sorted(await back.wait_for_items(len(expected))) == sorted(expected)
    finally:
        await back.stop()


async def test_a_kind_that_no_exporter_takes_is_named_at_the_start(sink: Sink, start_hop: StartHop) -> None:
    with structlog.testing.capture_logs() as lines:
        await start_hop({"otlp": otlp_to(sink.grpc_port, types=["traces"])})
    named = [line["kind"] for line in lines if "no exporter takes" in line["event"]]
    assert sorted(named) == ["logs", "metrics"]
