"""`emit.mode: hold` in a real hop: the root of a chosen trace goes on once, with its scores if they are there in time."""

import asyncio
from pathlib import Path
from typing import Any

from otel_eval.journal import stored_bodies
from otel_eval.judging import emit
from otel_eval.records import Kind, OwnKind
from otel_eval.standin import Behaviour, Latency, StandIn
from otel_eval.standin import Kind as FaultKind
from tests import hop as hops
from tests.conftest import StartHop
from tests.exporters.backends import until
from tests.holding import agent
from tests.hop import otlp_to
from tests.judging.pool_setup import RUBRIC
from tests.sink import Sink

TRACES = 10
SILENT = Behaviour(faults={FaultKind.HANG: 1.0})


def sections(api: StandIn, hold_timeout: str = "60s", rate: float = 1.0) -> dict[str, Any]:
    return {
        "traces": {"quiet_period": "100ms"},
        "sampling": {"baseline": {"rate": rate}},
        "emit": {"mode": "hold", "hold_timeout": hold_timeout},
        "judging": {
            "provider": {"api_key": "any", "base_url": api.url, "timeout": "20s"},
            "evaluators": ["answered", RUBRIC],
            "max_attempts": 50,
        },
    }


def endpoint(hop: Any) -> str:
    return f"127.0.0.1:{hop.receivers['grpc'].port}"


async def test_a_root_comes_once_with_its_scores(start_hop: StartHop, sink: Sink) -> None:
    async with StandIn() as api:
        hop = await start_hop({"otlp": otlp_to(sink.grpc_port)}, **sections(api))
        sent = agent.seen(await asyncio.to_thread(agent.send, endpoint(hop), TRACES))
        await sink.wait_for_items(2 * TRACES)
        events = await sink.wait_for_items(2 * TRACES, Kind.LOGS)
        assert len(events) == 2 * TRACES, "one for each score"
        found = agent.at(sink)
        assert found.children == sent.children
        assert not found.evaluations, "a score does not stand beside itself"
        assert found.roots.keys() == sent.roots.keys()
        for span_id, contents in found.roots.items():
            (raw,), (original,) = contents, sent.roots[span_id]
            assert raw.startswith(original), "all that was sent, and the scores behind it"
            values = agent.scores(raw)
            assert values["otel_eval.score.answered"] == 1.0
            assert values["otel_eval.label.answered"] == "pass"
            assert isinstance(values["otel_eval.score.task_completion"], float)
            assert [event.name for event in agent.parsed(raw).events] == [emit.EVENT] * 2
        assert hop.metrics.counter("judging_spans_released", reason="scored").value == TRACES


async def test_without_an_answer_in_time_it_comes_unscored_and_the_score_follows(start_hop: StartHop, sink: Sink) -> None:
    async with StandIn(Behaviour(latency=Latency(median_s=2.0, sigma=0.0))) as api:
        hop = await start_hop({"otlp": otlp_to(sink.grpc_port)}, **sections(api, "500ms"))
        sent = agent.seen(await asyncio.to_thread(agent.send, endpoint(hop), TRACES))
        await sink.wait_for_items(2 * TRACES)
        assert agent.at(sink) == sent
        assert hop.metrics.counter("judging_spans_released", reason="timeout").value == TRACES
        await sink.wait_for_items(4 * TRACES)
        found = agent.at(sink)
        assert (found.roots, found.children) == (sent.roots, sent.children)
        traces = {agent.parsed(raw).trace_id for (raw,) in sent.roots.values()}
        assert found.followed == {(one, name) for one in traces for name in ("answered", "task_completion")}
        assert len(await sink.wait_for_items(2 * TRACES, Kind.LOGS)) == 2 * TRACES


async def test_what_is_not_chosen_is_not_held(start_hop: StartHop, sink: Sink) -> None:
    async with StandIn(SILENT) as api:
        hop = await start_hop({"otlp": otlp_to(sink.grpc_port)}, **sections(api, "10m", rate=1e-9))
        sent = agent.seen(await asyncio.to_thread(agent.send, endpoint(hop), TRACES))
        await sink.wait_for_items(2 * TRACES)
        assert agent.at(sink) == sent
        assert hop._held.waiting == 0


async def test_a_clean_stop_lets_all_go_on_and_a_start_sends_none_again(start_hop: StartHop, sink: Sink, tmp_path: Path) -> None:
    async with StandIn(SILENT) as api:
        config = hops.settings(tmp_path, {"otlp": otlp_to(sink.grpc_port)}, **sections(api, "10m"))
        hop = await hops.start_service(tmp_path, config)
        sent = agent.seen(await asyncio.to_thread(agent.send, endpoint(hop), TRACES))
        await sink.wait_for_items(TRACES)
        await until(lambda: hop._held.waiting == TRACES)
        assert agent.at(sink) == agent.Seen(children=sent.children), "children are not held"
        await hop.stop()
        assert agent.at(sink) == sent
        assert hop.metrics.counter("judging_spans_released", reason="shutdown").value == TRACES
        api.behaviour = Behaviour()
        hop = await hops.start_service(tmp_path, config)
        try:
            await sink.wait_for_items(4 * TRACES)
            found = agent.at(sink)
            assert (found.roots, found.children) == (sent.roots, sent.children)
            assert len(found.followed) == 2 * TRACES
        finally:
            await hop.stop(0)


async def test_what_was_held_goes_on_when_the_mode_was_changed(sink: Sink, tmp_path: Path) -> None:
    async with StandIn(SILENT) as api:
        config = hops.settings(tmp_path, {"otlp": otlp_to(sink.grpc_port)}, **sections(api, "10m"))
        hop = hops.HopProcess(tmp_path, config)
        await hop.start()
        sent = agent.seen(await asyncio.to_thread(agent.send, hop.grpc, TRACES))
        await sink.wait_for_items(TRACES)
        await hop.kill()
        hop.config["emit"] = {"mode": "separate"}
        await hop.start()
        async with asyncio.timeout(30):
            while agent.at(sink).roots.keys() != sent.roots.keys():  # counting is not enough: children may come again
                await asyncio.sleep(0.05)
        assert agent.at(sink).contents() == sent.contents()
        assert await hop.stop() == 0
        assert any(stored_bodies(tmp_path / "journal", OwnKind.HELD)), "what was held, and that it has gone on"
