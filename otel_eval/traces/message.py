"""One message in every vendor's shape as our record."""

from typing import Any, Final

from otel_eval.traces.parts import parts, tool_call, tool_result
from otel_eval.traces.records import Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from otel_eval.traces.values import MAX_ITEMS, Plain, first, structured, text_or_none, to_text

_ROLES: Final = {
    "human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant", "developer": "system", "function": "tool",
    "humanmessage": "user", "aimessage": "assistant", "systemmessage": "system", "toolmessage": "tool",
    "aimessagechunk": "assistant", "humanmessagechunk": "user", "functionmessage": "tool",
}  # fmt: skip
_LANGCHAIN_TYPES: Final = ("human", "ai", "system", "tool", "function", "AIMessageChunk")
# Keys of a few messages only: one look for all of them is enough for the others.
_WRAPPERS: Final = ("message", "data", "kwargs")
_CALLS: Final = frozenset({"tool_calls", "toolCalls", "additional_kwargs", "function_call", "function_call_name"})
_ASIDE: Final = frozenset({"reasoning_content", "reasoning", "thinking", "refusal", "additional_kwargs"})
_FINISH: Final = ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason")
_FINISHED: Final = frozenset({*_FINISH, "response_metadata"})


def is_message(value: Plain) -> bool:
    """Whether a dict is one message, rather than a block or a container."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("role"), str) or "lc" in value or "_role" in value:
        return True
    if value.get("type") in _LANGCHAIN_TYPES:
        return "content" in value or "data" in value
    return (isinstance(value.get("message"), dict) and len(value) == 1) or "parts" in value


def message(value: dict[str, Any], default_role: str) -> Message:
    """One message."""
    if isinstance(value.get("parts"), list) and isinstance(value.get("role"), str):  # GenAI and Gemini, the usual form
        role = _ROLES.get(value["role"], value["role"])
        return Message(role, tuple(parts(value["parts"])), text_or_none(value.get("name")), finish_reason(value))
    value = _unwrapped(value)
    role = text_or_none(first(value, "role", "_role", "type")) or default_role
    role = _ROLES.get(role.lower(), role.lower())
    if role in {"text", "chat", "message"}:
        role = default_role
    found = _said(value) + _asked(value)
    if role == "tool" and not any(isinstance(part, ToolResult) for part in found):
        content = first(value, "content", "_content", "contents", "text")
        found = [tool_result({**value, "content": content})] if content is not None else found
    name = text_or_none(value.get("name"))
    return Message(role, tuple(_without_repeats(found)), name, finish_reason(value))


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """OpenInference wraps a message once; LangChain has two ways to write an object."""
    for key in _WRAPPERS:
        inner = value.get(key)
        if isinstance(inner, dict) and (key != "kwargs" or "lc" in value):
            names = value.get("id")
            kind = names[-1] if isinstance(names, list) and names else value.get("type")
            value = {"type": kind, **inner}
    return value


def _said(value: dict[str, Any]) -> list[Part]:
    """Reasoning, content and refusal. OpenInference may have `contents` besides `content`, with the same text."""
    found = parts(value["contents"]) if "contents" in value else []
    if not found or not any(isinstance(part, Text) for part in found):
        found = parts(first(value, "content", "_content", "text")) + found
    if _ASIDE.isdisjoint(value):
        return found
    reasoning = text_or_none(first(value, "reasoning_content", "reasoning", "thinking"))
    refusal = text_or_none(first(value, "refusal") or first(value.get("additional_kwargs"), "refusal"))
    before: list[Part] = [Reasoning(reasoning)] if reasoning else []
    after: list[Part] = [Refusal(refusal)] if refusal else []
    return before + found + after


def _asked(value: dict[str, Any]) -> list[Part]:
    """Tool calls beside the content."""
    if _CALLS.isdisjoint(value):
        return []
    calls = first(value, "tool_calls", "toolCalls") or first(value.get("additional_kwargs"), "tool_calls")
    calls = structured(calls)
    found = [tool_call(call) for call in calls[:MAX_ITEMS]] if isinstance(calls, list) else []
    if isinstance(value.get("function_call"), dict):
        found.append(tool_call(value["function_call"]))
    if isinstance(value.get("function_call_name"), str):
        found.append(tool_call({"name": value["function_call_name"], "arguments": value.get("function_call_arguments_json")}))
    return [call for call in found if call is not None]


def _without_repeats(found: list[Part]) -> list[Part]:
    """A tool call that stands in the content as well as beside it is one call."""
    if len(found) < 2:
        return found
    seen: set[str] = set()
    kept: list[Part] = []
    for part in found:
        if isinstance(part, ToolCall):
            key = part.id or f"{part.name} {to_text(part.arguments)}"
            if key in seen:
                continue
            seen.add(key)
        kept.append(part)
    return kept


def finish_reason(value: dict[str, Any]) -> str | None:
    """Why the model stopped, as it stands in a message or beside it."""
    if _FINISHED.isdisjoint(value):
        return None
    reason = first(value, *_FINISH)
    reason = reason or first(value.get("response_metadata"), "finish_reason", "stop_reason", "finishReason")
    return text_or_none(reason)
