"""Reading again what was journaled behind the last checkpoint."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from otel_eval.errors import PermanentError
from otel_eval.holding.records import Cut, decode
from otel_eval.journal import RELEASED, Journal, Record
from otel_eval.records import Kind, OwnKind
from otel_eval.wire.check import Inspection, inspect

_TURN = 64


async def replay(
    journal: Journal,
    positions: Mapping[Kind, int],
    held: int,
    until: Callable[[int], Awaitable[None]],
    observe: Callable[[Kind, Record, Inspection, bytes], None],
    observe_cut: Callable[[Record, Cut], None],
) -> int:
    """Tell of every request from these positions on, and of what was held back from `held` on, at the time at which it came.

    What goes on after it was held back has been told of. `until` does all that falls due by a time. Gives how many there were.
    """
    starts: dict[Kind | OwnKind, int] = {OwnKind.HELD: held}
    starts.update(list(positions.items()))
    records = 0
    for kind, record in journal.merged(starts):
        if isinstance(kind, OwnKind):
            cut = decode(record.body)
            if isinstance(cut, Cut):
                await until(record.time_ns)
                observe_cut(record, cut)
        elif not record.flags & RELEASED:
            body = bytes(record.body)
            try:
                found = inspect(kind, body)
            except PermanentError:  # nothing that is not a request is in the journal, but for damage
                continue
            await until(record.time_ns)
            observe(kind, record, found, body)
        records += 1
        if records % _TURN == 0:
            await asyncio.sleep(0)
    return records
