"""A long backend outage costs disk and nothing else: memory stays flat, senders notice only a full journal.

An hour is simulated by its volume. Run with `-s` to see the figures.
"""

import asyncio
import contextlib
import io
import struct
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_eval.records import Kind
from otel_eval.wire import lens
from tests import hop, traffic
from tests.chaos.load import behind, delivered
from tests.conftest import StartProcess
from tests.exporters.backends import PROTOCOLS, to_sink
from tests.hop import HopProcess, otlp_to
from tests.sink import OK, Answer, Sink

VOLUME = 400 << 20
WARM_UP = 64 << 20
MAX_GROWTH = 160 << 20
"""Four messages of 4 MiB on their way, each read, joined and several times in gRPC: whatever the volume."""

SPANS = 32
SPAN_BYTES = 128 << 10

_SPAN_ID = b"\x12\x08"  # field 2, 8 bytes


def rss(pid: int) -> int:
    """Resident memory in bytes."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


class Requests:
    """Big requests, made by putting fresh span ids into one template: making each anew would cost more than the hop does."""

    def __init__(self, spans: int, span_bytes: int) -> None:
        self.spans = spans
        request = traffic.traces(spans, attributes=1, value_bytes=span_bytes)
        marks = []
        for number, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
            span.span_id = marked = b"mark" + struct.pack(">I", number)
            marks.append(_SPAN_ID + marked)
        self._template = bytearray(request.SerializeToString())
        self._places = [self._template.index(mark) + 2 for mark in marks]

    def make(self, number: int) -> tuple[bytes, set[bytes]]:
        ids = [struct.pack(">II", number, index) for index in range(1, self.spans + 1)]
        for place, span_id in zip(self._places, ids, strict=True):
            self._template[place : place + 8] = span_id
        return bytes(self._template), set(ids)


class Recorder:
    """Lets a sink keep only the span ids of what it takes, not the bodies."""

    def __init__(self, sink: Sink) -> None:
        self.ids: list[bytes] = []
        self._sink = sink
        sink.behave = self._take

    def _take(self, kind: Kind, body: bytes) -> Answer:
        self._sink.received[kind].clear()
        self.ids += _ids(body)
        return OK


def _ids(body: bytes) -> Iterator[bytes]:
    return (lens.span(raw).span_id for raw in lens.items(body))


class Senders:
    def __init__(self, process: HopProcess, requests: Requests) -> None:
        options = [("grpc.max_send_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(process.grpc, options)
        self._export: Any = self._channel.unary_unary(f"/{Kind.TRACES.service}/Export")
        self._requests = requests
        self._number = 0
        self.acknowledged: set[bytes] = set()

    async def send(self) -> int:
        """One request, and its size when it was taken; raises RpcError."""
        self._number += 1
        body, ids = self._requests.make(self._number)
        await self._export(body, timeout=30)
        self.acknowledged |= ids
        return len(body)

    async def send_much(self, volume: int, samples: list[int], pid: int | None = None) -> int:
        """Requests of `volume` bytes in sum, four at once, with the memory of `pid` after each four; returns the sum."""
        sent = 0
        while sent < volume:
            sent += sum(await asyncio.gather(*(self.send() for _ in range(4))))
            if pid is not None:
                samples.append(rss(pid))
        return sent

    async def close(self) -> None:
        await self._channel.close()


async def test_memory_stays_flat_through_an_outage_and_everything_drains(start_process: StartProcess) -> None:
    sink = await Sink().start()
    recorder = Recorder(sink)
    process = await start_process({"otlp": otlp_to(sink.grpc_port)})
    senders = Senders(process, Requests(SPANS, SPAN_BYTES))
    idle = rss(process.pid)
    await senders.send_much(WARM_UP, [])
    await delivered(process)
    base = rss(process.pid)
    await sink.stop()

    samples: list[int] = []
    started = time.monotonic()
    sent = await senders.send_much(VOLUME, samples, process.pid)
    took = time.monotonic() - started
    assert await behind(process) > VOLUME
    await sink.start(sink.grpc_port)
    try:
        started = time.monotonic()
        draining = asyncio.create_task(delivered(process))
        while not draining.done():
            samples.append(rss(process.pid))
            await asyncio.sleep(0.05)
        await draining
        drained = time.monotonic() - started
    finally:
        await sink.stop()
        await senders.close()
    on_the_way = [samples[len(samples) * index // 8] >> 20 for index in range(8)]
    print(
        f"\noutage: {sent >> 20} MiB taken in {took:.1f} s ({(sent >> 20) / took:.0f} MiB/s), "
        f"drained in {drained:.1f} s ({(sent >> 20) / drained:.0f} MiB/s); RSS in MiB: "
        f"{idle >> 20} idle, {base >> 20} before, {on_the_way} on the way, {max(samples) >> 20} at most"
    )
    assert set(recorder.ids) == senders.acknowledged
    assert max(samples) - base < MAX_GROWTH


async def test_a_full_journal_asks_senders_to_wait_and_takes_again_by_itself(start_process: StartProcess) -> None:
    port = hop.free_port()
    journal = {"directory": "journal", "max_size_mib": 16}
    process = await start_process({"otlp": otlp_to(port)}, journal=journal)
    senders = Senders(process, Requests(8, 32 << 10))
    refusal = await _fill(senders)
    assert refusal.code() is grpc.StatusCode.UNAVAILABLE
    assert "journal is full" in str(refusal.details())
    assert 0 < _retry_delay(refusal) <= 60
    size = len(senders.acknowledged) // 8 * (8 * 32 << 10)
    assert size > 12 << 20, "the budget is used"
    await _refused_over_http(process)
    status, text = await process.page("health", "readyz")
    assert status == 503
    assert "journal is full" in text
    accepted = set(senders.acknowledged)

    sink = Sink()
    recorder = Recorder(sink)
    await sink.start(port)
    try:
        async with asyncio.timeout(30):  # nobody touches the hop: it takes again because the backend does
            while len(senders.acknowledged) < len(accepted) + 100 * 8:
                with contextlib.suppress(grpc.RpcError):
                    await senders.send()
        await delivered(process)
        assert (await process.page("health", "readyz"))[0] == 200
    finally:
        await sink.stop()
        await senders.close()
    print(f"\nfull journal: {size >> 20} MiB taken before the first refusal; {_retry_delay(refusal):g} s to wait were asked for")
    assert senders.acknowledged <= set(recorder.ids), "what was accepted arrives, also from before the refusals"
    assert "Traceback" not in process.log()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_stop_while_the_backend_hangs_ends_in_time_and_loses_nothing(
    sink: Sink, start_process: StartProcess, protocol: str
) -> None:
    sink.behave = lambda _kind, _body: Answer(delay_s=60)
    process = await start_process(to_sink(protocol, sink), service={"drain_timeout": "300ms"})
    senders = Senders(process, Requests(4, 1000))
    for _ in range(20):
        await senders.send()
    async with asyncio.timeout(8):  # the exporter alone would wait 10 s for an answer
        assert await process.stop() == 0
    assert "the next start goes on with it" in process.log()
    await senders.close()
    recorder = Recorder(sink)
    await process.start()
    await delivered(process)
    assert senders.acknowledged <= set(recorder.ids)


async def _fill(senders: Senders) -> grpc.aio.AioRpcError:
    for _ in range(1000):
        try:
            await senders.send()
        except grpc.aio.AioRpcError as error:
            return error
    raise AssertionError("a journal of 16 MiB is never full")


def _retry_delay(refusal: grpc.aio.AioRpcError) -> float:
    metadata = dict(refusal.trailing_metadata())
    details = metadata["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    info = RetryInfo()
    assert any(detail.Unpack(info) for detail in Status.FromString(details).details)
    return float(info.retry_delay.ToNanoseconds()) / 1e9


async def _refused_over_http(process: HopProcess) -> None:
    body = traffic.traces(1, value_bytes=1 << 20).SerializeToString()
    headers = {"Content-Type": "application/x-protobuf"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{process.http}/v1/traces", data=io.BytesIO(body), headers=headers) as response,
    ):
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        assert Status.FromString(await response.read()).code == 14
