"""Where each convention keeps each field.

A convention is one file that declares `FIELDS`: by field, the places to look, in its own order (`places` has the few
ways to say one). `_ORDER` and `_KIND_ORDER` here put the conventions in order; for each field the places of all of
them make one list, and the first that has something counts. So a new convention is one file, and its row here.

Source of the tables: OpenTelemetry semantic conventions for GenAI, OpenInference's specification, and the attributes
that the SDKs named in the files write (August 2026).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from otel_eval.traces.fields import (
    anthropic_sdk,
    claude_code,
    genai,
    generic,
    genkit,
    google_adk,
    haystack,
    langfuse,
    langsmith,
    langwatch,
    litellm,
    mastra,
    mlflow,
    openinference,
    openlit,
    openllmetry,
    pydantic_ai,
    traceai,
    vercel,
)
from otel_eval.traces.fields.places import ATTRIBUTE, EVENT, FLAT, SPAN, Fields, Place
from otel_eval.traces.records import SpanKind
from otel_eval.traces.span import SpanReader

_ORDER: tuple[Fields, ...] = (
    genai.FIELDS,
    openinference.FIELDS,
    traceai.FIELDS,
    openllmetry.FIELDS,
    genai.EVENTS,
    vercel.FIELDS,
    langfuse.FIELDS,
    mlflow.FIELDS,
    google_adk.FIELDS,
    pydantic_ai.FIELDS,
    langsmith.FIELDS,
    openlit.FIELDS,
    litellm.FIELDS,
    langwatch.FIELDS,
    openllmetry.DECORATORS,
    genkit.FIELDS,
    mastra.FIELDS,
    generic.FIELDS,
    claude_code.FIELDS,
    anthropic_sdk.FIELDS,
    haystack.FIELDS,
    langfuse.TRACE,
    generic.LAST,
)
# What an SDK calls a span is worth more than the operation: LangSmith calls a retriever's operation "embeddings".
_KIND_ORDER: tuple[Fields, ...] = (
    pydantic_ai.FIELDS,
    openinference.FIELDS,
    traceai.FIELDS,
    langfuse.FIELDS,
    langsmith.FIELDS,
    mlflow.FIELDS,
    openllmetry.DECORATORS,
    claude_code.FIELDS,
    google_adk.FIELDS,
    mastra.FIELDS,
    genkit.FIELDS,
    genai.FIELDS,
    vercel.FIELDS,
    langwatch.FIELDS,
    haystack.FIELDS,
    litellm.FIELDS,
)


def _merged(order: tuple[Fields, ...]) -> dict[str, tuple[Place, ...]]:
    names = dict.fromkeys(name for fields in order for name in fields)
    return {name: tuple(place for fields in order for place in fields.get(name, ())) for name in names}


_PLACES = _merged(_ORDER) | {"kind": _merged(_KIND_ORDER)["kind"]}


_Index = Mapping[str, Sequence[tuple[str, int]]]


def _index(*sources: int) -> dict[str, list[tuple[str, int]]]:
    """Which fields a key may hold, and at which place of theirs."""
    index: dict[str, list[tuple[str, int]]] = {}
    for field, places in _PLACES.items():
        for rank, place in enumerate(places):
            if place.source in sources:
                index.setdefault(place.key, []).append((field, rank))
    return index


ATTRIBUTES: Final[_Index] = _index(ATTRIBUTE, SPAN)
"""Fields and places by attribute."""

_GROUPS: Final[_Index] = _index(FLAT, EVENT)


@lru_cache(maxsize=1024)  # an instrumentation writes the same keys again and again
def _to_look_at(attributes: tuple[str, ...], groups: tuple[str, ...]) -> Mapping[str, Sequence[Place]]:
    """The places that a span with these known keys has, by field, in order."""
    hits = [*ATTRIBUTES.get("", ())]
    hits += (hit for key in attributes for hit in ATTRIBUTES[key])
    hits += (hit for group in groups for hit in _GROUPS[group])
    ranks: dict[str, set[int]] = {}
    for field, rank in hits:
        ranks.setdefault(field, set()).add(rank)
    return {field: [_PLACES[field][rank] for rank in sorted(found)] for field, found in ranks.items()}


def _places(span: SpanReader) -> Mapping[str, Sequence[Place]]:
    """A span has some twenty keys and there are some hundreds of places: asking the keys is ten times faster."""
    groups = [group for names in (span.flat, span.events) if names for group in names if group in _GROUPS]
    return _to_look_at(tuple([key for key in span.attributes if key in ATTRIBUTES]), tuple(groups))


def read(span: SpanReader, field: str) -> Any:
    """What the span says about a field; None when it says nothing. Looked for once."""
    found = span.found
    if field in found:
        return found[field]
    if span.places is None:
        span.places = _places(span)
    places = span.places.get(field)
    value = found[field] = None if places is None else _first(span, places)
    return value


def _first(span: SpanReader, places: Sequence[Place]) -> Any:
    """What the first of these places that has anything says."""
    for source, key, read_value in places:
        content: Any
        if source == ATTRIBUTE:
            content = span.get(key)
        elif source == SPAN:
            content = span
        else:
            content = (span.flat if source == FLAT else span.events).get(key)
        if content is None:
            continue
        value = read_value(content)
        if value is not None and value not in ("", (), [], {}):
            return value
    return None


def kind_of(span: SpanReader) -> tuple[SpanKind, bool]:
    """The span's kind, and whether the span names it; else it is guessed from what the span carries."""
    named: SpanKind | None = read(span, "kind")
    if named is None:
        return generic.weak_kind(span), False
    if named is SpanKind.TOOL and span.name.lower().startswith("handoff"):  # OpenInference calls handoffs tools
        return SpanKind.CHAIN, True
    return named, True
