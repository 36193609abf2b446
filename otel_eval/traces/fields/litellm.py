"""LiteLLM's `otel` callback: GenAI attributes, and a child span with the provider's raw request."""

from otel_eval.traces.fields.places import Fields, asked_literal, numbers, texts, whole
from otel_eval.traces.records import Message, SpanKind
from otel_eval.traces.span import SpanReader

_RAW = "raw_gen_ai_request"


def _kind(span: SpanReader) -> SpanKind | None:
    """The raw span stands for the same call as its parent; `calls` counts it once."""
    return SpanKind.MODEL if span.name == _RAW else None


def _raw_messages(span: SpanReader) -> tuple[Message, ...]:
    """`llm.<provider>.messages`, a Python literal."""
    if span.name == _RAW:
        for key in span.attributes:
            if key.startswith("llm.") and key.endswith((".messages", ".contents", ".input")):
                return asked_literal(span.get(key))
    return ()


FIELDS: Fields = {
    "kind": [whole(_kind)],
    "input_messages": [whole(_raw_messages)],
    "cost_usd": numbers("gen_ai.cost.total_cost"),
    "user_id": texts("llm.user", "metadata.user_api_key_end_user_id", "metadata.user_api_key_user_id"),
    "error_type": texts("error.type", "error.code"),
    "error_message": texts("error.message"),
}
