"""What is left: `input.value`, `metadata`, names that many write, and any attribute that is called input or output."""

from collections.abc import Callable

from otel_eval.traces.fields.places import (
    Fields,
    answered,
    any_value,
    asked,
    at,
    member,
    texts,
    values,
    whole,
    word_list,
)  # fmt: skip
from otel_eval.traces.records import SpanKind
from otel_eval.traces.span import SpanReader
from otel_eval.traces.values import Plain, first, literal, structured

_SESSION_KEYS = ("session_id", "sessionId", "conversation_id", "thread_id", "chat_id", "langfuse_session_id", "session.id")
_USER_KEYS = ("user_id", "userId", "langfuse_user_id", "user.id")
_MODEL_KEYS = ("gen_ai.request.model", "gen_ai.response.model", "llm.request.type", "llm.model_name", "gen_ai.input.messages")
_MODEL_EVENTS = ("gen_ai.user.message", "gen_ai.choice", "gen_ai.client.inference.operation.details", "gen_ai.content.prompt")
_PARAMETERS = "gen_ai.request."
_NOT_SAID = ("ai.", "llm.", "http.", "db.", "gen_ai.usage.")  # there, a name that ends so is a setting or a count
_NOT_PARAMETERS = frozenset({"gen_ai.request.model", "gen_ai.request.user", "gen_ai.request.parameters"})


def weak_kind(span: SpanReader) -> SpanKind:
    """A kind for a span that names none: what it carries."""
    if any(
        key.startswith(("gen_ai.tool.name", "gen_ai.tool.call.", "tool.name", "lk.function_tool.")) for key in span.attributes
    ):
        return SpanKind.TOOL
    if any(key in span.attributes for key in _MODEL_KEYS) or any(name in span.events for name in _MODEL_EVENTS):
        return SpanKind.MODEL
    if any(prefix in span.flat for prefix in ("gen_ai.prompt", "gen_ai.completion", "gen_ai.input.messages")):
        return SpanKind.MODEL
    return SpanKind.OTHER


def _parameters(span: SpanReader) -> dict[str, Plain]:
    """`gen_ai.request.*` but the model."""
    return {
        key.removeprefix(_PARAMETERS): span.get(key)
        for key in span.attributes
        if key.startswith(_PARAMETERS) and key not in _NOT_PARAMETERS
    }


def _named(word: str, read: Callable[[Plain], Plain]) -> Callable[[SpanReader], Plain]:
    endings = (f".{word}", f":{word}", f".{word}.value", f".{word}_text", f".user_{word}")

    def found(span: SpanReader) -> Plain:
        keys = (key for key in span.attributes if key.endswith(endings) and not key.startswith(_NOT_SAID))
        return next((read(span.get(key)) for key in keys), None)

    return found


def _output_type(value: Plain) -> str | None:
    """`response_format` in the parameters: json_object or json_schema."""
    parameters = literal(value)
    form = first(parameters, "response_format", "text", "generation_config", "format")
    form = first(form, "format", "type", "response_mime_type") if isinstance(form, dict) else form
    form = first(form, "type") if isinstance(form, dict) else form
    return "json" if isinstance(form, str) and "json" in form else None


FIELDS: Fields = {
    "input_messages": [at("input.value", asked)],
    "output_messages": [at("output.value", answered)],
    "parameters": [whole(_parameters)],
    "output_type": [
        at(key, _output_type) for key in ("llm.invocation_parameters", "gen_ai.openai.request.response_format", "input.value")
    ],
    "session_id": [
        at("metadata", member(*_SESSION_KEYS)),
        *texts(*(f"metadata.{key}" for key in _SESSION_KEYS)),
        at("metadata.requester_metadata", member(*_SESSION_KEYS)),
        *texts("session_id", "conversation_id", "thread_id", "lk.session_id"),
    ],
    "user_id": [at("metadata", member(*_USER_KEYS)), *texts(*(f"metadata.{key}" for key in _USER_KEYS), "user_id", "userId")],
    "tool_name": texts("lk.function_tool.name"),
    "tool_call_id": texts("lk.function_tool.id"),
    "tool_arguments": values("input.value", "lk.function_tool.arguments"),
    "tool_result": values("output.value", "lk.function_tool.output"),
    "documents": values("output.value"),
    "raw_output": [at("output.value", structured)],
    "finish_reasons": [at("finish_reason", word_list)],
    "agent_name": texts("lk.agent_name"),
    "error_type": texts("error.type", "exception.type"),
    "error_message": texts("error.message", "exception.message"),
    "system_prompt": texts("system_prompt", "agent.system_prompt", "lk.instructions"),
}

LAST: Fields = {
    "input_messages": [
        *(at(key, asked) for key in ("lk.chat_ctx", "lk.user_input", "lk.user_transcript", "input", "prompt")),
        whole(_named("input", asked)),
    ],
    "output_messages": [
        *(at(key, answered) for key in ("lk.response.text", "output", "response", "completion")),
        whole(_named("output", answered)),
    ],
    "tool_arguments": [whole(_named("input", any_value))],
    "tool_result": [whole(_named("output", any_value))],
    "documents": [whole(_named("output", any_value))],
}
