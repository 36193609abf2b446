"""Giving chosen traces and quiet sessions to the judges, while the table forgets and the judges have no room."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from otel_eval.config.sampling import Baseline, Sampling, Traces
from otel_eval.errors import RetryableError
from otel_eval.journal import Journal
from otel_eval.records import Kind, Sync
from otel_eval.sampling.handing_over import HandingOver
from otel_eval.sampling.ledger import Decided
from otel_eval.sampling.sessions import Turn
from otel_eval.traces.entry import Trigger
from otel_eval.traces.retrieval import Requests, Stored
from otel_eval.traces.table import Limits, Times, TraceTable
from tests import spans
from tests.judging.pool_setup import decided
from tests.sampling.rig import CHAT, EARLIER_MS, running

TRACES = [number.to_bytes(16, "big") for number in (1, 2)]


class Judges:
    """They take what they are given as long as they have `room`, when `ready`."""

    wants_sessions = True

    def __init__(self) -> None:
        self.room = True
        self.ready = asyncio.Event()
        self.given: list[tuple[Decided, int, bool]] = []
        self.dropped: list[Decided] = []

    async def judge(self, decided: Decided, traces: Sequence[Stored], *, session: bool = False) -> None:
        await self.ready.wait()
        if not self.room:
            raise RetryableError("the queue is full")
        self.given.append((decided, sum(len(stored.spans) for stored in traces), session))

    async def drop(self, decided: Decided) -> None:
        self.dropped.append(decided)

    def pressure(self) -> int:
        return 70


async def made(directory: Path) -> tuple[Journal, TraceTable, Judges, HandingOver]:
    journal = Journal(directory, 1 << 24, Sync.NEVER)
    table = TraceTable(Times.of(Traces()), Limits(1000, 1000, 10))
    for number, trace_id in enumerate(TRACES, 1):
        record = journal.append(Kind.TRACES, spans.trace_request([spans.span({}, trace=number)]), 1)
        table.observe(Kind.TRACES, trace_id, 1, True, record.position, record.end, number)
        entry = table.get(trace_id)
        assert entry is not None
        entry.pi, entry.chosen, entry.decided_ns = 0.5, number == 1, number
    judges = Judges()
    logs = {kind: journal.logs[kind] for kind in (Kind.TRACES, Kind.LOGS)}
    return journal, table, judges, HandingOver(judges, Requests(logs), table, {}, [])


def turn(number: int) -> spans.Made:
    """The trace of a turn of the one session, 5 s after the one before."""
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": f"And number {number}?"}]}])
    said = CHAT | {"gen_ai.conversation.id": "s", "gen_ai.input.messages": asked}
    return spans.span(said, trace=number, start_ms=EARLIER_MS + 5000 * number)


def turns() -> list[Turn]:
    return [Turn(trace_id.hex(), 5, "", False) for trace_id in TRACES]


async def test_a_session_with_a_chosen_trace_is_judged_as_one(tmp_path: Path) -> None:
    journal, _, judges, handing_over = await made(tmp_path)
    judges.ready.set()
    handing_over.put_sessions([turns(), turns()[:1], turns()[1:] * 2])
    await handing_over.give()
    ((one, groups, session),) = judges.given
    assert (one.trace_id, one.pi, one.policy, groups, session) == (TRACES[1], 0.75, "session", 2, True)
    assert one.time_ns == 2
    await journal.close()


async def test_a_session_whose_traces_are_forgotten_in_the_meantime_stops_nothing(tmp_path: Path) -> None:
    journal, table, judges, handing_over = await made(tmp_path)
    handing_over.put_sessions([turns()])
    giving = asyncio.create_task(handing_over.give())
    await asyncio.sleep(0.01)
    handing_over.put_sessions([turns()])
    table.restore({}, {}, {})
    judges.ready.set()
    await giving
    await handing_over.give()
    assert [(one.pi, groups) for one, groups, _ in judges.given] == [(0.75, 2), (0.75, 0)]
    await journal.close()


async def test_a_later_decision_replaces_one_that_waits(tmp_path: Path) -> None:
    journal, _, judges, handing_over = await made(tmp_path)
    first, late = decided(1), decided(1, revision=1, trigger=Trigger.LATE)
    handing_over.put(first, again=False)
    giving = asyncio.create_task(handing_over.give())
    await asyncio.sleep(0.01)
    handing_over.put(late, again=True)
    handing_over.put(decided(1, revision=2), again=True)
    handing_over.put(decided(2, chosen=False), again=False)
    judges.ready.set()
    await giving
    assert [one.revision for one, _, _ in judges.given] == [0, 1]
    assert handing_over.waiting == {}
    assert handing_over.pressure == 70
    await journal.close()


async def test_what_there_is_no_room_for_waits_as_long_as_it_is_remembered(tmp_path: Path) -> None:
    journal, table, judges, handing_over = await made(tmp_path)
    judges.ready.set()
    judges.room = False
    one, other = decided(1), decided(2)
    for waiting in (one, other):
        handing_over.put(waiting, again=False)
    handing_over.put_sessions([turns()])
    await handing_over.give()
    assert list(handing_over.waiting.values()) == [one, other]
    del table.open[TRACES[0]]
    await asyncio.sleep(1.1)
    await handing_over.give()
    assert (judges.dropped, list(handing_over.waiting.values()), judges.given) == ([one], [other], [])
    judges.room = True
    await handing_over.give()
    assert not judges.given, "it is tried again after a while only"
    await asyncio.sleep(1.1)
    await handing_over.give()
    assert [(given.trace_id, groups, session) for given, groups, session in judges.given] == [
        (TRACES[1], 1, False),
        (TRACES[1], 1, True),
    ]
    assert handing_over.waiting == {}
    await journal.close()


@pytest.mark.parametrize("stop", [True, False])
async def test_a_session_that_waits_for_room_is_given_after_a_restart(tmp_path: Path, stop: bool) -> None:
    judges = Judges()
    judges.ready.set()
    async with running(tmp_path, sampling=Sampling(baseline=Baseline(rate=1.0))) as rig:
        rig.judges = judges
        await rig.restart()
        for number in (1, 2):
            await rig.send(5 * number, turn(number))
            await rig.work(5 * number + 4)
        judges.room = False
        await rig.work(675)
        assert [session for _, _, session in judges.given] == [False, False]
        await (rig.sampler.close() if stop else rig.sampler.save())
        await rig.restart(680)
        judges.room = True
        await rig.work(681)
        assert [(one.trace_id, groups) for one, groups, session in judges.given if session] == [(TRACES[1], 2)]
        await rig.sampler.save()
        await rig.restart(690)
        await rig.work(691)
        assert len(judges.given) == 3, "and once"


async def test_a_trace_that_the_table_has_forgotten_is_given_all_the_same(tmp_path: Path) -> None:
    journal, table, judges, handing_over = await made(tmp_path)
    judges.ready.set()
    handing_over.put(decided(1), again=False)
    after_a_restart = HandingOver(judges, handing_over._requests, table, dict(handing_over.waiting), [])
    del table.open[TRACES[0]]
    await handing_over.give()
    await after_a_restart.give()
    assert [groups for _, groups, _ in judges.given] == [1, 1]
    handing_over.put(decided(3), again=False)
    await handing_over.give()
    assert (len(judges.given), [one.trace_id[-1] for one in judges.dropped]) == (2, [3]), "of this one nothing is known"
    await journal.close()
