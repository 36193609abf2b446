"""What models ask of tools, and what comes of it."""

import json
from typing import Any

import pytest

from otel_eval.traces.view import TraceView
from tests.evaluators.scored import captured, reason, score, value
from tests.spans import span, view

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}


def asked(arguments: Any, schema: Any = CITY, name: str = "weather", *, ran: bool = False) -> TraceView:
    """A model call that asks for a tool; `weather` is offered."""
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.tool.definitions": json.dumps([{"name": "weather", "parameters": schema}]),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": name, "arguments": arguments}]}]
        ),
    }
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name, "gen_ai.tool.call.id": "c"}
    return view(span(call, identity=1), *([span(tool, identity=2, parent=1)] if ran else []))


VALIDITY: list[tuple[Any, str | None]] = [
    ({"city": "Paris"}, None),
    ({"city": "Paris", "days": 3}, None),
    ({"city": "Paris", "days": 3.0}, None),
    ('{"city": "Paris"}', None),
    ({"city": "paris"}, None),  # a pattern of a trace is not run
    ({}, "'city' is a required property"),
    ({"city": 75}, "city: 75 is not of type 'string'"),
    ({"city": None}, "city: None is not of type 'string'"),
    ({"city": "Paris", "days": 0}, "days: 0 is less than the minimum of 1"),
    ({"city": "Paris", "days": True}, "days: True is not of type 'integer'"),
    ({"city": "Paris", "town": "Paris"}, "Additional properties are not allowed ('town' was unexpected)"),
    ("Paris", "the arguments are no JSON"),
    (["Paris"], "['Paris'] is not of type 'object'"),
]


@pytest.mark.parametrize(("arguments", "wrong"), VALIDITY)
def test_arguments_are_checked_against_the_schema(arguments: Any, wrong: str | None) -> None:
    found = score("tool_call_validity", asked(arguments))
    if wrong is None:
        assert (found.value, found.explanation) == (1, "all 1 tool calls are valid")
    else:
        assert (found.value, found.explanation) == (0, f"weather: {wrong} (0 of 1 calls valid)")
        assert found.span_id == f"{1:016x}"


def test_a_schema_may_be_a_text_or_missing() -> None:
    assert value("tool_call_validity", asked({}, json.dumps(CITY))) == 0
    assert value("tool_call_validity", asked({"anything": 1}, None)) == 1
    assert (
        value("tool_call_validity", asked({"city": "Paris"}, {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}})) == 1
    )


def test_an_unknown_tool_is_invalid_unless_it_ran() -> None:
    assert score("tool_call_validity", asked({}, name="wether")).explanation == (
        "wether: no such tool was offered (0 of 1 calls valid)"
    )
    assert value("tool_call_validity", asked({}, name="wether", ran=True)) == 1


def test_what_cannot_be_checked_is_not_applicable() -> None:
    bomb = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)} | {"a40": {"type": "object"}}
    assert reason("tool_call_validity", asked({}, {"$defs": bomb, "$ref": "#/$defs/a0"})) == (
        "weather: the schema takes too many steps on this value"
    )


@pytest.mark.parametrize(
    ("capture", "share"),
    [
        ("openinference__anthropic__tool_roundtrip", 1),
        ("openllmetry_legacy__openai__tool_roundtrip", 1),
        ("vercel_ai__v5__tool", 1),
        ("pydantic_ai__openai__tool_exception", 1),
        ("otel_genai__openai_v2__tool_roundtrip", None),  # does not say what was offered
        ("pydantic_ai__openai__output_validation_failure", None),  # the tool for the answer: format_compliance
        ("otel_genai__openai__chat", None),
    ],
)
def test_validity_of_captures(capture: str, share: float | None) -> None:
    assert value("tool_call_validity", captured(capture)[0]) == share


@pytest.mark.parametrize(
    ("capture", "share"),
    [
        ("openinference__anthropic__tool_roundtrip", 1),
        ("pydantic_ai__openai__tool_exception", 0),
        ("openllmetry__openai__tool_roundtrip", None),  # asked for, and nothing more is known
        ("otel_genai__openai__chat", None),
    ],
)
def test_success_of_captures(capture: str, share: float | None) -> None:
    assert value("tool_success", captured(capture)[0]) == share


def test_success_is_a_share_with_a_line() -> None:
    trace = "user: Hi\ntool a {} -> 1\ntool b {} -> Error: down\ntool c {} -> 3\ntool d {} -> 4\nassistant: Hello"
    found = score("tool_success", trace)
    assert (found.value, found.label, found.span_id) == (0.75, "fail", f"{6:016x}")
    assert found.explanation == "b failed: Error: down (3 of 4 worked)"
    assert score("tool_success", trace, threshold=0.7).passed


A, B = 'tool read {"p": "a", "q": 1} -> {"text": "one"}', 'tool read {"p": "b"} -> {"text": "two"}'
FAILS = 'tool read {"p": "a"} -> Error: down'
EFFICIENCY: list[tuple[list[str], float, str]] = [
    ([A, B], 1, ""),
    ([A, A], 1 / 2, "same arguments and the same result"),
    ([A, 'tool read {"q": 1, "p": "a"} -> {"text": "one"}'], 1 / 2, "same arguments"),  # the order of keys is none
    ([A, B, A, B], 1 / 2, "same arguments"),
    ([A, 'tool read {"p": "a", "q": 1} -> {"text": "changed"}'], 1, ""),  # polling
    ([A, 'tool write {"p": "a", "q": 1} -> {"text": "one"}'], 1, ""),
    (['tool press {"key": "down"} -> ok', 'tool press {"key": "down"} -> ok'], 1, ""),
    ([FAILS, FAILS, FAILS], 1, ""),
    ([FAILS, FAILS, FAILS, FAILS, A], 4 / 5, "failed 4 times with the same arguments"),
    ([FAILS, A], 1, ""),
    ([A, FAILS], 1 / 2, "failed, and the answer says nothing about it: Error: down"),
]


@pytest.mark.parametrize(("tools", "share", "why"), EFFICIENCY)
def test_efficiency(tools: list[str], share: float, why: str) -> None:
    answer = "There was an error, sorry." if tools == [FAILS] * 3 else "Here it is."
    found = score("tool_efficiency", "\n".join(["user: Read it.", *tools, f"assistant: {answer}"]))
    assert found.value == pytest.approx(share), found.explanation
    assert why in found.explanation


@pytest.mark.parametrize(
    "answer", ["I could not read b.", "Leider ging das nicht.", "Le fichier est introuvable, désolé.", "抱歉,无法读取。"]
)
def test_an_error_that_the_answer_speaks_of_is_not_ignored(answer: str) -> None:
    assert value("tool_efficiency", f"user: Read it.\n{A}\n{FAILS}\nassistant: {answer}") == 1


def test_efficiency_needs_calls_with_arguments() -> None:
    assert reason("tool_efficiency", "user: Hi\nassistant: Hello") == "no tool was called"
    tool = span({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"})
    assert reason("tool_efficiency", view(tool)) == "no arguments of tools were captured"


def test_calls_without_results_are_a_loop_from_the_third_on() -> None:
    tools = [
        span(
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t", "gen_ai.tool.call.arguments": '{"a": 1}'},
            identity=n,
        )
        for n in (1, 2, 3)
    ]
    assert value("tool_efficiency", view(*tools[:2])) == 1
    found = score("tool_efficiency", view(*tools))
    assert found.value == pytest.approx(2 / 3)
    assert found.span_id == f"{3:016x}"
    assert "again and again" in found.explanation


@pytest.mark.parametrize(
    "parts",
    [
        [
            {"type": "server_tool_call", "id": "s1", "name": "web_search", "server_tool_call": {"query": "Paris"}},
            {"type": "server_tool_call_response", "id": "s1", "server_tool_call_response": {"title": "Paris: 14.5 degrees"}},
            {"type": "text", "content": "It is 14.5 degrees."},
        ],
        [
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "Paris"}},
            {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"title": "Paris: 14.5 degrees"}]},
            {"type": "text", "text": "It is 14.5 degrees."},
        ],
    ],
)
def test_a_tool_that_the_provider_ran_has_its_result_in_the_answer(parts: list[dict[str, Any]]) -> None:
    said = json.dumps([{"role": "assistant", "parts": parts, "finish_reason": "stop"}])
    offered = json.dumps([{"name": "other", "parameters": {"type": "object"}}])
    call = {"gen_ai.operation.name": "chat", "gen_ai.output.messages": said, "gen_ai.tool.definitions": offered}
    trace = view(span(call))
    assert [value(name, trace) for name in ("answered", "tool_success", "grounded_numbers")] == [1, 1, 1]
    assert reason("tool_call_validity", trace) == "no model asked for a tool"
