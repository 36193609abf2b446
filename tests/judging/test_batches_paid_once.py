"""What was paid for is used: no answer of a batch, or in place of one, is asked for again."""

import asyncio
import time
from pathlib import Path

import pytest

from otel_eval.judging.scores import State
from otel_eval.standin import Behaviour, Fault, Kind, StandIn
from tests.judging.pool_setup import rig
from tests.judging.test_batches import JUDGE, direct, hardly_any_wait, rows, sent, settled, waiting

pytestmark = pytest.mark.usefixtures(hardly_any_wait.__name__)


async def test_what_a_batch_has_is_not_asked_again_when_verdicts_are_wanted_now(tmp_path: Path) -> None:
    async with StandIn(Behaviour(batch_s=0.5)) as api:
        async with rig(tmp_path, api, evaluators=JUDGE) as made:
            await made.queue.enqueue_many(waiting(1, 2))
            async with made.working(), asyncio.timeout(10):
                while not sent(api):
                    await asyncio.sleep(0.01)
        async with rig(tmp_path, api, evaluators=["task_completion"]) as made:
            judged = await made.judged(*waiting(3), count=3)
            assert {one.state for one in judged} == {State.SCORED}
            assert (sent(api), direct(api)) == ([2], 1), "only what was not asked before is asked now"
            await settled(made, api.engine.spent_usd, 3)
            assert rows(made) == []


async def test_an_answer_that_cannot_be_kept_is_not_paid_for_again(tmp_path: Path) -> None:
    full = "CREATE TEMP TRIGGER f BEFORE UPDATE ON question WHEN new.state = 'answered' BEGIN SELECT RAISE(ABORT, 'full'); END"
    async with StandIn() as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        assert made.batches is not None
        await made.batches._file.use(lambda file: file._db.execute(full))
        api.script.append(Fault(kind=Kind.EXPIRED))
        (one,) = await made.judged(*waiting(1))
        assert (one.state, sent(api), direct(api)) == (State.SCORED, [1], 1)


@pytest.mark.parametrize("state", ["waiting", "sent"])
async def test_a_clock_that_goes_back_a_day_does_not_hold_questions_up_for_a_day(tmp_path: Path, state: str) -> None:
    offset_s = 0.0
    async with StandIn(Behaviour(batch_s=1.0)) as api, rig(tmp_path, api, evaluators=JUDGE) as made:
        assert made.batches is not None
        made.batches._clock = made.batches._sender._clock = lambda: time.time() + offset_s
        await made.queue.enqueue_many(waiting(1, 2))
        async with made.working():
            async with asyncio.timeout(10):
                while [row[1:] for row in rows(made)].count((state,)) < 2 or (await made.queue.stats()).claimed:
                    await asyncio.sleep(0.01)
            offset_s = -86_400.0
            judged = await made.ended(2)
        assert [one.state for one in judged] == [State.SCORED] * 2
        assert (sent(api), direct(api)) == ([2], 0)
