"""`kill -9` of a hop that judges, at random moments, with a provider that has every kind of bad day.

Run with `-s` to see the report, or by hand for larger figures: `python -m tests.chaos.test_judging_kill TRACES KILLS`.
"""

import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_eval.journal import stored_bodies
from otel_eval.judging import emit, scores
from otel_eval.judging.scores import Judgement
from otel_eval.records import Kind, OwnKind
from otel_eval.sampling import ledger
from otel_eval.standin import Behaviour, Latency, Limits, StandIn
from otel_eval.standin import Kind as FaultKind
from otel_eval.wire import lens
from tests import traffic
from tests.chaos.load import delivered
from tests.conftest import StartProcess
from tests.hop import HopProcess, otlp_to, settings
from tests.sink import Sink

LIMIT_USD = 0.2
_DAYS: dict[str, Any] = {
    "latency": Latency(median_s=0.1),
    "faults": {
        FaultKind.OVERLOADED: 0.04, FaultKind.SERVER_ERROR: 0.02, FaultKind.HANG: 0.01, FaultKind.BROKEN_JSON: 0.04,
        FaultKind.CUT_JSON: 0.02, FaultKind.REFUSAL: 0.04, FaultKind.DISCONNECT: 0.01, FaultKind.MISSING_USAGE: 0.02,
    },
    "limits": Limits(requests=1500, input_tokens=4_000_000, output_tokens=2_000_000),
}  # fmt: skip
BAD_DAYS = Behaviour(**_DAYS)
CAPPED = Behaviour(**_DAYS, spend_limit_usd=1e-9)


@dataclass
class Outcome:
    """What there is at the end."""

    chosen: set[str]
    judgements: list[Judgement]
    received: dict[Kind, Counter[bytes]]
    booked_usd: list[float]
    billed_usd: float
    answered: Counter[int]
    seconds: float


def judging(api: StandIn) -> dict[str, Any]:
    return {
        "provider": {"api_key": "any", "base_url": api.url, "timeout": "1s"},
        "evaluators": ["answered", "refusal", "tool_efficiency", {"rubric": "task_completion"}],
        "budget": {"usd_per_day": LIMIT_USD, "baseline_share": 0},
        "limits": {"max_rate_limit_share": 1},
        "deadline": "90s",
        "rejudge_rate": 0,
    }


async def under_kills(hop: HopProcess, sink: Sink, api: StandIn, traces: int, kills: int, *, capped_s: float) -> Outcome:
    """Send, kill, and wait until all that was chosen has come to its end and everything is delivered."""
    chance, begun = random.Random(f"{traces} {kills}"), time.monotonic()
    sending = asyncio.create_task(asyncio.to_thread(send, hop.grpc, traces))
    booked = [0.0]
    for number in range(kills):
        await asyncio.sleep(chance.uniform(0.3, 2.0))
        if number == kills // 2:
            api.behaviour = CAPPED
            await asyncio.sleep(capped_s)
            api.behaviour = BAD_DAYS
        await hop.kill()
        booked.append(booked_usd(hop))
        await hop.start()
    await sending
    async with asyncio.timeout(180):
        while not await at_its_end(hop):
            booked.append(booked_usd(hop))
            await asyncio.sleep(0.3)
    await delivered(hop)
    received = {kind: Counter(sink.items(kind)) for kind in (Kind.TRACES, Kind.LOGS)}
    booked.append(booked_usd(hop))
    spent = api.engine.spent_usd
    return Outcome(chosen(hop), judgements(hop), received, booked, spent, api.answered, time.monotonic() - begun)


def send(endpoint: str, traces: int, first: int = 0) -> None:
    """An agent with the SDK, which sends what a kill has cut off once more."""
    provider = TracerProvider(resource=Resource({"service.name": "support"}))
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=30)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100, max_queue_size=100_000))
    tracer = provider.get_tracer("agent")
    for number in range(first, first + traces):
        traffic.ask(tracer, number)
        time.sleep(0.01)
    provider.shutdown()


def directory(hop: HopProcess) -> Path:
    return Path(hop.config["journal"]["directory"])


def decisions(hop: HopProcess) -> list[ledger.Decided]:
    entries = (entry for body in stored_bodies(directory(hop), OwnKind.LEDGER) for entry in ledger.decode(body))
    return [entry for entry in entries if isinstance(entry, ledger.Decided)]


def chosen(hop: HopProcess) -> set[str]:
    return {one.trace_id.hex() for one in decisions(hop) if one.chosen}


def judgements(hop: HopProcess) -> list[Judgement]:
    found = (scores.decode(body) for body in stored_bodies(directory(hop), OwnKind.EVALUATIONS))
    return [one for one in found if one is not None]


async def at_its_end(hop: HopProcess) -> bool:
    """Whether nothing is open, waits or is worked on."""
    names = ("sampling_traces_open", "sampling_traces_due")
    busy = [await hop.metric(name) for name in names] + [
        await hop.metric("judging_queue", state=s) for s in ("waiting", "claimed")
    ]
    return not any(busy) and chosen(hop) == {one.trace_id for one in judgements(hop)}


def booked_usd(hop: HopProcess) -> float:
    """What the budget file says."""
    file = directory(hop) / "judging" / "budget.sqlite3"
    with closing(sqlite3.connect(file, timeout=10)) as database:
        return float(database.execute("SELECT coalesce(sum(nano_usd), 0) FROM booked").fetchone()[0]) / 1e9


def unknown_batches(hop: HopProcess) -> int:
    """The batches that were sent, or not: the provider has not said."""
    with closing(sqlite3.connect(directory(hop) / "judging" / "batches.sqlite3", timeout=10)) as database:
        return int(database.execute("SELECT count(*) FROM batch WHERE provider_id IS NULL").fetchone()[0])


def check(outcome: Outcome) -> None:
    """The promises."""
    jobs = Counter(one.job for one in outcome.judgements)
    assert {one.trace_id for one in outcome.judgements} == outcome.chosen
    assert set(jobs.values()) == {1}, "a job has one state"
    spans = {item for one in outcome.judgements for item in lens.items(emit.spans(one))}
    events = {item for one in outcome.judgements for item in lens.items(emit.events(one))}
    mine = {item for item in outcome.received[Kind.TRACES] if b"openinference.span.kind" in item}
    assert mine == spans, "what was recorded came to the backend, the same each time"
    assert set(outcome.received[Kind.LOGS]) == events
    assert max(outcome.booked_usd) <= LIMIT_USD
    assert outcome.billed_usd <= outcome.booked_usd[-1] + 1e-9
    for one in outcome.judgements:
        names = [result.evaluator for result in one.results]
        assert len(names) == len(set(names))
        assert {score.evaluator for score in one.scores} == {r.evaluator for r in one.results if r.state in ("scored", "cached")}


def report(outcome: Outcome, kills: int) -> Iterator[str]:
    yield f"{kills} kills, {len(outcome.chosen)} chosen traces, {len(outcome.judgements)} jobs, {outcome.seconds:.0f} s"
    yield f"states of traces: {dict(Counter(str(one.state) for one in outcome.judgements))}"
    results = Counter(str(r.state) for one in outcome.judgements for r in one.results if r.evaluator == "task_completion")
    yield f"states of the evaluator by judge: {dict(results)}"
    yield f"answers of the provider: {dict(outcome.answered)}"
    sent = sum(outcome.received[Kind.LOGS].values())
    tries = max(one.tries for one in outcome.judgements)
    yield f"scores: {len(set(outcome.received[Kind.LOGS]))}, received {sent}; tries: {tries}"
    yield f"booked ${outcome.booked_usd[-1]:.4f} of ${LIMIT_USD}, billed ${outcome.billed_usd:.4f}"


@pytest.mark.slow
async def test_every_chosen_trace_ends_once_whatever_dies(sink: Sink, start_process: StartProcess) -> None:
    async with StandIn(BAD_DAYS, seed=3) as api:
        sections: dict[str, Any] = {"traces": {"quiet_period": "200ms"}, "sampling": {"baseline": {"rate": 0.5}}}
        hop = await start_process({"otlp": otlp_to(sink.grpc_port)}, judging=judging(api), **sections)
        outcome = await under_kills(hop, sink, api, 300, 6, capped_s=0.5)
    print("", *report(outcome, 6), sep="\n")
    check(outcome)
    assert len(outcome.chosen) > 80, "so little work proves nothing"
    assert "Traceback" not in hop.log()


async def _by_hand(traces: int, kills: int) -> None:
    sink = await Sink().start()
    with tempfile.TemporaryDirectory() as place:
        async with StandIn(BAD_DAYS, seed=3) as api:
            sections: dict[str, Any] = {"traces": {"quiet_period": "200ms"}, "sampling": {"baseline": {"rate": 0.3}}}
            config = settings(Path(place), {"otlp": otlp_to(sink.grpc_port)}, judging=judging(api), **sections)
            hop = HopProcess(Path(place), config)
            await hop.start()
            try:
                outcome = await under_kills(hop, sink, api, traces, kills, capped_s=3.0)
            finally:
                await hop.kill()
            print(*report(outcome, kills), sep="\n")
            check(outcome)
            print("Tracebacks in the log:", hop.log().count("Traceback"))
    await sink.stop()


if __name__ == "__main__":
    asyncio.run(_by_hand(int(sys.argv[1]), int(sys.argv[2])))
