"""Answers on the wire, whole or broken."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from otel_eval.standin import api, streaming
from otel_eval.standin.api import ApiError
from otel_eval.standin.behaviour import Fault, Kind

_PIECES = 20


async def send(
    request: web.Request, request_id: str, answer: dict[str, Any], fault: Fault | None, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer a request that got as far as a model; `headers` are its rate limits."""
    kind = fault.kind if fault is not None else None
    if kind is Kind.NOT_JSON:
        return web.Response(text="<html>welcome to the gateway</html>", content_type="text/html")
    if kind is Kind.ERROR_WITH_200:
        return json(ApiError(529, "overloaded_error", "Overloaded").body(request_id), request_id)
    if kind is Kind.STREAM_ERROR:
        raise ApiError(529, "overloaded_error", "Overloaded")
    if fault is None or kind not in (Kind.DRIP, Kind.CUT_BODY):
        return json(answer, request_id, headers)
    body = api.encode(answer)
    response = web.StreamResponse(headers={**api.headers(request_id), **headers, "Content-Length": str(len(body))})
    response.content_type = "application/json"
    await response.prepare(request)
    step = len(body) // _PIECES + 1
    for start in range(0, len(body), step):
        if kind is Kind.CUT_BODY and start > len(body) // 2:
            disconnect(request)
            break
        await response.write(body[start : start + step])
        await asyncio.sleep(fault.seconds / _PIECES if kind is Kind.DRIP else 0)
    return response


async def stream(
    request: web.Request, request_id: str, message: dict[str, Any], fault: Fault | None, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer by server-sent events."""
    response = web.StreamResponse(headers={**api.headers(request_id), **headers})
    response.content_type = "text/event-stream"
    await response.prepare(request)
    for count, event in enumerate(streaming.events(message)):
        if fault is not None and fault.kind is Kind.STREAM_ERROR and count == 3:
            await response.write(streaming.event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
            break
        await response.write(event)
        await asyncio.sleep(fault.seconds / _PIECES if fault is not None and fault.kind is Kind.DRIP else 0)
    return response


def disconnect(request: web.Request) -> None:
    """Break the connection."""
    if request.transport is not None:
        request.transport.abort()


def json(value: object, request_id: str, headers: Mapping[str, str] | None = None, *, status: int = 200) -> web.Response:
    """Any answer."""
    everything = {**api.headers(request_id), **(headers or {})}
    return web.Response(body=api.encode(value), status=status, headers=everything, content_type="application/json")


def page(listed: list[dict[str, Any]], *, more: bool = False) -> dict[str, Any]:
    """A page of a list; the last one, unless there is `more`."""
    ends = (listed[0]["id"], listed[-1]["id"]) if listed else (None, None)
    return {"data": listed, "has_more": more, "first_id": ends[0], "last_id": ends[1]}


def models(request_id: str, model_id: str) -> web.Response:
    """All models, or the one of that id."""
    if model_id:
        return json(_model(api.model_of(model_id)), request_id)
    return json(page([_model(model) for model in api.MODELS.values()]), request_id)


def _model(model: api.Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "type": "model",
        "display_name": f"{model.id} (simulated)",
        "line": model.line,
        "lifecycle": "active",
        "created_at": "2026-10-01T00:00:00Z",
        "deprecated_at": None,
        "retires_at": None,
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_tokens,
        "capabilities": None,
    }
