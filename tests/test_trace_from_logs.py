"""Log records of traces without spans."""

import json
from typing import Any

import pytest

from otel_eval.sampling.signals import detect
from tests.spans import Attributes, Made, log, view, views

DETAILS = "gen_ai.client.inference.operation.details"


def claude(name: str, attributes: Attributes, at_ms: float, *, trace: int = 0, session: str = "s") -> Made:
    marks = {"event.name": name, "session.id": session, "user.id": "u", **attributes}
    return log("", marks, f"claude_code.{name}", trace=trace, span_identity=trace, at_ms=at_ms)


@pytest.mark.parametrize("trace", [0, 1])
def test_claude_codes_logs_alone_are_a_trace(trace: int) -> None:
    request = {"request_id": "q1", "model": "claude", "input_tokens": "25", "cache_read_tokens": "8", "duration_ms": "250"}
    tool = {"tool_name": "Bash", "tool_use_id": "t1", "success": "false", "error": "no such file", "duration_ms": "9"}
    found = view(
        claude("assistant_response", {"request_id": "q1", "response": "Done"}, 900, trace=trace),
        claude("user_prompt", {"prompt": "Hi"}, 1, trace=trace),
        claude("api_request", {**request, "cost_usd": "0.5"}, 300, trace=trace),
        claude("tool_result", {**tool, "tool_input": '{"command": "ls"}'}, 400, trace=trace),
    )
    assert (found.user_input, found.final_output, found.session_id, found.user_id) == ("Hi", "Done", "s", "u")
    assert (found.span_count, found.cost_usd, found.usage.input_tokens) == (0, 0.5, 33)
    assert found.model_calls[0].duration_s == 0.25
    (ran,) = found.tool_calls
    assert (ran.name, ran.arguments, ran.error) == ("Bash", {"command": "ls"}, "no such file")
    assert set(detect(found)) == {"tool_error"}


def test_a_failed_request_in_logs_alone_is_a_model_error() -> None:
    found = view(claude("user_prompt", {"prompt": "Hi"}, 1), claude("api_error", {"error": "busy", "status_code": "529"}, 9))
    assert set(detect(found)) == {"model_error"}


@pytest.mark.parametrize("identity", [0, 7])
def test_genai_events_alone_are_a_trace(identity: int) -> None:
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}])
    answer = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "length"}])
    said = {"gen_ai.input.messages": messages, "gen_ai.output.messages": answer, "gen_ai.request.model": "m"}
    found = view(log(DETAILS, {**said, "gen_ai.conversation.id": "s"}, trace=identity, span_identity=identity))
    (call,) = found.model_calls
    assert (call.request_model, call.output_text, found.user_input, found.session_id) == ("m", "Hello", "Hi", "s")
    assert set(detect(found)) == {"truncated"}


def test_messages_in_logs_alone_are_a_trace() -> None:
    def said(name: str, body: Any, at_ms: float) -> Made:
        return log(name, body=body, span_identity=3, at_ms=at_ms)

    choice = said("gen_ai.choice", {"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}, 5)
    found = view(choice, said("gen_ai.user.message", {"content": "Hi"}, 1))
    assert (found.user_input, found.final_output, len(found.model_calls)) == ("Hi", "Hello", 1)


def test_sessions_are_kept_apart_and_other_logs_are_no_traces() -> None:
    found = views(
        claude("user_prompt", {"prompt": "one"}, 1),
        claude("user_prompt", {"prompt": "two"}, 2, session="t"),
        log("", {"http.route": "/"}, "GET /", trace=5),
        log("gen_ai.user.message", body={"content": "whose?"}, trace=0, span_identity=0),
    )
    assert [one.user_input for one in found] == ["one", "two"]
