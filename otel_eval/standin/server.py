"""The stand-in's HTTP side."""

import asyncio
import hmac
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
import structlog
from aiohttp import web

from otel_eval.standin import api, batches, chat, replies
from otel_eval.standin.api import ApiError, invalid
from otel_eval.standin.behaviour import Behaviour, Fault, Kind, draw
from otel_eval.standin.engine import Engine
from otel_eval.standin.verdict import Judgement, Verdict

_log = structlog.get_logger(__name__)

_BATCHES = "/v1/messages/batches"
_CHAT = "/v1/chat/completions"


class Seen(NamedTuple):
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class StandIn:
    """A server on loopback. `behaviour` may be changed while it runs; `script` holds what the next requests run into
    (None for nothing), before the shares of the behaviour decide; `seen` are the last requests, `answered` counts by status.

    Without `api_key` every bearer token is taken. See the package for what it does and does not do.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        seed: int = 0,
        api_key: str | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.script: deque[Fault | None] = deque()
        self.seen: deque[Seen] = deque(maxlen=200)
        self.answered: Counter[int] = Counter()
        self.url = ""
        self.engine = Engine(verdict or Judgement(seed))
        self._batches = batches.Batches(self.engine, self._next_fault)
        self._seed = seed
        self._api_key = api_key
        self._requests = 0
        self._drawn = 0
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> Self:
        """Listen on 127.0.0.1; `url` is then the base URL for clients."""
        app = web.Application(client_max_size=api.MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        """Stop, also requests that hang."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def _next_fault(self) -> Fault | None:
        if self.script:
            return self.script.popleft()
        self._drawn += 1
        return self.behaviour.fault(draw(self._seed, "fault", self._drawn))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._requests += 1
        request_id = f"req_{self._seed:04}{self._requests:012}"
        try:
            body = await self._read(request)
            self._authenticate(request)
            response = await self._route(request, request_id, body)
        except ApiError as error:
            response = self._refuse(request, error, request_id)
        except Exception as error:  # noqa: BLE001 - a verdict function may raise anything
            _log.warning("the stand-in cannot answer", error=type(error).__name__)
            response = self._refuse(
                request, ApiError(500, "api_error", f"the stand-in failed: {type(error).__name__}"), request_id
            )
        self.answered[response.status] += 1
        return response

    def _refuse(self, request: web.Request, error: ApiError, request_id: str) -> web.Response:
        body = chat.error_body(error) if request.path == _CHAT else error.body(request_id)
        return replies.json(body, request_id, error.headers, status=error.status)

    async def _read(self, request: web.Request) -> bytes:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise ApiError(413, "request_too_large", "Request exceeds the maximum allowed number of bytes") from None
        self.seen.append(Seen(request.method, request.path, {k.lower(): v for k, v in request.headers.items()}, body))
        return body

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token.strip():
            raise ApiError(401, "authentication_error", "Authorization: a bearer token is required")
        if self._api_key is not None and not hmac.compare_digest(token.encode(errors="replace"), self._api_key.encode()):
            raise ApiError(401, "authentication_error", "invalid bearer token")
        if request.path != _CHAT and request.headers.get("anthropic-version") != api.VERSION:
            raise invalid(f"anthropic-version: {api.VERSION} is required")

    async def _route(self, request: web.Request, request_id: str, body: bytes) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if path.startswith(_BATCHES):
            return await self._batch(request, request_id, body, path.removeprefix(_BATCHES).strip("/"))
        if path.startswith("/v1/models") and request.method == "GET":
            return replies.models(request_id, path.removeprefix("/v1/models").strip("/"))
        routes: dict[str, Callable[[web.Request, str, dict[str, Any]], Awaitable[web.StreamResponse]]] = {
            "/v1/messages": self._message,
            "/v1/messages/count_tokens": self._count_tokens,
            _CHAT: self._chat,
        }
        if path not in routes or request.method != "POST":
            raise ApiError(404, "not_found_error", "Not Found")
        return await routes[path](request, request_id, _decoded(request, body))

    async def _message(self, request: web.Request, request_id: str, body: dict[str, Any]) -> web.StreamResponse:
        behaviour = self.behaviour
        asked = self.engine.read(body)
        fault = self._next_fault()
        await self._fail_first(request, fault)
        self.engine.admit(asked, behaviour)
        try:
            await self._take_time()
        finally:  # the model works on when the client has gone, and that is billed
            message = self.engine.answer(asked, f"msg_{request_id[4:]}", fault)
            self.engine.settle(asked, message, behaviour)
        headers = self.engine.limits.headers(asked.model.id, behaviour.limits)
        if body.get("stream"):
            return await replies.stream(request, request_id, message, fault, headers)
        return await replies.send(request, request_id, message, fault, headers)

    async def _count_tokens(self, _: web.Request, request_id: str, body: dict[str, Any]) -> web.StreamResponse:
        use = self.engine.read(body, counting=True).use
        return replies.json({"input_tokens": use.input + use.read + use.written_5m + use.written_1h}, request_id)

    async def _chat(self, request: web.Request, request_id: str, body: dict[str, Any]) -> web.StreamResponse:
        behaviour = self.behaviour
        question = chat.read(body, behaviour.chat)
        fault = self._next_fault()
        await self._fail_first(request, fault)
        self.engine.check_spend(behaviour)
        self.engine.check_overload(behaviour)
        self.engine.limits.take(question.model.id, behaviour.limits, question.prompt_tokens, question.max_tokens)
        try:
            await self._take_time()
        finally:
            answer = chat.completion(question, self.engine.verdict, fault, f"chatcmpl-{request_id[4:]}", behaviour.chat)
            used = answer.get("usage", {}).get("completion_tokens", 0)
            self.engine.limits.settle(question.model.id, behaviour.limits, question.max_tokens - used)
        headers = chat.headers(self.engine.limits.headers(question.model.id, behaviour.limits))
        return await replies.send(request, request_id, answer, fault, headers)

    async def _batch(self, request: web.Request, request_id: str, body: bytes, rest: str) -> web.Response:
        batch_id, _, action = rest.partition("/")
        match request.method, batch_id, action:
            case "POST", "", "":
                batch = self._batches.create(_decoded(request, body), f"msgbatch_{request_id[4:]}", self.behaviour.batch_s)
                await self._take_time()  # who does not wait for the answer has a batch all the same
            case "GET", "", "":
                return replies.json(self._list(request), request_id)
            case "GET", _, "":
                batch = self._batches.get(batch_id)
            case "POST", _, "cancel":
                batch = self._batches.cancel(batch_id)
            case "DELETE", _, "":
                self._batches.delete(batch_id)
                return replies.json({"id": batch_id, "type": "message_batch_deleted"}, request_id)
            case "GET", _, "results":
                lines = b"".join(self._batches.lines(batch_id))
                return web.Response(body=lines, headers=api.headers(request_id), content_type="application/x-jsonl")
            case _:
                raise ApiError(404, "not_found_error", "Not Found")
        return replies.json(batches.document(batch, self.url), request_id)

    def _list(self, request: web.Request) -> dict[str, Any]:
        """A page of the batches, the newest first."""
        try:
            limit = int(request.query.get("limit", "20"))
        except ValueError:
            raise invalid("limit: expected a number") from None
        listed = [batches.document(batch, self.url) for batch in self._batches.all()]
        ids = [one["id"] for one in listed]
        start = ids.index(request.query["after_id"]) + 1 if request.query.get("after_id") in ids else 0
        return replies.page(listed[start : start + limit], more=start + limit < len(listed))

    async def _fail_first(self, request: web.Request, fault: Fault | None) -> None:
        """Everything that goes wrong before a model would have been asked."""
        match fault:
            case Fault(kind=Kind.ERROR):
                raise ApiError(fault.status, fault.type, fault.message, code=fault.code, headers=fault.headers)
            case Fault(kind=Kind.OVERLOADED):
                raise ApiError(529, "overloaded_error", "Overloaded")
            case Fault(kind=Kind.SERVER_ERROR):
                raise ApiError(500, "api_error", "Internal server error")
            case Fault(kind=Kind.HANG | Kind.EXPIRED):
                await self._stopping.wait()
            case Fault(kind=Kind.DISCONNECT):
                replies.disconnect(request)
                raise ApiError(499, "api_error", "the connection is cut")

    async def _take_time(self) -> None:
        await asyncio.sleep(self.behaviour.latency.seconds(draw(self._seed, "latency", self._requests)))


def _decoded(request: web.Request, body: bytes) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise invalid("content-type: application/json is required")
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise invalid("The request body is not a valid JSON object") from None
