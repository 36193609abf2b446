"""Traces over the budget: what is kept, what is said of the rest."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.judging import injection
from otel_eval.judging.cutting import MIN_BYTES, cut, line
from otel_eval.judging.material import Item
from tests.strategies import PROPERTY

PIECES = ["word ", "<", '"', "\\", "\n", "\u4e2d", "\U0001f600", "\ufdfa", "e\u0301", "\u200b", "\ud800", "a\x01"]
repeated = st.builds(str.__mul__, st.sampled_from(PIECES), st.sampled_from([0, 1, 7, 300, 5000, 30_000]))
texts = st.lists(repeated, min_size=1, max_size=3).map("".join)


@st.composite
def steps(draw: st.DrawFn) -> list[Item]:
    names = st.lists(st.sampled_from(["name", "arguments", "result", "error"]), min_size=1, max_size=4, unique=True)
    made = [
        Item("tool", {name: draw(texts) for name in draw(names)}, failing=draw(st.booleans()))
        for _ in range(draw(st.sampled_from([0, 1, 5, 12])))
    ]
    made = made * draw(st.sampled_from([1, 1, 20]))
    core = [Item(part, {"text": draw(texts)}, core=True) for part in ("system_prompt", "user_input", "final_output", "reference")]
    return [*core[:2], *made, *core[2:]]


@PROPERTY
@given(steps(), st.sampled_from([MIN_BYTES, 8000, 60_000]))
def test_the_budget_is_kept_whatever_there_is(items: list[Item], budget: int) -> None:
    shown = cut(items, budget)
    assert sum(len(one.encode()) + 1 for one in shown.lines) <= budget
    found = [json.loads(one) for one in shown.lines]
    assert [one["part"] for one in found if one["part"] not in {"tool", "left_out"}] == [
        "system_prompt", "user_input", "final_output", "reference",
    ]  # fmt: skip
    kept = sum(line["part"] == "tool" for line in found)
    told = sum(line["steps"] for line in found if line["part"] == "left_out")
    assert kept + told == sum(item.part == "tool" for item in items)
    assert told == shown.left_out_steps
    assert sum(map(left_out, found)) == shown.left_out_characters


def left_out(line: dict[str, Any]) -> int:
    return sum(value["left_out_characters"] for value in line.values() if isinstance(value, dict))


@pytest.mark.parametrize("text", ["<" * 20_000 + "a" * 20_000, "a" * 20_000 + "<" * 20_000, "<a" * 20_000])
def test_a_text_that_is_dearer_in_one_part_fits_too(text: str) -> None:
    shown = cut([Item("document", {"text": text})], 12_000)
    assert 6_000 < sum(len(line.encode()) + 1 for line in shown.lines) <= 12_000


def test_what_fits_is_not_touched() -> None:
    items = [Item("tool", {"name": "a", "result": {"b": [1, "<"]}}), Item("final_output", {"text": "c\n"}, core=True)]
    shown = cut(items, MIN_BYTES)
    assert shown.lines == (
        '{"part": "tool", "name": "a", "result": "{\\"b\\": [1, \\"\\u003c\\"]}"}',
        '{"part": "final_output", "text": "c\\n"}',
    )
    assert shown.texts == ("a", '{"b": [1, "<"]}', "c\n")
    assert (shown.left_out_characters, shown.left_out_steps) == (0, 0)


def test_of_too_many_steps_the_first_the_last_and_the_failing_are_kept() -> None:
    items = [Item("tool", {"name": f"step {number}"}, failing=number in {500, 733}) for number in range(1000)]
    shown = cut([Item("user_input", {"text": "Do it."}, core=True), *items], 10_000)
    found = [json.loads(one) for one in shown.lines]
    names = [line.get("name") for line in found]
    for number in (0, 1, 2, 3, 500, 733, 996, 997, 998, 999):
        assert f"step {number}" in names
    gaps = [line["steps"] for line in found if line["part"] == "left_out"]
    assert len(gaps) == 3
    assert sum(gaps) == shown.left_out_steps == 1000 - sum(name is not None for name in names)
    before = found[names.index("step 500") - 1]
    assert before == {"part": "left_out", "steps": 500 - (names.index("step 500") - 2)}


def test_when_all_steps_fail_the_last_ones_are_kept_beside_the_first() -> None:
    items = [Item("tool", {"name": f"step {number}"}, failing=True) for number in range(1000)]
    names = [json.loads(line).get("name") for line in cut(items, 10_000).lines]
    assert names[0] == "step 0"
    assert names[-1] == "step 999"


def test_long_texts_lose_their_middle_and_short_ones_nothing() -> None:
    items = [
        Item("document", {"text": "BEGIN" + "x" * 50_000 + "END"}),
        Item("document", {"text": "Short and whole."}),
        Item("final_output", {"text": "FIRST" + "y" * 50_000 + "LAST"}, core=True),
    ]
    shown = cut(items, 12_000)
    document, short, answer = (json.loads(line)["text"] for line in shown.lines)
    assert short == "Short and whole."
    for text, first, last, length in ((document, "BEGIN", "END", 50_008), (answer, "FIRST", "LAST", 50_009)):
        assert list(text) == ["begins", "left_out_characters", "ends"]
        assert text["begins"].startswith(first)
        assert text["ends"].endswith(last)
        assert len(text["begins"]) + text["left_out_characters"] + len(text["ends"]) == length
    assert len(answer["begins"]) > 3 * len(document["begins"])
    assert sum(len(line.encode()) for line in shown.lines) > 11_500
    assert {document["begins"], document["ends"], short} <= set(shown.texts)


def test_no_content_can_say_that_something_was_left_out() -> None:
    fake = '{"begins": "a", "left_out_characters": 5, "ends": "b"}'
    (line,) = cut([Item("document", {"text": fake})], MIN_BYTES).lines
    assert json.loads(line)["text"] == fake
    (line,) = cut([Item("document", {"text": json.loads(fake)})], MIN_BYTES).lines
    assert isinstance(json.loads(line)["text"], str)


@pytest.mark.parametrize("piece", ["\u0301\u0316", "\ufdfa", "\U000e0041", "<", "\ud800", "a\u200b"])
def test_a_megabyte_of_anything_is_cut_before_it_is_looked_at(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is bounded by the budget: cleaning, the dearest part, is given no more characters than it has bytes."""
    given_characters: list[int] = []
    clean = injection.clean

    def counted(text: str) -> injection.Cleaned:
        given_characters.append(len(text))
        return clean(text)

    monkeypatch.setattr(injection, "clean", counted)
    items = [Item("tool", {"result": piece * (1_000_000 // len(piece))}) for _ in range(40)]
    shown = cut(items, 60_000)
    assert sum(given_characters) <= 60_000
    assert shown.left_out_characters > 20_000_000


@PROPERTY
@given(st.dictionaries(texts, texts | st.integers() | st.dictionaries(texts, texts | st.integers(), max_size=3), max_size=3))
def test_a_line_is_json_as_the_encoder_writes_it(value: dict[str, Any]) -> None:
    assert line(value) == json.dumps(value, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")
