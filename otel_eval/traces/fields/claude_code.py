"""Claude Code and the Claude Agent SDK: bare attribute names; prompts, answers, costs and tool results in logs."""

from otel_eval.traces.fields.places import (
    Fields,
    answered,
    any_value,
    asked,
    at,
    event,
    milliseconds,
    texts,
    values,
    whole,
    word_list,
)
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind
from otel_eval.traces.span import Event, SpanReader
from otel_eval.traces.values import Plain, count, number

_KINDS = kind_words(
    {
        "llm_request": SpanKind.MODEL,
        "tool": SpanKind.TOOL,
        "interaction": SpanKind.AGENT,
        **dict.fromkeys(("tool.execution", "tool.blocked_on_user", "hook"), SpanKind.OTHER),
    }
)
_PREFIX = "claude_code."


def _kind_of_name(span: SpanReader) -> SpanKind | None:
    name = span.name
    return _KINDS(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None


def _input_tokens(span: SpanReader) -> int | None:
    """The bare `input_tokens` leaves the cached ones out; ours includes them."""
    if not span.name.startswith(_PREFIX):
        return count(span.get("input_tokens"))
    found = [count(span.get(key)) for key in ("input_tokens", "cache_read_tokens", "cache_creation_tokens")]
    return None if found[0] is None else sum(filter(None, found))


def _output_event(events: list[Event]) -> Plain:
    return any_value(events[-1].first("output", "content", "stdout", "result") or events[-1].attributes)


def _result_event(events: list[Event]) -> Plain:
    return any_value(events[-1].first("tool_result", "tool_output", "output", "result"))


FIELDS: Fields = {
    "kind": [at("span.type", _KINDS), whole(_kind_of_name)],
    "input_messages": [
        at("user_prompt", asked),
        event("user_prompt", lambda events: tuple(message for one in events for message in asked(one.get("prompt")))),
    ],
    "output_messages": [
        event("assistant_response", lambda events: tuple(m for one in events for m in answered(one.get("response")))),
    ],
    "request_model": texts("model"),
    "finish_reasons": [at("stop_reason", word_list)],
    "input_tokens": [whole(_input_tokens, "input_tokens")],
    "output_tokens": [at("output_tokens", count)],
    "cache_read_input_tokens": [at("cache_read_tokens", count)],
    "cache_creation_input_tokens": [at("cache_creation_tokens", count)],
    "cost_usd": [event("api_request", lambda events: number(events[-1].get("cost_usd"))), at("cost_usd", number)],
    "time_to_first_token_s": [at("ttft_ms", milliseconds)],
    "tool_name": texts("tool_name"),
    "tool_call_id": texts("tool_use_id"),
    "tool_arguments": [
        *values("tool_input", "tool_parameters"),
        event("tool_result", lambda events: any_value(events[-1].first("tool_input", "tool_parameters"))),
        *values("full_command", "file_path"),
    ],
    "tool_result": [event("tool.output", _output_event), event("tool_result", _result_event)],
    "error_type": [
        event("api_error", lambda events: str(events[-1].first("error_type", "status_code") or "api_error")),
        event("tool_result", lambda events: events[-1].get("error_type")),
    ],
    "error_message": [
        *texts("error"),
        event("api_error", lambda events: events[-1].get("error")),
        event("tool_result", lambda events: events[-1].get("error")),
    ],
}
