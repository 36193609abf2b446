"""A field is a list of places, tried in order: an attribute, flattened attributes, events, or the whole span."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from otel_eval.traces.messages import messages
from otel_eval.traces.records import Message, SpanKind
from otel_eval.traces.span import Event, SpanReader
from otel_eval.traces.values import Plain, bounded, count, first, literal, number, structured, text_or_none

# Where a place looks, and what its reader is given.
ATTRIBUTE: Final = 0  # the plain value of the attribute `key`
FLAT: Final = 1  # the list of nested dicts under the prefix `key`
EVENT: Final = 2  # the span events and log records named `key`
SPAN: Final = 3  # the span itself, if it has the attribute `key` or `key` is empty


class Place(NamedTuple):
    """One place of a field. `read` answers None or something empty when the field is not there after all."""

    source: int
    key: str
    read: Callable[[Any], Any]


Fields = Mapping[str, Sequence[Place]]
"""What a convention file declares: its places by field."""


def at(key: str, read: Callable[[Plain], Any] = text_or_none) -> Place:
    """An attribute."""
    return Place(ATTRIBUTE, key, read)


def texts(*keys: str) -> list[Place]:
    """Attributes that hold the field as text."""
    return [at(key) for key in keys]


def counts(*keys: str) -> list[Place]:
    """Attributes that hold the field as a whole number."""
    return [at(key, count) for key in keys]


def numbers(*keys: str) -> list[Place]:
    """Attributes that hold the field as a number."""
    return [at(key, number) for key in keys]


def values(*keys: str) -> list[Place]:
    """Attributes that hold the field as any value, or as JSON or a Python literal of one."""
    return [at(key, any_value) for key in keys]


def flat(prefix: str, read: Callable[[list[Any]], Any]) -> Place:
    """Flattened attributes `prefix.{i}.*`."""
    return Place(FLAT, prefix, read)


def event(name: str, read: Callable[[list[Event]], Any]) -> Place:
    """Span events and log records of this name."""
    return Place(EVENT, name, read)


def whole(read: Callable[[SpanReader], Any], key: str = "") -> Place:
    """The span, if it has this attribute."""
    return Place(SPAN, key, read)


def asked(value: Plain) -> tuple[Message, ...]:
    """Messages that went into a model."""
    return messages(value, "user")


def answered(value: Plain) -> tuple[Message, ...]:
    """Messages that came out of a model."""
    return messages(value, "assistant")


def asked_literal(value: Plain) -> tuple[Message, ...]:
    """Messages that went in, perhaps as a Python literal."""
    return messages(literal(value), "user")


def any_value(value: Plain) -> Plain:
    """Any value; JSON and Python literals are decoded."""
    return bounded(literal(value))


def json_text(value: Plain) -> str | None:
    """A text that was written as JSON, with quotes; MLflow does that."""
    return text_or_none(structured(value))


def member(*keys: str, read: Callable[[Plain], Any] = text_or_none) -> Callable[[Plain], Any]:
    """A reader of a JSON object's first member of these."""
    return lambda value: read(first(literal(value), *keys))


def prompt_text(value: Plain) -> str | None:
    """A system prompt: messages or parts as text, or plain text."""
    said = [message.text for message in messages(value, "system")]
    return "\n".join(filter(None, said)) or None


def word_list(value: Plain) -> tuple[str, ...]:
    """A list of words, or one word, each perhaps as JSON."""
    value = literal(value)
    if not isinstance(value, list | tuple):
        value = [value]
    return tuple(text for item in value[:20] if (text := text_or_none(item)))


def kinds(words: Mapping[str, SpanKind]) -> Callable[[Plain], SpanKind | None]:
    """A reader of a span kind in a convention's words (in lower case)."""

    def read(value: Plain) -> SpanKind | None:
        word = structured(value)
        return words.get(word.lower()) if isinstance(word, str) else None

    return read


def milliseconds(value: Plain) -> float | None:
    """Milliseconds as seconds."""
    found = number(value)
    return None if found is None else found / 1000


def time_ns(value: Plain) -> int | None:
    """An ISO 8601 time, perhaps as JSON."""
    text = structured(value)
    if not isinstance(text, str) or len(text) > 64:
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        return None


def json_object(value: Plain) -> dict[str, Any]:
    """A JSON object; empty for everything else."""
    found = literal(value)
    return bounded(found) if isinstance(found, dict) else {}
