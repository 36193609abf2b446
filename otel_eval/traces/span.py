"""Looking at one span: its attributes, its flattened attributes, its events, and the log records that belong to it."""

import re
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

from otel_eval.errors import PermanentError
from otel_eval.traces.values import MAX_ITEMS, Plain, decode
from otel_eval.wire import lens

_INDEX: Final = re.compile(r"\.(\d{1,6})\.")
_MAX_PATH: Final = 16
_MAX_DIGITS: Final = 9
_MAX_KEY: Final = 200  # of longer keys no path is remembered
_STATUS_OK: Final = 1
_STATUS_ERROR: Final = 2


def raw_attributes(attributes: lens.AttributeMap) -> dict[str, bytes]:
    """The encoded values by key. Keys that are not UTF-8 (protobuf hands them out as bytes) are left out."""
    return {key: attributes[key] for key in attributes if isinstance(key, str)}


class Event:
    """A span event, or a log record of the span: one form for both. `body` is None for span events."""

    __slots__ = ("_attributes", "_body", "name", "time_ns")

    def __init__(self, name: str, time_ns: int, attributes: Mapping[str, bytes], body: bytes = b"") -> None:
        self.name = name
        self.time_ns = time_ns
        self._attributes = attributes
        self._body = body

    def get(self, key: str) -> Plain:
        """An attribute's plain value, or None."""
        raw = self._attributes.get(key)
        return None if raw is None else decode(raw)

    def first(self, *keys: str) -> Plain:
        """The first of these attributes that is not None or empty text."""
        for key in keys:
            value = self.get(key)
            if value is not None and value != "":
                return value
        return None

    @property
    def attributes(self) -> dict[str, Plain]:
        """All attributes, decoded."""
        return {key: decode(raw) for key, raw in self._attributes.items()}

    @property
    def body(self) -> Plain:
        """The log record's body."""
        return decode(self._body) if self._body else None


class SpanReader:
    """One span, decoded as far as it is asked. Ids are hexadecimal, times nanoseconds.

    `logs` are events from log records that carry this span's ids; they must be there before anything is read.
    `found` and `places` are for `fields.read`.
    """

    def __init__(self, raw: lens.Span, scope: str = "", resource: Mapping[str, bytes] | None = None) -> None:
        self._raw = raw
        self.scope = scope
        self.resource: Mapping[str, bytes] = resource or {}
        self.trace_id = raw.trace_id.hex()
        self.span_id = raw.span_id.hex()
        self.parent_span_id = raw.parent_span_id.hex()
        self.name = raw.name.decode(errors="replace")[:1000]
        self.start_ns = raw.start_time_unix_nano
        self.end_ns = max(raw.end_time_unix_nano, raw.start_time_unix_nano)
        self.attributes = raw_attributes(raw.attributes)
        self.logs: list[Event] = []
        self.found: dict[str, Any] = {}
        self.places: Mapping[str, Sequence[Any]] | None = None
        self._parent: weakref.ref[SpanReader] | None = None
        self.children: list[SpanReader] = []

    @classmethod
    def of(cls, raw: bytes, scope: str = "", resource: Mapping[str, bytes] | None = None) -> "SpanReader | None":
        """The reader of an encoded span; None when it does not parse."""
        try:
            return cls(lens.span(raw), scope, resource)
        except PermanentError:
            return None

    def get(self, key: str) -> Plain:
        """An attribute's plain value, or None."""
        raw = self.attributes.get(key)
        return None if raw is None else decode(raw)

    @cached_property
    def keys(self) -> str:
        """All attribute keys, a line each: to ask whether any key has some words costs one look."""
        return "\n".join(self.attributes)

    @cached_property
    def flat(self) -> dict[str, list[Any]]:
        """Flattened attributes `prefix.{i}.suffix` as lists of nested dicts by prefix, in index order, gaps closed."""
        trees: dict[str, _Branch] = {}
        for key, raw in self.attributes.items():
            path = _path(key) if len(key) <= _MAX_KEY else _path.__wrapped__(key)
            if path is None:
                continue
            prefix, steps, last = path
            tree = trees.get(prefix)
            if tree is None:
                tree = trees[prefix] = _Branch()
            _plant(tree, steps, last, raw)
        return {prefix: _lists(tree) for prefix, tree in trees.items()}

    @cached_property
    def events(self) -> dict[str, list[Event]]:
        """Span events and log records by name, each name's in order of time."""
        found = [
            Event(event.name.decode(errors="replace"), event.time_unix_nano, raw_attributes(event.attributes))
            for event in self._raw.events[:MAX_ITEMS]
        ]
        found += self.logs[:MAX_ITEMS]
        by_name: dict[str, list[Event]] = {}
        for event in sorted(found, key=lambda event: event.time_ns) if len(found) > 1 else found:
            by_name.setdefault(event.name, []).append(event)
        return by_name

    @property
    def links(self) -> list[tuple[str, str]]:
        """Trace and span ids of the linked spans."""
        return [(link.trace_id.hex(), link.span_id.hex()) for link in self._raw.links[:MAX_ITEMS]]

    @property
    def trace_state(self) -> str:
        """The W3C tracestate."""
        return self._raw.trace_state.decode(errors="replace")

    @property
    def has_random_id(self) -> bool:
        """Whether the sender says that the trace id is random (W3C Trace Context Level 2, flag 0x02)."""
        return bool(self._raw.flags & 0x02)

    @property
    def failed(self) -> bool:
        """Whether the span's status is ERROR."""
        return self._raw.status.code == _STATUS_ERROR

    @property
    def succeeded(self) -> bool:
        """Whether the span's status is OK, said on purpose."""
        return self._raw.status.code == _STATUS_OK

    @property
    def status_message(self) -> str:
        """The status message."""
        return self._raw.status.message.decode(errors="replace")

    @property
    def duration_s(self) -> float:
        """From start to end."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def parent(self) -> "SpanReader | None":
        """The span above this one, for as long as its tree is there.

        It is not held: spans that hold each other in a circle are not freed before the garbage collector has found them.
        """
        return None if self._parent is None else self._parent()

    @parent.setter
    def parent(self, parent: "SpanReader | None") -> None:
        self._parent = None if parent is None else weakref.ref(parent)

    def ancestors(self) -> Iterable["SpanReader"]:
        """The parent, its parent and so on, in this trace."""
        span = self.parent
        while span is not None:
            yield span
            span = span.parent


class _Branch(dict[str, Any]):
    """A dict that stands for a part of keys, apart from dicts that are values."""


@lru_cache(maxsize=4096)  # the same keys come again in every span
def _path(key: str) -> tuple[str, tuple[str, ...], str] | None:
    """A flattened key as its prefix, the steps from the index on, and the last step; None for a key without an index."""
    found = _INDEX.search(key)
    if found is None or int(found.group(1)) >= MAX_ITEMS:
        return None
    *below, last = key[found.end() :].split(".", _MAX_PATH)
    return key[: found.start()], (found.group(1), *below), last


def _plant(tree: _Branch, steps: tuple[str, ...], last: str, raw: bytes) -> None:
    """Put a value at its place; where a value and a branch want the same place, the first one stays."""
    for step in steps:
        branch = tree.get(step)
        if branch is None:
            branch = tree[step] = _Branch()
        elif type(branch) is not _Branch:
            return
        tree = branch
    if last not in tree:
        tree[last] = decode(raw)


def _lists(tree: _Branch) -> Any:
    """Branches whose keys are all indices become lists in the order of the indices."""
    if next(iter(tree)).isdecimal() and all(key.isdecimal() and key.isascii() for key in tree):
        ordered = [tree[key] for key in sorted(tree, key=_index)] if len(tree) > 1 else tree.values()
        return [_lists(item) if type(item) is _Branch else item for item in ordered]
    return {key: _lists(item) if type(item) is _Branch else item for key, item in tree.items()}


def _index(key: str) -> int:
    return int(key[:_MAX_DIGITS])
