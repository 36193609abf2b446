"""How structured output is had from servers that can do more or less of it."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from otel_eval.judging.llm import Failure
from otel_eval.judging.openai_client import Output
from otel_eval.standin import Behaviour, Chat, Fault, Kind, StandIn
from tests.judging.judges import error, failure_of, openai_client, question

ASK = question(model="local", thinking=None)
NO_SCHEMA, NO_TOOLS = {"json_schema": False}, {"json_schema": False, "tools": False}
NOTHING = {"json_schema": False, "tools": False, "json_mode": False}


def server(**capabilities: Any) -> Behaviour:
    return Behaviour(chat=Chat(**capabilities))


def bodies(api: StandIn) -> list[dict[str, Any]]:
    return [json.loads(seen.body) for seen in api.seen]


@pytest.mark.parametrize("ignores", [False, True], ids=["refuses fields", "ignores fields"])
@pytest.mark.parametrize(
    ("capabilities", "output", "probes"),
    [({}, Output.SCHEMA, 1), (NO_SCHEMA, Output.TOOL, 2), (NO_TOOLS, Output.JSON, 3), (NOTHING, Output.TEXT, 3)],
)
async def test_the_best_way_that_works_is_used(capabilities: dict[str, bool], output: Output, probes: int, ignores: bool) -> None:
    async with StandIn(server(**capabilities, ignores=ignores)) as api, openai_client(api) as client:
        answers = [await client.ask(ASK) for _ in range(2)]
        assert await client.probe("local") is output
        for answer in answers:
            assert json.loads(answer.text)["factual_grounding"] in {1, 2, 3, 4, 5}
            assert answer.stop_reason == "end_turn"
        assert len(api.seen) == probes + 2


async def test_each_model_is_probed_once_however_many_ask() -> None:
    async with StandIn() as api, openai_client(api) as client:
        asks = [question(model=model, thinking=None) for model in ("one", "two") for _ in range(5)]
        await asyncio.gather(*(client.ask(ask) for ask in asks))
        assert len(api.seen) == 12


async def test_the_probe_says_nothing_of_json() -> None:
    async with StandIn() as api, openai_client(api) as client:
        await client.probe("local")
        (body,) = bodies(api)
    assert "json" not in json.dumps(body["messages"]).lower()


async def test_a_refused_field_later_on_moves_to_the_next_way() -> None:
    async with StandIn() as api, openai_client(api) as client:
        await client.ask(ASK)
        api.behaviour = server(json_schema=False)
        answer = await client.ask(ASK)
        assert json.loads(answer.text)
        assert await client.probe("local") is Output.TOOL
        api.behaviour = server(**NOTHING)
        assert json.loads((await client.ask(ASK)).text)
        assert await client.probe("local") is Output.TEXT


async def test_another_bad_request_changes_nothing() -> None:
    async with StandIn() as api, openai_client(api) as client:
        await client.probe("local")
        api.script.append(error(400, "invalid_request_error", message="messages: too many"))
        assert (await failure_of(client, ASK)).failure is Failure.BAD_REQUEST
        assert await client.probe("local") is Output.SCHEMA


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_longest_answer_is_told_by_the_name_that_the_server_knows(field: str) -> None:
    async with StandIn(server(max_tokens_field=field)) as api, openai_client(api) as client:
        for _ in range(2):
            await client.ask(ASK)
        sent = [next(name for name in body if name.startswith("max_")) for body in bodies(api)]
    assert sent == ["max_tokens"] * (field != "max_tokens") + [field] * 3


@pytest.mark.parametrize("kind", [Kind.OVERLOADED, Kind.NOT_JSON, Kind.DISCONNECT])
async def test_a_probe_without_an_answer_is_not_remembered(kind: Kind) -> None:
    async with StandIn() as api, openai_client(api) as client:
        api.script.append(Fault(kind=kind))
        assert (await failure_of(client, ASK)).failure in {Failure.OVERLOADED, Failure.SERVER_ERROR, Failure.CONNECTION}
        assert await client.probe("local") is Output.SCHEMA


async def test_a_gateway_s_error_with_status_200_is_no_answer_to_the_probe() -> None:
    overloaded = {"error": {"code": 503, "message": "no instance is free"}}
    replies = [overloaded, {"choices": [{"message": {"content": '{"water_is_wet": "yes"}'}}]}]

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(replies.pop(0))

    app = web.Application()
    app.add_routes([web.post("/chat/completions", answer)])
    async with StandIn() as api, TestServer(app) as gateway, openai_client(api, base_url=str(gateway.make_url("/"))) as client:
        problem = await failure_of(client, ASK)
        assert (problem.failure, str(problem)) == (Failure.OVERLOADED, "HTTP 503: no instance is free")
        assert await client.probe("local") is Output.SCHEMA


async def test_without_a_server_s_help_the_schema_stands_in_the_instructions() -> None:
    async with StandIn(server(**NOTHING)) as api, openai_client(api) as client:
        await client.ask(ASK)
        body = bodies(api)[-1]
    assert set(body) == {"model", "messages", "max_tokens"}
    assert json.dumps(ASK.schema, separators=(",", ":")) in body["messages"][0]["content"]
