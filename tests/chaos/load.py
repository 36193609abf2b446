"""Load on a hop: senders that remember what was acknowledged."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc
import grpc.aio

from otel_eval.records import Kind
from otel_eval.wire import lens
from tests import traffic
from tests.hop import HopProcess

_RECONNECT_FAST = [(f"grpc.{name}_reconnect_backoff_ms", 50) for name in ("initial", "min", "max")]

_Send = Callable[[bytes], Awaitable[bool]]


class Load:
    """Senders that export traces one after the other, and never again what the hop has not acknowledged.

    So every span that reaches the backend twice was sent twice by the hop. `sent` and `acknowledged` hold spans as bytes.
    """

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)
        self._stopping = False
        self.sent: set[bytes] = set()
        self.acknowledged: set[bytes] = set()

    @asynccontextmanager
    async def on(self, hop: HopProcess) -> AsyncIterator[None]:
        """Send for as long as the block runs; the hop must be up at its end, since senders wait for it."""
        self._stopping = False
        async with (
            grpc.aio.insecure_channel(hop.grpc, _RECONNECT_FAST) as channel,
            aiohttp.ClientSession() as session,
            asyncio.TaskGroup() as senders,
        ):
            for send in (grpc_sender(channel), grpc_sender(channel), grpc_sender(channel), http_sender(session, hop.http)):
                senders.create_task(self._send_on(send))
            yield
            self._stopping = True

    async def _send_on(self, send: _Send) -> None:
        while not self._stopping:
            size = self._chance.choice([10, 10, 200, 5000])
            body = traffic.traces(self._chance.randint(1, 12), value_bytes=size).SerializeToString()
            spans = list(lens.items(body))
            self.sent.update(spans)
            if await send(body):
                self.acknowledged.update(spans)
            await asyncio.sleep(0.002)


def grpc_sender(channel: grpc.aio.Channel) -> _Send:
    """Waits while the hop is away; a call that the hop's death cuts off, or a full journal refuses, is not acknowledged."""
    export: Any = channel.unary_unary(f"/{Kind.TRACES.service}/Export")

    async def send(body: bytes) -> bool:
        try:
            await export(body, wait_for_ready=True, timeout=60)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise  # a sender would drop its data
            return False
        return True

    return send


def http_sender(session: aiohttp.ClientSession, base: str) -> _Send:
    """Knocks again and again while the hop is away."""

    async def send(body: bytes) -> bool:
        headers = {"Content-Type": "application/x-protobuf"}
        try:
            async with session.post(f"{base}/v1/traces", data=body, headers=headers) as response:
                assert response.status in (200, 503), f"{response.status} makes a sender drop its data"
                await response.read()
                return response.status == 200
        except aiohttp.ClientError:
            await asyncio.sleep(0.05)
            return False

    return send


async def delivered(hop: HopProcess, timeout_s: float = 60.0) -> None:
    """Return when the hop's exporters have delivered everything."""
    async with asyncio.timeout(timeout_s):
        while await behind(hop):
            await asyncio.sleep(0.02)


async def behind(hop: HopProcess) -> int:
    """Journal bytes that its exporters have not delivered."""
    _, text = await hop.page("health", "readyz")
    return sum(int(exporter["behind_bytes"]) for exporter in json.loads(text)["exporters"].values())
