"""What of a trace, a session or a model call a judge is shown, and in which order."""

import json
from typing import Any

from otel_eval.evaluators.evaluator import Subject
from otel_eval.evaluators.rubric import Part
from otel_eval.judging import material
from otel_eval.judging.material import Item, of_call, of_session, of_trace, present, user_turns
from tests import spans
from tests.judging.scripted import chat, message, run, subject, tool

ALL = list(Part)
GREETING = [("user", "Hi."), ("assistant", "Hello.")]
WEATHER = tool("weather", {"city": "Paris"}, {"temp_c": 14})


def short(items: list[Item]) -> list[tuple[Any, ...]]:
    return [(item.part, *([] if item.turn is None else [item.turn]), *item.texts.values()) for item in items]


def test_a_trace_in_the_order_of_what_happened() -> None:
    view = run(
        "How warm is it?",
        "14 degrees.",
        found=["Paris is warm."],
        used=[WEATHER],
        earlier=[("user", "Hi."), ("assistant", "Hello.")],
    )
    assert short(of_trace(Subject(view=view, expected={"temp": 14}), ALL)) == [
        ("system_prompt", "You help the customers of a shop."),
        ("message", "user", "Hi."),
        ("message", "agent", "Hello."),
        ("user_input", "How warm is it?"),
        ("document", "doc-1", "Paris is warm."),
        ("tool", "weather", {"city": "Paris"}, {"temp_c": 14}),
        ("final_output", "14 degrees."),
        ("reference", {"temp": 14}),
    ]


def test_only_what_the_rubric_sees_is_shown() -> None:
    whole = subject(found=["Paris is warm."], used=[WEATHER], earlier=GREETING)
    for part in Part:
        assert present(of_trace(whole, [part])) == ({part} if part is not Part.REFERENCE else set())
    assert present(of_trace(whole, [Part.USER_INPUT, Part.FINAL_OUTPUT])) == {"user_input", "final_output"}


def test_steps_by_time_with_what_was_said_and_went_wrong_between() -> None:
    answer = {"gen_ai.output.messages": json.dumps([message("assistant", "Let me look.")])}
    offers = {"gen_ai.tool.definitions": json.dumps([{"name": "weather", "description": "The weather.", "parameters": {}}])}
    view = spans.view(
        spans.span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "front"}, duration_ms=900),
        spans.span({**chat(("user", "How warm?")), **answer, **offers}, identity=2, parent=1, start_ms=10, duration_ms=10),
        spans.span(tool("weather", "Rome", ""), identity=3, parent=1, start_ms=30, failed=True, message="no answer"),
        spans.span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "back"}, identity=4, parent=1, start_ms=200),
        spans.span({}, name="cache", identity=5, parent=4, start_ms=210, duration_ms=5, failed=True, message="disk full"),
        spans.span(chat(("user", "How warm?"), answers="I do not know."), identity=6, parent=4, start_ms=250, duration_ms=10),
    )
    items = of_trace(Subject(view=view), ALL)
    assert short(items) == [
        ("tools_offered", [{"name": "weather", "description": "The weather."}]),
        ("user_input", "How warm?"),
        ("agent_begins", "front"),
        ("said_between", "Let me look."),
        ("tool", "weather", "Rome", "no answer"),
        ("agent_begins", "back"),
        ("error", "cache", "disk full"),
        ("final_output", "I do not know."),
    ]
    assert [item.part for item in items if item.failing] == ["tool", "error"]
    assert [item.part for item in items if item.core] == ["tools_offered", "user_input", "final_output"]


def prompted(*more: dict[str, Any]) -> dict[str, Any]:
    """A question, a tool that ran for it outside of the trace, and what came then."""
    asked = [{"type": "tool_call", "id": "c", "name": "weather", "arguments": {"city": "Paris"}}]
    given = [{"type": "tool_call_response", "id": "c", "response": {"temp_c": 14}}]
    said = [message("user", "How warm is it?"), {"role": "assistant", "parts": asked}, {"role": "tool", "parts": given}, *more]
    return {"gen_ai.operation.name": "chat", "gen_ai.input.messages": json.dumps(said)}


def test_tools_that_ran_outside_of_the_trace() -> None:
    answer = {"gen_ai.output.messages": json.dumps([message("assistant", "14 degrees.")])}
    shown = ("tool", "weather", {"city": "Paris"}, {"temp_c": 14})
    now = spans.view(spans.span({**prompted(), **answer}))
    assert short(of_trace(Subject(view=now), ALL)) == [("user_input", "How warm is it?"), shown, ("final_output", "14 degrees.")]
    before = spans.view(spans.span({**prompted(message("assistant", "Warm."), message("user", "Exactly?")), **answer}))
    assert short(of_trace(Subject(view=before), ALL)) == [
        ("message", "user", "How warm is it?"),
        shown,
        ("message", "agent", "Warm."),
        ("user_input", "Exactly?"),
        ("final_output", "14 degrees."),
    ]
    assert [item.turn for item in of_session(Subject(view=before), ALL)] == [1, 1, 1, 2, 2]
    ran = spans.span({**WEATHER, "gen_ai.tool.call.id": "c"}, identity=2, parent=1, duration_ms=1)
    here = spans.view(
        spans.span({"gen_ai.operation.name": "invoke_agent"}), ran, spans.span({**prompted(), **answer}, identity=3, parent=1)
    )
    assert [item.part for item in of_trace(Subject(view=here), ALL)] == ["user_input", "tool", "final_output"]


def test_a_call_before_the_agent_does_not_hide_what_was_said() -> None:
    routed = chat(("system", "Which team?"), ("user", "When?"), answers="shipping")
    answered = chat(
        ("system", "You help."), ("user", "My order is 4711."), ("assistant", "Noted."), ("user", "When?"), answers="Now."
    )
    titled = chat(("user", "A title for: When?"), answers="Delivery")
    view = spans.view(
        spans.span({"openinference.span.kind": "AGENT", "input.value": "When?", "output.value": "Now."}, duration_ms=900),
        spans.span(routed, identity=2, parent=1, start_ms=1, duration_ms=1),
        spans.span(answered, identity=3, parent=1, start_ms=5, duration_ms=10),
        spans.span(titled, identity=4, parent=1, start_ms=6, duration_ms=80),
    )
    assert short(of_trace(Subject(view=view), [Part.SYSTEM_PROMPT, Part.CONVERSATION, Part.USER_INPUT])) == [
        ("system_prompt", "Which team?"),
        ("system_prompt", "You help."),
        ("message", "user", "My order is 4711."),
        ("message", "agent", "Noted."),
        ("user_input", "When?"),
        ("said_between", "shipping"),
        ("said_between", "Delivery"),
    ]


def test_turns_of_one_trace_are_not_shown_twice() -> None:
    second = chat(("user", "In Paris?"), ("assistant", "14."), ("user", "And in Rome?"), answers="20.")
    view = spans.view(
        spans.span({}),
        spans.span(chat(("user", "In Paris?"), answers="14."), identity=2, parent=1, start_ms=1, duration_ms=1),
        spans.span(second, identity=3, parent=1, start_ms=5, duration_ms=1),
    )
    assert [item.texts["text"] for item in of_trace(Subject(view=view), ALL)] == ["In Paris?", "14.", "And in Rome?", "20."]


def test_context_that_came_in_the_prompt_is_a_document() -> None:
    prompt = "How warm is it?\n\nContext: " + "Paris has 14 degrees today. " * 10
    entry = {"gen_ai.operation.name": "invoke_agent", "gen_ai.input.messages": json.dumps([message("user", "How warm is it?")])}
    call = spans.span(chat(("user", prompt), answers="14."), identity=2, parent=1)
    items = of_trace(Subject(view=spans.view(spans.span(entry), call)), [Part.USER_INPUT, Part.DOCUMENTS])
    assert short(items) == [("user_input", "How warm is it?"), ("prompt_with_context", prompt)]
    assert present(items) == {"user_input", "documents"}


def test_a_question_alone_brings_no_context() -> None:
    assert present(of_trace(subject(), ALL)) == {"system_prompt", "user_input", "final_output"}
    assert of_trace(Subject(view=spans.view(spans.span({}))), ALL) == []


def test_a_session_turn_by_turn() -> None:
    first = run("And in Rome?", "20 degrees.", earlier=[("user", "In Paris?"), ("assistant", "14 degrees.")])
    second = run("Thanks.", "", trace=2, start_ms=5000, used=[WEATHER])
    both = Subject(view=second, session=(first, second))
    assert short(of_session(both, [Part.SYSTEM_PROMPT, Part.CONVERSATION])) == [
        ("system_prompt", "You help the customers of a shop."),
        ("message", 1, "user", "In Paris?"),
        ("message", 1, "agent", "14 degrees."),
        ("message", 2, "user", "And in Rome?"),
        ("message", 2, "agent", "20 degrees."),
        ("message", 3, "user", "Thanks."),
    ]
    with_tools = of_session(both, [Part.CONVERSATION, Part.TOOLS])
    assert short(with_tools)[-1] == ("tool", 3, "weather", {"city": "Paris"}, {"temp_c": 14})
    assert user_turns(with_tools) == 3
    assert present(with_tools) == {"conversation", "tools"}


def test_a_session_of_one_trace() -> None:
    items = of_session(subject(), [Part.CONVERSATION])
    assert [item.texts["role"] for item in items] == ["user", "agent"]
    assert user_turns(items) == 1


def test_a_model_call_by_itself() -> None:
    asked = [{"type": "tool_call", "id": "1", "name": "weather", "arguments": {"city": "Rome"}}]
    result = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "0", "result": "14"}]}
    said = [
        message("system", "Be brief."),
        message("user", "Hi."),
        message("assistant", "Hello."),
        message("user", "Rome?"),
        result,
    ]
    made = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps(said),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [*message("", "I look.")["parts"], *asked]}]),
        "gen_ai.tool.definitions": json.dumps([{"name": "weather"}]),
    }
    items = of_call(spans.call(made), ALL)
    assert short(items) == [
        ("system_prompt", "Be brief."),
        ("tools_offered", [{"name": "weather"}]),
        ("message", "user", "Hi."),
        ("message", "agent", "Hello."),
        ("user_input", "Rome?"),
        ("tool_result", "14"),
        ("tool_request", "weather", {"city": "Rome"}),
        ("final_output", "I look."),
    ]
    assert present(items) == {"system_prompt", "tools", "conversation", "user_input", "final_output"}
    assert [item.part for item in of_call(spans.call(made), [Part.FINAL_OUTPUT])] == ["final_output"]


def test_opinions_about_the_trace_are_not_shown() -> None:
    score = {"gen_ai.evaluation.name": "quality", "gen_ai.evaluation.score.value": 0.1}
    call = spans.span(chat(("user", "Hi."), answers="Hello."), events=[("gen_ai.evaluation.result", score)])
    assert "0.1" not in str(material.of_trace(Subject(view=spans.view(call)), ALL))
