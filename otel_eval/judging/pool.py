"""The pool of judges: it claims jobs, runs the evaluators, and writes down what came of each, once.

A job is acknowledged after its record is in the journal. A crash in between makes it come again: then the record is found,
and what is made from it is emitted if it was not. While a job is worked on its lease is extended; what is known of it is not
given up because the disk is full, but waits for room. What a failed call means:

    rate limited, not let through now     the job goes back for as long as was asked for; no try is used up
    overloaded, 5xx, timeout, connection  it goes back, with a growing wait; after `max_attempts` it is a dead letter
    budget or spend limit reached         it goes back until there is room, if that is before its deadline; else the
                                          evaluator's state is dropped_budget
    wrong key, no such model              blocked_evaluator, for this evaluator alone
    bad request                           dead letter at once: asking again would be the same
    too large                             too_large, for this evaluator alone
    the judge refuses                     judge_refused, for this evaluator alone

    anything unexpected                   like a call that failed
    waits for a batch (see `batches`)     it goes back until there may be an answer; no try is used up

Evaluators by code run before those that ask a judge, and again with each try; for a job that has expired they alone run.
What a judge has answered is not asked again in the next try: see `cache` and `earlier_answers`.
A dead letter has no scores: somebody may let it be judged once more.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import structlog
from msgspec.structs import replace

from otel_eval.errors import OtelEvalError, RetryableError
from otel_eval.evaluators.evaluator import Subject
from otel_eval.judging import batches as batching
from otel_eval.judging import job as jobs
from otel_eval.judging.agreement import Rejudging
from otel_eval.judging.batches import Batches
from otel_eval.judging.earlier_answers import EarlierAnswers
from otel_eval.judging.examining import Examiner
from otel_eval.judging.llm import Failure, JudgeError
from otel_eval.judging.publishing import Publisher, judgement_of
from otel_eval.judging.queue import Claim, Ending, Queue
from otel_eval.judging.scores import Judgement, Result, State
from otel_eval.judging.watching import Watch
from otel_eval.telemetry import Metrics

_log = structlog.get_logger(__name__)

_LEASE_S: Final = 60.0
_IDLE_S: Final = 0.2
_LONGEST_IDLE: Final = 5
"""While nothing is due, the queue is asked less and less often, at last after so many times `_IDLE_S`."""

_FULL_WAIT_S: Final = 1.0
_LATE: Final = "not judged before its deadline"
_LONGEST_BACKOFF_S: Final = 300.0
_WAITS: Final = frozenset({Failure.RATE_LIMITED, Failure.RAMP_LIMITED, Failure.IN_BATCH})
_RETRIED: Final = frozenset({Failure.OVERLOADED, Failure.SERVER_ERROR, Failure.TIMEOUT, Failure.CONNECTION})

_T = TypeVar("_T")


class Again(Exception):
    """The job is to come again after `delay_s`; `counts` says whether a try is used up, `failure` is for the metrics."""

    def __init__(self, delay_s: float, *, counts: bool, failure: str, reason: str) -> None:
        super().__init__(reason)
        self.delay_s = delay_s
        self.counts = counts
        self.failure = failure


class Hopeless(Exception):
    """The job can never be judged."""


class Pool:
    """See the module docstring. `run` until cancelled; what is under way then is given back by the queue."""

    def __init__(
        self,
        queue: Queue,
        examiner: Examiner,
        publisher: Publisher,
        metrics: Metrics,
        workers: int,
        max_attempts: int,
        batches: Batches | None,
        rejudging: Rejudging,
    ) -> None:
        self._watch = Watch(examiner.evaluators, metrics)
        self._queue = queue
        self._examiner = examiner
        self._publisher = publisher
        self._metrics = metrics
        self._workers = workers
        self._max_attempts = max_attempts
        self._batches = batches
        self._rejudging = rejudging
        self._earlier_answers = EarlierAnswers()
        self.first_judged = asyncio.Event()
        self._busy: dict[asyncio.Task[None], Claim] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        idle = 0
        leases = asyncio.create_task(self._keep_leases())
        try:
            while True:
                free = await self._free()
                claims = await self._claim(free)
                for claim in claims:
                    task = asyncio.create_task(self._work(claim))
                    self._busy[task] = claim
                    task.add_done_callback(self._busy.pop)
                if len(claims) < free:  # nothing more is due
                    idle = 1 if claims else min(idle + 1, _LONGEST_IDLE)
                    await asyncio.sleep(idle * _IDLE_S)
        finally:
            for task in (leases, *self._busy):
                task.cancel()
            await asyncio.gather(leases, *self._busy, return_exceptions=True)

    async def _free(self) -> int:
        """How many jobs more may be worked on; waits for one."""
        if len(self._busy) >= self._workers:
            await asyncio.wait(self._busy, return_when=asyncio.FIRST_COMPLETED)
        return max(1, self._workers - len(self._busy))

    async def _claim(self, free: int) -> list[Claim]:
        try:
            return await self._queue.claim(free, _LEASE_S)
        except RetryableError as error:
            _log.error("no jobs can be claimed", reason=str(error))
            await asyncio.sleep(1.0)
            return []

    async def _work(self, claim: Claim) -> None:
        """One job, from its claim to its end."""
        try:
            judgement = self._publisher.found(claim.job) or await self._when_answered(claim)
            self.first_judged.set()
            await self._finish(claim, judgement)
            if judgement.state is State.SCORED:
                await self._watch.judged()
        except Again as again:
            self._metrics.counter("judging_returned", reason=again.failure).add()
            await _insist(partial(self._queue.nack, claim, again.delay_s, counts=again.counts))
        except OtelEvalError as error:
            _log.error("a job cannot be ended now; it comes again", job=claim.job.id, reason=str(error))
        except Exception as error:  # noqa: BLE001 - it comes again when its lease runs out; the others must not suffer
            _log.error("a job failed unexpectedly", job=claim.job.id, exc_info=error)

    async def _keep_leases(self) -> None:
        """Extend those of all jobs that are worked on, often enough for one that has just begun."""
        while True:
            await asyncio.sleep(_LEASE_S / 3)
            extended = [self._queue.extend(claim, _LEASE_S) for claim in self._busy.values()]
            await asyncio.gather(*extended, return_exceptions=True)

    async def _finish(self, claim: Claim, judgement: Judgement) -> None:
        """Write down what the job has come to, and take it off the queue."""
        written = await _insist(partial(self._publisher.publish, judgement))
        if self._batches is not None and jobs.may_wait(claim.job):
            with contextlib.suppress(JudgeError):  # then its questions are forgotten with time
                await self._batches.forget(claim.job)
        if written.state is State.DEAD_LETTER:
            mine = await _insist(partial(self._queue.dead_letter, claim, written.reason))
        else:
            mine = not await _insist(partial(self._queue.ack, [claim]))
        if mine:  # otherwise somebody else has it, and is to find what is written down
            self._publisher.forget(claim.job.id)

    async def _when_answered(self, claim: Claim) -> Judgement:
        """What the job comes to; raises Again, also while a batch has its questions."""
        if self._batches is not None and jobs.may_wait(claim.job) and claim.ending is None:
            batching.JOB.set(claim.job)
            try:
                wait_s = await self._batches.wait_s(claim.job)
            except JudgeError as error:
                raise Again(error.retry_after_s or _IDLE_S, counts=False, failure=error.failure, reason=str(error)) from None
            if wait_s:
                raise Again(wait_s, counts=False, failure=Failure.IN_BATCH, reason="it waits for a batch")
        return await self._judgement(claim)

    async def _judgement(self, claim: Claim) -> Judgement:
        """What the job comes to. Raises Again."""
        work: jobs.Work | None = None
        try:
            if claim.ending is Ending.DEAD_LETTER:
                raise Hopeless("the process died again and again while it was worked on")
            work = _read(claim)
            subject = work.subject()
            if claim.ending is Ending.EXPIRED:
                return await self._expired(claim, work, subject)
            with self._earlier_answers.of(claim.job.id):
                return await self._judge(claim, work, subject)
        except Again as again:
            if not again.counts or claim.tries < self._max_attempts:
                raise
            reason = f"{claim.tries} tries failed: {again}"
        except Hopeless as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - evaluators may be strangers' code
            _log.error("an evaluator failed unexpectedly", job=claim.job.id, exc_info=error)
            reason = f"{type(error).__name__} in an evaluator"
            if claim.tries < self._max_attempts and claim.ending is None:
                raise Again(self._backoff(claim), counts=True, failure="defect", reason=reason) from None
        _log.error("a job is a dead letter now", job=claim.job.id, reason=reason)
        return self._dead_letter(claim, work, reason)

    def _dead_letter(self, claim: Claim, work: jobs.Work | None, reason: str) -> Judgement:
        if work is None:
            return judgement_of(claim, None, State.DEAD_LETTER, reason=reason)
        names = self._examiner.applying(work.scope, None, work.decided, work.evaluators)
        results = [Result(evaluator=name, state=State.DEAD_LETTER, reason=reason) for name in names]
        return judgement_of(claim, work.decided, State.DEAD_LETTER, reason=reason, results=results)

    async def _expired(self, claim: Claim, work: jobs.Work, subject: Subject) -> Judgement:
        """It is too late for a judge; what is found by code is as good as before."""
        names = self._examiner.applying(work.scope, subject, work.decided, work.evaluators)
        by_code = {one.name for one in self._examiner.evaluators if one.kind == "code"}.intersection(names)
        examined = await self._examiner.examine(subject, work.decided, work.scope, partial(self._state_of, claim), by_code)
        late = [Result(evaluator=name, state=State.EXPIRED, reason=_LATE) for name in names if name not in by_code]
        results, given = [*examined.results, *late], examined.scores
        return judgement_of(claim, work.decided, State.EXPIRED, reason=_LATE, results=results, scores=given, view=subject.view)

    async def _judge(self, claim: Claim, work: jobs.Work, subject: Subject) -> Judgement:
        """Run every evaluator that applies. Raises Again or Hopeless."""
        names = self._examiner.applying(work.scope, subject, work.decided, work.evaluators)
        on_error, in_batch = partial(self._state_of, claim), self._batches is not None and jobs.may_wait(claim.job)
        examined = await self._examiner.examine(subject, work.decided, work.scope, on_error, names, in_batch=in_batch)
        results, given = examined.results, examined.scores
        rejudged = await self._rejudging.again(subject, work.decided, examined)
        judgement = judgement_of(claim, work.decided, examined.state, results=results, scores=given, view=subject.view)
        return replace(judgement, rejudged=rejudged)

    def _state_of(self, claim: Claim, error: JudgeError) -> State:
        """What a failed call means for the evaluator; raises Again or Hopeless when it means something for the job."""
        left_s = claim.job.expires_at_ns / 1e9 - time.time()
        wait_s = error.retry_after_s
        if error.failure in _WAITS or (error.failure is Failure.SPEND_LIMIT and (wait_s or _LONGEST_BACKOFF_S) < left_s):
            raise Again(wait_s or self._backoff(claim), counts=False, failure=error.failure, reason=str(error))
        if error.failure in _RETRIED:
            raise Again(wait_s or self._backoff(claim), counts=True, failure=error.failure, reason=str(error))
        if error.failure is Failure.SPEND_LIMIT:
            return State.DROPPED_BUDGET
        if error.failure is Failure.BLOCKED:
            return State.BLOCKED_EVALUATOR
        if error.failure is Failure.TOO_LARGE:
            return State.TOO_LARGE
        raise Hopeless(str(error))

    def _backoff(self, claim: Claim) -> float:
        return min(_LONGEST_BACKOFF_S, 2.0**claim.tries) * random.uniform(0.5, 1.0)  # noqa: S311 - only spreads


def _read(claim: Claim) -> jobs.Work:
    try:
        return jobs.read(claim.job)
    except ValueError as error:
        raise Hopeless(str(error)) from None


async def _insist(operation: Callable[[], Awaitable[_T]]) -> _T:
    """Do it again until there is room for it; the worker waits meanwhile, with its lease extended."""
    told = False
    while True:
        try:
            return await operation()
        except RetryableError as error:
            if not told:
                _log.warning("what came of a job waits for room", reason=str(error))
                told = True
            await asyncio.sleep(_FULL_WAIT_S)
