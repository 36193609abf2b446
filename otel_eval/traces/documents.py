"""Retrieved documents, in the shapes that vector stores and frameworks give them."""

from collections.abc import Iterator
from typing import Any, Final

from otel_eval.traces import fields
from otel_eval.traces.records import Document, SpanKind
from otel_eval.traces.span import SpanReader
from otel_eval.traces.tree import SpanTree
from otel_eval.traces.values import MAX_ITEMS, Plain, bounded, first, literal, number, text_or_none, to_text

_LISTS: Final = (
    "documents", "docs", "results", "matches", "hits", "chunks", "contexts", "nodes", "source_nodes", "retrieved_documents",
    "context", "output", "retrievalResults", "data",
)  # fmt: skip
_TEXTS: Final = ("content", "page_content", "text", "document", "chunk", "snippet", "body", "value")
_SCORES: Final = ("score", "relevance_score", "relevanceScore", "similarity", "_score")
_IDS: Final = ("id", "document_id", "doc_id", "chunk_id", "id_", "_id", "documentId")
_ALSO: Final = ("retrieval.documents", "gen_ai.retrieval.documents", "langwatch.rag.contexts")
_MAX_DEPTH: Final = 6


def retrieved_documents(tree: SpanTree) -> tuple[Document, ...]:
    """The documents of all retrievals in order; what a nested span repeats of the one around it is left out."""
    found: list[Document] = []
    seen: dict[str, set[str]] = {}
    for span in tree.spans:
        if span.span_id in tree.left_out or not _retrieves(tree, span):
            continue
        around = tree.enclosing[span.span_id]
        outer = seen.get(around.span_id, set()) if around is not None else set()
        texts = set(outer)
        for document in documents_of(span):
            if document.content not in outer:
                found.append(document)
            texts.add(document.content)
        seen[span.span_id] = texts
        if len(found) >= MAX_ITEMS:
            break
    return tuple(found[:MAX_ITEMS])


def _retrieves(tree: SpanTree, span: SpanReader) -> bool:
    if tree.kinds[span.span_id] is SpanKind.RETRIEVER or any(key in span.attributes for key in _ALSO):
        return True
    if any(name in span.events for name in ("db.query.result", "db.search.result")):
        return True
    return "retrieval.documents" in span.flat or "gen_ai.retrieval.documents" in span.flat


def documents_of(span: SpanReader) -> list[Document]:
    """The documents that a retriever's span holds."""
    return [document for item in _items(fields.read(span, "documents"), 0) if (document := _document(item, span)) is not None]


def _items(value: Plain, depth: int) -> Iterator[Plain]:
    """The documents in a list, in a dict around a list, or in lists of lists (one for each query)."""
    value = literal(value)
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], dict) and number(value[1]) is not None:  # (document, score)
            value = [{**value[0], "score": value[1]}]
        for item in value[:MAX_ITEMS]:
            yield from _items(item, depth + 1) if isinstance(item, list | tuple) else (item,)
    elif isinstance(value, dict):
        inside = _inside(value)
        yield from (value,) if inside is None else _items(inside, depth + 1)
    elif isinstance(value, str) and value:
        yield value


def _inside(value: dict[str, Any]) -> Plain:
    """What a dict around documents holds; None when it is a document itself."""
    inside = first(value, *(key for key in _LISTS if isinstance(value.get(key), list | tuple | dict)))
    if inside is None and len(value) == 1 and "kwargs" not in value and first(value, *_TEXTS) is None:
        inside = next(iter(value.values()))
    return inside


def _document(item: Plain, span: SpanReader) -> Document | None:
    if isinstance(item, str):
        return Document(to_text(item), span_id=span.span_id)
    if not isinstance(item, dict):
        return None
    outer: dict[str, Any] = item
    for key in ("document", "node", "kwargs", "payload"):  # wrapped, with the score beside it
        if isinstance(item.get(key), dict):
            item = {**item, **item[key]}
    content = first(item, *_TEXTS)
    if isinstance(content, dict):
        content = first(content, *_TEXTS)
    elif isinstance(content, list):  # parts: Genkit
        content = "\n".join(text for part in content[:MAX_ITEMS] if isinstance(text := first(part, "text"), str)) or content
    if content is None:
        return None
    score = number(first(item, *_SCORES))
    metadata = literal(first(item, "metadata", "meta"))
    return Document(
        to_text(content),
        text_or_none(first(outer, *_IDS) if not isinstance(outer.get("id"), list) else None) or text_or_none(first(item, *_IDS)),
        score if score is not None else number(first(outer, *_SCORES)),
        bounded(metadata),
        span.span_id,
    )
