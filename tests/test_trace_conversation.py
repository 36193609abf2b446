"""Trees, turns and texts that a simple reader gets wrong."""

import json
from typing import Any

import pytest

from tests.spans import Attributes, Made, log, span, view, views

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
ASKED = '[{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]'
ANSWERED = '[{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "stop"}]'
CONTENT = {**CHAT, "gen_ai.input.messages": ASKED, "gen_ai.output.messages": ANSWERED, "gen_ai.usage.input_tokens": 9}


@pytest.mark.parametrize("order", ["as is", "reversed"])
def test_children_may_come_before_parents_and_logs_before_spans(order: str) -> None:
    items = [
        log("gen_ai.choice", body={"message": {"role": "assistant", "content": "Hello"}}, span_identity=2, at_ms=3),
        log("gen_ai.user.message", body={"content": "Hi"}, span_identity=2, at_ms=1),
        span(CHAT, identity=2, parent=1),
        span({"gen_ai.operation.name": "invoke_agent", "session.id": "s"}, identity=1),
    ]
    found = view(*(items if order == "as is" else reversed(items)))
    assert (found.user_input, found.final_output, found.session_id) == ("Hi", "Hello", "s")
    assert [root.span_id for root in found.tree.roots] == [f"{1:016x}"]


def test_one_request_may_hold_several_traces() -> None:
    found = views(span(CONTENT, trace=2, start_ms=50), span(CHAT, trace=1))
    assert [len(one.spans) for one in found] == [1, 1]
    assert [one.user_input for one in found] == [None, "Hi"]


def test_the_agents_input_is_what_the_user_asked_rather_than_the_prompt_around_it() -> None:
    prompt = '[{"role": "user", "content": "Answer from this: ... Question: What is otel?"}]'
    found = view(
        span(
            {
                "openinference.span.kind": "CHAIN",
                "input.value": '{"question": "What is otel?", "k": 4}',
                "output.value": "A framework.",
            },
            identity=1,
        ),
        span(
            {"openinference.span.kind": "LLM", "input.value": prompt, "output.value": "otel is a framework."},
            identity=2,
            parent=1,
        ),
    )
    assert (found.user_input, found.final_output) == ("What is otel?", "A framework.")


def test_an_input_that_is_the_system_prompt_is_no_question() -> None:
    messages = {
        "gen_ai.input.messages.0.message.role": "system", "gen_ai.input.messages.0.message.content": "Be nice.",
        "gen_ai.input.messages.1.message.role": "user", "gen_ai.input.messages.1.message.content": "Hi",
    }  # fmt: skip
    agent = span({"gen_ai.span.kind": "AGENT", "input.value": "Be nice."}, identity=1)
    found = view(agent, span({"gen_ai.span.kind": "LLM", "input.value": "Be nice.", **messages}, identity=2, parent=1))
    assert (found.user_input, found.system_prompt) == ("Hi", "Be nice.")


def test_a_repeated_system_prompt_is_read_once() -> None:
    messages = '[{"role": "system", "content": "Be nice."}, {"role": "system", "content": "Be nice."}, {"role": "user", "content": "Hi"}]'
    (call,) = view(span({**CHAT, "gen_ai.system_instructions": "Be nice.", "gen_ai.input.messages": messages})).model_calls
    assert call.system_prompt == "Be nice."
    assert [message.role for message in call.input_messages] == ["user"]


def turn(identity: int, history: list[tuple[str, str]], answer: str) -> Made:
    messages = [{"role": role, "content": text} for role, text in history]
    attributes = {
        **CHAT,
        "gen_ai.input.messages": json.dumps(messages),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": answer}]),
    }
    return span(attributes, identity=identity, parent=1, start_ms=identity * 10, duration_ms=5)


def test_of_several_turns_in_one_trace_the_last_one_counts() -> None:
    first = [("user", "Capital of France?")]
    second = [*first, ("assistant", "Paris."), ("user", "And its population?")]
    found = view(span(identity=1), turn(2, first, "Paris."), turn(3, second, "2.1 million."))
    assert (found.user_input, found.final_output) == ("And its population?", "2.1 million.")


def test_a_later_step_of_a_pipeline_is_not_what_the_user_asked() -> None:
    found = view(
        span(identity=1), turn(2, [("user", "Write about cats")], "Cats ..."), turn(3, [("user", "Shorten: Cats ...")], "Cats.")
    )
    assert (found.user_input, found.final_output) == ("Write about cats", "Cats.")


@pytest.mark.parametrize(
    "marks",
    [
        {"openinference.span.kind": "EVALUATOR"},
        {"langfuse.observation.type": "evaluator"},
        {"gen_ai.operation.name": "evaluation"},
    ],
)
def test_evaluators_and_what_they_call_are_no_part_of_the_agent(marks: Attributes) -> None:
    judged = span(CONTENT, identity=1)
    judge = span({**marks, "session.id": "judge"}, identity=2, parent=1, start_ms=500, failed=True)
    call = span(
        {**CHAT, "gen_ai.input.messages": '[{"role": "user", "content": "Judge this"}]'}, identity=3, parent=2, start_ms=501
    )
    found = view(judged, judge, call)
    assert len(found.model_calls) == 1
    assert (found.user_input, found.session_id, found.errors, found.duration_s) == ("Hi", None, (), 0.1)


def test_our_own_spans_are_left_out() -> None:
    found = view(
        span(CONTENT, identity=1), span({**CONTENT, "gen_ai.evaluation.name": "x"}, identity=2, parent=1, scope="otel_eval")
    )
    assert len(found.model_calls) == 1
    assert found.evaluations == ()


def test_a_span_that_was_sent_twice_is_read_once() -> None:
    assert len(view(span(CONTENT), span(CONTENT)).model_calls) == 1


def test_parents_in_a_circle_are_cut() -> None:
    found = view(span(identity=1, parent=2), span(CONTENT, identity=2, parent=3), span(identity=3, parent=1))
    assert len(found.tree.roots) == 1
    assert len(found.tree.top_down()) == 3
    assert found.user_input == "Hi"


def test_an_empty_or_null_value_says_nothing() -> None:
    for nothing in ("{}", "[]", "null", "", '""'):
        found = view(span({"openinference.span.kind": "LLM", "input.value": nothing, "output.value": nothing}))
        assert (found.user_input, found.final_output, found.model_calls[0].has_content) == (None, None, False)


def test_a_callbacks_arguments_are_not_taken_for_what_was_said() -> None:
    given = {
        "inputs": {"messages": [{"type": "human", "content": "Hi"}]},
        "tags": [],
        "metadata": {},
        "kwargs": {"name": "LangGraph"},
    }
    gave = {
        "outputs": {"messages": [{"type": "human", "content": "Hi"}, {"type": "ai", "content": "Hello"}]},
        "kwargs": {"tags": []},
    }
    marks = {
        "traceloop.span.kind": "workflow",
        "traceloop.entity.input": json.dumps(given),
        "traceloop.entity.output": json.dumps(gave),
    }
    found = view(span(marks, name="LangGraph.workflow"))
    assert (found.user_input, found.final_output) == ("Hi", "Hello")


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"task": "Hi", "stream": False, "max_steps": 3}, "Hi"),
        ({"question": "Hi", "context": "long"}, "Hi"),
        ({"topic": "Hi"}, "Hi"),
        ({"args": ["<app.Agent object>", "Hi"], "kwargs": {}}, "Hi"),
        ({"args": [], "kwargs": {"query": "Hi", "k": 3}}, "Hi"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "Hi"),
        ([{"role": "user", "content": "Hi"}], "Hi"),
        ({"a": 1, "b": 2}, '{"a": 1, "b": 2}'),
    ],
)
def test_an_agents_input_is_read_in_the_shapes_that_frameworks_give_it(given: Any, asked: str) -> None:
    assert view(span({"openinference.span.kind": "AGENT", "input.value": json.dumps(given)})).user_input == asked
