"""A sampler that is killed at any moment comes to what one that was never killed makes of the same journal.

What is compared with is a sampler that has nothing but a copy of the requests that were journaled.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_eval.config.sampling import Baseline, Cap, Sampling, Strata, Traces, Uncertainty
from otel_eval.config.values import PositiveDuration
from otel_eval.records import Kind
from otel_eval.sampling.ledger import Decided, Traffic
from otel_eval.traces.entry import Trigger
from tests.sampling.mix import Mix, mix
from tests.sampling.rig import CHAT, Rig, chat, running, said
from tests.spans import span

SECONDS = 150.0

SAMPLINGS = {
    "default": Sampling(),
    "cap": Sampling(baseline=Baseline(rate=0.5), cap=Cap(per_minute=20, per_hour=100, window=PositiveDuration(10))),
    "strata": Sampling(strata=Strata(by=("service.name", "service.version"), target_per_day=3000, max_strata=12)),
    "uncertainty": Sampling(uncertainty=Uncertainty(rate=0.3)),
}


async def play_and_kill(
    rig: Rig, made: Mix, seed: int, lose: Callable[[Rig, random.Random], None], diligence: float = 1.0
) -> int:
    """Send everything; kill now and then, and do something to the checkpoint. Gives how often it was killed.

    `diligence` is how often the sampler has worked off what is due when the next request comes.
    """
    chance = random.Random(seed)
    kills = 0
    for at, items in made.requests:
        if chance.random() < diligence:
            await rig.work(at)
        await rig.send(at, *items)
        if chance.random() < 0.05:
            await rig.sampler.save()
        if chance.random() < 0.02:
            kills += 1
            await rig.kill()
            lose(rig, chance)
            await rig.start(at)
    await finish(rig, made)
    return kills


async def finish(rig: Rig, made: Mix) -> None:
    for at in (made.until, made.until + 61, made.until + 122):
        await rig.work(at)


async def undisturbed(rig: Rig, made: Mix) -> Rig:
    """The same journal in the hands of a sampler that knows nothing else."""
    directory = rig.directory.parent / "undisturbed"
    for kind in (Kind.TRACES, Kind.LOGS):
        shutil.copytree(rig.directory / kind, directory / kind)
    other = Rig(directory, rig.traces, rig.sampling, rig.max_bytes)
    await other.start()
    await finish(other, made)
    await other.kill()
    return other


def totals(rig: Rig) -> dict[tuple[Any, ...], dict[str, int]]:
    """The sums of the traffic rows by minute and cell."""
    found: dict[tuple[Any, ...], Counter[str]] = {}
    for row in rig.traffic():
        total = found.setdefault(row.cell(), Counter())
        for name in ("traces", "chosen", "spans", "errors", "input_tokens"):
            total[name] += getattr(row, name)
        for at, count in row.latency.items():
            total[f"latency {at}"] += count
    return {cell: {name: n for name, n in total.items() if n} for cell, total in found.items() if any(total.values())}


def keep(rig: Rig, chance: random.Random) -> None:
    """The checkpoint stays."""


def remove(rig: Rig, chance: random.Random) -> None:
    rig.checkpoint.unlink(missing_ok=True)


def damage(rig: Rig, chance: random.Random) -> None:
    content = bytearray(rig.checkpoint.read_bytes() if rig.checkpoint.exists() else b"")
    match chance.choice(["cut", "flip", "other"]):
        case "cut":
            del content[int(chance.random() * len(content)) :]
        case "flip" if content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        case _:
            content[:] = chance.randbytes(1000)
    rig.checkpoint.write_bytes(content)


@pytest.mark.parametrize("lose", [keep, remove, damage])
@pytest.mark.parametrize("name", SAMPLINGS)
async def test_a_killed_sampler_decides_what_an_undisturbed_one_does(
    tmp_path: Path, name: str, lose: Callable[[Rig, random.Random], None]
) -> None:
    seed = sum(name.encode()) + len(lose.__name__)
    made = mix(250, seed, SECONDS)
    async with running(tmp_path / "killed", Traces(), SAMPLINGS[name]) as rig:
        kills = await play_and_kill(rig, made, seed, lose)
        decisions = rig.decisions()
        assert len({(one.trace_id, one.revision) for one in decisions}) == len(decisions), "nothing is written twice"
        assert {int.from_bytes(one.trace_id, "big") for one in decisions if not one.revision} == made.traces
        other = await undisturbed(rig, made)
        assert by_revision(decisions) == by_revision(other.decisions())
        assert totals(rig) == totals(other)
        assert sum(row.traces for row in rig.traffic()) == len(made.traces)
        assert kills > 3
        assert Counter(one.trigger for one in decisions)[Trigger.LATE] > 5


@pytest.mark.parametrize("name", ["default", "strata", "cap"])
async def test_how_soon_a_sampler_gets_to_work_changes_nothing(tmp_path: Path, name: str) -> None:
    """What comes while a trace waits for its decision counts as late, as if it had been decided at once."""
    made = mix(250, 5, SECONDS, sessions=0)
    async with running(tmp_path / "late", Traces(), SAMPLINGS[name]) as rig:
        assert await play_and_kill(rig, made, 5, keep, diligence=0.05) > 3
        other = await undisturbed(rig, made)
        assert by_revision(rig.decisions()) == by_revision(other.decisions())
        assert totals(rig) == totals(other)


async def test_a_stop_at_any_moment_is_no_different_from_a_kill(tmp_path: Path) -> None:
    made = mix(150, 9, 60)
    async with running(tmp_path / "stopped") as rig:
        for index, (at, items) in enumerate(made.requests):
            await rig.work(at)
            await rig.send(at, *items)
            if index % 10 == 0:
                await rig.sampler.close()
                await rig.restart(at)
                if index % 20 == 0:  # at once again
                    await rig.sampler.close()
                    await rig.restart(at)
        await finish(rig, made)
        other = await undisturbed(rig, made)
        assert by_revision(rig.decisions()) == by_revision(other.decisions())
        assert len(rig.decisions()) == len(other.decisions())
        assert totals(rig) == totals(other)


@pytest.mark.parametrize("checkpoint_is_lost", [False, True])
async def test_a_stop_writes_the_counts_of_its_minute_and_nothing_counts_twice(tmp_path: Path, checkpoint_is_lost: bool) -> None:
    async with running(tmp_path, Traces(quiet_period=PositiveDuration(2))) as rig:
        for trace in (1, 2, 3):
            await rig.send(0.5 + trace, chat(trace))
        await rig.work(10)
        await rig.sampler.save()
        before = rig.checkpoint.read_bytes()
        await rig.send(11, chat(4))
        await rig.work(20)
        assert rig.traffic() == []
        await rig.sampler.close()
        assert sum(row.traces for row in rig.traffic()) == 4
        await rig.kill()
        if checkpoint_is_lost:
            rig.checkpoint.write_bytes(before)
        await rig.start(25)
        await rig.send(26, chat(5))
        await rig.work(40)
        await rig.sampler.close()
        assert sum(row.traces for row in rig.traffic()) == 5
        await rig.restart(45)
        await rig.work(130)
        assert sum(row.traces for row in rig.traffic()) == 5
        assert {len(rows) for rows in by_flush(rig).values()} <= {1}, "a later write would replace an earlier one"


def by_flush(rig: Rig) -> dict[tuple[object, ...], list[Traffic]]:
    found: dict[tuple[object, ...], list[Traffic]] = {}
    for row in rig.traffic():
        found.setdefault((*row.cell(), row.flushed), []).append(row)
    return found


async def test_a_start_that_fails_halfway_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    """What was written after that one is known to the next start, and not written again."""
    async with running(tmp_path) as rig:
        await rig.send(0, chat(1))
        await rig.work(1)
        await rig.sampler.save()
        saved = rig.checkpoint.read_bytes()
        await rig.work(130)
        await rig.kill()
        rig.open(140)
        await rig.sampler.close()
        assert rig.checkpoint.read_bytes() == saved
        await rig.restart(150)
        await rig.work(300)
        assert [(one.revision, one.trigger) for one in rig.decisions()] == [(0, Trigger.ROOT)]
        assert [row.traces for row in rig.traffic()] == [1]


async def test_what_a_power_failure_took_of_the_journal_is_no_obstacle(tmp_path: Path) -> None:
    """The checkpoint is on the disk, and the end of what it tells of is not."""
    async with running(tmp_path) as rig:
        await rig.send(0, chat(1))
        await rig.work(3)
        await rig.send(4, chat(2))
        await rig.send(4, span({**CHAT, "text": "x" * 1000}, trace=3, parent=9))
        await rig.sampler.close()
        await rig.kill()
        for kind in ("traces", "ledger"):
            (file,) = (tmp_path / kind).iterdir()
            file.write_bytes(file.read_bytes()[: -20 if kind == "ledger" else -500])
        await rig.start(5)
        await rig.send(6, chat(4))
        await rig.work(200)
        last = rig.last()
        assert (last[4].whole, last[4].spans, last[4].pi) == (True, 1, 0.02)
        assert (last[3].whole, last[3].unread, last[3].eligible) == (False, True, True)
        assert last[2].whole


async def test_feedback_after_a_replay_is_not_taken_for_a_decision_that_was_written(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.send(0, chat(1))
        await rig.work(3)
        await rig.send(5, span(CHAT, identity=2, parent=1, failed=True))
        await rig.work(9)
        await rig.restart(10)
        await rig.send(12, said("feedback", 0, 1, value=0.0))
        await rig.work(20)
        assert [(one.revision, one.trigger, one.pi) for one in rig.decisions()] == [
            (0, Trigger.ROOT, 0.02),
            (1, Trigger.LATE, 1.0),
            (2, Trigger.FEEDBACK, 1.0),
        ]


async def test_a_restart_long_after_a_window_of_the_cap_counts_what_stands_in_it_once(tmp_path: Path) -> None:
    """The late window of the trace has ended when the cap's window is closed at last."""
    capped = Sampling(cap=Cap(per_minute=100, window=PositiveDuration(60)))
    async with running(tmp_path, Traces(), capped) as rig:
        await rig.send(0, chat(1))
        await rig.work(61)
        await rig.send(70, span(CHAT, identity=2, parent=1, failed=True))
        await rig.work(80)
        await rig.sampler.close()
        await rig.restart(5000)
        await rig.work(5100)
        assert [(one.revision, one.pi) for one in rig.decisions()] == [(0, 0.02), (1, 1.0)]
        assert rig.sums("signal_class") == {("model_error",): 1}


async def test_huge_numbers_in_traces_stop_neither_the_ledger_nor_the_checkpoint(tmp_path: Path) -> None:
    """Everything here is a number or a text that a sender may choose."""
    hostile = {
        **CHAT,
        "gen_ai.usage.input_tokens": "1e300",
        "gen_ai.usage.output_tokens": 2**63 - 1,
        "gen_ai.usage.cost": 1e300,
        "gen_ai.prompt.version": r"\ud800" * 200,
        "session.id": "s\0" * 10_000,
        "gen_ai.input.messages": r'[{"role": "user", "content": "\ud800 \u0000 half"}]',
        "gen_ai.conversation.id": "c" * 100_000,
    }
    async with running(tmp_path) as rig:
        for number in range(1, 9):
            await rig.send(number, span(hostile, trace=number, duration_ms=1e13, resource={"service.name": "s" * 100_000}))
        await rig.send(9, said("outcome", 1, id="i" * 10_000, success=False, score=1e308, goal_id=r"\ud800"))
        await rig.work(130)
        await rig.sampler.save()
        await rig.restart(131)
        await rig.work(200)
        assert sorted(rig.last()) == list(range(1, 9))
        assert sum(row.traces for row in rig.traffic()) == 8
        assert len(rig.ledger()) < 40


def by_revision(decisions: list[Decided]) -> dict[tuple[bytes, int], Decided]:
    return {(one.trace_id, one.revision): one for one in decisions}
