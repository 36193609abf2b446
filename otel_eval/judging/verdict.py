"""What a judge must answer, and what of it is believed.

The schema puts reasoning and quotes before the scores, so that a score follows from them, and offers names only. An answer is
a verdict when the model ended by itself and the whole text is one JSON object of exactly this shape; nothing is searched for
in prose, where judged text may be repeated. A score counts as verified when every quote occurs in what was judged.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from otel_eval.errors import OtelEvalError
from otel_eval.evaluators.evaluator import JudgeUse
from otel_eval.evaluators.rubric import NOT_APPLICABLE, Rubric
from otel_eval.judging import injection
from otel_eval.judging.cutting import line
from otel_eval.judging.llm import Answer

MIN_QUOTE: Final = 12
"""Characters of a quote that proves something; a shorter one must be a whole text."""

MAX_REASONING: Final = 2000
MAX_QUOTES: Final = 8
MAX_QUOTE: Final = 500

_MAX_ANSWER: Final = 200_000
_ENDED: Final = "end_turn"
_SPACES: Final = re.compile(r"\s+")
_TYPOGRAPHY: Final = str.maketrans("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u2010\u2011\u2012\u2013\u2014", "''''\"\"\"-----")


class JudgeRefused(OtelEvalError):
    """The judge's provider declined to answer; asking again would not help. `use` is what it took."""

    def __init__(self, category: str, use: JudgeUse) -> None:
        super().__init__(f"the judge refused: {category}")
        self.category = category
        self.use = use


class InvalidVerdict(OtelEvalError):
    """What the judge answered is no verdict; `use` is what it took, repairs included."""

    def __init__(self, reason: str, use: JudgeUse) -> None:
        super().__init__(f"the judge's answer is no verdict: {reason}")
        self.reason = reason
        self.use = use


class Opinion(msgspec.Struct, frozen=True):
    """What the judge says to one rubric. `choice` is one of the rubric's; the texts are a model's, cleaned and cut."""

    choice: str
    reasoning: str
    evidence: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True):
    """The opinions by rubric id."""

    opinions: dict[str, Opinion]
    injection_suspected: bool


class _Analysis(msgspec.Struct, forbid_unknown_fields=True):
    reasoning: str
    evidence: list[str]


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    analysis: dict[str, _Analysis]
    injection_suspected: bool
    scores: dict[str, str]


def schema(rubrics: Sequence[Rubric]) -> dict[str, Any]:
    """The JSON schema of an answer, in the subset that providers enforce; its order is the order of writing."""
    analysis = _object({"reasoning": {"type": "string"}, "evidence": {"type": "array", "items": {"type": "string"}}})
    return _object(
        {
            "analysis": _object({rubric.id: analysis for rubric in rubrics}),
            "injection_suspected": {"type": "boolean"},
            "scores": _object({rubric.id: {"type": "string", "enum": list(rubric.choices)} for rubric in rubrics}),
        }
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def parse(answer: Answer, rubrics: Sequence[Rubric]) -> Verdict:
    """The verdict in an answer; raises JudgeRefused or InvalidVerdict."""
    if answer.refusal is not None or answer.stop_reason == "refusal":
        raise JudgeRefused(answer.refusal or "no reason given", answer.use)
    if answer.stop_reason != _ENDED:
        raise InvalidVerdict(f"it stopped because of {answer.stop_reason}", answer.use)
    try:
        written = _read(answer.text)
        opinions = {rubric.id: _opinion(written, rubric) for rubric in _matching(written, rubrics)}
        return Verdict(opinions, written.injection_suspected)
    except (ValueError, RecursionError) as error:
        raise InvalidVerdict(str(error)[:200], answer.use) from None


def _read(text: str) -> _Written:
    """Raises ValueError; msgspec's error is one."""
    if len(text) > _MAX_ANSWER:
        raise ValueError("it is too long")
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from None
    try:
        return msgspec.convert(value, _Written)
    except msgspec.ValidationError as error:
        if "unknown field" in str(error):  # its name is the model's
            raise ValueError("it has a key that was not asked for") from None
        raise


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _matching(written: _Written, rubrics: Sequence[Rubric]) -> Sequence[Rubric]:
    """The rubrics, when exactly they were answered."""
    ids = {rubric.id for rubric in rubrics}
    if set(written.analysis) != ids or set(written.scores) != ids:
        raise ValueError("it answers other questions than were asked")
    return rubrics


def _opinion(written: _Written, rubric: Rubric) -> Opinion:
    choice, analysis = written.scores[rubric.id], written.analysis[rubric.id]
    if choice not in rubric.choices:
        raise ValueError(f"no such choice for {rubric.id}")
    quotes = tuple(_plain(quote, MAX_QUOTE) for quote in analysis.evidence[:MAX_QUOTES])
    return Opinion(choice, _plain(analysis.reasoning, MAX_REASONING), tuple(quote for quote in quotes if quote.strip()))


def _plain(text: str, limit: int) -> str:
    return injection.clean(text[:limit]).text[:limit]


def unverified(verdict: Verdict, texts: Sequence[str]) -> frozenset[str]:
    """The rubrics whose quotes do not all occur in one of these texts, or prove nothing.

    Compared without regard to capitals, kinds of white space, quotation marks and dashes. A quote may be as the text says
    or as JSON writes it. Where a question does not arise, no quote is asked for.
    """
    known = cache(lambda: [_fold(way) for text in texts for way in (text, line(text)[1:-1])])
    return frozenset(
        name for name, opinion in verdict.opinions.items()
        if not (opinion.choice == NOT_APPLICABLE and not opinion.evidence)
        and not (_telling(opinion.evidence, known) and all(_occurs(quote, texts, known) for quote in opinion.evidence))
    )  # fmt: skip


def _telling(quotes: Sequence[str], known: Callable[[], Sequence[str]]) -> bool:
    folded = [_fold(quote) for quote in quotes]
    return any(len(quote) >= MIN_QUOTE for quote in folded) or any(quote in known() for quote in folded)


def _occurs(quote: str, texts: Sequence[str], known: Callable[[], Sequence[str]]) -> bool:
    """Most quotes stand there as they are: only for the others all texts are folded."""
    if any(quote in text for text in texts):
        return True
    folded = _fold(quote)
    return any(folded in text for text in known())


def _fold(text: str) -> str:
    return _SPACES.sub(" ", injection.clean(text).text.translate(_TYPOGRAPHY)).strip().casefold()


def total(uses: Sequence[JudgeUse]) -> JudgeUse:
    """What several answers took together; what one of them does not say is unknown of all."""
    return reduce(_add, uses)


def nothing_more(use: JudgeUse) -> JudgeUse:
    """The same answer for a further score out of it, so that sums over scores count what it took once."""
    zeros = {name: None if getattr(use, name) is None else 0 for name in _SUMMED}
    return replace(use, **zeros)


def _add(left: JudgeUse, right: JudgeUse) -> JudgeUse:
    sums = {name: _sum(getattr(left, name), getattr(right, name)) for name in _SUMMED}
    return JudgeUse(
        model=_both(left.model, right.model) or "",
        answered_by=_both(left.answered_by, right.answered_by),
        price_date=_both(left.price_date, right.price_date),
        request_id=_both(left.request_id, right.request_id),
        latency_s=left.latency_s + right.latency_s,
        simulated=left.simulated or right.simulated,
        **sums,
    )


_SUMMED: Final = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "thinking_tokens", "cost_usd",
)  # fmt: skip


def _sum(left: Any, right: Any) -> Any:
    return None if left is None or right is None else left + right


def _both(left: str | None, right: str | None) -> str | None:
    names = [*(left or "").split(" + "), *(right or "").split(" + ")]
    return " + ".join(dict.fromkeys(filter(None, names))) or None
