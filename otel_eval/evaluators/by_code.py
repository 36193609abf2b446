"""What evaluators by code share: how they are made, the hash that is their version, and how a verdict is put together."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, ClassVar, Final

import msgspec

from otel_eval.config import values
from otel_eval.config.section import Section
from otel_eval.evaluators.evaluator import NotApplicable, Result, Scope, Subject

MAX_EXPLANATION: Final = 400
"""Longer explanations are cut. Langfuse takes 500 characters."""

_MAX_EVIDENCE: Final = 10
_MAX_PIECE: Final = 120


class NoSettings(Section, frozen=True):
    """Nothing can be set."""


class ByCode:
    """An evaluator that needs no model: `judge` is a pure function of the subject and the settings.

    The class's name and `revision` stand for the code in its version: `revision` goes up with each change of the code
    that changes a verdict.
    """

    Config: ClassVar[type[Section]] = NoSettings
    kind: ClassVar[str] = "code"
    revision: ClassVar[int] = 1
    scope: Scope = Scope.TRACE

    def __init__(self, name: str, config: Any) -> None:
        self.name = name
        self.config = config
        self.version = version(type(self).__name__, self.revision, config)

    async def evaluate(self, subject: Subject) -> Sequence[Result] | NotApplicable:
        """See `evaluator.Evaluator`."""
        verdict = self.judge(subject)
        return verdict if isinstance(verdict, NotApplicable) else (verdict,)

    def judge(self, subject: Subject) -> Result | NotApplicable:
        """The one score."""
        raise NotImplementedError

    def result(
        self, value: float, passed: bool | None, explanation: str, span_id: str | None = None, evidence: Iterable[str] = ()
    ) -> Result:  # fmt: skip
        """A score; with a line to pass, its label is pass or fail."""
        return Result(
            name=self.name,
            value=value,
            label=None if passed is None else "pass" if passed else "fail",
            passed=passed,
            explanation=plain(explanation),
            span_id=span_id,
            evidence=tuple([plain(piece, _MAX_PIECE) for piece in islice(evidence, _MAX_EVIDENCE)]),
        )


def version(code: str, revision: int, config: Section, *more: str) -> str:
    """A hash over everything that changes a verdict: the code by name and number, its settings, and what else there is."""
    settings = msgspec.to_builtins(config, enc_hook=values.encode)
    text = msgspec.json.encode([code, revision, settings, *more], order="deterministic")
    return hashlib.sha256(text).hexdigest()[:16]


def plain(text: str, limit: int = MAX_EXPLANATION) -> str:
    """A text on one line, without hidden characters, not longer than `limit`.

    >>> plain("no\\u202e such\\n\\ncity"), plain("a long text", limit=7)
    ('no such city', 'a long…')
    """
    shown = text[: 4 * limit]
    if not shown.isprintable():
        shown = "".join(character if character.isprintable() else " " for character in shown)
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def listed(items: Sequence[str], most: int = 3) -> str:
    """Some items as words: `a, b, c and 4 more`."""
    shown = ", ".join(plain(item, _MAX_PIECE) for item in items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
