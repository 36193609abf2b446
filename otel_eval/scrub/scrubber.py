"""Replacing what the rules find, the same value by the same placeholder within one trace."""

import fnmatch
import functools
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

from otel_eval.scrub.config import ScrubConfig
from otel_eval.scrub.reading import read
from otel_eval.scrub.rules import RULES
from otel_eval.scrub.rules.finding import Finding, Rule, Text

PLACEHOLDER: Final = re.compile(r"<[A-Z][A-Z0-9_]{0,39}_[1-9][0-9]{0,8}>")
"""What stands for a value: its type and number."""

_ROUNDS = 8
"""A replaced value may leave a new end for its neighbour, so a text is looked at until nothing is found, at most so often."""

_COMPACT = frozenset({"CARD", "IBAN", "NATIONAL_ID", "PHONE"})
"""Types whose values are the same with other separators."""

_TOGETHER = 1 << 16
"""Characters of texts that rules are tried on at once."""

APART = "\n\0\n"
"""Between texts that are joined: no built-in rule reads across it, neither a value nor what stands before or behind one."""

_NUMBERS = 999_999_999
_LEAST_KNOWN, _MOST_KNOWN = 6, 200
_MAX_DEPTH = 64
_BUILT_IN = frozenset(RULES.values())
_JSON_KEY = re.compile(r"(\\*[\"'])\s{0,4}:\s{0,4}$")
_JSON_END = re.compile(r"\s*(?:[,}\]]|$)")


def find(text: str, rules: Iterable[Rule]) -> list[Finding]:
    """What the rules find in a text, in order, without overlaps: where two claim the same characters, the first rule has them.

    Escapes of JSON are read through; placeholders are left alone.

    >>> find("mail jane@x.com", [RULES["email"]])
    [Finding(start=5, end=15, type='EMAIL')]
    """
    reading = read(text)
    said = Text(reading.text)
    found: list[Finding] = []
    taken: bytearray | None = None
    for rule in rules:
        for finding in rule(said):
            if taken is None:
                taken = _placeholders(said)
            if taken.find(1, finding.start, finding.end) < 0:
                taken[finding.start : finding.end] = b"\1" * (finding.end - finding.start)
                found.append(finding)
    found.sort()
    return [Finding(reading.place(start), reading.place(end), kind) for start, end, kind in found]


def _together(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in their order, as many at a time as have about `_TOGETHER` characters."""
    found: list[str] = []
    size = 0
    for text in texts:
        if found and size + len(text) > _TOGETHER:
            yield found
            found, size = [], 0
        found.append(text)
        size += len(text)
    if found:
        yield found


def _placeholders(text: str) -> bytearray:
    """A byte for each character: 1 where a placeholder stands."""
    taken = bytearray(len(text))
    for match in PLACEHOLDER.finditer(text):
        taken[match.start() : match.end()] = b"\1" * (match.end() - match.start())
    return taken


class Scrubber:
    """Scrubs what belongs to one trace. It alone holds the values: they cannot be read, printed or pickled.

    The n-th value of a type is `<TYPE_n>`, counted in order of first occurrence, so the same texts in the same order give
    the same result. With a `key` the number is a hash of the value by that key: the same in all scrubbers that have it.

    >>> scrubber = Scrubber(ScrubConfig())
    >>> scrubber.text("ann@x.org to bob@x.org"), scrubber.text("reply of Bob@x.org")
    ('<EMAIL_1> to <EMAIL_2>', 'reply of <EMAIL_2>')
    """

    __slots__ = ("_allowed", "_counts", "_denied", "_key", "_known", "_numbers", "_rules")

    def __init__(self, config: ScrubConfig, key: bytes | None = None) -> None:
        self._rules = [*_rules(config), self._find_known]
        self._allowed, self._denied = config.attributes.allow, config.attributes.deny
        self._key = key
        self._numbers: dict[tuple[str, str], int] = {}
        self._counts: Counter[str] = Counter()
        self._known: dict[str, str] = {}  # from value to type, the longest first

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Scrubber holds what was scrubbed, and stays where it is")

    @property
    def counts(self) -> Mapping[str, int]:
        """How many values of each type have been found."""
        return self._counts

    def text(self, text: str) -> str:
        """The text with every value that a rule finds, and every one found before, replaced."""
        return self._text(text, self._rules)

    def texts(self, texts: Iterable[str]) -> Iterator[str]:
        """What `text` makes of each of them, one after the other; of many it takes less than half of the time."""
        for together in _together(texts):
            rules = self._rules_for(together)
            if rules == [self._find_known] and not self._known:
                yield from together
            else:
                yield from (self._text(text, rules) for text in together)

    def _rules_for(self, texts: Sequence[str]) -> list[Rule]:
        """The rules without the built-in ones that find nothing in all of these texts."""
        joined = Text(APART.join(read(text).text for text in texts))
        return [rule for rule in self._rules if rule not in _BUILT_IN or any(rule(joined))]

    def _text(self, text: str, rules: Sequence[Rule]) -> str:
        """`rules` are those that may find something in the text as it is."""
        for _ in range(_ROUNDS):
            found = find(text, rules)
            if not found:
                break
            text, rules = self._replace(text, found), self._rules
        return text

    def known(self, text: str) -> str:
        """The text with the values replaced that have been found so far, also where no rule sees them.

        A password is found behind its name only, and may stand alone elsewhere. This is done for the first 200 values that
        have six characters or more and a digit or @ among them.
        """
        return self._replace(text, find(text, [self._find_known]))

    @property
    def chooses(self) -> bool:
        """Whether there are attributes that may not go."""
        return bool(self._allowed or self._denied)

    def goes(self, key: str) -> bool:
        """Whether an attribute of this key may go."""
        return not _matches(self._denied, key) and (not self._allowed or _matches(self._allowed, key))

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that may go, with every text in them scrubbed, keys too; deeper than 64 levels nothing goes."""
        return {self.text(key): self.value(value) for key, value in attributes.items() if self.goes(key)}

    def value(self, value: Any) -> Any:
        """A value as JSON has it, with every text in it scrubbed, keys too; deeper than 64 levels nothing goes."""
        return self._value(value, 0)

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict | list | tuple):
            if depth == _MAX_DEPTH:
                return None
            if isinstance(value, dict):
                return {self.text(str(key)): self._value(item, depth + 1) for key, item in value.items()}
            return [self._value(item, depth + 1) for item in value]
        return value

    def _replace(self, text: str, found: Sequence[Finding]) -> str:
        pieces: list[str] = []
        done = 0
        for start, end, kind in found:
            pieces += (text[done:start], _in_json(text, start, end, self._placeholder(kind, read(text[start:end]).text)))
            done = end
        return "".join(pieces) + text[done:]

    def _placeholder(self, kind: str, value: str) -> str:
        key = (kind, _canonical(kind, value))
        if key not in self._numbers:
            self._counts[kind] += 1
            self._numbers[key] = self._counts[kind] if self._key is None else _hashed(self._key, key)
        if value not in self._known and len(self._known) < _MOST_KNOWN and _is_telling(value):
            self._known[value] = kind
            self._known = dict(sorted(self._known.items(), key=lambda item: -len(item[0])))
        return f"<{kind}_{self._numbers[key]}>"

    def _find_known(self, text: str) -> Iterator[Finding]:
        for value, kind in self._known.items():
            start = text.find(value)
            while start >= 0:
                yield Finding(start, start + len(value), kind)
                start = text.find(value, start + len(value))


def _hashed(key: bytes, value: tuple[str, str]) -> int:
    """A number of up to nine digits."""
    digest = hmac.digest(key, "\0".join(value).encode(errors="surrogatepass"), "sha256")
    return int.from_bytes(digest[:8]) % _NUMBERS + 1


def _rules(config: ScrubConfig) -> list[Rule]:
    """In order of precedence: the user's own, the built-in ones in the order of their table, Presidio's."""
    rules: list[Rule] = [functools.partial(pattern.find, kind=name.upper()) for name, pattern in config.custom.items()]
    rules += [rule for name, rule in RULES.items() if name in config.rules]
    if config.presidio:
        from otel_eval.scrub import presidio

        rules.append(presidio.find)
    return rules


def _canonical(kind: str, value: str) -> str:
    """What two ways of writing one value have in common."""
    if kind == "SECRET":
        return value
    if kind in _COMPACT:
        return "".join(filter(str.isalnum, value)).upper()
    return value.replace("%40", "@").casefold()


def _is_telling(value: str) -> bool:
    """Whether a value is nothing that stands in texts by chance."""
    return len(value) >= _LEAST_KNOWN and any(character.isdecimal() or character == "@" for character in value)


def _in_json(text: str, start: int, end: int, placeholder: str) -> str:
    """A placeholder for a number in JSON stands in the quotes of its key, so that the text stays JSON."""
    if text[start:end].isdecimal() and _JSON_END.match(text, end):
        key = _JSON_KEY.search(text, max(0, start - 48), start)
        if key:
            return f"{key[1]}{placeholder}{key[1]}"
    return placeholder


@functools.lru_cache(maxsize=64)
def _keys(patterns: tuple[str, ...]) -> re.Pattern[str]:
    written = (pattern.replace("[", "[[]").replace("?", "[?]") for pattern in patterns)
    return re.compile("|".join(map(fnmatch.translate, written)))


def _matches(patterns: tuple[str, ...], key: str) -> bool:
    return bool(patterns) and bool(_keys(patterns).match(key))
