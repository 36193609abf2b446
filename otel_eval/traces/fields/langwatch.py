"""LangWatch: `langwatch.*`; input and output are values in an envelope that names their type."""

from otel_eval.traces.fields.openinference import WORDS
from otel_eval.traces.fields.places import Fields, answered, any_value, asked, at, numbers, texts, values
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind
from otel_eval.traces.values import Plain

_KINDS = kind_words(
    {**WORDS, "rag": SpanKind.RETRIEVER, "workflow": SpanKind.CHAIN, "task": SpanKind.CHAIN, "evaluation": SpanKind.EVALUATOR}
)


def _value(value: Plain) -> Plain:
    """What is in the envelope."""
    decoded = any_value(value)
    return decoded["value"] if isinstance(decoded, dict) and "type" in decoded and "value" in decoded else decoded


FIELDS: Fields = {
    "kind": [at("langwatch.span.type", _KINDS)],
    "input_messages": [at("langwatch.input", asked)],
    "output_messages": [at("langwatch.output", answered)],
    "session_id": texts("langwatch.thread.id", "langwatch.thread_id"),
    "user_id": texts("langwatch.user.id", "langwatch.user_id"),
    "cost_usd": numbers("langwatch.span.cost"),
    "tool_arguments": [at("langwatch.input", _value)],
    "tool_result": [at("langwatch.output", _value)],
    "documents": values("langwatch.rag.contexts", "langwatch.rag_contexts", "langwatch.contexts"),
}
