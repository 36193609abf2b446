"""`kill -9` of the hop at random moments under load: what was acknowledged reaches the backend, whatever that does.

Run with `-s` to see the report.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otel_eval.config import load
from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.exporters.running import retry_dead_letters
from otel_eval.wire import lens
from tests.chaos.load import Load, behind, delivered
from tests.chaos.weather import Weather
from tests.conftest import StartProcess
from tests.hop import HopProcess, otlp_to
from tests.sink import Answer, Sink

# gRPC codes and HTTP statuses by what OTLP says of them; 16 and 401 are tried again, see otel_eval.exporters.
RETRYABLE = [Answer(code, 503) for code in (1, 4, 10, 11, 14, 15, 16)] + [Answer(8, 429, retry_after_s=0.05)]
PERMANENT = [Answer(code, 400) for code in (2, 3, 5, 6, 7, 8, 9, 12, 13)]
HTTP_RETRYABLE = [Answer(14, status) for status in (401, 429, 502, 503, 504)]
HTTP_PERMANENT = [Answer(3, status) for status in (400, 403, 404, 413, 500)]

ENOUGH = 40
"""So many refusals take four senders, each halving a batch, down to a dead letter when they wrongly count as final."""


@dataclass(frozen=True)
class Scenario:
    """What the backend does while the hop is killed (`kills` times at work); `refused` says that it refuses for good."""

    name: str
    kills: int
    weather: Callable[[Weather], Coroutine[Any, Any, None]]
    exporter: str = "otlp"
    sync: str = "interval"
    refused: bool = False


SCENARIOS = [
    Scenario("up", 3, lambda sky: sky.fair()),
    Scenario("down", 3, lambda sky: sky.outages(2.0, 0.2)),
    Scenario("flapping", 3, lambda sky: sky.outages(0.1, 0.2)),
    Scenario("slow", 2, lambda sky: sky.slowness(0.3)),
    Scenario("slower than the timeout", 2, lambda sky: sky.slowness(1.5)),
    Scenario("retryable", 5, lambda sky: sky.refusals(RETRYABLE, 1.0, 0.3, ENOUGH)),
    Scenario("permanent", 5, lambda sky: sky.refusals(PERMANENT, 0.5, 0.2), refused=True),
    Scenario("up, sync always", 2, lambda sky: sky.fair(), sync="always"),
    Scenario("flapping, sync always", 2, lambda sky: sky.outages(0.2, 0.2), sync="always"),
    Scenario("HTTP flapping", 2, lambda sky: sky.outages(0.2, 0.2), "otlp_http"),
    Scenario("HTTP retryable", 2, lambda sky: sky.refusals(HTTP_RETRYABLE, 1.0, 0.2, ENOUGH), "otlp_http"),
    Scenario("HTTP permanent", 2, lambda sky: sky.refusals(HTTP_PERMANENT, 0.5, 0.2), "otlp_http", refused=True),
]
_COLUMNS = "{:>24} {:>6} {:>7} {:>13} {:>9} {:>11} {:>14}"


@pytest.fixture(scope="module")
def report() -> Iterator[list[str]]:
    """Rows about the scenarios, printed at the end."""
    rows = [_COLUMNS.format("backend", "kills", "sent", "acknowledged", "received", "duplicated", "dead letters")]
    yield rows
    print("", *rows, sep="\n")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_all_that_was_acknowledged_arrives(
    scenario: Scenario, sink: Sink, start_process: StartProcess, tmp_path: Path, report: list[str]
) -> None:
    journal = {"directory": str(tmp_path / "journal"), "sync": scenario.sync}
    hop = await start_process(exporters(scenario, sink), journal=journal)
    traffic, sky = Load(scenario.name), Weather(sink, scenario.name)
    async with traffic.on(hop), asyncio.TaskGroup() as group:
        group.create_task(scenario.weather(sky))
        kills = await kill_often(hop, random.Random(scenario.name), scenario.kills)
        sky.over = True
    await delivered(hop)
    await hop.kill()

    received, buried = Counter(sink.spans()), dead_spans(tmp_path)
    assert traffic.acknowledged <= received.keys() | buried
    assert bool(buried) == scenario.refused
    await retry_all(tmp_path)
    received = Counter(sink.spans())
    assert len(traffic.acknowledged) > 100 * scenario.kills, "so little load proves nothing"
    assert traffic.acknowledged <= received.keys() <= traffic.sent
    assert "Traceback" not in hop.log()
    numbers = len(traffic.sent), len(traffic.acknowledged), len(received), received.total() - len(received), len(buried)
    report.append(_COLUMNS.format(scenario.name, kills, *numbers))


@pytest.mark.slow
async def test_a_kill_with_a_full_journal_loses_nothing(sink: Sink, start_process: StartProcess, tmp_path: Path) -> None:
    await sink.stop()
    journal = {"directory": str(tmp_path / "journal"), "max_size_mib": 1}
    hop = await start_process({"otlp": otlp_to(sink.grpc_port)}, journal=journal)
    traffic = Load("full")
    async with traffic.on(hop):
        while "journal is full" not in (await hop.page("health", "readyz"))[1]:
            await asyncio.sleep(0.01)
        await hop.kill()
        await hop.start(page="livez")  # it is not ready while its journal is full
        async with asyncio.timeout(20):
            while await behind(hop) < 900_000:
                await asyncio.sleep(0.01)
    full = len(traffic.acknowledged)
    await sink.start(sink.grpc_port, sink.http_port)
    async with traffic.on(hop):
        while len(traffic.acknowledged) < 2 * full:
            await asyncio.sleep(0.01)
    await delivered(hop)
    assert traffic.acknowledged <= set(sink.spans()) <= traffic.sent


def exporters(scenario: Scenario, sink: Sink) -> dict[str, Any]:
    retry = {"initial_interval": "10ms", "max_interval": "30ms"}
    values: dict[str, Any] = {"timeout": "500ms", "max_message_bytes": 1 << 20, "retry_on_failure": retry}
    if scenario.exporter == "otlp":
        return {"otlp": otlp_to(sink.grpc_port, **values)}
    return {"otlp_http": {"endpoint": f"http://127.0.0.1:{sink.http_port}", **values}}


async def kill_often(hop: HopProcess, chance: random.Random, times: int) -> int:
    """Kill a hop at work so many times, and now and then one that is still starting; it is up at the end. Returns the kills."""
    early = 0
    for _ in range(times):
        await asyncio.sleep(chance.uniform(0.1, 0.9))
        await hop.kill()
        if chance.random() < 0.3:
            early += 1
            with contextlib.suppress(TimeoutError):
                await hop.start(timeout_s=chance.uniform(0.1, 1.0))
            await hop.kill()
        await hop.start()
    await asyncio.sleep(chance.uniform(0.1, 0.3))
    return times + early


def dead_spans(directory: Path) -> set[bytes]:
    letters = DeadLetters(directory / "journal").letters()
    return {span for letter in letters for span in lens.items(letter.body())}


async def retry_all(directory: Path) -> None:
    """What `otel-eval dead-letter retry` does, now that the backend takes everything."""
    store = DeadLetters(directory / "journal")
    outcomes = await retry_dead_letters(load(str(directory / "config.yaml")).config, store.letters())
    assert [reason for _, reason in outcomes if reason] == []
    assert store.letters() == []
