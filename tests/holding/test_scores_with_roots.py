"""Which scores go on with a held root, and that a crash after it does not send them in a second form."""

from pathlib import Path
from typing import Any

import pytest

from otel_eval.evaluators.evaluator import Scope
from otel_eval.inspection.load import find
from otel_eval.judging.publishing import Publisher
from otel_eval.judging.scores import Judgement, Score
from otel_eval.records import Kind
from otel_eval.wire import lens
from tests.holding import agent
from tests.holding.test_crash_windows import on_their_way, released, rig_in, tool
from tests.judging.test_emit import judgement, score
from tests.sampling.rig import Rig, chat, ident
from tests.spans import trace_request

ROOT, CHILD = f"{1:016x}", f"{2:016x}"


def judged(*scores: Score, scope: Scope = Scope.TRACE, revision: int = 0, **values: Any) -> Judgement:
    trace_id = ident(1).hex()
    values = {"trace_id": trace_id, "job": f"{trace_id}:{scope}:{revision}", "revision": revision, "expires_at_ns": 9} | values
    return judgement(*scores, **values) if scores else judgement(score(), **values, scores=())


async def publish(rig: Rig, one: Judgement) -> None:
    await Publisher(rig.journal, rig.metrics, rig.held).publish(one)


def evaluations(rig: Rig) -> list[str]:
    """The names of the evaluation spans that exporters are given."""
    names = [lens.span(item).name.decode() for item in on_their_way(rig)]
    return [name.removeprefix("evaluation ") for name in names if name.startswith("evaluation ")]


def events(rig: Rig) -> list[bytes]:
    return [item for _, record in rig.journal.records(Kind.LOGS, 0) for item in lens.items(bytes(record.body))]


SCORES = (
    score(name="grounded", scope=Scope.TRACE, span_id=ROOT, value=1.0, label="pass"),
    score(name="grounded", scope=Scope.TRACE, span_id=ROOT, value=0.5, label="fail"),
    score(name="answered", scope=Scope.TRACE, span_id=CHILD, value=None, label="yes"),
    score(name="tool", scope=Scope.SPAN, span_id=CHILD, value=0.25, label=None),
    score(name="first", scope=Scope.SPAN, span_id=ROOT, value=0.75, label=None, explanation=""),
)


async def test_the_scores_of_the_trace_and_of_the_root_go_with_it(tmp_path: Path) -> None:
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([tool(1), chat(1)]))
        await publish(rig, judged(*SCORES))
        (root,) = released(rig)
        assert root.startswith(chat(1).item.SerializeToString())
        assert agent.scores(root) == {
            "otel_eval.score.grounded": 1.0, "otel_eval.label.grounded": "pass", "otel_eval.label.answered": "yes",
            "otel_eval.score.first": 0.75,
        }  # fmt: skip
        names = [event.attributes[0].value.string_value for event in agent.parsed(root).events]
        assert names == ["grounded", "grounded", "answered", "first"]
        assert evaluations(rig) == ["tool"]
        assert len(events(rig)) == len(SCORES)


@pytest.mark.parametrize("marked", [False, True])
async def test_what_is_published_again_after_a_crash_is_the_same(tmp_path: Path, marked: bool) -> None:
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([tool(1), chat(1)]))
        await publish(rig, judged(*SCORES))
        if marked:
            await rig.held.work(0)
        before = (released(rig), set(on_their_way(rig)), set(events(rig)))
        for at in (1, 2):
            await rig.restart(at)
            await publish(rig, judged(*SCORES))
            assert (released(rig), set(on_their_way(rig)), set(events(rig))) == before


async def test_later_scores_follow(tmp_path: Path) -> None:
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([tool(1), chat(1)]))
        await publish(rig, judged(score(name="early", span_id=ROOT)))
        await publish(rig, judged(score(name="late", span_id=ROOT), revision=1))
        assert agent.scores(released(rig)[0]).keys() == {"otel_eval.score.early", "otel_eval.label.early"}
        assert evaluations(rig) == ["late"]


async def test_after_the_deadline_all_follow(tmp_path: Path) -> None:
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([tool(1), chat(1)]))
        await rig.work(31)
        await publish(rig, judged(*SCORES))
        assert released(rig) == [chat(1).item.SerializeToString()]
        assert sorted(evaluations(rig)) == sorted(one.name for one in SCORES)


async def test_a_trace_that_was_judged_without_a_score_waits_no_longer_and_one_of_a_session_does(tmp_path: Path) -> None:
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([tool(1), chat(1)]))
        await publish(rig, judged(score(scope=Scope.SESSION, span_id=ROOT), scope=Scope.SESSION))
        assert rig.held.waiting == 1
        await publish(rig, judged())
        assert released(rig) == [chat(1).item.SerializeToString()]
        assert rig.metrics.counter("judging_spans_released", reason="unscored").value == 1


async def test_a_trace_is_shown_whole_while_its_root_is_held_and_afterwards(tmp_path: Path) -> None:
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([tool(1), chat(1)]))
        for _ in range(2):
            (view,) = find(ident(1).hex(), tmp_path)
            assert [span.span_id for span in view.tree.roots] == [ROOT]
            assert len(view.spans) == 2
            await publish(rig, judged(*SCORES[:1]))
