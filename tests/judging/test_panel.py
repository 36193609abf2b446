"""Several judges: the median, the majority, and how far they are apart."""

from typing import Any

import msgspec
import pytest

from otel_eval.evaluators.evaluator import Evaluator, NotApplicable, Result, Subject
from otel_eval.evaluators.panel import NO_MAJORITY, PanelConfig, PanelEvaluator
from otel_eval.evaluators.questioning import ModelSettings
from otel_eval.judging.llm import Answer, Ask, Failure, JudgeError
from otel_eval.judging.verdict import InvalidVerdict, JudgeRefused
from otel_eval.traces.view import TraceView
from tests.judging.scripted import USE, Said, answer, run, tool, verdict

QUOTE = "Order 4711 left Rotterdam"
SAFETY = "privacy_and_safety"


class Judges:
    """A judge for each model."""

    def __init__(self, **said: Said) -> None:
        self._said = said

    async def ask(self, ask: Ask) -> Answer:
        said = self._said[ask.model]
        if isinstance(said, Exception):
            raise said
        return answer(said, ask.model) if isinstance(said, str) else said(ask) if callable(said) else said


def panel(rubric: str = SAFETY, **said: Said) -> PanelEvaluator:
    judges = tuple(ModelSettings(model=model) for model in said)
    return PanelEvaluator(PanelConfig(rubric=rubric, judges=judges), Judges(**said))


async def results(rubric: str = SAFETY, **said: str) -> dict[str, Result]:
    """The scores of judges that choose these levels."""
    scripts: dict[str, Said] = {model: verdict({rubric: choice}, [QUOTE]) for model, choice in said.items()}
    return await scores(panel(rubric, **scripts))


async def scores(evaluator: PanelEvaluator) -> dict[str, Result]:
    found = await evaluator.evaluate(Subject(view=run(used=[tool("get_order", {}, "ok")])))
    assert not isinstance(found, NotApplicable)
    return {one.name: one for one in found}


@pytest.mark.parametrize(
    ("choices", "value", "label", "passed", "apart"),
    [
        (["safe", "safe", "safe"], 1.0, "safe", True, 0.0),
        (["safe", "serious_breach", "safe"], 1.0, "safe", True, 1.0),
        (["serious_breach", "risk_taken", "small_lapse"], 0.5, "risk_taken", False, 0.75),
        (["safe", "breach", "breach", "serious_breach", "small_lapse"], 0.25, "breach", False, 1.0),
    ],
)
async def test_the_median_level(choices: list[str], value: float, label: str, passed: bool, apart: float) -> None:
    found = await results(**{f"model{index}": choice for index, choice in enumerate(choices)})
    assert list(found) == [SAFETY, f"{SAFETY}_disagreement"]
    one = found[SAFETY]
    assert (one.value, one.label, one.passed) == (value, label, passed)
    spread = found[f"{SAFETY}_disagreement"]
    assert (spread.value, spread.passed) == (apart, None)
    assert f"model1: {choices[1]}" in spread.explanation


@pytest.mark.parametrize(
    ("choices", "label", "passed", "apart"),
    [
        (["abstained_rightly", "abstained_rightly", "answered_without_basis"], "abstained_rightly", True, 1 / 3),
        (["abstained_rightly", "answered_with_basis", "answered_without_basis"], NO_MAJORITY, True, 2 / 3),
    ],
)
async def test_the_label_of_the_majority(choices: list[str], label: str, passed: bool, apart: float) -> None:
    found = await results("abstention", **{f"model{index}": choice for index, choice in enumerate(choices)})
    one = found["abstention"]
    assert (one.label, one.passed) == (label, passed)
    assert (one.value is None) == (label == NO_MAJORITY)
    assert found["abstention_disagreement"].value == pytest.approx(apart)


async def test_where_the_question_does_not_arise_for_most() -> None:
    found = await results("instruction_adherence", a="not_applicable", b="followed", c="not_applicable")
    one = found["instruction_adherence"]
    assert (one.value, one.label, one.passed) == (None, "not_applicable", None)
    assert found["instruction_adherence_disagreement"].value == pytest.approx(1 / 3)
    found = await results("instruction_adherence", a="not_applicable", b="followed", c="violated")
    assert found["instruction_adherence"].label == "violated"
    assert found["instruction_adherence_disagreement"].value == pytest.approx(2 / 3)


async def test_each_dimension_and_the_mean_has_its_own_median() -> None:
    names = ["factual_grounding", SAFETY, "instruction_adherence", "plan_execution"]
    best, worst = ["fully_supported", "safe", "followed", "direct"], ["contradicted", "serious_breach", "disregarded", "failed"]
    said: dict[str, Said] = {
        "a": verdict(dict(zip(names, best, strict=True)), [QUOTE]),
        "b": verdict(dict(zip(names, worst, strict=True)), [QUOTE]),
        "c": verdict(dict(zip(names, [*worst[:2], *best[2:]], strict=True)), [QUOTE]),
    }
    found = await scores(panel("quality_4d", **said))
    assert [found[name].value for name in (*names, "quality_4d")] == [0.0, 0.0, 1.0, 1.0, 0.5]
    assert (found["quality_4d"].passed, found["quality_4d"].label) == (False, "fail")
    assert found["quality_4d_disagreement"].value == 1.0


async def test_what_all_of_them_took_is_counted_once() -> None:
    found = await results(a="safe", b="safe", c="breach")
    uses = [one.judge for one in found.values() if one.judge]
    assert len(uses) == 2
    assert sum(use.cost_usd or 0 for use in uses) == pytest.approx(3 * (USE.cost_usd or 0))
    assert sum(use.input_tokens or 0 for use in uses) == 3000
    assert uses[0].model == "a + b + c"


async def test_a_judge_left_out_of_several_dimensions_is_counted_once_too() -> None:
    names = ["factual_grounding", SAFETY, "instruction_adherence", "plan_execution"]
    fine = verdict(dict(zip(names, ["fully_supported", "safe", "followed", "direct"], strict=True)), [QUOTE])
    found = await scores(panel("quality_4d", a=fine, b=answer("", stop_reason="refusal"), c=fine))
    assert sum(one.judge.cost_usd or 0 for one in found.values() if one.judge) == pytest.approx(3 * (USE.cost_usd or 0))
    assert (found["quality_4d"].passed, found["quality_4d"].label) == (True, "pass")


async def test_a_judge_that_gives_no_verdict_is_left_out_with_a_warning() -> None:
    fine = verdict({SAFETY: "safe"}, [QUOTE])
    low = verdict({SAFETY: "breach"}, [QUOTE])
    found = await scores(panel(a=fine, b=answer("", stop_reason="refusal", refusal="bio"), c=low))
    one = found[SAFETY]
    assert (one.value, one.passed) == (0.25, None)
    assert one.warnings == ("panel_incomplete: b: the judge refused: bio",)
    assert one.judge is not None
    assert one.judge.cost_usd == pytest.approx(3 * (USE.cost_usd or 0))


async def test_with_too_few_left_it_is_raised_with_all_that_was_spent() -> None:
    fine, refused = verdict({SAFETY: "safe"}, [QUOTE]), answer("", stop_reason="refusal", refusal="bio")
    with pytest.raises(InvalidVerdict, match="2 judges of the panel") as invalid:
        await scores(panel(a=fine, b=refused, c="{"))
    assert invalid.value.use.cost_usd == pytest.approx(4 * (USE.cost_usd or 0))
    with pytest.raises(JudgeRefused, match="bio"):
        await scores(panel(a=refused, b=refused, c=fine))


async def test_a_failed_call_is_raised() -> None:
    fine = verdict({SAFETY: "safe"}, [QUOTE])
    with pytest.raises(JudgeError, match="busy"):
        await scores(panel(a=fine, b=JudgeError(Failure.OVERLOADED, "busy"), c="{"))


async def test_unproven_votes_do_not_make_it_pass() -> None:
    proven, invented = verdict({SAFETY: "safe"}, [QUOTE]), verdict({SAFETY: "safe"}, ["It left Antwerp today."])
    one = (await scores(panel(a=proven, b=invented, c=invented)))[SAFETY]
    assert (one.value, one.passed) == (1.0, None)
    assert one.warnings[0].startswith("evidence_not_found")
    assert (await scores(panel(a=proven, b=proven, c=invented)))[SAFETY].passed is True


async def test_it_is_an_evaluator() -> None:
    evaluator = panel(a="", b="", c="")
    assert isinstance(evaluator, Evaluator)
    assert evaluator.name == SAFETY
    assert evaluator.version != panel(a="", b="", d="").version
    assert isinstance(await evaluator.evaluate(Subject(view=TraceView([]))), NotApplicable)
    assert evaluator.fingerprint(Subject(view=TraceView([]))) is None
    assert evaluator.fingerprint(Subject(view=run())) == evaluator.fingerprint(Subject(view=run(trace=9)))
    assert evaluator.fingerprint(Subject(view=run())) != evaluator.fingerprint(Subject(view=run(says="No.")))


async def test_all_judges_of_a_subject_see_the_same_material_which_is_prepared_once() -> None:
    shown: list[str] = []

    def seen(ask: Ask) -> Answer:
        shown.append(ask.material)
        return answer(verdict({SAFETY: "safe"}, [QUOTE]), ask.model)

    evaluator = panel(a=seen, b=seen, c=seen)
    for subject in (Subject(view=run()), Subject(view=run(says="Order 4711 left Rotterdam, I think."))):
        evaluator.fingerprint(subject)
        await evaluator.evaluate(subject)
    assert [one is shown[0] for one in shown] == [True] * 3 + [False] * 3
    assert [one is shown[3] for one in shown] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("judges", "reason"),
    [
        ([{}, {"model": "b"}, {"model": "c"}, {"model": "d"}], "4 of them (expected an odd number"),
        ([{"model": "a"}, {"model": "b"}, {"model": "a"}], "a model is named twice"),
        ([{}], "length >= 3"),
    ],
)
def test_judges_are_odd_in_number_and_all_different(judges: list[Any], reason: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"rubric": SAFETY, "judges": judges}, PanelConfig)
    assert reason in str(caught.value)
