"""A judge that is slower than what is chosen, until the queue is full: nothing but the judging waits for it."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otel_eval.journal import stored_bodies
from otel_eval.judging import scores
from otel_eval.judging.scores import State
from otel_eval.records import Kind, OwnKind
from otel_eval.sampling import ledger
from otel_eval.service import Service
from otel_eval.standin import Behaviour, Latency, Limits, StandIn
from otel_eval.standin import Kind as FaultKind
from tests import spans
from tests.conftest import StartHop
from tests.hop import otlp_to
from tests.judging.pool_setup import RUBRIC
from tests.sink import Sink

TRACES = 55
"""Of 26 kB each, compressed: the queue holds 40 of them."""

LIMITS = Limits(requests=10**5, input_tokens=10**9, output_tokens=10**9)
SLOW, QUICK = (Behaviour(latency=Latency(median_s=median_s, sigma=0.0), limits=LIMITS) for median_s in (5.0, 0.01))


async def a_hop(start_hop: StartHop, sink: Sink, api: StandIn, late_window: str = "15m", **sections: Any) -> Service:
    """It judges everything, with a small queue."""
    return await start_hop(
        {"otlp": otlp_to(sink.grpc_port)},
        traces={"quiet_period": "50ms", "late_window": late_window},
        sampling={"baseline": {"rate": 1.0}},
        judging={
            "provider": {"api_key": "any", "base_url": api.url},
            "evaluators": [RUBRIC],
            "queue": {"max_size_mib": 1},
            "workers": 1,
            "limits": {"max_rate_limit_share": 1},
        },
        **sections,
    )


async def a_hop_with_a_full_queue(start_hop: StartHop, sink: Sink, api: StandIn, late_window: str) -> Service:
    """It has decided about all traces, and its queue has no room for some."""
    hop = await a_hop(start_hop, sink, api, late_window)
    for number in range(1, TRACES + 1):
        await hop._intake.accept(Kind.TRACES, trace(number), "grpc")
    assert hop._sampler is not None
    assert hop._judging is not None
    waiting = hop._sampler._handing_over
    await until(lambda: waiting._told)
    hop._judging._stats = await hop._judging._queue.stats()
    assert hop._judging.pressure() >= 80, "the next minute's rates are lower"
    await until(lambda: len(decided(hop)) == TRACES)
    assert waiting.waiting
    return hop


def trace(number: int) -> bytes:
    """A model call with 40 kB of text that can hardly be compressed."""
    attributes = {"gen_ai.operation.name": "chat"}
    for key, role in (("input", "user"), ("output", "assistant")):
        said = [{"role": role, "parts": [{"type": "text", "content": os.urandom(10_000).hex()}]}]
        attributes[f"gen_ai.{key}.messages"] = json.dumps(said)
    return spans.trace_request([spans.span(attributes, trace=number)])


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not reached():
            await asyncio.sleep(0.1)


def directory(hop: Service) -> Path:
    return Path(hop._config.journal.directory)


def decided(hop: Service) -> set[bytes]:
    """The chosen traces, as the ledger has them."""
    entries = (one for body in stored_bodies(directory(hop), OwnKind.LEDGER) for one in ledger.decode(body))
    return {one.trace_id for one in entries if isinstance(one, ledger.Decided) and one.chosen}


def ends(hop: Service) -> list[tuple[str, State]]:
    found = (scores.decode(body) for body in stored_bodies(directory(hop), OwnKind.EVALUATIONS))
    return [(one.trace_id, one.state) for one in found if one is not None]


async def test_while_the_queue_is_full_deciding_goes_on_and_later_all_are_judged(start_hop: StartHop, sink: Sink) -> None:
    async with StandIn(SLOW) as api:
        hop = await a_hop_with_a_full_queue(start_hop, sink, api, "15m")
        assert hop._sampler is not None
        before = hop._sampler._retention.held[Kind.TRACES]
        await hop._sampler.save()
        assert hop._sampler._retention.held[Kind.TRACES] > before, "the journal is not kept for it"
        api.behaviour = QUICK
        await until(lambda: len(ends(hop)) == TRACES)
        assert {state for _, state in ends(hop)} == {State.SCORED}
        assert len(set(ends(hop))) == TRACES


async def test_what_finds_no_room_until_it_is_forgotten_ends_as_that(start_hop: StartHop, sink: Sink) -> None:
    async with StandIn(SLOW) as api:
        hop = await a_hop_with_a_full_queue(start_hop, sink, api, "1s")
        await until(lambda: bool(ends(hop)))
        api.behaviour = QUICK
        await until(lambda: len(ends(hop)) == TRACES)
        assert {state for _, state in ends(hop)} == {State.SCORED, State.DROPPED_BACKPRESSURE}
        await until(lambda: hop._judging is not None and not hop._judging._publisher._written)  # nor any other trace of it
        assert len({trace for trace, _ in ends(hop)}) == TRACES


async def test_however_long_a_judge_is_down_nobody_is_refused(start_hop: StartHop, sink: Sink, tmp_path: Path) -> None:
    journal = {"directory": str(tmp_path / "journal"), "max_size_mib": 16}
    async with StandIn(Behaviour(faults={FaultKind.HANG: 1.0})) as api:
        hop = await a_hop(start_hop, sink, api, journal=journal)
        for number in range(1, 701):
            await hop._intake.accept(Kind.TRACES, trace(number), "grpc")  # raises when there is no room
            if number % 20 == 0:
                await sink.wait_for_items(number)
                await asyncio.sleep(0.1)
