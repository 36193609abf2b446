"""Model calls and tools that a simple reader counts twice, or does not see."""

import json
from typing import Any

import pytest

from otel_eval.sampling.signals import detect
from otel_eval.traces.view import TraceView
from otel_eval.wire import lens
from tests.spans import Attributes, span, trace_request, view, views

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
SDK = "com.anthropic.sdk.python"
ASKED = '[{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]'
ANSWERED = '[{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "stop"}]'
CONTENT = {**CHAT, "gen_ai.input.messages": ASKED, "gen_ai.output.messages": ANSWERED, "gen_ai.usage.input_tokens": 9}
BARE = {**CHAT, "gen_ai.usage.input_tokens": 9, "gen_ai.response.time_to_first_chunk": 0.05}


def full_call(response_id: str, where: str) -> Attributes:
    """A call with content, and its response id as an attribute or only in the output's JSON."""
    if where == "attribute":
        return {**CONTENT, "gen_ai.response.id": response_id}
    output = {"id": response_id, "content": [{"type": "text", "text": "Hello"}], "role": "assistant"}
    return {
        "openinference.span.kind": "LLM",
        "input.value": "Hi",
        "output.value": json.dumps(output),
        "llm.token_count.prompt": 9,
    }


@pytest.mark.parametrize("where", ["attribute", "output JSON"])
@pytest.mark.parametrize("place", ["child", "behind plumbing", "sibling", "other trace"])
def test_a_call_that_two_spans_report_is_one_call(place: str, where: str) -> None:
    bare: dict[str, Any] = {"attributes": {**BARE, "gen_ai.response.id": "r1"}, "scope": SDK, "identity": 3}
    parent, trace = {"child": (2, 1), "behind plumbing": (4, 1), "sibling": (1, 1), "other trace": (0, 2)}[place]
    found = views(
        span({"gen_ai.operation.name": "invoke_agent"}, identity=1, duration_ms=200),
        span(full_call("r1", where), identity=2, parent=1),
        span({"http.request.method": "POST"}, identity=4, parent=2),
        span(**bare, parent=parent, trace=trace),
    )
    (call,) = [call for one in found for call in one.model_calls]
    assert call.output_text == "Hello"
    assert call.time_to_first_token_s == 0.05
    assert call.duplicate_span_ids == (f"{3:016x}",)
    assert sum(one.usage.input_tokens or 0 for one in found) == 9


def test_two_instrumentations_with_content_are_one_call() -> None:
    outer = span(
        {"langfuse.observation.type": "generation", "langfuse.observation.input": "Hi", "langfuse.observation.output": "Hello"},
        identity=1,
    )
    found = view(outer, span({**CONTENT, "gen_ai.usage.output_tokens": 4}, identity=2, parent=1))
    assert len(found.model_calls) == 1
    assert found.usage.output_tokens == 4


def test_a_span_with_a_model_name_around_several_calls_is_no_call() -> None:
    task = span({"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 18}, name="my agent", identity=1, duration_ms=500)
    found = view(task, span(CONTENT, identity=2, parent=1), span(CONTENT, identity=3, parent=1, start_ms=200))
    assert [call.span_id for call in found.model_calls] == [f"{2:016x}", f"{3:016x}"]
    assert found.usage.input_tokens == 18


def test_retries_of_one_call_are_one_call() -> None:
    outer = span({**CONTENT, "openinference.span.kind": "LLM"}, identity=1, duration_ms=500)
    attempts = [
        span({**BARE, "error.type": "overloaded_error"}, identity=2 + n, parent=1, start_ms=n, failed=True) for n in range(2)
    ]
    assert len(view(outer, *attempts).model_calls) == 1


@pytest.mark.parametrize("place", ["sibling", "other trace"])
def test_a_failed_call_that_two_spans_report_is_one_error(place: str) -> None:
    content = {**CHAT, "gen_ai.input.messages": ASKED, "error.type": "InternalServerError"}
    parent, trace = (1, 1) if place == "sibling" else (0, 2)
    found = views(
        span({"gen_ai.operation.name": "invoke_agent"}, identity=1, duration_ms=200),
        span(content, identity=2, parent=1, failed=True, duration_ms=100),
        span(
            {**CHAT, "error.type": "api_error"},
            identity=3,
            parent=parent,
            trace=trace,
            scope=SDK,
            start_ms=1,
            duration_ms=90,
            failed=True,
        ),
    )
    assert [len(one.model_calls) for one in found] in ([1], [1, 0])
    assert "model_error" in detect(found[0])


def test_a_lone_shadow_raises_no_signal_unless_all_traces_are_there() -> None:

    shadow = span({**CHAT, "error.type": "api_error"}, scope=SDK, failed=True)
    alone = TraceView(lens.groups(trace_request([shadow])))
    assert alone.model_calls[0].is_shadow
    assert detect(alone) == {}
    assert set(detect(view(shadow))) == {"model_error"}


def test_a_vendor_sdks_failed_call_below_an_application_is_an_error_of_its_own() -> None:
    failed: dict[str, Any] = {
        "attributes": {**CHAT, "error.type": "api_error"},
        "scope": SDK,
        "failed": True,
        "identity": 2,
        "parent": 1,
    }
    for spans in ([span(**failed)], [span({"http.route": "/chat"}, identity=1), span(**failed)]):
        alone = TraceView(lens.groups(trace_request(spans)))
        assert set(detect(alone)) == {"model_error"}


@pytest.mark.parametrize(
    "around",
    [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 18, "gen_ai.usage.output_tokens": 8},
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.aggregated_usage.input_tokens": 18},
        {"openinference.span.kind": "AGENT", "llm.token_count.prompt": 18},
        {"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 18, "ai.response.text": "Hello"},
    ],
)
def test_sums_on_agent_spans_are_not_counted_again(around: Attributes) -> None:
    found = view(span(around, identity=1), span(CONTENT, identity=2, parent=1), span(CONTENT, identity=3, parent=1))
    assert found.usage.input_tokens == 18
    assert len(found.model_calls) == 2


@pytest.mark.parametrize("call_ids", [True, False])
def test_a_tool_is_matched_to_the_request_for_it(call_ids: bool) -> None:
    def calls(number: int) -> dict[str, Any]:
        named = {"id": f"c{number}"} if call_ids else {}
        return {"type": "tool_call", "name": "t", "arguments": {"n": number}, **named}

    asked = json.dumps([{"role": "assistant", "parts": [calls(1), calls(2)]}])
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"}
    found = view(
        span({"gen_ai.operation.name": "invoke_agent"}, identity=1),
        span({**CHAT, "gen_ai.output.messages": asked}, identity=2, parent=1),
        span(
            {**tool, "gen_ai.tool.call.result": "one", **({"gen_ai.tool.call.id": "c1"} if call_ids else {})},
            identity=3,
            parent=1,
            start_ms=10,
        ),
        span(
            {**tool, "gen_ai.tool.call.result": "two", **({"gen_ai.tool.call.id": "c2"} if call_ids else {})},
            identity=4,
            parent=1,
            start_ms=20,
        ),
    )
    assert [(one.arguments, one.result, one.requested_by) for one in found.tool_calls] == [
        ({"n": 1}, "one", f"{2:016x}"),
        ({"n": 2}, "two", f"{2:016x}"),
    ]


def test_a_tool_without_a_span_has_the_result_that_the_model_was_told() -> None:
    asked = json.dumps([{"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "t", "arguments": {"n": 1}}]}])
    told = json.dumps([{"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "Error: down"}]}])
    found = view(
        span({**CHAT, "gen_ai.output.messages": asked}, identity=1),
        span({**CHAT, "gen_ai.input.messages": told}, identity=2, start_ms=10),
    )
    (tool,) = found.tool_calls
    assert (tool.name, tool.result, tool.error, tool.span_id) == ("t", "Error: down", "Error: down", None)


def test_nested_spans_of_one_tool_are_one_execution() -> None:
    outer = span(
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t", "gen_ai.tool.call.arguments": {"n": 1}}, identity=1
    )
    inner = span(
        {"mcp.method.name": "tools/call", "gen_ai.tool.name": "t", "error.type": "tool_error"},
        name="tools/call t",
        identity=2,
        parent=1,
    )
    (tool,) = view(outer, inner).tool_calls
    assert (tool.arguments, tool.error) == ({"n": 1}, "tool_error")


def test_the_merged_span_of_parallel_tools_is_no_tool() -> None:
    marks = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "(merged tools)",
        "gcp.vertex.agent.tool_call_args": "N/A",
    }
    assert view(span(marks)).tool_calls == ()


def test_a_refusal_in_the_raw_answer_is_the_output() -> None:
    raw = {
        "id": "r",
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": None, "refusal": "I cannot."}}],
    }
    found = view(
        span(
            {"openinference.span.kind": "LLM", "llm.output_messages.0.message.role": "assistant", "output.value": json.dumps(raw)}
        )
    )
    assert found.final_output == "I cannot."
    assert "refusal" in detect(found)


@pytest.mark.parametrize(
    "raw",
    [
        {
            "choices": [
                {
                    "logprobs": {
                        "content": [
                            {"token": "a", "logprob": -1.0},
                            {"token": "b", "logprob": -2.0, "top_logprobs": [{"logprob": -9.0}]},
                        ]
                    }
                }
            ]
        },
        {"choices": [{"logprobs": {"token_logprobs": [-1.0, -2.0]}}]},
        {"avg_logprobs": -1.5},
        {"candidates": [{"avgLogprobs": -1.5}]},
        {"output": [{"content": [{"type": "output_text", "text": "x", "logprobs": [{"logprob": -1.5}]}]}]},
        {"generations": [[{"generation_info": {"logprobs": {"content": [{"logprob": -1.5}]}}}]]},
    ],
)
@pytest.mark.parametrize("key", ["output.value", "mlflow.spanOutputs", "gen_ai.completion", "gcp.vertex.agent.llm_response"])
def test_log_probabilities_are_found_in_the_raw_answer(key: str, raw: dict[str, Any]) -> None:
    (call,) = view(span({"openinference.span.kind": "LLM", key: json.dumps(raw)})).model_calls
    assert call.mean_logprob == -1.5


def test_a_tool_message_of_langchain_is_its_content() -> None:
    message = {"content": "rain, 14C", "type": "tool", "name": "t", "tool_call_id": "c1", "status": "success"}
    marks = {
        "langfuse.observation.type": "tool",
        "langfuse.observation.input": "{'city': 'Paris'}",
        "langfuse.observation.output": json.dumps(message),
    }
    (tool,) = view(span(marks, name="t")).tool_calls
    assert (tool.arguments, tool.result, tool.call_id) == ({"city": "Paris"}, "rain, 14C", "c1")
