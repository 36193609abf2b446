"""Messages in every vendor's shape as our records.

`messages(value, role)` takes what an attribute, event or log holds: GenAI parts, OpenAI chat and Responses, Anthropic,
Gemini, Bedrock, Vercel, LangChain (serialised objects too), function arguments (`args`, `kwargs`), or plain text, each
also as JSON text. What it does not know becomes one message with a Data part.
"""

from typing import Any, Final

from otel_eval.traces.message import finish_reason, is_message, message
from otel_eval.traces.parts import part_of, parts
from otel_eval.traces.records import Data, Message, Part, Reasoning, Text, ToolCall, ToolResult
from otel_eval.traces.values import MAX_ITEMS, Plain, cut, first, structured, to_text

_MAX_DEPTH: Final = 8
# Where a value that is no message keeps what was said, by the role of who speaks; the first key that is there counts.
_SAID: Final = {
    "user": (
        "messages", "contents", "input_messages", "input", "inputs", "question", "query", "prompt", "user_input",
        "user_message", "user_prompt", "message", "text", "content", "prompts", "input_data", "task", "query_str",
    ),
    "assistant": (
        "messages", "output_messages", "output", "outputs", "response", "answer", "result", "final_output", "message",
        "text", "content", "completion", "generation", "reply", "output_text", "replies", "update", "output_data",
        "combined_chunk_content",
    ),
}  # fmt: skip


def messages(value: Plain, role: str) -> tuple[Message, ...]:
    """The messages in a value; `role` is whose they are where it does not say. Empty when nothing was said."""
    found: list[Message] = []
    _collect(_decoded(value), role, found, 0)
    return tuple(message for message in found[:MAX_ITEMS] if message.parts)


def _decoded(value: Plain) -> Plain:
    """JSON text decoded, unless it is an unknown object: then the text as it was written is worth more."""
    if not isinstance(value, str):
        return value
    if value == "null":
        return None
    decoded = structured(value)
    if isinstance(decoded, dict | list) and not decoded:
        return None
    if isinstance(decoded, dict) and not _known(decoded):
        return _Written(value)
    return decoded


class _Written(str):
    """The text of an object that is no message."""

    __slots__ = ()


def _known(value: dict[str, Any]) -> bool:
    return (
        len(value) == 1
        or is_message(value)
        or _is_envelope(value)
        or any(key in value for key in _CONTAINERS)
        or part_of(value) is not None
    )


_CONTAINERS: Final = frozenset(
    {"choices", "candidates", "generations", "args", "system", "instructions", *_SAID["user"], *_SAID["assistant"]}
)


def _is_envelope(value: dict[str, Any]) -> bool:
    """LangWatch's way to say what a value is."""
    return "value" in value and value.get("type") in ("chat_messages", "text", "json", "raw", "list")


def _collect(value: Plain, role: str, found: list[Message], depth: int) -> None:
    if depth > _MAX_DEPTH or len(found) >= MAX_ITEMS or value is None:
        return
    if isinstance(value, str):
        if value:
            found.append(Message(role, (Data(cut(str(value))) if isinstance(value, _Written) else Text(cut(value)),)))
    elif isinstance(value, list | tuple):
        _collect_list(list(value[:MAX_ITEMS]), role, found, depth)
    elif isinstance(value, dict):
        if is_message(value):
            found.append(message(value, role))
        else:
            _collect_dict(value, role, found, depth)
    else:
        found.append(Message(role, (Data(to_text(value)),)))


def _collect_list(value: list[Any], role: str, found: list[Message], depth: int) -> None:
    """Messages and blocks may be mixed (Responses API); neighbouring blocks are one message."""
    blocks: list[Part] = []
    for item in value:
        block = None if isinstance(item, str | list) or is_message(item) else part_of(item)
        if block is None:
            thoughts = blocks.copy() if all(isinstance(one, Reasoning) for one in blocks) else []
            if thoughts and is_message(item):  # the Responses API puts them before the message
                said = message(item, role)
                found.append(Message(said.role, (*thoughts, *said.parts), said.name, said.finish_reason))
                blocks.clear()
                continue
            _flush(blocks, role, found)
            _collect(item, role, found, depth + 1)
        else:
            if blocks and isinstance(block, ToolResult) != isinstance(blocks[-1], ToolResult):
                _flush(blocks, role, found)
            blocks.append(block)
    _flush(blocks, role, found)


def _flush(blocks: list[Part], role: str, found: list[Message]) -> None:
    if blocks:
        speaker = "tool" if isinstance(blocks[0], ToolResult) else role
        if any(isinstance(block, ToolCall) for block in blocks):
            speaker = "assistant"
        found.append(Message(speaker, tuple(blocks)))
        blocks.clear()


def _collect_dict(value: dict[str, Any], role: str, found: list[Message], depth: int) -> None:
    if _collect_response(value, role, found, depth + 1):
        return
    keys = _SAID["user" if role == "user" else "assistant"]
    system = _system(value) if role == "user" else None
    if system is not None:
        found.append(system)
        if not any(key in value for key in keys):
            return
    block = part_of(value) if isinstance(value.get("type"), str) else None
    if block is not None:
        _flush([block], role, found)
        return
    said = first(value, *keys)
    if said is None and len(value) == 1:
        said = next(iter(value.values()))
    if said is None:
        found.append(Message(role, (Data(to_text(value)),)))
        return
    before = len(found)
    _collect(_decoded(said), role, found, depth + 1)
    _finish(value, found, before)


def _collect_response(value: dict[str, Any], role: str, found: list[Message], depth: int) -> bool:
    """What providers and wrappers put around messages; False when it is none of these."""
    for key, reader in (("choices", _choice), ("candidates", _candidate), ("generations", _generation)):
        if isinstance(value.get(key), list):
            for item in value[key][:MAX_ITEMS]:
                reader(item, role, found, depth)
            return True
    if isinstance(value.get("content"), dict) and "parts" in value["content"]:  # Gemini through ADK
        _candidate(value, role, found, depth)
    elif _is_envelope(value):
        _collect(value["value"], role, found, depth)
    elif value.keys() <= {"args", "kwargs"}:
        _collect(_argument(value), role, found, depth)
    else:
        return False
    return True


def _argument(value: dict[str, Any]) -> Plain:
    """What was said in the arguments of a decorated function: the first text, else the keyword arguments."""
    args, kwargs = value.get("args"), value.get("kwargs")
    if isinstance(args, list):
        spoken = [item for item in args if isinstance(item, dict | list) or (isinstance(item, str) and not item.startswith("<"))]
        if spoken:
            return spoken[0]
    return kwargs or None


def _system(value: dict[str, Any]) -> Message | None:
    """The system prompt that requests carry beside their messages."""
    config = value.get("config")
    system = first(value, "system", "instructions", "system_instruction", "systemInstruction", "system_prompt")
    system = system or first(config, "system_instruction", "systemInstruction")
    return Message("system", tuple(parts(system))) if isinstance(system, str | list | dict) else None


def _finish(value: dict[str, Any], found: list[Message], before: int) -> None:
    """Give the last message the finish reason that stands beside it."""
    reason = finish_reason(value)
    if reason and len(found) > before and found[-1].finish_reason is None:
        last = found[-1]
        found[-1] = Message(last.role, last.parts, last.name, reason)


def _choice(choice: Plain, role: str, found: list[Message], depth: int) -> None:
    """OpenAI: message or delta beside finish_reason; completions have text."""
    if isinstance(choice, dict):
        before = len(found)
        _collect(first(choice, "message", "delta", "text"), "assistant", found, depth)
        _finish(choice, found, before)


def _candidate(candidate: Plain, role: str, found: list[Message], depth: int) -> None:
    """Gemini."""
    if isinstance(candidate, dict):
        before = len(found)
        _collect(candidate.get("content"), role, found, depth)
        _finish(candidate, found, before)


def _generation(generation: Plain, role: str, found: list[Message], depth: int) -> None:
    """LangChain: lists of lists of {message, text, generation_info}."""
    if isinstance(generation, list):
        for item in generation[:MAX_ITEMS]:
            if depth <= _MAX_DEPTH:
                _generation(item, role, found, depth + 1)
    elif isinstance(generation, dict):
        before = len(found)
        _collect(first(generation, "message", "text"), "assistant", found, depth)
        info = generation.get("generation_info")
        _finish(info if isinstance(info, dict) else {}, found, before)
