"""Phone numbers: international ones, national ones in the forms that people write, and any behind a word for phones.

There is no check digit, so the form decides. A run of digits alone counts only behind such a word: ids, timestamps and
amounts look the same.
"""

import re
from collections.abc import Iterator
from typing import Final

from otel_eval.scrub.rules.finding import Finding, Span, lowered, most_digits, scan, shape

# Look-behinds stand behind the first character: the engine then skips to a candidate quickly.
_FEWEST: Final = 7
_LEFT = r"(?<![A-Za-z0-9_.+\-/#$€£].)"
_RIGHT = r"(?![A-Za-z0-9_]|[.\-/,:][0-9])"
_PLUS = re.compile(r"\+(?<![A-Za-z0-9_+]\+)\(?[1-9][0-9 .\-/()\u00a0\u2011]{6,28}")
_ZEROS = re.compile(r"0(?<![A-Za-z0-9_.,+\-/#].)0(?=[1-9][0-9]{0,2}[ .\-/(])[0-9 .\-/()\u00a0]{7,28}")
_AMERICAN = re.compile(
    rf"[1-9]{_LEFT}(?:(?<=1)[-. ][2-9]|(?<!1))[0-9]{{2}}([-.])[2-9][0-9]{{2}}\1[0-9]{{4}}{_RIGHT}",
)
_BRACKETS = re.compile(
    rf"\((?<![A-Za-z0-9_].)(?:[2-9][0-9]{{2}}\)[ -]?[2-9][0-9]{{2}}|[1-9][1-9]\) ?9?[0-9]{{4}})[-. ][0-9]{{4}}{_RIGHT}",
)
_TRUNK = re.compile(rf"0{_LEFT}[1-9][0-9]{{0,4}}\)?[ \-/.]{{1,2}}[0-9]{{2,8}}(?:[ \-.][0-9]{{2,5}}){{0,4}}{_RIGHT}")
_SPANISH = re.compile(rf"[679]{_LEFT}[0-9]{{2}} [0-9]{{2}} [0-9]{{2}} [0-9]{{2}}{_RIGHT}")
_RUSSIAN = re.compile(rf"8{_LEFT}[ -]?\(?9[0-9]{{2}}\)?[ -][0-9]{{3}}[ -][0-9]{{2}}[ -]?[0-9]{{2}}{_RIGHT}")
_NUMBER = (
    r"(?:[ _-]?(?:number|nummer|n[uú]mero|num|no|nr|#)|号码?|號碼?|番号)?\.?[\"'`]?(?: is| at| on| es| ist| est| é|[是为為は])?"
    r"[\s:=\uff1a]{0,4}[\"'`]?\(?([0-9][0-9 .\-/()\u00a0]{5,22})(?![A-Za-z0-9_])"
)
# Patterns that begin with a literal are found at the speed of a substring, so there is one for each word.
_NAMES: Final = {
    stem: re.compile(stem + rest + _NUMBER)
    for stem, rest in {
        "phone": "",
        "telefon": "[eo]?",
        "tel": r"(?<!\w...)(?:[eé]fono)?",
        "tél": r"éphone",
        "mobile": "",
        "móvil": "",
        "movil": "",
        "celular": "",
        "portable": "",
        "whatsapp": "",
        "handynummer": "",
        "rufnummer": "",
        "cell": r"(?<!\w....)",
        "fax": r"(?<!\w...)",
        "call ": "(?:me|us|him|her|them)(?: back)?",
        "电话": "",
        "電話": "",
        "手机": "",
        "手機": "",
        "携帯": "",
        "телефон": "",
    }.items()
}
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-/.][01]?[0-9][-/.]|[0-3]?[0-9][-/.][01]?[0-9][-/.](?:19|20)[0-9]{2}(?![0-9])")

_TWO_DIGITS: Final = frozenset(
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 "
    "93 94 95 98".split()
)
_THREE_DIGITS = re.compile(r"2[1-69]|3[578]|42|50|59|6[789]|80|8[578]|9[679]")
_NATIONAL_LENGTHS: Final = {
    entry.partition(":")[0]: tuple(map(int, entry.partition(":")[2].split("-")))
    for entry in (
        "1:10-10 7:10-10 20:8-10 27:9-9 30:10-10 31:9-9 32:8-9 33:9-9 34:9-9 36:8-9 39:6-11 40:9-9 41:9-9 43:7-13 44:9-10 45:8-8 "
        "46:7-9 47:8-8 48:9-9 49:6-12 52:10-10 54:10-11 55:10-11 57:8-10 61:9-9 65:8-8 66:8-9 81:9-10 82:8-10 86:10-11 90:10-10 "
        "91:10-10 92:9-10 351:9-9 353:7-9 380:9-9 420:9-9 421:9-9 971:8-9 972:8-9"
    ).split()
}
"""Digits behind the country code, at least and at most, where they differ from `_OTHER_LENGTHS`."""

_OTHER_LENGTHS = (7, 11)
_NEVER_FIRST: Final = {"1": "01", "39": ""}
"""Digits that no national number begins with, where it is not the zero alone."""


def find(text: str) -> Iterator[Finding]:
    """Phone numbers.

    >>> text = "+44 20 7946 0958, (212) 555-0142, 06 12 34 56 78; phone: 5552368; id 5551234567"
    >>> [text[f.start : f.end] for f in find(text)]
    ['+44 20 7946 0958', '(212) 555-0142', '06 12 34 56 78', '5552368']
    """
    digits = most_digits(text)
    if digits < _FEWEST:
        return
    form = shape(text)
    for least, groups, pattern, accept in _FORMS:
        if digits >= least and groups in form:
            yield from scan(pattern, text, "PHONE", accept)
    low = lowered(text)
    for stem, pattern in _NAMES.items():
        if stem in low:
            yield from scan(pattern, low, "PHONE", _accept_named)


def _accept_international(match: re.Match[str]) -> Span | None:
    """From the sign or the zeros on, as many digits as numbers of that country have."""
    prefix = 2 if match[0][0] == "0" else 0
    places = [place for place, character in enumerate(match[0]) if character.isdecimal()][prefix:]
    digits = "".join(match[0][place] for place in places)
    code = _country_code(digits)
    if not code:
        return None
    least, most = _NATIONAL_LENGTHS.get(code, _OTHER_LENGTHS)
    trunk = 1 if "(0)" in match[0] else 0
    national = digits[len(code) + trunk :]
    if len(national) < least or national[0] in _NEVER_FIRST.get(code, "0"):
        return None
    end = match.start() + places[min(len(digits), len(code) + trunk + most) - 1] + 1
    follows = match.string[end : end + 1]
    return None if follows.isascii() and follows.isalnum() else (match.start(), end)


def _country_code(digits: str) -> str:
    if digits[:1] in {"1", "7"}:
        return digits[0]
    if digits[:2] in _TWO_DIGITS:
        return digits[:2]
    return digits[:3] if _THREE_DIGITS.match(digits) else ""


def _accept_trunk(match: re.Match[str]) -> Span | None:
    """A national number with its leading zero: 9 to 12 digits, and no date. Groups that are too many belong to something else."""
    written = match[0]
    while _digits(written) > 12:
        written = written.rstrip("0123456789")[:-1]
    if _digits(written) < 9 or _DATE.search(written):
        return None
    start = match.start() - (match.string[match.start() - 1 : match.start()] == "(")
    return start, match.start() + len(written)


def _accept_named(match: re.Match[str]) -> Span | None:
    """What stands behind a word for phones: 7 to 15 digits, and no date."""
    written = match[1].rstrip(" .-/()\u00a0")
    start = match.start(1) - (match.string[match.start(1) - 1] == "(")
    return (start, match.start(1) + len(written)) if 7 <= _digits(written) <= 15 and not _DATE.search(written) else None


def _digits(text: str) -> int:
    return sum(map(str.isdecimal, text))


_FORMS: Final = (
    (_FEWEST, b"", _PLUS, _accept_international),
    (_FEWEST, b"", _ZEROS, _accept_international),
    (10, b"000 000 0000", _AMERICAN, re.Match.span),
    (10, b"", _BRACKETS, re.Match.span),
    (9, b"000 00 00 00", _SPANISH, re.Match.span),
    (11, b"", _RUSSIAN, re.Match.span),
    (9, b"", _TRUNK, _accept_trunk),
)
"""Each with the digits that it has at least, and the groups in which they stand where there is one way only."""
