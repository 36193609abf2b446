"""A real OTLP backend for tests, over gRPC and HTTP, that keeps what it gets and answers as it is told."""

import asyncio
import gzip
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from aiohttp import web
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_eval.records import Kind
from otel_eval.wire import lens


@dataclass(frozen=True)
class Answer:
    """How the sink answers one request: a gRPC code and an HTTP status, 0 and 200 for success."""

    code: int = 0
    http_status: int = 200
    message: str = ""
    retry_after_s: float | None = None
    response: bytes = b""
    delay_s: float = 0.0


OK = Answer()
UNAVAILABLE = Answer(14, 503, "try later")
INVALID = Answer(3, 400, "bad data")


@dataclass
class Sink:
    """`received` holds the bodies that were answered with success; `answers` are used up first, then `behave` decides."""

    behave: Callable[[Kind, bytes], Answer] = lambda _kind, _body: OK
    answers: deque[Answer] = field(default_factory=deque)
    received: dict[Kind, list[bytes]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    requests: int = 0
    metadata: list[dict[str, str]] = field(default_factory=list)
    grpc_port: int = 0
    http_port: int = 0

    async def start(self, grpc_port: int = 0, http_port: int = 0, credentials: Any = None, ssl_context: Any = None) -> "Sink":
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
        for kind in Kind:
            handler: Any = grpc.unary_unary_rpc_method_handler(self._grpc_handler(kind))
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(kind.service, {"Export": handler}),))
        address = f"127.0.0.1:{grpc_port}"
        secure = credentials is not None
        self.grpc_port = self._server.add_secure_port(address, credentials) if secure else self._server.add_insecure_port(address)
        await self._server.start()
        app = web.Application(client_max_size=1 << 30)
        app.add_routes([web.post(f"/v1/{kind}", self._http_handler(kind)) for kind in Kind])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", http_port, ssl_context=ssl_context).start()
        self.http_port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        await self._server.stop(None)
        await self._runner.cleanup()

    def spans(self) -> list[bytes]:
        """Every span that was received, as bytes."""
        return self.items(Kind.TRACES)

    def items(self, kind: Kind) -> list[bytes]:
        return [item for body in self.received[kind] for item in lens.items(body)]

    async def wait_for_items(self, count: int, kind: Kind = Kind.TRACES, timeout_s: float = 20.0) -> list[bytes]:
        """The items received, as soon as there are `count`."""
        async with asyncio.timeout(timeout_s):
            while len(self.items(kind)) < count:
                await asyncio.sleep(0.01)
        return self.items(kind)

    def _answer(self, kind: Kind, body: bytes, metadata: dict[str, str]) -> Answer:
        self.requests += 1
        self.metadata.append(metadata)
        answer = self.answers.popleft() if self.answers else self.behave(kind, body)
        if answer.code == 0:
            self.received[kind].append(body)
        return answer

    def _grpc_handler(self, kind: Kind) -> Any:
        async def export(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
            answer = self._answer(kind, body, metadata)
            await asyncio.sleep(answer.delay_s)
            if answer.code:
                code = next(code for code in grpc.StatusCode if code.value[0] == answer.code)
                await context.abort(code, answer.message, _details(answer))
            return answer.response

        return export

    def _http_handler(self, kind: Kind) -> Any:
        async def export(request: web.Request) -> web.Response:
            body = await request.read()
            if request.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            answer = self._answer(kind, body, dict(request.headers))
            await asyncio.sleep(answer.delay_s)
            headers = {} if answer.retry_after_s is None else {"Retry-After": str(int(answer.retry_after_s))}
            content = Status(code=answer.code, message=answer.message).SerializeToString() if answer.code else answer.response
            return web.Response(body=content, status=answer.http_status, headers=headers, content_type="application/x-protobuf")

        return export


def _details(answer: Answer) -> tuple[tuple[str, bytes], ...]:
    if answer.retry_after_s is None:
        return ()
    delay = Duration()
    delay.FromNanoseconds(int(answer.retry_after_s * 1e9))
    status = Status(code=answer.code, message=answer.message)
    status.details.add().Pack(RetryInfo(retry_delay=delay))
    return (("grpc-status-details-bin", status.SerializeToString()),)
