"""Numbers in texts of several languages: what a written number may mean, and whether it is a rounding of another one."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

_GROUP: Final = "[.,'\u2019 \u00a0\u2009\u202f]"
_SCALES: Final = {
    ("%", "percent", "per cent", "prozent", "pourcent", "pour cent", "por ciento", "por cento", "per cento", "procent"): (0.01,),
    ("\u2030",): (0.001,),
    ("k", "thousand", "thousands", "tausend", "tsd", "mille", "mil", "mila", "duizend"): (1e3,),
    ("m", "mn", "mio", "million", "millions", "millionen", "millón", "millones", "milhão", "milhões", "milione", "milioni",
     "miljoen"): (1e6,),
    ("bn", "mrd", "milliarde", "milliarden", "milliard", "milliards", "miliardo", "miliardi", "miljard"): (1e9,),
    ("b", "billion", "billions", "bilhão", "bilhões"): (1e9, 1e12),
    ("千",): (1e3,), ("万", "萬"): (1e4,), ("百万", "百萬"): (1e6,), ("千万", "千萬"): (1e7,), ("亿", "億"): (1e8,),
    ("tn", "trillion", "trillions", "billionen", "billón", "billones", "biljoen"): (1e12,),
}  # fmt: skip
_FACTORS: Final = {word: factors for words, factors in _SCALES.items() for word in words}
_MORE_DIGITS: Final = (
    rf"(?:\d{{0,2}}+(?P<sep>{_GROUP})\d{{3}}(?:(?P=sep)\d{{3}}){{0,20}}(?:[.,]\d{{1,20}})?(?!\d)"
    r"|\d{0,29}+(?:[.,]\d{1,30}+){0,20}+)"
)
CURRENCIES: Final = frozenset("EUR USD GBP CHF JPY CNY INR CAD AUD BRL MXN SEK NOK DKK PLN".split())
"""Codes that may stand right in front of a number. Other letters make a word of it: A25."""

_WITHOUT_BLANKS: Final = "\u3040-\u30ff\u3400-\u9fff"
LETTER: Final = rf"[^\W{_WITHOUT_BLANKS}]"
"""What makes one token with digits beside it; in Chinese and Japanese numbers and ids stand right beside words."""

# It stands behind the first digit: the engine then skips to a digit quickly.
_APART: Final = rf"(?:(?<!{LETTER}\d)|(?<=(?:{'|'.join(sorted(CURRENCIES))})\d))"
_SCALE: Final = r"[ \u00a0\u202f-]?(?P<behind>p(?:er|or|our) c[^\W\d_]{1,10}|[^\W\d_]{1,20}|[%‰°€$£¥₹])"
_NUMBER: Final = re.compile(rf"\d{_MORE_DIGITS}")
_BEHIND: Final = re.compile(_SCALE)
_WHOLE: Final = re.compile(rf"(\d{_APART}{_MORE_DIGITS})(?:{_SCALE})?")
_INITIALS: Final = "".join(sorted({sign for word in _FACTORS for sign in word[0] + word[0].upper() if sign.isalpha()}))
# A third faster, also since it passes over words that are no scale.
_WHOLE_ASCII: Final = re.compile(
    rf"(\d{_APART}{_MORE_DIGITS})(?:[ -]?(?P<behind>p(?:er|or|our) c[A-Za-z]{{1,10}}|[{_INITIALS}][A-Za-z]{{0,19}}+|%))?+",
    re.ASCII,
)
_LONGEST: Final = 40
# Digits and marks stay, letters become x, and everything else a blank.
_NUMERALS: Final = bytes(
    ord(sign if sign in "0123456789.,'" else "x" if sign.isascii() and (sign.isalpha() or sign == "_") else " ")
    for sign in map(chr, range(256))
)
_NUMERAL: Final = re.compile(rb" [.,']*+([0-9][0-9.,'x]*+)")
_SPACES: Final = re.compile("['\u2019 \u00a0\u2009\u202f]")
# From one on, in English, German, French and Spanish; then the tens from thirty to a hundred.
_ONES: Final = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
    " nineteen",
    "ein/eine/einen/einem/einer/eines zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn"
    " sechzehn siebzehn achtzehn neunzehn",
    "un/une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit dix-neuf",
    "un/una/uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete dieciocho"
    " diecinueve",
)
_TENS: Final = (
    "twenty thirty forty fifty sixty seventy eighty ninety hundred",
    "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert/einhundert",
    "vingt trente quarante cinquante soixante soixante-dix quatre-vingts/quatre-vingt quatre-vingt-dix cent",
    "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa cien/ciento",
)
_AS_WORDS: Final = {
    number: tuple(word for written in words for word in written.split("/"))
    for number, words in [
        *enumerate(zip(*(line.split() for line in _ONES), strict=True), start=1),
        *((10 * ten, words) for ten, words in enumerate(zip(*(line.split() for line in _TENS), strict=True), start=2)),
    ]
}


def joins(character: str) -> bool:
    """Whether a character makes one token with digits beside it; see `LETTER`.

    >>> joins("A"), joins("7"), joins("\u5ea6"), joins(" ")
    (True, True, False, False)
    """
    return character.isalnum() and not ("\u3040" <= character <= "\u30ff" or "\u3400" <= character <= "\u9fff")


class Reading(NamedTuple):
    """What a written number may mean, and the size of a step of its last digit that counts."""

    value: float
    step: float


class Written(NamedTuple):
    """A number as it is written: its digits with their marks, the word or sign behind it, and where both end."""

    digits: str
    scale: str | None
    behind: str
    end: int


def number_at(text: str, start: int, end: int) -> Written:
    """The number that begins at `start`, whose first digits go up to `end`.

    >>> number_at("1,250.50 Mio. EUR", 0, 1)
    Written(digits='1,250.50', scale='mio', behind='mio', end=12)
    """
    if text[end + 1 : end + 2].isdecimal() and (match := _NUMBER.match(text, start)) is not None:
        end = match.end()
    behind = _BEHIND.match(text, end)
    if behind is None:
        return Written(text[start:end], None, "", end)
    word = behind["behind"].lower()
    scale = _scale(word)
    return Written(text[start:end], scale, word, end if scale is None else behind.start("behind") + len(scale))


def _scale(word: str) -> str | None:
    """The scale that a word is, or begins with where words are written without blanks between them."""
    if word in _FACTORS or joins(word[:1]):
        return word if word in _FACTORS else None
    return next((word[:length] for length in (2, 1) if word[:length] in _FACTORS), None)


@lru_cache(maxsize=4096)  # years and prices come again and again
def readings(digits: str, scale: str | None = None) -> tuple[Reading, ...]:
    """All that a written number may mean; `1,234` may be a thousand or one and a bit.

    >>> readings("1.234,50"), readings("12", "%")
    ((Reading(value=1234.5, step=0.01),), (Reading(value=12.0, step=1.0), Reading(value=0.12, step=0.01)))
    """
    plain = [Reading(float(f"{whole}.{part}"), _step(whole, part)) for whole, part in _splits(digits)]
    factors = _FACTORS.get(scale or "", ())
    return (*plain, *(Reading(value * factor, step * factor) for value, step in plain for factor in factors))


def values(text: str, most: int) -> list[float] | None:
    """All that the numbers of a text may mean, sorted; None when there are more than `most`.

    >>> values("14 days, A4, 2 Mio. EUR", 100)
    [2.0, 14.0, 2000000.0]
    """
    matches = (_WHOLE_ASCII if text.isascii() else _WHOLE).finditer(text)
    found = list(islice(map(re.Match.groups, matches), most + 1))
    if len(found) > most:
        return None
    return sorted(
        {reading.value for digits, _, behind in set(found) for reading in readings(digits, behind and _scale(behind.lower()))}
    )


def plain_values(text: str) -> list[float]:
    """What the numbers of a text mean, sorted, but for those with a scale, in groups with blanks, or beside other scripts.

    It takes a fifth of the time of `values`, and is enough for most claims.

    >>> plain_values("14 days, A4, 2 Mio. EUR, 5kg, 0.1187.")
    [0.1187, 2.0, 5.0, 14.0]
    """
    if not text.isascii():
        return []
    tokens = set(_NUMERAL.findall(b" " + text.encode().translate(_NUMERALS)))
    return sorted({value for token in tokens if len(token) <= _LONGEST for value in _plain(token)})


@lru_cache(maxsize=4096)
def _plain(token: bytes) -> tuple[float, ...]:
    """What digits and marks mean; nothing where letters stand between them."""
    written = token.rstrip(b".,'").rstrip(b"x")
    return () if b"x" in written else tuple(reading.value for reading in readings(written.decode()))


def _splits(digits: str) -> Iterator[tuple[str, str]]:
    """The digits before and after the decimal mark, for each way to read it."""
    if " " in digits:  # two numbers, or one in groups
        yield from ((piece, "") for piece in digits.split(" ") if piece.isdecimal())
    bare = _SPACES.sub("", digits)
    marks = "".join(character for character in bare if character in ".,")
    if not marks:
        yield bare, ""
        return
    whole, _, part = bare.rpartition(marks[-1])
    *groups, last = re.split("[.,]", bare)
    if len(marks) == 1 or marks[:-1] == (len(marks) - 1) * marks[0] != marks[-1] * (len(marks) - 1):
        yield "".join(groups), part
    if len(set(marks)) == 1 and len(last) == 3 and whole != "0" and all(0 < len(group) < 4 for group in groups):
        yield "".join(groups) + last, ""
    elif len(marks) > 1 and len(set(marks)) == 1:  # 36,38,40 and 3..7
        yield from ((piece, "") for piece in (*groups, last) if piece)


def _step(whole: str, part: str) -> float:
    """A hundred in 12,300: zeros at the end may come from rounding, but two digits stay, and a year is no rounding."""
    if part:
        return float(f"1e-{len(part)}")
    zeros = len(whole) - len(whole.rstrip("0"))
    if not zeros or len(whole) < 3 or (len(whole) == 4 and "1900" <= whole <= "2100"):
        return 1.0
    return float(10 ** min(zeros, len(whole) - 2))


def is_rounding(reading: Reading, known: Sequence[float]) -> bool:
    """Whether it is one of the known values (sorted), rounded to the digits that it has.

    >>> is_rounding(Reading(3.14, 0.01), [3.14159]), is_rounding(Reading(3.14, 0.01), [3.1])
    (True, False)
    """
    reach = reading.step / 2 * (1 + 1e-9) + abs(reading.value) * 4e-16
    index = bisect_left(known, reading.value - reach)
    return index < len(known) and known[index] <= reading.value + reach


def is_spoken(value: float, lowered: str) -> bool:
    """Whether a whole number up to twenty, or a ten up to a hundred, stands in the text in lower case as a word.

    >>> is_spoken(30, "within thirty days"), is_spoken(30, "within dreißig tagen"), is_spoken(31, "within thirty days")
    (True, True, False)
    """
    words = _AS_WORDS.get(int(value), ()) if value == int(value) else ()
    return any(word in lowered and re.search(rf"\b{word}\b", lowered) is not None for word in words)
