"""Texts read through their escapes: JSON in a string writes a line end as `\\n`, and an e-mail address may follow it."""

import re
from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

# JSON in JSON doubles the backslashes with each level.
_ESCAPE = re.compile(r"\\\\{0,14}+(?:u([0-9A-Fa-f]{4})|([nrtbf\"'/]))")
_MEANING = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "/": "/"}


class Reading(NamedTuple):
    """What a text says, and `place`, which turns a position in it (between two characters) into one in the text as written.

    A place before an escape's character is the beginning of the escape, one behind it its end.
    """

    text: str
    place: Callable[[int], int]


def read(text: str) -> Reading:
    r"""The text with its JSON escapes read, at any depth of JSON in JSON; a text without them is itself.

    >>> reading = read(r'{"to":"\u0041\njane@x.com"}')
    >>> reading.text.index("jane"), reading.place(reading.text.index("jane"))
    (9, 15)
    """
    if "\\" not in text:
        return Reading(text, int)
    shifts = cache(lambda: _shifts(text))

    def place(position: int) -> int:
        characters, more = shifts()
        return position + more[bisect_left(characters, position)]

    return Reading(_said(text), place)


def _said(text: str) -> str:
    if "\\\\" in text or "\\u" in text:
        return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _MEANING[match[2]], text)
    for letter, meaning in _MEANING.items():
        text = text.replace(f"\\{letter}", meaning)
    return text


def _shifts(text: str) -> tuple[list[int], list[int]]:
    """The positions of the characters that were escapes, in what is said; and how many characters more are written than said.

    The latter before the first, second ... of them. Only for a text in which something is found: this is slow.
    """
    characters: list[int] = []
    shifts = [0]
    said = end = 0
    for match in _ESCAPE.finditer(text):
        said += match.start() - end
        characters.append(said)
        said += 1
        end = match.end()
        shifts.append(end - said)
    return characters, shifts
