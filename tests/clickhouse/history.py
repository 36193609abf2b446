"""A past of agents for tests of queries: traces that are counted, chosen, judged and stored as a hop would have done it."""

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from otel_eval.clickhouse import ledger, schema, scores
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import endpoint_of
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.evaluators.evaluator import JudgeUse, Scope
from otel_eval.judging.scores import Judgement, Result, Score, State
from otel_eval.sampling.ledger import MINUTE_NS, Decided, OutcomeSeen, Traffic, latency_bin
from otel_eval.traces.entry import Trigger
from tests.clickhouse.conftest import Database
from tests.clickhouse.rows import MANY_DAYS

DAY = 24 * 60
MIDNIGHT = 29_394_720  # in minutes since 1970: 2025-11-21, 00:00
HOP = "0123456789abcdef"
PASSES_FROM = 0.5
_numbers = itertools.count()


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One trace; `values` are its scores by evaluation, of those that were judged. `flushes` is how often it is counted."""

    number: int
    minute: int = MIDNIGHT
    service: str = "shop"
    model: str = "m-1"
    prompt_version: str = "1"
    policy: str = "baseline"
    stratum: str = ""
    signals: tuple[str, ...] = ()
    pi: float = 1.0
    chosen: bool = True
    state: State = State.SCORED
    values: Mapping[str, float] = {}
    evaluator_version: str = "v1"
    eligible: bool = True
    seconds: float = 1.0
    cost_usd: float = 0.01
    judge_usd: float = 0.002
    tools: Mapping[str, bool] = {}
    succeeded: bool | None = None

    @property
    def id(self) -> str:
        return f"{self.number:032x}"

    @property
    def start_ns(self) -> int:
        return self.minute * MINUTE_NS + 10**9

    @property
    def signal_class(self) -> str:
        return "+".join(self.signals)


def shop_of_two_days() -> list[Trace]:
    """On the second day the index broke: context fails, while answers keep to it. Of `den` little was judged."""
    found = []
    for day in range(2):
        for at in range(150):
            values = {
                "task_completion": float(at % 5 != 0),
                "context_relevance": float(at % 10 != 0) if day == 0 else float(at % 2),
                "factual_grounding": float(at % 10 != 1),
            }
            found.append(
                Trace(
                    number=day * 1000 + at + 1, minute=MIDNIGHT + day * DAY + at, values=values, model=f"m-{at % 2}",
                    cost_usd=0.1, prompt_version=str(day), seconds=float(at), signals=("slow",) if at >= 140 else (),
                    tools={"search": at % 10 != 0, "book": at % 5 != 0} if at < 100 else {},
                    succeeded=bool(at % 5) if at < 50 else None,
                )
            )  # fmt: skip
    quiet = [
        Trace(number=5000 + at, service="den", stratum="quiet" if at else "", pi=0.5, chosen=at == 0, seconds=0.1,
              values={"task_completion": 1.0} if at == 0 else {}, minute=MIDNIGHT + at * DAY // 2)
        for at in range(3)
    ]  # fmt: skip
    return [*found, *quiet, Trace(number=6000, service="bot", state=State.EXPIRED, pi=0.5, seconds=0.1)]


@pytest.fixture(scope="module")
def stored_shop(clickhouse_server: EmbeddedServer) -> Iterator[str]:
    """The name of a database that holds `shop_of_two_days`; nobody may change it."""
    name = f"test_shop_{next(_numbers)}"

    async def run(work: Callable[[Database], Awaitable[object]]) -> None:
        async with _clients(clickhouse_server, name) as database:
            await work(database)

    asyncio.run(run(lambda database: store(database, shop_of_two_days(), spans=True)))
    yield name
    asyncio.run(run(lambda database: database.client.command(f"DROP DATABASE {name} SYNC")))


@pytest_asyncio.fixture
async def shop(stored_shop: str, clickhouse_server: EmbeddedServer) -> AsyncIterator[Database]:
    async with _clients(clickhouse_server, stored_shop) as database:
        yield database


@asynccontextmanager
async def _clients(server: EmbeddedServer, name: str) -> AsyncIterator[Database]:
    admin = ClickHouse(endpoint_of(server, "writer"))
    await admin.command(f"CREATE DATABASE IF NOT EXISTS {name}")
    writer, reader = (ClickHouse(endpoint_of(server, user, name)) for user in ("writer", "reader"))
    try:
        yield Database(name, writer, reader)
    finally:
        for client in (admin, writer, reader):
            await client.close()


async def store(database: Database, traces: Sequence[Trace], *, spans: bool = False) -> None:
    """Make all tables and fill them."""
    await schema.apply(database.client, schema.Target(database.name))
    await insert(database.client, traces, {}, spans=spans)


async def insert(client: ClickHouse, traces: Sequence[Trace], settings: Mapping[str, int], *, spans: bool = True) -> None:
    judged = [judgement(trace) for trace in traces if trace.chosen]
    tables: dict[str, Mapping[str, Sequence[Any]]] = {
        "otel_eval_decisions": ledger.decisions(map(decided, traces), HOP),
        "otel_eval_traffic": ledger.traffic(traffic(traces), HOP),
        "otel_evaluations": scores.evaluations(judged, HOP),
        "otel_eval_judgements": scores.judgements(judged, HOP),
        "otel_eval_outcomes": ledger.outcomes(outcomes(traces), HOP),
    }
    if spans:
        tables["otel_traces"] = spans_of(traces)
    for table, columns in tables.items():
        await client.insert_columns(table, columns, {**MANY_DAYS, **settings})


def decided(trace: Trace) -> Decided:
    return Decided(
        trace_id=trace.number.to_bytes(16), time_ns=trace.start_ns + 10**9, revision=0, trigger=Trigger.ROOT, pi=trace.pi,
        own_pi=trace.pi, wanted=trace.pi, r=trace.number, r_source="trace_id", chosen=trace.chosen, policy=trace.policy,
        signals=dict.fromkeys(trace.signals, "seen"), stratum=trace.stratum, service=trace.service, spans=3,
        eligible=trace.eligible, minute=trace.minute, signal_class=trace.signal_class, model=trace.model,
        prompt_version=trace.prompt_version, start_ns=trace.start_ns, duration_ns=int(trace.seconds * 1e9),
    )  # fmt: skip


def traffic(traces: Iterable[Trace]) -> Iterable[Traffic]:
    """Each cell in two flushes, the first of which counts one trace too many."""
    cells: dict[tuple[object, ...], Traffic] = {}
    for trace in traces:
        row = Traffic(
            minute=trace.minute, service=trace.service, stratum=trace.stratum, signal_class=trace.signal_class,
            policy=trace.policy, model=trace.model, prompt_version=trace.prompt_version, eligible=trace.eligible,
        )  # fmt: skip
        row = cells.setdefault(row.cell(), row)
        row.traces += 1
        row.chosen += trace.chosen
        row.spans += 3
        row.errors += not all(trace.tools.values())
        row.cost_usd += trace.cost_usd
        row.input_tokens += 100
        row.latency = dict(Counter(row.latency) + Counter({latency_bin(trace.seconds): 1}))
    for row in cells.values():
        yield msgspec.structs.replace(row, flushed=row.minute + 1, traces=row.traces + 1)
        yield msgspec.structs.replace(
            row, flushed=row.minute + 2, traces=-1, chosen=0, spans=0, errors=0, cost_usd=0.0, input_tokens=0, latency={}
        )


def judgement(trace: Trace) -> Judgement:
    """Scores are by a judge; they pass from a half on."""
    use = JudgeUse(
        model="judge", answered_by="judge-1", cost_usd=trace.judge_usd, input_tokens=10, output_tokens=5, latency_s=2.0,
    )  # fmt: skip
    found = tuple(
        Score(
            name=name, evaluator=name, kind="llm", version=trace.evaluator_version, scope=Scope.TRACE,
            span_id=f"{trace.number:016x}", value=value, passed=value >= PASSES_FROM, explanation=f"{name} is {value:g}",
            judge=use, span_name="invoke_agent", span_start_ns=trace.start_ns, end_ns=trace.start_ns + 60 * 10**9,
        )
        for name, value in trace.values.items()
    )  # fmt: skip
    return Judgement(
        job=f"{trace.id}:0", trace_id=trace.id, revision=0, state=trace.state, time_ns=trace.start_ns + 60 * 10**9,
        results=tuple(Result(evaluator=name, state=trace.state) for name in trace.values), scores=found, pi=trace.pi,
        r=trace.number, policy=trace.policy, signals=trace.signals, stratum=trace.stratum, service=trace.service,
        model=trace.model, prompt_version=trace.prompt_version, minute=trace.minute, signal_class=trace.signal_class,
    )  # fmt: skip


def outcomes(traces: Iterable[Trace]) -> Iterable[OutcomeSeen]:
    for trace in traces:
        if trace.succeeded is not None:
            known = trace.number.to_bytes(16)
            yield OutcomeSeen(id=trace.id, time_ns=trace.start_ns, goal_id="g", trace_id=known, success=trace.succeeded)


def spans_of(traces: Iterable[Trace]) -> dict[str, list[Any]]:
    """The agent's span with what was asked and answered, a model call and the tools, a second apart from each other."""
    rows = [row for trace in traces for row in _spans(trace)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _spans(trace: Trace) -> Iterable[dict[str, Any]]:
    asked = json.dumps([_said("system", "Be kind."), _said("user", f"question {trace.number}")])
    answered = json.dumps([_said("assistant", f"answer {trace.number}")])
    chat = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": asked, "gen_ai.output.messages": answered}
    yield _span(trace, 0, "invoke_agent", {"gen_ai.operation.name": "invoke_agent"}, ok=True)
    yield _span(trace, 1, "chat m-1", chat, ok=True)
    for at, (tool, ok) in enumerate(trace.tools.items(), 2):
        yield _span(trace, at, f"execute_tool {tool}", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}, ok=ok)


def _span(trace: Trace, at: int, name: str, attributes: Mapping[str, str], *, ok: bool) -> dict[str, Any]:
    return {
        "Timestamp": trace.start_ns + at * 10**9, "TraceId": trace.id, "SpanId": f"{trace.number * 100 + at:016x}",
        "ParentSpanId": f"{trace.number * 100:016x}" if at else "", "ServiceName": trace.service, "SpanName": name,
        "SpanAttributes": attributes, "Duration": int(trace.seconds * 1e9) if not at else 5 * 10**8,
        "StatusCode": "Unset" if ok else "Error",
    }  # fmt: skip


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def many(seed: int, days: int, services: Sequence[str]) -> list[Trace]:
    """Traffic of some days: classes of any size and probability, some of them with no judged trace, or with each."""
    rng = random.Random(seed)
    found: list[Trace] = []
    for day in range(days):
        for service in services:
            for _ in range(rng.randint(1, 5)):
                pi = rng.choice([1.0, 1.0, 0.5, 0.1, 0.02])
                names = (rng.choice(["signals", "baseline", "strata"]), rng.choice(["", "long"]), rng.choice([(), ("error",)]))
                quality, answered = rng.choice([0.0, 0.3, 0.9, 1.0]), rng.choice([1.0, 0.9])
                for _ in range(rng.choice([1, 3, 40, 150, 400])):
                    chosen = rng.random() < pi
                    values = {"passing": float(rng.random() < quality), "grade": rng.random() ** 2, "latency": rng.gauss(900, 3)}
                    found.append(
                        Trace(
                            number=len(found) + 1, minute=MIDNIGHT + day * DAY + rng.randrange(DAY), service=service,
                            policy=names[0], stratum=names[1], signals=names[2], pi=pi, chosen=chosen, cost_usd=0.5,
                            values=values if chosen and rng.random() < answered else {}, state=State.SCORED,
                        )
                    )  # fmt: skip
    return found
