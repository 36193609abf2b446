"""Backends that misbehave below the level of an answer: raw HTTP, raw TCP, and a proxy that cuts or freezes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from aiohttp import web

from otel_eval.records import Kind
from otel_eval.service import Service
from tests.hop import otlp_to
from tests.sink import Sink

PROTOCOLS = ("grpc", "http")

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def exporter_to(protocol: str, grpc_port: int, http_port: int, **values: Any) -> dict[str, Any]:
    """The `exporters` section with one OTLP exporter of that protocol, named `otlp` or `otlp_http`."""
    if protocol == "grpc":
        return {"otlp": otlp_to(grpc_port, **values)}
    return {"otlp_http": {"endpoint": f"http://127.0.0.1:{http_port}", "compression": "none", **values}}


def to_sink(protocol: str, sink: Sink, **values: Any) -> dict[str, Any]:
    return exporter_to(protocol, sink.grpc_port, sink.http_port, **values)


def queue(consumers: int = 4, flush: str = "20ms", **batch: int) -> dict[str, Any]:
    return {"num_consumers": consumers, "batch": {"flush_timeout": flush, **batch}}


def journal(service: Service, *bodies: bytes, kind: Kind = Kind.TRACES, items: int = 1) -> None:
    """Put requests into the journal without a pause, so that they stand in one batch when they fit."""
    for body in bodies:
        service.journal.append(kind, body, items)


def behind(service: Service, name: str) -> int:
    """Journal bytes that the exporter has not delivered."""
    return int(service.state()["exporters"][name]["behind_bytes"])


def failing(service: Service, name: str) -> str:
    return str(service.state()["exporters"][name]["failing"])


async def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def http_server(respond: Respond) -> AsyncIterator[int]:
    """The port of a server that answers every request as `respond` says."""
    runner = web.ServerRunner(web.Server(respond), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def grpc_server(respond: Callable[[bytes, Any], Awaitable[bytes]]) -> AsyncIterator[int]:
    """The port of a server whose Export methods all do what `respond` does."""
    server = grpc.aio.server()
    for kind in Kind:
        handler: Any = grpc.unary_unary_rpc_method_handler(respond)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(kind.service, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def tcp_server(converse: Converse) -> AsyncIterator[int]:
    """The port of a server that does with each connection what `converse` does, and closes it then."""
    tasks: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await converse(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def never_answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 16):
        pass


class Proxy:
    """A TCP proxy in front of a port.

    The first `cut` connections end when `cut_after` bytes of the answer have passed. `freeze` lets the connections
    that exist hang without closing them; new ones work.
    """

    def __init__(self, port: int, cut: int = 0, cut_after: int = 0) -> None:
        self._port = port
        self._cut = cut
        self._cut_after = cut_after
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.connections = 0

    def freeze(self) -> None:
        self._thawed.clear()
        self._thawed = asyncio.Event()
        self._thawed.set()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        limit = self._cut_after if self.connections <= self._cut else 1 << 62
        thawed = self._thawed
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        there = asyncio.create_task(_pump(reader, upstream_writer, thawed))
        back = asyncio.create_task(_pump(upstream_reader, writer, thawed, limit))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            upstream_writer.close()
            await asyncio.gather(there, back, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thawed: asyncio.Event, limit: int = 1 << 62) -> None:
    while limit > 0 and (chunk := await reader.read(min(limit, 1 << 16))):
        await thawed.wait()
        writer.write(chunk)
        await writer.drain()
        limit -= len(chunk)
