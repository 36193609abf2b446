"""The pool with everything real but the model: each terminal state by its cause, once, and nothing lost in between."""

import asyncio
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from otel_eval.evaluators.evaluator import JudgeUse, NotApplicable, Result, Scope, Subject
from otel_eval.judging import job as jobs
from otel_eval.judging import pool
from otel_eval.judging.budget import BudgetConfig
from otel_eval.judging.scores import Judgement, State
from otel_eval.scrub.config import ScrubConfig
from otel_eval.standin import Behaviour, Fault, Kind, StandIn
from otel_eval.traces.retrieval import Stored
from tests.judging.judges import error
from tests.judging.pool_setup import RUBRIC, decided, job, rig, stored
from tests.judging.scripted import rubric_yaml

JUDGE = [RUBRIC]


def states(judgement: Judgement) -> dict[str, str]:
    return {one.evaluator: str(one.state) for one in judgement.results}


@pytest.fixture(autouse=True)
def hardly_any_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.Pool, "_backoff", lambda *_: 0.05)
    monkeypatch.setattr(pool, "_FULL_WAIT_S", 0.05)


async def test_a_trace_is_scored_by_code_and_by_judge(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api) as made:
        (one,) = await made.judged(job(1, signals={"error": "x"}))
        assert (one.state, states(one)) == (State.SCORED, {"answered": "scored", "task_completion": "scored"})
        by_code, by_judge = one.scores
        assert (by_code.kind, by_judge.kind, by_code.judge) == ("code", "llm", None)
        assert by_judge.judge is not None
        assert by_judge.judge.simulated
        assert (one.service, one.model, one.pi, one.tries, one.policy) == ("support", "gpt-4o", 0.25, 1, "baseline")
        assert sum(made.sent().values()) == 2
        assert (await made.queue.stats()).used_bytes
        assert b'judging_traces_total{state="scored"} 1.0' in made.metrics.prometheus()


async def test_a_session_of_which_turns_were_forgotten_says_so(tmp_path: Path) -> None:
    said = [
        {"role": role, "parts": [{"type": "text", "content": text}]} for role, text in (("user", "Hi!"), ("assistant", "Yes?"))
    ]
    turns = [Stored([], [], whole=False), stored(1, earlier=said), stored(2)]
    async with StandIn() as api, rig(tmp_path, api, evaluators=["turn_relevancy"]) as made:
        for number, session in enumerate((turns, turns[1:]), 1):
            work = jobs.work_of(decided(number, policy="session"), session, Scope.SESSION, ScrubConfig())
            await made.judged(jobs.job_of(work, time.time_ns(), 3600 * 10**9), count=number)
        some, all_of_it = made.judgements()
        assert "turns_missing: 1 of 3 turns were older than traces.late_window when it went quiet" in some.scores[0].warnings
        assert not [text for text in all_of_it.scores[0].warnings if text.startswith("turns_missing")]
        assert "Hi!" in api.seen[0].body.decode(), "the next turn was told of it"


async def test_the_same_content_is_not_asked_about_twice(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        await made.judged(job(1, stored(1)))
        one, two = await made.judged(job(2, stored(2)), count=2)
        assert (one.state, two.state) == (State.SCORED, State.CACHED)
        assert api.answered[200] == 1
        assert [score.value for score in one.scores] == [score.value for score in two.scores]


@pytest.mark.parametrize("judge", ["rubric", "panel"])
async def test_a_verdict_out_of_the_cache_is_about_a_span_of_its_own_trace(tmp_path: Path, judge: str) -> None:
    (tmp_path / "politeness.yaml").write_text(rubric_yaml(scope="span", needs=["final_output"]))
    settings: dict[str, Any] = {"rubric": "politeness", "rubrics_directory": str(tmp_path)}
    models = [{"model": "claude-haiku-5-5"}, *({"model": f"claude-{name}-5-5", "thinking": None} for name in ("sonnet", "opus"))]
    evaluator = settings if judge == "rubric" else {"panel": settings | {"judges": models}}
    async with StandIn() as api, rig(tmp_path, api, evaluators=[evaluator]) as made:
        await made.judged(job(1, stored(1)))
        _, two = await made.judged(job(2, stored(2, root=7)), count=2)
        assert two.state is State.CACHED
        assert {(score.span_id, score.span_name) for score in two.scores} == {(f"{8:016x}", "span")}


async def test_what_nobody_can_look_at_has_no_content(tmp_path: Path) -> None:
    async with rig(tmp_path, evaluators=["citation_integrity"]) as made:
        (one,) = await made.judged(job(1))
        assert (one.state, one.scores) == (State.NO_CONTENT, ())
        assert one.results[0].reason


async def test_an_answer_that_is_no_verdict_twice_is_invalid(tmp_path: Path) -> None:
    async with StandIn(Behaviour(faults={Kind.BROKEN_JSON: 1.0})) as api, rig(tmp_path, api) as made:
        (one,) = await made.judged(job(1))
        assert states(one) == {"answered": "scored", "task_completion": "unscored_invalid_output"}
        assert one.state is State.SCORED
        assert len(one.scores) == 1


async def test_a_refusal_is_an_end(tmp_path: Path) -> None:
    async with StandIn(Behaviour(faults={Kind.REFUSAL: 1.0})) as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        (one,) = await made.judged(job(1))
        assert (one.state, states(one)) == (State.JUDGE_REFUSED, {"task_completion": "judge_refused"})
        assert "general_harms" in one.results[0].reason


async def test_a_job_beyond_its_deadline_has_expired(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        (one,) = await made.judged(job(1, deadline_s=-1))
        assert (one.state, states(one)) == (State.EXPIRED, {"answered": "scored", "task_completion": "expired"})
        assert [score.evaluator for score in one.scores] == ["answered"], "which no judge is needed for"
        assert (one.service, one.pi) == ("support", 0.25)
        assert one.resource  # so that it can be counted by service version


async def test_without_room_in_the_budget_before_the_deadline_it_is_dropped(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, budget=BudgetConfig(usd_per_day=1e-6)) as made:
        (one,) = await made.judged(job(1, deadline_s=1))
        assert states(one) == {"answered": "scored", "task_completion": "dropped_budget"}
        assert not api.seen


async def test_with_a_later_deadline_it_waits_for_room_in_the_budget(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, budget=BudgetConfig(usd_per_hour=1e-6)) as made:
        await made.queue.enqueue_many([job(1, deadline_s=3 * 3600)])
        async with made.working(), asyncio.timeout(10):
            while b'judging_returned_total{reason="spend_limit"} 1.0' not in made.metrics.prometheus():
                await asyncio.sleep(0.01)
        assert made.judgements() == []
        assert (await made.queue.stats()).next_due_ns > time.time_ns()  # type: ignore[operator]


async def test_without_a_key_only_the_judges_are_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    async with StandIn() as api, rig(tmp_path, api, key=None) as made:
        (one,) = await made.judged(job(1))
        assert states(one) == {"answered": "scored", "task_completion": "blocked_evaluator"}
        assert not api.seen


async def test_a_wrong_key_blocks_as_well(tmp_path: Path) -> None:
    async with StandIn(api_key="another") as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        (one,) = await made.judged(job(1))
        assert one.state is State.BLOCKED_EVALUATOR


async def test_a_bad_request_is_a_dead_letter_at_once(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api) as made:
        api.script.append(error(400, "invalid_request_error"))
        (one,) = await made.judged(job(1))
        assert (one.state, set(states(one).values()), one.scores) == (State.DEAD_LETTER, {"dead_letter"}, ())
        assert (await made.queue.stats()).dead == 1
        assert "by script" in one.reason


async def test_a_request_too_large_for_the_model_ends_that_evaluator(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api) as made:
        api.script.append(error(413, "request_too_large"))
        (one,) = await made.judged(job(1))
        assert states(one) == {"answered": "scored", "task_completion": "too_large"}


async def test_after_so_many_failed_tries_it_is_a_dead_letter(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, max_attempts=3) as made:
        api.script.extend([Fault(kind=Kind.SERVER_ERROR)] * 3)
        (one,) = await made.judged(job(1))
        assert (one.state, one.tries) == (State.DEAD_LETTER, 3)
        assert one.reason.startswith("3 tries failed: ")
        assert (await made.queue.stats()).dead == 1


async def test_rate_limits_use_up_no_try(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, max_attempts=1) as made:
        limited = error(429, "rate_limit_error", retry_after_ms="20")
        api.script.extend([limited] * 4)
        (one,) = await made.judged(job(1))
        assert (one.state, one.tries) == (State.SCORED, 1)
        assert api.answered[429] == 4


async def test_a_wait_without_end_ends_with_the_deadline(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        api.script.append(error(429, "rate_limit_error", retry_after="1e300"))
        (one,) = await made.judged(job(1, deadline_s=1))
        assert one.state is State.EXPIRED


async def test_a_job_that_is_none_is_a_dead_letter(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        (one,) = await made.judged(replace(job(1), body=b"\xff\0 no job"))
        assert (one.state, one.results, one.pi) == (State.DEAD_LETTER, (), 0.0)
        assert one.reason.startswith("not a job")


async def test_a_job_whose_workers_die_is_a_dead_letter(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        await made.queue.enqueue_many([job(1)])
        for _ in range(3):
            assert await made.queue.claim(1, 1e-6)  # nobody gives it back
            await asyncio.sleep(0.001)
        (one,) = await made.judged(count=1)
        assert one.state is State.DEAD_LETTER
        assert (await made.queue.stats()).dead == 1


class Wild:
    """An evaluator that does not keep its contract."""

    name, kind, scope, version = "wild", "code", Scope.TRACE, "0"

    def __init__(self, said: Any) -> None:
        self._said = said

    async def evaluate(self, subject: Subject) -> Any:
        if isinstance(self._said, Exception):
            raise self._said
        return self._said


@pytest.mark.parametrize("raised", [ValueError("a defect"), RecursionError(), KeyError("x")])
async def test_an_evaluator_that_raises_makes_a_dead_letter_after_its_tries(tmp_path: Path, raised: Exception) -> None:
    async with rig(tmp_path, evaluators=["answered"]) as made:
        made.let_in(Wild(raised))
        (one,) = await made.judged(job(1))
        assert (one.state, one.tries, one.reason) == (State.DEAD_LETTER, 3, f"{type(raised).__name__} in an evaluator")


async def test_results_that_cannot_be_written_are_made_so(tmp_path: Path) -> None:
    wild = [
        Result(name="\ud800", value=10**400, explanation="\udc00" * 10**6, span_id="no id", evidence=("\ud800",)),
        Result(name="same", value=float("nan"), label="a\0b"),
        Result(name="same", value=True),
    ]
    async with rig(tmp_path, evaluators=["answered"]) as made:
        made.let_in(Wild(wild))
        (one,) = await made.judged(job(1))
        assert [score.value for score in one.scores] == [None, None, 1.0]
        assert {score.span_id for score in one.scores} == {"0" * 15 + "1"}
        assert len(one.scores[0].explanation) == 4000
        assert len(made.sent()) == 3


class NoTruth:
    """As an array is: neither true nor false."""

    def __bool__(self) -> bool:
        raise ValueError


async def test_a_result_that_is_made_wrongly_harms_no_other(tmp_path: Path) -> None:
    """Its fields are whatever an evaluator has put there."""
    wrong: list[Any] = [
        Result(name="a", value=1.0, evidence=None, warnings="late", passed=NoTruth()),  # type: ignore[arg-type]
        Result(name="b", value=1.0, judge="gpt-4o"),  # type: ignore[arg-type]
        Result(name="c", value=1.0, judge=JudgeUse(model="gpt-4o", cost_usd=Decimal("0.1"))),  # type: ignore[arg-type]
        Result(name="d", value=1.0, judge=JudgeUse(model="gpt-4o", input_tokens=object())),  # type: ignore[arg-type]
        Result(name="e", value=1.0, judge=JudgeUse(model="gpt-4o", cost_usd=float("nan"), input_tokens=7)),
    ]
    async with rig(tmp_path, evaluators=["answered", "refusal"]) as made:
        made.let_in(Wild(wrong))
        (one,) = await made.judged(job(1))
        assert (one.state, one.tries) == (State.SCORED, 1)
        assert [score.name for score in one.scores] == ["a", "b", "c", "d", "e", "refusal"]
        assert (one.scores[0].evidence, one.scores[0].warnings, one.scores[0].passed) == ((), ("late",), None)
        assert [score.judge for score in one.scores[:4]] == [None] * 4
        assert one.scores[4].judge == JudgeUse(model="gpt-4o", input_tokens=7)
        assert len(made.sent()) == 6


@pytest.mark.parametrize("reason", [None, 5, object()])
async def test_any_reason_why_there_is_no_score_can_be_read_again(tmp_path: Path, reason: Any) -> None:
    async with rig(tmp_path, evaluators=["answered", "refusal"]) as made:
        made.let_in(Wild(NotApplicable(reason)))
        (one,) = await made.judged(job(1))
        assert states(one) == {"answered": "no_content", "refusal": "scored"}
        assert one.results[0].reason == str(reason)
