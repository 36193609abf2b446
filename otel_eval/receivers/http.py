"""OTLP/HTTP: protobuf and JSON, plain or gzip.

The server is aiohttp's, without its application layer. Measured against uvicorn (httptools, h11) and granian with
bodies of 7, 80 and 800 kB, CPU a request in µs: aiohttp 50, 80, 467; uvicorn with httptools 37, 102, 467, with h11
108, 205, 550; granian 95, 140, 650. uvicorn is a little ahead for tiny requests only, and aiohttp is also the HTTP
client that the exporter needs.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from google.protobuf.json_format import MessageToJson
from google.rpc.status_pb2 import Status

from otel_eval.config.models import HttpServer
from otel_eval.errors import ConfigError, PermanentError, RetryableError, TooLargeError
from otel_eval.receivers import answer
from otel_eval.receivers.answer import Accept
from otel_eval.receivers.security import BearerTokens, ssl_context, warn_if_open
from otel_eval.records import Kind
from otel_eval.telemetry import Metrics
from otel_eval.wire import otlp_json

_KEY = "receivers.otlp.protocols.http"
_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_PATHS = {f"/v1/{kind}": kind for kind in Kind}
_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_Refuse = Callable[[web.BaseRequest, int, int, str], web.Response]
_HTTP_STATUS = {
    answer.INVALID_ARGUMENT: 400,
    answer.UNAUTHENTICATED: 401,
    answer.RESOURCE_EXHAUSTED: 413,
    answer.UNAVAILABLE: 503,
}
_BODY_TIMEOUT_S = 60.0
_INFLATE_IN_THREAD_FROM = 1 << 17
_MAX_GZIP_MEMBERS = 1000
_GZIP_PIECE_BYTES = 1 << 16


class HttpReceiver:
    """An HTTP server for `POST /v1/{traces,logs,metrics}`."""

    def __init__(self, config: HttpServer, accept: Accept, metrics: Metrics) -> None:
        self._config = config
        self._accept = accept
        self._limit = config.max_request_body_size_mib << 20
        self._metrics = metrics
        self._tokens = BearerTokens(config.auth, _KEY) if config.auth else None
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Listen; raises ConfigError when that is not possible."""
        config = self._config
        warn_if_open(config.endpoint, config.tls, config.auth, _KEY)
        context = ssl_context(config.tls, _KEY) if config.tls else None
        server = _Server(self._handle, self._refuse)
        self._runner = web.ServerRunner(server, shutdown_timeout=5.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, config.endpoint.host, config.endpoint.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"{_KEY}.endpoint: cannot listen on {config.endpoint}: {error.strerror}") from None
        self.port = self._runner.addresses[0][1]

    async def shutdown(self) -> None:
        """Refuse new requests and let running ones finish."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._respond(request)
        except Exception as error:  # noqa: BLE001 - every failure must become a status that says whether to retry
            return self._fail(request, error)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        kind = _PATHS.get(request.path)
        if kind is None:
            return self._refuse(request, 404, answer.UNIMPLEMENTED, f"not an OTLP path; known are {', '.join(_PATHS)}")
        if request.method != "POST":
            refusal = self._refuse(request, 405, answer.UNIMPLEMENTED, "OTLP/HTTP takes POST only")
            refusal.headers["Allow"] = "POST"
            return refusal
        if self._tokens and not self._tokens.allows(request.headers.get("Authorization", "").encode(errors="replace")):
            refusal = self._refuse(request, 401, answer.UNAUTHENTICATED, "a valid bearer token is needed")
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        if request.content_type not in (_PROTOBUF, _JSON):
            message = f"the content type must be {_PROTOBUF} or {_JSON}"
            return self._refuse(request, 415, answer.INVALID_ARGUMENT, message)
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "none", "", "gzip"):
            return self._refuse(request, 415, answer.INVALID_ARGUMENT, "the content encoding must be gzip or none")
        return await self._export(request, kind, gzipped=encoding == "gzip")

    async def _export(self, request: web.BaseRequest, kind: Kind, *, gzipped: bool) -> web.Response:
        body = await self._read(request)
        if gzipped:
            body = await _inflate(body, self._limit)
        if request.content_type == _JSON:
            body = await asyncio.to_thread(otlp_json.to_protobuf, kind, body)
        outcome = await self._accept(kind, body, "http")
        return self._answer(request, answer.response(kind, outcome), 200, answer.OK)

    async def _read(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > self._limit:
            raise self._too_large()
        chunks = []
        size = 0
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                if request.headers.get("Expect", "").lower() == "100-continue":
                    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    request.writer.output_size = 0  # what follows is still the first response
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > self._limit:
                        raise self._too_large()
                    chunks.append(chunk)
        except TimeoutError:
            raise RetryableError(f"the body did not arrive within {_BODY_TIMEOUT_S:g} s") from None
        except OSError:
            raise RetryableError("the connection broke while the body was read") from None
        return b"".join(chunks)

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"the body is larger than {self._limit >> 20} MiB")

    def _fail(self, request: web.BaseRequest, error: Exception) -> web.Response:
        status = answer.status_of(error)
        refusal = self._answer(request, status, _HTTP_STATUS[status.code], status.code)
        if isinstance(error, RetryableError) and error.retry_after_s is not None:
            refusal.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        return refusal

    def _refuse(self, request: web.BaseRequest, http_status: int, code: int, message: str) -> web.Response:
        return self._answer(request, Status(code=code, message=message), http_status, code)

    def _answer(self, request: web.BaseRequest, message: Any, http_status: int, code: int) -> web.Response:
        """The message in the encoding of the request, JSON for a request in neither."""
        self._metrics.counter("receiver_requests", transport="http", outcome=answer.OUTCOMES.get(code, "other")).add()
        if request.content_type == _PROTOBUF:
            return web.Response(body=message.SerializeToString(), status=http_status, content_type=_PROTOBUF)
        return web.Response(body=MessageToJson(message, indent=None).encode(), status=http_status, content_type=_JSON)


class _Server(web.Server):
    """aiohttp's server, with connections that answer errors as OTLP wants it."""

    def __init__(self, handle: _Handle, refuse: _Refuse) -> None:
        super().__init__(handle)
        self._refuse = refuse

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._refuse, loop=asyncio.get_running_loop(), access_log=None, auto_decompress=False)


class _Connection(web.RequestHandler):
    def __init__(self, server: web.Server, refuse: _Refuse, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._refuse = refuse

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is not HTTP; aiohttp would log it with a traceback, and with the headers that the sender wrote."""
        reason = (message or "not an HTTP request").split(":")[0]  # behind the colon it quotes the sender
        refusal = self._refuse(request, status, answer.INVALID_ARGUMENT, reason)
        refusal.force_close()
        return refusal


async def _inflate(body: bytes, limit: int) -> bytes:
    """The content of a gzip body; raises PermanentError when it is none, TooLargeError before it exceeds `limit` bytes."""
    if len(body) < _INFLATE_IN_THREAD_FROM:
        return _gunzip(body, limit)
    return await asyncio.to_thread(_gunzip, body, limit)


def _gunzip(body: bytes, limit: int) -> bytes:
    """The same; goes in pieces, since zlib copies all that stands behind the end of a member."""
    parts: list[bytes] = []
    room = limit
    members = 1
    member = zlib.decompressobj(wbits=31)
    for start in range(0, len(body), _GZIP_PIECE_BYTES):
        piece = body[start : start + _GZIP_PIECE_BYTES]
        while piece:
            if member.eof:
                members += 1
                member = zlib.decompressobj(wbits=31)
            if members > _MAX_GZIP_MEMBERS:
                raise PermanentError(f"the gzip body has more than {_MAX_GZIP_MEMBERS} members")
            try:
                parts.append(member.decompress(piece, room + 1))
            except zlib.error:
                raise PermanentError("the body is not gzip, although Content-Encoding says so") from None
            room -= len(parts[-1])
            if room < 0:
                raise TooLargeError(f"the body is larger than {limit >> 20} MiB when it is unpacked")
            piece = member.unused_data
    if not member.eof:
        raise PermanentError("the gzip body is cut short")
    return b"".join(parts)
