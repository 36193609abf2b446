"""Numbers, dates, times of day and ids in a text."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from otel_eval.evaluators.dates import Date, date_at, may_be_date, time_at
from otel_eval.evaluators.numerals import CURRENCIES, LETTER, Reading, joins, number_at, readings

_DIGITS: Final = re.compile(r"\d\d{0,29}")  # the engine skips to a digit quickly, not to a repetition
_DIGITS_ASCII: Final = re.compile(_DIGITS.pattern, re.ASCII)  # twice as fast
_MAX_LETTERS: Final = 50
_TOKEN: Final = re.compile(rf"(?:-|{LETTER}){{1,100}}")
_DOTTED: Final = re.compile(r"\d{1,9}(?:\.\d{1,9}){2,20}(?![\d])")  # a version, an IP address
_DIGIT_FIRST_ID: Final = re.compile(r"\d[\w-]*?[A-Za-z][\w-]*?\d[\w-]*")
_UNITS: Final = frozenset(
    "% ‰ ° € $ £ ¥ ₹ 天 日 周 月 年 小时 分钟 元 円 時間 day days week weeks month months year years hour hours hr hrs minute"
    " minutes min mins second seconds sec secs h s ms km m cm mm kg g mg l ml mile miles ft lb lbs oz kb mb gb tb"
    " eur usd gbp chf dollar dollars euro euros pound pounds cent cents degree degrees celsius point points tag"
    " tage tagen woche wochen monat monate monaten jahr jahre jahren stunde stunden minuten sekunde sekunden grad"
    " jour jours semaine semaines mois an ans année années heure heures secondes degré degrés día días semana"
    " semanas mes meses año años hora horas minuto minutos segundo segundos grados giorno giorni settimana"
    " settimane mese mesi anno anni ora ore minuti secondi dia dias ano anos mês dag dagen weken maanden jaar uur".split()
)
_BEFORE: Final = frozenset("€$£¥₹#")


class Quantity(NamedTuple):
    """Something exact in a text. One of the last three says what it may mean; an id has none of them.

    `small` is a whole number up to ten without any unit, as in "two of 3 ways".
    """

    text: str
    dates: tuple[Date, ...] = ()
    minutes: int | None = None
    readings: Sequence[Reading] = ()
    small: bool = False


def quantities(text: str) -> Iterator[Quantity]:
    """All of them in order. Letters with a digit or two (A4, COVID-19) are words.

    >>> [found.text for found in quantities("Order ORD-20391 of 5 March costs $1,250.50, 12 % less; see A4.")]
    ['ORD-20391', '5 March', '1,250.50', '12 %']
    """
    search, position = (_DIGITS_ASCII if text.isascii() else _DIGITS).search, 0
    while (digits := search(text, position)) is not None:
        position, found = _at(text, *digits.span(), position)
        if found is not None:
            yield found


def _at(text: str, start: int, end: int, after: int) -> tuple[int, Quantity | None]:
    """What has its first digits from `start` to `end`, and where to go on; nothing before `after` belongs to it.

    What stands around the digits says what they can be, so that few of the expressions are tried on each number.
    """
    before = _beginning(text, start, after)
    if before < start:
        return _word(text, before, start)
    follows = text[end : end + 1]
    if end - start <= 4 and may_be_date(text, start, end) and (date := date_at(text, start)) is not None:
        return date.end, Quantity(text[date.start : date.end], dates=date.dates)
    if follows and follows in ":hHaApP \u00a0\u202f" and end - start <= 2 and (time := time_at(text, start)) is not None:
        return time[0], Quantity(text[start : time[0]], minutes=time[1])
    if follows == "." and (dotted := _DOTTED.match(text, start)) is not None and not _in_groups(dotted[0]):
        return dotted.end(), Quantity(dotted[0])
    if follows.isalpha() or follows in {"-", "_"}:
        mixed = _DIGIT_FIRST_ID.match(text[start : start + 100])
        if mixed is not None and len(mixed[0]) > 5:
            return start + mixed.end(), Quantity(mixed[0])
    return _number(text, start, end)


def _beginning(text: str, start: int, after: int) -> int:
    """Where the letters before the digits begin, if they make one token with them."""
    before = start
    while before > after and start - before < _MAX_LETTERS and (joins(text[before - 1]) or text[before - 1] in "-_"):
        before -= 1
    if before == start:
        return start
    while before < start and text[before] in "-_":
        before += 1
    is_time = before == after and text[before:start] == "T"  # behind a date
    return start if is_time or text[before:start] in CURRENCIES else before


def _word(text: str, before: int, start: int) -> tuple[int, Quantity | None]:
    """A token that begins with letters: an id when it has digits enough."""
    token = _TOKEN.match(text, before)
    end = max(token.end() if token is not None else 0, start + 1)
    written = text[before:end].rstrip("-_")
    is_id = len(written) > 5 and sum(map(str.isdecimal, written)) > 2
    return end, Quantity(written) if is_id else None


def _in_groups(digits: str) -> bool:
    """1.234.567"""
    first, *groups = digits.split(".")
    return len(first) < 4 and all(len(group) == 3 for group in groups)


def _number(text: str, start: int, end: int) -> tuple[int, Quantity | None]:
    found = number_at(text, start, end)
    digits, scale = found.digits, found.scale
    small = scale is None and len(digits) < 3 and digits.isdecimal() and int(digits) <= 10
    small = small and not _is_unit(found.behind) and text[start - 1 : start] not in _BEFORE
    return found.end, Quantity(text[start : found.end], (), None, readings(digits, scale), small)


def _is_unit(word: str) -> bool:
    """A Chinese or Japanese one has no blank behind it."""
    return word in _UNITS or (not word[:1].isascii() and word[:1] in _UNITS)
