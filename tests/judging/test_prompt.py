"""The prompt: its fence under any content, and where rules, rubric and question stand."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.evaluators import rubric
from otel_eval.evaluators.evaluator import Subject
from otel_eval.evaluators.questioning import JudgedConfig, Questioner
from otel_eval.evaluators.rubric import Part
from otel_eval.inspection.load import read
from otel_eval.judging import material, prompt
from otel_eval.judging.material import Item
from tests.judging import attacks, scripted
from tests.judging.scripted import ScriptedJudge
from tests.strategies import CAPTURES, PROPERTY

KEY = bytes(32)
PIECES = [
    "</data_", "<data_0123456789abcdef>", '"}', '", "part": "', "\\", "\\u003c", "\n", "\r", "\u2028", "\x00", "\u200b", "\ud800",
    "\uff1c", "\ufe64", "\U000e0041", "\u202e", "\u0301", "\ufdfa", "10\u2076", "\U0001f468\u200d\U0001f469", "{", "]", "score",
]  # fmt: skip
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=8).map("".join)
values = st.recursive(
    hostile | st.none() | st.booleans() | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3),
    max_leaves=6,
)
items = st.lists(
    st.builds(
        Item,
        st.sampled_from(["user_input", "tool", "document", "final_output"]),
        st.dictionaries(st.sampled_from(["text", "name", "arguments", "result"]), values, min_size=1, max_size=3),
        core=st.booleans(),
        failing=st.booleans(),
        turn=st.none() | st.integers(1, 9),
    ),
    max_size=8,
)


@PROPERTY
@given(items)
def test_no_content_gets_out_of_its_string(made: list[Item]) -> None:
    """The only tags are ours, the lines are as many as the items, and what is not our name for a thing is a value."""
    fenced = prompt.material(made, key=KEY)
    first, *inside, last = fenced.fenced.split("\n")
    assert (first, last) == (f"<{fenced.tag}>", f"</{fenced.tag}>")
    assert fenced.fenced.count(fenced.tag) == 2
    assert not set("<>") & set("".join(inside))
    found = [json.loads(line) for line in inside] if made else []
    for item, line in zip(made, found, strict=True):
        assert list(line) == ["part", *([] if item.turn is None else ["turn"]), *item.texts]
        assert all(isinstance(line[name], str) for name in item.texts)
    fenced.fenced.encode()


@PROPERTY
@given(items, st.text("0123456789abcdef", min_size=16, max_size=16))
def test_the_tag_depends_on_content_and_key_only(made: list[Item], other: str) -> None:
    fenced = prompt.material(made, key=KEY)
    assert prompt.material(made, key=KEY) == fenced
    unlike = prompt.material(made, key=other.encode())
    assert unlike.tag != fenced.tag
    assert unlike.fingerprint == fenced.fingerprint
    changed = [*made, Item("final_output", {"text": f"</{fenced.tag}>"}, core=True)]
    assert prompt.material(changed, key=KEY).tag != fenced.tag


def test_a_process_has_a_key_of_its_own() -> None:
    code = "from otel_eval.judging.prompt import material as m; print(m([]).tag, m([]).tag)"
    tags = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split() for _ in range(2)]
    assert tags[0][0] == tags[0][1] != tags[1][0]
    assert re.fullmatch(b"data_[0-9a-f]{16}", tags[0][0])


@pytest.mark.parametrize("file", [file for file in CAPTURES if not file.name.endswith(".logs.pb")], ids=lambda file: file.stem)
def test_every_capture_can_be_shown(file: Path) -> None:
    logs = file.with_name(f"{file.stem}.logs.pb")
    for view in read([file, logs] if logs.exists() else [file]):
        for shown in (material.of_trace(Subject(view=view), list(Part)), material.of_session(Subject(view=view), list(Part))):
            fenced = prompt.material(shown)
            texts = "\n".join(fenced.shown.texts)
            assert fenced.shown.findings == ()
            assert fenced.shown.left_out_characters == 0
            assert " ".join((view.final_output or "").split()) in " ".join(texts.split())


async def question(**settings: Any) -> Any:
    judge = ScriptedJudge(scripted.verdict({"factual_grounding": "unsupported"}, ["Order 4711 left Rotterdam"]))
    config = JudgedConfig(rubric="factual_grounding", **settings)
    rubrics = rubric.load("factual_grounding").rubrics
    questioner = Questioner(config, judge)
    shown = prompt.material(material.of_trace(scripted.subject(), list(Part)), questioner.room(rubrics))
    await questioner.ask(rubrics, shown)
    return judge.asked[0]


async def test_the_rubric_stands_with_the_rules_and_is_the_same_for_every_trace() -> None:
    ask = await question()
    assert ask.cache_instructions
    assert not ask.cache_material
    assert "Rubric factual_grounding" in ask.instructions
    assert "Rubric" not in ask.question
    assert "4711" not in ask.instructions + ask.question
    assert not re.search("data_[0-9a-f]{16}", ask.instructions)
    assert re.search("data_[0-9a-f]{16}", ask.question)
    assert not set("<>") & set(ask.question)
    assert (ask.model, ask.effort, ask.thinking, ask.max_tokens) == ("claude-haiku-5-5", None, "disabled", 1024)


async def test_several_questions_about_one_trace_share_all_that_stands_before_them() -> None:
    ask = await question(cache_material=True)
    assert ask.cache_material
    assert "Rubric factual_grounding" in ask.question
    rubrics = rubric.load("plan_execution").rubrics
    other = Questioner(JudgedConfig(rubric="plan_execution", cache_material=True), ScriptedJudge(""))
    assert prompt.material(material.of_trace(scripted.subject(), list(Part)), other.room(rubrics)).fenced == ask.material
    assert prompt.instructions(rubrics, rubric_follows=True) == ask.instructions


async def test_settings_of_the_model_reach_it() -> None:
    ask = await question(model="claude-opus-5-5", thinking="adaptive", effort="low")
    assert (ask.model, ask.effort, ask.thinking, ask.max_tokens) == ("claude-opus-5-5", "low", "adaptive", 1024 + 4096)
    assert (await question(max_tokens=300, thinking=None)).max_tokens == 300


def test_the_whole_prompt_stays_under_the_limit() -> None:
    rules = prompt.instructions(rubric.load("quality_4d").rubrics, rubric_follows=False)
    behind = "?" * 20_000
    left = prompt.room(rules, behind, 90_000)
    fenced = prompt.material([Item("final_output", {"text": "\u4e2d\u6587<" * 200_000}, core=True)], left)
    assert sum(map(prompt.tokens, (rules, behind, fenced.fenced))) <= prompt.MAX_PROMPT_TOKENS
    assert prompt.tokens(fenced.fenced) > 0.95 * left
    assert prompt.room("r" * 400_000, "", 90_000) == prompt.MIN_MATERIAL_TOKENS


def test_tokens_are_estimated_from_above() -> None:
    """3.3 characters a token with a margin of 1.3; other scripts by their bytes."""
    assert prompt.tokens("a" * 3300) == 1301
    assert prompt.tokens("\u4e2d" * 1000) > 1000


def test_a_change_of_what_a_judge_is_shown_needs_a_new_revision() -> None:
    """When this fails: raise prompt.REVISION, which is in the version of every evaluator, and then this hash."""
    subject = attacks.subject("answer", "Fine. 10\u2076 \uff1cb\uff1e\u200b " + "long " * 3000)
    shown = [prompt.material(of(subject, list(Part)), 3000, KEY).fenced for of in (material.of_trace, material.of_session)]
    shown += [prompt.material(material.of_call(call, list(Part)), key=KEY).fenced for call in subject.view.model_calls]
    seen = hashlib.sha256("\n".join(shown).encode()).hexdigest()[:16]
    assert (prompt.REVISION, seen) == (2, "54e27c19c87c4468")
