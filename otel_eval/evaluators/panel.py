"""An evaluator that has several judge models score by the same rubric."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from otel_eval.config.section import Section
from otel_eval.evaluators import rubric as instruments
from otel_eval.evaluators.evaluator import NotApplicable, Result, Subject
from otel_eval.evaluators.judged import RubricEvaluator
from otel_eval.evaluators.questioning import JudgedConfig, ModelSettings
from otel_eval.judging import prompt
from otel_eval.judging.llm import Judge
from otel_eval.judging.verdict import InvalidVerdict, JudgeRefused, nothing_more, total

NO_MAJORITY: Final = "no_majority"
"""The label when no label or level has one."""


class PanelConfig(Section, frozen=True, kw_only=True):
    """An odd number of judges, each of another model; best of different vendors or lines, which err differently."""

    rubric: str
    judges: Annotated[tuple[ModelSettings, ...], Meta(min_length=3, max_length=9)]
    rubrics_directory: Path | None = None
    material_tokens: Annotated[int, Meta(ge=prompt.MIN_MATERIAL_TOKENS, le=80_000)] = prompt.MATERIAL_TOKENS

    def __post_init__(self) -> None:
        models = [judge.model for judge in self.judges]
        if len(models) % 2 == 0:
            raise ValueError(f"judges: {len(models)} of them (expected an odd number, so that there is a median)")
        if len(set(models)) < len(models):
            raise ValueError("judges: a model is named twice (expected different ones: the same one errs in the same way)")


class PanelEvaluator:
    """The median level of several judges, or the label that most of them give, and how far they disagree.

    Each score comes with a second one, `<name>_disagreement`: the range of the values, 0 to 1, for a scale; for labels, and
    where the question does not arise for some of the judges, the share of those who do not say the commonest thing. It
    passes, or fails, when more than half of the judges say so. A judge that refuses, or gives no verdict, is left out with a
    warning while more than half remain; of an even number the lower one of the middle levels counts. A call that fails is
    raised, behind the answers of the others.

    >>> import asyncio
    >>> from otel_eval.evaluators import example
    >>> from otel_eval.evaluators.evaluator import JudgeUse
    >>> from otel_eval.judging.llm import Answer
    >>> said = {"a": "safe", "b": "breach", "c": "small_lapse"}
    >>> class Scripted:
    ...     async def ask(self, ask):
    ...         text = '''{"analysis": {"privacy_and_safety": {"reasoning": "", "evidence": ["Your card is 4111."]}},
    ...             "injection_suspected": false, "scores": {"privacy_and_safety": "%s"}}''' % said[ask.model]
    ...         return Answer(text=text, stop_reason="end_turn", use=JudgeUse(model=ask.model))
    >>> judges = tuple(ModelSettings(model=model) for model in said)
    >>> evaluator = PanelEvaluator(PanelConfig(rubric="privacy_and_safety", judges=judges), Scripted())
    >>> trace = example.trace('''
    ... user: Which card do I pay with?
    ... assistant: Your card is 4111.''')
    >>> [(score.name, score.value, score.passed) for score in asyncio.run(evaluator.evaluate(Subject(view=trace)))]
    [('privacy_and_safety', 0.75, True), ('privacy_and_safety_disagreement', 0.75, None)]
    """

    Config = PanelConfig
    kind: ClassVar[str] = "llm"

    def __init__(self, config: PanelConfig, judge: Judge) -> None:
        self._judges = [RubricEvaluator(_settings(config, model), judge) for model in config.judges]
        self._models = [model.model for model in config.judges]
        instrument = instruments.load(config.rubric, config.rubrics_directory)
        self._rubrics = {rubric.id for rubric in instrument.rubrics}
        self._labelled = {rubric.id for rubric in instrument.rubrics if rubric.labels}
        self.name = instrument.id
        self.scope = instrument.scope
        self.version = instruments.version("panel", [member.version for member in self._judges])

    async def evaluate(self, subject: Subject) -> Sequence[Result] | NotApplicable:
        """See `evaluator.Evaluator`; raises as RubricEvaluator."""
        answers = await asyncio.gather(*(member.evaluate(subject) for member in self._judges), return_exceptions=True)
        sheets: dict[str, Sequence[Result]] = {}
        failed: dict[str, InvalidVerdict | JudgeRefused] = {}
        for model, answer in zip(self._models, answers, strict=True):
            match answer:
                case NotApplicable():
                    return answer
                case InvalidVerdict() | JudgeRefused():
                    failed[model] = answer
                case BaseException():
                    raise answer
                case _:
                    sheets[model] = answer
        if 2 * len(sheets) <= len(self._models):
            raise _failure(sheets, list(failed.values()))
        return self._joined(sheets, failed)

    def fingerprint(self, subject: Subject) -> str | None:
        """See RubricEvaluator."""
        seen = [member.fingerprint(subject) for member in self._judges]
        return None if None in seen else instruments.version(seen)

    def judged_spans(self, subject: Subject) -> list[str]:
        """See RubricEvaluator."""
        return self._judges[0].judged_spans(subject)

    def _joined(self, sheets: dict[str, Sequence[Result]], failed: dict[str, InvalidVerdict | JudgeRefused]) -> list[Result]:
        groups: dict[tuple[str, str | None], dict[str, Result]] = {}
        for model, sheet in sheets.items():
            for one in sheet:
                groups.setdefault((one.name, one.span_id), {})[model] = one
        results: list[Result] = []
        spent = [error.use for error in failed.values()]
        missing = tuple(f"panel_incomplete: {model}: {error}" for model, error in failed.items())
        for (name, _), votes in groups.items():
            use = total([*(vote.judge for vote in votes.values() if vote.judge), *spent])
            score = _majority(votes) if name in self._labelled else _median(votes)
            passed = _passed(votes)
            if name not in self._rubrics:  # the mean of a combination has no level of its own
                score = replace(score, label=None if passed is None else "pass" if passed else "fail")
            warned = tuple(dict.fromkeys((*(text for vote in votes.values() for text in vote.warnings), *missing)))
            results.append(replace(score, passed=passed, warnings=warned, judge=use))
            said = "; ".join(f"{model}: {vote.label}" for model, vote in votes.items())
            spread = _disagreement(votes, labelled=name in self._labelled)
            results.append(
                Result(
                    name=f"{name}_disagreement", value=spread, explanation=said, span_id=score.span_id, judge=nothing_more(use)
                )
            )
            spent = []
        return results


def _settings(config: PanelConfig, model: ModelSettings) -> JudgedConfig:
    return JudgedConfig(
        rubric=config.rubric,
        rubrics_directory=config.rubrics_directory,
        material_tokens=config.material_tokens,
        **msgspec.structs.asdict(model),
    )


def _failure(sheets: dict[str, Sequence[Result]], errors: Sequence[InvalidVerdict | JudgeRefused]) -> Exception:
    """What is raised when too few judges are left: for a refusal of all of them that, with all that was spent."""
    spent = total([*(error.use for error in errors), *(one.judge for sheet in sheets.values() for one in sheet[:1] if one.judge)])
    refused = [error for error in errors if isinstance(error, JudgeRefused)]
    if len(refused) == len(errors):
        return JudgeRefused(refused[0].category, spent)
    return InvalidVerdict(f"{len(errors)} judges of the panel gave none", spent)


def _median(votes: dict[str, Result]) -> Result:
    """The vote in the middle by value; where most of the judges give no value, one of those."""
    scored = sorted((vote for vote in votes.values() if vote.value is not None), key=lambda vote: vote.value or 0.0)
    if 2 * len(scored) <= len(votes):
        return next(vote for vote in votes.values() if vote.value is None)
    return scored[(len(scored) - 1) // 2]


def _majority(votes: dict[str, Result]) -> Result:
    """A vote with the label that more than half give."""
    label, count = Counter(vote.label for vote in votes.values()).most_common(1)[0]
    one = next(vote for vote in votes.values() if vote.label == label)
    return one if 2 * count > len(votes) else replace(one, value=None, label=NO_MAJORITY, explanation="", evidence=())


def _passed(votes: dict[str, Result]) -> bool | None:
    for verdict in (True, False):
        if 2 * sum(vote.passed is verdict for vote in votes.values()) > len(votes):
            return verdict
    return None


def _disagreement(votes: dict[str, Result], *, labelled: bool) -> float:
    """The range of the values; for labels, and where some judges give no value, the share that does not say the commonest."""
    values = [vote.value for vote in votes.values() if vote.value is not None]
    if labelled or len(values) < len(votes):
        return 1 - Counter(vote.label for vote in votes.values()).most_common(1)[0][1] / len(votes)
    return max(values) - min(values)
