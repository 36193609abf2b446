"""Batches: handed in, looked after, and read in any order."""

import json
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from otel_eval.judging import anthropic_client as module
from otel_eval.judging.anthropic_client import Listed
from otel_eval.judging.llm import Answer, Failure, JudgeError
from otel_eval.standin import Behaviour, Fault, Kind, StandIn
from tests.judging.judges import anthropic_client, error, question

LONG = "A rule of the rubric that says what counts. " * 60
MODELS = {"first": "claude-haiku-5-5", "second": "claude-haiku-4-5"}


@pytest_asyncio.fixture
async def api() -> AsyncIterator[StandIn]:
    async with StandIn() as running:
        yield running


async def test_results_come_by_custom_id_at_half_the_price(api: StandIn) -> None:
    asks = {"first": question(), "second": question(model="claude-haiku-4-5")}
    async with anthropic_client(api) as client:
        alone = await client.ask(asks["first"])
        state = await client.poll_batch(await client.submit_batch(asks), MODELS)
    assert state.ended
    assert set(state.results) == {"first", "second"}
    first, second = state.results["first"], state.results["second"]
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert first.text == alone.text
    assert first.use.cost_usd == pytest.approx((alone.use.cost_usd or 0) / 2)
    assert (second.use.model, second.use.answered_by) == ("claude-haiku-4-5", "claude-haiku-4-5-20251001-simulated")
    assert second.use.cost_usd is not None
    assert first.use.simulated
    assert first.use.request_id is None
    assert first.limits == {}


async def test_material_is_cached_for_an_hour_in_a_batch(api: StandIn) -> None:
    async with anthropic_client(api) as client:
        await client.submit_batch({"first": question(cache_material=True)})
    content = json.loads(api.seen[-1].body)["requests"][0]["params"]["messages"][0]["content"]
    assert content[0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


async def test_a_batch_takes_its_time() -> None:
    async with StandIn(Behaviour(batch_s=3600)) as api, anthropic_client(api) as client:
        batch_id = await client.submit_batch({"first": question()})
        state = await client.poll_batch(batch_id, MODELS)
    assert (state.ended, state.results) == (False, {})


async def test_every_end_of_a_request(api: StandIn) -> None:
    api.script.extend(
        [
            Fault(kind=Kind.REFUSAL, category="bio"),
            Fault(kind=Kind.EXPIRED),
            error(400, "invalid_request_error"),
            error(500, "api_error"),
            None,
        ]
    )
    names = ["refused", "expired", "invalid", "failed", "unknown_model"]
    asks = {name: question(model="gone" if name == "unknown_model" else "claude-haiku-5-5") for name in names}
    async with anthropic_client(api) as client:
        state = await client.poll_batch(await client.submit_batch(asks), {})
    results = dict(state.results)
    refused = results.pop("refused")
    assert isinstance(refused, Answer)
    assert refused.refusal == "bio"
    failures = {name: found.failure for name, found in results.items() if isinstance(found, JudgeError)}
    assert failures == {
        "expired": Failure.TIMEOUT,
        "invalid": Failure.BAD_REQUEST,
        "failed": Failure.SERVER_ERROR,
        "unknown_model": Failure.BLOCKED,
    }


async def test_a_cancelled_batch(api: StandIn) -> None:
    api.behaviour = Behaviour(batch_s=3600)
    async with anthropic_client(api) as client:
        batch_id = await client.submit_batch({"first": question()})
        headers = {"authorization": "Bearer any", "anthropic-version": "2026-10-21"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.post(f"{api.url}/v1/messages/batches/{batch_id}/cancel") as response:
                assert (await response.json())["processing_status"] == "canceling"
        state = await client.poll_batch(batch_id, MODELS)
    assert state.ended
    result = state.results["first"]
    assert isinstance(result, JudgeError)
    assert "canceled" in str(result)


@pytest.mark.parametrize("name", ["has a space", "x" * 65, "ü"])
async def test_a_name_that_the_api_does_not_take(name: str, api: StandIn) -> None:
    async with anthropic_client(api) as client:
        with pytest.raises(JudgeError) as caught:
            await client.submit_batch({name: question()})
    assert caught.value.failure is Failure.BAD_REQUEST


async def test_a_batch_that_there_is_not(api: StandIn) -> None:
    async with anthropic_client(api) as client:
        assert await client.poll_batch("msgbatch_none", {}) == (True, {})


async def test_batches_are_listed_page_by_page_as_far_back_as_was_asked(api: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    async with anthropic_client(api) as client:
        ids = [await client.submit_batch({"first": question(), f"more{n}": question()}) for n in range(5)]
        assert await client.list_batches(time.time() - 60) == [Listed(one, True, 2) for one in reversed(ids)]
        assert await client.list_batches(time.time() + 60) == []
        api.behaviour = Behaviour(batch_s=3600)
        running = await client.submit_batch({"first": question()})
        assert (await client.list_batches(0))[0] == (running, False, 1)
