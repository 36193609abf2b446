"""A rate for each stratum, fixed or learned."""

from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from otel_eval.config import sampling as config
from otel_eval.sampling.facts import Facts

OTHER: Final = config.OTHER_STRATUM
_HOURS: Final = 7 * 24
_DAY_MINUTES: Final = 24 * 60


class Seen(Struct):
    """What was seen of a stratum: since which minute, and how many traces in each hour of the last seven days."""

    since: int
    hours: dict[int, int] = {}


class State(Struct):
    """What is learned: the strata, what the current minute adds, and the rates that hold now."""

    seen: dict[str, Seen] = {}
    new: dict[str, int] = {}
    rates: dict[str, float] = {}
    minute: int = 0


class Strata:
    """Fixed rates, or `target_per_day` over what a day brings by the last seven days.

    A stratum that was never seen before has rate 1 until the minute is over: a rare one must not be missed. At most
    `max_strata` are told apart; later ones are `other`.
    """

    name = "strata"

    def __init__(self, settings: config.Strata, state: State | None) -> None:
        self._settings = settings
        self.state = state or State()

    def rate(self, facts: Facts, stratum: str) -> float:
        """By the stratum alone."""
        if self._settings.target_per_day is not None:
            return self.state.rates.get(stratum, 1.0)
        return next((rate for pattern, rate in self._settings.rates.items() if fnmatchcase(stratum, pattern)), 0.0)

    def stratum(self, facts: Facts) -> str:
        """The values of `by`, joined by `/`; a value that is not there is `-`."""
        found = "/".join(facts.attribute(name).replace("/", "_") or "-" for name in self._settings.by)
        known = self.state.seen
        return found if found in known or found in self.state.new or self._has_room() else OTHER

    def learn(self, facts: Facts, stratum: str) -> None:
        """Count one trace."""
        self.state.new[stratum] = self.state.new.get(stratum, 0) + 1

    def roll(self, minute: int) -> None:
        """Add what the last minute has brought, and fix the rates anew."""
        state = self.state
        hour = state.minute // 60
        for stratum, count in state.new.items():
            seen = state.seen.setdefault(stratum, Seen(state.minute))
            seen.hours[hour] = seen.hours.get(hour, 0) + count
        state.new.clear()
        state.minute = minute
        oldest = minute // 60 - _HOURS
        for stratum, seen in list(state.seen.items()):
            for past in [past for past in seen.hours if past <= oldest]:
                del seen.hours[past]
            if not seen.hours:
                del state.seen[stratum]
        if self._settings.target_per_day is not None:
            state.rates = {name: self._learned(seen, minute) for name, seen in state.seen.items()}

    def _learned(self, seen: Seen, minute: int) -> float:
        days = min(max(1, minute - seen.since), _HOURS * 60) / _DAY_MINUTES
        return min(1.0, (self._settings.target_per_day or 0) / (sum(seen.hours.values()) / days))

    def _has_room(self) -> bool:
        return len(self.state.seen) + len(self.state.new.keys() - self.state.seen.keys()) < self._settings.max_strata
