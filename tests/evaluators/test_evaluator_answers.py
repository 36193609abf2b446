"""Answers: that there is one, that it is no refusal, its language, and what was expected."""

import json
from typing import Any

import pytest

from otel_eval.errors import ConfigError
from otel_eval.evaluators import example
from tests.evaluators.scored import captured, made, reason, score, value
from tests.spans import span, view


@pytest.mark.parametrize(
    ("capture", "index", "share"),
    [
        ("otel_genai__openai__chat", 0, 1),
        ("otel_genai__openai__truncated_length", 0, 0),
        ("openinference__anthropic__refusal", 0, 1),
        ("openinference__anthropic__error_429", 0, 0),
        ("pydantic_ai__openai__tool_exception", 0, 0),
        ("pydantic_ai__anthropic__error_500", 0, 0),
        ("claude_code__cli__chat", 0, 1),
        ("anthropic_sdk__native__streaming_and_refusal", 0, None),  # no content was captured
        ("openllmetry__openai__tool_roundtrip", 0, None),  # the first of two traces ends where the tool is asked for
        ("openllmetry__openai__tool_roundtrip", 1, 1),
        ("otel_genai__anthropic__tool_error_result", 0, None),
        ("otel_genai__openai__embeddings", 0, None),
    ],
)
def test_answered(capture: str, index: int, share: float | None) -> None:
    assert value("answered", captured(capture)[index]) == share


def test_why_there_is_no_answer() -> None:
    (failed,) = captured("openinference__anthropic__error_429")
    assert "RateLimitError" in score("answered", failed).explanation
    assert score("answered", "user: Hi\nassistant: \u200b \u202e").explanation == "the answer is empty"
    assert score("answered", "user: Hi\nassistant: OK", min_characters=3).passed is False
    assert score("answered", "user: Hi\nassistant: O K !", min_characters=3).passed is True
    cancelled = view(span({"gen_ai.operation.name": "chat", "error.type": "asyncio.CancelledError"}, failed=True))
    assert reason("answered", cancelled) == "the call was cancelled"


def said(*parts: Any, finish: str = "stop", **more: Any) -> dict[str, Any]:
    """The attributes of a model call that says this."""
    messages = [{"role": "assistant", "parts": list(parts), "finish_reason": finish}]
    return {"gen_ai.operation.name": "chat", "gen_ai.output.messages": json.dumps(messages), **more}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}


@pytest.mark.parametrize(
    "what",
    [
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather", "gen_ai.tool.call.id": "c"},
        {"gen_ai.operation.name": "chat"},
    ],
)
def test_words_before_a_tool_are_no_answer_when_an_error_follows(what: dict[str, Any]) -> None:
    request = {"type": "tool_call", "id": "c", "name": "weather", "arguments": {"city": "Paris"}}
    agent = {"gen_ai.operation.name": "invoke_agent"}
    asking = span(said(text("Let me look."), request, finish="tool_call"), identity=2, parent=1, duration_ms=10)
    failing = span({**what, "error.type": "RuntimeError"}, identity=3, parent=1, start_ms=20, failed=True, message="it is down")
    trace = view(span(agent), asking, failing)
    found = score("answered", trace)
    assert (found.value, found.explanation) == (0, "no answer; span: RuntimeError: it is down")
    assert value("answered", view(span(agent), asking)) == 1  # perhaps the tool shows the answer


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_an_answer_without_words_is_one(kind: str) -> None:
    shown = {"type": "uri", "modality": kind, "uri": f"https://files.example/{kind}"}
    assert value("answered", view(span(said(shown)))) == 1
    assert reason("refusal", view(span(said(shown)))) == "there is no answer"


def test_a_call_that_ends_later_did_not_give_the_answer() -> None:
    asked = {"openinference.span.kind": "AGENT", "input.value": "How warm is it?", "output.value": "It is 14 degrees."}
    trace = view(
        span(asked, duration_ms=500),
        span(said(text("It is 14 degrees.")), identity=2, parent=1, start_ms=10),
        span(said(text("Weather in"), finish="length"), identity=3, parent=1, start_ms=20),  # the conversation's title
    )
    found = [score(name, trace) for name in ("answered", "refusal", "pii_leak")]
    assert [(one.value, one.span_id) for one in found] == [(1, "0000000000000002")] * 3


def test_an_agent_that_stops_at_a_tool_has_not_answered() -> None:
    assert value("answered", 'user: Hi\ntool t {"a": 1} -> 3') == 0


REFUSALS = [
    "I'm sorry, but I can't help with that request.", "I cannot assist with this.", "Sorry, I am unable to provide that.",
    "Unfortunately, I'm not able to do that.", "**I won\u2019t create that.**",
    "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.", "Leider kann ich diese Anfrage nicht beantworten.",
    "Ich darf Ihnen keine Anleitung dazu bereitstellen.", "Je suis désolé, mais je ne peux pas vous aider.",
    "Désolée, je ne suis pas en mesure de répondre.", "Lo siento, pero no puedo ayudarte con eso.", "No puedo proporcionar eso.",
    "Mi dispiace, ma non posso aiutarti.", "Desculpe, mas não posso ajudar com isso.", "Sinto muito, não consigo fornecer isso.",
    "Het spijt me, maar daar kan ik je niet mee helpen.",
    "申し訳ありませんが、そのご依頼にはお応えできません。", "抱歉,我无法提供帮助。",
]  # fmt: skip
ANSWERS = [
    "I can't wait to help you with that.", "I can\u2019t help but notice that the order was paid twice.",
    "Sorry for the delay! Your order is on its way.", "I can help with that.",
    "Unfortunately, your order has not arrived.", "I can't find that order; could you check the number?",
    "The model says: I'm sorry, but I can't help with that.", "Leider ist der Artikel nicht mehr lieferbar.",
    "Ich kann Ihnen gerne helfen, das ist nicht schwer zu beantworten.", "Ich kann Ihnen helfen.", "Je peux vous aider.",
    "No puedo creer lo bien que ha salido.", "No hay problema, puedo ayudarte.", "Non c'è problema.", "没有问题。",
    "I don't know when the bridge was built.",
]  # fmt: skip


@pytest.mark.parametrize("said", REFUSALS)
def test_a_refusal_in_nine_languages(said: str) -> None:
    found = score("refusal", f"user: Do it.\nassistant: {said}")
    assert (found.value, found.label) == (0, "fail")
    assert found.explanation.startswith("the answer begins: ")


@pytest.mark.parametrize("said", ANSWERS)
def test_what_only_sounds_like_a_refusal_is_none(said: str) -> None:
    assert value("refusal", f"user: Do it.\nassistant: {said}") == 1


@pytest.mark.parametrize(
    ("capture", "index", "explanation"),
    [
        ("openinference__anthropic__refusal", 0, "finish reason refusal"),
        ("openinference__openai__refusal", 0, "the provider marked it as a refusal"),
        ("anthropic_sdk__native__streaming_and_refusal", 1, "finish reason refusal"),
        ("otel_genai__openai__chat", 0, "the answer is no refusal"),
    ],
)
def test_refusals_of_captures(capture: str, index: int, explanation: str) -> None:
    assert score("refusal", captured(capture)[index]).explanation == explanation


def test_phrases_of_ones_own() -> None:
    trace = "user: Hi\nassistant: I'd rather not talk about that."
    assert (value("refusal", trace), value("refusal", trace, phrases=["i'd rather not"])) == (1, 0)
    assert reason("refusal", "user: Hi\nassistant:  ") == "there is no answer"


EN = "Where is my order, and when is it going to be delivered to my new address?"
DE = "Wo ist meine Bestellung, und wann wird sie an meine neue Adresse geliefert?"
LANGUAGE: list[tuple[str, str, float | None]] = [
    (EN, "Your order is on its way and should arrive at your new address on Monday.", 1),
    (EN, "Ihre Bestellung ist unterwegs und kommt am Montag bei Ihrer neuen Adresse an.", 0),
    (DE, "Ihre Bestellung ist unterwegs und kommt am Montag bei Ihrer neuen Adresse an.", 1),
    (DE, "Your order is on its way and should arrive at your new address on Monday.", 0),
    ("Où est ma commande, et quand sera-t-elle livrée à mon adresse ?", "Votre commande est en route et arrivera lundi.", 1),
    ("¿Dónde está mi pedido y cuándo lo van a entregar?", "Your order is on its way and should arrive on Monday.", 0),
    ("我的订单在哪里?什么时候能送到我的新地址?请尽快告诉我。", "您的订单正在路上,预计星期一送达您的新地址,请放心。", 1),
    ("我的订单在哪里?什么时候能送到我的新地址?请尽快告诉我。", "Your order is on its way and should arrive on Monday.", 0),
    (EN, "OK.", None),
    (EN, '{"status": "unterwegs", "ankunft": "am Montag bei Ihrer neuen Adresse"}', None),
    (EN, "```\nfür die Bestellung ist alles bereit und unterwegs\n```", None),
    (f"{EN} Please answer in German.", "Ihre Bestellung ist unterwegs und kommt am Montag an.", None),
    (f"Translate: {EN}", "Ihre Bestellung ist unterwegs und kommt am Montag an.", None),
    (f"Summarise this mail of a customer, please. {DE * 20}", "The customer asks where the order is and when it arrives.", None),
    (f"Summarise this mail of a customer, please. {DE * 20}", "Der Kunde fragt, wo die Bestellung ist und wann sie kommt.", 1),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "said", "share"), LANGUAGE)
def test_language_match(asked: str, said: str, share: float | None) -> None:
    assert value("language_match", f"user: {asked}\nassistant: {said}") == share


def test_a_configured_language() -> None:
    german = f"user: {EN}\nassistant: Ihre Bestellung ist unterwegs und kommt am Montag an."
    assert value("language_match", german, language="de") == 1
    found = score("language_match", german, language="fr")
    assert (found.value, found.explanation) == (0, "the answer is in de, not fr")
    with pytest.raises(ConfigError, match="'xx' is not known"):
        made("language_match", language="xx")


EXPECTED: list[tuple[str, str, Any, dict[str, Any], float]] = [
    ("exact_match", "Paris", "Paris", {}, 1),
    ("exact_match", "  Paris\n", "Paris", {}, 1),
    ("exact_match", "New  York", "New York", {}, 1),
    ("exact_match", "paris", "Paris", {}, 0),
    ("exact_match", "PARIS", "Paris", {"ignore_case": True}, 1),
    ("exact_match", "Paris.", "Paris", {}, 0),
    ("exact_match", "14", 14, {}, 1),
    ("exact_match", "Paris", None, {"expected": "Paris"}, 1),
    ("exact_match", "Paris", "Lyon", {"expected": "Paris"}, 0),
    ("exact_match", '{"b": [1], "a": 2}', {"a": 2, "b": [1]}, {}, 1),
    ("exact_match", '{"b": [1]}', {"a": 2, "b": [1]}, {}, 0),
    ("contains", "It rains in Paris.", "paris", {}, 1),
    ("contains", "It rains in Paris.", "paris", {"ignore_case": False}, 0),
    ("contains", "It rains in Paris.", ["rain", "snow"], {}, 1 / 2),
    ("contains", "It rains\nin Paris.", ["rains in"], {}, 1),
    ("contains", "It rains in Paris.", None, {"texts": ["snow"], "mode": "none"}, 1),
    ("contains", "It rains in Paris.", None, {"texts": ["rain", "snow"], "mode": "none"}, 1 / 2),
    ("regex", "Ticket AB-1234.", None, {"pattern": "[A-Z]{2}-[0-9]{4}"}, 1),
    ("regex", "Ticket AB-1234.", None, {"pattern": "[A-Z]{2}-[0-9]{4}", "whole": True}, 0),
    ("regex", "Ticket AB-1234.", None, {"pattern": "ticket", "ignore_case": True}, 1),
    ("regex", "Ticket AB-1234.", None, {"pattern": "password", "forbidden": True}, 1),
    ("regex", "my password", None, {"pattern": "password", "forbidden": True}, 0),
    ("regex", "Ticket AB-1234.", "AB-[0-9]+", {"pattern": "x"}, 1),
]


@pytest.mark.parametrize(("name", "said", "expected", "settings", "share"), EXPECTED)
def test_expected_answers(name: str, said: str, expected: Any, settings: dict[str, Any], share: float) -> None:
    assert value(name, f"user: Hi\nassistant: {said}", expected, **settings) == share


def test_any_passes_with_one_of_them() -> None:
    found = score("contains", "user: Hi\nassistant: It rains.", texts=["rain", "snow"], mode="any")
    assert (found.value, found.passed) == (0.5, True)


@pytest.mark.parametrize("name", ["exact_match", "contains", "regex"])
def test_without_an_expected_answer_nothing_is_said(name: str) -> None:
    assert reason(name, "user: Hi\nassistant: Hello").startswith("there is no ")
    assert reason(name, TRACE_WITHOUT_ANSWER, "Hello") == "there is no answer"


TRACE_WITHOUT_ANSWER = "user: Hi\ntool t {}"


def test_a_pattern_that_takes_too_long_is_given_up() -> None:
    trace = example.trace("user: Hi\nassistant: " + "a" * 50_000 + "!")
    assert reason("regex", trace, pattern="(a+)+$") == "the pattern takes longer than 0.05 s on this answer"
    assert value("regex", trace, pattern="a!$") == 1


@pytest.mark.parametrize(
    ("pattern", "says"), [("(", "is no regular expression: missing"), ("a" * 2000, "at most 1000 characters")]
)
def test_a_pattern_that_is_none_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        made("regex", pattern=pattern)
    assert says in reason("regex", "user: Hi\nassistant: Hello", pattern)
