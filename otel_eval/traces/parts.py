"""The parts of a message, in every vendor's shape, as our records."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_eval.traces.records import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from otel_eval.traces.values import MAX_ITEMS, Plain, bounded, cut, first, literal, structured, text_or_none, to_text

_ERROR_STATUSES: Final = frozenset({"error", "failed", "failure", "incomplete"})


def parts(content: Plain) -> list[Part]:
    """The parts of a message's content: text, one block, or a list of blocks."""
    if isinstance(content, str):
        content = _blocks_in_text(content)
    if isinstance(content, str):
        return [Text(cut(content))] if content else []
    if isinstance(content, dict):
        content = content.get("parts", [content])
    if not isinstance(content, list):
        return []
    return [part for block in content[:MAX_ITEMS] if (part := part_of(block)) is not None]


def _blocks_in_text(content: str) -> Plain:
    """Blocks that were written as JSON into a text; any other text stays one."""
    if content[:2] in {"[{", "[ "} or content.startswith("[\n"):
        decoded = structured(content)
        if isinstance(decoded, list) and decoded and all(_is_block(block) for block in decoded):
            return decoded
    return content


def _is_block(block: Plain) -> bool:
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    return kind in _BY_TYPE if isinstance(kind, str) else any(key in block for key in _BY_KEY)


def part_of(block: Plain) -> Part | None:
    """One content block; None for a block without anything that we keep."""
    if isinstance(block, str):
        return Text(cut(block)) if block else None
    if not isinstance(block, dict):
        return None
    if isinstance(block.get("message_content"), dict):  # OpenInference
        block = {**block, **block["message_content"]}
    kind = block.get("type")
    if isinstance(kind, str) and kind in _BY_TYPE:
        return _BY_TYPE[kind](block)
    for key, read in _BY_KEY.items():
        if block.get(key) is not None:
            return read(block)
    return None


def _text(block: Mapping[str, Any]) -> Part | None:
    if block.get("thought") is True:  # Gemini
        return _reasoning(block)
    text = first(block, "text", "content", "value")
    if isinstance(text, dict):  # Responses API: {"text": {"value": ...}}
        text = first(text, "value", "text")
    return None if text is None else Text(to_text(text))


def _reasoning(block: Mapping[str, Any]) -> Part | None:
    value = first(block, "thinking", "content", "text", "reasoning", "reasoningText", "reasoningContent", "summary")
    if isinstance(value, dict):
        value = first(value, "reasoningText", "text")
        value = first(value, "text") if isinstance(value, dict) else value
    if isinstance(value, list):
        value = "\n".join(filter(None, (text_or_none(first(item, "text")) for item in value[:MAX_ITEMS])))
    return Reasoning(to_text(value)) if value else None


def _refusal(block: Mapping[str, Any]) -> Part | None:
    text = text_or_none(first(block, "refusal", "text", "content"))
    return None if text is None else Refusal(text)


def tool_call(block: Plain) -> ToolCall | None:
    """A request for a tool: OpenAI's, Anthropic's, Bedrock's, Gemini's, Vercel's, LangChain's or OpenInference's."""
    if not isinstance(block, dict):
        return None
    inner = first(block, "tool_call", "toolUse", "functionCall", "function_call")
    if isinstance(inner, dict):
        block = {**block, **inner}
    function = block.get("function")
    if isinstance(function, dict):
        block = {**block, **function}
    name = text_or_none(first(block, "name", "toolName", "tool_name", "function"))
    if name is None:
        return None
    arguments = first(block, "arguments", "args", "input", "parameters", "partial_json", "server_tool_call")
    identity = first(block, "id", "call_id", "tool_call_id", "toolCallId", "toolUseId")
    if block.get("type") == "function_call":  # Responses API: `id` is the item, `call_id` is what the result names
        identity = first(block, "call_id", "id")
    return ToolCall(name[:1000], bounded(literal(arguments)), text_or_none(identity))


def tool_result(block: Mapping[str, Any]) -> ToolResult:
    """A tool's result in any of those shapes."""
    inner = first(block, "toolResult", "functionResponse", "function_response")
    if isinstance(inner, dict):
        block = {**block, **inner}
    result = first(block, "response", "result", "content", "output", "text", "server_tool_call_response")
    status = first(block, "status", "state")
    failed = first(block, "is_error", "isError")
    if isinstance(result, dict) and set(result) <= {"type", "value"} and "value" in result:  # Vercel: {type: error-text, ...}
        failed = True if str(result.get("type", "")).startswith("error") else failed
        result = result["value"]
    if failed is None and isinstance(status, str):
        failed = status.lower() in _ERROR_STATUSES
    identity = first(block, "tool_call_id", "tool_use_id", "toolCallId", "toolUseId", "call_id", "id")
    name = text_or_none(first(block, "name", "toolName", "tool_name"))
    return ToolResult(result_value(result), text_or_none(identity), name, None if failed is None else _true(failed))


def _true(value: Plain) -> bool:
    return value.lower() == "true" if isinstance(value, str) else bool(value)


def result_value(result: Plain) -> Plain:
    """A tool's result without the message around it: blocks that are all text become text, JSON is decoded."""
    result = structured(result)
    if isinstance(result, dict):
        inner = first(result, "data", "kwargs")  # a LangChain ToolMessage
        message = inner if isinstance(inner, dict) else result
        if "tool_call_id" in message and "content" in message:
            return result_value(message["content"])
        if isinstance(result.get("content"), list) and "isError" in result:  # MCP
            return result_value(result["content"])
    if isinstance(result, list) and result:
        found = [part_of(block) if _is_block(block) else None for block in result[:MAX_ITEMS]]
        if all(isinstance(part, Text) for part in found):
            return structured("\n".join(part.text for part in found if isinstance(part, Text)))
        if all(isinstance(block, dict) and set(block) == {"json"} for block in result):  # Bedrock
            return bounded(result[0]["json"] if len(result) == 1 else [block["json"] for block in result])
    return bounded(result)


def _media(block: Mapping[str, Any]) -> Part:
    kind = str(first(block, "modality", "type") or "file").lower().replace("input_", "").replace("_url", "")
    uri = first(block, "uri", "image_url", "url", "file_id", "image", "source", "fileData", "file")
    for _ in range(2):
        uri = first(uri, "url", "uri", "fileUri", "file_uri", "file_id", "image") if isinstance(uri, dict) else uri
    if not isinstance(uri, str) or uri.startswith("data:") or len(uri) > 2000:
        uri = None
    return Media(kind[:100], uri, text_or_none(first(block, "mime_type", "mimeType", "mediaType", "media_type")))


_BY_TYPE: Final[dict[str, Callable[[Mapping[str, Any]], Part | None]]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text"), _text),
    **dict.fromkeys(("reasoning", "thinking", "reasoning_content", "redacted_thinking"), _reasoning),
    "refusal": _refusal,
    **dict.fromkeys(
        ("tool_call", "tool_use", "tool-call", "function_call", "server_tool_call", "server_tool_use", "mcp_call", "function"),
        tool_call,
    ),
    **dict.fromkeys(
        (
            "tool_call_response", "tool_result", "tool-result", "function_call_output", "server_tool_call_response",
            "mcp_tool_result", "web_search_tool_result",
        ),
        tool_result,
    ),
    **dict.fromkeys(
        ("image", "image_url", "input_image", "audio", "input_audio", "file", "input_file", "document", "video", "blob", "uri"),
        _media,
    ),
}  # fmt: skip

# For blocks without a type: Gemini and Bedrock.
_BY_KEY: Final[dict[str, Callable[[Mapping[str, Any]], Part | None]]] = {
    **dict.fromkeys(("toolUse", "functionCall", "function_call", "tool_call"), tool_call),
    **dict.fromkeys(("toolResult", "functionResponse", "function_response"), tool_result),
    "reasoningContent": _reasoning,
    **dict.fromkeys(("inlineData", "inline_data", "fileData", "file_data", "image", "video"), _media),
    "refusal": _refusal,
    "text": _text,
}  # fmt: skip
