"""Judges behind the chat completions API, which hosted and local servers of many kinds speak, each in its own dialect.

How a server gives structured output is found out by asking: a probe whose question says nothing of JSON is sent with a
schema, then with a forced tool, then in JSON mode; the first way that gives the wanted object is kept for that model.
A server that takes a field and ignores it is found out in the same way. What is left is an answer in plain text, out of
which the first JSON object is taken. A later refusal that names the field in question moves on to the next way.

Effort is passed on as `reasoning_effort`; thinking cannot be switched here, and caching is the server's own business.
"""

import asyncio
import io
import time
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec

from otel_eval import __version__
from otel_eval.config.values import Secret
from otel_eval.judging import responses
from otel_eval.judging.llm import Answer, Ask, Failure, JudgeError
from otel_eval.judging.openai_answer import Problem, answer_of, first_object, limits_of, problem_of
from otel_eval.judging.prices import PriceTable

_CONNECT_TIMEOUT_S = 5.0
_MAX_ANSWER_BYTES = 16 << 20
_TOOL = "verdict"


class Output(StrEnum):
    """How a server is made to answer in JSON, the most reliable way first."""

    SCHEMA = "schema"
    TOOL = "tool"
    JSON = "json"
    TEXT = "text"

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the request that a server may not know."""
        return {"schema": ("response_format",), "tool": ("tool_choice", "tools"), "json": ("response_format",)}.get(self, ())

    @property
    def next(self) -> "Output":
        """The way to try when this one is refused."""
        ways = list(Output)
        return ways[min(ways.index(self) + 1, len(ways) - 1)]


class _Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class OpenAiClient:
    """Asks models at `{base_url}/chat/completions`; see Judge. A local server may need no key.

    `timeout_s` is for a whole call, however slowly the answer comes in.
    """

    def __init__(
        self,
        api_key: Secret | None,
        prices: PriceTable,
        *,
        base_url: str,
        timeout_s: float = 60.0,
        max_connections: int = 64,
    ) -> None:
        self._api_key = api_key or Secret("")
        self._prices = prices
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._outputs: dict[str, Output] = {}
        self._max_tokens_fields: dict[str, str] = {}
        self._probing = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, ask: Ask) -> Answer:
        """See Judge; the first question to a model is preceded by the probe."""
        output = await self.probe(ask.model)
        while True:
            started = time.perf_counter()
            reply = await self._post(ask, output)
            if reply.status == 200 and not reply.body.get("error"):
                break
            problem = problem_of(reply.status, reply.body)
            if output is Output.TEXT or not any(problem.names(field) for field in output.fields):
                raise self._error(problem, reply, ask)
            output = self._outputs[ask.model] = output.next
        answer = answer_of(reply.body, ask.model, reply.headers, self._prices, time.perf_counter() - started)
        return answer if output is Output.SCHEMA else msgspec.structs.replace(answer, text=first_object(answer.text))

    async def probe(self, model: str) -> Output:
        """How the server gives structured output with this model, asked once; raises JudgeError if it does not answer."""
        if model not in self._outputs:
            async with self._probing:
                if model not in self._outputs:
                    self._outputs[model] = await self._find_out(model)
        return self._outputs[model]

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _find_out(self, model: str) -> Output:
        ask = _probe(model)
        for output in (Output.SCHEMA, Output.TOOL, Output.JSON):
            reply = await self._post(ask, output)
            problem = problem_of(reply.status, reply.body)
            if problem.status not in (200, 400, 422):  # also one that a gateway tells with status 200
                raise self._error(problem, reply, ask)
            if _is_probed(answer_of(reply.body, model, reply.headers, self._prices, 0.0).text):
                return output
        return Output.TEXT

    async def _post(self, ask: Ask, output: Output) -> _Reply:
        """One request; once more under its other name when the server does not know the field for the longest answer."""
        field = self._max_tokens_fields.get(ask.model, "max_tokens")
        reply = await self._send(_request(ask, output, field))
        other = "max_completion_tokens" if field == "max_tokens" else "max_tokens"
        if ask.model not in self._max_tokens_fields and problem_of(reply.status, reply.body).names(field):
            self._max_tokens_fields[ask.model] = other
            reply = await self._send(_request(ask, output, other))
        return reply

    async def _send(self, request: dict[str, Any]) -> _Reply:
        try:
            body = io.BytesIO(msgspec.json.encode(request))  # as bytes, aiohttp would write all of it in one go
            async with self._opened().post(self._url, data=body, allow_redirects=False) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return _Reply(response.status, headers, _decoded(await _read(response), response.status))
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            message = f"the connection to {self._host} failed: {type(error).__name__}"
            raise JudgeError(Failure.CONNECTION, message) from None
        except TimeoutError:
            raise JudgeError(Failure.TIMEOUT, f"no answer within {self._timeout_s:g} s", may_be_billed=True) from None
        except aiohttp.ClientError as error:
            message = f"the connection to {self._host} failed: {type(error).__name__}"
            raise JudgeError(Failure.CONNECTION, message, may_be_billed=True) from None
        except (ValueError, RecursionError) as error:
            message = f"the answer of {self._host} cannot be read: {type(error).__name__}"
            raise JudgeError(Failure.SERVER_ERROR, message, may_be_billed=True) from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"content-type": "application/json", "user-agent": f"otel_eval/{__version__}"}
            if self._api_key.reveal():
                headers["authorization"] = f"Bearer {self._api_key.reveal()}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_connections),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
                headers=headers,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    @property
    def _host(self) -> str:
        return urlsplit(self._url).hostname or "the judge"

    def _error(self, problem: Problem, reply: _Reply, ask: Ask) -> JudgeError:
        reason = responses.shown(problem.message, self._api_key, (ask.material, ask.question))
        return JudgeError(
            problem.failure,
            f"{problem}: {reason}" if reason else str(problem),
            retry_after_s=responses.retry_after_s(reply.headers),
            request_id=reply.headers.get("x-request-id") or reply.headers.get("request-id"),
            limits=limits_of(reply.headers),
            may_be_billed=problem.may_be_billed,
        )


def _request(ask: Ask, output: Output, max_tokens_field: str) -> dict[str, Any]:
    """The body of one call."""
    system = ask.instructions
    if output in (Output.JSON, Output.TEXT):
        schema = msgspec.json.encode(ask.schema).decode()
        system = f"{system}\n\nAnswer with one JSON object that fits this JSON Schema, and nothing else:\n{schema}"
    user = "\n\n".join(part for part in (ask.material, ask.question) if part)
    request: dict[str, Any] = {
        "model": ask.model,
        "messages": [
            {"role": "system", "content": responses.encodable(system)},
            {"role": "user", "content": responses.encodable(user)},
        ],
        max_tokens_field: ask.max_tokens,
    }
    if ask.effort is not None:
        request["reasoning_effort"] = ask.effort
    match output:
        case Output.SCHEMA:
            schema_format = {"name": _TOOL, "strict": True, "schema": ask.schema}
            request["response_format"] = {"type": "json_schema", "json_schema": schema_format}
        case Output.TOOL:
            function = {"name": _TOOL, "description": "Give the answer.", "parameters": ask.schema}
            request["tools"] = [{"type": "function", "function": function}]
            request["tool_choice"] = {"type": "function", "function": {"name": _TOOL}}
        case Output.JSON:
            request["response_format"] = {"type": "json_object"}
    return request


def _probe(model: str) -> Ask:
    """A question that nobody answers in JSON unless made to."""
    schema = {
        "type": "object",
        "properties": {"water_is_wet": {"type": "string", "enum": ["yes", "no"]}},
        "required": ["water_is_wet"],
        "additionalProperties": False,
    }
    return Ask(model=model, instructions="You answer questions.", material="", question="Is water wet?", schema=schema)


def _is_probed(text: str) -> bool:
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and set(found) == {"water_is_wet"} and found["water_is_wet"] in ("yes", "no")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            raise ValueError("the answer is too large")
        chunks.append(chunk)
    return b"".join(chunks)


def _decoded(body: bytes, status: int) -> dict[str, Any]:
    """The body, which only of a success must be JSON."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):
        if status == 200:
            raise
        return {"message": body[:500].decode(errors="replace")}
