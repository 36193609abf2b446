"""What judges may cost: money and calls, never exceeded, whatever dies.

Before a call its worst case is booked, and the call is made only when that is on disk; afterwards the booking is
corrected to the real cost. So the limits hold under concurrent calls, restarts, `kill -9`, and several processes that
use the same file (a hop and a command, say): what was booked by somebody who died stays booked at its worst case.
Everything belongs to the hour in which it was booked; hours, days and months are those of UTC.

A part of each limit, `baseline_share`, is kept for the baseline sample, so that a flood of triggered traces cannot
starve it: other calls get the rest at most. A call whose price is unknown counts as a call, not as money, and is
reported as one of unknown cost, as is every call that has not been settled.

The worst case is far above the usual cost, so a call that does not fit waits while others under way may give back
room, and is refused only then.
"""

import asyncio
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Container
from pathlib import Path
from typing import Annotated, Final

import structlog
from msgspec import Meta, Struct

from otel_eval.config.models import Fraction, Positive
from otel_eval.config.section import Section
from otel_eval.errors import ConfigError
from otel_eval.judging.bookings import Answered, Bookings
from otel_eval.judging.budget_file import NANO, Booked, BudgetFile, Change, Full, Limit, Period, Spent, bounds, utc
from otel_eval.judging.llm import Failure, JudgeError

_log = structlog.get_logger(__name__)

Usd = Annotated[float, Meta(gt=0, le=1e6)]

_LEVELS: Final = (100, 90, 80, 70)
_MOST_NANO: Final = 10**15
_USUAL_WEIGHT: Final = 0.05
_FILE_RETRY_S: Final = 5.0


def level(used: float, most: float) -> int:
    """How much is used, as a level in percent.

    >>> [level(used, 20) for used in (13, 14, 17, 19, 20, 21)]
    [0, 70, 80, 90, 100, 100]
    """
    return next((one for one in _LEVELS if 100 * used >= one * most), 0)


class BudgetConfig(Section, frozen=True):
    """What judge models may cost; null turns one limit off. Hours, days and months are those of UTC.

    `calls_per_day` is what limits models whose price is unknown. `baseline_share` of each limit is kept for the baseline
    sample, so that triggered traces cannot use it up.
    """

    usd_per_hour: Usd | None = None
    usd_per_day: Usd | None = 20.0
    usd_per_month: Usd | None = None
    calls_per_day: Positive | None = 20_000
    baseline_share: Fraction = 0.3


class NotAsked(JudgeError):
    """Nothing was sent, so the job's attempts are not used up: ask again after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float, failure: Failure = Failure.RATE_LIMITED) -> None:
        super().__init__(failure, message, retry_after_s=retry_after_s)


class BudgetExceeded(NotAsked):
    """The worst case of the call does not fit into a budget.

    `budget` is the key of the limit, or `provider` for the provider's own spend limit; `until` is when there may be room
    again, in seconds since 1970.
    """

    def __init__(self, budget: str, message: str, until: float, now: float) -> None:
        super().__init__(message, max(0.0, until - now), Failure.SPEND_LIMIT)
        self.budget = budget
        self.until = until


class Reservation(Struct, frozen=True):
    """The worst case of one call, booked; to be settled or released once. `nano_usd` is None for an unknown price.

    A `lasting` one is for hours: nobody waits for what it may give back.
    """

    number: int
    hour_s: int
    baseline: bool
    nano_usd: int | None
    lasting: bool = False


class Budget:
    """The budget in one file; `clock` is the wall clock. Raises ConfigError when the file cannot be used."""

    def __init__(self, path: Path, config: BudgetConfig, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._limits = _limits(config)
        self._open: dict[int, Reservation] = {}
        self._lasting: set[int] = set()
        self._under_way: Counter[tuple[int, bool, str]] = Counter()
        self._last_number = 0
        self._news = asyncio.Event()
        self._usual_nano = 0.0
        self._told: set[tuple[str, bool, float]] = set()
        try:
            self._bookings = Bookings(BudgetFile(path, self._limits), clock)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{path}: the judges' budget cannot be kept in this file: {error}") from error

    async def reserve(self, worst_usd: float | None, *, baseline: bool, lasting: bool = False) -> Reservation:
        """Book the most that a call can cost (None: unknown), and return when that is on disk; a `lasting` one never waits.

        Raises BudgetExceeded when there is no room, NotAsked when the file cannot be written.
        """
        nano = _nano(worst_usd)
        if nano is not None:
            self._usual_nano += (nano - self._usual_nano) * (_USUAL_WEIGHT if self._usual_nano else 1)
        while True:
            news = self._news
            hour_s = int(bounds("hour", self.clock())[0])
            refusal = await self._try(Change(hour_s, baseline, Spent(nano or 0, 1, 1), checked=True))
            if refusal is None:
                return self._opened(hour_s, baseline, nano, lasting=lasting)
            if lasting or (len(self._open) == len(self._lasting) and not news.is_set()):
                raise self._exceeded(refusal, baseline)
            await news.wait()

    def adopt(self, hour_s: int, *, baseline: bool, nano_usd: int | None) -> Reservation:
        """A lasting reservation that was booked by a process that is gone."""
        return self._opened(hour_s, baseline, nano_usd, lasting=True)

    def settle(self, reservation: Reservation, cost_usd: float | None) -> None:
        """Replace the worst case by the real cost; it stays booked for None, and for what cannot be a cost."""
        self._close(reservation)
        nano, worst = _nano(cost_usd), reservation.nano_usd
        if nano is not None:
            if worst is not None and nano > worst:
                _log.warning("a judge call has cost more than its worst case", cost_usd=cost_usd, worst_usd=worst / NANO)
            self._bookings.add(Change(reservation.hour_s, reservation.baseline, Spent(nano - (worst or 0), 0, -1)))

    def release(self, reservation: Reservation) -> None:
        """Undo a reservation: the call was not made, or is certainly not billed."""
        self._close(reservation)
        self._bookings.add(Change(reservation.hour_s, reservation.baseline, Spent(-(reservation.nano_usd or 0), -1, -1)))

    def spent(self, period: Period) -> Booked:
        """What is booked in the current period, as of our last booking."""
        start = bounds(period, self.clock())[0]
        booked = self._bookings.booked[period]
        return booked if booked.start == start else Booked(start, Spent(), Spent())

    def pressure(self, *, baseline: bool) -> int:
        """How much of the tightest limit is used, as a level: 0, 70, 80, 90 or 100 %.

        It is 100 as soon as what is left does not hold a usual call. Calls under way do not count yet, and one of the last
        second may count at its worst case. For other purposes than the baseline, the limits are those without its share.
        """
        purposes = {True, False}
        levels = [self._level(limit, limit.most, purposes, self.spent(limit.period).total) for limit in self._limits]
        if not baseline:
            triggered = ((limit, self.spent(limit.period).triggered) for limit in self._limits)
            levels += [self._level(limit, limit.most_triggered, {False}, spent) for limit, spent in triggered]
        return max(levels, default=0)

    async def close(self) -> None:
        """Write what is still to be settled, and close the file."""
        await self._bookings.close()

    def _level(self, limit: Limit, most: int, purposes: Container[bool], booked: Spent) -> int:
        start = bounds(limit.period, self.clock())[0]
        current = sum(
            amount
            for (hour_s, baseline, unit), amount in self._under_way.items()
            if unit == limit.unit and hour_s >= start and baseline in purposes
        )
        if limit.unit == "calls":
            used, usual = booked.calls - current, 1.0
        else:
            used, usual = booked.nano_usd - current, self._usual_nano
        if not most or used + usual > most:
            return 100
        return level(used, most)

    def _exceeded(self, full: Full, baseline: bool) -> BudgetExceeded:
        kept = " apart from the baseline's share" if full.kept else ""
        text = f"{full.limit.key} is used up{kept} until {utc(full.until)}"
        told = (full.limit.key, baseline, full.until)
        if told not in self._told:  # once for each period
            self._told = {*(one for one in self._told if one[2] > self.clock()), told}
            _log.warning("a judge call does not fit into the budget", reason=text, baseline=baseline)
        return BudgetExceeded(full.limit.key, text, full.until, self.clock())

    def _opened(self, hour_s: int, baseline: bool, nano: int | None, *, lasting: bool) -> Reservation:
        self._last_number += 1
        reservation = self._open[self._last_number] = Reservation(self._last_number, hour_s, baseline, nano, lasting)
        if lasting:
            self._lasting.add(reservation.number)
        self._note(reservation, 1)
        return reservation

    def _note(self, reservation: Reservation, sign: int) -> None:
        """Count a reservation among those under way, or no more."""
        for unit, amount in (("calls", 1), ("nano_usd", reservation.nano_usd or 0)):
            place = reservation.hour_s, reservation.baseline, unit
            self._under_way[place] += sign * amount
            if not self._under_way[place]:
                del self._under_way[place]

    def _close(self, reservation: Reservation) -> None:
        del self._open[reservation.number]
        self._lasting.discard(reservation.number)
        self._note(reservation, -1)
        self._news.set()
        self._news = asyncio.Event()

    async def _try(self, change: Change) -> Full | None:
        answer = self._bookings.add(change)
        try:
            found = await asyncio.shield(answer)
        except asyncio.CancelledError:
            answer.add_done_callback(lambda answer: self._undo(change, answer))
            raise
        if isinstance(found, sqlite3.Error):
            raise NotAsked(f"the judges' budget cannot be written: {found}", _FILE_RETRY_S)
        return found

    def _undo(self, change: Change, answer: Answered) -> None:
        """Nobody waits for the answer any more, so the call is not made."""
        if not answer.cancelled() and answer.result() is None:
            self._bookings.add(Change(change.hour_s, change.baseline, Spent(*(-value for value in change.spent))))


def _limits(config: BudgetConfig) -> list[Limit]:
    money: list[tuple[Period, float | None]] = [
        ("hour", config.usd_per_hour),
        ("day", config.usd_per_day),
        ("month", config.usd_per_month),
    ]
    others = 1 - config.baseline_share
    limits = [
        Limit(f"usd_per_{period}", period, "nano_usd", int(usd * NANO), int(usd * NANO * others))
        for period, usd in money
        if usd is not None
    ]
    if config.calls_per_day is not None:
        limits.append(Limit("calls_per_day", "day", "calls", config.calls_per_day, int(config.calls_per_day * others)))
    return limits


def _nano(usd: float | None) -> int | None:
    """Whole nano-USD, rounded up; None for what cannot be a cost: a gateway may report any usage."""
    if usd is None or not 0 <= usd < math.inf:
        return None
    return min(math.ceil(usd * NANO), _MOST_NANO)
