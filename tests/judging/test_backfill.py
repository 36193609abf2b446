"""`otel-eval backfill`: real files, the stand-in judge, a real backend; and the command as a user types it."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.config import load
from otel_eval.inspection import dry_run
from otel_eval.inspection.load import read
from otel_eval.judging import backfill, planning
from otel_eval.records import Kind
from otel_eval.standin import Behaviour, Fault, Latency, StandIn
from otel_eval.standin import Kind as FaultKind
from otel_eval.standin.verdict import Judgement
from tests import spans
from tests.judging.history import RUBRIC, SECRET, TRACES, captured, configured, row, run, span_ids, trace_id
from tests.judging.judges import error
from tests.sink import INVALID, UNAVAILABLE, Answer, Sink

AT = "2026-01-31T00:00:00Z"


@pytest_asyncio.fixture
async def judge() -> AsyncIterator[StandIn]:
    async with StandIn() as running:
        yield running


@pytest.fixture(autouse=True)
def _plain_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("OTEL_", "ANTHROPIC_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(backfill, "_BACKOFF_S", 0.01)


async def test_history_is_judged_and_its_scores_arrive(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    status, out, _ = await run("--from", captured(tmp_path), "--config", configured(tmp_path, judge, sink), "--yes")
    assert status == 0
    assert f"{TRACES} of {TRACES} agent traces would be judged" in out
    assert (row(out, "baseline"), row(out, "scored")) == (TRACES, TRACES)
    found = [Span.FromString(raw) for raw in sink.spans()]
    by_trace = {(int.from_bytes(span.trace_id, "big"), span.name) for span in found}
    names = ("evaluation answered", f"evaluation {RUBRIC}")
    assert by_trace == {(trace_id(number), name) for number in range(1, TRACES + 1) for name in names}
    assert len(found) == len(by_trace)
    assert len(sink.items(Kind.LOGS)) == 2 * TRACES
    attributes = {one.key: one.value for one in found[0].attributes}
    assert attributes["otel_eval.sampling.policy"].string_value == "baseline", "although it is booked as something else"


async def test_what_leaves_is_scrubbed(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    await run("--from", captured(tmp_path, 2), "--config", configured(tmp_path, judge, sink), "--yes")
    seen = [one.body for one in judge.seen]
    assert seen
    assert all(b"order" in body and b"EMAIL_1" in body and SECRET.encode() not in body for body in seen)


async def test_a_second_run_sends_the_same_spans_and_pays_nothing(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    line = ("--from", captured(tmp_path), "--config", configured(tmp_path, judge, sink), "--yes")
    await run(*line)
    first, asked = span_ids(sink), len(judge.seen)
    sink.received[Kind.TRACES].clear()
    status, out, _ = await run(*line)
    assert status == 0
    assert "which cost 0.0000 USD" in out
    assert sorted(span_ids(sink)) == sorted(first)
    assert len(set(first)) == len(first)
    assert len(judge.seen) == asked


async def test_without_a_key_the_rubrics_are_blocked_and_code_scores(sink: Sink, tmp_path: Path) -> None:
    status, out, log = await run("--from", captured(tmp_path), "--config", configured(tmp_path, None, sink), "--yes")
    assert status == 0
    assert "cost: nothing; without an API key no judge is asked" in out
    assert f"{RUBRIC:28} {TRACES:>7}  blocked_evaluator" in out
    assert len(sink.spans()) == TRACES
    assert "there is no API key" in log


async def test_only_traces_since_then_are_judged(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    ends = spans.START_NS // 10**9 + 9 * 60  # of the ninth trace it is 0.9 s later
    since = datetime.fromtimestamp(ends, UTC).isoformat().replace("+00:00", "Z")
    line = ("--from", captured(tmp_path), "--config", configured(tmp_path, judge, sink), "--yes", "--since")
    _, out, _ = await run(*line, since)
    assert "4 of 4 agent traces would be judged" in out
    assert {int.from_bytes(Span.FromString(raw).trace_id, "big") for raw in sink.spans()} == set(map(trace_id, (9, 10, 11, 12)))
    assert "4 of 4" in (await run(*line, since.replace("Z", ".9Z")))[1], "one that ended at that moment counts"
    assert "3 of 3" in (await run(*line, since.replace("Z", ".901Z")))[1]
    assert "12 of 12" in (await run(*line, f"{(time.time_ns() - spans.START_NS) // (86400 * 10**9) + 1} days ago"))[1]
    assert "0 of 0" in (await run(*line, "1 hour ago"))[1]
    status, none, _ = await run(*line, "2100-01-01T00:00:00+02:00")
    assert (status, none) == (0, "0 of 0 agent traces would be judged\n")


async def test_the_choice_is_that_of_sample(sink: Sink, tmp_path: Path) -> None:
    file = captured(tmp_path, 40)
    config = configured(tmp_path, None, sink, sampling={"baseline": {"rate": 0.4}})
    _, out, _ = await run("--from", file, "--config", config, "--yes")
    chosen = dry_run.run(load(config).config, [file]).total.chosen
    assert 0 < chosen < 40
    assert f"{chosen} of 40 agent traces would be judged" in out
    assert len(sink.spans()) == chosen


async def test_the_cost_is_shown_and_nothing_is_judged_without_a_yes(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    status, out, log = await run("--from", captured(tmp_path), "--config", configured(tmp_path, judge, sink))
    assert (status, sink.requests, len(judge.seen)) == (1, 0, 0)
    assert f"cost: {TRACES} questions" in out
    assert "expected 0.0" in out
    assert "otel-eval: --yes: expected it where nobody can be asked" in log


async def test_an_unknown_price_is_said(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    judging = {"evaluators": [{"rubric": RUBRIC, "model": "in-house-7b"}]}
    _, out, _ = await run("--from", captured(tmp_path), "--config", configured(tmp_path, judge, sink, judging=judging))
    assert "the price of in-house-7b is not known" in out
    assert "USD" not in out


async def test_the_worst_case_is_the_worst_that_can_be(sink: Sink, tmp_path: Path) -> None:
    """Each answer but the second is no verdict, and that one quotes what nobody has said."""

    def unproven(material: str, instructions: str, schema: dict[str, Any]) -> dict[str, Any]:
        found = Judgement(0)(material, instructions, schema)
        found["analysis"][RUBRIC]["evidence"] = ["nobody has ever said this"]
        return found

    async with StandIn(verdict=unproven) as judge:
        file, config = captured(tmp_path, 3), configured(tmp_path, judge, sink)
        loaded = load(config)
        found = planning.plan(loaded.config.sampling, loaded.config.scrub, read([file]))
        cost = await backfill.estimate(loaded.config, loaded.source, found.jobs, has_key=True)
        broken = Fault(kind=FaultKind.BROKEN_JSON)
        judge.script.extend([broken, None, broken, broken] * 3)
        _, out, _ = await run("--from", file, "--config", config, "--yes", "--concurrency", "1")
        assert (cost.questions, cost.most_questions, len(judge.seen)) == (3, 12, 12)
        assert 0 < judge.engine.spent_usd < cost.worst_usd
        assert 0 < cost.expected_usd < cost.worst_usd
        assert f"expected {cost.expected_usd:.4f} USD, at worst {cost.worst_usd:.4f} USD" in out


async def test_evaluators_of_sessions_are_said_to_be_left_out(sink: Sink, tmp_path: Path) -> None:
    judging = {"evaluators": ["answered", "knowledge_retention"]}
    _, out, _ = await run("--from", captured(tmp_path, 2), "--config", configured(tmp_path, None, sink, judging=judging))
    assert "not asked: knowledge_retention; sessions are not put together" in out


async def test_the_budget_holds_and_leaves_the_share_of_the_baseline(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    judging = {"budget": {"calls_per_day": 10, "baseline_share": 0.5}}
    config = configured(tmp_path, judge, sink, judging=judging)
    status, out, _ = await run("--from", captured(tmp_path), "--config", config, "--yes", "--concurrency", "3")
    assert status == 0
    assert 0 < len(judge.seen) <= 5
    assert row(out, "scored") == TRACES, "evaluators by code cost nothing"
    assert "dropped_budget: calls_per_day is used up apart from the baseline's share" in out
    assert TRACES > row(out, RUBRIC) >= TRACES - 5


async def test_a_busy_judge_is_asked_again(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    judge.script.extend([error(429, "rate_limit_error", retry_after="1"), error(529, "overloaded_error")])
    _, out, _ = await run("--from", captured(tmp_path, 2), "--config", configured(tmp_path, judge, sink), "--yes")
    assert (row(out, "scored"), row(out, RUBRIC)) == (2, 0)
    assert len(sink.spans()) == 4


async def test_a_trace_is_given_up_after_five_tries(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    judge.behaviour = Behaviour(faults={FaultKind.SERVER_ERROR: 1.0})
    status, out, _ = await run("--from", captured(tmp_path, 1), "--config", configured(tmp_path, judge, sink), "--yes")
    assert (status, row(out, "dead_letter"), len(judge.seen)) == (0, 1, 5)
    assert "dead_letter: 5 tries failed" in out
    assert sink.requests == 0


async def test_a_bad_request_is_not_repeated(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    judge.script.append(error(400, "invalid_request_error"))
    _, out, _ = await run("--from", captured(tmp_path, 2), "--config", configured(tmp_path, judge, sink), "--yes")
    assert (row(out, "dead_letter"), row(out, "scored")) == (1, 1)


async def test_a_backend_that_refuses_makes_the_status_1(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    sink.behave = lambda kind, _body: INVALID if kind is Kind.LOGS else UNAVAILABLE
    status, out, log = await run("--from", captured(tmp_path, 2), "--config", configured(tmp_path, judge, sink), "--yes")
    assert status == 1
    assert row(out, "scored") == 2
    assert "4 requests were not sent" in log
    assert "bad data" in log
    assert "5 tries failed" in log


async def test_what_a_backend_takes_only_in_part_is_not_sent(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=1, error_message="too old")
    sink.answers.append(Answer(response=ExportTraceServiceResponse(partial_success=partial).SerializeToString()))
    config = configured(tmp_path, judge, sink, types=["traces"])
    status, _, log = await run("--from", captured(tmp_path, 2), "--config", config, "--yes")
    assert (status, "1 rejected: too old" in log) == (1, True)


async def test_a_backend_that_comes_back_gets_everything(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    sink.answers.extend([UNAVAILABLE] * 3)
    status, _, _ = await run("--from", captured(tmp_path, 2), "--config", configured(tmp_path, judge, sink), "--yes")
    assert status == 0
    assert len(sink.spans()) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "clickhouse"), "--from clickhouse: no clickhouse exporter is configured"),
        (("--from", "clickhouse", "--from", "x.pb"), "--from: expected either files or one clickhouse exporter"),
        (
            ("--from", "x.pb", "--since", "2026-01-31T00:00:00Z", "--until", "2026-01-31T00:00:00Z"),
            "--until: expected a time after",
        ),
        (("--from", "missing.pb"), "missing.pb: no such file"),
        (("--from", "x.pb", "--since", "yesterday"), "--since: 'yesterday': expected a time such as"),
    ],
)
async def test_mistakes_are_told_plainly(arguments: tuple[str, ...], said: str, sink: Sink, tmp_path: Path) -> None:
    status, _, log = await run(*arguments, "--config", configured(tmp_path, None, sink), "--yes")
    assert (status, said in log) == (1, True), log


async def test_scores_that_would_go_nowhere_are_not_made(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    config = configured(tmp_path, judge, sink, types=["metrics"])
    status, _, log = await run("--from", captured(tmp_path), "--config", config, "--yes")
    assert (status, len(judge.seen)) == (1, 0)
    assert "exporters: expected one that takes traces or logs" in log


@asynccontextmanager
async def asked(said: str, *line: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in a process whose stdin is a terminal, where somebody answers the question."""
    mine, theirs = pty.openpty()
    os.write(mine, said.encode())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "otel_eval", "backfill", *map(str, line),
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    yield process
    await process.wait()
    os.close(mine)
    os.close(theirs)


async def test_a_person_may_say_no(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    line = ("--from", captured(tmp_path, 2), "--config", configured(tmp_path, judge, sink))
    async with asked("n\n", *line) as process:
        out, _ = await process.communicate()
    assert (process.returncode, sink.requests, len(judge.seen)) == (1, 0, 0)
    assert b"Judge them? [y/N]" in out


async def test_ctrl_c_ends_with_what_was_done(judge: StandIn, sink: Sink, tmp_path: Path) -> None:
    judge.behaviour = Behaviour(latency=Latency(median_s=0.2, sigma=0.0))
    line = ("--from", captured(tmp_path), "--config", configured(tmp_path, judge, sink), "--concurrency", "1")
    async with asked("y\n", *line) as process:
        await sink.wait_for_items(4)
        process.send_signal(signal.SIGINT)
        out, log = await process.communicate()
    assert process.returncode == 130
    done = row(out.decode(), "scored")
    assert 1 <= done < TRACES
    assert f"{done} of {TRACES} traces are done" in out.decode()
    assert b"Traceback" not in log
