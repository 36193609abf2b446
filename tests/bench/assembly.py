"""What assembly and sampling add to the intake of a request, and what deciding about a trace costs."""

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_eval.config.models import Emit
from otel_eval.config.sampling import Sampling, Traces
from otel_eval.holding import HeldSpans
from otel_eval.intake import Intake
from otel_eval.journal import Journal
from otel_eval.records import Kind, Sync
from otel_eval.sampling.tail import TailSampler
from otel_eval.telemetry import Metrics

_LIMIT = 1.6
_BYTES = 24 << 20
_ROUNDS = 9


def costs() -> Iterator[str]:
    """Intake of requests as they come from an SDK: 20 traces of 10 spans each in 200 spans."""
    yield f"{'span':>8} {'without µs':>11} {'with µs':>8} {'ratio':>6} {'limit':>6}"
    for size in (350, 4000, 17_000):
        bodies = [_request(size, number) for number in range(max(4, min(400, _BYTES // (200 * size))))]
        with tempfile.TemporaryDirectory(dir=".build") as directory:
            best = [asyncio.run(_round(Path(directory), bodies)) for _ in range(_ROUNDS)]
        without, with_sampler = (min(one[index] for one in best) for index in (0, 1))
        yield f"{size:>6} B {without:>11.2f} {with_sampler:>8.2f} {with_sampler / without:>6.2f} {_LIMIT:>6}"


async def _round(directory: Path, bodies: list[bytes]) -> tuple[float, float]:
    """µs of CPU a span without and with the sampler."""
    found = {}
    for name in random.sample(("without", "with"), 2):
        metrics = Metrics()
        journal = Journal(directory / f"{name}{time.monotonic_ns()}", 10 << 30, Sync.NEVER)
        sampler = TailSampler(Traces(), Sampling(), journal, metrics, directory, HeldSpans(journal, metrics, Emit()))
        intake = Intake(journal, metrics, sampler.observe if name == "with" else None)
        started = time.process_time()
        for body in bodies:
            await intake.accept(Kind.TRACES, body, "grpc")
        found[name] = (time.process_time() - started) * 1e6 / (200 * len(bodies))
        await journal.close()
        metrics.close()
    return found["without"], found["with"]


def _request(size: int, number: int) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "bench"
    spans = group.scope_spans.add()
    for trace in range(20):
        trace_id = number.to_bytes(4, "big") + trace.to_bytes(4, "big") + os.urandom(8)
        for index in range(10):
            span = spans.spans.add(
                name="chat", trace_id=trace_id, span_id=os.urandom(8), start_time_unix_nano=10**18, flags=0x101
            )
            span.end_time_unix_nano = 10**18 + 10**9
            if index:
                span.parent_span_id = b"12345678"
            span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
            span.attributes.add(key="gen_ai.input.messages").value.string_value = "x" * max(0, size - 150)
    return request.SerializeToString()
