"""National identity, tax and social security numbers: those with check digits or a form of their own.

Digits without separators count where the check leaves one number in a hundred, else only near the name of the number.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from otel_eval.scrub.rules.finding import Finding, Span, has, lowered, most_digits, scan, shape

# Look-behinds stand behind the first character: the engine then skips to a candidate quickly.
_LEFT = r"(?<![A-Za-z0-9_.+\-/].)"
_RIGHT = r"(?![A-Za-z0-9_]|[.\-/][0-9A-Za-z])"
_DIGITS = re.compile(rf"[0-9]{_LEFT}(?=(?:[ .\-]?[0-9AB]){{7}}+(?:-?[A-Z]|[ .\-]?[0-9]))")
_BUT_NINE = re.compile(rf"{_DIGITS.pattern}(?![0-9]{{8}}(?![0-9\-]))")
# The same in the shape of a text, where a search is fast: what has neither has no number that begins with a digit.
_DIGITS_SHAPE = re.compile(rb" 0(?: ?[0a]){7}")
_BUT_NINE_SHAPE = re.compile(rb" 0(?!0{8}(?! ?0))(?: ?[0a]){7}")
_NIE = re.compile(rf"[XYZ](?<![A-Za-z0-9_].)-?[0-9]{{7}}-?[A-Z]{_RIGHT}")
_NINO = re.compile(
    rf"[A-CEGHJ-PR-TW-Z](?<![A-Za-z0-9_].)[A-CEGHJ-NPR-TW-Z]([ -]?)[0-9]{{2}}\1[0-9]{{2}}\1[0-9]{{2}}\1[A-D]{_RIGHT}",
)
_CODICE_FISCALE = re.compile(
    rf"[0-9](?<=[A-Za-z]{{6}}.)(?<![A-Za-z0-9_].{{7}})[0-9][A-EHLMPRSTa-ehlmprst][0-9L-NP-V]{{2}}[A-Za-z][0-9L-NP-V]{{3}}[A-Za-z]{_RIGHT}"
)
_Accept = Callable[[re.Match[str]], Span | None]

_FEWEST = 8
_SSN_NAMES = ("ssn", "social security", "social-security")
_BSN_NAMES = ("bsn", "burgerservice", "sofi")
_NO_NINO = frozenset({"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"})
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ODD: Final = dict(
    zip(
        _ALPHABET,
        [
            int(value)
            for value in "1 0 5 7 9 13 15 17 19 21 1 0 5 7 9 13 15 17 19 21 2 4 18 20 11 3 6 8 12 14 16 10 22 25 24 23".split()
        ],
        strict=True,
    )
)
"""What a character in an odd place of a codice fiscale counts."""


def find(text: str) -> Iterator[Finding]:
    """US social security numbers, British NINO, Spanish DNI and NIE, French NIR, German Steuer-ID, Italian codice
    fiscale, Brazilian CPF and Dutch BSN.

    >>> text = "SSN 078-05-1120, DNI 12345678Z, CPF 529.982.247-25, part 000-12-3456"
    >>> [text[f.start : f.end] for f in find(text)]
    ['078-05-1120', '12345678Z', '529.982.247-25']
    """
    digits = most_digits(text)
    if digits >= _FEWEST:
        low = lowered(text)
        nine = any(name in low for name in (*_SSN_NAMES, *_BSN_NAMES))
        if (_DIGITS_SHAPE if nine else _BUT_NINE_SHAPE).search(shape(text)):
            yield from scan(_DIGITS if nine else _BUT_NINE, text, "NATIONAL_ID", _any_form)
    for least, beginnings, pattern, accept in _WITH_LETTERS:
        if digits >= least and any(has(text, beginning) for beginning in beginnings):
            yield from scan(pattern, text, "NATIONAL_ID", accept)


def _near(match: re.Match[str], *names: str) -> bool:
    """Whether one of these names stands close before the candidate."""
    before = match.string[max(0, match.start() - 40) : match.start()].lower()
    return any(name in before for name in names)


def _ssn(match: re.Match[str]) -> Span | None:
    digits = match[0].replace(match[1], "") if match[1] else match[0]
    if digits[:3] in {"000", "666"} or digits[3:5] == "00" or digits[5:] == "0000":
        return None
    return match.span() if match[1] == "-" or _near(match, *_SSN_NAMES) else None


def _cpf(match: re.Match[str]) -> Span | None:
    digits = [int(character) for character in match[0] if character.isdecimal()]
    if not (match[1] or match[2] or _near(match, "cpf")) or len(set(digits)) == 1:
        return None
    for length in (9, 10):
        rest = sum(digit * weight for digit, weight in zip(digits, range(length + 1, 1, -1), strict=False)) * 10 % 11
        if digits[length] != rest % 10:
            return None
    return match.span()


def _nir(match: re.Match[str]) -> Span | None:
    number = match[0].replace(" ", "").replace("2A", "19").replace("2B", "18")
    return match.span() if int(number[-2:]) == 97 - int(number[:-2]) % 97 else None


def _steuer_id(match: re.Match[str]) -> Span | None:
    digits = [int(character) for character in match[0] if character != " "]
    if not match[1] and not _near(match, "steuer", "idnr", "identifikationsnummer", "tax id", "tin"):
        return None
    counts = sorted(digits[:10].count(digit) for digit in set(digits[:10]))
    if counts[-1] not in {2, 3} or counts[:-1] != [1] * (len(counts) - 1):  # one digit two or three times, no other twice
        return None
    product = 10
    for digit in digits[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return match.span() if (11 - product) % 10 == digits[10] else None


def _bsn(match: re.Match[str]) -> Span | None:
    digits = [int(character) for character in match[0] if character != "."]
    weighted = sum(digit * weight for digit, weight in zip(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True))
    return match.span() if weighted and weighted % 11 == 0 and _near(match, *_BSN_NAMES) else None


def _dni(match: re.Match[str]) -> Span | None:
    number = match[0][:-1].replace(".", "").rstrip("-")
    return match.span() if _DNI_LETTERS[int(number) % 23] == match[0][-1] else None


def _nie(match: re.Match[str]) -> Span | None:
    number = str("XYZ".index(match[0][0])) + match[0][1:-1].replace("-", "")
    return match.span() if _DNI_LETTERS[int(number) % 23] == match[0][-1] else None


def _nino(match: re.Match[str]) -> Span | None:
    return None if match[0][:2] in _NO_NINO else match.span()


def _codice_fiscale(match: re.Match[str]) -> Span | None:
    start, end = match.start() - 6, match.end()
    code = match.string[start:end].upper()
    even = sum(_ALPHABET.index(character) - (10 if character.isalpha() else 0) for character in code[1:15:2])
    total = even + sum(_ODD[character] for character in code[0:15:2])
    return (start, end) if total % 26 == _ALPHABET.index(code[15]) - 10 else None


_FORMS: Final[tuple[tuple[re.Pattern[str], _Accept], ...]] = tuple(
    (re.compile(form + _RIGHT), accept)
    for form, accept in (
        (r"[0-8][0-9]{2}([- ]?)[0-9]{2}\1[0-9]{4}", _ssn),
        (r"[0-9]{3}(\.?)[0-9]{3}\1[0-9]{3}(-?)[0-9]{2}", _cpf),
        (
            r"[1278]( ?)[0-9]{2}\1(?:0[1-9]|1[0-2]|[235-9][0-9]|4[0-2])\1(?:[0-9]{2}|2[AB])\1[0-9]{3}\1[0-9]{3} ?[0-9]{2}",
            _nir,
        ),
        (r"[1-9][0-9]( ?)[0-9]{3}\1[0-9]{3}\1[0-9]{3}", _steuer_id),
        (r"[0-9]{4}(\.?)[0-9]{2}\1[0-9]{3}", _bsn),
        (r"[0-9]{2}(\.?)[0-9]{3}\1[0-9]{3}-?[A-Z]", _dni),
    )
)
"""Forms that begin with a digit, tried where one stands."""


def _any_form(match: re.Match[str]) -> Span | None:
    for form, accept in _FORMS:
        if (candidate := form.match(match.string, match.start())) and (span := accept(candidate)):
            return span
    return None


_WITH_LETTERS: Final[tuple[tuple[int, tuple[bytes, ...], re.Pattern[str], _Accept], ...]] = (
    (7, (b" a0000000", b" a 0000000"), _NIE, _nie),
    (6, (b" aa00", b" aa 00"), _NINO, _nino),
    (0, (b" aaaaaa00",), _CODICE_FISCALE, _codice_fiscale),
)
"""Forms that begin with letters, each with the digits that it has at least, and the shapes that it begins with."""
