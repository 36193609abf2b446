"""A judge beside itself: what it says when it is asked for the same verdict twice."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.judging import scores
from otel_eval.judging.agreement import Rejudging
from otel_eval.judging.budget import BudgetConfig
from otel_eval.judging.scores import Judgement, Rejudged, State
from otel_eval.standin import Fault, Kind, StandIn
from otel_eval.telemetry import Metrics
from tests.judging.pool_setup import Rig, decided, job, rig, stored

JUDGE: list[str | dict[str, Any]] = [{"rubric": "task_completion"}]
FOUR: list[str | dict[str, Any]] = ["answered", {"rubric": "quality_4d"}]


class Fickle:
    """Says the levels in turn, whatever it is shown."""

    def __init__(self, *levels: int) -> None:
        self._levels = list(levels)

    def __call__(self, material: str, _: str, schema: dict[str, Any]) -> dict[str, Any]:
        level = self._levels.pop(0) if len(self._levels) > 1 else self._levels[0]
        names = {name: one["enum"] for name, one in schema["properties"]["scores"]["properties"].items()}
        analysis = {name: {"reasoning": "So.", "evidence": ["It left our house this morning."]} for name in names}
        return {"analysis": analysis, "injection_suspected": False, "scores": {name: one[level] for name, one in names.items()}}


def metric(made: Rig, name: str, evaluator: str = "task_completion") -> float | None:
    for line in made.metrics.prometheus().decode().splitlines():
        if line.startswith(f'otel_eval_{name}{{evaluator="{evaluator}"'):
            return float(line.rsplit(" ", 1)[1])
    return None


async def test_the_second_verdict_is_recorded_and_is_no_score(tmp_path: Path) -> None:
    async with StandIn(verdict=Fickle(4, 2)) as api, rig(tmp_path, api, evaluators=JUDGE, rejudge_rate=1.0) as made:
        (one,) = await made.judged(job(1, stored(1)))
        (score,), (again,) = one.scores, one.rejudged
        assert (score.value, again.first_value, again.value, again.difference) == (1.0, 1.0, 0.5, 0.5)
        assert (again.first_label, again.agrees) == (score.label, False)
        assert (again.name, again.evaluator, again.version, again.span_id) == (
            score.name, score.evaluator, score.version, score.span_id
        )  # fmt: skip
        assert sum(made.sent().values()) == 1, "one span of one score"
        assert again.judge is not None
        assert score.judge is not None
        cost_usd = (score.judge.cost_usd or 0) + (again.judge.cost_usd or 0)
        assert api.engine.spent_usd == pytest.approx(cost_usd)
        assert metric(made, "judging_agreement") == 0.0
        assert metric(made, "judging_difference") == 0.5
        (two,) = (await made.judged(job(2, stored(2)), count=2))[1:]
        assert two.state is State.CACHED, "the first verdict is the one that is kept"
        assert (two.scores[0].value, two.rejudged[0].first_value, two.rejudged[0].value) == (1.0, 1.0, 0.5)
        assert metric(made, "judging_rejudged_total") == 2.0


async def test_a_judge_that_always_says_the_same_agrees(tmp_path: Path) -> None:
    async with StandIn(verdict=Fickle(3)) as api, rig(tmp_path, api, evaluators=FOUR, rejudge_rate=1.0) as made:
        (one,) = await made.judged(job(1, stored(1)))
        by_judge = [score.name for score in one.scores if score.kind == "llm"]
        assert [again.name for again in one.rejudged] == by_judge
        assert {(again.agrees, again.difference) for again in one.rejudged} == {(True, 0.0)}
        assert metric(made, "judging_agreement", "quality_4d") == 1.0
        assert metric(made, "judging_difference", "quality_4d") == 0.0
        assert len(api.seen) == 2


@pytest.mark.parametrize("kind", [Kind.REFUSAL, Kind.SERVER_ERROR, Kind.DISCONNECT])
async def test_without_a_second_verdict_the_first_one_stands(tmp_path: Path, kind: Kind) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE, rejudge_rate=1.0) as made:
        api.script.extend([None, Fault(kind=kind)])
        (one,) = await made.judged(job(1))
        assert (one.state, len(one.scores), one.rejudged, one.tries) == (State.SCORED, 1, (), 1)


async def test_when_the_budget_is_tight_nothing_is_asked_twice(tmp_path: Path) -> None:
    budget = BudgetConfig(usd_per_day=None, calls_per_day=10, baseline_share=0)
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE, rejudge_rate=1.0, budget=budget) as made:
        for trace in range(1, 6):
            await made.judged(job(trace), count=trace)
        judged = made.judgements()
        assert [len(one.rejudged) for one in judged] == [1, 1, 1, 0, 0], "7 of 10 calls are made then"
        assert (len(api.seen), judged[-1].state) == (8, State.SCORED)


@given(st.integers(1, 2**32))
def test_about_so_many_are_chosen_and_always_the_same(seed: int) -> None:
    metrics = Metrics()
    try:
        rejudging = Rejudging([], 0.1, lambda: 0, metrics)
        traces = [decided(seed * 1000 + number) for number in range(600)]
        chosen = [rejudging._is_chosen("x", one) for one in traces]
    finally:
        metrics.close()
    assert 20 <= sum(chosen) <= 110
    assert chosen == [rejudging._is_chosen("x", one) for one in traces]
    assert chosen != [rejudging._is_chosen("y", one) for one in traces]


@pytest.mark.parametrize(
    ("first", "second", "agrees", "difference"),
    [
        ((0.5, "fair"), (0.5, "fair"), True, 0.0),
        ((0.5, "fair"), (0.75, "good"), False, 0.25),
        ((None, "not_applicable"), (0.75, "good"), False, None),
        ((0.5, None), (0.5, None), True, 0.0),
        ((0.5, None), (0.6, None), False, pytest.approx(0.1)),
        ((1.0, "a"), (1.0, "b"), False, 0.0),
    ],
)
def test_two_verdicts_beside_each_other(first: Any, second: Any, agrees: bool, difference: float | None) -> None:
    one = Rejudged(
        name="x",
        evaluator="x",
        version="",
        span_id="",
        first_value=first[0],
        first_label=first[1],
        value=second[0],
        label=second[1],
    )
    assert (one.agrees, one.difference) == (agrees, difference)


def test_records_of_before_can_be_read() -> None:
    one = Judgement(job="a", trace_id="b", revision=0, state=State.SCORED, time_ns=1)
    before = msgspec.to_builtins(one)
    assert "rejudged" not in before
    assert scores.decode(msgspec.msgpack.encode(before)) == one
