"""SIGHUP, again and again, while senders send: nothing is lost on the way."""

import asyncio
import copy
import signal
from pathlib import Path

from otel_eval.records import Kind
from tests import traffic
from tests.conftest import StartProcess
from tests.hop import free_port, otlp_to, write_config
from tests.sink import Sink
from tests.test_operations import drained, send

RELOADS = 8


async def test_reloads_under_load_lose_nothing(sink: Sink, start_process: StartProcess, tmp_path: Path) -> None:
    """Every exporter changes at each reload, one of them with a backlog: another one's progress must not delete it."""
    dead = free_port()
    journal = {"directory": str(tmp_path / "journal"), "max_size_mib": 8}
    hop = await start_process({"otlp/behind": otlp_to(dead), "otlp": otlp_to(sink.grpc_port)}, journal=journal)
    sent = 0
    stop = asyncio.Event()

    async def send_for_ever() -> None:
        nonlocal sent
        while not stop.is_set():
            await send(hop, Kind.TRACES, traffic.traces(5, value_bytes=2000).SerializeToString())
            sent += 5
            await asyncio.sleep(0.01)

    sending = asyncio.create_task(send_for_ever())
    config = copy.deepcopy(hop.config)
    for number in range(1, RELOADS + 1):
        for exporter in config["exporters"].values():
            exporter["timeout"] = f"{number}s"
        write_config(hop.directory, config)
        hop.signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while hop.log().count("the configuration was reloaded") < number:
                await asyncio.sleep(0.02)
    stop.set()
    await sending
    back = await Sink().start(dead)
    try:
        await drained(hop)
        assert [len(set(backend.spans())) for backend in (sink, back)] == [sent, sent]
    finally:
        await back.stop()
    assert "is gone" not in hop.log()
