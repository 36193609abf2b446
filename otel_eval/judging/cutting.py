"""Making what is shown to a judge fit its budget, as lines of JSON.

Of too many steps the first, the last and those that failed are kept; then the longest texts lose their middle, all to the
same length, except that core items (question, answer, system prompt, reference) may be four times as long. What was
left out is said by structure (`left_out`, `left_out_characters`), which no content can write. Bytes and time are bounded
by the budget, whatever the trace holds.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from otel_eval.judging import injection
from otel_eval.judging.injection import Finding
from otel_eval.judging.material import Item
from otel_eval.traces.values import to_text

MIN_BYTES: Final = 5_000
"""The smallest budget that is kept whatever the items are."""

_BYTES_PER_STEP: Final = 800
_CORE_WEIGHT: Final = 4
_CUT_BYTES: Final = 70
"""What the JSON around a cut text takes at most."""

_MAX_FINDINGS: Final = 20
_JSON: Final = json.JSONEncoder(ensure_ascii=False)


class Cut(msgspec.Struct, frozen=True):
    """Lines within the budget. `texts` are their contents, each piece of a cut text by itself."""

    lines: tuple[str, ...]
    texts: tuple[str, ...]
    findings: tuple[Finding, ...]
    left_out_characters: int
    left_out_steps: int


def cut(items: Sequence[Item], budget: int) -> Cut:
    """Clean the texts of these items and make them fit so many bytes of UTF-8, at least `MIN_BYTES`."""
    kept = _kept(items, max(4, budget // _BYTES_PER_STEP))
    slots = [{name: _Slot(to_text(value), item.core) for name, value in item.texts.items()} for item, _ in kept]
    flat = [slot for named in slots for slot in named.values()]
    for slot, limit in _limits([(slot, len(slot.head)) for slot in flat], budget):
        slot.shorten(limit / len(slot.head))
    hidden = [finding for slot in flat for finding in slot.clean()]
    around = sum(_bytes_around(item, gap) for item, gap in kept)
    for slot, limit in _limits([(slot, slot.size) for slot in flat], budget - around):
        slot.fit(int(limit))
    texts = tuple(text for slot in flat for text in (slot.head, slot.tail) if text)
    spoken = injection.phrases_in(dict.fromkeys(texts))
    found = {finding.kind: finding for finding in (*spoken, *hidden)}
    return Cut(
        tuple(
            text
            for (item, gap), named in zip(kept, slots, strict=True)
            for text in _lines(item, gap, {name: slot.shown() for name, slot in named.items()})
        ),
        texts,
        tuple(found.values())[:_MAX_FINDINGS],
        sum(slot.left_out for slot in flat),
        sum(gap for _, gap in kept),
    )


def _kept(items: Sequence[Item], limit: int) -> list[tuple[Item, int]]:
    """The items that are shown, each with the number of steps that were left out before it."""
    steps = [index for index, item in enumerate(items) if not item.core]
    chosen = set(steps)
    if len(steps) > limit:
        third = limit // 3
        chosen = {*steps[:third], *[index for index in steps if items[index].failing][-third:]}
        chosen.update([index for index in reversed(steps) if index not in chosen][: limit - len(chosen)])
    kept, gap = [], 0
    for index, item in enumerate(items):
        if item.core or index in chosen:
            kept.append((item, gap))
            gap = 0
        else:
            gap += 1
    return kept


def _limits(sized: Sequence[tuple["_Slot", int]], budget: int) -> Iterator[tuple["_Slot", float]]:
    """The slots that must be shortened, and to what, so that all together fit: as much for each, by weight."""
    left, weights = float(max(0, budget)), sum(slot.weight for slot, _ in sized)
    by_share = sorted(sized, key=lambda entry: entry[1] / entry[0].weight)
    for index, (slot, size) in enumerate(by_share):
        if size > left * slot.weight / weights:
            yield from ((other, left * other.weight / weights) for other, _ in by_share[index:])
            return
        left, weights = left - size, weights - slot.weight


def _lines(item: Item, gap: int, texts: dict[str, Any]) -> list[str]:
    """The item on its line, and the steps left out before it on one of their own."""
    turn = {} if item.turn is None else {"turn": item.turn}
    here = line({"part": item.part, **turn, **texts})
    return [line({"part": "left_out", "steps": gap}), here] if gap else [here]


def _bytes_around(item: Item, gap: int) -> int:
    """What the item takes beside the contents of its texts."""
    return sum(len(text) + 1 for text in _lines(item, gap, dict.fromkeys(item.texts, "")))


def line(value: Any) -> str:
    """JSON on one line in which nothing looks like a tag."""
    return _json(value).replace("<", "\\u003c").replace(">", "\\u003e")


def _json(value: Any) -> str:
    """As the encoder would write it, which makes ready anew for each object and is fast for texts only."""
    if isinstance(value, dict):
        return f"{{{', '.join([f'{_JSON.encode(key)}: {_json(item)}' for key, item in value.items()])}}}"
    return _JSON.encode(value)


class _Slot:
    """A text, or the beginning and the end of one."""

    def __init__(self, text: str, core: bool) -> None:
        self.head, self.tail = text, ""
        self.weight = _CORE_WEIGHT if core else 1
        self.left_out = 0

    @property
    def size(self) -> int:
        """Bytes in the prompt at most, without quotes."""
        return len(line(self.head).encode()) + len(line(self.tail).encode()) - 4 + (_CUT_BYTES if self.left_out else 0)

    def clean(self) -> Iterator[Finding]:
        """Take out what nobody sees, and tell of it."""
        for name in ("head", "tail"):
            cleaned = injection.clean(getattr(self, name))
            setattr(self, name, cleaned.text)
            yield from (injection.Finding(kind, injection.excerpt(cleaned.text)) for kind in cleaned.hidden)

    def fit(self, limit: int) -> None:
        """Shorten to so many bytes, those of the JSON around a cut text included."""
        share = 1.0
        while self.size > limit and (self.head or self.tail):
            content = self.size - (_CUT_BYTES if self.left_out else 0)
            self.shorten(share * max(0, limit - _CUT_BYTES) / content)
            share *= 0.9  # what is kept may have more bytes a character than what is not

    def shorten(self, share: float) -> None:
        """Keep this share of the characters, two thirds of them from the beginning."""
        head, tail = self.head, self.tail
        if not self.left_out:
            middle = -(-len(head) * 2 // 3)
            head, tail = head[:middle], head[middle:]
        self.head, self.tail = head[: int(len(head) * share)], tail[len(tail) - int(len(tail) * share) :]
        self.left_out += len(head) + len(tail) - len(self.head) - len(self.tail)

    def shown(self) -> Any:
        """As JSON."""
        if not self.left_out:
            return self.head
        pieces = {"begins": self.head, "left_out_characters": self.left_out, "ends": self.tail}
        return {name: value for name, value in pieces.items() if value != ""}
