"""Sending questions in batches, and fetching what has come of them: see `batches`."""

import asyncio
import secrets
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog

from otel_eval.judging import batch_question
from otel_eval.judging.anthropic_client import BatchState, Listed
from otel_eval.judging.batch_file import Batch, BatchFile, Due, Outcome, Sent
from otel_eval.judging.budget import Budget, BudgetExceeded, NotAsked, Reservation
from otel_eval.judging.freshness import BATCH_S
from otel_eval.judging.gate import Gate, most_input_tokens
from otel_eval.judging.llm import Answer, Ask, Failure, JudgeError
from otel_eval.judging.prices import PriceTable

_log = structlog.get_logger(__name__)

MOST_WAITING: Final = 20_000
_TICK_S: Final = 1.0
_MOST: Final = 1000
_MOST_BYTES: Final = 16 << 20
"""Of one batch: encoding it holds everything else up."""

_RETRY_S: Final = 30.0
_FILE_RETRY_S: Final = 5.0
_GRACE_S: Final = 120.0
"""So long after it was sent a batch may still appear in the provider's list."""

_CLOCK_S: Final = 600.0
"""So far the provider's clock may be from ours."""

_SLEWED_S: Final = 1.0
_GIVEN_UP_S: Final = BATCH_S + 7200.0
_SHORTEST_LOOK_S: Final = 1.0
_LONGEST_LOOK_S: Final = 60.0
_LATER: Final = frozenset(
    {
        Failure.RATE_LIMITED,
        Failure.RAMP_LIMITED,
        Failure.SPEND_LIMIT,
        Failure.OVERLOADED,
        Failure.TIMEOUT,
        Failure.CONNECTION,
    }
)

_T = TypeVar("_T")


class BatchClient(Protocol):
    """A provider with batches; see AnthropicClient."""

    async def submit_batch(self, asks: Mapping[str, Ask]) -> str:
        """Hand in questions; returns the batch's id."""
        ...

    async def poll_batch(self, batch_id: str, models: Mapping[str, str]) -> BatchState:
        """How a batch stands."""
        ...

    async def list_batches(self, since_s: float) -> Sequence[Listed]:
        """The batches that were made since then."""
        ...


class Shared:
    """The file, for one user at a time; NotAsked is raised while it cannot be used."""

    def __init__(self) -> None:
        self.opened: BatchFile | None = None
        self._lock = asyncio.Lock()

    async def use(self, operation: Callable[[BatchFile], _T]) -> _T:
        """Do it in a thread."""
        async with self._lock:
            if self.opened is None:
                raise NotAsked("the file of batches is closed", _FILE_RETRY_S)
            try:
                return await asyncio.to_thread(operation, self.opened)
            except sqlite3.Error as error:
                raise NotAsked(f"the file of batches cannot be used: {error}", _FILE_RETRY_S) from error

    async def close(self) -> None:
        """Close the file."""
        async with self._lock:
            if self.opened is not None:
                self.opened.close()
                self.opened = None


def look_again_s(since_s: float, now: float) -> float:
    """When to look again for what was sent, or is due, at `since_s`: less often the longer it takes."""
    if now < since_s:
        return since_s - now + _SHORTEST_LOOK_S
    return min(max((now - since_s) / 10, _SHORTEST_LOOK_S), _LONGEST_LOOK_S)


class Sender:
    """Works on the file; `refused` is why questions, of the baseline or others, had no room in the budget."""

    def __init__(
        self, file: Shared, client: BatchClient, gate: Gate, budget: Budget, prices: PriceTable, clock: Callable[[], float]
    ) -> None:
        self._file = file
        self._client = client
        self._gate = gate
        self._budget = budget
        self._prices = prices
        self._clock = clock
        self._now = 0.0
        self._booked: dict[int, Reservation] = {}
        self._not_before = 0.0
        self._looked: dict[int, float] = {}
        self._others: set[str] = set()
        self.refused: dict[bool, BudgetExceeded] = {}
        self.counts: Mapping[str, int] = {}

    def take_over(self, file: BatchFile) -> None:
        """What another process has booked for what is under way is ours now."""
        for batch in file.batches():
            for one in file.sent(batch.number):
                self._booked[one.number] = self._budget.adopt(one.hour_s, baseline=one.baseline, nano_usd=one.nano_usd)

    async def run(self) -> None:
        """See Batches."""
        while True:
            await self.follow_the_clock()
            batches = await self._file.use(BatchFile.batches)
            self._looked = {batch.number: self._looked.get(batch.number, 0.0) for batch in batches}
            for batch in batches:
                now = self._clock()
                if now - self._looked[batch.number] >= look_again_s(batch.sent_s, now):
                    self._looked[batch.number] = now
                    await self._look_after(batch)
            self.counts = await self._file.use(BatchFile.counts)
            while self._clock() >= self._not_before and await self._send_due():
                pass
            await asyncio.sleep(_TICK_S)

    async def follow_the_clock(self) -> float:
        """What time it is. Where the clock went back, what waits has as long to wait as it still had."""
        before, self._now = self._now, self._clock()
        if before - self._now > _SLEWED_S:
            self._looked, self._not_before = dict.fromkeys(self._looked, 0.0), 0.0
            await self._file.use(partial(BatchFile.shift, back_s=before - self._now))
        return self._now

    async def _send_due(self) -> bool:
        """Send one batch of what is due; False when there is nothing more to send for now."""
        early = self.counts.get("waiting", 0) >= MOST_WAITING
        before = float("inf") if early else self._clock()
        due = await self._file.use(lambda file: file.due(before, _MOST))
        asks: dict[int, Ask] = {}
        size = 0
        for one in due:
            body = await asyncio.to_thread(zlib.decompress, one.body)
            size += len(body)
            if asks and size > _MOST_BYTES:
                break
            asks[one.number] = batch_question.read(body)
        if not asks:
            return False
        booked = await self._book([one for one in due if one.number in asks], asks)
        if not booked:
            return False
        await self._send({number: asks[number] for number in booked}, booked)
        return len(booked) == len(asks)

    async def _book(self, due: Sequence[Due], asks: Mapping[int, Ask]) -> dict[int, Reservation]:
        """Book the worst case of each that fits."""
        made = await asyncio.gather(*(self._reserve(asks[one.number], one.baseline) for one in due), return_exceptions=True)
        booked: dict[int, Reservation] = {}
        refused: dict[bool, BudgetExceeded] = {}
        for one, reservation in zip(due, made, strict=True):
            if isinstance(reservation, Reservation):
                booked[one.number] = reservation
            elif isinstance(reservation, BudgetExceeded):
                refused[one.baseline] = reservation
            elif not isinstance(reservation, NotAsked):
                raise reservation
        if len(booked) < len(due):
            self._not_before = self._clock() + _RETRY_S
        self.refused = {} if booked or self._booked else refused
        return booked

    async def _reserve(self, ask: Ask, baseline: bool) -> Reservation:
        self._gate.refuse_if_stopped()
        worst_usd = self._prices.worst_case(ask, most_input_tokens(ask), batch=True)
        return await self._budget.reserve(worst_usd, baseline=baseline, lasting=True)

    async def _send(self, asks: Mapping[int, Ask], booked: Mapping[int, Reservation]) -> None:
        name, now = secrets.token_hex(8), self._clock()
        rows = [(number, one.hour_s, one.nano_usd) for number, one in booked.items()]
        try:
            batch = await self._file.use(lambda file: file.begin(name, now, rows))
        except JudgeError:
            for one in booked.values():
                self._budget.release(one)
            raise
        self._booked.update(booked)
        self._looked[batch.number] = now
        try:
            provider_id = await self._client.submit_batch({f"{name}-{number}": ask for number, ask in asks.items()})
        except JudgeError as error:
            await self._not_sent(batch, error)
            return
        await self._file.use(lambda file: file.confirm(batch.number, provider_id))
        _log.info("a batch of questions was sent", batch=provider_id, questions=len(asks))

    async def _not_sent(self, batch: Batch, error: JudgeError) -> None:
        """Sending has failed; where that is not certain, the provider's list will tell."""
        if error.may_be_billed or error.failure is Failure.SERVER_ERROR:
            _log.warning("a batch may have been sent or not", batch=batch.name, reason=str(error))
            self._looked[batch.number] = self._clock() + _GRACE_S
            return
        if error.failure is Failure.SPEND_LIMIT:
            self._gate.stop(error)
        if error.failure in _LATER:
            self._not_before = self._clock() + (error.retry_after_s or _RETRY_S)
            await self._send_again(batch)
            return
        _log.error("the provider takes no batch; its questions are asked directly", reason=str(error))
        for one in await self._end(batch, {}):
            self._budget.release(one)

    async def _send_again(self, batch: Batch) -> None:
        """It was certainly not sent."""
        sent = await self._sent(batch)
        await self._file.use(lambda file: file.undo(batch.number))
        for one in sent:
            self._budget.release(self._booked.pop(one.number))

    async def _look_after(self, batch: Batch) -> None:
        """Fetch the results when they are there; or find the batch."""
        try:
            if batch.provider_id is None:
                await self._search(batch)
            else:
                await self._fetch(batch, batch.provider_id)
        except JudgeError as error:
            _log.warning("a batch could not be asked after", batch=batch.provider_id or batch.name, reason=str(error))
        if self._clock() - batch.sent_s > _GIVEN_UP_S and batch in await self._file.use(BatchFile.batches):
            _log.error("a batch is given up; its questions are asked directly", batch=batch.provider_id or batch.name)
            for one in await self._end(batch, {}):
                self._budget.settle(one, None)

    async def _fetch(self, batch: Batch, provider_id: str) -> None:
        sent = await self._sent(batch)
        models = {f"{batch.name}-{one.number}": one.model for one in sent}
        state = await self._client.poll_batch(provider_id, models)
        if not state.ended:
            return
        results = {one.number: state.results.get(f"{batch.name}-{one.number}") for one in sent}
        outcomes = {number: batch_question.outcome(number, result) for number, result in results.items()}
        for number, reservation in zip(results, await self._end(batch, outcomes), strict=True):
            match results[number]:
                case Answer() as answer:
                    self._budget.settle(reservation, answer.use.cost_usd)
                case JudgeError():
                    self._budget.release(reservation)
                case None:  # what became of it nobody knows
                    self._budget.settle(reservation, None)
        answered = sum(isinstance(result, Answer) for result in results.values())
        _log.info("a batch of questions is answered", batch=provider_id, questions=len(sent), answered=answered)

    async def _end(self, batch: Batch, outcomes: Mapping[int, Outcome]) -> list[Reservation]:
        """The batch is over, and what has no outcome is to be asked directly; what was booked, in the order of its questions."""
        sent = await self._sent(batch)
        ended = [outcomes.get(one.number) or Outcome(one.number, "direct", None) for one in sent]
        await self._file.use(lambda file: file.finish(batch.number, ended))
        self._not_before = 0.0
        return [self._booked.pop(one.number) for one in sent]

    async def _search(self, batch: Batch) -> None:
        """Look for a batch that may have been sent among those that the provider has."""
        known = {one.provider_id for one in await self._file.use(BatchFile.batches)}
        possible = False
        for one in await self._client.list_batches(batch.sent_s - _CLOCK_S):
            if one.id in known or one.id in self._others or one.questions != batch.questions:
                continue
            if not one.ended:
                possible = True
                continue
            state = await self._client.poll_batch(one.id, {})
            if any(name.startswith(f"{batch.name}-") for name in state.results):
                _log.info("a batch was found again", batch=one.id)
                await self._file.use(partial(BatchFile.confirm, batch=batch.number, provider_id=one.id))
                return
            self._others.add(one.id)
        if not possible and self._clock() - batch.sent_s > _GRACE_S:
            await self._send_again(batch)

    async def _sent(self, batch: Batch) -> list[Sent]:
        return await self._file.use(lambda file: file.sent(batch.number))
