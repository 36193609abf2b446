"""Questions that may wait are asked together, through the provider's message batches, at half the price.

An evaluator asks its judge as always. The question is put on disk, and IN_BATCH is raised: the job goes back to the queue, and
when all of its questions are answered it is judged once more, with these answers. So a verdict may take as many questions
as it likes. What follows from an answer (a repair, a quote that was not found) is asked directly: nobody waits another day
for it.

A batch goes out when the oldest question of its kind has waited long enough. What is guaranteed:
- The worst case of each question, at the batch's price, is booked before it is sent, and corrected when the result is there.
  What does not fit stays, and is sent when there is room; when no batch is under way that may give some back, its job is
  told that the budget is used up.
- A batch is on disk before it is sent, and its id as soon as it is known. Where that did not come to pass (`kill -9`, a
  connection that broke) the provider's list is looked through for a batch of that age and size, of which the first result
  tells whose it is. Only when there is none is the batch sent again, so nothing is billed twice.
- What the provider refuses as a whole, and what has expired, failed or was cancelled in a batch, is asked directly; what
  would fail again (too large, no such model) ends as it would have directly. Each job comes to its one end.
- Equal questions of several jobs are sent once; the other jobs find the verdict among those that were given before.
- A clock that goes back lengthens no wait while the process runs; one that goes forward is time that has passed.

Limits: a crash between booking and writing down the batch leaves its worst case booked until the period ends. At most
20,000 questions wait, then they are sent early. Other processes of this directory (`evaluate`, `backfill`) do not wait.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from otel_eval.errors import ConfigError
from otel_eval.judging import batch_question
from otel_eval.judging.batch_file import BatchFile, Found, Question
from otel_eval.judging.batch_sending import BatchClient, Sender, Shared, look_again_s
from otel_eval.judging.budget import Budget, BudgetExceeded
from otel_eval.judging.freshness import Freshness
from otel_eval.judging.gate import Gate
from otel_eval.judging.llm import Answer, Ask, Failure, Judge, JudgeError
from otel_eval.judging.prices import PriceTable
from otel_eval.judging.queue import Job

JOB: Final[ContextVar[Job]] = ContextVar("JOB")
"""Whose questions are asked: set by whoever works on a job."""


class Batches:
    """See the module docstring; `clock` is the wall clock. Nothing is opened before `open`; `run` until cancelled."""

    def __init__(
        self,
        path: Path,
        client: BatchClient,
        gate: Gate,
        budget: Budget,
        prices: PriceTable,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._gate = gate
        self._clock = clock
        self._file = Shared()
        self._sender = Sender(self._file, client, gate, budget, prices, clock)

    def judge(self, freshness: Freshness, baseline: bool) -> Judge:
        """The judge for questions that may wait so long."""
        return _Waiting(self, freshness, baseline)

    @property
    def has_file(self) -> bool:
        """Whether a file is there, in which something may be under way."""
        return self._path.exists()

    def open(self) -> None:
        """Open the file and take over what is under way; raises ConfigError."""
        try:
            self._file.opened = BatchFile(self._path, self._clock())
            self._sender.take_over(self._file.opened)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{self._path}: questions that wait for a batch cannot be kept in this file: {error}") from error

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()

    async def run(self) -> None:
        """Send what is due, and fetch what is ready."""
        await self._sender.run()

    def count(self, state: str) -> int:
        """How many questions are in that state, as of the last look."""
        return self._sender.counts.get(state, 0)

    async def wait_s(self, job: Job) -> float:
        """How long a job had better wait; 0 when all that it has asked is answered, or cannot be answered now."""
        now = await self._sender.follow_the_clock()
        found = await self._file.use(lambda file: file.unanswered(job.id))
        if any(self._refusal(one) for one in found):
            return 0.0
        return max((look_again_s(one.since_s, now) for one in found), default=0.0)

    async def forget(self, job: Job) -> None:
        """The job has come to its end."""
        await self._file.use(lambda file: file.forget(job.id))

    async def ask(self, ask: Ask, freshness: Freshness, *, baseline: bool) -> Answer:
        """See Judge, and the module docstring; `JOB` is set."""
        now = await self._sender.follow_the_clock()
        job, key = JOB.get(), batch_question.key_of(ask)
        due_s, expires_s = freshness.due(now), job.expires_at_ns / 1e9
        found = await self._file.use(lambda file: file.find(job.id, key))
        if found is None and freshness.waits and not ask.follows:
            new = Question(job.id, key, freshness, due_s, expires_s, ask.model, baseline, batch_question.written(ask))
            await self._file.use(lambda file: file.put(new, "waiting"))
            found = Found("waiting", due_s, baseline, None)
        if found is not None and found.state != "direct":
            return self._answer(found, now)
        answer = await self._gate.ask(ask, baseline=baseline)
        body = batch_question.written_answer(answer)
        old = Question(job.id, key, freshness, due_s, expires_s, ask.model, baseline, body)
        with contextlib.suppress(JudgeError):  # then it is asked for again only if the job has to come again
            await self._file.use(lambda file: file.put(old, "answered"))
        return answer

    def _answer(self, found: Found, now: float) -> Answer:
        if found.state not in ("waiting", "sent"):
            return batch_question.answer_of(found)
        refusal = self._refusal(found)
        if refusal is not None:
            raise BudgetExceeded(refusal.budget, str(refusal), refusal.until, self._clock())
        wait_s = look_again_s(found.since_s, now)  # not of a clock that has gone back since it was read
        raise JudgeError(Failure.IN_BATCH, "it waits for a batch", retry_after_s=wait_s)

    def _refusal(self, found: Found) -> BudgetExceeded | None:
        """Why an overdue question was not sent."""
        refusal, now = self._sender.refused.get(found.baseline), self._clock()
        overdue = found.state == "waiting" and found.since_s <= now
        return refusal if overdue and refusal is not None and now < refusal.until else None


class _Waiting:
    """The judge for questions that may wait."""

    def __init__(self, batches: Batches, freshness: Freshness, baseline: bool) -> None:
        self._batches = batches
        self._freshness = freshness
        self._baseline = baseline

    async def ask(self, ask: Ask) -> Answer:
        """See Judge."""
        return await self._batches.ask(ask, self._freshness, baseline=self._baseline)
