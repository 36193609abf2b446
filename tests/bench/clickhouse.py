"""From OTLP in to rows in the embedded ClickHouse: spans a second, and CPU of hop and engine together.

The spans with a nested attribute go the native way, all others as raw requests.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import running
from tests.bench.hop import Process, load
from tests.hop import settings, write_config

_SPANS = 200
_REQUESTS = 500
_ROUNDS = 3


def costs() -> Iterator[str]:
    """A row for each way: medians over rounds in which they take turns."""
    with tempfile.TemporaryDirectory(dir=Path(".build").absolute()) as directory:
        config = settings(Path(directory), {"clickhouse": {"directory": f"{directory}/engine", "sending_queue": {}}})
        config["telemetry"] = {"metrics": None, "health": None, "logs": {"level": "error"}}
        config["sampling"] = {"enabled": False}
        port = int(config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rsplit(":")[-1])
        hop = Process(port, "otel_eval", "run", "--config", str(write_config(Path(directory), config)))
        try:
            yield f"{'way in':>8} {'spans/s':>8} {'hop µs':>7} {'engine µs':>10} {'together':>9}"
            load(port, "medium", 10, 8)
            asyncio.run(_stored(Path(directory) / "engine", 80))
            rounds: dict[str, list[tuple[float, ...]]] = {"raw": [], "native": []}
            for _ in range(_ROUNDS):
                for way, shape in (("raw", "medium"), ("native", "deep")):
                    rounds[way].append(_round(hop, port, shape, Path(directory) / "engine"))
            for way, found in rounds.items():
                rate, mine, engine = sorted(found, key=lambda one: one[1] + one[2])[_ROUNDS // 2]
                yield f"{way:>8} {rate:>8,.0f} {mine:>7.1f} {engine:>10.1f} {mine + engine:>9.1f}"
        finally:
            hop.stop()


def _round(hop: Process, port: int, shape: str, engine: Path) -> tuple[float, ...]:
    spans = _SPANS * _REQUESTS
    before = asyncio.run(_stored(engine))
    mine, its, begun = hop.cpu_s(), _cpu_of_child(hop), time.perf_counter()
    load(port, shape, _SPANS, _REQUESTS)
    asyncio.run(_stored(engine, before + spans))
    seconds = time.perf_counter() - begun
    return spans / seconds, 1e6 * (hop.cpu_s() - mine) / spans, 1e6 * (_cpu_of_child(hop) - its) / spans


async def _stored(engine: Path, wanted: int = 0) -> int:
    """The rows of otel_traces, as soon as there are so many."""
    where = running(engine, "otel")
    assert where is not None
    client = ClickHouse(where)
    try:
        while True:
            try:
                rows = int((await client.query("SELECT count() FROM otel_traces")).rows[0][0])
            except Exception:  # noqa: BLE001 - the table is being made
                rows = -1
            if rows >= wanted:
                return rows
            await asyncio.sleep(0.05)
    finally:
        await client.close()


def _cpu_of_child(hop: Process) -> float:
    children = Path(f"/proc/{hop.pid}/task/{hop.pid}/children").read_text().split()
    fields = Path(f"/proc/{children[0]}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100
