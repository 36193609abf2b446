"""The gate before a provider: a judge that asks another one when it may, and learns from every answer.

A call goes through when, for its model,
- the provider's spend limit is not reached, and the circuit breaker lets it (otherwise NotAsked at once);
- there is room under the concurrency limit, the provider has not asked to wait, and the three buckets hold it: it waits
  in line for that, and gets NotAsked when the wait is known to be over a minute, so that its job can go back to the queue;
- its worst case is booked in the budget (otherwise BudgetExceeded).

What comes back is told to all of them:

    answer                      usage and limits are learned, the real cost is booked
    RATE_LIMITED, RAMP_LIMITED  concurrency is cut once, all wait as asked for; not billed
    SPEND_LIMIT                 nothing more is asked until the date that was stated, or the first of next month (UTC);
                                a restart asks again, for those who raise the limit
    OVERLOADED, SERVER_ERROR,   concurrency does not grow, the breaker counts
    TIMEOUT, CONNECTION
    any other                   somebody is there; only limits are learned

A failed call is booked as not billed unless it says `may_be_billed`; one that was cancelled, or ended in a defect of
ours, stays booked at its worst case.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Final, NamedTuple

import msgspec
import structlog
from msgspec import Meta, field

from otel_eval.config.section import Section
from otel_eval.judging.breaker import Breaker
from otel_eval.judging.buckets import Amounts, Buckets, Taken
from otel_eval.judging.budget import Budget, BudgetExceeded, NotAsked, Reservation
from otel_eval.judging.budget_file import bounds, utc
from otel_eval.judging.concurrency import Concurrency, ConcurrencyConfig
from otel_eval.judging.earlier_answers import unless_answered
from otel_eval.judging.llm import Answer, Ask, Failure, Judge, JudgeError
from otel_eval.judging.prices import InputEstimate, PriceTable

_log = structlog.get_logger(__name__)

_LONGEST_WAIT_S: Final = 60.0
_SHORTEST_WAIT_S: Final = 0.001
_LOOK_AGAIN_S: Final = 1.0
"""A wait is looked at again this often: an answer may have changed it."""

_LONGEST_STOP_S: Final = 366 * 86400.0
_OVERHEAD_TOKENS: Final = 1000
"""What a provider may put around our texts, for structured output above all."""

_DOWN: Final = frozenset({Failure.OVERLOADED, Failure.SERVER_ERROR, Failure.TIMEOUT, Failure.CONNECTION})
_NOTHING: Final = Amounts(0, 0, 0)


class GateConfig(Section, frozen=True):
    """How much is asked of a provider. `max_rate_limit_share` is the most that judges take of the organisation's rate limits.

    These limits are shared with the judged agents: use 1 only where the judges have limits of their own.
    """

    concurrency: ConcurrencyConfig = field(default_factory=ConcurrencyConfig)
    max_rate_limit_share: Annotated[float, Meta(gt=0, le=1)] = 0.2


class Lane:
    """What is known of one model at the provider."""

    def __init__(self, config: GateConfig, clock: Callable[[], float]) -> None:
        self.concurrency = Concurrency(config.concurrency, clock)
        self.buckets = Buckets(config.max_rate_limit_share, clock)
        self.breaker = Breaker(clock)
        self.line = asyncio.Lock()


class _Pass(NamedTuple):
    """A call that was let through."""

    lane: Lane
    period: int
    taken: Taken


class Gate:
    """See the module docstring; one for each account at a provider (workspace), since limits are the account's.

    `clock` is monotonic. `lanes` are by model, for whoever wants to show them.
    """

    def __init__(
        self,
        client: Judge,
        budget: Budget,
        prices: PriceTable,
        config: GateConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._budget = budget
        self._prices = prices
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._estimate = InputEstimate()
        self._stopped_until = 0.0
        self.lanes: dict[str, Lane] = {}

    async def ask(self, ask: Ask, *, baseline: bool = False) -> Answer:
        """See Judge; only a call for the baseline sample may use the budget's share that is kept for it."""
        most_tokens = most_input_tokens(ask)
        need = Amounts(1, min(self._estimate.tokens(ask), most_tokens), ask.max_tokens)
        granted = await self._let_through(ask.model, need)
        try:
            try:
                worst_usd = self._prices.worst_case(ask, most_tokens)
                reservation = await self._budget.reserve(worst_usd, baseline=baseline)
            except BaseException:
                granted.lane.buckets.settle(granted.taken, _NOTHING)
                raise
            return await self._call(ask, granted, reservation)
        finally:
            granted.lane.breaker.forget(granted.period)
            granted.lane.concurrency.leave()

    def for_purpose(self, baseline: bool) -> Judge:
        """The judge for calls of that purpose."""
        return _ForPurpose(self, baseline)

    def pressure(self, *, baseline: bool) -> int:
        """The level of Budget.pressure, 100 as well while the provider's spend limit is reached."""
        return 100 if self._budget.clock() < self._stopped_until else self._budget.pressure(baseline=baseline)

    def stop(self, error: JudgeError) -> None:
        """The provider's spend limit is reached."""
        now = self._budget.clock()
        stated = error.retry_after_s
        until = now + min(stated, _LONGEST_STOP_S) if stated else bounds("month", now)[1]
        if now >= self._stopped_until:
            _log.error("the provider's spend limit is reached; judges are not asked", until=utc(until), reason=str(error))
        self._stopped_until = max(self._stopped_until, until)

    def refuse_if_stopped(self) -> None:
        """Raises BudgetExceeded while the provider's spend limit is reached."""
        now = self._budget.clock()
        if now < self._stopped_until:
            text = f"the provider's spend limit is reached; judges are not asked until {utc(self._stopped_until)}"
            raise BudgetExceeded("provider", text, self._stopped_until, now)

    async def _let_through(self, model: str, need: Amounts) -> _Pass:
        if model not in self.lanes:
            self.lanes[model] = Lane(self._config, self._clock)
        lane = self.lanes[model]
        async with lane.line:
            while True:
                self.refuse_if_stopped()
                if lane.breaker.wait_s:
                    raise NotAsked(f"{model} does not answer; it is asked again later", lane.breaker.wait_s)
                wait_s = max(lane.concurrency.pause_s, lane.buckets.wait_s(need))
                if wait_s > _LONGEST_WAIT_S:
                    raise NotAsked(f"the rate limit of {model} leaves no room for {wait_s:.0f} s", wait_s)
                if wait_s:
                    await self._sleep(min(max(wait_s, _SHORTEST_WAIT_S), _LOOK_AGAIN_S))
                elif lane.concurrency.is_full:
                    await lane.concurrency.wait_for_room()
                else:
                    lane.concurrency.enter()
                    return _Pass(lane, lane.breaker.enter(), lane.buckets.take(need))

    async def _call(self, ask: Ask, granted: _Pass, reservation: Reservation) -> Answer:
        try:
            answer = await self._client.ask(ask)
        except JudgeError as error:
            if error.may_be_billed:
                self._budget.settle(reservation, None)
            else:
                self._budget.release(reservation)
            self._learn_from_failure(ask.model, granted, error)
            if error.failure is Failure.SPEND_LIMIT:
                self.stop(error)
                self.refuse_if_stopped()
            raise
        except BaseException:
            self._budget.settle(reservation, None)
            raise
        self._budget.settle(reservation, answer.use.cost_usd)
        self._learn_from_answer(ask, granted, answer)
        return answer

    def _learn_from_answer(self, ask: Ask, granted: _Pass, answer: Answer) -> None:
        lane, use, reserved = granted.lane, answer.use, granted.taken.amounts
        written = use.cache_write_tokens or 0
        used_input = reserved.input_tokens if use.input_tokens is None else use.input_tokens + written
        used_output = reserved.output_tokens if use.output_tokens is None else use.output_tokens
        if use.input_tokens is not None:
            self._estimate.learn(ask, used_input + (use.cache_read_tokens or 0))
        lane.buckets.settle(granted.taken, Amounts(1, used_input, used_output))
        lane.concurrency.succeeded()
        self._note_life(ask.model, granted)
        self._learn_limits(ask.model, granted, answer)

    def _learn_from_failure(self, model: str, granted: _Pass, error: JudgeError) -> None:
        lane = granted.lane
        if not error.may_be_billed:
            lane.buckets.settle(granted.taken, Amounts(1, 0, 0))
        if error.failure in _DOWN:
            lane.concurrency.failed()
            if lane.breaker.failed(granted.period):
                _log.warning("a judge does not answer", model=model, reason=str(error), ask_again_in_s=round(lane.breaker.wait_s))
        else:
            self._note_life(model, granted)
        if error.failure in (Failure.RATE_LIMITED, Failure.RAMP_LIMITED):
            lane.concurrency.rate_limited(error.retry_after_s, ramp=error.failure is Failure.RAMP_LIMITED)
        self._learn_limits(model, granted, error)

    def _note_life(self, model: str, granted: _Pass) -> None:
        if granted.lane.breaker.succeeded(granted.period):
            _log.info("a judge answers again", model=model)

    def _learn_limits(self, model: str, granted: _Pass, said: Answer | JudgeError) -> None:
        buckets = granted.lane.buckets
        before = buckets.others_are_busy
        buckets.learn(granted.taken, said.limits)
        if buckets.others_are_busy:
            granted.lane.concurrency.shrink()
            if not before:
                _log.info("others need the judge's rate limit; judges use the least they can", model=model)


class _ForPurpose:
    """The gate for calls of one purpose."""

    def __init__(self, gate: Gate, baseline: bool) -> None:
        self._gate = gate
        self._baseline = baseline

    async def ask(self, ask: Ask) -> Answer:
        """See Judge."""
        return await unless_answered(ask, partial(self._gate.ask, baseline=self._baseline))


def most_input_tokens(ask: Ask) -> int:
    """An upper bound: no tokenizer makes more tokens of a text than it has bytes."""
    texts = sum(len(text.encode(errors="replace")) for text in (ask.instructions, ask.material, ask.question))
    return texts + len(msgspec.json.encode(ask.schema)) + _OVERHEAD_TOKENS
