"""What the pool does once and only once, whatever dies, fills up or takes long."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from otel_eval.config.models import Config, JournalConfig
from otel_eval.judging import emit, pool, scores
from otel_eval.judging.config import Judging
from otel_eval.judging.running import RunningJudging
from otel_eval.judging.scores import Judgement, State
from otel_eval.records import Kind, OwnKind
from otel_eval.scrub.config import ScrubConfig
from otel_eval.standin import Fault, StandIn
from otel_eval.standin import Kind as Wrong
from tests.judging.judges import error
from tests.judging.pool_setup import RUBRIC, bodies, decided, job, rig, stored

JUDGE = [RUBRIC]


@pytest.fixture(autouse=True)
def hardly_any_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_FULL_WAIT_S", 0.05)


async def test_what_was_written_but_not_acknowledged_is_not_written_again(tmp_path: Path) -> None:
    """A crash between record and acknowledgement: the job comes again, and what has gone out does not."""
    async with StandIn() as api:
        async with rig(tmp_path, api) as first:
            await first.queue.enqueue_many([job(1)])
            (claim,) = await first.queue.claim(1, 60)
            written = await first.publisher.publish(await first.pool._judgement(claim))
        async with rig(tmp_path, api) as second:
            (one,) = await second.judged(count=1)
            assert one == written
            assert list(second.sent().values()) == [1, 1]
            assert len(bodies(second.journal, Kind.LOGS)) == 1
            assert api.answered[200] == 1
            assert (await second.queue.stats()).waiting == dict.fromkeys(range(4), 0)


@pytest.mark.parametrize("spans_went_out", [False, True])
async def test_what_a_crash_kept_from_going_out_goes_out_then(tmp_path: Path, spans_went_out: bool) -> None:
    async with StandIn() as api:
        async with rig(tmp_path, api) as first:
            await first.queue.enqueue_many([job(1)])
            (claim,) = await first.queue.claim(1, 60)
            logs = first.journal.logs
            at = {"spans_at": logs[Kind.TRACES].end, "events_at": logs[Kind.LOGS].end}
            made = replace(await first.pool._judgement(claim), **at)
            first.journal.append(OwnKind.EVALUATIONS, scores.encode(made), 2)
            if spans_went_out:
                first.journal.append(Kind.TRACES, emit.spans(made), 2)
        async with rig(tmp_path, api) as second:
            for kind in (Kind.TRACES, Kind.LOGS):
                second.journal.append(kind, b"", 1)  # what others send in between
            await second.judged(count=1)
            assert list(second.sent().values()) == [1, 1]
            assert bodies(second.journal, Kind.LOGS) == [b"", emit.events(made)]


async def test_two_who_have_the_same_job_write_one_record(tmp_path: Path) -> None:
    """A lease that ran out while its worker was still at it."""
    async with rig(tmp_path, evaluators=["answered"]) as made:
        await made.queue.enqueue_many([job(1)])
        (late,) = await made.queue.claim(1, 0.01)
        await asyncio.sleep(0.02)
        (other,) = await made.queue.claim(1, 60)
        await made.pool._work(late)
        await made.pool._work(other)
        assert len(made.judgements()) == 1
        assert list(made.sent().values()) == [1]
        assert not (await made.queue.stats()).claimed


async def test_a_dead_letter_that_died_between_record_and_queue_is_put_aside_not_lost(tmp_path: Path) -> None:
    async with rig(tmp_path) as first:
        await first.queue.enqueue_many([replace(job(1), body=b"no job")])
        (claim,) = await first.queue.claim(1, 60)
        await first.publisher.publish(await first.pool._judgement(claim))
    async with rig(tmp_path) as second:
        (one,) = await second.judged(count=1)
        stats = await second.queue.stats()
        assert (one.state, stats.dead, sum(stats.waiting.values())) == (State.DEAD_LETTER, 1, 0)


async def test_a_dead_letter_that_is_retried_is_judged_anew(tmp_path: Path) -> None:
    async with StandIn() as api:
        async with rig(tmp_path, api) as first:
            api.script.append(error(400, "invalid_request_error"))
            (dead,) = await first.judged(job(1))
            assert await first.queue.retry([dead.job]) == []
        async with rig(tmp_path, api) as second:
            before, after = await second.judged(count=2)
            assert (before.state, after.state, before.job) == (State.DEAD_LETTER, State.SCORED, after.job)


async def test_a_full_journal_holds_the_result_and_loses_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, evaluators=["answered"], journal_bytes=1 << 20) as made:
        budget = made.journal.budget
        used, budget.used = budget.used, budget.limit
        await made.queue.enqueue_many([job(1)])
        async with made.working():
            await asyncio.sleep(0.5)
            assert (made.judgements(), (await made.queue.stats()).claimed) == ([], 1)
            budget.used = used
            (one,) = await made.ended(1)
        assert (one.state, one.tries) == (State.SCORED, 1)


async def test_a_lease_is_extended_as_long_as_the_work_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_LEASE_S", 0.3)
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        api.script.append(Fault(kind=Wrong.DRIP, seconds=1.2))
        (one,) = await made.judged(job(1))
        assert (one.tries, len(api.seen)) == (1, 1)


async def test_the_pool_stops_at_once_and_gives_back_what_it_had(tmp_path: Path) -> None:
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        api.script.append(Fault(kind=Wrong.HANG))
        await made.queue.enqueue_many([job(1)])
        async with made.working(), asyncio.timeout(10):
            while not api.seen:
                await asyncio.sleep(0.01)
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        (again,) = await made.queue.claim(1, 60)
        assert (again.ending, again.tries) == (None, 1)


async def test_a_trace_too_large_for_the_queue_ends_as_that(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        for _ in range(2):  # whoever chose it is not sure after a crash, and asks again
            config = Config(
                judging=Judging(evaluators=("answered",)),
                scrub=ScrubConfig(),
                journal=JournalConfig(directory=tmp_path / "other"),
            )
            running = RunningJudging(config, "c.yaml", made.journal, made.metrics)
            running._queue._writer._store._jobs._max_bytes = 1000
            await running.judge(decided(1), [stored(1)])
            await running.stop()
        (one,) = made.judgements()
        assert (one.state, one.pi, one.job) == (State.TOO_LARGE, 0.25, f"{1:032x}:trace:0")


async def test_records_are_found_again_in_a_long_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at after a crash begins at a record, not in the middle of one."""
    monkeypatch.setattr("otel_eval.judging.publishing._LOOK_BACK_BYTES", 1000)
    async with rig(tmp_path, evaluators=["answered"], journal_bytes=2 << 20) as made:
        for number in range(600):
            padding = Judgement(job=f"{number}", trace_id="", revision=0, state=State.SCORED, time_ns=0, reason="x" * 300)
            made.journal.append(OwnKind.EVALUATIONS, scores.encode(padding), 1)
        await made.queue.enqueue_many([job(1)])
        (claim,) = await made.queue.claim(1, 60)
        written = await made.publisher.publish(await made.pool._judgement(claim))
    async with rig(tmp_path, evaluators=["answered"], journal_bytes=2 << 20) as made:
        assert made.publisher.found(claim.job) == written
        assert made.journal.logs[OwnKind.EVALUATIONS].damage.value == 0
