"""A pool of judges at work: a real queue, journal and cache in files, and the stand-in behind the real client and gate."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from otel_eval.config.models import Config, JournalConfig
from otel_eval.config.values import PositiveDuration, Secret
from otel_eval.evaluators.evaluator import Scope
from otel_eval.journal import Journal
from otel_eval.judging import job as jobs
from otel_eval.judging import scores
from otel_eval.judging.agreement import Rejudging
from otel_eval.judging.budget import BudgetConfig
from otel_eval.judging.config import Judging, Provider
from otel_eval.judging.gate import GateConfig
from otel_eval.judging.pool import Pool
from otel_eval.judging.publishing import Publisher
from otel_eval.judging.queue import Job
from otel_eval.judging.running import Judges
from otel_eval.judging.scores import Judgement
from otel_eval.judging.sqlite_queue import SqliteQueue
from otel_eval.records import Kind, OwnKind, Sync
from otel_eval.sampling.ledger import Decided
from otel_eval.scrub.config import ScrubConfig
from otel_eval.standin import StandIn
from otel_eval.telemetry import Metrics
from otel_eval.traces.entry import Trigger
from otel_eval.traces.retrieval import Stored
from otel_eval.wire import lens
from tests import spans

RUBRIC: dict[str, Any] = {"rubric": "task_completion"}


def decided(trace: int, **values: Any) -> Decided:
    settings: dict[str, Any] = {
        "trace_id": trace.to_bytes(16, "big"), "time_ns": time.time_ns(), "revision": 0, "trigger": Trigger.ROOT, "pi": 0.25,
        "own_pi": 0.25, "wanted": 0.25, "r": 2**55, "r_source": "trace_id", "chosen": True, "policy": "baseline",
        "rates": {"baseline": 0.25}, "service": "support",
    }  # fmt: skip
    return Decided(**(settings | values))


def stored(
    trace: int,
    answer: str = "It left our house this morning.",
    question: str = "Where is my order?",
    earlier: Sequence[dict[str, Any]] = (),
    *,
    root: int = 1,
) -> Stored:
    """A trace of an agent and its model call, the span after the root, which is told `earlier` messages too."""
    said = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o",
        "gen_ai.input.messages": json.dumps([*earlier, {"role": "user", "parts": [{"type": "text", "content": question}]}]),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": answer}]}]),
    }  # fmt: skip
    made = [
        spans.span({"gen_ai.operation.name": "invoke_agent"}, identity=root, trace=trace, resource={"service.name": "support"}),
        spans.span(said, identity=root + 1, parent=root, trace=trace, resource={"service.name": "support"}),
    ]
    return Stored(list(lens.groups(spans.trace_request(made))), [], whole=True)


def job(
    trace: int,
    found: Stored | None = None,
    *,
    deadline_s: float = 3600,
    scope: Scope = Scope.TRACE,
    freshness: str = "now",
    **values: Any,
) -> Job:
    now = time.time_ns()
    one = found or stored(trace, f"Order {trace} left our house this morning.")
    work = jobs.work_of(decided(trace, **values), [one], scope, ScrubConfig())
    return jobs.job_of(work, now, int(deadline_s * 1e9), freshness)


class Rig:
    """A pool in a directory, and what came of its jobs; one after the other in the same directory are as restarts."""

    def __init__(
        self, directory: Path, queue: SqliteQueue, journal: Journal, judges: Judges, max_attempts: int, rejudge_rate: float
    ) -> None:
        self.queue = queue
        self.journal = journal
        self.metrics = Metrics()
        self.judges = judges
        self.publisher = Publisher(journal, self.metrics)
        waits = any(one.freshness.waits for one in judges.examiner.evaluators)
        self.batches = judges.batches if judges.batches is not None and (waits or judges.batches.has_file) else None
        rejudging = Rejudging(judges.examiner.evaluators, rejudge_rate, judges.pressure, self.metrics)
        self.pool = Pool(queue, judges.examiner, self.publisher, self.metrics, 4, max_attempts, self.batches, rejudging)
        self.directory = directory

    def judgements(self) -> list[Judgement]:
        """All records of the log."""
        return [one for body in bodies(self.journal, OwnKind.EVALUATIONS) if (one := scores.decode(body)) is not None]

    def sent(self) -> Counter[bytes]:
        """The evaluation spans that were journaled."""
        return Counter(item for body in bodies(self.journal, Kind.TRACES) for item in lens.items(body))

    def let_in(self, evaluator: Any) -> None:
        """Have it in place of the first evaluator."""
        configured = self.judges.examiner.evaluators[0]
        configured._evaluator = configured._baseline = evaluator

    async def judged(self, *given: Job, count: int | None = None) -> list[Judgement]:
        """Queue these, and let the pool work until so many records are there and the queue has let go of them."""
        await self.queue.enqueue_many(given)
        async with self.working():
            return await self.ended(count or len(given))

    async def ended(self, count: int) -> list[Judgement]:
        async with asyncio.timeout(20):
            while len(self.judgements()) < count or await self.left():
                await asyncio.sleep(0.01)
        return self.judgements()

    async def left(self) -> int:
        """How many jobs wait or are worked on."""
        stats = await self.queue.stats()
        return stats.claimed + sum(stats.waiting.values())

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.pool.run())]
        if self.batches is not None:
            tasks.append(asyncio.create_task(self.batches.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def bodies(journal: Journal, kind: Kind | OwnKind) -> list[bytes]:
    log = journal.logs[kind]
    position, found = log.start, []
    while (chunk := log.read(position, 1 << 20)).end > position:
        position = chunk.end
        found += [bytes(record.body) for record in chunk.records]
    return found


@asynccontextmanager
async def rig(
    directory: Path,
    api: StandIn | None = None,
    *,
    evaluators: Sequence[str | dict[str, Any]] = ("answered", RUBRIC),
    key: str | None = "sk-ant-test-0123456789",
    budget: BudgetConfig | None = None,
    max_attempts: int = 3,
    max_crashes: int = 3,
    timeout_s: float = 10.0,
    journal_bytes: int = 64 << 20,
    rejudge_rate: float = 0.0,
) -> AsyncIterator[Rig]:
    provider = Provider(
        api_key=Secret(key) if key else None, base_url=api.url if api else None, timeout=PositiveDuration(timeout_s)
    )
    limits = GateConfig(max_rate_limit_share=1.0)
    config = Judging(evaluators=tuple(evaluators), provider=provider, budget=budget or BudgetConfig(), limits=limits)
    async with AsyncExitStack() as stack:
        journal = Journal(directory, journal_bytes, Sync.NEVER)
        stack.push_async_callback(journal.close)
        for kind in Kind:
            journal.reader(kind, "test")  # so that nothing is deleted
        judges = Judges(Config(judging=config, journal=JournalConfig(directory=directory)), "c.yaml")
        stack.push_async_callback(judges.close)
        queue = SqliteQueue(directory / "judging" / "queue.sqlite3", max_crashes=max_crashes)
        stack.push_async_callback(queue.close)
        made = Rig(directory, queue, journal, judges, max_attempts, rejudge_rate)
        stack.callback(made.metrics.close)
        if made.batches is not None:
            made.batches.open()
            stack.push_async_callback(made.batches.close)
        yield made
