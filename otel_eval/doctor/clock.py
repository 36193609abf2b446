"""The clock: against those of the servers that were asked, and against itself."""

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from otel_eval.doctor.finding import Finding, ok, warning

_MOST_S: Final = 5.0
_RESOLUTION_S: Final = 0.5
"""A Date header names the second that has begun."""
_LOOK_S: Final = 0.05
_JUMP_S: Final = 1.0


class Clocks:
    """How far other clocks are ahead of ours, by whose they are."""

    def __init__(self) -> None:
        self.ahead_s: dict[str, float] = {}

    def note(self, whose: str, headers: Mapping[str, str], asked_at: float) -> None:
        """Take the Date header of an answer to what was asked at that time (`time.time()`)."""
        try:
            shown = parsedate_to_datetime(headers.get("Date", "")).timestamp() + _RESOLUTION_S
        except (ValueError, OverflowError, TypeError):
            return
        now = time.time()
        if shown < asked_at:
            self.ahead_s[whose] = min(shown - asked_at, 0.0)
        else:
            self.ahead_s[whose] = max(shown - now, 0.0)


async def check(clocks: Clocks) -> list[Finding]:
    """Differences of more than five seconds, and a clock that is being moved."""
    wall, steady = time.time(), time.monotonic()
    await asyncio.sleep(_LOOK_S)
    jump_s = (time.time() - wall) - (time.monotonic() - steady)
    if abs(jump_s) > _JUMP_S:
        return [warning("clock", f"it has just jumped by {jump_s:.0f} s: traces are put together by it; is NTP set up right?")]
    off = {whose: ahead for whose, ahead in clocks.ahead_s.items() if abs(ahead) > _MOST_S}
    if not clocks.ahead_s:
        return [ok("clock", "it goes steadily; no server was there to compare it with")]
    if not off:
        return [ok("clock", f"within {_MOST_S:g} s of that of {', '.join(clocks.ahead_s)}")]
    which = (f"{abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} that of {whose}" for whose, ahead in off.items())
    return [warning("clock", f"it is {', and '.join(which)}: set it by NTP, or times in traces and scores will not fit")]
