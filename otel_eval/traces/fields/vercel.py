"""Vercel AI SDK up to 6 and its legacy mode (scope `ai`): an outer span for the task, an inner one for each model call."""

from collections.abc import Callable

from otel_eval.traces.fields.places import (
    Fields,
    any_value,
    asked,
    at,
    counts,
    member,
    milliseconds,
    prompt_text,
    texts,
    values,
    whole,
)
from otel_eval.traces.messages import messages
from otel_eval.traces.records import Message, SpanKind
from otel_eval.traces.span import SpanReader
from otel_eval.traces.values import MAX_ITEMS, Plain, literal, structured

_METADATA = "ai.telemetry.metadata."


def _kind(value: Plain) -> SpanKind | None:
    operation = str(value)
    if operation == "ai.toolCall":
        return SpanKind.TOOL
    if ".do" in operation:
        return SpanKind.EMBEDDING if "mbed" in operation else SpanKind.MODEL
    return SpanKind.CHAIN if operation.startswith("ai.") else None


def _output(prefix: str) -> Callable[[SpanReader], tuple[Message, ...]]:
    """Text, reasoning, tool calls and object, which stand in attributes of their own."""

    def read(span: SpanReader) -> tuple[Message, ...]:
        content = {
            "role": "assistant",
            "content": span.get(f"{prefix}.text") or span.get(f"{prefix}.object"),
            "reasoning": span.get(f"{prefix}.reasoning"),
            "tool_calls": structured(span.get(f"{prefix}.toolCalls")),
        }
        return messages(content, "assistant")

    return read


def _output_type(value: Plain) -> str | None:
    return "json" if "Object" in str(value) else None


def _schemas(value: Plain) -> list[Plain]:
    """A list of JSON texts."""
    tools = literal(value)
    return [any_value(tool) for tool in tools[:MAX_ITEMS]] if isinstance(tools, list) else []


FIELDS: Fields = {
    "kind": [at("ai.operationId", _kind)],
    "input_messages": [at("ai.prompt.messages", asked), at("ai.prompt", asked)],
    "output_messages": [
        *(whole(_output("ai.response"), f"ai.response.{key}") for key in ("text", "toolCalls", "object", "reasoning")),
        *(whole(_output("ai.result"), f"ai.result.{key}") for key in ("text", "toolCalls", "object")),
    ],
    "system_prompt": [at("ai.prompt", member("system", read=prompt_text))],
    "tool_definitions": [at("ai.prompt.tools", _schemas)],
    "request_model": texts("ai.model.id"),
    "response_model": texts("ai.response.model"),
    "provider": texts("ai.model.provider"),
    "response_id": texts("ai.response.id"),
    "output_type": [at("ai.operationId", _output_type), at("ai.schema", lambda value: "json")],
    "finish_reasons": [
        at(key, lambda value: (str(value),)) for key in ("ai.response.finishReason", "ai.finishReason", "ai.result.finishReason")
    ],
    "input_tokens": counts("ai.usage.inputTokens", "ai.usage.promptTokens"),
    "output_tokens": counts("ai.usage.outputTokens", "ai.usage.completionTokens"),
    "cache_read_input_tokens": counts("ai.usage.cachedInputTokens"),
    "reasoning_output_tokens": counts("ai.usage.reasoningTokens"),
    "time_to_first_token_s": [
        at(key, milliseconds) for key in ("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk")
    ],
    "session_id": texts(*(f"{_METADATA}{key}" for key in ("sessionId", "conversationId", "threadId", "chatId"))),
    "user_id": texts(f"{_METADATA}userId"),
    "agent_name": texts("ai.telemetry.functionId"),
    "tool_name": texts("ai.toolCall.name"),
    "tool_call_id": texts("ai.toolCall.id"),
    "tool_arguments": values("ai.toolCall.args", "ai.toolCall.input"),
    "tool_result": values("ai.toolCall.result", "ai.toolCall.output"),
}  # fmt: skip
