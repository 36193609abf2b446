"""Marks by which an answer names its sources: URLs, [1], [doc 2], [kb-17], and quotes in front of them."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_MARK: Final = re.compile(
    r"[\[(【](?:(?<=\[)\^?(?P<numbers>\d{1,3}(?:\s?[,;]\s?\d{1,3}){0,20})\](?!\()"
    r"|(?:doc|document|source|src|ref|reference|chunk|passage|context|quelle|dokument|fuente|fonte)s?\.?[ :#-]{0,3}"
    r"(?P<number>\d{1,3})[\])】]"
    r"|(?<!\()(?P<id>[A-Za-z0-9][\w.:/#-]{1,99})[\]】](?!\())",
    re.IGNORECASE,
)
# Without its first letter: the engine then skips to it quickly.
_URL: Final = re.compile(r"ttp(?<=[Hh]ttp)s?://[^\s<>\"'`\]}|\\^【】]{3,2000}")
_ENDS: Final = ".,;:!?*_~"
_QUOTE: Final = re.compile(r"[\"“„«](?P<quote>[^\"“”„«»\n]{20,1000})[\"”“»][.,]?\s{0,2}(?=[\[(【])")
_DIGITS: Final = re.compile(r"\d+")
_TYPOGRAPHY: Final = str.maketrans({**dict.fromkeys("“”„«»", '"'), "\u2018": "'", "\u2019": "'", "\u2013": "-", "\u2014": "-"})


class Citation(NamedTuple):
    """One mark, as it is written. One of the last four says what it points to."""

    written: str
    number: int | None = None
    url: str | None = None
    id: str | None = None
    quote: str | None = None


def citations(text: str, most: int) -> list[Citation]:
    """The citations of an answer, up to `most`. A word in brackets may be an id, or nothing.

    >>> [found.written for found in citations("It is tall [1, 2], see https://a.org/x. Also [kb-7].", 10)]
    ['https://a.org/x', '1', '2', 'kb-7']
    """
    found = [Citation(url, url=url) for url in _urls(text)]
    for match in _MARK.finditer(text):
        if match["id"]:
            found.append(Citation(match["id"], id=match["id"]))
        else:
            found += [Citation(number, number=int(number)) for number in _DIGITS.findall(match["numbers"] or match["number"])]
        if len(found) > most:
            break
    found += [Citation(match["quote"], quote=match["quote"]) for match in _QUOTE.finditer(text)]
    return found[:most]


def _urls(text: str) -> Iterator[str]:
    return (_trimmed(text[match.start() - 1 : match.end()]) for match in _URL.finditer(text))


def _trimmed(url: str) -> str:
    """Without what ends the sentence or the Markdown link around it."""
    url = url.rstrip(_ENDS)
    while url.endswith(")") and url.count("(") < url.count(")"):
        url = url[:-1].rstrip(_ENDS)
    return url


def urls(text: str) -> set[str]:
    """The URLs in a text, in the form of `bare`."""
    return set(map(bare, _urls(text)))


def bare(url: str) -> str:
    """A URL without what does not change where it leads: scheme, www, fragment, a slash at the end.

    >>> bare("HTTPS://www.a.org/x/#top")
    'a.org/x'
    """
    rest = url.partition("://")[2].partition("#")[0].rstrip("/")
    host, slash, path = rest.partition("/")
    return f"{host.lower().removeprefix('www.')}{slash}{path}"


def form(identity: str) -> str:
    """How an id is written: its letters, and 0 for each run of digits.

    >>> form("KB-17") == form("kb-2")
    True
    """
    return _DIGITS.sub("0", identity.lower())


def even(text: str) -> str:
    """A text as quotes are compared: capitals, blanks and typography made even."""
    return " ".join(text.translate(_TYPOGRAPHY).lower().split())
