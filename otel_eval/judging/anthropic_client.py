"""Judges on the Messages API, through the `anthropic` SDK.

The SDK's own retries are off (they would hide rate limits from whoever steers the pool, and repeat what a spend limit
refused), so is its own tracing (judging would make traces to judge), and its key is always passed explicitly (it would
look for somebody's login). The answer is read from the raw response: what is cut off or refused was billed all the same.
It sends through aiohttp: with a dozen connections that takes two thirds of the CPU of what is the default there.
The SDK takes a second to import, so it is imported, in a thread, when the first question is asked.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import aiohttp
import msgspec

from otel_eval.config.values import Secret
from otel_eval.judging import responses
from otel_eval.judging.anthropic_answer import answer_of, limits_of, problem_of
from otel_eval.judging.llm import Answer, Ask, Failure, JudgeError
from otel_eval.judging.prices import PriceTable

if TYPE_CHECKING:
    import anthropic

API_URL = "https://api.anthropic.com"

_CONNECT_TIMEOUT_S = 5.0
_BATCH_TIMEOUT_S = 600.0
_PAGE = 100
_NO_KEY = "there is no API key for the judge; evaluators that ask a model are blocked until one is set"


class BatchState(NamedTuple):
    """A batch that was submitted; `results` by custom id, only once it has ended."""

    ended: bool
    results: Mapping[str, Answer | JudgeError]


class Listed(NamedTuple):
    """One of the account's batches, with the number of its questions."""

    id: str
    ended: bool
    questions: int


class AnthropicClient:
    """Asks models of one account; see Judge. Without a key every call is Failure.BLOCKED.

    `timeout_s` is for a whole call, however slowly the answer comes in; up to `max_connections` calls run at once, more
    wait for one to end, within their time.
    """

    def __init__(
        self,
        api_key: Secret | None,
        prices: PriceTable,
        *,
        base_url: str = API_URL,
        timeout_s: float = 60.0,
        max_connections: int = 64,
    ) -> None:
        self._api_key = api_key
        self._prices = prices
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._client: anthropic.AsyncAnthropic | None = None
        self._connecting = asyncio.Lock()

    async def ask(self, ask: Ask) -> Answer:
        """See Judge."""
        client = await self._connected()
        started = time.perf_counter()
        async with self._errors_of([ask]):
            raw = await client.messages.with_raw_response.create(**_request(ask, material_ttl="5m"))
            message = _decoded(await raw.read())
        problem = problem_of(raw.status_code, message)
        if problem.type:  # a gateway that answers errors with 200
            self._fail(raw.status_code, message, raw.headers, [ask])
        return answer_of(message, ask.model, raw.headers, self._prices, latency_s=time.perf_counter() - started)

    async def submit_batch(self, asks: Mapping[str, Ask]) -> str:
        """Hand in questions to be answered within a day at half the price; returns the batch's id.

        The keys are `custom_id`s: at most 64 letters, digits, `_` and `-`. At most 100,000 questions or 256 MB.
        """
        client = await self._connected()
        requests: Any = [{"custom_id": name, "params": _request(ask, material_ttl="1h")} for name, ask in asks.items()]
        async with self._errors_of(asks.values(), _BATCH_TIMEOUT_S):
            raw = await client.messages.batches.with_raw_response.create(requests=requests)
            batch = _decoded(await raw.read())
        batch_id = responses.text(batch.get("id"))
        if not batch_id:
            self._fail(raw.status_code, batch, raw.headers, asks.values())
        return batch_id

    async def poll_batch(self, batch_id: str, models: Mapping[str, str]) -> BatchState:
        """How a batch stands; `models` tells which model each `custom_id` has asked, for the account of its use.

        All results are held in memory, a few kB each. Expired questions are Failure.TIMEOUT and were not billed. A batch that
        the provider does not know any more has ended without results.
        """
        import anthropic

        client = await self._connected()
        async with self._errors_of([]):
            try:
                raw = await client.messages.batches.with_raw_response.retrieve(batch_id)
            except anthropic.NotFoundError:
                return BatchState(True, {})
            batch = _decoded(await raw.read())
        if batch.get("processing_status") != "ended":
            return BatchState(False, {})
        results: dict[str, Answer | JudgeError] = {}
        async with (
            self._errors_of([], _BATCH_TIMEOUT_S),
            client.messages.batches.with_streaming_response.results(batch_id) as lines,
        ):
            async for text in lines.iter_lines():
                line = _decoded(text)
                name = responses.text(line.get("custom_id"))
                results[name] = self._result(responses.mapping(line.get("result")), models.get(name), lines.headers)
        return BatchState(True, results)

    async def list_batches(self, since_s: float) -> list[Listed]:
        """The account's batches that were made since then, in seconds since 1970, the newest first; raises JudgeError."""
        import anthropic

        client = await self._connected()
        found: list[Listed] = []
        after: str | anthropic.Omit = anthropic.omit
        while True:
            async with self._errors_of([]):
                raw = await client.messages.batches.with_raw_response.list(limit=_PAGE, after_id=after)
                page = _decoded(await raw.read())
            data = page.get("data")
            for batch in map(responses.mapping, data if isinstance(data, list) else []):
                if not _is_since(batch.get("created_at"), since_s):
                    return found
                found.append(_listed(batch))
            if page.get("has_more") is not True or not found or after == found[-1].id:
                return found
            after = found[-1].id

    async def models(self) -> list[str]:
        """The ids of the models that the account may use; raises JudgeError."""
        client = await self._connected()
        async with self._errors_of([]):
            raw = await client.models.with_raw_response.list(limit=1000)
            listed = _decoded(await raw.read()).get("data")
        return [responses.text(responses.mapping(model).get("id")) for model in (listed if isinstance(listed, list) else [])]

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connected(self) -> "anthropic.AsyncAnthropic":
        if self._client is None:
            if self._api_key is None or not self._api_key.reveal():
                raise JudgeError(Failure.BLOCKED, _NO_KEY)
            async with self._connecting:
                if self._client is None:
                    self._client = await asyncio.to_thread(self._connect, self._api_key)
        return self._client

    def _connect(self, api_key: Secret) -> "anthropic.AsyncAnthropic":
        import anthropic
        import httpx2

        timeout = httpx2.Timeout(self._timeout_s, connect=_CONNECT_TIMEOUT_S)
        limits = httpx2.Limits(max_connections=self._max_connections, max_keepalive_connections=self._max_connections)
        return anthropic.AsyncAnthropic(
            api_key=api_key.reveal(),
            base_url=self._base_url,
            max_retries=0,
            open_telemetry=False,
            timeout=timeout,
            # redirects would carry judged texts to somebody who was not configured
            http_client=anthropic.DefaultAioHttpClient(limits=limits, timeout=timeout, follow_redirects=False),
        )

    @asynccontextmanager
    async def _errors_of(self, asks: Iterable[Ask], timeout_s: float | None = None) -> AsyncIterator[None]:
        """Bounds the time of a call and turns what the SDK raises into JudgeError."""
        import anthropic
        import httpx2

        seconds = timeout_s or self._timeout_s
        try:
            async with asyncio.timeout(seconds):
                yield
        except (TimeoutError, anthropic.APITimeoutError) as error:
            unsent = isinstance(error.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout)
            message = f"{self._host} took no connection in time" if unsent else f"no answer within {seconds:g} s"
            raise JudgeError(Failure.TIMEOUT, message, may_be_billed=not unsent) from None
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, httpx2.ConnectError) and not isinstance(cause.__cause__, aiohttp.ClientConnectorError):
                cause = cause.__cause__ or error  # a connection that was lost later is called the same
            unsent = isinstance(cause, httpx2.ConnectError | httpx2.UnsupportedProtocol)
            message = f"the connection to {self._host} failed: {type(cause).__name__}"
            raise JudgeError(Failure.CONNECTION, message, may_be_billed=not unsent) from None
        except anthropic.APIStatusError as error:
            self._fail(error.status_code, error.body, error.response.headers, asks)
        except (anthropic.AnthropicError, ValueError, RecursionError) as error:
            message = f"the answer of {self._host} cannot be read: {type(error).__name__}"
            raise JudgeError(Failure.SERVER_ERROR, message, may_be_billed=True) from None

    @property
    def _host(self) -> str:
        return urlsplit(self._base_url).hostname or "the judge"

    def _fail(self, status: int, body: object, headers: Mapping[str, str], asks: Iterable[Ask]) -> NoReturn:
        problem = problem_of(status, body)
        asked = [part for ask in asks for part in (ask.material, ask.question)]
        reason = responses.shown(problem.message, self._api_key or Secret(""), asked)
        raise JudgeError(
            problem.failure,
            f"{problem}: {reason}" if reason else str(problem),
            retry_after_s=responses.retry_after_s(headers),
            request_id=headers.get("request-id"),
            limits=limits_of(headers),
            may_be_billed=problem.may_be_billed,
        ) from None

    def _result(self, result: Mapping[str, object], model: str | None, headers: Mapping[str, str]) -> Answer | JudgeError:
        """One line of a batch's results. The texts of errors are left out: what was asked is not at hand to compare."""
        match result.get("type"):
            case "succeeded":
                own = {name: headers[name] for name in headers if name == responses.SIMULATED_HEADER}
                return answer_of(responses.mapping(result.get("message")), model, own, self._prices, batch=True)
            case "errored":
                problem = problem_of(400, result.get("error"))
                return JudgeError(problem.failure, f"refused in the batch: {problem.type or 'no reason given'}")
            case "expired":
                return JudgeError(Failure.TIMEOUT, "not answered within the time of the batch")
            case _:
                return JudgeError(Failure.SERVER_ERROR, "canceled with the batch")


def _decoded(body: bytes | str) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])


def _is_since(created: object, since_s: float) -> bool:
    try:
        return datetime.fromisoformat(responses.text(created)).timestamp() >= since_s
    except (ValueError, OverflowError):
        return False


def _listed(batch: Mapping[str, object]) -> Listed:
    questions = sum(responses.count(one) or 0 for one in responses.mapping(batch.get("request_counts")).values())
    return Listed(responses.text(batch.get("id")), batch.get("processing_status") == "ended", questions)


def _request(ask: Ask, material_ttl: str) -> dict[str, Any]:
    """The body of one call: what calls share stands first, since a cache holds prefixes."""
    instructions = _block(ask.instructions, "1h" if ask.cache_instructions else None)
    content = _block(ask.material, material_ttl if ask.cache_material else None) + _block(ask.question, None)
    output = {"format": {"type": "json_schema", "schema": ask.schema}}
    request: dict[str, Any] = {
        "model": ask.model,
        "max_tokens": ask.max_tokens,
        "messages": [{"role": "user", "content": content}],
        "output_config": output if ask.effort is None else output | {"effort": ask.effort},
    }
    if instructions:
        request["system"] = instructions
    if ask.thinking == "adaptive":
        request["thinking"] = {"type": "adaptive", "display": "omitted"}
    elif ask.thinking == "disabled":
        request["thinking"] = {"type": "disabled"}
    return request


def _block(text: str, cache_for: str | None) -> list[dict[str, Any]]:
    """A block of text, none for what the API takes for empty."""
    if not text.strip():
        return []
    block: dict[str, Any] = {"type": "text", "text": responses.encodable(text)}
    if cache_for is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": cache_for}
    return [block]
