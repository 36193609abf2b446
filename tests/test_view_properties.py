"""Whatever a trace holds, there is a view, in bounded time."""

import gc
import json
import weakref
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from otel_eval.inspection.document import to_json
from otel_eval.sampling.sessions import SessionMemory
from otel_eval.sampling.signals import detect
from otel_eval.traces import fields
from otel_eval.traces.joining import read_traces
from otel_eval.traces.values import MAX_TEXT
from otel_eval.traces.view import TraceView
from otel_eval.wire import lens
from tests.spans import Made, log, span, trace_request, views

_KEYS = sorted(fields.ATTRIBUTES)
_EVENTS = ("exception", "gen_ai.choice", "gen_ai.user.message", "gen_ai.evaluation.result", "otel_eval.feedback", "tool_result")
_FLAT = (
    "llm.input_messages", "llm.output_messages", "gen_ai.prompt", "gen_ai.completion", "gen_ai.input.messages", "llm.tools",
    "retrieval.documents", "annotations", "evaluations", "llm.request.functions",
)  # fmt: skip
_SUFFIXES = (
    "message.role", "message.content", "message.contents.0.message_content.type", "message.contents.0.message_content.text",
    "message.tool_calls.0.tool_call.function.name", "role", "content", "tool_calls.1.name", "document.content", "annotation.name",
    "annotation.score", "annotation.annotator_kind", "evaluation.label", "name", "0", "message", "message.tool_calls",
)  # fmt: skip
_WORDS = st.sampled_from(
    ["role", "content", "parts", "type", "text", "tool_call", "tool_use", "toolResult", "function", "name", "arguments", "args", "kwargs",
     "messages", "choices", "message", "output", "input", "id", "lc", "data", "user", "assistant", "system", "tool", "json", "value",
     "LLM", "TOOL", "RETRIEVER", "AGENT", "chat", "execute_tool", "documents", "page_content", "score", "logprob", "error", "status"]
)  # fmt: skip
_TEXT = st.one_of(_WORDS, st.text(max_size=20))
_PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), _TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXT, inner, max_size=4)),
    max_leaves=12,
)
_VALUES = st.one_of(
    _PLAIN, _PLAIN.map(json.dumps), _PLAIN.map(repr), _PLAIN.map(json.dumps).map(json.dumps), st.binary(max_size=8)
)
_NAMES = st.one_of(
    st.sampled_from(_KEYS),
    st.builds("{}.{}.{}".format, st.sampled_from(_FLAT), st.integers(0, 10_000), st.sampled_from(_SUFFIXES)),
    st.text(max_size=10),
)
_ATTRIBUTES = st.dictionaries(_NAMES, _VALUES, max_size=12)


@st.composite
def _items(draw: st.DrawFn) -> list[Made]:
    count = draw(st.integers(1, 5))
    made = [
        span(
            draw(_ATTRIBUTES),
            identity=draw(st.integers(1, 6)),
            parent=draw(st.integers(0, 6)),
            trace=draw(st.integers(1, 2)),
            failed=draw(st.sampled_from([None, True, False])),
            scope=draw(st.sampled_from(["", "otel_eval", "com.anthropic.sdk.python", "strands", "ai"])),
            name=draw(st.one_of(st.sampled_from(["raw_gen_ai_request", "claude_code.tool", "call_llm"]), st.text(max_size=5))),
            events=[(draw(st.sampled_from(_EVENTS)), draw(_ATTRIBUTES))] if draw(st.booleans()) else (),
            links=[(draw(st.integers(1, 2)), 1)] if draw(st.booleans()) else (),
        )
        for _ in range(count)
    ]
    made += [
        log(draw(st.sampled_from(_EVENTS)), draw(_ATTRIBUTES), draw(_VALUES), span_identity=draw(st.integers(0, 6)), at_ms=number)
        for number in range(draw(st.integers(0, 2)))
    ]
    return made


def read_everything(found: list[TraceView]) -> str:
    memory = SessionMemory()
    for one in found:
        for field in ("service_name", "agents", "end_ns"):
            getattr(one, field)
        detect(one, memory.earlier(one))
        memory.remember(one)
    return to_json(found)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_items())
def test_any_attributes_of_the_tables_with_any_values_give_a_view(items: list[Made]) -> None:
    json.loads(read_everything(views(*items)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4), st.binary(max_size=20), st.binary(max_size=20))
@example([b"\x4a\x0a\x0a\x02\xff\xfe\x12\x04\x0a\x02hi"], b"", b"")
def test_any_bytes_give_a_view(raw: list[bytes], resource: bytes, scope: bytes) -> None:
    groups = [lens.Group(b"", resource, scope, raw)]
    read_everything([TraceView(groups, groups)])


@settings(max_examples=50, deadline=None)
@given(_items(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(items: list[Made], random: Any) -> None:
    unique = list({(item.item.trace_id, item.item.span_id, type(item.item)): item for item in items}.values())
    shuffled = unique.copy()
    random.shuffle(shuffled)
    assert read_everything(views(*unique)) == read_everything(views(*shuffled))


# The bound in time of these tests is their timeout: what is not linear takes hours.
@pytest.mark.slow
@pytest.mark.parametrize("shape", ["flat", "deep", "vendor"])
def test_a_trace_of_a_hundred_thousand_spans_is_read(shape: str) -> None:
    spans = [
        span(
            {
                "gen_ai.operation.name": "chat" if number % 2 else "execute_tool",
                "gen_ai.tool.name": "t",
                "gen_ai.tool.call.arguments": {"n": number},
            },
            identity=number + 1,
            parent=(number if shape == "deep" else 1) if number else 0,
            scope="com.anthropic.sdk.python" if shape == "vendor" else "",
            failed=shape == "vendor",
        )
        for number in range(100_000)
    ]
    (found,) = read_traces(lens.groups(trace_request(spans)))
    read_everything([found])
    assert len(found.spans) == 100_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "x" * 20_000_000,
        "[" * 20_000_000,
        '{"a": ' * 3_000_000,
        json.dumps([{"role": "user", "content": "Hi"}] * 400_000),
        "{'a': " * 3_000_000,
        "(" * 60_000,
        "\\u0041" * 3_000_000,
    ],
    ids=["text", "brackets", "objects", "messages", "literal", "parentheses", "escapes"],
)
@pytest.mark.parametrize(
    "key", ["input.value", "gen_ai.input.messages", "gen_ai.prompt", "output.value", "gen_ai.usage.input_tokens"]
)
def test_an_attribute_of_twenty_megabytes_is_read_and_cut(key: str, text: str) -> None:
    (found,) = views(span({"openinference.span.kind": "LLM", "gen_ai.completion": "[]", key: text}))
    assert len(read_everything([found])) < 12 * MAX_TEXT


def test_a_cut_text_says_how_much_is_missing() -> None:
    (found,) = views(span({"openinference.span.kind": "LLM", "input.value": "x" * (MAX_TEXT + 5)}))
    assert found.user_input is not None
    assert found.user_input.endswith("… [cut 5 characters]")


@pytest.mark.parametrize("depth", [100, 900, 5000])
def test_deeply_nested_values_are_cut(depth: int) -> None:
    nested = '{"content": ' * depth + '"x"' + "}" * depth
    (found,) = views(
        span({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.result": nested}, identity=1),
        span({"gen_ai.operation.name": "chat", "gen_ai.input.messages": nested}, identity=2, parent=1),
    )
    read_everything([found])


def test_a_view_that_nobody_holds_is_gone_at_once() -> None:
    """Spans that held each other in a circle would wait for the garbage collector, which then took a tenth of the CPU."""
    (made,) = views(span({"gen_ai.operation.name": "invoke_agent"}, identity=1), span({}, identity=2, parent=1))
    assert made.tree.spans[1].parent is made.tree.roots[0]
    root = weakref.ref(made.tree.roots[0])
    gc.disable()
    try:
        del made
        assert root() is None
    finally:
        gc.enable()
