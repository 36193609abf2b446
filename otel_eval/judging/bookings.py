"""Changes of the judges' budget on their way into its file: what comes at the same time shares one transaction.

A booking is written at once. A correction that gives room back waits for the next booking, a second at most: until then
more is booked than was spent. Each transaction has to get to the disk, and so a call takes one of them instead of two.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Final

import structlog

from otel_eval.judging.budget_file import BudgetFile, Change, Full

_log = structlog.get_logger(__name__)

_CORRECTED_S: Final = 1.0

Answered = asyncio.Future[Full | sqlite3.Error | None]
"""None when it is booked; the limit that has no room for it; or why the file could not be written."""


class Bookings:
    """See the module docstring. Use from one event loop; `booked` is what was booked when the file was last written."""

    def __init__(self, file: BudgetFile, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._waiting: list[tuple[Change, Answered]] = []
        self._writing: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._failed = False
        self.booked = file.booked(clock())

    def add(self, change: Change) -> Answered:
        """Have it written. When the file cannot be, one that is not checked is kept and tried again with the next booking."""
        answer: Answered = asyncio.get_running_loop().create_future()
        self._waiting.append((change, answer))
        if _is_urgent(change):
            self._begin()
        else:
            self._plan()
        return answer

    async def close(self) -> None:
        """Write what waits, and close the file."""
        self._failed = False
        while self._writing is not None or (self._waiting and not self._failed):  # an undone booking adds a correction
            self._begin()
            if self._writing is not None:
                await self._writing
        self._file.close()

    def _plan(self) -> None:
        if self._waiting and self._writing is None and self._later is None:
            self._later = asyncio.get_running_loop().call_later(_CORRECTED_S, self._begin)

    def _begin(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._waiting and self._writing is None:
            self._writing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        """Write what waits, and go on while there is something urgent."""
        urgent = True
        try:
            while urgent:
                batch, self._waiting = self._waiting, []
                try:
                    answers, self.booked = await asyncio.to_thread(self._file.book, [one[0] for one in batch], self._clock())
                except sqlite3.Error as error:
                    self._refuse(batch, error)
                    return
                for (_, answer), full in zip(batch, answers, strict=True):
                    answer.set_result(full)
                urgent = any(_is_urgent(change) for change, _ in self._waiting)
        finally:
            self._writing = None
        self._plan()

    def _refuse(self, batch: list[tuple[Change, Answered]], error: sqlite3.Error) -> None:
        _log.error("the judges' budget cannot be written, so no judge is asked", reason=str(error))
        self._failed = True
        for change, answer in batch:
            if change.checked:
                answer.set_result(error)
        self._waiting[:0] = [one for one in batch if not one[0].checked]


def _is_urgent(change: Change) -> bool:
    """Whether somebody waits for it, or more was spent than is booked."""
    return change.checked or change.spent.nano_usd > 0
