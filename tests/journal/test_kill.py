"""`kill -9`, again and again, of a process that appends as fast as it can."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_eval.journal import Journal
from otel_eval.records import Kind, Sync
from tests.journal.appending import MAX_BYTES, body

ROUNDS = 10


def killed(directory: Path, sync: Sync, first: int, after_s: float) -> int:
    """Let a child append from number `first` on for a while; the last number that it acknowledged before kill -9."""
    command = [sys.executable, "-m", "tests.journal.appending", str(directory), sync, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        acknowledged = child.stdout.readline()
        time.sleep(after_s)
        child.kill()
        acknowledged += child.stdout.read()
    return int(acknowledged.split()[-1])


def undelivered(directory: Path) -> list[int]:
    """The numbers of the records behind the cursor, each intact, without a gap in positions."""
    journal = Journal(directory, MAX_BYTES, Sync.NEVER)
    log = journal.logs[Kind.TRACES]
    position = journal.reader(Kind.TRACES, "delivered").position
    found: list[int] = []
    while position < log.end:
        chunk = log.read(position, 1 << 20)
        for record in chunk.records:
            assert record.position == position
            assert bytes(record.body) == body(record.items)
            found.append(record.items)
            position = record.end
        assert position == chunk.end
    assert log.damage.value == 0
    asyncio.run(journal.close())
    return found


@pytest.mark.parametrize("sync", [Sync.NEVER, Sync.ALWAYS])
def test_everything_acknowledged_is_there_after_each_kill(tmp_path: Path, sync: Sync) -> None:
    moments = random.Random(sync)
    number = 0
    for _ in range(ROUNDS):
        last = killed(tmp_path, sync, number, moments.random() * 0.1)
        found = undelivered(tmp_path)
        assert found == list(range(found[0], found[-1] + 1))
        assert number <= last <= found[-1] <= last + 1  # one may have been written whose answer was not
        number = found[-1] + 1
