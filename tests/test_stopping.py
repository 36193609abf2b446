"""Stopping a hop whose backend makes it hard: signals come again, or calls hang."""

import asyncio
import json
import signal
from typing import Any

import grpc
import pytest

from otel_eval.records import Kind
from tests.conftest import StartProcess
from tests.hop import HopProcess, free_port, otlp_to
from tests.senders import export, named
from tests.sink import OK, UNAVAILABLE, Answer, Sink


async def ended(process: HopProcess) -> int:
    async with asyncio.timeout(30):
        return await process.wait()


async def in_flight(process: HopProcess) -> None:
    async with asyncio.timeout(20):
        while await process.metric("exporter_in_flight_requests") != 1:
            await asyncio.sleep(0.02)


async def stopping(process: HopProcess) -> dict[str, Any]:
    """What /readyz says as soon as the hop stops."""
    async with asyncio.timeout(20):
        while True:
            status, text = await process.page("health", "readyz")
            state: dict[str, Any] = json.loads(text)
            if "stopping" in state["problems"]:
                assert status == 503
                return state
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_second_signal_does_not_disturb_a_stop(sink: Sink, start_process: StartProcess, second: signal.Signals) -> None:
    sink.behave = lambda _kind, _body: UNAVAILABLE
    process = await start_process({"otlp": otlp_to(sink.grpc_port)}, service={"drain_timeout": "1h"})
    body = named(Kind.TRACES, 1)
    await export(process.grpc, Kind.TRACES, body)
    process.signal(signal.SIGTERM)
    state = await stopping(process)
    assert state["exporters"]["otlp"]["behind_bytes"] > 0
    assert await export(process.grpc, Kind.TRACES, body) is grpc.StatusCode.UNAVAILABLE, "it receives nothing any more"
    process.signal(second)
    tries = sink.requests
    async with asyncio.timeout(20):
        while sink.requests < tries + 3:
            await asyncio.sleep(0.02)
    sink.behave = lambda _kind, _body: OK
    assert await ended(process) == 0
    assert sink.received[Kind.TRACES] == [body]
    assert "everything_sent=True" in process.log()
    assert "Traceback" not in process.log()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_call_that_hangs_does_not_hold_a_stop_up(start_process: StartProcess, protocol: str) -> None:
    port = free_port()
    ports = {"grpc_port": port} if protocol == "grpc" else {"http_port": port}
    hanging = await Sink(behave=lambda _kind, _body: Answer(14, 503, "late", delay_s=600)).start(**ports)
    to_http = {"endpoint": f"http://127.0.0.1:{port}", "timeout": "5m"}
    exporters = {"otlp": otlp_to(port, timeout="5m")} if protocol == "grpc" else {"otlp_http": to_http}
    process = await start_process(exporters, service={"drain_timeout": "200ms"})
    body = named(Kind.TRACES, 3)
    await export(process.grpc, Kind.TRACES, body)
    await in_flight(process)
    left = int(await process.metric("exporter_queue_size_bytes"))
    process.signal(signal.SIGTERM)
    assert await ended(process) == 0
    assert f"behind_bytes={left}" in process.log()
    assert "everything_sent=False" in process.log()
    assert "Traceback" not in process.log()
    await hanging.stop()
    back = await Sink().start(**ports)
    try:
        await process.start()
        await back.wait_for_items(3)
        assert back.received[Kind.TRACES] == [body]
        assert await process.stop() == 0
    finally:
        await back.stop()
