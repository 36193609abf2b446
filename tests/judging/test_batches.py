"""Verdicts that may wait: asked together at half the price, each once, and no job without an end."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otel_eval.judging import batch_sending, pool
from otel_eval.judging.anthropic_client import AnthropicClient, BatchState, Listed
from otel_eval.judging.budget import BudgetConfig
from otel_eval.judging.llm import Ask, Failure, JudgeError
from otel_eval.judging.scores import Judgement, State
from otel_eval.standin import Behaviour, Fault, Kind, StandIn
from tests.judging.judges import error
from tests.judging.pool_setup import Rig, job, rig, stored

SOON = "300ms"
JUDGE: list[str | dict[str, Any]] = [{"rubric": "task_completion", "freshness": SOON}]
BATCHES = "/v1/messages/batches"
MODELS = [{"model": "claude-haiku-5-5"}, *({"model": f"claude-{name}-5-5", "thinking": None} for name in ("sonnet", "opus"))]
PANEL = {"rubric": "abstention", "judges": MODELS}


@pytest.fixture(autouse=True)
def hardly_any_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.Pool, "_backoff", lambda *_: 0.05)
    for name in ("_TICK_S", "_SHORTEST_LOOK_S", "_RETRY_S"):
        monkeypatch.setattr(batch_sending, name, 0.02)
    monkeypatch.setattr(pool, "_IDLE_S", 0.02)


def sent(api: StandIn) -> list[int]:
    """The sizes of the batches that came in."""
    return [len(json.loads(one.body)["requests"]) for one in api.seen if one.path == BATCHES and one.method == "POST"]


def direct(api: StandIn) -> int:
    return sum(one.path == "/v1/messages" for one in api.seen)


def booked(made: Rig) -> tuple[float, int]:
    """What the budget's file says: USD and calls."""
    with closing(sqlite3.connect(made.directory / "judging" / "budget.sqlite3")) as database:
        nano, calls = database.execute("SELECT coalesce(sum(nano_usd), 0), coalesce(sum(calls), 0) FROM booked").fetchone()
    return nano / 1e9, calls


async def settled(made: Rig, usd: float, calls: int) -> None:
    """Wait until that is booked: settling is written in the background."""
    async with asyncio.timeout(10):
        while booked(made) != pytest.approx((usd, calls)):
            await asyncio.sleep(0.02)


def rows(made: Rig) -> list[tuple[Any, ...]]:
    """The file's questions and batches."""
    with closing(sqlite3.connect(made.directory / "judging" / "batches.sqlite3")) as database:
        questions = database.execute("SELECT job, state FROM question").fetchall()
        return questions + database.execute("SELECT name FROM batch").fetchall()


def waiting(*traces: int, **values: Any) -> list[Any]:
    return [job(trace, freshness=SOON, **values) for trace in traces]


def costs(judgements: Sequence[Judgement]) -> list[float]:
    return [score.judge.cost_usd or 0.0 for one in judgements for score in one.scores if score.judge is not None]


async def test_several_jobs_are_asked_together_at_half_the_price(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        judged = await made.judged(*waiting(1, 2, 3))
        assert (sent(api), direct(api)) == ([3], 0)
        assert [one.state for one in judged] == [State.SCORED] * 3
        assert {one.tries for one in judged} == {1}, "waiting is no try"
        await settled(made, sum(costs(judged)), 3)
        assert api.engine.spent_usd == pytest.approx(sum(costs(judged)))
        assert rows(made) == []
    async with StandIn() as api, rig(tmp_path / "now", api, evaluators=["task_completion"]) as made:
        first = max(costs(judged))  # it pays for the cache that the others read, and jobs come in any order
        assert costs(await made.judged(job(1)))[0] == pytest.approx(2 * first)


async def test_all_questions_of_a_job_go_into_one_batch(tmp_path: Path) -> None:
    judges: list[str | dict[str, Any]] = [
        *JUDGE,
        {"rubric": "instruction_adherence", "freshness": SOON},
        {"panel": PANEL, "freshness": SOON},
    ]
    async with StandIn() as api, rig(tmp_path, api, evaluators=judges) as made:
        (one,) = await made.judged(*waiting(1))
        assert (sent(api), direct(api)) == ([5], 0)
        assert {result.state for result in one.results} == {State.SCORED}


async def test_equal_content_is_sent_once(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        judged = await made.judged(*(job(trace, stored(trace), freshness=SOON) for trace in (1, 2, 3)))
        assert (sum(sent(api)), direct(api)) == (1, 0)
        assert sorted(one.state for one in judged) == [State.CACHED, State.CACHED, State.SCORED]
        assert len({one.scores[0].value for one in judged}) == 1


@pytest.mark.parametrize(
    ("fault", "state", "asked_directly"),
    [
        (Fault(kind=Kind.EXPIRED), State.SCORED, 1),
        (Fault(kind=Kind.SERVER_ERROR), State.SCORED, 1),
        (Fault(kind=Kind.BROKEN_JSON), State.SCORED, 1),
        (Fault(kind=Kind.REFUSAL), State.JUDGE_REFUSED, 0),
        (Fault(kind=Kind.MISSING_USAGE), State.SCORED, 0),
        (error(400, "invalid_request_error"), State.DEAD_LETTER, 0),
        (error(413, "request_too_large"), State.TOO_LARGE, 0),
        (error(404, "not_found_error"), State.BLOCKED_EVALUATOR, 0),
    ],
)
async def test_each_result_of_a_batch_leads_to_one_end(tmp_path: Path, fault: Fault, state: State, asked_directly: int) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        api.script.append(fault)
        (one,) = await made.judged(*waiting(1))
        assert (one.state, sent(api), direct(api)) == (state, [1], asked_directly)
        await asyncio.sleep(0.1)
        assert api.engine.spent_usd <= booked(made)[0] + 1e-12
        assert rows(made) == []


async def test_a_cancelled_batch_is_asked_directly(tmp_path: Path) -> None:
    async with StandIn(Behaviour(batch_s=3600)) as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        await made.queue.enqueue_many(waiting(1))
        async with made.working():
            async with asyncio.timeout(10):
                while not api._batches._batches:
                    await asyncio.sleep(0.01)
            api._batches.cancel(next(iter(api._batches._batches)))
            (one,) = await made.ended(1)
        assert (one.state, direct(api)) == (State.SCORED, 1)


class Unlucky:
    """A provider's client that fails in sending: before, or after the provider has the batch."""

    def __init__(self, client: AnthropicClient, *script: BaseException, arrives: bool = False) -> None:
        self.client = client
        self.script = list(script)
        self.arrives = arrives
        self.tries = 0

    async def submit_batch(self, asks: Mapping[str, Ask]) -> str:
        self.tries += 1
        if not self.script:
            return await self.client.submit_batch(asks)
        if self.arrives:
            await self.client.submit_batch(asks)
        raise self.script.pop(0)

    async def poll_batch(self, batch_id: str, models: Mapping[str, str]) -> BatchState:
        return await self.client.poll_batch(batch_id, models)

    async def list_batches(self, since_s: float) -> list[Listed]:
        return await self.client.list_batches(since_s)


def let_fail(made: Rig, *script: BaseException, arrives: bool = False) -> Unlucky:
    assert made.batches is not None
    client = made.judges._client
    assert isinstance(client, AnthropicClient)
    made.batches._sender._client = unlucky = Unlucky(client, *script, arrives=arrives)
    return unlucky


@pytest.mark.parametrize("failure", [Failure.RATE_LIMITED, Failure.OVERLOADED, Failure.CONNECTION])
async def test_a_batch_that_was_not_taken_is_sent_again(tmp_path: Path, failure: Failure) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        unlucky = let_fail(made, *[JudgeError(failure, "not now")] * 3)
        (one,) = await made.judged(*waiting(1))
        assert (one.state, unlucky.tries, sent(api), direct(api)) == (State.SCORED, 4, [1], 0)
        await settled(made, sum(costs([one])), 1)


async def test_where_there_are_no_batches_all_is_asked_directly(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        let_fail(made, JudgeError(Failure.BLOCKED, "HTTP 404"))
        judged = await made.judged(*waiting(1, 2))
        assert ({one.state for one in judged}, sent(api), direct(api)) == ({State.SCORED}, [], 2)
        await settled(made, sum(costs(judged)), 2)


async def test_without_a_key_the_judge_is_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE, key=None) as made:
        (one,) = await made.judged(*waiting(1))
        assert (one.state, list(api.seen)) == (State.BLOCKED_EVALUATOR, [])
        await settled(made, 0.0, 0)


UNSURE = JudgeError(Failure.TIMEOUT, "no answer within 600 s", may_be_billed=True)


@pytest.mark.parametrize("unsure", [UNSURE, asyncio.CancelledError()], ids=["timeout", "process that dies"])
@pytest.mark.parametrize("arrives", [True, False], ids=["arrived", "did not arrive"])
async def test_a_batch_of_which_nobody_knows_is_looked_for_and_never_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsure: BaseException, arrives: bool
) -> None:
    monkeypatch.setattr(batch_sending, "_GRACE_S", 0.3)
    async with StandIn(Behaviour(batch_s=1.0)) as api:
        async with rig(tmp_path, api, evaluators=JUDGE) as made:
            await made.queue.enqueue_many(waiting(1, 2))
            unlucky = let_fail(made, unsure, arrives=arrives)
            async with made.working(), asyncio.timeout(10):
                while unlucky.script:
                    await asyncio.sleep(0.01)
            assert sent(api) == ([2] if arrives else [])
            worst_usd, _ = booked(made)
        async with rig(tmp_path, api, evaluators=JUDGE) as made:  # as after a restart
            stranger = made.judges._client
            assert isinstance(stranger, AnthropicClient)
            await stranger.submit_batch({"one": ASK, "two": ASK})  # of the same size, of somebody else
            judged = await made.judged(count=2)
            assert {one.state for one in judged} == {State.SCORED}
            assert (sorted(sent(api)), direct(api)) == ([2, 2], 0), "ours, and the stranger's"
            await settled(made, sum(costs(judged)), 2)
            assert worst_usd > sum(costs(judged))
            assert rows(made) == []


ASK = Ask(
    model="claude-haiku-5-5",
    instructions="Judge.",
    material="x",
    question="How good?",
    schema={"type": "object", "properties": {}, "required": [], "additionalProperties": False},
    thinking="disabled",
)


async def test_without_room_in_the_budget_before_the_deadline_it_is_dropped(tmp_path: Path) -> None:
    budget = BudgetConfig(usd_per_day=1e-6)
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE, budget=budget) as made:
        (one,) = await made.judged(*waiting(1, deadline_s=2))
        assert (one.state, list(api.seen)) == (State.DROPPED_BUDGET, [])
        assert "usd_per_day is used up" in one.results[0].reason
        assert rows(made) == []


async def test_what_does_not_fit_is_sent_when_something_was_given_back(tmp_path: Path) -> None:
    """Two worst cases fit at once; what is settled makes room for more."""
    async with StandIn(Behaviour(batch_s=0.1)) as api:
        async with rig(tmp_path / "probe", api, evaluators=JUDGE) as made:
            unlucky = let_fail(made, asyncio.CancelledError())
            await made.queue.enqueue_many(waiting(9))
            async with made.working(), asyncio.timeout(10):
                while not unlucky.tries:
                    await asyncio.sleep(0.01)
            worst_usd, _ = booked(made)
        budget = BudgetConfig(usd_per_day=2.5 * worst_usd, baseline_share=0)
        async with rig(tmp_path, api, evaluators=JUDGE, budget=budget) as made:
            judged = await made.judged(*waiting(1, 2, 3, 4, 5))
            assert ({one.state for one in judged}, direct(api)) == ({State.SCORED}, 0)
            assert max(sent(api)) <= 2
            assert sum(sent(api)) == 5


async def test_a_job_that_ends_while_it_waits_leaves_what_was_billed_booked(tmp_path: Path) -> None:
    async with StandIn(Behaviour(batch_s=1.0)) as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        (one,) = await made.judged(*waiting(1, deadline_s=0.6))
        assert one.state is State.EXPIRED
        assert rows(made)[0] == (None, "sent")
        async with made.working(), asyncio.timeout(10):
            while rows(made):
                await asyncio.sleep(0.02)
            await settled(made, api.engine.spent_usd, 1)


async def test_a_job_of_a_time_when_it_could_wait_is_judged_all_the_same(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=["task_completion"]) as made:
        (one,) = await made.judged(*waiting(1))
        assert (one.state, sent(api), direct(api)) == (State.SCORED, [], 1)
        assert one.time_ns <= time.time_ns()
