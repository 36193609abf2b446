"""Google ADK: requests and responses as JSON in version 1 (version 2 writes GenAI logs)."""

from collections.abc import Callable

from otel_eval.traces.fields.places import Fields, answered, asked, at, json_object, member, texts, values, whole
from otel_eval.traces.records import SpanKind
from otel_eval.traces.span import SpanReader
from otel_eval.traces.values import Plain, count, first, literal, structured, text_or_none

_A = "gcp.vertex.agent."


def _kind(span: SpanReader) -> SpanKind | None:
    """The span that merges parallel tool calls is no tool call; `call_llm` has no operation in version 1."""
    if span.get("gen_ai.tool.name") == "(merged tools)" or span.name.endswith("(merged)"):
        return SpanKind.OTHER
    if span.name == "call_llm":
        return SpanKind.MODEL
    if span.name.startswith("agent_run"):
        return SpanKind.AGENT
    return SpanKind.CHAIN if span.name == "invocation" else None


def _tool_response(value: Plain) -> Plain:
    """ADK wraps what the tool gave back in an event."""
    response = literal(value)
    if isinstance(response, dict) and isinstance(response.get("content"), dict):
        for part in response["content"].get("parts") or ():
            inner = first(part, "function_response", "functionResponse")
            if isinstance(inner, dict):
                return inner.get("response")
    return first(response, "result") if isinstance(response, dict) and set(response) == {"result"} else response


def _usage(key: str) -> Callable[[Plain], int | None]:
    return lambda value: count(first(first(literal(value), "usage_metadata", "usageMetadata"), key))


FIELDS: Fields = {
    "kind": [whole(_kind, f"{_A}{key}") for key in ("llm_request", "invocation_id", "tool_call_args", "event_id", "session_id")],
    "input_messages": [at(f"{_A}llm_request", asked)],
    "output_messages": [at(f"{_A}llm_response", answered)],
    "request_model": [at(f"{_A}llm_request", member("model", read=text_or_none))],
    "parameters": [at(f"{_A}llm_request", member("config", read=json_object))],
    "session_id": texts(f"{_A}session_id"),
    "tool_arguments": values(f"{_A}tool_call_args"),
    "tool_result": [at(f"{_A}tool_response", _tool_response)],
    "input_tokens": [at(f"{_A}llm_response", _usage("prompt_token_count"))],
    "output_tokens": [at(f"{_A}llm_response", _usage("candidates_token_count"))],
    "cache_read_input_tokens": [at(f"{_A}llm_response", _usage("cached_content_token_count"))],
    "raw_output": [at(f"{_A}llm_response", structured)],
}
