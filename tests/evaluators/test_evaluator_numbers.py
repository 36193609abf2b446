"""Numbers, dates and ids of an answer, and whether they were given."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.evaluators import example
from otel_eval.evaluators.numerals import Reading, is_rounding, plain_values, readings, values
from otel_eval.evaluators.quantities import quantities
from tests.evaluators.scored import captured, reason, score, value
from tests.spans import Made, span, view

# What is said, what was given, and how much of it is grounded.
GROUNDED: list[tuple[str, str, float]] = [
    # beside words without a blank
    ("气温为14.5度,湿度80%", "temperature 14.5, humidity 0.8", 1),
    ("It is 14.5 degrees, 80 % humid.", "气温为14.5度,湿度80%", 1),
    ("您的订单ORD-20391已发货,共120元。", "ORD-20391: 120", 1),
    ("您的订单ORD-20392已发货,共120元。", "订单ORD-20391共120元", 1 / 2),
    ("注文は2024年3月5日、約3.5万円です", "on 2024-03-05 for 35,000", 1),
    ("About 35,000 people, 2.5 million votes.", "约3.5万人,投票250万张", 1),
    # the same number, written in other ways
    ("It costs 1,234.50 EUR.", "Price: 1.234,50", 1),
    ("It costs 1234,5 EUR.", "Price: 1,234.50", 1),
    ("Es kostet 1 234,50 EUR.", "Price: 1234.50", 1),
    ("It costs 1'234.50 CHF.", "Price: 1234.50", 1),
    ("It costs 1\u202f234,50 EUR.", "Price: 1234.50", 1),
    ("It costs EUR1234.50.", "Price: 1234.5", 1),
    ("There are 12,34,567 of them.", "count=1234567", 1),
    ("There are 1,234 of them.", "count=1234", 1),
    ("It is 1,234 m wide.", "width 1.234", 1),
    ("\u0661\u0662 items", "12 items", 1),
    ("The balance is -40.", "balance: 40", 1),
    ("Sizes 38 and 40.", "sizes 36,38,40", 1),
    # percentages
    ("12 % of them", "12% of all", 1),
    ("12 % of them", "rate: 0.12", 1),
    ("0.12 of them", "rate: 12 %", 1),
    ("12 Prozent davon", "rate: 0.12", 1),
    ("12 per cent of them", "rate: 0.12", 1),
    ("13 % of them", "rate: 0.128", 1),
    ("12 % of them", "rate: 0.21", 0),
    # scales
    ("about 3.5 million", "total 3500000", 1),
    ("about 3,5 Mio. Stück", "total 3,512,345", 1),
    ("$2.1bn in sales", "sales 2100000000", 1),
    ("2.1 Milliarden Umsatz", "2,1 Mrd.", 1),
    ("12k users", "12,300 users", 1),
    ("about 3.5 million", "total 4500000", 0),
    # roundings
    ("pi is 3.14", "3.14159", 1),
    ("pi is 3.15", "3.14159", 0),
    ("it is 3.1416", "3.14159", 1),
    ("about 1,200 people", "1,234 people", 1),
    ("about 1,300 people", "1,234 people", 0),
    ("about 100 people", "60 people", 0),
    ("about 1,000,000 people", "1,049,999 people", 1),
    ("in 2020", "in 2024", 0),
    ("4.5 points", "4.05 points", 0),
    ("It was 14.3 degrees.", "temp 14.26", 1),
    # near misses
    ("It costs 12.", "12.7", 0),
    ("It costs 13.", "12.7", 1),
    ("It costs 25.", "125", 0),
    ("It costs 25.", "A25", 0),
    ("30 days", "28 days", 0),
    ("30 days", "thirty days", 1),
    ("30 Tage", "innerhalb von dreißig Tagen", 1),
    ("31 days", "thirty days", 0),
    ("7 days", "30 days", 0),
    ("$5 and 5%", "5", 1),
    # dates and times
    ("on 5 March 2024", "2024-03-05T10:00:00Z", 1),
    ("on March 5, 2024", "05.03.2024", 1),
    ("am 5. März 2024", "3/5/2024", 1),
    ("le 5 mars 2024", "5 March 2024", 1),
    ("el 5 de marzo de 2024", "5 March 2024", 1),
    ("2024年3月5日", "5 March 2024", 1),
    ("on March 5", "5 March 2024", 1),
    ("It was sent (March 5, 2024).", "2024-03-05", 1),
    ("It was sent (March 6, 2024).", "2024-03-05", 0),
    ("It was sent **March 6, 2024**.", "2024-03-05", 0),
    ("in March 2024", "5 March 2024", 1),
    ("on 5 March 2024", "in the year 2024, on 5 March", 1),
    ("on 5 March 2024", "on 5 March", 0),
    ("on 5 March 2024", "5 March 2023", 0),
    ("on 6 March 2024", "5 March 2024", 0),
    ("on 5 March 2024", "March 2024", 0),
    ("5/3/24", "2024-03-05", 1),
    ("at 2:30 pm", "14:30", 1),
    ("um 14:30 Uhr", "2:30 p.m.", 1),
    ("at 2 pm", "14:00", 1),
    ("at 2:30 pm", "2:30 am", 0),
    # ids
    ("order ORD-20391", "ord-20391 was sent", 1),
    ("order ORD-20391", "ORD-20392", 0),
    ("order ORD-2039", "ORD-20391", 0),
    ("550e8400-e29b-41d4-a716-446655440000", "id 550E8400-E29B-41D4-A716-446655440000", 1),
    ("version 1.2.3", "v1.2.4", 0),
    ("host 10.0.0.1", "10.0.0.1 is down", 1),
    # several
    ("12 of 25, that is 48 %", "12 of 25", 2 / 3),
]  # fmt: skip


@pytest.mark.parametrize(("said", "context", "share"), GROUNDED)
def test_what_was_given_in_another_form_is_grounded(said: str, context: str, share: float) -> None:
    found = score("grounded_numbers", f"user: Tell me.\ndocument: {context}\nassistant: {said}")
    assert found.value == pytest.approx(share), found.explanation


NO_CLAIMS = [
    "There are two ways.", "Three of 3 ways; 1 or 2.", "1. First\n2. Then\n12. Last", "It is so [1, 12].",
    "COVID-19, A4, UTF-8, 3rd",
    "See https://a.example/2024/12345.", "Run `sleep 30`:\n```\nx = 12345\n```",
]  # fmt: skip


@pytest.mark.parametrize("said", NO_CLAIMS)
def test_what_is_no_claim_is_not_looked_at(said: str) -> None:
    assert reason("grounded_numbers", f"user: Hi\ndocument: d\nassistant: {said}") == "the answer has no numbers, dates or ids"


def test_it_says_what_is_not_grounded_and_where() -> None:
    found = score("grounded_numbers", 'user: Hi\ntool t {} -> {"a": 12}\nassistant: 12, 450 and 7 March 2024.')
    assert (found.label, found.evidence) == ("fail", ("450", "7 March 2024"))
    assert found.explanation == "not in the context: 450, 7 March 2024 (1 of 3 found)"
    assert found.span_id == f"{4:016x}"


def test_the_threshold_is_a_setting() -> None:
    trace = "user: Hi\ndocument: 12\nassistant: 12 and 450"
    assert [score("grounded_numbers", trace, threshold=line).passed for line in (0.5, 0.51)] == [True, False]


def test_what_a_model_said_itself_is_no_evidence() -> None:
    """Nor the arguments that it made up; a prompt only where it is asked for."""
    assert value("grounded_numbers", 'user: Hi\ntool t {"n": 450} -> {"a": 12}\nassistant: 450') == 0
    prompt = "user: It costs 450 EUR. How much?\nassistant: 450 EUR"
    assert reason("grounded_numbers", prompt) == "nothing was retrieved, and no tool gave a result"
    assert value("grounded_numbers", prompt, prompt_is_context=True) == 1
    assert value("grounded_numbers", "system: The limit is 450.\nuser: Hi\ndocument: d\nassistant: 450") == 1


def test_earlier_turns_were_given_but_what_was_said_in_this_trace_was_not() -> None:
    def turn(identity: int, *messages: tuple[str, str]) -> Made:
        asked = [{"role": role, "content": text} for role, text in messages]
        said = [{"role": "assistant", "content": "It is 450."}]
        made = {"gen_ai.input.messages": json.dumps(asked), "gen_ai.output.messages": json.dumps(said)}
        return span({"gen_ai.operation.name": "chat", **made}, identity=identity, start_ms=identity * 100)

    tool = span({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t", "gen_ai.tool.call.result": "12"}, identity=9)
    history = (("user", "How much?"), ("assistant", "It is 450."), ("user", "Sure?"))
    assert value("grounded_numbers", view(turn(1, ("user", "How much?")), turn(2, *history), tool)) == 0
    assert value("grounded_numbers", view(turn(1, *history), tool)) == 1


@pytest.mark.parametrize(
    ("capture", "share"),
    [
        ("openinference__anthropic__tool_roundtrip", 1),  # 14 degrees, from {"temp_c": 14}
        ("pydantic_ai__openai__agent_tool_roundtrip_default", 1),
        ("openinference__langchain__rag_retrieval", None),  # no numbers but a mark
        ("openinference__anthropic__chat", None),
        ("otel_genai__openai__chat", None),
    ],
)
def test_captures(capture: str, share: float | None) -> None:
    assert value("grounded_numbers", captured(capture)[0]) == share


def test_a_context_that_is_too_long_or_too_full_is_not_judged() -> None:
    long = example.trace("user: Hi\ndocument: " + "word " * 250_000 + "\nassistant: It is 12345.")
    assert reason("grounded_numbers", long) == "the context is too long"
    full = example.trace("user: Hi\ndocument: " + "11 " * 30_000 + "\nassistant: It is 12345.")
    assert reason("grounded_numbers", full) == "the context has too many numbers"
    assert value("grounded_numbers", example.trace("user: Hi\ndocument: " + "11 " * 30_000 + "\nassistant: 11")) == 1


@given(st.integers(min_value=0, max_value=10**12), st.integers(min_value=0, max_value=3))
def test_every_way_to_write_a_number_means_it(number: int, decimals: int) -> None:
    exact = number / 10**decimals
    written = f"{exact:,.{decimals}f}"
    swapped = written.translate(str.maketrans(",.", ".,"))
    for form in (written, swapped, written.replace(",", ""), written.replace(",", "\u202f"), written.replace(",", "'")):
        assert any(reading.value == pytest.approx(exact, abs=1e-9) for reading in readings(form)), form
        assert any(one == pytest.approx(exact, abs=1e-9) for one in values(f"it is {form} long", 100) or ())


@given(st.floats(min_value=0.001, max_value=1e9), st.integers(min_value=0, max_value=6))
def test_a_rounding_is_grounded_and_the_next_one_is_not(number: float, decimals: int) -> None:
    rounded = round(number, decimals)
    step = 10.0**-decimals
    assert is_rounding(Reading(rounded, step), [number])
    assert not is_rounding(Reading(rounded + 2 * step, step), [number])


@given(st.text(alphabet="0123456789.,-:/ aT年月%'\u202fmaypo", max_size=60))
def test_any_text_has_quantities_that_stand_in_it(text: str) -> None:
    for found in quantities(text):
        assert found.text in text
        assert bool(found.dates) + (found.minutes is not None) + bool(found.readings) <= 1


@pytest.mark.parametrize("group", [",222", " 222", ".22", "2"])
def test_a_number_without_end_is_many(group: str) -> None:
    """What a written number means is remembered: it must not be any length."""
    assert all(len(found.text) < 1000 for found in quantities("1" + group * 10_000))


@given(st.text(alphabet="0123456789.,' ax", max_size=60))
def test_the_quick_way_to_read_numbers_reads_any_text(text: str) -> None:
    assert all(number >= 0 for number in plain_values(text))


@given(
    st.lists(
        st.sampled_from("0 1 12 345 1,234 . , ' - _ % EUR k bn Mio per cent pour days A4 x".split()) | st.just(" "), max_size=15
    )
)
def test_ascii_is_read_as_any_other_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert values(text, 100) == values(f"{text}\n\u00e9", 100)


def test_a_range_with_dots_is_two_numbers() -> None:
    assert plain_values("pages 30..57") == [30, 57]


def test_a_result_that_only_the_prompt_has_is_context() -> None:
    asked, answered = captured("openllmetry__openai__tool_roundtrip")
    assert reason("grounded_numbers", asked) == "there is no answer"
    assert score("grounded_numbers", answered).explanation == "not in the context: 14 (0 of 1 found)"  # it said rain only
    (structured,) = captured("pydantic_ai__openai__output_validation_failure")  # the prompt says what was wrong with the form
    assert reason("grounded_numbers", structured) == "nothing was retrieved, and no tool gave a result"
