"""OpenTelemetry GenAI: the current attributes, what they were called before, and the events (span events or logs)."""

from otel_eval.traces.fields.places import (
    Fields,
    Place,
    answered,
    any_value,
    asked,
    at,
    counts,
    event,
    numbers,
    prompt_text,
    texts,
    values,
    whole,
    word_list,
)  # fmt: skip
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.messages import messages
from otel_eval.traces.records import Message, SpanKind
from otel_eval.traces.span import Event, SpanReader
from otel_eval.traces.values import Plain, first, number, structured

DETAILS = "gen_ai.client.inference.operation.details"
_PER_MESSAGE = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}

_OPERATIONS = kind_words(
    {
        **dict.fromkeys(("chat", "generate_content", "text_completion", "completion", "call_llm"), SpanKind.MODEL),
        "embeddings": SpanKind.EMBEDDING,
        **dict.fromkeys(("retrieval", "retrieve", "search_memory"), SpanKind.RETRIEVER),
        "execute_tool": SpanKind.TOOL,
        **dict.fromkeys(("invoke_agent", "create_agent"), SpanKind.AGENT),
        **dict.fromkeys(
            ("invoke_workflow", "agent_step", "plan", "chain", "execute_event_loop_cycle", "execute_task"), SpanKind.CHAIN
        ),
        "evaluation": SpanKind.EVALUATOR,
        **dict.fromkeys(("guardrail", "apply_guardrail", "run_guardrail"), SpanKind.GUARDRAIL),
    }
)


def _tools_call(value: Plain) -> SpanKind | None:
    return SpanKind.TOOL if value == "tools/call" else None


def _detail(key: str) -> Place:
    """The same attribute on the details events; several events (Strands writes one per attribute) are merged."""

    def read(events: list[Event]) -> Plain:
        return next((value for one in events if (value := one.get(key)) is not None), None)

    return event(DETAILS, read)


def _detail_messages(key: str, role: str) -> Place:
    def read(events: list[Event]) -> tuple[Message, ...]:
        return tuple(message for one in events for message in messages(one.get(key), role))

    return event(DETAILS, read)


def _content(one: Event) -> dict[str, Plain]:
    """The fields of a per-message event: the body's, or the attributes'. `content` and `message` may be JSON."""
    body = one.body
    if isinstance(body, str) and body:
        body = structured(body)
    if isinstance(body, dict):
        return dict(body)
    content = one.attributes
    return {**content, "content": body} if body is not None and "content" not in content else content


def _event_messages(span: SpanReader) -> tuple[Message, ...]:
    """Messages that went in, from one event each, in order of time."""
    found = [(one.time_ns, role, one) for name, role in _PER_MESSAGE.items() for one in span.events.get(name, ())]
    if not found:
        return ()
    found.sort(key=lambda entry: entry[0])
    return tuple(message for _, role, one in found for message in _event_message(role, one))


def _event_message(role: str, one: Event) -> tuple[Message, ...]:
    content = _content(one)
    if not isinstance(content.get("role"), str):
        content["role"] = role
    return messages(content, role)


def _choices(events: list[Event]) -> tuple[Message, ...]:
    found: list[Message] = []
    for one in events:
        content = _content(one)
        said = first(content, "message", "content")
        spoken = messages({**content, "role": "assistant"} if said is None else said, "assistant")
        reason = first(content, "finish_reason")
        for message in spoken:
            finish = message.finish_reason or (reason if isinstance(reason, str) else None)
            role = "assistant" if message.role == "user" else message.role
            found.append(Message(role, message.parts, message.name, finish))
    return tuple(found)


def _choice_reasons(events: list[Event]) -> tuple[str, ...]:
    return tuple(reason for one in events if isinstance(reason := first(_content(one), "finish_reason"), str))


def _tool_message(events: list[Event]) -> Plain:
    """Strands: a tool span's arguments."""
    return any_value(first(_content(events[0]), "content"))


def _tool_choice(events: list[Event]) -> Plain:
    """Strands: a tool span's result."""
    return any_value(first(_content(events[-1]), "message", "content"))


def _first_chunk(span: SpanReader) -> float | None:
    """From an event for the first chunk."""
    for name, events in span.events.items():
        if "first" in name.lower() and ("chunk" in name.lower() or "token" in name.lower()):
            return max(0, events[0].time_ns - span.start_ns) / 1e9
    return None


def _server_first_token(span: SpanReader) -> float | None:
    """Seconds by the convention; Strands writes milliseconds under the same name."""
    value = number(span.get("gen_ai.server.time_to_first_token"))
    if value is None:
        return None
    return value / 1000 if span.scope.startswith("strands") or value > span.duration_s else value


KIND = (at("mcp.method.name", _tools_call), at("gen_ai.operation.name", _OPERATIONS))

FIELDS: Fields = {
    "kind": KIND,
    "input_messages": [at("gen_ai.input.messages", asked), _detail_messages("gen_ai.input.messages", "user")],
    "output_messages": [at("gen_ai.output.messages", answered), _detail_messages("gen_ai.output.messages", "assistant")],
    "system_prompt": [
        at("gen_ai.system_instructions", prompt_text),
        event(DETAILS, lambda events: prompt_text(_detail("gen_ai.system_instructions").read(events))),
    ],
    "tool_definitions": [
        *values("gen_ai.tool.definitions"), _detail("gen_ai.tool.definitions"), *values("gen_ai.agent.tools"),
    ],
    "request_model": texts("gen_ai.request.model"),
    "response_model": texts("gen_ai.response.model"),
    "provider": texts("gen_ai.provider.name", "gen_ai.system"),
    "response_id": texts("gen_ai.response.id"),
    "output_type": texts("gen_ai.output.type"),
    "finish_reasons": [at("gen_ai.response.finish_reasons", word_list)],
    "response_status": texts("gen_ai.response.status"),
    "input_tokens": counts("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output_tokens": counts("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "cache_read_input_tokens": counts(
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_read_tokens"
    ),
    "cache_creation_input_tokens": counts(
        "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.cache_write_input_tokens",
    ),
    "reasoning_output_tokens": counts(
        "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "gen_ai.usage.details.reasoning_tokens"
    ),
    "cost_usd": numbers("gen_ai.usage.cost"),
    "time_to_first_token_s": [
        *numbers("gen_ai.response.time_to_first_chunk"), whole(_server_first_token, "gen_ai.server.time_to_first_token"),
    ],
    "session_id": texts("gen_ai.conversation.id", "session.id"),
    "user_id": texts("user.id", "enduser.id"),
    "agent_name": texts("gen_ai.agent.name", "gen_ai.workflow.name"),
    "tool_name": texts("gen_ai.tool.name"),
    "tool_call_id": texts("gen_ai.tool.call.id"),
    "tool_arguments": values("gen_ai.tool.call.arguments"),
    "tool_result": values("gen_ai.tool.call.result"),
    "tool_status": texts("gen_ai.tool.status"),
    "documents": values("gen_ai.retrieval.documents", "gen_ai.memory.records"),
}  # fmt: skip

# Behind the conventions that flatten: these events often stand beside the flattened attributes.
EVENTS: Fields = {
    "input_messages": [whole(_event_messages)],
    "output_messages": [event("gen_ai.choice", _choices)],
    "finish_reasons": [event("gen_ai.choice", _choice_reasons)],
    "tool_arguments": [event("gen_ai.tool.message", _tool_message)],
    "tool_result": [event("gen_ai.choice", _tool_choice)],
    "time_to_first_token_s": [whole(_first_chunk)],
}
