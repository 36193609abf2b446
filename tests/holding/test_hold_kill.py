"""`kill -9` of a hop that holds roots, at random moments: each goes on once, with its scores or before them.

By hand for larger figures: `python -m tests.holding.test_hold_kill TRACES KILLS`.
"""

import asyncio
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from otel_eval.judging import emit
from otel_eval.records import Kind
from otel_eval.standin import Behaviour, Latency, StandIn
from otel_eval.standin import Kind as FaultKind
from otel_eval.wire import lens
from tests.chaos.load import delivered
from tests.chaos.test_judging_kill import at_its_end, judgements
from tests.conftest import StartProcess
from tests.holding import agent
from tests.hop import HopProcess, otlp_to, settings
from tests.judging.pool_setup import RUBRIC
from tests.sink import Sink

SLOW = Behaviour(latency=Latency(median_s=0.3, sigma=1.2), faults={FaultKind.OVERLOADED: 0.02, FaultKind.REFUSAL: 0.05})


def sections(api: StandIn) -> dict[str, Any]:
    return {
        "traces": {"quiet_period": "200ms"},
        "sampling": {"baseline": {"rate": 0.7}},
        "emit": {"mode": "hold", "hold_timeout": "3s"},
        "judging": {
            "provider": {"api_key": "any", "base_url": api.url},
            "evaluators": ["answered", RUBRIC],
            "limits": {"max_rate_limit_share": 1},
        },
    }


async def under_kills(hop: HopProcess, traces: int, kills: int) -> agent.Seen:
    """Send and kill, until all is delivered; gives what was sent."""
    chance = random.Random(f"{traces} {kills}")
    sending = asyncio.create_task(asyncio.to_thread(agent.send, hop.grpc, traces, 0.02))
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.3, 2.0))
        await hop.kill()
        await hop.start()
    sent = await sending
    await _settled(hop)
    sent += await asyncio.to_thread(agent.send, hop.grpc, 20)  # which find judges that have nothing else to do
    await _settled(hop)
    await delivered(hop)
    return agent.seen(sent)


async def _settled(hop: HopProcess) -> None:
    async with asyncio.timeout(120):
        while await hop.metric("judging_spans_held") or not await at_its_end(hop):
            await asyncio.sleep(0.2)


def check(hop: HopProcess, sink: Sink, sent: agent.Seen) -> str:
    """The promises; gives a report."""
    found, recorded = agent.at(sink), judgements(hop)
    assert found.roots.keys() == sent.roots.keys(), "none is lost"
    for span_id, contents in found.roots.items():
        assert len(set(contents)) == 1, "and none is sent with two contents"
        assert contents[0].startswith(sent.roots[span_id][0])
    assert {one: set(contents) for one, contents in found.children.items()} == {
        one: set(contents) for one, contents in sent.children.items()
    }
    assert set(Counter((one.job, score.name) for one in recorded for score in one.scores).values()) == {1}
    scores = Counter((bytes.fromhex(one.trace_id), score.name) for one in recorded for score in one.scores)
    assert found.scored | found.followed == set(scores), "all that was recorded came, in one of two forms"
    late = {score for score, number in scores.items() if number > 1}  # a kill has parted a trace: it was judged again
    assert found.scored & found.followed <= late
    events = {item for one in recorded for item in lens.items(emit.events(one))}
    assert set(sink.items(Kind.LOGS)) == events
    again = sum(len(contents) - 1 for contents in found.roots.values())
    told = f"{len(found.scored)} scores with their root, {len(found.followed)} after it"
    return f"{len(found.roots)} roots, {len(recorded)} judged, {told}, {again} roots sent again with the same bytes"


async def test_each_root_goes_on_once_whenever_the_hop_is_killed(start_process: StartProcess, sink: Sink) -> None:
    async with StandIn(SLOW) as api:
        hop = await start_process({"otlp": otlp_to(sink.grpc_port)}, **sections(api))
        sent = await under_kills(hop, traces=100, kills=3)
        print(check(hop, sink, sent))
        assert agent.at(sink).scored, "the last ones have time for it"


async def by_hand(traces: int, kills: int) -> None:
    sink = await Sink().start()
    async with StandIn(SLOW) as api:
        with tempfile.TemporaryDirectory() as directory:
            hop = HopProcess(Path(directory), settings(Path(directory), {"otlp": otlp_to(sink.grpc_port)}, **sections(api)))
            await hop.start()
            print(check(hop, sink, await under_kills(hop, traces, kills)))
            await hop.kill()
    await sink.stop()


if __name__ == "__main__":
    asyncio.run(by_hand(int(sys.argv[1]), int(sys.argv[2])))
