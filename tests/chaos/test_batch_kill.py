"""`kill -9` of a hop whose verdicts may wait: each question is billed once, and each chosen trace comes to its ends."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from otel_eval.standin import Behaviour, Latency, StandIn
from otel_eval.standin.verdict import Judgement
from tests.chaos import test_judging_kill as killing
from tests.conftest import StartProcess
from tests.hop import otlp_to
from tests.sink import Sink

TRACES, KILLS = 12, 3


class Counting:
    """The stand-in's verdicts, and how often each text was judged."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._verdict = Judgement()

    def __call__(self, material: str, instructions: str, schema: dict[str, Any]) -> dict[str, Any]:
        self.asked[material] += 1
        return self._verdict(material, instructions, schema)


@pytest.mark.slow
async def test_no_question_of_a_batch_is_lost_or_billed_twice(sink: Sink, start_process: StartProcess) -> None:
    """The provider tells a batch's id so late that most kills come before it is known."""
    verdict = Counting()
    behaviour = Behaviour(batch_s=1.0, latency=Latency(median_s=1.0, sigma=0.0))
    async with StandIn(behaviour, seed=3, verdict=verdict) as api:
        judging = killing.judging(api) | {"evaluators": ["answered", {"rubric": "task_completion"}], "freshness": "300ms"}
        judging["provider"] = judging["provider"] | {"timeout": "10s"}
        sections: dict[str, Any] = {"traces": {"quiet_period": "200ms"}, "sampling": {"baseline": {"rate": 1.0}}}
        hop = await start_process({"otlp": otlp_to(sink.grpc_port)}, judging=judging, **sections)
        chance, unknown = random.Random(11), 0
        for number in range(KILLS):
            await asyncio.to_thread(killing.send, hop.grpc, TRACES, number * TRACES)
            async with asyncio.timeout(20):
                while not killing.unknown_batches(hop):
                    await asyncio.sleep(0.05)
            await asyncio.sleep(chance.uniform(0, 1.2))
            await hop.kill()
            unknown += killing.unknown_batches(hop) > 0
            await hop.start()
        async with asyncio.timeout(100):
            while not await killing.at_its_end(hop):
                await asyncio.sleep(0.3)
        judged = [one for one in killing.judgements(hop) if one.job.endswith(":300ms")]
        assert set(Counter(one.job for one in killing.judgements(hop)).values()) == {1}, "a job has one state"
        assert {one.trace_id for one in judged} == killing.chosen(hop)
        assert {str(one.state) for one in judged} == {"scored"}
        assert set(verdict.asked.values()) == {1}, "nothing is billed twice"
        assert len(verdict.asked) == len(judged) == KILLS * TRACES
        assert not any(one.path == "/v1/messages" for one in api.seen)
        assert api.engine.spent_usd <= killing.booked_usd(hop) + 1e-12
        print(f"{KILLS} kills, {unknown} of them with a batch of which the hop did not know; {len(judged)} verdicts")
        assert unknown, "no kill came at the moment that this is about"
        assert "Traceback" not in hop.log()
