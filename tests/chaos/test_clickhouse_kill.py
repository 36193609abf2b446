"""Every span is stored exactly once in effect, whatever is killed while it is stored, and however connections end."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import endpoint_of, running
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.wire import lens
from tests.chaos.load import Load, delivered
from tests.conftest import StartProcess
from tests.hop import HopProcess

ROUNDS = ("server", "hop", "both", "both")
FAST = {
    "retry_on_failure": {"initial_interval": "20ms", "max_interval": "200ms"},
    "sending_queue": {"batch": {"flush_timeout": "50ms", "min_size_bytes": 20_000}},
}


class Cutter:
    """A proxy that now and then cuts a connection: in the middle of a request, or behind the server's work."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.cut_before = self.cut_after = 0
        self.cuts = True
        self._chance = random.Random(seed)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            below_reader, below_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        there = asyncio.create_task(self._forward(reader, below_writer, back=False))
        back = asyncio.create_task(self._forward(below_reader, writer, back=True))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        for one in (writer, below_writer):
            one.close()
        await asyncio.gather(there, back, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                if self.cuts and self._chance.random() < (0.05 if back else 0.02):
                    self.cut_after += back
                    self.cut_before += not back
                    return
                writer.write(chunk)
                await writer.drain()


@asynccontextmanager
async def cutting(port: int, seed: int) -> AsyncIterator[tuple[Cutter, int]]:
    cutter = Cutter(port, seed)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    try:
        yield cutter, server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.slow
async def test_a_server_and_a_hop_that_die_neither_lose_nor_double(tmp_path: Path, start_process: StartProcess) -> None:
    server = EmbeddedServer(tmp_path / "engine")
    await server.start()
    try:
        async with cutting(server.http_port, 1) as (cutter, port):
            endpoint = f"http://writer@127.0.0.1:{port}/otel"
            password = server.passwords["writer"].reveal()
            hop = await start_process({"clickhouse": {"endpoint": endpoint, "password": password, **FAST}})
            load = Load("clickhouse")
            async with load.on(hop):
                await _rounds(random.Random(1), lambda: server.pid, hop)
            cutter.cuts = False  # of many pieces one is always cut: what is large would never come through
            await delivered(hop)
        client = ClickHouse(endpoint_of(server, "writer", "otel"))
        await _compare(client, load)
        await client.close()
        assert cutter.cut_before
        assert cutter.cut_after
    finally:
        await server.stop()


@pytest.mark.slow
async def test_an_embedded_server_dies_with_its_hop_and_neither_loses_nor_doubles(
    tmp_path: Path, start_process: StartProcess
) -> None:
    hop = await start_process({"clickhouse": {"directory": str(tmp_path / "engine"), **FAST}})
    load = Load("embedded")
    async with load.on(hop):
        await _rounds(random.Random(3), lambda: _child_of(hop), hop)
    await delivered(hop)
    where = running(tmp_path / "engine", "otel")
    assert where is not None
    client = ClickHouse(where)  # as the reader, while the hop runs
    await _compare(client, load)
    await client.close()


async def _rounds(chance: random.Random, server_pid: Any, hop: HopProcess) -> None:
    for victim in ROUNDS:
        await asyncio.sleep(chance.uniform(1.0, 2.0))
        if victim != "hop" and (pid := server_pid()) is not None:
            os.kill(pid, signal.SIGKILL)
        if victim != "server":
            await hop.kill()
            await hop.start()
    await asyncio.sleep(0.5)


def _child_of(hop: HopProcess) -> int | None:
    children = Path(f"/proc/{hop.pid}/task/{hop.pid}/children").read_text().split()
    return int(children[0]) if children else None


async def _compare(client: ClickHouse, load: Load) -> None:
    stored = (await client.query("SELECT count(), groupUniqArray(SpanId) FROM otel_traces")).rows
    count, ids = stored[0][0], set(stored[0][1])
    sent, acknowledged = ({lens.span(span).span_id.hex() for span in spans} for spans in (load.sent, load.acknowledged))
    assert len(acknowledged) > 500, "so little load proves nothing"
    assert acknowledged <= ids <= sent
    assert count == len(ids), "some are there twice"
    seen = (
        await client.query("SELECT count(), sum(n) FROM (SELECT TraceId, count() AS n FROM otel_traces GROUP BY TraceId)")
    ).rows
    assert seen[0][1] == count
