"""A verdict that looks at more of the material: what the agent states, beside what it had before it.

    python -m otel_eval.standin --verdict otel_eval.standin.grounding:verdict

It is no model either. It sees figures of the final answer that stand nowhere else in the material, an action that is
reported although no tool ran without an error, and an answer after a tool that failed last; the rubrics that ask for such
a thing get a low level. A share `OVERLOOKED` of what it could see it does not see, and in a share `IMAGINED` of the other
materials it sees what is not there, so that it is wrong now and then, as judges are. Figures are compared by their digits.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from otel_eval.standin.behaviour import draw
from otel_eval.standin.schemas import resolve
from otel_eval.standin.verdict import NOT_JUDGED, Judgement, texts

OVERLOOKED: Final = 0.08
IMAGINED: Final = 0.03

_FIGURE: Final = re.compile(r"\d[\d.,]{0,30}(?<=\d)|\d")
_DONE: Final = re.compile(
    r"(?i)\b(?:I have|I've) (?:changed|cancelled|canceled|refunded|booked|sent|updated|deleted)\b|\bis cancelled\b"
)
_SENTENCE: Final = re.compile(r"[^.!?\n]{12,400}")
_LONGEST_READ: Final = 200_000
_WORST, _POOR = 0, 1
_BY_FINDING: Final = {
    "loose": {"factual_grounding": _POOR, "instruction_adherence": _POOR},
    "undone": {"factual_grounding": _WORST, "plan_execution": _POOR, "instruction_adherence": _POOR, "task_completion": _WORST},
    "stuck": {"plan_execution": _POOR, "task_completion": _POOR},
}
_RUBRICS: Final = frozenset(rubric for levels in _BY_FINDING.values() for rubric in levels)
_SECOND_BEST: Final = 0.2
_default = Judgement(noise=0.1)


class Finding(NamedTuple):
    """What was seen: a key of the table above, in words, and a piece of the material that shows it."""

    kind: str
    said: str
    quote: str


def verdict(material: str, instructions: str, schema: dict[str, Any]) -> dict[str, Any]:
    """See Verdict: the default one but for the rubrics above; a schema without `scores` by rubric gets the default one."""
    value = _default(material, instructions, schema)
    asked = resolve(schema, schema.get("properties", {}).get("scores", {})).get("properties", {})
    found = findings(material)
    if found is not None and draw("overlooked", material) < OVERLOOKED:
        found = None
    elif found is None and draw("imagined", material) < IMAGINED:
        found = Finding("loose", "an answer that does not look right", "")
    for rubric in _RUBRICS & asked.keys():
        levels = [level for level in resolve(schema, asked[rubric]).get("enum", ()) if level not in NOT_JUDGED]
        place = _BY_FINDING[found.kind].get(rubric) if found else None
        if len(levels) > 1:
            value["scores"][rubric] = levels[-1 - (draw(rubric, material) < _SECOND_BEST) if place is None else place]
            _explain(value.get("analysis", {}).get(rubric), found if place is not None else None)
    return value


def _explain(analysis: Any, found: Finding | None) -> None:
    if isinstance(analysis, dict):
        seen = found.said if found else "nothing remarkable"
        analysis["reasoning"] = f"Simulated, no model has read this. Seen in the text: {seen}."
        if found and found.quote:
            analysis["evidence"] = [found.quote]


def findings(material: str) -> Finding | None:
    """The worst that is seen in a material of one JSON object a line; None for nothing, or for another form.

    >>> findings('{"part": "document", "text": "within 30 days"}\\n{"part": "final_output", "text": "You have 45 days."}').said
    'the answer says 45, which stands nowhere before it'
    """
    items = _items(material)
    answer = " ".join(text for item in items if item.get("part") == "final_output" for text in _texts(item))
    if not answer:
        return None
    tools = [item for item in items if item.get("part") == "tool"]
    if (done := _DONE.search(answer)) and all("error" in tool for tool in tools):
        return Finding("undone", "an action is reported that no tool has done", _sentence(answer, done.start()))
    given = {figure for item in items if item.get("part") != "final_output" for figure in _figures(" ".join(_texts(item)))}
    loose = next((match for match in _FIGURE.finditer(answer) if not _known(match[0], given)), None)
    if loose is not None:
        said = f"the answer says {loose[0]}, which stands nowhere before it"
        return Finding("loose", said, _sentence(answer, loose.start()))
    if tools and "error" in tools[-1]:
        return Finding("stuck", "the last tool failed, and the agent left it at that", _sentence(answer, 0))
    return None


def _items(material: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for line in material[:_LONGEST_READ].splitlines():
        try:
            item = msgspec.json.decode(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(item, dict):
            found.append(item)
    return found


def _texts(item: Mapping[str, Any]) -> list[str]:
    return texts(msgspec.json.encode(item).decode())


def _figures(text: str) -> set[str]:
    return {match[0].lstrip("0") for match in _FIGURE.finditer(text)}


def _known(figure: str, given: set[str]) -> bool:
    """One digit by itself says little."""
    return len(figure) < 2 or figure.lstrip("0") in given


def _sentence(answer: str, at: int) -> str:
    """The piece of the answer around a place, as it stands there."""
    pieces = [match for match in _SENTENCE.finditer(answer) if match.start() <= at < match.end()]
    return pieces[0][0].strip() if pieces else answer[:200]
