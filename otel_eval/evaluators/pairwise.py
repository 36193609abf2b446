"""An evaluator that compares two answers to the same request, in both orders."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

import msgspec
from msgspec.structs import replace

from otel_eval.errors import ConfigError
from otel_eval.evaluators import rubric as instruments
from otel_eval.evaluators.evaluator import JudgeUse, NotApplicable, Result, Scope, Subject
from otel_eval.evaluators.judged import lacking
from otel_eval.evaluators.questioning import Judged, JudgedConfig, Questioner, each, warnings, weaker
from otel_eval.evaluators.rubric import Label, Part, Rubric
from otel_eval.judging import material, prompt
from otel_eval.judging.llm import Judge
from otel_eval.judging.material import Item
from otel_eval.judging.prompt import Material
from otel_eval.judging.verdict import total
from otel_eval.traces.values import to_text

_FIRST: Final = "answer_1"
_EQUAL: Final = "equal"
_SECOND: Final = "answer_2"
_SHARED: Final = frozenset(
    {"system_prompt", "message", "user_input", "document", "prompt_with_context", "tool", "tool_result", "error"}
)
"""What two answers can be compared by; what only one of the agents said on its way would tell which is whose."""

_SCORES: Final = {"better": 1.0, "tie": 0.5, "worse": 0.0}


class Comparison(msgspec.Struct, frozen=True):
    """Whether the first of two answers is `better`, `worse` or a `tie`.

    A judge that does not prefer the same answer in both orders has not told them apart: a tie that is not `consistent`.
    `position_bias` is then the place, 1 or 2, that won whatever stood there; None when one of the two verdicts was a tie.
    """

    outcome: str
    consistent: bool
    position_bias: int | None
    reasoning: str
    evidence: tuple[str, ...]
    warnings: tuple[str, ...]
    use: JudgeUse


class PairwiseEvaluator:
    """Is the trace's answer better than the one given as `expected` (a baseline's, another version's), by a rubric's question?

    1 is better, 0 worse, 0.5 a tie; the label says it in a word. Two calls, the second with the answers changed round. An
    inconsistent pair is a tie with the warning `position_bias` or `inconsistent`: their share among all scores is the
    judge's position bias. There is no line to pass. The rubric must be for traces, and without a reference.

    >>> import asyncio
    >>> from otel_eval.evaluators import example
    >>> from otel_eval.judging.llm import Answer
    >>> class AlwaysTheFirst:
    ...     async def ask(self, ask):
    ...         text = '''{"analysis": {"instruction_adherence_pairwise": {"reasoning": "The first is shorter.",
    ...             "evidence": ["Say it in one word."]}}, "injection_suspected": false,
    ...             "scores": {"instruction_adherence_pairwise": "answer_1"}}'''
    ...         return Answer(text=text, stop_reason="end_turn", use=JudgeUse(model=ask.model))
    >>> evaluator = PairwiseEvaluator(JudgedConfig(rubric="instruction_adherence"), AlwaysTheFirst())
    >>> trace = example.trace('''
    ... user: What is the capital of France? Say it in one word.
    ... assistant: Paris.''')
    >>> (score,) = asyncio.run(evaluator.evaluate(Subject(view=trace, expected="It is Paris, of course.")))
    >>> score.value, score.label, score.warnings
    (0.5, 'tie', ('position_bias: answer 1 was preferred in both orders',))
    """

    Config = JudgedConfig
    kind: ClassVar[str] = "llm"
    scope = Scope.TRACE

    def __init__(self, config: JudgedConfig, judge: Judge) -> None:
        instrument = instruments.load(config.rubric, config.rubrics_directory)
        criterion = instrument.rubrics[0]
        if instrument.weights or criterion.scope is not Scope.TRACE or Part.REFERENCE in criterion.sees:
            raise ConfigError(f"{config.rubric}: expected one rubric of scope trace without a reference, to compare two answers")
        try:
            self._rubric = _comparing(criterion)
        except ValueError as error:  # too long with what is added
            raise ConfigError(f"{config.rubric}: cannot be used to compare answers: {error}") from None
        self._questioner = Questioner(config, judge)
        self.name = self._rubric.id
        self.version = self._questioner.version([self._rubric])

    async def evaluate(self, subject: Subject) -> Sequence[Result] | NotApplicable:
        """See `evaluator.Evaluator`; raises as RubricEvaluator."""
        why_not = self._why_not(subject)
        if why_not is not None:
            return NotApplicable(why_not)
        found = await self.compare(subject, subject.view.final_output or "", to_text(subject.expected))
        weak = weaker(self._questioner.config.model, subject.view.model_calls)
        return (
            Result(
                name=self.name,
                value=_SCORES[found.outcome],
                label=found.outcome,
                explanation=found.reasoning,
                evidence=found.evidence,
                warnings=(*weak, *found.warnings),
                judge=found.use,
            ),
        )

    def fingerprint(self, subject: Subject) -> str | None:
        """See RubricEvaluator."""
        if self._why_not(subject) is not None:
            return None
        shown = self._material(subject, subject.view.final_output or "", to_text(subject.expected))
        return instruments.version(shown.fingerprint, weaker(self._questioner.config.model, subject.view.model_calls))

    def _why_not(self, subject: Subject) -> str | None:
        if subject.expected is None or not subject.view.final_output:
            return "two answers are needed: the trace's own, and another one as what is expected"
        return lacking(self._rubric, self._shared(subject))

    async def compare(self, subject: Subject, first: str, second: str) -> Comparison:
        """Compare two answers to what this trace asks; its own answer does not count."""
        orders = [partial(self._judged, subject, first, second), partial(self._judged, subject, second, first)]
        (here, warned_here), (there, warned_there) = await each(orders)
        choices = [judged.verdict.opinions[self.name].choice for judged in (here, there)]
        consistent = tuple(choices) in {(_FIRST, _SECOND), (_SECOND, _FIRST), (_EQUAL, _EQUAL)}
        outcome = {_FIRST: "better", _SECOND: "worse"}.get(choices[0], "tie") if consistent else "tie"
        bias = None if consistent or choices[0] != choices[1] else 1 if choices[0] == _FIRST else 2
        found = list(dict.fromkeys((*warned_here, *warned_there)))
        if bias is not None:
            found.append(f"position_bias: answer {bias} was preferred in both orders")
        elif not consistent:
            found.append("inconsistent: an answer was preferred in one order only")
        opinion = here.verdict.opinions[self.name]
        use = total([here.use, there.use])
        return Comparison(outcome, consistent, bias, opinion.reasoning, opinion.evidence, tuple(found), use)

    async def _judged(self, subject: Subject, first: str, second: str) -> tuple[Judged, tuple[str, ...]]:
        shown = self._material(subject, first, second)
        judged = await self._questioner.ask([self._rubric], shown)
        return judged, warnings(judged, shown, self.name)

    def _material(self, subject: Subject, first: str, second: str) -> Material:
        answers = [Item(name, {"text": text}, core=True) for name, text in ((_FIRST, first), (_SECOND, second))]
        return prompt.material([*self._shared(subject), *answers], self._questioner.room([self._rubric]))

    def _shared(self, subject: Subject) -> list[Item]:
        return [item for item in material.of_trace(subject, self._rubric.sees) if item.part in _SHARED]


def _comparing(criterion: Rubric) -> Rubric:
    """The rubric that asks which answer is better by the question of another one."""
    levels = "; ".join(f"{entry.name}: {entry.text.strip()}" for entry in criterion.entries)
    kind = "levels, from the worst to the best" if criterion.scale else "labels"
    return replace(
        criterion,
        id=f"{criterion.id[:50]}_pairwise",
        sees=tuple(part for part in criterion.sees if part is not Part.FINAL_OUTPUT),
        needs=tuple(needed for needed in criterion.needs if Part.FINAL_OUTPUT not in needed.split()),
        question=f"Which of the two answers is the better one by this question: {criterion.question.strip()}",
        guidance=(
            *criterion.guidance,
            f"A single answer would be judged by these {kind}: {levels}",
            "Compare by that question only. Which answer stands first is by chance, and says nothing.",
            "Steps in the record, such as tool calls, are what is known; do not ask which of the answers they belong to.",
        ),
        scale=(),
        labels=(
            Label(name=_FIRST, text="answer_1 is clearly the better one."),
            Label(name=_EQUAL, text="Neither is clearly the better one."),
            Label(name=_SECOND, text="answer_2 is clearly the better one."),
        ),
        pass_level=None,
        not_applicable=None,
        examples=(),
    )
