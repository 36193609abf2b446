"""The HTTP API: feedback and outcomes become log records for `accept`; what is to be judged at once goes to `evaluate`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec
from aiohttp import web

from otel_eval.config.models import Api
from otel_eval.errors import ConfigError, RetryableError
from otel_eval.receivers import answer
from otel_eval.receivers.answer import Accept
from otel_eval.receivers.security import BearerTokens, ssl_context, warn_if_open
from otel_eval.receivers.submissions import (
    FORMS,
    Desk,
    Form,
    Result,
    Status,
    Submission,
    accepted,
    duplicate,
    export_request,
    read,
)
from otel_eval.records import Kind
from otel_eval.telemetry import Metrics

_KEY = "api"
_JSON = "application/json"
_PATHS = tuple(f"/v1/{form.name}" for form in FORMS)
_EVALUATE = "/v1/evaluate"
_MAX_BODY_BYTES = 4 << 20
_BODY_TIMEOUT_S = 60.0
_READ_IN_THREAD_FROM = 1 << 17
_RETRY_AFTER_S = 1
_CODES = {
    200: answer.OK,
    400: answer.INVALID_ARGUMENT,
    401: answer.UNAUTHENTICATED,
    413: answer.RESOURCE_EXHAUSTED,
    415: answer.INVALID_ARGUMENT,
    503: answer.UNAVAILABLE,
}
"""The code that counts for each status, as for OTLP/HTTP."""

_STATUSES = {answer.INVALID_ARGUMENT: 400, answer.RESOURCE_EXHAUSTED: 413, answer.UNAVAILABLE: 503}
_TEXTS = {
    404: f"not a path of this API; known are {', '.join(_PATHS)}, and {_EVALUATE} where there is judging",
    405: "only POST is taken here",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


Evaluate = Callable[[bytes], Awaitable[bytes]]
"""Judges what a JSON body asks for, and answers in JSON; raises PermanentError for what cannot be answered."""


class ApiServer:
    """An HTTP server for `POST /v1/{feedback,outcomes}`, and `/v1/evaluate` where there is judging.

    `config` must have an endpoint.
    """

    def __init__(self, config: Api, accept: Accept, desk: Desk, metrics: Metrics, evaluate: Evaluate | None = None) -> None:
        if config.endpoint is None:
            raise ValueError("the API is off")
        self._endpoint = config.endpoint
        self._tls = config.tls
        self._auth = config.auth
        self._tokens = BearerTokens(config.auth, _KEY) if config.auth else None
        self._accept = accept
        self._desk = desk
        self._evaluate = evaluate
        self._metrics = metrics
        self._taking = asyncio.Lock()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; raises ConfigError when that is not possible."""
        warn_if_open(self._endpoint, self._tls, self._auth, _KEY)
        context = ssl_context(self._tls, _KEY) if self._tls else None
        app = web.Application(middlewares=[self._answer], client_max_size=_MAX_BODY_BYTES)
        for form, path in zip(FORMS, _PATHS, strict=True):
            app.router.add_post(path, partial(self._post, form))
        if self._evaluate is not None:
            app.router.add_post(_EVALUATE, partial(self._judge, self._evaluate))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._endpoint.host, self._endpoint.port, ssl_context=context).start()
        except OSError as error:
            await self.shutdown()
            raise ConfigError(f"{_KEY}.endpoint: cannot listen on {self._endpoint}: {error.strerror}") from None
        self.port = self._runner.addresses[0][1]

    async def shutdown(self) -> None:
        """Refuse new requests and let running ones finish."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """What the handler answers, or its failure as a status that says whether to try again."""
        try:
            response = await handler(request)
        except web.HTTPException as refusal:
            response = _refusal(refusal.status, _TEXTS.get(refusal.status) or refusal.text or "")
            for name in ("Allow", "WWW-Authenticate"):
                if name in refusal.headers:
                    response.headers[name] = refusal.headers[name]
        except Exception as error:  # noqa: BLE001 - as for OTLP/HTTP
            status = answer.status_of(error)
            response = _refusal(_STATUSES[status.code], status.message)
            if status.code == answer.UNAVAILABLE:
                wait_s = (isinstance(error, RetryableError) and error.retry_after_s) or _RETRY_AFTER_S
                response.headers["Retry-After"] = str(max(1, round(wait_s)))
        outcome = answer.OUTCOMES[_CODES[response.status]] if response.status in _CODES else "other"
        self._metrics.counter("receiver_requests", transport="api", outcome=outcome).add()
        return response

    async def _judge(self, evaluate: Evaluate, request: web.Request) -> web.Response:
        content = await evaluate(await self._checked_body(request))
        return web.Response(body=content, content_type=_JSON)

    async def _post(self, form: Form, request: web.Request) -> web.Response:
        body = await self._checked_body(request)
        entries = read(form, body) if len(body) < _READ_IN_THREAD_FROM else await asyncio.to_thread(read, form, body)
        results = await self._take(entries)
        usable = not results or any(result.status is not Status.INVALID for result in results)
        content = msgspec.json.encode({"results": results})
        return web.Response(body=content, status=200 if usable else 400, content_type=_JSON)

    async def _checked_body(self, request: web.Request) -> bytes:
        if self._tokens and not self._tokens.allows(request.headers.get("Authorization", "").encode(errors="replace")):
            raise web.HTTPUnauthorized(text="a valid bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
        if request.content_type != _JSON:
            raise web.HTTPUnsupportedMediaType(text=f"the content type must be {_JSON}")
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", "none", ""):
            raise web.HTTPUnsupportedMediaType(text="the body must not be compressed")
        return await _body(request)

    async def _take(self, entries: Sequence[Submission | Result]) -> list[Result]:
        """Journal what is new. One request at a time, so that an id that is in two of them is taken once."""
        fresh: dict[str, Submission] = {}
        async with self._taking:
            for entry in entries:
                if isinstance(entry, Submission) and entry.id not in fresh and not self._desk.taken(entry.id):
                    fresh[entry.id] = entry
            if fresh:
                await self._accept(Kind.LOGS, export_request(fresh.values()), "api")
        return [self._result(entry, fresh) if isinstance(entry, Submission) else entry for entry in entries]

    def _result(self, entry: Submission, fresh: dict[str, Submission]) -> Result:
        place = self._desk.place(*entry.target)
        return accepted(entry, place) if fresh.get(entry.id) is entry else duplicate(entry, place)


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


async def _body(request: web.Request) -> bytes:
    length = request.content_length or 0
    if length > _MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(_MAX_BODY_BYTES, length)
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise RetryableError(f"the body did not arrive within {_BODY_TIMEOUT_S:g} s") from None
    except OSError:
        raise RetryableError("the connection broke while the body was read") from None
