"""A million spans of a hundred thousand interleaved traces through intake and sampler, on a real journal.

Time is moved on by hand, at 400 traces a second, so that every trace is decided as soon as it is due and what is
measured is CPU. Some traces are late, doubled, out of order, or have no root.
"""

import asyncio
import heapq
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_eval.config.models import Emit
from otel_eval.config.sampling import Sampling, Traces
from otel_eval.holding import HeldSpans
from otel_eval.intake import Intake
from otel_eval.journal import Journal, stored_bodies
from otel_eval.records import Kind, OwnKind, Sync
from otel_eval.sampling.ledger import Decided, Traffic, decode
from otel_eval.sampling.tail import TailSampler
from otel_eval.telemetry import Metrics

_TRACES = 100_000
_SPANS = 10
_A_SECOND = 400
_REQUEST_SPANS = 200
_BASE_S = 66_666_667 * 60
_TEXT = "x" * 300


class Sent(NamedTuple):
    """A span on its way; number 0 is the root."""

    at: float
    trace: int
    number: int


def run(traces: int = _TRACES, request_spans: int = _REQUEST_SPANS) -> Iterator[str]:
    """The rows of a table."""
    with tempfile.TemporaryDirectory(dir=".build") as directory:
        yield from asyncio.run(_measure(Path(directory), traces, request_spans))


async def _measure(directory: Path, traces: int, request_spans: int) -> list[str]:
    metrics = Metrics()
    journal = Journal(directory, 10 << 30, Sync.NEVER)
    journal.clock.start_after(_BASE_S * 10**9)
    sampler = TailSampler(Traces(), Sampling(), journal, metrics, directory, HeldSpans(journal, metrics, Emit()))
    await sampler.prepare()
    intake = Intake(journal, metrics, sampler.observe)
    before = _peak_bytes()
    spent = {"intake": 0.0, "deciding": 0.0}
    spans = most_open = 0
    waiting: list[Sent] = []
    worked = 0.0
    for sent in _arrivals(traces):
        waiting.append(sent)
        if len(waiting) == request_spans:
            at, body = sent.at, _request(waiting)
            spans += len(waiting)
            waiting = []
            journal.clock.start_after(round((_BASE_S + at) * 1e9))
            started = time.process_time()
            await intake.accept(Kind.TRACES, body, "bench")
            spent["intake"] += time.process_time() - started
            most_open = max(most_open, len(sampler.table.open))
            if at > worked + 0.1:
                worked = at
                started = time.process_time()
                await sampler.work()
                spent["deciding"] += time.process_time() - started
    for _ in range(2):  # from what its clock says: behind a slow machine the real time has gone on further than the traces'
        journal.clock.start_after(journal.clock.now() + 130 * 10**9)
        started = time.process_time()
        await sampler.work()
        spent["deciding"] += time.process_time() - started
    started = time.process_time()
    await sampler.save()
    saved = time.process_time() - started
    peak = _peak_bytes()
    size = (directory / "sampler.checkpoint").stat().st_size
    stored = journal.logs[Kind.TRACES].end
    await journal.close()
    metrics.close()
    ledger = [entry for body in stored_bodies(directory, OwnKind.LEDGER) for entry in decode(body)]
    decided = [entry for entry in ledger if isinstance(entry, Decided)]
    first = [one for one in decided if not one.revision]
    counted = sum(entry.traces for entry in ledger if isinstance(entry, Traffic))
    assert len({one.trace_id for one in first}) == len(first) == counted
    triggers = Counter(one.trigger for one in decided)
    return [
        f"{spans} spans in requests of {request_spans}, {stored >> 20} MiB of journal",
        f"{len(first)} traces, each decided once and counted once; {len(decided)} decisions: {dict(triggers.most_common())}",
        f"intake with assembly: {spent['intake'] * 1e6 / spans:.1f} µs of CPU a span",
        f"deciding: {spent['deciding'] * 1e6 / len(decided):.0f} µs of CPU a decision, of {spans / len(first):.1f} spans",
        f"at most {most_open} open traces at once, {len(sampler.table.decided)} decided ones remembered at the end",
        f"peak memory {peak >> 20} MiB, {(peak - before) >> 20} MiB over the start; checkpoint {size >> 20} MiB in {saved:.2f} s",
    ]


def _arrivals(traces: int) -> Iterator[Sent]:
    """All spans in the order in which they arrive."""
    chance = random.Random(4)
    waiting: list[Sent] = []
    for trace in range(1, traces + 1):
        begin = trace / _A_SECOND
        while waiting and waiting[0].at <= begin:
            yield heapq.heappop(waiting)
        rootless = chance.random() < 0.02
        for number in range(int(rootless), _SPANS + int(rootless)):
            at = begin + chance.uniform(0, 1.5)
            if chance.random() < 0.003:
                at += chance.uniform(3, 30)
            heapq.heappush(waiting, Sent(at, trace, number))
            if chance.random() < 0.01:
                heapq.heappush(waiting, Sent(at + chance.choice([0, 0.3, 10]), trace, number))
    while waiting:
        yield heapq.heappop(waiting)


def _request(sent: list[Sent]) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "bench"
    spans = group.scope_spans.add()
    for _, trace, number in sent:
        trace_id = (trace * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)).to_bytes(16, "big")
        start = (_BASE_S + trace // _A_SECOND) * 10**9 + number * 10**6
        span = spans.spans.add(name="chat", trace_id=trace_id, span_id=(number + 1).to_bytes(8, "big"), flags=0x101)
        span.start_time_unix_nano, span.end_time_unix_nano = start, start + 10**6
        if number:
            span.parent_span_id = (1).to_bytes(8, "big")
        span.attributes.add(key="gen_ai.operation.name").value.string_value = "execute_tool" if number % 2 else "chat"
        span.attributes.add(key="gen_ai.input.messages").value.string_value = _TEXT
    return request.SerializeToString()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


if __name__ == "__main__":
    for row in run():
        print(row, flush=True)
