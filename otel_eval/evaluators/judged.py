"""An evaluator that asks a judge model by a rubric, or by several in one call."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

import msgspec

from otel_eval.evaluators import rubric as instruments
from otel_eval.evaluators.evaluator import JudgeUse, NotApplicable, Result, Scope, Subject
from otel_eval.evaluators.questioning import Judged, JudgedConfig, Questioner, each, warnings, weaker
from otel_eval.evaluators.rubric import Part, Rubric
from otel_eval.judging import material, prompt
from otel_eval.judging.llm import Judge
from otel_eval.judging.material import Item
from otel_eval.judging.prompt import Material
from otel_eval.judging.verdict import nothing_more
from otel_eval.traces.records import ModelCall

MAX_SPANS: Final = 5
"""So many model calls of a trace are judged at the scope span: the last ones."""


class _Case(msgspec.Struct, frozen=True):
    """What one call is about: the rubrics that apply, what they look at, and whose work it is."""

    rubrics: tuple[Rubric, ...]
    number: int
    items: list[Item]
    calls: Sequence[ModelCall]
    span_id: str | None = None


class RubricEvaluator:
    """Scores by the levels or labels of a rubric; a combination gives a score for each of its rubrics and their mean.

    A level gives 0 (the worst) to 1 (the best), with its name as label; see `rubric`. A question that the judge finds not
    to arise gives the label `not_applicable` without a value; one that lacks what it needs is not asked. What the judge took
    stands on the first score, and as zeros on further ones of the same call. A score whose quotes were not found in what
    was judged has `passed` None, good or bad, and a warning.

    At the scope span each of the last `MAX_SPANS` model calls is judged by itself. Besides JudgeError, `evaluate` raises
    JudgeRefused and InvalidVerdict, which say what was spent.

    >>> import asyncio
    >>> from otel_eval.evaluators import example
    >>> from otel_eval.judging.llm import Answer
    >>> class Scripted:
    ...     async def ask(self, ask):
    ...         text = '''{"analysis": {"factual_grounding": {"reasoning": "The tool says 14, the answer 41.",
    ...             "evidence": ["It is 41 degrees."]}}, "injection_suspected": false,
    ...             "scores": {"factual_grounding": "contradicted"}}'''
    ...         return Answer(text=text, stop_reason="end_turn", use=JudgeUse(model=ask.model))
    >>> evaluator = RubricEvaluator(JudgedConfig(rubric="factual_grounding"), Scripted())
    >>> trace = example.trace('''
    ... user: How warm is it in Paris?
    ... tool weather {"city": "Paris"} -> {"temp_c": 14}
    ... assistant: It is 41 degrees.''')
    >>> (score,) = asyncio.run(evaluator.evaluate(Subject(view=trace)))
    >>> score.value, score.label, score.passed, score.evidence
    (0.0, 'contradicted', False, ('It is 41 degrees.',))
    """

    Config = JudgedConfig
    kind: ClassVar[str] = "llm"

    def __init__(self, config: JudgedConfig, judge: Judge) -> None:
        self._instrument = instruments.load(config.rubric, config.rubrics_directory)
        self._sees = frozenset(part for rubric in self._instrument.rubrics for part in rubric.sees)
        self._questioner = Questioner(config, judge)
        self.name = self._instrument.id
        self.scope = self._instrument.scope
        self.version = self._questioner.version(self._instrument.rubrics, self._instrument, MAX_SPANS)

    async def evaluate(self, subject: Subject) -> Sequence[Result] | NotApplicable:
        """See `evaluator.Evaluator`."""
        cases = self._cases(subject)
        if isinstance(cases, NotApplicable):
            return cases
        shown = [self._material(subject, case) for case in cases]
        asking = [partial(self._questioner.ask, case.rubrics, one) for case, one in zip(cases, shown, strict=True)]
        results: list[Result] = []
        for case, one, judged in zip(cases, shown, await each(asking), strict=True):
            results += self._results(case, one, judged)
        return results

    def fingerprint(self, subject: Subject) -> str | None:
        """What a judge would be shown, as a hash without regard to ids and times; None when it would not be asked.

        Together with `version` it is the key under which a verdict may be used again.
        """
        cases = self._cases(subject)
        if isinstance(cases, NotApplicable):
            return None
        shown = [self._material(subject, case).fingerprint for case in cases]
        models = [weaker(self._questioner.config.model, case.calls) for case in cases]
        return instruments.version(shown, models, [[rubric.id for rubric in case.rubrics] for case in cases])

    def judged_spans(self, subject: Subject) -> list[str]:
        """The spans that its scores are about, in their order; none at other scopes than span."""
        cases = self._cases(subject)
        return [] if isinstance(cases, NotApplicable) else [case.span_id for case in cases if case.span_id is not None]

    def _cases(self, subject: Subject) -> list[_Case] | NotApplicable:
        """What is to be asked; why not, when nothing is."""
        reasons: list[str] = []
        found = []
        about = subject.once((_about, self.scope, self._sees), lambda: _about(subject, self.scope, self._sees))
        for number, (of_these, items, span_id) in enumerate(about):
            why_not = {rubric.id: lacking(rubric, items) for rubric in self._instrument.rubrics}
            rubrics = tuple(rubric for rubric in self._instrument.rubrics if why_not[rubric.id] is None)
            reasons += filter(None, why_not.values())
            if rubrics:
                found.append(_Case(rubrics, number, items, of_these, span_id))
        return found or NotApplicable("; ".join(dict.fromkeys(reasons)) or "no model was called")

    def _material(self, subject: Subject, case: _Case) -> Material:
        """What of the case a judge is shown: the same for all rubrics that look at the same and have as much room."""
        room = self._questioner.room(case.rubrics)
        return subject.once(
            (prompt.material, self.scope, self._sees, case.number, room), lambda: prompt.material(case.items, room)
        )

    def _results(self, case: _Case, shown: Material, judged: Judged) -> list[Result]:
        weak = weaker(self._questioner.config.model, case.calls)
        results = [
            result(rubric, judged, judged.use if not index else nothing_more(judged.use),
                   (*weak, *warnings(judged, shown, rubric.id)), case.span_id)
            for index, rubric in enumerate(case.rubrics)
        ]  # fmt: skip
        if self._instrument.weights:
            results += self._composite(results, case)
        return results

    def _composite(self, results: Sequence[Result], case: _Case) -> list[Result]:
        """The weighted mean of the scores that there are; it passes when each of them passes."""
        weights = dict(zip((rubric.id for rubric in self._instrument.rubrics), self._instrument.weights, strict=True))
        scored = [(weights[one.name], one.value, one) for one in results if one.value is not None]
        if not scored:
            return []
        value = sum(weight * value for weight, value, _ in scored) / sum(weight for weight, _, _ in scored)
        passes = [one.passed for _, _, one in scored]
        passed = False if False in passes else None if None in passes else True
        warned = dict.fromkeys(warning for one in results for warning in one.warnings)
        without = [name for name in weights if name not in {one.name for _, _, one in scored}]
        if without:
            warned[f"composite_incomplete: the mean is without {', '.join(without)}"] = None
        return [
            Result(
                name=self.name,
                value=value,
                label=None if passed is None else "pass" if passed else "fail",
                passed=passed,
                explanation=", ".join(f"{one.name} {one.value:.2f} ({one.label})" for _, _, one in scored),
                span_id=case.span_id,
                warnings=tuple(warned),
                judge=None if results[0].judge is None else nothing_more(results[0].judge),
            )
        ]


def _about(subject: Subject, scope: Scope, sees: frozenset[Part]) -> list[tuple[Sequence[ModelCall], list[Item], str | None]]:
    """What is judged by itself: whose work it is, what there is to be shown, and the span that it is about."""
    match scope:
        case Scope.SPAN:
            calls = subject.view.model_calls[-MAX_SPANS:]
            return [((call,), material.of_call(call, sees), call.span_id) for call in calls]
        case Scope.SESSION:
            views = subject.session or (subject.view,)
            return [([call for view in views for call in view.model_calls], material.of_session(subject, sees), None)]
        case _:
            return [(subject.view.model_calls, material.of_trace(subject, sees), None)]


def result(rubric: Rubric, judged: Judged, use: JudgeUse, warned: tuple[str, ...], span_id: str | None) -> Result:
    """The score that the judge's opinion stands for."""
    opinion = judged.verdict.opinions[rubric.id]
    value, passed = rubric.score(opinion.choice)
    return Result(
        name=rubric.id,
        value=value,
        label=opinion.choice,
        passed=None if rubric.id in judged.unverified else passed,
        explanation=opinion.reasoning,
        span_id=span_id,
        evidence=opinion.evidence,
        warnings=warned,
        judge=use,
    )


def lacking(rubric: Rubric, items: Sequence[Item]) -> str | None:
    """Why the rubric cannot be asked about these items."""
    there = material.present(items)
    for group in rubric.alternatives:
        if not there & set(group):
            return f"{rubric.id} needs {' or '.join(group)}"
    turns = material.user_turns(items)
    if turns < rubric.min_turns:
        return f"{rubric.id} needs {rubric.min_turns} messages of the user, there are {turns}"
    return None if items else f"{rubric.id} has nothing to look at"
