"""OpenLLMetry / Traceloop: the flat model-span form of older versions, vector databases, and the decorators' spans."""

from otel_eval.traces.fields.places import Fields, answered, asked, at, event, flat, texts, values
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind
from otel_eval.traces.span import Event
from otel_eval.traces.values import Plain, first

_KINDS = kind_words({
    "workflow": SpanKind.CHAIN, "task": SpanKind.CHAIN, "agent": SpanKind.AGENT, "tool": SpanKind.TOOL,
})  # fmt: skip
_ASSOCIATED = "traceloop.association.properties."


def _reasons(items: list[Plain]) -> tuple[str, ...]:
    found = (first(item, "finish_reason") for item in items)
    return tuple(reason for reason in found if isinstance(reason, str))


def _results(events: list[Event]) -> list[dict[str, Plain]]:
    """Vector database results: one event each, its attributes named after the event."""
    return [{key.removeprefix(f"{one.name}."): value for key, value in one.attributes.items()} for one in events]


FIELDS: Fields = {
    "input_messages": [flat("gen_ai.prompt", asked)],
    "output_messages": [flat("gen_ai.completion", answered)],
    "tool_definitions": [flat("llm.request.functions", list)],
    "finish_reasons": [flat("gen_ai.completion", _reasons)],
    "documents": [event("db.query.result", _results), event("db.search.result", _results)],
}

DECORATORS: Fields = {
    "kind": [at("traceloop.span.kind", _KINDS)],
    "input_messages": [at("traceloop.entity.input", asked)],
    "output_messages": [at("traceloop.entity.output", answered)],
    "session_id": texts(*(f"{_ASSOCIATED}{key}" for key in ("session_id", "conversation_id", "thread_id", "chat_id"))),
    "user_id": texts(f"{_ASSOCIATED}user_id"),
    "tool_name": texts("traceloop.entity.name"),
    "agent_name": texts("traceloop.entity.name", "traceloop.workflow.name"),
    "tool_arguments": values("traceloop.entity.input"),
    "tool_result": values("traceloop.entity.output"),
    "documents": values("traceloop.entity.output"),
}
