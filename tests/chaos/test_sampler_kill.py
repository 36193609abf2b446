"""`kill -9` of the hop at random moments under load: what the sampler decides is what the journal says, once.

What it is compared with is a sampler that has nothing but the requests that the killed hop has journaled. Run with `-s`
to see the figures.
"""

import asyncio
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from otel_eval.config import load
from otel_eval.holding import HeldSpans
from otel_eval.journal import Journal, stored_bodies
from otel_eval.records import Kind, OwnKind, Sync
from otel_eval.sampling.ledger import Decided, Entry, Traffic, decode
from otel_eval.sampling.tail import TailSampler
from otel_eval.telemetry import Metrics
from otel_eval.traces.entry import Trigger
from otel_eval.wire import lens
from tests.conftest import StartProcess
from tests.hop import HopProcess, otlp_to
from tests.sampling.rig import CHAT, said
from tests.sink import Sink
from tests.spans import log_request, span, trace_request

TRACES = {"quiet_period": "300ms", "idle_timeout": "1s", "late_window": "60s"}
SAMPLING = {
    "baseline": {"rate": 0.3},
    "strata": {"by": ["service.name"], "target_per_day": 500},
    "cap": {"per_minute": 120, "window": "2s"},
}
KILLS = 4
_RECONNECT_FAST = [(f"grpc.{name}_reconnect_backoff_ms", 50) for name in ("initial", "min", "max")]


class Load:
    """Agents whose spans come in several requests, some of them late, twice, or without a root, and with feedback."""

    def __init__(self, seed: str) -> None:
        self.stopping = False
        self.acknowledged: set[int] = set()
        self._chance = random.Random(seed)

    async def run(self, hop: HopProcess) -> None:
        """Until `stopping`. A request that the hop's death cuts off is not sent again."""
        async with grpc.aio.insecure_channel(hop.grpc, _RECONNECT_FAST) as channel, asyncio.TaskGroup() as agents:
            while not self.stopping:
                agents.create_task(self._agent(channel))
                await asyncio.sleep(0.03)

    async def _agent(self, channel: grpc.aio.Channel) -> None:
        chance = self._chance
        number = chance.getrandbits(128)
        failed = True if chance.random() < 0.1 else None
        resource = {"service.name": f"service-{chance.randrange(3)}"}
        spans = [span(CHAT, trace=number, resource=resource, failed=failed)]
        spans += [span({"n": n}, trace=number, identity=n + 2, parent=1, resource=resource) for n in range(3)]
        for made in spans[chance.random() < 0.1 :]:
            await asyncio.sleep(chance.choice([0, 0, 0.05, 0.2, 0.8]))
            if await _sent(channel, Kind.TRACES, trace_request([made] * chance.choice([1, 1, 1, 2]))):
                self.acknowledged.add(number)
        if chance.random() < 0.1:
            await _sent(channel, Kind.LOGS, log_request([said("feedback", number, value=0.0, id=f"{number}")]))


async def _sent(channel: grpc.aio.Channel, kind: Kind, body: bytes) -> bool:
    """Whether it was acknowledged; waits while the hop is away."""
    export: Any = channel.unary_unary(f"/{kind.service}/Export")
    try:
        await export(body, wait_for_ready=True, timeout=60)
    except grpc.aio.AioRpcError as error:
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            raise  # a sender would drop its data
        return False
    return True


@pytest.mark.slow
async def test_a_killed_hop_decides_what_its_journal_says(sink: Sink, start_process: StartProcess, tmp_path: Path) -> None:
    hop = await start_process({"otlp": otlp_to(sink.grpc_port)}, traces=TRACES, sampling=SAMPLING)
    chance = random.Random("killed")
    traffic = Load("killed")
    directory = tmp_path / "journal"
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run(hop))
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.1, 0.9))
            await hop.kill()
            if chance.random() < 0.5:
                (directory / "sampler.checkpoint").unlink(missing_ok=True)
            await hop.start()
            if chance.random() < 0.4:  # a checkpoint is written when a hop is stopped
                await hop.stop()
                await hop.start()
        traffic.stopping = True
    await asyncio.sleep(1.5)
    await hop.kill()
    assert "Traceback" not in hop.log()

    shutil.copytree(directory / "traces", tmp_path / "undisturbed" / "traces")
    shutil.copytree(directory / "logs", tmp_path / "undisturbed" / "logs")
    before = len(decisions(ledger(directory)))
    killed = await finished(tmp_path, directory)
    undisturbed = await finished(tmp_path, tmp_path / "undisturbed")
    assert by_revision(killed) == by_revision(undisturbed)
    assert totals(killed) == totals(undisturbed)
    journaled = {lens.span(raw).trace_id for body in stored_bodies(directory, Kind.TRACES) for raw in lens.items(bytes(body))}
    assert {number.to_bytes(16, "big") for number in traffic.acknowledged} <= journaled
    first = [one.trace_id for one in decisions(killed) if not one.revision]
    assert sorted(first) == sorted(journaled), "each once"
    assert len(by_revision(killed)) == len(decisions(killed)), "none twice"
    assert sum(entry.traces for entry in killed if isinstance(entry, Traffic)) == len(journaled)
    triggers = Counter(str(one.trigger) for one in decisions(killed))
    assert len(journaled) > 100
    assert min(triggers[trigger] for trigger in (Trigger.ROOT, Trigger.LATE, Trigger.IDLE, Trigger.FEEDBACK)) > 0
    assert before > len(journaled) // 2, "the hop itself has decided most of them"
    print(f"{KILLS} kills, {len(journaled)} traces, {dict(triggers)}")


async def finished(tmp_path: Path, directory: Path) -> list[Entry]:
    """The whole ledger, after a sampler has gone on with what is in the directory until nothing is left to do."""
    config = load(str(tmp_path / "config.yaml")).config
    metrics, journal = Metrics(), Journal(directory, 1 << 30, Sync.NEVER)
    sampler = TailSampler(config.traces, config.sampling, journal, metrics, directory, HeldSpans(journal, metrics, config.emit))
    await sampler.prepare()
    now = journal.clock.now()
    for seconds in (100, 200):
        journal.clock.start_after(now + seconds * 10**9)
        await sampler.work()
    assert len(sampler.table.open) + len(sampler.table.due) == 0
    await journal.close()
    metrics.close()
    return ledger(directory)


def ledger(directory: Path) -> list[Entry]:
    return [entry for body in stored_bodies(directory, OwnKind.LEDGER) for entry in decode(body)]


def decisions(entries: list[Entry]) -> list[Decided]:
    return [entry for entry in entries if isinstance(entry, Decided)]


def by_revision(entries: list[Entry]) -> dict[tuple[bytes, int], Decided]:
    return {(one.trace_id, one.revision): one for one in decisions(entries)}


def totals(entries: list[Entry]) -> dict[tuple[object, ...], dict[str, int]]:
    found: dict[tuple[object, ...], Counter[str]] = {}
    for row in (entry for entry in entries if isinstance(entry, Traffic)):
        total = found.setdefault(row.cell(), Counter())
        for name in ("traces", "chosen", "spans", "errors"):
            total[name] += getattr(row, name)
    return {cell: {name: n for name, n in total.items() if n} for cell, total in found.items() if any(total.values())}
