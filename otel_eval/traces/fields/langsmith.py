"""LangSmith: raw JSON of a run's inputs and outputs in `gen_ai.prompt` and `gen_ai.completion`, on every span."""

from collections.abc import Callable

from otel_eval.traces.fields.places import Fields, answered, asked, at, member, texts, values
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind
from otel_eval.traces.values import Plain, count, first, literal, structured

_M = "langsmith.metadata."
_KINDS = kind_words(
    {
        "llm": SpanKind.MODEL,
        "chain": SpanKind.CHAIN,
        "tool": SpanKind.TOOL,
        "retriever": SpanKind.RETRIEVER,
        "embedding": SpanKind.EMBEDDING,
        "prompt": SpanKind.PROMPT,
        "parser": SpanKind.PARSER,
    }
)


def _detail(group: str, key: str) -> Callable[[Plain], int | None]:
    return lambda value: count(first(first(literal(value), group), key))


def _output(value: Plain) -> Plain:
    """What the run gave back, without the wrapping in `output`."""
    decoded = literal(value)
    return decoded["output"] if isinstance(decoded, dict) and set(decoded) == {"output"} else decoded


FIELDS: Fields = {
    "kind": [at("langsmith.span.kind", _KINDS)],
    "input_messages": [at("gen_ai.prompt", asked)],
    "output_messages": [at("gen_ai.completion", answered)],
    "request_model": texts(f"{_M}ls_model_name"),
    "provider": texts(f"{_M}ls_provider"),
    "input_tokens": [at(f"{_M}usage_metadata", member("input_tokens", read=count))],
    "output_tokens": [at(f"{_M}usage_metadata", member("output_tokens", read=count))],
    "cache_read_input_tokens": [
        at("gen_ai.usage.input_token_details", member("cache_read", read=count)),
        at(f"{_M}usage_metadata", _detail("input_token_details", "cache_read")),
    ],
    "cache_creation_input_tokens": [
        at("gen_ai.usage.input_token_details", member("cache_creation", read=count)),
        at(f"{_M}usage_metadata", _detail("input_token_details", "cache_creation")),
    ],
    "reasoning_output_tokens": [at("gen_ai.usage.output_token_details", member("reasoning", read=count))],
    "session_id": texts(*(f"{_M}{key}" for key in ("session_id", "thread_id", "conversation_id"))),
    "user_id": texts(f"{_M}user_id"),
    "tool_arguments": values("gen_ai.prompt"),
    "tool_result": [at("gen_ai.completion", _output)],
    "documents": [at("gen_ai.completion", _output)],
    "raw_output": [at("gen_ai.completion", structured)],
}
