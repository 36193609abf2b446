"""The traces of the demo's agent, as anybody sees them who gets the bytes."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_eval.demo.agent import Agent
from otel_eval.demo.story import Turn, planned
from otel_eval.sampling.facts import Facts
from otel_eval.sampling.signals import detect
from otel_eval.traces.joining import read_traces
from otel_eval.traces.view import TraceView
from otel_eval.wire import lens

END_NS = 1_790_000_000_000_000_000
TURNS = [turn for session in planned(7, 300) for turn in session]


def log_records() -> InMemoryLogRecordExporter:
    return InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]


def sent(turns: Sequence[Turn], seed: int = 7) -> bytes:
    spans = InMemorySpanExporter()
    agent = Agent(seed, spans, log_records())
    for number, turn in enumerate(turns):
        agent.answer(turn, END_NS + number * 10**10)
    agent.finish()
    assert len(spans.get_finished_spans()) == agent.spans
    return encode_spans(spans.get_finished_spans()).SerializeToString()


def views(turns: Sequence[Turn]) -> list[TraceView]:
    return sorted(read_traces(lens.groups(sent(turns)), []), key=lambda view: view.start_ns)


def one(turn: Turn) -> TraceView:
    (view,) = views([turn])
    return view


def test_the_truth_is_in_no_byte() -> None:
    lies = [replace(turn, good=not turn.good, flaw=None, opinion=None, comment="") for turn in TURNS]
    assert sent(TURNS) == sent(lies)


def test_ids_depend_on_the_question_and_not_on_what_came_before_it() -> None:
    assert one(TURNS[5]).trace_id == views(TURNS[:6])[5].trace_id
    assert len({view.trace_id for view in views(TURNS)}) == len(TURNS)
    assert sent(TURNS[:3], seed=1) != sent(TURNS[:3], seed=2)


def test_a_trace_reads_as_the_turn_that_it_is() -> None:
    for turn, view in zip(TURNS, views(TURNS), strict=True):
        assert view.user_input == turn.asked
        assert view.final_output == turn.answer
        assert view.session_id == turn.session
        assert view.user_id == turn.user
        assert view.service_name == "support-agent"
        assert [document.id for document in view.retrieved_documents] == list(turn.pages)
        assert [(tool.name, tool.arguments, tool.error is None) for tool in view.tool_calls] == [
            (use.name, use.arguments, use.error is None) for use in turn.uses
        ]
        assert len(view.model_calls) == 1 + len(turn.uses)
        assert view.usage.input_tokens
        assert view.cost_usd


def test_version_and_day_are_what_traffic_is_counted_by() -> None:
    turn = TURNS[-1]
    facts = Facts(one(turn), {})
    assert (facts.prompt_version, facts.attribute("shop.day"), facts.attribute("shop.intent")) == (
        turn.prompt_version,
        f"day {turn.day}",
        turn.intent,
    )
    assert facts.attribute("service.version") == "2.3.0"
    assert facts.model == "demo-model-1"
    assert facts.is_agent


def test_a_tool_that_failed_is_a_signal() -> None:
    turn = next(turn for turn in TURNS if turn.uses and turn.uses[0].error)
    assert "tool_error" in detect(one(turn))
    assert "tool_error" not in detect(one(next(turn for turn in TURNS if turn.day == 1 and turn.uses)))


def test_times_are_those_of_the_story() -> None:
    turn = TURNS[0]
    view = one(turn)
    assert view.end_ns == pytest.approx(END_NS, abs=10)
    assert view.duration_s == pytest.approx(sum(turn.seconds[: 2 + 2 * len(turn.uses)]), abs=1e-6)


def test_a_thumb_is_heard_as_feedback_on_its_trace() -> None:
    spans, logs = InMemorySpanExporter(), log_records()
    agent = Agent(7, spans, logs)
    agent.thumb(agent.answer(TURNS[0]), False, "that is wrong")
    agent.finish()
    requests = encode_spans(spans.get_finished_spans()), encode_logs(logs.get_finished_logs())
    (view,) = read_traces(*(lens.groups(request.SerializeToString()) for request in requests))
    assert [(said.kind, said.positive, said.comment) for said in view.feedback] == [("thumbs", False, "that is wrong")]
    assert "thumbs_down" in detect(view)
