"""Genkit: every span is an action whose subtype tells what it is; input and output are JSON."""

from collections.abc import Callable

from otel_eval.traces.fields.places import Fields, answered, asked, at, member, texts, values, whole, word_list
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind
from otel_eval.traces.values import Plain, count, first, literal, structured

_KINDS = kind_words(
    {
        "model": SpanKind.MODEL,
        "background-model": SpanKind.MODEL,
        **dict.fromkeys(("tool", "tool.v2"), SpanKind.TOOL),
        "retriever": SpanKind.RETRIEVER,
        "reranker": SpanKind.RERANKER,
        "embedder": SpanKind.EMBEDDING,
        "evaluator": SpanKind.EVALUATOR,
        "flow": SpanKind.CHAIN,
        "agent": SpanKind.AGENT,
        **dict.fromkeys(("prompt", "executable-prompt"), SpanKind.PROMPT),
    }
)


def _usage(key: str) -> Callable[[Plain], int | None]:
    return lambda value: count(first(first(literal(value), "usage"), key))


FIELDS: Fields = {
    "kind": [
        at("genkit:metadata:subtype", _KINDS), at("genkit:type", _KINDS),
        whole(lambda span: SpanKind.CHAIN, "genkit:name"),
    ],
    "input_messages": [at("genkit:input", asked)],
    "output_messages": [at("genkit:output", answered)],
    "request_model": texts("genkit:name"),
    "finish_reasons": [at("genkit:output", member("finishReason", read=lambda reason: word_list(reason) if reason else ()))],
    "input_tokens": [at("genkit:output", _usage("inputTokens"))],
    "output_tokens": [at("genkit:output", _usage("outputTokens"))],
    "session_id": texts("genkit:sessionId", "genkit:metadata:sessionId", "genkit:metadata:genkit:sessionId"),
    "agent_name": texts("genkit:name"),
    "tool_name": texts("genkit:name"),
    "tool_arguments": values("genkit:input"),
    "tool_result": values("genkit:output"),
    "documents": values("genkit:output"),
    "raw_output": [at("genkit:output", structured)],
}  # fmt: skip
