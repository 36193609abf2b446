"""How the client tells failures: the whole table, over loopback and with the real SDK."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anthropic
import msgspec
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.config.values import Secret
from otel_eval.judging.anthropic_answer import answer_of, limits_of, problem_of
from otel_eval.judging.anthropic_client import AnthropicClient
from otel_eval.judging.llm import Failure
from otel_eval.judging.prices import PriceTable
from otel_eval.judging.responses import shown
from otel_eval.standin import Behaviour, Fault, Kind, StandIn
from tests.judging.judges import KEY, anthropic_client, error, failure_of, question

PRICES = PriceTable.load()
TABLE = [
    (error(429, "rate_limit_error"), Failure.RATE_LIMITED),
    (error(429, "rate_limit_error", "ramp_limit_exceeded"), Failure.RAMP_LIMITED),
    (error(429, "rate_limit_error", "enforced_spend_limit_reached"), Failure.SPEND_LIMIT),
    (error(429, "rate_limit_error", "contract_spend_limit_reached"), Failure.SPEND_LIMIT),
    (error(402, "billing_error"), Failure.SPEND_LIMIT),
    (error(402, "billing_error", "linked_organization_spend_limit_reached"), Failure.SPEND_LIMIT),
    (error(529, "overloaded_error"), Failure.OVERLOADED),
    (error(503, "overloaded_error"), Failure.OVERLOADED),
    (error(500, "api_error"), Failure.SERVER_ERROR),
    (error(503, "api_error"), Failure.SERVER_ERROR),
    (error(504, "timeout_error"), Failure.SERVER_ERROR),
    (error(408, "timeout_error"), Failure.SERVER_ERROR),
    (error(409, "conflict_error"), Failure.SERVER_ERROR),
    (error(400, "invalid_request_error"), Failure.BAD_REQUEST),
    (error(422, "invalid_request_error"), Failure.BAD_REQUEST),
    (error(413, "request_too_large"), Failure.TOO_LARGE),
    (error(413, "invalid_request_error"), Failure.TOO_LARGE),
    (error(401, "authentication_error"), Failure.BLOCKED),
    (error(403, "permission_error"), Failure.BLOCKED),
    (error(404, "not_found_error"), Failure.BLOCKED),
    (error(400, "invalid_request_error", "organization_on_hold"), Failure.BLOCKED),
    # what somebody on the way answers has no type of the API
    (error(429, "?"), Failure.RATE_LIMITED),
    (error(529, "?"), Failure.OVERLOADED),
    (error(502, "?"), Failure.SERVER_ERROR),
    (error(307, "?"), Failure.BLOCKED),
    (error(418, "?"), Failure.BAD_REQUEST),
    (Fault(kind=Kind.ERROR_WITH_200), Failure.OVERLOADED),
    (Fault(kind=Kind.NOT_JSON), Failure.SERVER_ERROR),
    (Fault(kind=Kind.DISCONNECT), Failure.CONNECTION),
    (Fault(kind=Kind.CUT_BODY), Failure.CONNECTION),
]


@pytest_asyncio.fixture
async def api() -> AsyncIterator[StandIn]:
    async with StandIn() as running:
        yield running


@pytest.mark.parametrize(("fault", "failure"), TABLE, ids=str)
async def test_every_row_of_the_table_is_tried_once(fault: Fault, failure: Failure, api: StandIn) -> None:
    api.script.append(fault)
    async with anthropic_client(api) as client:
        problem = await failure_of(client)
        assert problem.failure is failure
        assert len(api.seen) == 1
        await client.ask(question())  # and the next one is answered


async def test_the_sdk_itself_would_try_again(api: StandIn) -> None:
    """What makes the test above fail when the client forgets to switch retries off."""
    api.script.append(error(429, "rate_limit_error", "enforced_spend_limit_reached", retry_after_ms="1"))
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=api.url) as sdk:
        await sdk.messages.create(model="claude-haiku-5-5", max_tokens=9, messages=[{"role": "user", "content": "Hello"}])
    assert len(api.seen) == 2


async def test_an_error_in_a_stream_is_told_by_its_type(api: StandIn) -> None:
    api.script.append(Fault(kind=Kind.STREAM_ERROR))
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=api.url, max_retries=0) as sdk:
        with pytest.raises(anthropic.APIStatusError) as caught:
            async with sdk.messages.stream(
                model="claude-haiku-5-5", max_tokens=99, messages=[{"role": "user", "content": "Hello"}]
            ) as stream:
                await stream.get_final_message()
    assert caught.value.status_code == 200
    assert problem_of(200, caught.value.body).failure is Failure.OVERLOADED


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({}, None, None),
        ({"retry_after": "7"}, 7, 7),
        ({"retry_after": "1.5"}, 1.5, 1.5),
        ({"retry_after_ms": "250", "retry_after": "7"}, 0.25, 0.25),
        ({"retry_after_ms": "soon", "retry_after": "7"}, 7, 7),
        ({"retry_after": "-3"}, 0, 0),
        ({"retry_after": "nan"}, None, None),
        ({"retry_after": "inf"}, None, None),
        ({"retry_after": "tomorrow"}, None, None),
        ({"retry_after": format_datetime(datetime.now(UTC) + timedelta(hours=1))}, 1800, 3600),
        ({"retry_after": format_datetime(datetime.now(UTC) - timedelta(hours=1))}, 0, 0),
    ],
)
async def test_how_long_to_wait(headers: dict[str, str], least: float | None, most: float | None, api: StandIn) -> None:
    api.script.append(error(429, "rate_limit_error", **headers))
    async with anthropic_client(api) as client:
        wait_s = (await failure_of(client)).retry_after_s
    if least is None or most is None:
        assert wait_s is None
    else:
        assert wait_s is not None
        assert least <= wait_s <= most


async def test_a_rate_limit_tells_how_the_limits_stand() -> None:
    behaviour = msgspec.convert({"limits": {"requests": 1}}, Behaviour)
    async with StandIn(behaviour) as api, anthropic_client(api) as client:
        await client.ask(question())
        problem = await failure_of(client)
    assert problem.failure is Failure.RATE_LIMITED
    assert problem.limits["requests"].limit == 1
    assert problem.limits["requests"].remaining == 0
    assert problem.request_id == "req_0000000000000002"
    assert 50 < (problem.retry_after_s or 0) <= 60
    assert not problem.may_be_billed


@pytest.mark.parametrize("fault", [Fault(kind=Kind.HANG), Fault(kind=Kind.DRIP, seconds=6)], ids=str)
async def test_the_time_is_for_the_whole_call(fault: Fault, api: StandIn) -> None:
    """A drip keeps every read of the SDK within its own time."""
    api.script.append(fault)
    async with anthropic_client(api, timeout_s=0.5) as client:
        problem = await failure_of(client)
    assert problem.failure is Failure.TIMEOUT
    assert problem.may_be_billed
    assert str(problem) == "no answer within 0.5 s"


@pytest.mark.parametrize(
    ("fault", "billed"),
    [(Kind.DISCONNECT, True), (Kind.CUT_BODY, True), (Kind.NOT_JSON, True), (Kind.OVERLOADED, False)],
)
async def test_what_may_be_billed(fault: Kind, billed: bool, api: StandIn) -> None:
    api.script.append(Fault(kind=fault))
    async with anthropic_client(api) as client:
        assert (await failure_of(client)).may_be_billed is billed


@pytest.mark.parametrize(("status", "billed"), [(408, True), (504, True), (500, False), (429, False)])
def test_an_answer_that_somebody_stopped_waiting_for_may_be_billed(status: int, billed: bool) -> None:
    assert problem_of(status, None).may_be_billed is billed


async def test_without_a_connection_nothing_is_billed() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = AnthropicClient(Secret(KEY), PRICES, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        problem = await failure_of(client)
    await client.aclose()
    assert problem.failure is Failure.CONNECTION
    assert not problem.may_be_billed
    assert str(problem) == "the connection to 127.0.0.1 failed: ConnectError"


async def test_a_redirect_is_not_followed(api: StandIn) -> None:
    async with StandIn() as elsewhere, anthropic_client(api) as client:
        api.script.append(error(307, "?", location=f"{elsewhere.url}/v1/messages"))
        assert (await failure_of(client)).failure is Failure.BLOCKED
        assert not elsewhere.seen


async def test_more_calls_than_connections_wait_for_one(api: StandIn) -> None:
    async with anthropic_client(api, max_connections=2) as client:
        answers = await asyncio.gather(*(client.ask(question()) for _ in range(8)))
    assert len({answer.use.request_id for answer in answers}) == 8


async def test_a_call_that_is_cancelled_stays_cancelled(api: StandIn) -> None:
    api.script.append(Fault(kind=Kind.HANG))
    async with anthropic_client(api) as client:
        call = asyncio.create_task(client.ask(question()))
        while not api.seen:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_neither_key_nor_judged_text_is_told(api: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    secret_text = "the customer's card is 4111 1111 1111 1111"
    for message in (f"no such key: {KEY}", f"messages.0: {secret_text} is not allowed", "x" * 10_000):
        api.script.append(error(400, "invalid_request_error", message=message))
    async with anthropic_client(api) as client:
        problems = [await failure_of(client, question(material=f"<data_0f>{secret_text}</data_0f>")) for _ in range(3)]
        told = [f"{problem!r} {problem} {vars(problem)}" for problem in problems] + [
            repr(client),
            repr(vars(client)),
            caplog.text,
        ]
    assert not [text for text in told if KEY in text or "4111" in text]
    assert str(problems[0]) == "HTTP 400 (invalid_request_error): no such key: ****"
    assert "not shown" in str(problems[1])
    assert len(str(problems[2])) < 400
    assert [problem.__cause__ for problem in problems] == [None] * 3
    assert all(problem.__suppress_context__ for problem in problems)


@given(st.text(max_size=40), st.text(min_size=19, max_size=60), st.text(max_size=40))
def test_a_repeated_piece_of_the_question_is_never_shown(before: str, piece: str, after: str) -> None:
    line = shown(before + piece + after, Secret(KEY), ["some more text " + piece])
    printable = "".join(c if c.isprintable() else " " for c in piece)
    assert printable not in line or not piece.isprintable()


WORDS = ["content", "usage", "input_tokens", "output_tokens", "cache_creation", "stop_reason", "stop_details", "model", "error"]
WORDS += ["type", "text", "details", "error_code", "category", "inference_geo", "cache_creation_input_tokens", "message"]
leaves = st.sampled_from(["refusal", "text", "us", "error", "claude-haiku-5-5", "\ud800", 7, -1, 2**70, 0.5, True, None])
answers = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4), max_leaves=12
)
LIMIT_HEADERS = st.sampled_from([f"anthropic-ratelimit-requests-{what}" for what in ("limit", "remaining", "reset")])


@given(st.dictionaries(st.sampled_from(WORDS), answers), st.dictionaries(st.text(), st.text()))
def test_any_answer_can_be_read(message: dict[str, Any], headers: dict[str, str]) -> None:
    answer = answer_of(message, "claude-haiku-5-5", headers, PRICES)
    assert isinstance(answer.text, str)
    assert (answer.refusal is not None) == (answer.stop_reason == "refusal")


@given(st.integers(100, 999), answers)
def test_any_error_can_be_read(status: int, body: object) -> None:
    problem = problem_of(status, body)
    assert isinstance(problem.failure, Failure)
    assert str(problem).isprintable()


@given(
    st.dictionaries(st.sampled_from([f"anthropic-ratelimit-requests-{w}" for w in ("limit", "remaining", "reset")]), st.text())
)
def test_any_header_can_be_read(headers: dict[str, str]) -> None:
    assert set(limits_of(headers)) <= {"requests"}


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"input_tokens": 1_000_000, "output_tokens": 0, "inference_geo": "global"}, 0.5),
        ({"input_tokens": 100_000, "output_tokens": 0}, 0.01),
        ({"input_tokens": 100_000, "output_tokens": 0, "inference_geo": "us"}, 0.011),
        ({"input_tokens": 100_000, "output_tokens": 0, "inference_geo": "the moon"}, None),
        ({"input_tokens": 100_000, "output_tokens": 0, "service_tier": "priority"}, None),
        ({"input_tokens": 100_000, "output_tokens": 0, "speed": "fast"}, None),
        ({"input_tokens": -5, "output_tokens": 0}, None),
        ({"input_tokens": 1.5, "output_tokens": 0}, None),
        ({"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 100_000}, 0.02),
        (
            {
                "input_tokens": 0,
                "output_tokens": 0,
                "cache_creation_input_tokens": 100_000,
                "cache_creation": {"ephemeral_5m_input_tokens": 60_000, "ephemeral_1h_input_tokens": 40_000},
            },
            0.0155,
        ),
    ],
)
def test_what_the_usage_costs(usage: dict[str, Any], usd: float | None) -> None:
    cost = answer_of({"usage": usage}, "claude-haiku-5-5", {}, PRICES).use.cost_usd
    assert cost == (None if usd is None else pytest.approx(usd))
