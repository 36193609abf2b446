"""What a rule finds, and the one loop that looks for it."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import NamedTuple


class Finding(NamedTuple):
    """A value stands at `text[start:end]`; `type` is what it is, as the placeholder says it: EMAIL, CARD ..."""

    start: int
    end: int
    type: str


Rule = Callable[[str], Iterable[Finding]]
"""Finds the values of one kind in a text: in time linear in its length, for any text, without raising."""

Span = tuple[int, int]

_SURROGATE = re.compile("[\ud800-\udfff]")
_SHAPES = bytes(0x30 if 0x30 <= code < 0x3A else 0x61 if chr(code).isalpha() and code < 128 else 0x20 for code in range(256))
_DIGITS = bytes(code if 0x30 <= code < 0x3A else 0x20 for code in range(256))
_BETWEEN_DIGITS = b" .-/()" + bytes(range(128, 256))


def scan(pattern: re.Pattern[str], text: str, kind: str, accept: Callable[[re.Match[str]], Span | None]) -> Iterator[Finding]:
    """The candidates of `pattern` that `accept` takes, each with the part of it that is the value.

    Behind a refused candidate the search goes on at its second character, since a value may begin inside of it. This is
    linear as long as the pattern matches a bounded number of characters and `accept` looks at a bounded number.
    """
    position = 0
    while match := pattern.search(text, position):
        if span := accept(match):
            yield Finding(*span, kind)
            position = span[1]
        else:
            position = match.start() + 1


class Text(str):
    """A text that keeps what several rules want to know of it."""

    @cached_property
    def in_lower_case(self) -> str:
        """See `lowered`."""
        return self.replace("\u0130", "I").lower()  # the one character whose lower case is longer

    @cached_property
    def shape(self) -> bytes:
        """See `shape`."""
        return b" " + self.encode(errors="replace").translate(_SHAPES)

    @cached_property
    def has_digit_behind_letters(self) -> bool:
        """See `has`."""
        return b"aa0" in self.shape

    @cached_property
    def most_digits(self) -> int:
        """See `most_digits`."""
        numbers = self.encode(errors="replace").translate(_DIGITS, _BETWEEN_DIGITS).split()
        return max(map(len, numbers), default=0)


def _kept(text: str) -> Text:
    return text if isinstance(text, Text) else Text(text)


def lowered(text: str) -> str:
    """The text in lower case, each character at its place: a search in it is much faster than one that ignores case."""
    return _kept(text).in_lower_case


def shape(text: str) -> bytes:
    """The text with `0` for each digit, `a` for each letter of ASCII and a blank for anything else, one in front of it all.

    To look for a sequence in it takes a tenth of the time of an expression.
    """
    return _kept(text).shape


def has(text: str, sequence: bytes) -> bool:
    """Whether a sequence stands in the shape of a text.

    Most texts have no digit right behind two letters, and to look for that once is much faster than for longer sequences.
    """
    kept = _kept(text)
    return (b"aa0" not in sequence or kept.has_digit_behind_letters) and sequence in kept.shape


def most_digits(text: str) -> int:
    """How many digits stand together at most, when what people write between the digits of a number is left out."""
    return _kept(text).most_digits


def encodable(text: str) -> str:
    """The text with U+FFFD for what is not Unicode (half surrogates), each character at its place."""
    return _SURROGATE.sub("\ufffd", text)
