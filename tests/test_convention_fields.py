"""Sessions, tokens, costs, times, errors: each row of the tables, in every convention."""

from typing import Any

import pytest

from tests.spans import Attributes, call, log, span, view

MODEL = {"openinference.span.kind": "LLM"}


TRACELOOP = "traceloop.association.properties"


@pytest.mark.parametrize(
    "attributes",
    [
        *({key: "s"} for key in (
            "gen_ai.conversation.id", "session.id", "langfuse.session.id", f"{TRACELOOP}.session_id", f"{TRACELOOP}.conversation_id",
            f"{TRACELOOP}.thread_id", f"{TRACELOOP}.chat_id", "ai.telemetry.metadata.sessionId", "ai.telemetry.metadata.conversationId",
            "ai.telemetry.metadata.threadId", "ai.telemetry.metadata.chatId", "langsmith.metadata.session_id",
            "langsmith.metadata.thread_id", "langsmith.metadata.conversation_id", "langwatch.thread.id", "gcp.vertex.agent.session_id",
        )),
        {"mlflow.trace.session": '"s"'}, {"metadata": '{"session_id": "s"}'}, {"metadata": '{"thread_id": "s", "x": 1}'},
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["call", "ancestor", "elsewhere"])
def test_a_session_is_found_wherever_it_stands(attributes: Attributes, place: str) -> None:
    own = attributes if place == "call" else {}
    trace = view(
        span({"langsmith.trace.session_name": "project", **(attributes if place == "ancestor" else {})}, identity=1),
        span({"gen_ai.operation.name": "chat", **own}, identity=2, parent=1),
        span(attributes if place == "elsewhere" else {}, identity=3, parent=1),
    )
    assert trace.session_id == "s"


@pytest.mark.parametrize(
    "key",
    [
        "user.id", "enduser.id", "langfuse.user.id", f"{TRACELOOP}.user_id", "ai.telemetry.metadata.userId",
        "langsmith.metadata.user_id", "gen_ai.request.user", "llm.user", "gen_ai.user",
    ],
)  # fmt: skip
def test_a_user_is_found_in_every_convention(key: str) -> None:
    assert view(span({}, identity=1), span({key: "u"}, identity=2, parent=1)).user_id == "u"


def test_a_session_may_stand_only_on_a_log_record_or_the_resource() -> None:
    assert view(span(), log("x", {"session.id": "s", "user.id": "u"})).session_id == "s"
    assert view(span(resource={"session.id": "s"})).session_id == "s"


@pytest.mark.parametrize(
    ("attributes", "usage"),
    [
        ({"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 4, "gen_ai.usage.cache_read.input_tokens": 3}, (9, 4, 3, None, None)),
        ({"gen_ai.usage.prompt_tokens": 9, "gen_ai.usage.completion_tokens": 4, "gen_ai.usage.cache_read_input_tokens": 3, "gen_ai.usage.cache_creation_input_tokens": 2}, (9, 4, 3, 2, None)),
        ({"llm.token_count.prompt": 9, "llm.token_count.completion": 4, "llm.token_count.prompt_details.cache_read": 3, "llm.token_count.prompt_details.cache_write": 2, "llm.token_count.completion_details.reasoning": 1}, (9, 4, 3, 2, 1)),
        ({"ai.usage.inputTokens": 9, "ai.usage.outputTokens": 4}, (9, 4, None, None, None)),
        ({"ai.usage.promptTokens": 9, "ai.usage.completionTokens": 4}, (9, 4, None, None, None)),
        ({"langfuse.observation.usage_details": '{"input": 9, "output": 4}'}, (9, 4, None, None, None)),
        ({"langfuse.observation.usage_details": '{"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}'}, (9, 4, 3, None, None)),
        ({"mlflow.chat.tokenUsage": '{"input_tokens": 9, "output_tokens": 4}'}, (9, 4, None, None, None)),
        ({"langsmith.metadata.usage_metadata": '{"input_tokens": 9, "output_tokens": 4}', "gen_ai.usage.input_token_details": "{'audio': 0, 'cache_read': 3}"}, (9, 4, 3, None, None)),
        ({"input_tokens": 9, "output_tokens": 4}, (9, 4, None, None, None)),
        ({"gen_ai.usage.input_tokens": "9", "gen_ai.usage.output_tokens": 4.0, "gen_ai.usage.cache_write.input_tokens": 2, "gen_ai.usage.reasoning.output_tokens": 1}, (9, 4, None, 2, 1)),
        ({"gen_ai.usage.input_tokens": 9, "gen_ai.usage.cache_read_tokens": 3, "gen_ai.usage.reasoning_tokens": 1}, (9, None, 3, None, 1)),
    ],
)  # fmt: skip
def test_tokens_are_read_in_every_convention(attributes: Attributes, usage: tuple[int | None, ...]) -> None:
    found = call({**MODEL, **attributes}).usage
    assert tuple(getattr(found, field) for field in found.__struct_fields__) == usage


def test_claude_codes_input_tokens_leave_out_what_was_cached() -> None:
    found = call(
        {"span.type": "llm_request", "input_tokens": 25, "cache_read_tokens": 8, "output_tokens": 17},
        name="claude_code.llm_request",
    )
    assert (found.usage.input_tokens, found.usage.cache_read_input_tokens) == (33, 8)


@pytest.mark.parametrize(
    "attributes",
    [
        *({key: 0.5} for key in ("gen_ai.usage.cost", "llm.cost.total", "gen_ai.cost.total_cost", "gen_ai.cost.total", "operation.cost", "langwatch.span.cost")),
        {"langfuse.observation.cost_details": '{"total": 0.5}'}, {"mlflow.llm.cost": '{"total_cost": 0.5}'}, {"mlflow.llm.cost": "0.5"},
    ],
)  # fmt: skip
def test_a_cost_is_read_in_every_convention(attributes: Attributes) -> None:
    trace = view(span({**MODEL, **attributes}))
    assert trace.cost_usd == 0.5


@pytest.mark.parametrize(
    ("attributes", "scope", "seconds"),
    [
        ({"gen_ai.response.time_to_first_chunk": 0.04}, "", 0.04),
        ({"ai.response.msToFirstChunk": 40}, "", 0.04),
        ({"ai.stream.msToFirstChunk": 40.0}, "", 0.04),
        ({"ttft_ms": 40}, "", 0.04),
        ({"gen_ai.server.time_to_first_token": 0.04}, "openlit.otel.tracing", 0.04),
        ({"gen_ai.server.time_to_first_token": 40}, "strands.telemetry.tracer", 0.04),
        ({"gen_ai.server.time_to_first_token": 40}, "somebody", 0.04),
        ({"gen_ai.response.time_to_first_chunk": 4.0}, "", None),
        ({"langfuse.observation.completion_start_time": '"2023-11-14T22:13:20.040000Z"'}, "", 0.04),
    ],
)
def test_the_time_to_the_first_token_is_in_seconds(attributes: Attributes, scope: str, seconds: float | None) -> None:
    found = call({**MODEL, **attributes}, scope=scope, duration_ms=100).time_to_first_token_s
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1e-6))


def test_the_first_chunk_event_gives_the_time_too() -> None:
    assert call(MODEL, events=[("start", {}), ("ai.stream.firstChunk", {})]).time_to_first_token_s == 0.001


@pytest.mark.parametrize(
    ("attributes", "models"),
    [
        ({"gen_ai.request.model": "a", "gen_ai.response.model": "b"}, ("a", "b")),
        ({"llm.request.model_name": "a", "llm.response.model_name": "b"}, ("a", "b")),
        ({"llm.model_name": "b"}, ("b", "b")),
        ({"ai.model.id": "a", "ai.response.model": "b"}, ("a", "b")),
        ({"langfuse.observation.model.name": "b"}, ("b", "b")),
        ({"mlflow.llm.model": '"b"', "mlflow.spanInputs": '{"model": "a", "messages": []}'}, ("a", "b")),
        ({"model": "a"}, ("a", None)),
    ],
)
def test_the_models_asked_and_answered_are_read(attributes: Attributes, models: tuple[str | None, str | None]) -> None:
    found = call({**MODEL, **attributes})
    assert (found.request_model, found.response_model) == models


@pytest.mark.parametrize(
    ("attributes", "scope", "provider"),
    [
        ({"gen_ai.provider.name": "aws.bedrock"}, "", "aws.bedrock"),
        ({"gen_ai.system": "OpenAI"}, "", "openai"),
        ({"gen_ai.system": "openai.chat"}, "", "openai"),
        ({"gen_ai.system": "az.ai.openai"}, "", "az.ai.openai"),
        ({"llm.provider": "anthropic"}, "", "anthropic"),
        ({"llm.system": "openai"}, "", "openai"),
        ({"ai.model.provider": "openai.responses"}, "", "openai"),
        ({"mlflow.llm.provider": '"openai"'}, "", "openai"),
        ({}, "openinference.instrumentation.mistralai", "mistral"),
    ],
)
def test_a_provider_is_read_in_every_convention(attributes: Attributes, scope: str, provider: str) -> None:
    assert call({**MODEL, **attributes}, scope=scope).provider == provider


@pytest.mark.parametrize(
    ("attributes", "reasons"),
    [
        ({"gen_ai.response.finish_reasons": ["stop"]}, ("stop",)),
        ({"gen_ai.response.finish_reasons": '["end_turn"]'}, ("stop",)),
        ({"gen_ai.response.finish_reasons": "max_tokens"}, ("length",)),
        ({"gen_ai.response.finish_reasons": ["MAX_TOKENS"]}, ("length",)),
        ({"llm.finish_reason": "tool_use"}, ("tool_call",)),
        ({"gen_ai.completion.0.finish_reason": "tool_calls", "gen_ai.completion.0.content": "x"}, ("tool_call",)),
        ({"ai.response.finishReason": "tool-calls"}, ("tool_call",)),
        ({"ai.response.finishReason": "content-filter"}, ("content_filter",)),
        ({"stop_reason": "stop_sequence"}, ("stop",)),
        ({"anthropic.message.stop_reason": "refusal"}, ("refusal",)),
        ({"gen_ai.response.finish_reasons": ["SAFETY"]}, ("content_filter",)),
        ({"gen_ai.response.finish_reasons": ["tool_calls"], "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text", "content": "x"}], "finish_reason": "tool_call"}]'}, ("tool_call",)),
        ({"output.value": '{"choices": [{"finish_reason": "length", "message": {"content": "x"}}]}'}, ("length",)),
    ],
)  # fmt: skip
def test_finish_reasons_have_one_spelling(attributes: Attributes, reasons: tuple[str, ...]) -> None:
    assert call({**MODEL, **attributes}).finish_reasons == reasons


@pytest.mark.parametrize(
    ("attributes", "more"),
    [
        ({}, {"failed": True, "message": "boom"}),
        ({}, {"failed": True, "events": [("exception", {"exception.type": "E", "exception.message": "boom"})]}),
        ({"error.type": "boom"}, {}),
        ({"error.message": "boom"}, {}),
        ({"langfuse.observation.level": "ERROR", "langfuse.observation.status_message": "boom"}, {}),
        ({"http.response.status_code": 503, "error.message": "boom"}, {}),
        ({"success": False, "error": "boom"}, {}),
    ],
)
def test_an_error_is_read_in_every_convention(attributes: Attributes, more: dict[str, Any]) -> None:
    trace = view(span({**MODEL, **attributes}, **more))
    (error,) = trace.errors
    assert "boom" in f"{error.type} {error.message}"
    assert trace.model_calls[0].error == error


def test_an_error_may_stand_only_in_a_log_record() -> None:
    exception = {"exception.type": "RateLimitError", "exception.message": "slow down"}
    (error,) = view(span(MODEL), log("gen_ai.client.operation.exception", exception)).errors
    assert (error.type, error.category) == ("RateLimitError", "rate_limit")
