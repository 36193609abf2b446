"""Appends numbered records for ever and prints each number that was acknowledged: `... DIRECTORY SYNC FIRST`."""

import asyncio
import os
import random
import sys
from pathlib import Path

from otel_eval.journal import Journal
from otel_eval.records import Kind, Sync

MAX_BYTES = 4 << 20


def body(number: int) -> bytes:
    """A body of any size that its number decides: some fit into a page, some are larger than a segment."""
    size = random.Random(number)
    return number.to_bytes(8, "big") * size.choice([1, 40, 500, 2000, 40_000])


async def append_for_ever(directory: Path, sync: Sync, number: int) -> None:
    journal = Journal(directory, MAX_BYTES, sync)
    log = journal.logs[Kind.TRACES]
    reader = journal.reader(Kind.TRACES, "delivered")
    while True:
        while log.end - reader.position > MAX_BYTES // 4:
            reader.advance(log.read(reader.position, 1 << 16).end)
        journal.append(Kind.TRACES, body(number), number)
        await journal.durable()
        os.write(1, b"%d\n" % number)
        number += 1


if __name__ == "__main__":
    asyncio.run(append_for_ever(Path(sys.argv[1]), Sync(sys.argv[2]), int(sys.argv[3])))
