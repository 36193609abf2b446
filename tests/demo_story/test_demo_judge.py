"""The verdicts of the stand-in that looks at what an answer rests on."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.standin.grounding import findings, verdict

DOCUMENT = {"part": "document", "text": "Goods may be sent back within 30 days; 4.95 EUR are kept."}
TOOL = {"part": "tool", "name": "cancel_order", "arguments": '{"order_id": "NL-1"}', "result": '{"due": "2026-03-09"}'}
FAILED = {"part": "tool", "name": "cancel_order", "error": "422: order_number is required"}
LEVELS = ["contradicted", "unsupported", "partly_supported", "minor_gaps", "fully_supported", "not_applicable"]


def material(answer: str, *items: dict[str, Any]) -> str:
    return "\n".join(json.dumps(item) for item in (*items, {"part": "final_output", "text": answer}))


def schema(*rubrics: str) -> dict[str, Any]:
    scores = {name: {"type": "string", "enum": LEVELS} for name in rubrics}
    analysis = {name: {"type": "object", "properties": {"reasoning": {"type": "string"}}} for name in rubrics}
    return {
        "type": "object",
        "properties": {
            "analysis": {"type": "object", "properties": analysis},
            "scores": {"type": "object", "properties": scores},
        },
    }


@pytest.mark.parametrize(
    ("answer", "items", "kind"),
    [
        ("You have 30 days; we keep 4.95 EUR.", [DOCUMENT], None),
        ("It is due on 9 March 2026.", [TOOL], None),
        ("You have 45 days.", [DOCUMENT], "loose"),
        ("We keep 5.95 EUR.", [DOCUMENT], "loose"),
        ("I have cancelled your order.", [DOCUMENT], "undone"),
        ("I have cancelled your order.", [FAILED], "undone"),
        ("I have cancelled your order.", [FAILED, TOOL], None),
        ("Please try again later.", [FAILED], "stuck"),
        ("Please try again later.", [TOOL], None),
        ("Hello!", [], None),
    ],
)
def test_findings(answer: str, items: list[dict[str, Any]], kind: str | None) -> None:
    text = material(answer, *items)
    found = findings(text)
    assert (found.kind if found else None) == kind
    assert found is None or (found.quote in answer and found.quote)


def test_verdicts_depend_on_the_content_and_are_wrong_at_times() -> None:
    wanted = schema("factual_grounding")
    invented = [verdict(material(f"{n} days.", DOCUMENT), "", wanted)["scores"]["factual_grounding"] for n in range(100, 600)]
    grounded = [
        verdict(material("30 days.", DOCUMENT, {"part": "message", "text": f"{n}"}), "", wanted)["scores"]["factual_grounding"]
        for n in range(500)
    ]
    good = set(LEVELS[3:5])
    assert 0.03 < sum(level in good for level in invented) / 500 < 0.15
    assert 0.005 < sum(level not in good for level in grounded) / 500 < 0.08


def test_a_rubric_that_asks_for_something_else_is_left_alone() -> None:
    text = material("You have 45 days.", DOCUMENT)
    levels = {verdict(text, "", schema(name))["scores"][name] for name in ("privacy_and_safety", "context_relevance")}
    assert levels <= set(LEVELS[3:5])


@given(st.one_of(st.text(), st.text().map(lambda text: json.dumps({"part": "final_output", "text": text}))))
def test_any_text_gets_a_verdict_that_fits(text: str) -> None:
    said = verdict(text, "", schema("factual_grounding", "plan_execution"))
    assert set(said["scores"].values()) <= set(LEVELS)


def test_another_schema_gets_the_default_verdict() -> None:
    other = {"type": "object", "properties": {"winner": {"type": "string", "enum": ["a", "b"]}}}
    assert verdict("some text", "", other)["winner"] in {"a", "b"}
