"""OpenInference (Arize, Phoenix): flattened messages under `llm.`, kinds in `openinference.span.kind`."""

from otel_eval.traces.fields.places import (
    Fields,
    answered,
    any_value,
    asked,
    at,
    counts,
    flat,
    json_object,
    numbers,
    texts,
    values,
    word_list,
)  # fmt: skip
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind
from otel_eval.traces.values import Plain, first

WORDS = {
    "llm": SpanKind.MODEL,
    "embedding": SpanKind.EMBEDDING,
    "chain": SpanKind.CHAIN,
    "retriever": SpanKind.RETRIEVER,
    "reranker": SpanKind.RERANKER,
    "tool": SpanKind.TOOL,
    "agent": SpanKind.AGENT,
    "guardrail": SpanKind.GUARDRAIL,
    "evaluator": SpanKind.EVALUATOR,
    "prompt": SpanKind.PROMPT,
}


def tool_schemas(items: list[Plain]) -> list[Plain]:
    """`llm.tools.{i}.tool.json_schema`."""
    return [any_value(first(item.get("tool"), "json_schema") or item) for item in items if isinstance(item, dict)]


def documents(items: list[Plain]) -> list[Plain]:
    """`retrieval.documents.{i}.document.*`."""
    return [item.get("document", item) for item in items if isinstance(item, dict)]


FIELDS: Fields = {
    "kind": [at("openinference.span.kind", kind_words(WORDS))],
    "input_messages": [flat("llm.input_messages", asked), flat("llm.prompts", asked)],
    "output_messages": [flat("llm.output_messages", answered), flat("llm.choices", answered)],
    "tool_definitions": [flat("llm.tools", tool_schemas)],
    "request_model": texts("llm.request.model_name", "llm.model_name"),
    "response_model": texts("llm.response.model_name", "llm.model_name"),
    "provider": texts("llm.provider", "llm.system"),
    "parameters": [at("llm.invocation_parameters", json_object)],
    "finish_reasons": [at("llm.finish_reason", word_list)],
    "input_tokens": counts("llm.token_count.prompt"),
    "output_tokens": counts("llm.token_count.completion"),
    "cache_read_input_tokens": counts(
        "llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input"
    ),
    "cache_creation_input_tokens": counts("llm.token_count.prompt_details.cache_write"),
    "reasoning_output_tokens": counts("llm.token_count.completion_details.reasoning"),
    "cost_usd": numbers("llm.cost.total"),
    "agent_name": texts("agent.name", "graph.node.id"),
    "tool_name": texts("tool.name"),
    "tool_call_id": texts("tool.id"),
    "documents": [
        flat("retrieval.documents", documents), *values("retrieval.documents"), flat("reranker.output_documents", documents),
    ],
}  # fmt: skip
