"""Asking a judge model by rubrics, with one repair and one re-judgement: what all evaluators by judge share.

An answer that is no verdict is asked for once more with twice the tokens; then InvalidVerdict is raised. A verdict with a
quote that does not occur in what was judged is asked for once more; what is not proven then either is marked, and never
passes. A provider's refusal is raised as JudgeRefused, and a call that fails as whatever the judge raises (JudgeError),
except for the re-judgement: then the first verdict stands, unproven.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from otel_eval.config.section import Section
from otel_eval.evaluators.evaluator import JudgeUse
from otel_eval.evaluators.rubric import Rubric, version
from otel_eval.judging import prompt, verdict
from otel_eval.judging.llm import Ask, Failure, Judge, JudgeError
from otel_eval.judging.prompt import Material
from otel_eval.judging.strength import Strength, compare
from otel_eval.judging.verdict import InvalidVerdict, JudgeRefused, Verdict
from otel_eval.traces.records import ModelCall

DEFAULT_MODEL: Final = "claude-haiku-5-5"

T = TypeVar("T")

_TOKENS: Final = 1024
_MOST_TOKENS: Final = 2048
_THINKING_TOKENS: Final = 4096
_ANY_TAG: Final = "data_0123456789abcdef"
# Both change the question, so that no cache gives the same answer again.
_REPAIR: Final = "\nYour last answer was cut off or did not fit the schema. Write less reasoning, and complete the object."
_REJUDGE: Final = "\nIn your last answer a quote did not occur in the record. Copy each quote exactly as it stands in one text."


class ModelSettings(Section, frozen=True):
    """Which model judges, and how. `thinking` is null for a model that takes no such setting."""

    model: Annotated[str, Meta(min_length=1)] = DEFAULT_MODEL
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    thinking: Literal["adaptive", "disabled"] | None = "disabled"
    max_tokens: Annotated[int, Meta(ge=256, le=16_384)] | None = None
    """Of an answer. By default 1,024, 2,048 for several rubrics at once, and 4,096 more for a model that may think."""


class JudgedConfig(ModelSettings, frozen=True, kw_only=True):
    """The rubric and the model. `cache_material` pays where several rubrics judge the same traces."""

    rubric: str
    rubrics_directory: Path | None = None
    material_tokens: Annotated[int, Meta(ge=prompt.MIN_MATERIAL_TOKENS, le=80_000)] = prompt.MATERIAL_TOKENS
    cache_material: bool = False


class Judged(msgspec.Struct, frozen=True):
    """A verdict with what a reader must know of it; `unverified` are the rubrics whose quotes were not found."""

    verdict: Verdict
    unverified: frozenset[str]
    use: JudgeUse


class Questioner:
    """See the module docstring."""

    def __init__(self, config: JudgedConfig, judge: Judge) -> None:
        self.config = config
        self._judge = judge

    def version(self, rubrics: Sequence[Rubric], *more: Any) -> str:
        """The hash over everything that changes a verdict: rubrics, schema, prompt, model and how it is used."""
        config = self.config
        texts = self._instructions(rubrics), prompt.question(_ANY_TAG, rubrics, rubric_follows=config.cache_material)
        settings = config.model, config.effort, config.thinking, config.material_tokens
        return version(prompt.REVISION, texts, _REPAIR, _REJUDGE, verdict.schema(rubrics), rubrics, settings, more)

    def room(self, rubrics: Sequence[Rubric]) -> int:
        """The tokens that the material may have."""
        question = prompt.question(_ANY_TAG, rubrics, rubric_follows=self.config.cache_material)
        return prompt.room(self._instructions(rubrics), question, self.config.material_tokens)

    async def ask(self, rubrics: Sequence[Rubric], material: Material) -> Judged:
        """The verdict on this material."""
        ask = self._question(rubrics, material)
        first, use = await self._verdict(ask, rubrics)
        missing = verdict.unverified(first, material.shown.texts)
        if not missing:
            return Judged(first, missing, use)
        try:
            second, more = await self._verdict(replace(ask, question=ask.question + _REJUDGE, follows=True), rubrics)
        except (InvalidVerdict, JudgeRefused) as error:
            return Judged(first, missing, verdict.total([use, error.use]))
        except JudgeError:
            return Judged(first, missing, use)
        still, use = verdict.unverified(second, material.shown.texts), verdict.total([use, more])
        return Judged(second, still, use) if len(still) < len(missing) else Judged(first, missing, use)

    async def _verdict(self, ask: Ask, rubrics: Sequence[Rubric]) -> tuple[Verdict, JudgeUse]:
        first = await self._judge.ask(ask)
        try:
            return verdict.parse(first, rubrics), first.use
        except InvalidVerdict:
            repair = replace(ask, max_tokens=2 * ask.max_tokens, question=ask.question + _REPAIR, follows=True)
        second = await self._judge.ask(repair)
        use = verdict.total([first.use, second.use])
        return verdict.parse(replace(second, use=use), rubrics), use

    def _instructions(self, rubrics: Sequence[Rubric]) -> str:
        return prompt.instructions(rubrics, rubric_follows=self.config.cache_material)

    def _question(self, rubrics: Sequence[Rubric], material: Material) -> Ask:
        config = self.config
        thinking = 0 if config.thinking == "disabled" else _THINKING_TOKENS
        return Ask(
            model=config.model,
            instructions=self._instructions(rubrics),
            material=material.fenced,
            question=prompt.question(material.tag, rubrics, rubric_follows=config.cache_material),
            schema=verdict.schema(rubrics),
            max_tokens=config.max_tokens or min(_MOST_TOKENS, _TOKENS * len(rubrics)) + thinking,
            effort=config.effort,
            thinking=config.thinking,
            cache_material=config.cache_material,
        )


async def each(questions: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """The answers, one after the other; a question that waits for a batch does not keep the next ones from being asked."""
    answers: list[T] = []
    waits: JudgeError | None = None
    for question in questions:
        try:
            answers.append(await question())
        except JudgeError as error:
            if error.failure is not Failure.IN_BATCH:
                raise
            waits = error
    if waits is not None:
        raise waits
    return answers


def warnings(judged: Judged, material: Material, rubric_id: str) -> tuple[str, ...]:
    """What a reader of this rubric's score must know, each as `code: text`."""
    shown = material.shown
    signs = (["the judge"] if judged.verdict.injection_suspected else []) + [finding.kind for finding in shown.findings]
    found = [f"injection_suspected: {', '.join(signs)}"] if signs else []
    if rubric_id in judged.unverified:
        found.append(
            "evidence_not_found: a quote does not occur in what was judged; the score counts neither as passed nor as failed"
        )
    if shown.left_out_characters or shown.left_out_steps:
        left_out = f"{shown.left_out_characters:,} characters of texts and {shown.left_out_steps:,} steps"
        found.append(f"material_cut: {left_out} were left out of what was judged")
    return tuple(found)


def weaker(judge_model: str, calls: Iterable[ModelCall]) -> tuple[str, ...]:
    """The warning that the judge is weaker than a model that it judges, if it is; unknown is no warning."""
    models = dict.fromkeys(filter(None, (call.response_model or call.request_model for call in calls)))
    judged = next((model for model in models if compare(judge_model, model) is Strength.WEAKER), None)
    return () if judged is None else (f"judge_weaker: {judge_model} is weaker than the judged model {judged[:100]}",)
