"""The judge queue: complete life cycles (enqueue, claim, acknowledge) of jobs of 10 kB a second, and how long a tick takes."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from otel_eval.judging.queue import Claim, Job, Priority
from otel_eval.judging.sqlite_file import Synchronous
from otel_eval.judging.sqlite_queue import SqliteQueue
from otel_eval.judging.sqlite_store import Work

JOBS = 20_000
BODY_BYTES = 10_000
GOAL = 5_000
_AHEAD = 2_000
_WORKERS = 64


class Measured:
    """A queue in a new file, with the time of each tick and of each operation as its caller sees it, in seconds."""

    def __init__(self, directory: str, synchronous: Synchronous) -> None:
        self.queue = SqliteQueue(Path(directory) / "queue.sqlite3", synchronous=synchronous)
        self.ticks: list[float] = []
        self.operations: list[float] = []
        self._bodies = [os.urandom(BODY_BYTES) for _ in range(64)]
        store = self.queue._writer._store
        perform = store.perform

        def timed(works: Sequence[Work]) -> list[object]:
            start = time.perf_counter()
            outcomes = perform(works)
            self.ticks.append(time.perf_counter() - start)
            return outcomes

        store.perform = timed  # type: ignore[method-assign]

    def jobs(self, first: int, count: int) -> list[Job]:
        now = time.time_ns()
        times = {"created_ns": now, "due_ns": now, "expires_at_ns": now + 6 * 3600 * 10**9}
        numbers = range(first, min(first + count, JOBS))
        return [
            Job(id=f"{n:032x}", priority=Priority(n % 4), body=self._bodies[n % 64], trace_id="0" * 32, **times) for n in numbers
        ]

    async def enqueue(self, first: int, count: int) -> None:
        start = time.perf_counter()
        await self.queue.enqueue_many(self.jobs(first, count))
        self.operations.append(time.perf_counter() - start)

    async def claim(self, n: int) -> list[Claim]:
        start = time.perf_counter()
        claims = await self.queue.claim(n, 60)
        self.operations.append(time.perf_counter() - start)
        return claims

    async def ack(self, claims: list[Claim]) -> int:
        start = time.perf_counter()
        assert await self.queue.ack(claims) == []
        self.operations.append(time.perf_counter() - start)
        return len(claims)


async def in_batches(measured: Measured) -> None:
    """64 new ones, 64 claims and 64 acknowledgements at a time."""
    done = first = 0
    claims: list[Claim] = []
    while done < JOBS:
        results = await asyncio.gather(measured.enqueue(first, 64), measured.claim(64), measured.ack(claims))
        first += 64
        _, claims, acked = results
        done += acked


async def by_workers(measured: Measured) -> None:
    """As the pool does it: samplers that enqueue 8 at a time, claims for those of 64 workers that are free, each job acknowledged
    by itself.
    """
    done = first = 0

    async def sample() -> None:
        nonlocal first
        while first < JOBS:
            if first - done > _AHEAD:
                await asyncio.sleep(0.001)
                continue
            first += 8
            await measured.enqueue(first - 8, 8)

    busy: set[asyncio.Task[int]] = set()

    async def work() -> None:
        nonlocal done
        while done < JOBS:
            if len(busy) == _WORKERS:
                await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
            ended = {task for task in busy if task.done()}
            busy.difference_update(ended)
            done += sum(task.result() for task in ended)
            claims = await measured.claim(_WORKERS - len(busy))
            busy.update(asyncio.create_task(measured.ack([claim])) for claim in claims)
            if not claims:
                await asyncio.sleep(0.001)

    await asyncio.gather(*(sample() for _ in range(8)), work())


def life_cycles() -> Iterator[str]:
    """A row for each way to use it, and for each level of `synchronous`."""
    yield (
        f"{'used':>12} {'synchronous':>12} {'jobs/s':>8} {'goal':>6} {'CPU us/job':>11}"
        f" {'tick ms p50':>12} {'p99':>6} {'operation ms p50':>17} {'p99':>6}"
    )
    levels: tuple[Synchronous, ...] = ("FULL", "NORMAL")
    for name, use in (("in batches", in_batches), ("by workers", by_workers)):
        for synchronous in levels:
            with tempfile.TemporaryDirectory(dir=".build") as directory:
                yield f"{name:>12} {synchronous:>12} {asyncio.run(_row(use, directory, synchronous))}"


async def _row(use: Callable[[Measured], Awaitable[None]], directory: str, synchronous: Synchronous) -> str:
    measured = Measured(directory, synchronous)
    start, cpu = time.perf_counter(), time.process_time()
    await use(measured)
    rate, cost = JOBS / (time.perf_counter() - start), (time.process_time() - cpu) / JOBS * 1e6
    await measured.queue.close()
    ticks, operations = _percentiles(measured.ticks), _percentiles(measured.operations)
    return f"{rate:>8.0f} {GOAL:>6} {cost:>11.0f} {ticks[0]:>12.2f} {ticks[1]:>6.1f} {operations[0]:>17.2f} {operations[1]:>6.1f}"


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    """Median and 99th percentile, in ms."""
    seconds.sort()
    return seconds[len(seconds) // 2] * 1e3, seconds[len(seconds) * 99 // 100] * 1e3
