"""Thousands of hostile requests to one running hop: each gets exactly its status, and the hop is none the worse."""

import asyncio
import contextlib
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import grpc.aio
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_eval.records import Kind
from tests import strategies, traffic
from tests.conftest import StartProcess
from tests.hop import HopProcess, otlp_to
from tests.receivers import verdicts
from tests.receivers.clients import (
    INTERNAL,
    INVALID_ARGUMENT,
    JSON,
    PROTOBUF,
    UNIMPLEMENTED,
    Reply,
    call_by_frames,
    channel,
    connection,
    export,
    http_reply,
    request,
)
from tests.receivers.hostile import BINARY_SEEDS, Bodies
from tests.receivers.verdicts import Verdict
from tests.sink import Sink

SENDERS = 16
REQUESTS_EACH = 1400
WARM_UP_EACH = 600
MAX_GROWTH_MIB = 20  # less than what is sent meanwhile, so that bodies that stay would show

FINE_TYPES = {
    PROTOBUF: [PROTOBUF, "Application/X-Protobuf", "application/x-protobuf; charset=utf-8"],
    JSON: [JSON, "application/json;charset=UTF-8", "APPLICATION/JSON"],
}
WRONG_TYPES = ["text/plain", "application/protobuf", "application/grpc", "", "application/x-protobuf2", "x", ";", "json", "*/*"]
WRONG_ENCODINGS = ["deflate", "br", "zstd", "snappy", "gzip, gzip", "x-gzip2", "gzip;q=1", "none, gzip"]
WRONG_PATHS = ["/", "/v1", "/v1/", "/v1/traces/", "/V1/traces", "/v1/logsx", "/v1/%00", "//v1/metrics", "/v1development/profiles"]
WRONG_METHODS = ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "REPORT"]
NOISE = [b"\0", b"\x16\x03\x01", b"\x80", b"\xff", b"{", b"<", b"\x7f"]  # nothing that begins so is HTTP


class Sender:
    """Its requests follow from its seed, whatever the others do."""

    def __init__(self, seed: int, process: HopProcess, session: aiohttp.ClientSession, opened: grpc.aio.Channel) -> None:
        self._source = random.Random(seed)
        self._bodies = Bodies(self._source)
        self._http = process.http
        self._http_port, self._grpc_port = (int(url.rsplit(":", 1)[1]) for url in (process.http, process.grpc))
        self._session = session
        self._channel = opened
        self.counts: Counter[str] = Counter()
        self.sent_bytes = 0
        self.expected: Counter[bytes] = Counter()
        self.wrong: dict[str, str] = {}
        ways = {self.binary: 34, self.grpc: 34, self.json: 18, self.headers: 8, self.junk: 4, self.frames: 2}
        self._ways: list[Callable[[], Awaitable[None]]] = [way for way, weight in ways.items() for _ in range(weight)]

    async def send(self, requests: int) -> None:
        for _ in range(requests):
            await self._source.choice(self._ways)()

    async def post(self, path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> Reply:
        async with self._session.request(method, self._http + path, data=body, headers=headers) as response:
            return http_reply(response.status, response.headers, await response.read())

    async def grpc(self) -> None:
        kind, body = self._bodies.binary()
        if self._source.random() < 0.05:
            method = self._source.choice((f"/{kind.service}/Import", "/a/b", f"/{kind.service}x/Export"))
            reply = await export(self._channel, body, method=method)
            self._check("gRPC, no such method", reply.code == UNIMPLEMENTED, reply, body)
            return
        compression = self._source.choice((grpc.Compression.NoCompression, grpc.Compression.Gzip))
        metadata = [("x-text", "~" * self._source.randrange(500)), ("x-bin", self._source.randbytes(self._source.randrange(99)))]
        reply = await export(self._channel, body, kind, compression=compression, metadata=metadata)
        self._judge("gRPC", verdicts.of_binary(kind, body), reply, body)

    async def binary(self) -> None:
        await self._post("HTTP protobuf", *self._bodies.binary(), PROTOBUF)

    async def json(self) -> None:
        await self._post("HTTP JSON", *self._bodies.json(), JSON)

    async def _post(self, label: str, kind: Kind, body: bytes, answered: str) -> None:
        judge = verdicts.of_binary if answered == PROTOBUF else verdicts.of_json
        headers = {"Content-Type": self._source.choice(FINE_TYPES[answered])}
        content: bytes | None = body
        if self._source.random() < 0.3:
            label += ", gzip"
            headers["Content-Encoding"] = self._source.choice(("gzip", "GZIP"))
            body = gzip.compress(body, 1, mtime=0)
            if self._source.random() < 0.5:
                label += " broken"
                body = strategies.mutate(body, self._source, 1)
                content = verdicts.gunzipped(body)
        reply = await self.post(f"/v1/{kind}", body, headers)
        self._judge(label, verdicts.INVALID if content is None else judge(kind, content), reply, body, answered)

    async def headers(self) -> None:
        """Requests that are HTTP, but with other headers, paths and methods than OTLP has."""
        kind, body = self._bodies.binary()
        path, method, headers, status = f"/v1/{kind}", "POST", {"Content-Type": PROTOBUF}, 415
        match self._source.randrange(4):
            case 0:
                headers["Content-Type"] = self._source.choice(WRONG_TYPES)
            case 1:
                headers["Content-Encoding"] = self._source.choice(WRONG_ENCODINGS)
            case 2:
                path, status = self._source.choice(WRONG_PATHS), 404
            case _:
                method, status = self._source.choice(WRONG_METHODS), 405
        reply = await self.post(path, body, headers, method)
        self._check(f"{status}", reply.http_status == status and reply.code != 0, reply, body)

    async def junk(self) -> None:
        """Bytes that are not HTTP, and requests that only begin well."""
        source = self._source
        noise = source.choice(NOISE) + source.randbytes(source.randrange(300))
        good = request(body=b"")
        sent = source.choice(
            (
                noise + b"\r\n\r\n",
                good.replace(b"HTTP/1.1", source.choice((b"HTTP/9.9", b"HTTP/1", b"HTXP/1.1", b"")), 1),
                request(Content_Length=source.choice(("-1", "abc", "1, 2", "0x10", "9" * 30, "+5"))),
                good.replace(b"Host:", source.choice((b"Ho st:", b"Ho\0st:", b"no colon\r\nHost:", b": empty\r\nHost:"))),
                request(X=source.choice(("a\0b", "a\rb", "z" * 20_000))),
                request(Transfer_Encoding="chunked", Content_Length=5) + b"0\r\n\r\n",
                request(Transfer_Encoding=source.choice(("gzip", "chunked, gzip", "x"))),
                request(Transfer_Encoding="chunked") + source.choice((b"zz\r\n", b"-5\r\nabc", b"5\r\nabcdefgh\r\n0\r\n\r\n")),
            )
        )
        async with connection(self._http_port) as (reader, writer):
            writer.write(sent)
            status_line = (await reader.readline()).split()
        self._check("not HTTP", len(status_line) > 1 and status_line[1] == b"400", status_line, sent)
        async with connection(self._grpc_port) as (reader, writer):
            writer.write(noise + bytes(30))
            with contextlib.suppress(ConnectionError):
                await reader.read()
        self.counts["not HTTP/2: connection closed"] += 1

    async def frames(self) -> None:
        """Compressed gRPC messages that are not what the headers say."""
        body = strategies.mutate(gzip.compress(BINARY_SEEDS[0][1]), self._source, 1)
        if verdicts.gunzipped(body) is not None:
            body = b"not gzip"
        message = b"\1" + len(body).to_bytes(4, "big") + body
        headers = [("grpc-encoding", "gzip")] if self._source.random() < 0.7 else []
        received = await call_by_frames(self._grpc_port, headers, message)
        found = re.search(rb"grpc-status.([0-9]+)", received, re.DOTALL)
        self._check("gRPC, broken gzip", found is not None and int(found[1]) == INTERNAL, received, message)

    def _judge(self, label: str, verdict: Verdict, reply: Reply, body: bytes, answered: str | None = None) -> None:
        """`answered` is the content type of the answer, None over gRPC."""
        if verdict.valid:
            passed = reply.code == 0 and _tells(reply.response, verdict.rejected, as_json=answered == JSON)
            self.expected.update(verdict.items)
        else:
            passed = reply.code == INVALID_ARGUMENT and bool(reply.violations)
        if answered:
            passed = passed and reply.http_status == (200 if verdict.valid else 400)
            passed = passed and (reply.headers or {})["Content-Type"] == answered
        outcome = ("partial" if verdict.rejected else "taken") if verdict.valid else "refused"
        self._check(f"{label}: {outcome}", passed, (verdict.valid, verdict.rejected, reply), body)

    def _check(self, label: str, passed: bool, answer: Any, sent: bytes) -> None:
        self.counts[label] += 1
        self.sent_bytes += len(sent)
        if not passed:
            self.wrong.setdefault(label, f"{label}\n{answer}\n{sent[:1000]!r}")


def _tells(response: bytes, rejected: int, *, as_json: bool) -> bool:
    """Whether a response says that so many items were rejected; the three kinds of response have one binary form."""
    said = ExportTraceServiceResponse()
    if as_json:
        json_format.Parse(response.replace(b"rejectedLogRecords", b"rejectedSpans"), said)
    else:
        said.ParseFromString(response)
    told = said.partial_success
    return told.rejected_spans == rejected and said.HasField("partial_success") == bool(told.error_message) == bool(rejected)


async def resident_mib(process: HopProcess) -> float:
    return await process.metric("process_resident_memory_bytes") / (1 << 20)


async def everything_arrives(sink: Sink, expected: Counter[bytes]) -> None:
    async with asyncio.timeout(30):
        while sum(len(sink.items(kind)) for kind in Kind) < expected.total():
            await asyncio.sleep(0.5)
    assert Counter(item for kind in Kind for body in sink.received[kind] for item in verdicts.items(kind, body)) == expected


@pytest.mark.slow
async def test_each_of_thousands_of_hostile_requests_gets_its_status(sink: Sink, start_process: StartProcess) -> None:
    process = await start_process({"otlp": otlp_to(sink.grpc_port)})
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        opened = await stack.enter_async_context(channel(int(process.grpc.rsplit(":", 1)[1])))
        senders = [Sender(seed, process, session, opened) for seed in range(SENDERS)]
        await asyncio.gather(*(sender.send(WARM_UP_EACH) for sender in senders))
        before, sent_before = await resident_mib(process), sum(sender.sent_bytes for sender in senders)
        await asyncio.gather(*(sender.send(REQUESTS_EACH - WARM_UP_EACH) for sender in senders))
        after = await resident_mib(process)
        expected = sum((sender.expected for sender in senders), Counter[bytes]())
        good = traffic.traces(2).SerializeToString()
        for reply in (await export(opened, good), await senders[0].post("/v1/traces", good, {"Content-Type": PROTOBUF})):
            assert (reply.code, reply.response) == (0, b"")
        expected.update(verdicts.items(Kind.TRACES, good) * 2)
    counts = sum((sender.counts for sender in senders), Counter[str]())
    sent_mib = (sum(sender.sent_bytes for sender in senders) - sent_before) / (1 << 20)
    figures = {"requests": counts.total(), "items": expected.total(), "sent_mib": sent_mib, "rss_mib": [before, after]}
    print(json.dumps(figures | dict(sorted(counts.items())), indent=1))
    assert not (wrong := [text for sender in senders for text in sender.wrong.values()]), "\n\n".join(wrong[:10])
    assert counts.total() >= 10_000
    for way in ("gRPC", "HTTP protobuf", "HTTP protobuf, gzip", "HTTP JSON", "HTTP JSON, gzip"):
        assert min(counts[f"{way}: {outcome}"] for outcome in ("taken", "partial", "refused")) > 10, way
    await everything_arrives(sink, expected)
    assert await process.ready()
    assert sent_mib > MAX_GROWTH_MIB
    assert 0 < after < before + MAX_GROWTH_MIB
    assert await process.stop() == 0
    for trouble in ("Traceback", "internal failure"):
        assert trouble not in process.log()
