"""Dates and times of day in texts of several languages."""

import re
from typing import Final, NamedTuple

_MONTHS: Final = (
    "january jan januar janvier enero gennaio janeiro januari ene",
    "february feb februar février febrero febbraio fevereiro februari fév fev",
    "march mar märz mars marzo março maart mär mrt",
    "april apr avril abril aprile avr abr",
    "may mai mayo maggio maio mei",
    "june jun juni juin junio giugno junho",
    "july jul juli juillet julio luglio julho juil",
    "august aug août agosto augustus",
    "september sep sept septembre septiembre settembre setembro",
    "october oct oktober okt octobre octubre ottobre outubro",
    "november nov novembre noviembre novembro",
    "december dec dezember dez décembre diciembre dicembre dezembro déc dic",
)
_MONTH_OF: Final = {name: number for number, names in enumerate(_MONTHS, start=1) for name in names.split()}
_BEGINNINGS: Final = frozenset(name[:3] for name in _MONTH_OF)
_NAME: Final = r"[^\W\d_]{3,10}"  # looked up then: faster than all names in an expression
_WITH_DIGIT_FIRST: Final = re.compile(
    r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})(?:[-/.](?P<d>\d{1,2}))?(?=T\d|(?![\w-]|[/.]\d))"
    r"|(?P<a>\d{1,2})[./-](?P<b>\d{1,2})[./-](?P<c>\d{4}|\d{2})(?!\w|[./-]\d)"
    r"|(?P<day>\d{1,2})(?:st|nd|rd|th|er|\.|º|ª)?\s{1,2}(?:of\s|de\s)?"
    rf"(?P<month>{_NAME})\b\.?(?:,?\s{{1,2}}(?:de\s|del\s)?(?P<year>\d{{4}})(?!\d))?"
    r"|(?P<cy>\d{4})年(?P<cm>\d{1,2})月(?:(?P<cd>\d{1,2})日)?",
    re.IGNORECASE,
)
_AHEAD: Final = re.compile(r"(?:st|nd|rd|th|er|\.|º|ª)?\s{1,2}(?:of\s|de\s)?([^\W\d_]{3})", re.IGNORECASE)
_MONTH_BEFORE: Final = re.compile(rf"\b({_NAME})\.?\s{{1,2}}(?:de\s)?$", re.IGNORECASE)
_WORD_AT_END: Final = re.compile(r"([^\W\d_]{3})[^\W\d_]{0,7}\.?$")  # of (March and **March too
_BEHIND_MONTH: Final = re.compile(
    r"(?:(?P<day>\d{1,2})(?:st|nd|rd|th)?(?![\d:%])(?:,?\s{1,2}(?P<year>\d{4})(?!\d))?|(?P<only_year>\d{4})(?!\d))", re.IGNORECASE
)
_LONGEST_MONTH: Final = 16
_TIME: Final = re.compile(
    r"(?P<hour>\d{1,2})(?:[:h](?P<minute>[0-5]\d)(?::[0-5]\d)?(?:\s?(?P<half>[ap])\.?m\b)?|\s?(?P<only_half>[ap])\.?m\b)(?!\d)",
    re.IGNORECASE,
)


class Date(NamedTuple):
    """What is said of a date; None is not said."""

    year: int | None
    month: int
    day: int | None


class Found(NamedTuple):
    """A date in a text: where it is, and what it may mean."""

    start: int
    end: int
    dates: tuple[Date, ...]


def may_be_date(text: str, start: int, end: int) -> bool:
    """Whether it is worth while to look for a date around the digits from `start` to `end`: most numbers have none."""
    follows = text[end : end + 1]
    if follows and follows in "-/.年" and (text[end + 1 : end + 2].isdecimal() or follows == "年"):
        return True
    ahead = _AHEAD.match(text, end)
    if ahead is not None and ahead[1].lower() in _BEGINNINGS:
        return True
    if not text[start - 1 : start].isspace():
        return False
    before = text[max(0, start - _LONGEST_MONTH) : start].rsplit(None, 2)
    if before and before[-1].lower() == "de":
        before.pop()
    word = _WORD_AT_END.search(before[-1]) if before else None
    return word is not None and word[1].lower() in _BEGINNINGS


def date_at(text: str, start: int) -> Found | None:
    """The date that has its first digit at `start`: ISO, 5.3.2024, 3/5/24, 2024年3月5日, or with a month's name.

    >>> date_at("on 3/5/2024", 3).dates
    (Date(year=2024, month=5, day=3), Date(year=2024, month=3, day=5))
    >>> date_at("on 7. Mai", 3), date_at("am Mai 2024", 7)
    (Found(start=3, end=9, dates=(Date(year=None, month=5, day=7),)), Found(start=3, end=11, dates=(Date(year=2024, month=5, day=None),)))
    """  # noqa: E501
    match = _WITH_DIGIT_FIRST.match(text, start)
    if match is not None:
        found = _dates(match)
        return Found(start, match.end(), found) if found else None
    before = _MONTH_BEFORE.search(text[max(0, start - _LONGEST_MONTH) : start]) if text[start - 1 : start].isspace() else None
    match = _BEHIND_MONTH.match(text, start) if before is not None else None
    if before is None or match is None:
        return None
    date = Date(_number(match["year"] or match["only_year"]), _MONTH_OF.get(before[1].lower(), 0), _number(match["day"]))
    return Found(start - len(before[0]), match.end(), (date,)) if _is_date(date) else None


def _dates(match: re.Match[str]) -> tuple[Date, ...]:
    year, month, day, first, second, last, named_day, name, named_year, cjk_year, cjk_month, cjk_day = match.groups()
    found: tuple[Date, ...]
    if first:
        left, right, full = int(first), int(second), _full_year(last)
        found = (Date(full, right, left),) if left == right else (Date(full, right, left), Date(full, left, right))
    elif name:
        found = (Date(_number(named_year), _MONTH_OF.get(name.lower(), 0), int(named_day)),)
    else:
        found = (Date(int(year or cjk_year), int(month or cjk_month), _number(day or cjk_day)),)
    return tuple([date for date in found if _is_date(date)])


def _full_year(written: str) -> int:
    year = int(written)
    return year if len(written) == 4 else year + (2000 if year < 70 else 1900)


def _number(written: str | None) -> int | None:
    return None if written is None else int(written)


def _is_date(date: Date) -> bool:
    return 1 <= date.month <= 12 and (date.day is None or 1 <= date.day <= 31)


def time_at(text: str, start: int) -> tuple[int, int] | None:
    """The end, and the minutes since midnight, of the time of day at `start`: 14:30, 14h30, 2:30 pm, 2 p.m.

    >>> time_at("at 2:30 pm", 3), time_at("at 14h30", 3)
    ((10, 870), (8, 870))
    """
    match = _TIME.match(text, start)
    if match is None:
        return None
    hour, half = int(match["hour"]), (match["half"] or match["only_half"] or "").lower()
    hour = hour % 12 + 12 * (half == "p") if half else hour
    return match.end(), 60 * hour + int(match["minute"] or 0)


def is_said(date: Date, known: set[Date], text: str) -> bool:
    """Whether one of the known dates is this one, as far as it goes; a year may also stand elsewhere in the text.

    >>> march = {Date(2024, 3, 5)}
    >>> is_said(Date(None, 3, 5), march, ""), is_said(Date(2024, 3, None), march, ""), is_said(Date(2023, 3, 5), march, "")
    (True, True, False)
    """
    for other in known:
        if other.month != date.month or (date.day is not None and other.day != date.day):
            continue
        if date.year in {None, other.year} or (other.year is None and str(date.year) in text):
            return True
    return False
