"""Senders for tests, from a correct HTTP or gRPC client down to bare frames on a socket."""

import asyncio
import io
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import grpc.aio
from google.protobuf import json_format
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from otel_eval.config.models import GrpcServer, HttpServer
from otel_eval.config.values import ListenAddress
from otel_eval.receivers.answer import Accept
from otel_eval.receivers.grpc import GrpcReceiver
from otel_eval.receivers.http import HttpReceiver
from otel_eval.records import Kind
from otel_eval.telemetry import Metrics

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 3, 8, 12, 13, 14, 16


@dataclass(frozen=True)
class Reply:
    """An answer in the same form for both protocols: `code` is that of google.rpc.Status, `http_status` 0 for gRPC."""

    code: int
    message: str = ""
    retry_after_s: float | None = None
    violations: tuple[str, ...] = ()
    response: bytes = b""
    http_status: int = 0
    headers: Mapping[str, str] | None = None


async def post(
    port: int,
    body: Any,
    path: str = "/v1/traces",
    content_type: str = PROTOBUF,
    scheme: str = "http",
    ssl: Any = True,
    **headers: str,
) -> Reply:
    """POST to the receiver on this port; underscores in header names stand for hyphens."""
    data = io.BytesIO(body) if isinstance(body, bytes) else body  # aiohttp warns of large bytes
    sent = {"Content-Type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.post(f"{scheme}://127.0.0.1:{port}{path}", data=data, headers=sent, ssl=ssl) as response,
    ):
        return http_reply(response.status, response.headers, await response.read())


def http_reply(http_status: int, headers: Mapping[str, str], content: bytes) -> Reply:
    if http_status == 200:
        return Reply(0, response=content, http_status=200, headers=headers)
    kind = headers["Content-Type"]
    status = Status.FromString(content) if kind == PROTOBUF else json_format.Parse(content, Status())
    assert kind in {PROTOBUF, JSON}
    reply = from_status(status)
    return Reply(reply.code, reply.message, _seconds(headers), reply.violations, content, http_status, headers)


def _seconds(headers: Mapping[str, str]) -> float | None:
    return float(headers["Retry-After"]) if "Retry-After" in headers else None


def from_status(status: Status) -> Reply:
    retry_after, violations = None, ()
    for detail in status.details:
        info, bad = RetryInfo(), BadRequest()
        if detail.Unpack(info):
            retry_after = info.retry_delay.ToTimedelta().total_seconds()
        elif detail.Unpack(bad):
            violations = tuple(violation.description for violation in bad.field_violations)
    return Reply(status.code, status.message, retry_after, violations)


@asynccontextmanager
async def channel(port: int, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_send_message_length", -1)]
    address = f"127.0.0.1:{port}"
    if credentials is None:
        opening = grpc.aio.insecure_channel(address, options)
    else:
        opening = grpc.aio.secure_channel(address, credentials, options)
    async with opening as opened:
        yield opened


async def export(
    opened: grpc.aio.Channel, body: bytes, kind: Kind = Kind.TRACES, method: str | None = None, **arguments: Any
) -> Reply:
    """Call Export, or another method, with a body of bytes."""
    call: Any = opened.unary_unary(method or f"/{kind.service}/Export")
    try:
        return Reply(0, response=bytes(await call(body, timeout=60, **arguments)))
    except grpc.aio.AioRpcError as error:
        refusal = error
    code, message = refusal.code().value[0], refusal.details() or ""
    for key, value in refusal.trailing_metadata():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            reply = from_status(Status.FromString(value))
            assert (reply.code, reply.message) == (code, message)
            return reply
    return Reply(code, message)


async def call(port: int, body: bytes, kind: Kind = Kind.TRACES, **arguments: Any) -> Reply:
    async with channel(port) as opened:
        return await export(opened, body, kind, **arguments)


@asynccontextmanager
async def receiver(protocol: str, accept: Accept, **config: Any) -> AsyncIterator[int]:
    """The port of a receiver alone, with another `accept` behind it."""
    config = {"endpoint": ListenAddress.parse("127.0.0.1:0"), **config}
    metrics = Metrics()
    server: Any = (
        GrpcReceiver(GrpcServer(**config), accept, metrics)
        if protocol == "grpc"
        else HttpReceiver(HttpServer(**config), accept, metrics)
    )
    try:
        await server.start()
        yield server.port
    finally:
        await server.shutdown()
        metrics.close()


async def send(protocol: str, port: int, body: bytes, kind: Kind = Kind.TRACES) -> Reply:
    """The plainest correct request."""
    return await call(port, body, kind) if protocol == "grpc" else await post(port, body, f"/v1/{kind}")


def request(path: str = "/v1/traces", method: str = "POST", body: bytes | None = None, **headers: Any) -> bytes:
    """An HTTP/1.1 request as bytes; with a body it gets its length."""
    if body is not None:
        headers.setdefault("Content_Length", len(body))
    headers.setdefault("Content_Type", PROTOBUF)
    lines = [f"{method} {path} HTTP/1.1", "Host: hop", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """One HTTP answer from a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    content = await reader.readexactly(int(headers["Content-Length"]))
    return http_reply(int(status_line.split()[1]), headers, content)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(text: str) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


async def call_by_frames(port: int, headers: Iterable[tuple[str, str]], message: bytes) -> bytes:
    """An Export call written as HTTP/2 frames: what no gRPC library would send; returns what came back until the end.

    Headers are literals without Huffman coding (RFC 7541, 6.2.2); gRPC's server writes its own like that too, so they
    can be read in the bytes.
    """
    base = [(":method", "POST"), (":scheme", "http"), (":path", f"/{Kind.TRACES.service}/Export"), (":authority", "hop")]
    base += [("te", "trailers"), ("content-type", "application/grpc"), *headers]
    block = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in base)
    async with connection(port) as (reader, writer):
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(1, 4, 1, block))
        for start in range(0, len(message), 16384):
            writer.write(_frame(0, 0, 1, message[start : start + 16384]))
        writer.write(_frame(0, 1, 1, b""))
        received = b""
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            received += payload
            if head[5:9] == b"\0\0\0\1" and head[4] & 1:
                return received
