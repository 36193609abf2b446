"""Langfuse SDK 3 to 5 (scope `langfuse-sdk`): observations."""

from otel_eval.traces.fields.places import Fields, answered, asked, at, json_object, member, texts, time_ns, values, whole
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind
from otel_eval.traces.span import SpanReader
from otel_eval.traces.values import Plain, count, first, literal, number, structured

_O = "langfuse.observation."
_KINDS = kind_words(
    {
        "generation": SpanKind.MODEL,
        "embedding": SpanKind.EMBEDDING,
        "agent": SpanKind.AGENT,
        "tool": SpanKind.TOOL,
        "chain": SpanKind.CHAIN,
        "retriever": SpanKind.RETRIEVER,
        "guardrail": SpanKind.GUARDRAIL,
        "evaluator": SpanKind.EVALUATOR,
    }
)


def _detail(value: Plain, group: str, *keys: str) -> int | None:
    """OpenAI's nested details, or Langfuse's flat names."""
    usage = literal(value)
    return count(first(first(usage, f"{group}_tokens_details", f"{group}_token_details"), *keys) or first(usage, *keys))


def _first_token(span: SpanReader) -> float | None:
    started = time_ns(span.get(f"{_O}completion_start_time"))
    return None if started is None else max(0, started - span.start_ns) / 1e9


def _costs(value: Plain) -> float | None:
    costs = literal(value)
    if not isinstance(costs, dict):
        return None
    total = number(costs.get("total"))
    parts = [part for key in ("input", "output") if (part := number(costs.get(key))) is not None]
    return total if total is not None else sum(parts) if parts else None


FIELDS: Fields = {
    "kind": [at(f"{_O}type", _KINDS)],
    "input_messages": [at(f"{_O}input", asked)],
    "output_messages": [at(f"{_O}output", answered)],
    "request_model": texts(f"{_O}model.name"),
    "response_model": texts(f"{_O}model.name"),
    "parameters": [at(f"{_O}model.parameters", json_object)],
    "input_tokens": [at(f"{_O}usage_details", member("input", "prompt_tokens", "input_tokens", read=count))],
    "output_tokens": [at(f"{_O}usage_details", member("output", "completion_tokens", "output_tokens", read=count))],
    "cache_read_input_tokens": [
        at(f"{_O}usage_details", lambda value: _detail(
            value, "prompt", "cached_tokens", "input_cached_tokens", "cache_read_input_tokens", "input_cache_read"))
    ],
    "cache_creation_input_tokens": [
        at(f"{_O}usage_details", lambda value: _detail(value, "prompt", "cache_creation_input_tokens", "input_cache_creation"))
    ],
    "reasoning_output_tokens": [
        at(f"{_O}usage_details", lambda value: _detail(value, "completion", "reasoning_tokens", "output_reasoning_tokens"))
    ],
    "cost_usd": [at(f"{_O}cost_details", _costs)],
    "time_to_first_token_s": [whole(_first_token, f"{_O}completion_start_time")],
    "session_id": texts("langfuse.session.id"),
    "user_id": texts("langfuse.user.id"),
    "tool_arguments": values(f"{_O}input"),
    "tool_result": values(f"{_O}output"),
    "documents": values(f"{_O}output"),
    "raw_output": [at(f"{_O}output", structured)],
}  # fmt: skip

# The whole trace's input and output, on any of its spans: behind what the span says of itself.
TRACE: Fields = {
    "input_messages": [at("langfuse.trace.input", asked)],
    "output_messages": [at("langfuse.trace.output", answered)],
}
