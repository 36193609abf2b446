"""Answers of a try that came to no end: paid for once, given once, and bounded in memory."""

from pathlib import Path
from typing import Any

import pytest

from otel_eval.evaluators.evaluator import JudgeUse
from otel_eval.judging import earlier_answers, pool
from otel_eval.judging.backfill import Backfill, Tally
from otel_eval.judging.earlier_answers import EarlierAnswers, unless_answered
from otel_eval.judging.llm import Answer, Ask
from otel_eval.judging.scores import State
from otel_eval.standin import Fault, Kind, StandIn
from tests.judging.judges import question
from tests.judging.pool_setup import RUBRIC, job, rig

MODELS = [{"model": "claude-haiku-5-5"}, *({"model": f"claude-{name}-5-5", "thinking": None} for name in ("sonnet", "opus"))]
PANEL: list[str | dict[str, Any]] = [{"panel": {"rubric": "abstention", "judges": MODELS}}]
DOWN = Fault(kind=Kind.OVERLOADED)


@pytest.fixture(autouse=True)
def hardly_any_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.Pool, "_backoff", lambda *_: 0.05)
    monkeypatch.setattr("otel_eval.judging.backfill._BACKOFF_S", 0.02)


async def test_of_a_panel_only_the_member_that_failed_is_asked_again(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=PANEL, max_attempts=5) as made:
        api.script.extend([None, DOWN, None, DOWN, DOWN])
        (one,) = await made.judged(job(1))
        assert (one.state, one.tries, len(api.seen)) == (State.SCORED, 4, 6)
        assert sum(score.judge.cost_usd or 0 for score in one.scores if score.judge) == pytest.approx(api.engine.spent_usd)


async def test_a_backfill_does_not_pay_twice_either(tmp_path: Path) -> None:
    async def send(*_: object) -> list[str]:
        return []

    async with StandIn() as api, rig(tmp_path, api, evaluators=PANEL) as made:
        api.script.extend([None, DOWN])
        tally = Tally()
        await Backfill(made.judges.examiner, send, tally, lambda: None).run([job(1)], 1)
        assert (tally.states, len(api.seen)) == ({State.SCORED: 1}, 4)
        assert tally.usd == pytest.approx(api.engine.spent_usd)


async def test_who_asks_for_a_second_verdict_gets_another_answer(tmp_path: Path) -> None:
    judges = [RUBRIC, {"rubric": "abstention"}]
    async with StandIn() as api, rig(tmp_path, api, evaluators=judges, rejudge_rate=1.0) as made:
        api.script.extend([None, DOWN])
        (one,) = await made.judged(job(1))
        assert (one.tries, len(one.rejudged)) == (2, 2)
        assert len(api.seen) == 5, "two verdicts of each, and the call that failed"


def answer(text: str) -> Answer:
    return Answer(text=text, stop_reason="end_turn", use=JudgeUse(model="m"))


async def asked(answers: EarlierAnswers, job_id: str, *texts: str, fails: bool) -> int:
    """How many of these questions are really asked in a try."""
    made = 0

    async def ask(one: Ask) -> Answer:
        nonlocal made
        made += 1
        return answer(one.question * 100)

    try:
        with answers.of(job_id):
            for text in texts:
                assert (await unless_answered(question(question=text), ask)).text == text * 100
            if fails:
                raise ConnectionError
    except ConnectionError:
        pass
    return made


async def test_an_answer_is_given_once_and_only_to_its_own_job() -> None:
    answers = EarlierAnswers()
    assert await asked(answers, "a", "x", "y", fails=True) == 2
    assert await asked(answers, "b", "x", fails=False) == 1
    assert await asked(answers, "a", "x", "z", fails=True) == 1
    assert await asked(answers, "a", "y", "x", "x", fails=True) == 1, "what was not asked in a try is kept, and given once"
    assert await asked(answers, "a", "x", "y", "z", fails=False) == 0
    assert await asked(answers, "a", "x", fails=False) == 1, "the job had come to its end"


async def test_of_too_many_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier_answers, "_MOST_BYTES", 5000)
    answers = EarlierAnswers()
    for number in range(20):
        assert await asked(answers, str(number), "x", fails=True) == 1
        assert answers._bytes <= 5000
    assert await asked(answers, "0", "x", fails=False) == 1
    assert await asked(answers, "19", "x", fails=False) == 0
    for number in range(20):
        await asked(answers, str(number), "x", fails=False)
    assert answers._bytes == 0
