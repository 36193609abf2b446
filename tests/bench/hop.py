"""CPU, throughput, added latency and memory of the hop against the null hop."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from tests.bench.load import SHAPES
from tests.hop import free_port, otlp_to, settings, write_config

ROUNDS = 3
BYTES_A_ROUND = 200_000_000
SPANS_A_ROUND = 100_000


class Cost(NamedTuple):
    """One measured round: CPU of the hop in µs a span, spans a second, peak memory in MB."""

    cpu_us: float
    spans_a_second: float
    peak_mb: float


class Process:
    """A hop or a sink as a child process."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.port = port
        self._child = subprocess.Popen([sys.executable, "-m", *arguments], stderr=subprocess.DEVNULL)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=30)

    @property
    def pid(self) -> int:
        return self._child.pid

    def cpu_s(self) -> float:
        """CPU seconds of all its threads so far, to 10 ms."""
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def peak_mb(self) -> float:
        """The most memory that it has had resident."""
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM"))

    def stop(self) -> None:
        self._child.kill()
        self._child.wait()


@contextmanager
def hops(*, backend_up: bool = True) -> Iterator[tuple[Process, Process, Process]]:
    """Sink, null hop and hop, running."""
    with tempfile.TemporaryDirectory(dir=Path(".build").absolute()) as directory:
        sink_port, null_port = free_port(), free_port()
        sink = Process(sink_port, "tests.bench.null_hop", str(sink_port))
        config = settings(Path(directory), {"otlp": otlp_to(sink_port if backend_up else free_port(), sending_queue={})})
        config["telemetry"] = {"metrics": None, "health": None, "logs": {"level": "error"}}
        config["sampling"] = {"enabled": False}  # what carrying costs; see assembly and traces for the rest
        file = write_config(Path(directory), config)
        null = Process(null_port, "tests.bench.null_hop", str(null_port), str(sink_port))
        hop_port = int(config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rsplit(":")[-1])
        hop = Process(hop_port, "otel_eval", "run", "--config", str(file))
        try:
            yield sink, null, hop
        finally:
            for process in (sink, null, hop):
                process.stop()


def load(port: int, shape: str, spans: int, requests: int, rate: float = 0) -> dict[str, Any]:
    """Run the load generator."""
    arguments = [port, shape, spans, requests, rate]
    done = subprocess.run([sys.executable, "-m", "tests.bench.load", *map(str, arguments)], stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def received(sink: Process) -> int:
    """Bytes of requests that have reached the sink."""
    with grpc.insecure_channel(f"127.0.0.1:{sink.port}") as channel:
        call: Any = channel.unary_unary("/bench/Received")
        return int(call(b""))


def measure(hop: Process, sink: Process, shape: str, spans: int) -> Cost:
    """One round at full speed, until everything has reached the sink."""
    requests = max(16, min(BYTES_A_ROUND // SHAPES[shape].span_bytes, SPANS_A_ROUND) // spans)
    before, cpu = received(sink), hop.cpu_s()
    begun = time.perf_counter()
    sent = load(hop.port, shape, spans, requests)
    while received(sink) < before + sent["bytes"]:
        time.sleep(0.02)
    seconds = max(sent["seconds"], time.perf_counter() - begun - 1.0) if sent["seconds"] > 1 else sent["seconds"]
    total = spans * requests
    return Cost(1e6 * (hop.cpu_s() - cpu) / total, total / seconds, hop.peak_mb())


def costs() -> Iterator[str]:
    """A row for each shape: medians over rounds in which null hop and hop take turns."""
    yield f"{'span':>8} {'spans/req':>9} {'null µs':>8} {'hop µs':>8} {'ratio':>6} {'null spans/s':>13} {'hop spans/s':>12}"
    peak = 0.0
    for shape in SHAPES:
        for spans in (20, 200):
            with hops() as (sink, null, hop):
                rounds = [(measure(null, sink, shape, spans), measure(hop, sink, shape, spans)) for _ in range(ROUNDS)]
                peak = max(peak, hop.peak_mb())
            ratio = sorted(mine.cpu_us / floor.cpu_us for floor, mine in rounds)[ROUNDS // 2]
            floor, mine = sorted(rounds, key=lambda pair: pair[1].cpu_us)[ROUNDS // 2]
            yield (
                f"{SHAPES[shape].span_bytes:>6} B {spans:>9} {floor.cpu_us:>8.1f} {mine.cpu_us:>8.1f} {ratio:>6.2f}"
                f" {floor.spans_a_second:>13,.0f} {mine.spans_a_second:>12,.0f}"
            )
    yield f"peak memory of the hop: {peak:.0f} MB"


def latencies() -> Iterator[str]:
    """Latency of Export at half load, with the backend up and down: what the hop adds to the null hop."""
    yield f"{'backend':>8} {'requests/s':>10} {'null p50 ms':>12} {'p99':>6} {'hop p50 ms':>11} {'p99':>6}"
    for backend_up in (True, False):
        with hops(backend_up=backend_up) as (_, null, hop):
            full = load(hop.port, "medium", 20, 400)
            rate = 0.5 * 400 / full["seconds"]
            floor = load(null.port, "medium", 20, int(rate * 5), rate)
            mine = load(hop.port, "medium", 20, int(rate * 5), rate)
            yield (
                f"{'up' if backend_up else 'down':>8} {rate:>10.0f} {floor['p50_ms']:>12.1f} {floor['p99_ms']:>6.1f}"
                f" {mine['p50_ms']:>11.1f} {mine['p99_ms']:>6.1f}"
            )


def replay() -> Iterator[str]:
    """How long a start takes over a full gigabyte of journal."""
    from otel_eval.journal import Journal
    from otel_eval.records import Kind, Sync
    from tests.bench.load import bodies

    body = bodies(SHAPES["medium"], 200)[0]
    with tempfile.TemporaryDirectory(dir=Path(".build").absolute()) as directory:

        async def fill() -> None:
            journal = Journal(Path(directory), 4 << 30, Sync.NEVER)
            journal.reader(Kind.TRACES, "bench")  # otherwise nobody needs the records
            while journal.budget.used < 1 << 30:
                journal.append(Kind.TRACES, body, 200)
            await journal.close()

        async def reopen() -> float:
            begun = time.perf_counter()
            journal = Journal(Path(directory), 4 << 30, Sync.NEVER)
            opened = time.perf_counter() - begun
            await journal.close()
            return opened

        asyncio.run(fill())
        yield f"start over 1 GB of journal: {asyncio.run(reopen()):.2f} s"
