"""How soon a verdict is wanted. One that may wait is asked for in a batch, at half the price."""

from datetime import UTC, datetime, timedelta
from typing import Final, Self

from otel_eval.config.values import PositiveDuration

NIGHT_HOUR: Final = 2
"""When `nightly` questions are sent, UTC."""

BATCH_S: Final = 86_400.0
"""After so long what a batch has not answered has expired."""

_LONGEST_S: Final = 86_400.0


class Freshness(str):
    """`now`; how long a question may wait for others to be sent with, such as `15m`; or `nightly`.

    >>> Freshness("15m").due(1_795_003_200.0), Freshness("nightly").due(1_795_003_200.0)
    (1795004100.0, 1795053600.0)
    """

    def __new__(cls, text: str) -> Self:
        """Raises ValueError for anything else."""
        if text not in ("now", "nightly"):
            try:
                seconds = PositiveDuration.parse(text)
            except ValueError:
                seconds = PositiveDuration(2 * _LONGEST_S)
            if seconds > _LONGEST_S:
                raise ValueError("expected now, a duration of a day at most such as 15m, or nightly")
        return super().__new__(cls, text)

    @property
    def waits(self) -> bool:
        """Whether it is anything but `now`."""
        return self != NOW

    def due(self, asked_s: float) -> float:
        """When a question of that moment is to be sent, in seconds since 1970."""
        if self == "nightly":
            asked = datetime.fromtimestamp(asked_s, UTC)
            night = asked.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
            return (night if night > asked else night + timedelta(days=1)).timestamp()
        return asked_s + (PositiveDuration.parse(self) if self.waits else 0.0)

    def deadline_s(self, asked_s: float, deadline_s: float) -> float:
        """How long a job may take from that moment on: its batch's day comes before its own deadline."""
        return self.due(asked_s) - asked_s + BATCH_S + deadline_s if self.waits else deadline_s


NOW: Final = Freshness("now")
