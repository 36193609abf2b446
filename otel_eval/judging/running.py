"""Judging in a running hop: queue, pool, limits and budget, made from the configuration."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Final

import structlog
from msgspec.structs import replace

from otel_eval.config.models import Config
from otel_eval.config.values import Secret
from otel_eval.errors import ConfigError, TooLargeError
from otel_eval.evaluators.evaluator import Scope
from otel_eval.holding import HeldSpans
from otel_eval.journal import Journal
from otel_eval.judging import configured, job
from otel_eval.judging.agreement import Rejudging
from otel_eval.judging.anthropic_client import API_URL, AnthropicClient
from otel_eval.judging.batches import Batches
from otel_eval.judging.budget import Budget, level
from otel_eval.judging.cache import VerdictCache
from otel_eval.judging.config import Judging, Provider
from otel_eval.judging.examining import Examiner
from otel_eval.judging.freshness import NOW, Freshness
from otel_eval.judging.gate import Gate
from otel_eval.judging.openai_client import OpenAiClient
from otel_eval.judging.pool import Pool
from otel_eval.judging.prices import PriceTable
from otel_eval.judging.publishing import Publisher, not_queued
from otel_eval.judging.queue import Job, Stats, queue_file
from otel_eval.judging.scores import Judgement, State
from otel_eval.judging.sqlite_queue import SqliteQueue
from otel_eval.sampling.ledger import Decided
from otel_eval.scrub.config import ScrubConfig
from otel_eval.telemetry import Metrics
from otel_eval.traces.retrieval import Stored

_log = structlog.get_logger(__name__)

_OPENAI_URL: Final = "https://api.openai.com/v1"
_MEASURE_S: Final = 2.0
_NO_ROOM: Final = "the judges' queue was full until the trace was forgotten"

Supervise = Callable[[str, Callable[[], Awaitable[None]]], asyncio.Task[None]]


def with_key_of_the_environment(provider: Provider) -> Provider:
    """The provider with the key and URL that the standard variables name, where the configuration names none.

    Raises ConfigError for a variable that holds no URL.
    """
    prefix = provider.api.upper()
    key, url = os.environ.get(f"{prefix}_API_KEY"), os.environ.get(f"{prefix}_BASE_URL")
    default = API_URL if provider.api == "anthropic" else _OPENAI_URL
    try:
        return Provider(
            api=provider.api,
            api_key=provider.api_key or (Secret(key) if key else None),
            base_url=provider.base_url or url or default,
            timeout=provider.timeout,
        )
    except ValueError as error:
        raise ConfigError(f"{prefix}_BASE_URL: {error}") from None


def client_of(provider: Provider, prices: PriceTable) -> AnthropicClient | OpenAiClient:
    """The client for a provider that has its URL."""
    make = AnthropicClient if provider.api == "anthropic" else OpenAiClient
    return make(provider.api_key, prices, base_url=provider.base_url or "", timeout_s=provider.timeout)


def _tell_what_needs_a_key(config: Judging, blocked: Sequence[str]) -> None:
    variable, names = f"{config.provider.api.upper()}_API_KEY", ", ".join(blocked)
    if blocked:
        _log.warning("there is no API key for the judge; these evaluators are blocked", evaluators=names, set=variable)
    elif config.evaluators is None:
        _log.warning("there is no API key for the judge; only evaluators by code are used", set=variable)


def check(config: Config, source: str) -> None:
    """Make the evaluators of a configuration without starting anything; raises ConfigError for what cannot work."""
    provider = with_key_of_the_environment(config.judging.provider)
    client = client_of(provider, PriceTable.load())
    _evaluators(config, provider, source, lambda _: client, None)


def _evaluators(
    config: Config,
    provider: Provider,
    source: str,
    judge: configured.JudgeFor,
    waiting: configured.WaitingJudgeFor | None,
) -> list[configured.Configured]:
    made = configured.build(config, source, judge, has_key=provider.api_key is not None, waiting=waiting)
    waits = next((one for one in made if one.kind == "llm" and one.freshness.waits), None)
    if waits is not None and provider.api != "anthropic":
        raise ConfigError(
            f"{source}: judging: freshness: {waits.freshness} ({waits.name}) needs message batches, which servers with"
            f" provider.api {provider.api} do not have; allowed with it: now"
        )
    return made


class Judges:
    """The configured evaluators with all that their calls go through; a hop and a command may share the directory.

    Raises ConfigError for what cannot work.
    """

    def __init__(self, config: Config, source: str) -> None:
        judging: Judging = config.judging
        file = queue_file(config.journal.directory)
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"journal.directory: {file.parent} cannot be used: {error.strerror}") from None
        provider = with_key_of_the_environment(judging.provider)
        prices = PriceTable.load()
        self._client = client_of(provider, prices)
        self._budget = Budget(file.with_name("budget.sqlite3"), judging.budget)
        self._gate = Gate(self._client, self._budget, prices, judging.limits)
        self.batches: Batches | None = None
        if isinstance(self._client, AnthropicClient):
            self.batches = Batches(file.with_name("batches.sqlite3"), self._client, self._gate, self._budget, prices)
        waiting = self.batches.judge if self.batches is not None else None
        evaluators = _evaluators(config, provider, source, self._gate.for_purpose, waiting)
        self._cache = VerdictCache(file.with_name("verdicts.sqlite3"), judging.cache, provider.base_url or "")
        self.examiner = Examiner(evaluators, self._cache)
        self._needs_sdk = provider.api == "anthropic" and provider.api_key is not None
        self._needs_sdk &= any(one.kind == "llm" for one in evaluators)
        if provider.api_key is None:
            _tell_what_needs_a_key(judging, [one.name for one in evaluators if one.kind == "llm"])

    async def load(self) -> None:
        """Import what the judges' client needs: a second of work that must not come between requests."""
        if self._needs_sdk:
            await asyncio.to_thread(import_module, "anthropic")

    def pressure(self) -> int:
        """How much of the budget is used, as a level: 0, 70, 80, 90 or 100."""
        return self._gate.pressure(baseline=False)

    async def close(self) -> None:
        """Close connections and files, with the money of the last calls settled."""
        self._cache.close()
        await self._client.aclose()
        await self._budget.close()


class RunningJudging:
    """Takes chosen traces by `judge`, between `start` and `stop`."""

    def __init__(self, config: Config, source: str, journal: Journal, metrics: Metrics, held: HeldSpans | None = None) -> None:
        judging: Judging = config.judging
        self._deadline_s = float(judging.deadline)
        self._scrub: ScrubConfig = config.scrub
        self._metrics = metrics
        self.judges = Judges(config, source)
        file, queue = queue_file(config.journal.directory), judging.queue
        limit = queue.max_size_mib << 20
        self._queue = SqliteQueue(file, limit, synchronous=queue.synchronous, max_crashes=queue.max_crashes)
        self._publisher = Publisher(journal, metrics, held)
        self._batches = self.judges.batches
        if self._batches is not None and (self._waiting or self._batches.has_file):
            self._batches.open()
        else:
            self._batches = None
        examiner = self.judges.examiner
        rejudging = Rejudging(examiner.evaluators, judging.rejudge_rate, self.pressure, metrics)
        self.pool = Pool(
            self._queue, examiner, self._publisher, metrics, judging.workers, judging.max_attempts, self._batches, rejudging
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._stats: Stats | None = None

    def start(self, supervise: Supervise) -> None:
        """Begin to judge what is in the queue."""
        self._tasks = [supervise("judges", self._work), supervise("judge queue", self._measure)]
        for state in ("waiting", "claimed", "dead"):
            self._metrics.gauge("judging_queue", partial(self._count, state), state=state)
        self._metrics.gauge("judging_queue_size", lambda: self._stats.used_bytes if self._stats else 0)
        self._metrics.gauge("judging_pressure", self.pressure)
        if self._batches is not None:
            self._tasks.append(supervise("batches", self._batches.run))
            for state in ("waiting", "sent"):
                self._metrics.gauge("judging_batched", partial(self._batches.count, state), state=state)

    async def stop(self) -> None:
        """Stop judging; what is under way is given back and judged after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._queue.close()
        if self._batches is not None:
            await self._batches.close()
        await self.judges.close()

    @property
    def wants_sessions(self) -> bool:
        """Whether any evaluator judges whole sessions."""
        return any(one.scope is Scope.SESSION for one in self.judges.examiner.evaluators)

    def pressure(self) -> int:
        """How much of the budget or of the queue is used, as a level: 0, 70, 80, 90 or 100."""
        return max(self.judges.pressure(), level(self._stats.used_bytes, self._stats.max_bytes) if self._stats else 0)

    async def judge(self, decided: Decided, traces: Sequence[Stored], *, session: bool = False) -> None:
        """Queue a chosen trace, or a session; returns when that is durable. Raises RetryableError while the queue is full.

        One that is too large for the queue ends as that at once.
        """
        scope = Scope.SESSION if session else Scope.TRACE
        made = await asyncio.to_thread(self._jobs, decided, traces, scope)
        try:
            await self._queue.enqueue_many(made)
        except TooLargeError as error:
            for one in made:
                _log.error("a chosen trace is too large for the judges' queue", job=one.id, reason=str(error))
                await self._end(not_queued(decided, one.id, State.TOO_LARGE, str(error)))

    async def drop(self, decided: Decided) -> None:
        """Put down that a chosen trace found no room in the queue for as long as it was remembered. Raises RetryableError."""
        name = job.job_id(decided, Scope.TRACE)
        await self._end(not_queued(decided, name, State.DROPPED_BACKPRESSURE, _NO_ROOM))

    async def _end(self, judgement: Judgement) -> None:
        """Publish what a trace without a job has come to; nobody will ask for it."""
        await self._publisher.publish(judgement)
        self._publisher.forget(judgement.job)

    def _jobs(self, decided: Decided, traces: Sequence[Stored], scope: Scope) -> list[Job]:
        """The job for what is wanted now, and one for each time that evaluators which apply may wait."""
        now_ns = time.time_ns()
        work = job.work_of(decided, traces, scope, self._scrub)
        if not self._waiting:
            return [job.job_of(work, now_ns, int(self._deadline_s * 1e9))]
        names: dict[Freshness, list[str]] = {}
        subject = work.subject()
        for one in self.judges.examiner.evaluators:
            if one.applies(scope, subject, decided):
                names.setdefault(one.freshness, []).append(one.name)
        made = []
        for freshness, evaluators in (names or {NOW: []}).items():
            deadline_ns = int(freshness.deadline_s(now_ns / 1e9, self._deadline_s) * 1e9)
            made.append(job.job_of(replace(work, evaluators=tuple(evaluators)), now_ns, deadline_ns, freshness))
        return made

    @property
    def _waiting(self) -> bool:
        """Whether any evaluator may wait."""
        return any(one.freshness.waits for one in self.judges.examiner.evaluators)

    async def _work(self) -> None:
        await self.judges.load()
        await self.pool.run()

    def _count(self, state: str) -> int:
        if self._stats is None:
            return 0
        return sum(self._stats.waiting.values()) if state == "waiting" else int(getattr(self._stats, state))

    async def _measure(self) -> None:
        while True:
            self._stats = await self._queue.stats()
            await asyncio.sleep(_MEASURE_S)
