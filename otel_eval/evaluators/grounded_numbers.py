"""Whether the exact things of an answer come from what the models were given."""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from typing import Final

from otel_eval.config.models import Fraction
from otel_eval.config.section import Section
from otel_eval.evaluators.by_code import ByCode, listed
from otel_eval.evaluators.dates import Date, is_said
from otel_eval.evaluators.evaluator import NotApplicable, Result, Subject
from otel_eval.evaluators.numerals import Reading, is_rounding, is_spoken, joins, plain_values, values
from otel_eval.evaluators.quantities import Quantity, quantities
from otel_eval.evaluators.texts import answer, answering_span, given, retrieved, without_code
from otel_eval.traces.view import TraceView

_MAX_CLAIMS: Final = 300
_MAX_KNOWN: Final = 20_000
_NO_CLAIM: Final = re.compile(
    r"https?://[^\s<>]{1,2000}"
    r"|\[\^?\d{1,3}(?:[,;\s]{1,3}\d{1,3}){0,20}\]"  # [1, 2]
    r"|^[ \t]{0,20}(?:[#>*-]{1,6}[ \t]{1,4})?\(?\d{1,3}[.)](?=\s)",  # 1. an item of a list
    re.MULTILINE,
)


class GroundedNumbersConfig(Section, frozen=True):
    """Passes from a share of `threshold` on.

    Without documents and results of tools there is nothing to rest on, and no score, unless `prompt_is_context`: then the
    prompt counts as such.
    """

    threshold: Fraction = 1.0
    prompt_is_context: bool = False


class GroundedNumbers(ByCode):
    """Share of the numbers, dates, times and ids in the answer that occur in what the models were given, 0 to 1.

    Given are the prompts, earlier turns, documents, and results of tools; not what a model said in this trace. The rules:

    - 1,234.50, 1.234,50, 1 234,50 and 1'234.50 are one number; 1,234 may be 1234 or 1.234, and either is enough;
    - 12 % is 12 or 0.12, 3.5 million is 3.5 or 3500000 (k, bn, Mio., Mrd. and so on likewise); signs do not count;
    - a rounding is grounded: 3.14 by 3.14159, 13 % by 0.128, 1,200 by 1,234 (two digits must stay, a year is never
      rounded); a number word up to a hundred too (English, German, French, Spanish);
    - 5 March 2024, 2024-03-05, 05.03.2024 and 3/5/24 are one date (day and month either way round, month names in seven
      languages); a date may leave out what the context says, and 2:30 pm is 14:30;
    - ids are tokens of six characters or more with letters and three digits, versions, and IP addresses: they must occur
      as they are, but for capitals;
    - whole numbers up to ten without a unit, numbers of list items, citation marks, code and URLs are not looked at.

    What was computed (a sum, a difference) is not grounded by its parts; units are not compared.

    >>> from otel_eval.evaluators import example
    >>> evaluator = GroundedNumbers("grounded_numbers", GroundedNumbersConfig())
    >>> example.judged(evaluator, example.trace('''
    ... user: When was the bridge built, and how long is it?
    ... document: The bridge was opened on 5 March 1932. It is 1,149.3 m long.
    ... assistant: It was opened on March 5, 1923 and is about 1,149 m long.'''))
    '0.5 fail: not in the context: March 5, 1923 (1 of 2 found)'
    """

    Config = GroundedNumbersConfig
    revision = 4
    config: GroundedNumbersConfig

    def judge(self, subject: Subject) -> Result | NotApplicable:
        """Most claims stand in the context as they are; only for the others the context is read."""
        view = subject.view
        claims = self._claims(view)
        if isinstance(claims, NotApplicable):
            return claims
        text = given(subject)
        if text is None:
            return NotApplicable("the context is too long")
        context = _Context(text)
        loose = [claim.text for claim in claims if not context.has(claim)]
        if context.too_many:
            return NotApplicable("the context has too many numbers")
        grounded = len(claims) - len(loose)
        if not loose:
            return self.result(1.0, True, f"all {len(claims)} numbers, dates and ids are in the context", answering_span(view))
        value = grounded / len(claims)
        explanation = f"not in the context: {listed(loose)} ({grounded} of {len(claims)} found)"
        return self.result(value, value >= self.config.threshold, explanation, answering_span(view), loose)

    def _claims(self, view: TraceView) -> list[Quantity] | NotApplicable:
        said = without_code(answer(view))
        if not said.strip():
            return NotApplicable("there is no answer")
        if not (self.config.prompt_is_context or retrieved(view)):
            return NotApplicable("nothing was retrieved, and no tool gave a result")
        found = (one for one in quantities(_NO_CLAIM.sub(" ", said)) if not one.small)
        return list(islice(found, _MAX_CLAIMS)) or NotApplicable("the answer has no numbers, dates or ids")


class _Context:
    """What was given, read as far as the claims need it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spoken: dict[float, bool] = {}

    def has(self, claim: Quantity) -> bool:
        """Whether the claim stands there, in this or another form."""
        if _stands_in(claim.text, self._text):
            return True
        if claim.dates:
            return any(is_said(date, self._dates, self._text) for date in claim.dates)
        if claim.minutes is not None:
            return claim.minutes in self._minutes
        if claim.readings:
            if any(is_rounding(reading, self._plain) for reading in claim.readings):
                return True
            return self._values is not None and any(self._is_known(reading, self._values) for reading in claim.readings)
        return _stands_in(claim.text.lower(), self._lower)

    def _is_known(self, reading: Reading, known: Sequence[float]) -> bool:
        if is_rounding(reading, known):
            return True
        if reading.value not in self._spoken:
            self._spoken[reading.value] = reading.step == 1 and is_spoken(reading.value, self._lower)
        return self._spoken[reading.value]

    @property
    def too_many(self) -> bool:
        """Whether it had more numbers than are read, and some were looked for."""
        return "_values" in vars(self) and self._values is None

    @cached_property
    def _lower(self) -> str:
        return self._text.lower()

    @cached_property
    def _plain(self) -> list[float]:
        return plain_values(self._text)

    @cached_property
    def _values(self) -> list[float] | None:
        return values(self._text, _MAX_KNOWN)

    @cached_property
    def _exact(self) -> list[Quantity]:
        return [one for one in islice(quantities(self._text), _MAX_KNOWN) if one.dates or one.minutes is not None]

    @cached_property
    def _dates(self) -> set[Date]:
        return {date for one in self._exact for date in one.dates}

    @cached_property
    def _minutes(self) -> set[int]:
        return {one.minutes for one in self._exact if one.minutes is not None}


def _stands_in(written: str, text: str) -> bool:
    """Whether it occurs, and not as a part of a longer number or word: 12 is not in 12.5, 112 or A12."""
    start = text.find(written)
    for _ in range(50):
        if start < 0:
            return False
        end = start + len(written)
        before, behind = text[max(0, start - 2) : start], text[end : end + 2]
        apart = not (joins(before[-1:]) or (before[-1:] in {".", ","} and before[:1].isdecimal()))
        if apart and not (behind[:1].isdecimal() or (behind[:1] in {".", ","} and behind[1:].isdecimal())):
            return True
        start = text.find(written, start + 1)
    return False
