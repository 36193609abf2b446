"""Verdicts without a model: a JSON value that fits the schema, from what can be seen in the judged text, plus noise.

Seen are words of errors, of hedging and of refusing, repeated lines, personal data, and texts that address the judge.
What a dimension is called decides which of these count. The same text and seed give the same verdict.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from otel_eval.standin.behaviour import draw
from otel_eval.standin.schemas import resolve

Verdict = Callable[[str, str, dict[str, Any]], dict[str, Any]]
"""`verdict(material, instructions, schema)`: the material as it stands in its fence, everything else of the prompt, and the
schema that the result must fit."""

_FENCE = re.compile(r"<(data_[0-9A-Za-z]{4,64})>")
_MOST_FENCES = 100
_LONGEST_SEEN = 200_000
_SENTENCE = re.compile(r'[^\\"<>{}\[\]\s\x00-\x1f]{1,40} [^\\"<>{}\[\]\x00-\x1f]{12,120}')
_QUOTE = re.compile(r'[^\\"<>{}\[\]\x00-\x1f]{12,120}')
_SHORT_QUOTE = re.compile(r'[^\\"<>{}\[\]\x00-\x1f]{1,120}')
_PERSONAL = re.compile(r"(?<=[\w.+-])@[\w-]{1,64}\.\w{2,}|\b\d(?:[ -]?\d){12,18}\b")
_ERRORS = ("error", "exception", "failed", "failure", "timed out", "timeout", "traceback", "not found")
_HEDGES = ("i think", "i believe", "probably", "maybe", "might be", "not sure", "as far as i know")
_REFUSALS = ("i cannot", "i can't", "i am unable", "i'm unable", "i'm sorry")
_TO_THE_JUDGE = tuple(
    "ignore all|ignore any|ignore the|ignore previous|as the judge|as the evaluator|score 5|score of 5|system prompt".split("|")
)
_GOOD = frozenset("yes pass passed good correct complete completed supported relevant safe true success".split())
_BAD = frozenset("no fail failed bad incorrect incomplete unsupported irrelevant unsafe false failure".split())
NOT_JUDGED = frozenset({"not_applicable", "unknown", "n/a", "none"})
"""Choices that are no place on a scale."""


class Seen(NamedTuple):
    """Shares between 0 (nothing of it) and 1."""

    errors: float
    hedges: float
    refusals: float
    repeats: float
    personal: float
    judge: float


_WEIGHTS = {
    "privacy|safety|pii|leak|secret|toxic": Seen(0.0, 0.0, 0.0, 0.0, 0.7, 0.5),
    "plan|tool|step|effic|execution": Seen(0.5, 0.0, 0.1, 0.7, 0.0, 0.1),
    "ground|fact|correct|citation|halluc": Seen(0.3, 0.6, 0.1, 0.0, 0.0, 0.3),
    "adher|instruct|complet|relev|answer": Seen(0.3, 0.2, 0.6, 0.1, 0.0, 0.3),
}
_ALL = Seen(0.3, 0.2, 0.3, 0.2, 0.2, 0.3)


def split(prompt: str) -> tuple[str, str]:
    """The fenced material of a prompt and the rest; without a fence everything is material.

    >>> split("<data_0f0f>the text</data_0f0f> Score it.")
    ('the text', ' Score it.')
    """
    fenced, rest, end = [], [], 0
    for opening in itertools.islice(_FENCE.finditer(prompt), _MOST_FENCES):
        closing = f"</{opening[1]}>"
        closes = prompt.find(closing, opening.end())
        if opening.start() >= end and closes >= 0:
            fenced.append(prompt[opening.end() : closes])
            rest.append(prompt[end : opening.start()])
            end = closes + len(closing)
    return ("\n".join(fenced), "".join(rest) + prompt[end:]) if fenced else (prompt, "")


class Judgement:
    """The default verdict; `noise` is how far a score may be off, as a share of its scale."""

    def __init__(self, seed: int = 0, noise: float = 0.15) -> None:
        self._seed = seed
        self._noise = noise

    def __call__(self, material: str, instructions: str, schema: dict[str, Any]) -> dict[str, Any]:
        """See Verdict; the instructions are not understood, so they do not count."""
        return _Filling(self._seed, self._noise, material, schema).object(schema)


class _Filling:
    """One value for one schema."""

    def __init__(self, seed: int, noise: float, material: str, root: Mapping[str, Any]) -> None:
        self._seed = seed
        self._noise = noise
        self._material = material[:_LONGEST_SEEN]
        self._root = root
        self._seen = observe(self._material)

    def object(self, schema: Mapping[str, Any], name: str = "") -> dict[str, Any]:
        """All properties; one without a telling name is judged by the name of the object."""
        properties = schema.get("properties", {})
        return {key: self._value(key, inner, f"{name} {key}") for key, inner in properties.items()}

    def _value(self, key: str, schema: Mapping[str, Any], name: str) -> Any:
        schema = resolve(self._root, schema)
        if options := schema.get("anyOf") or schema.get("allOf"):
            return self._value(key, next((option for option in options if option.get("type") != "null"), options[0]), name)
        if choices := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
            return self._choice(choices, name)
        match schema.get("type"):
            case "object":
                value: Any = self.object(schema, name)
            case "array":
                value = self._list(key, schema, name)
            case "string":
                value = self._text(key)
            case "boolean":
                value = self._yes(key, name)
            case _:
                value = self._number(schema, name)
        return value

    def _number(self, schema: Mapping[str, Any], name: str) -> float | int | None:
        """On a scale from 1 to 5, or from 0 to 1 where fractions are allowed."""
        quality = self._quality(name)
        return {"integer": 1 + round(4 * quality), "number": round(quality, 3)}.get(schema.get("type", ""))

    def _choice(self, options: list[Any], name: str) -> Any:
        """Plain words for good and bad by their meaning, numbers by their size, others by their place from worst to best."""
        quality = self._quality(name)
        judged = [option for option in options if str(option).lower() not in NOT_JUDGED] or options
        words = {str(option).lower() for option in judged}
        if words <= _GOOD | _BAD and words & _GOOD and words & _BAD:
            wanted = _GOOD if quality >= 0.5 else _BAD
            return next(option for option in judged if str(option).lower() in wanted)
        if all(isinstance(option, int | float) for option in judged):
            judged = sorted(judged)
        return judged[min(len(judged) - 1, int(quality * len(judged)))]

    def _list(self, key: str, schema: Mapping[str, Any], name: str) -> list[Any]:
        items = resolve(self._root, schema["items"])
        if items.get("type") == "string" and "enum" not in items and _is_evidence(key):
            return self._quotes(2) or [""] * schema.get("minItems", 0)
        return [self._value(key, items, name)] if schema.get("minItems") or _is_evidence(key) else []

    def _text(self, key: str) -> str:
        if _is_evidence(key):
            return next(iter(self._quotes(1)), "")
        seen = ", ".join(f"{what} {share:.2f}" for what, share in self._seen._asdict().items() if share) or "nothing remarkable"
        return f"Simulated, no model has read this. Seen in the text: {seen}."

    def _yes(self, key: str, name: str) -> bool:
        if "inject" in key or "suspect" in key:
            return self._seen.judge > 0
        return self._quality(name) >= 0.5

    def _quality(self, name: str) -> float:
        """From 0 to 1, by what counts for a dimension of that name."""
        weights = next((weights for words, weights in _WEIGHTS.items() if re.search(words, name.lower())), _ALL)
        loss = sum(weight * share for weight, share in zip(weights, self._seen, strict=True))
        noise = self._noise * (2 * draw(self._seed, name, self._material) - 1)
        return min(1.0, max(0.0, 0.92 - loss + noise))

    def _quotes(self, wanted: int) -> list[str]:
        """Pieces of what was said, as they stand in the material: sentences first."""
        said = texts(self._material)
        for pattern in (_SENTENCE, _QUOTE, _SHORT_QUOTE):
            pieces = (match[0].strip() for text in said for match in pattern.finditer(text))
            found = [piece for piece in pieces if piece and piece in self._material]
            if found:
                start = int(draw(self._seed, self._material) * len(found))
                return list(dict.fromkeys(found[(start + step) % len(found)] for step in range(wanted)))
        return []


def texts(material: str) -> list[str]:
    """The texts in a material of one JSON object a line, without the word that says which part a line is; else itself."""
    found: list[str] = []
    for line in material.splitlines():
        try:
            waiting: list[Any] = [msgspec.json.decode(line)]
        except (ValueError, RecursionError):
            return [material]
        while waiting:
            value = waiting.pop()
            if isinstance(value, str):
                found.append(value)
            elif isinstance(value, dict):
                waiting += [inner for key, inner in value.items() if key != "part"]
            elif isinstance(value, list):
                waiting += value
    return found


def observe(material: str) -> Seen:
    """What can be seen in a text without understanding it."""
    lines = [line for line in material.splitlines() if len(line) > 20]
    repeated = sum(times - 1 for times in Counter(lines).values())
    lowered = material.lower()
    return Seen(
        errors=_share(_ERRORS, lowered, 4),
        hedges=_share(_HEDGES, lowered, 3),
        refusals=_share(_REFUSALS, lowered, 2),
        repeats=min(1.0, repeated / max(4, len(lines) / 4)),
        personal=min(1.0, sum(1 for _ in _PERSONAL.finditer(material)) / 2),
        judge=_share(_TO_THE_JUDGE, lowered, 1),
    )


def _share(words: Iterable[str], lowered: str, enough: int) -> float:
    return min(1.0, sum(lowered.count(word) for word in words) / enough)


def _is_evidence(key: str) -> bool:
    return "evidence" in key or "quote" in key
