"""The file of the judges' queue is damaged while the hop runs."""

import asyncio
import os
from typing import Any

import grpc.aio

from otel_eval.records import Kind
from otel_eval.standin import StandIn
from otel_eval.wire import edit
from tests.conftest import StartProcess
from tests.hop import HopProcess, otlp_to
from tests.judging.pool_setup import RUBRIC, stored
from tests.sink import Sink


async def send(hop: HopProcess, traces: range) -> None:
    async with grpc.aio.insecure_channel(hop.grpc) as channel:
        export: Any = channel.unary_unary(f"/{Kind.TRACES.service}/Export")
        for number in traces:
            await export(edit.assemble(stored(number).spans))


async def test_spans_go_on_and_the_log_says_what_to_do(start_process: StartProcess, sink: Sink) -> None:
    async with StandIn() as api:
        hop = await start_process(
            {"otlp": otlp_to(sink.grpc_port)},
            traces={"quiet_period": "50ms"},
            sampling={"baseline": {"rate": 1.0}},
            judging={"provider": {"api_key": "any", "base_url": api.url}, "evaluators": [RUBRIC]},
        )
        await send(hop, range(1, 11))
        for name in ("queue.sqlite3", "queue.sqlite3-wal", "queue.sqlite3-shm"):
            with open(hop.directory / "journal" / "judging" / name, "r+b") as file:
                file.write(os.urandom(os.fstat(file.fileno()).st_size))
        await send(hop, range(11, 31))
        await sink.wait_for_items(60)
        async with asyncio.timeout(20):
            while "is damaged" not in hop.log():
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)  # what is tried again fails again
        assert "move it away" in hop.log()
        assert "Traceback" not in hop.log()
        await hop.stop()
