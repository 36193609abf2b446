"""A sampler on a real journal whose time a test moves on: from 2096 on, where the machine's clock does not interfere."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.config.models import Emit
from otel_eval.config.sampling import Sampling, Traces
from otel_eval.holding import HeldSpans
from otel_eval.intake import Intake
from otel_eval.journal import Journal, stored_bodies
from otel_eval.records import Kind, OwnKind, Sync
from otel_eval.sampling.handing_over import Judges
from otel_eval.sampling.ledger import Decided, Entry, OutcomeSeen, Traffic, Unmatched, decode
from otel_eval.sampling.tail import TailSampler
from otel_eval.telemetry import Metrics
from tests.spans import START_NS, Made, log, log_request, span, trace_request

BASE_S = 66_666_667 * 60
"""A full minute; the seconds of a test count from here."""

EARLIER_MS = BASE_S * 1000 - START_NS // 1_000_000
"""What brings the times of `tests.spans` here."""

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}


def ident(trace: int) -> bytes:
    return trace.to_bytes(16, "big")


class Rig:
    """One directory, and the sampler that runs on it at the moment. `kill` and `start` as often as wanted."""

    def __init__(self, directory: Path, traces: Traces, sampling: Sampling, max_bytes: int, emit: Emit | None = None) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.traces = traces
        self.sampling = sampling
        self.emit = emit or Emit()
        self.judges: Judges | None = None

    @property
    def checkpoint(self) -> Path:
        return self.directory / "sampler.checkpoint"

    async def start(self, at: float = 0.0) -> None:
        self.open(at)
        await self.sampler.prepare()

    def open(self, at: float = 0.0) -> None:
        """A start that gets no further than to look at what is there."""
        self.metrics = Metrics()
        self.journal = Journal(self.directory, self.max_bytes, Sync.NEVER)
        self.to(at)
        self.held = HeldSpans(self.journal, self.metrics, self.emit)
        self.sampler = TailSampler(self.traces, self.sampling, self.journal, self.metrics, self.directory, self.held, self.judges)
        cut = self.sampler.first.cut if self.emit.mode == "hold" else None
        self.intake = Intake(self.journal, self.metrics, self.sampler.observe, cut)

    async def kill(self) -> None:
        """What `kill -9` leaves: the journal as it is, and nothing of what the sampler had in memory."""
        await self.journal.close()
        self.metrics.close()

    async def restart(self, at: float = 0.0) -> None:
        await self.kill()
        await self.start(at)

    def to(self, at: float) -> None:
        self.journal.clock.start_after(round((BASE_S + at) * 1e9))

    async def send(self, at: float, *items: Made) -> None:
        """A request of spans or log records arrives."""
        is_spans = isinstance(items[0].item, Span)
        await self.accept(at, Kind.TRACES if is_spans else Kind.LOGS, trace_request(items) if is_spans else log_request(items))

    async def accept(self, at: float, kind: Kind, body: bytes) -> None:
        self.to(at)
        await self.intake.accept(kind, body, "test")

    async def work(self, at: float) -> None:
        self.to(at)
        await self.sampler.work()
        await self.held.work(self.journal.clock.now())

    def ledger(self) -> list[Entry]:
        return [entry for body in stored_bodies(self.directory, OwnKind.LEDGER) for entry in decode(body)]

    def decisions(self, trace: int | None = None) -> list[Decided]:
        return [one for one in self.ledger() if isinstance(one, Decided) and trace in (None, int.from_bytes(one.trace_id, "big"))]

    def last(self) -> dict[int, Decided]:
        """The decision that counts of each trace."""
        return {int.from_bytes(one.trace_id, "big"): one for one in sorted(self.decisions(), key=lambda one: one.revision)}

    def traffic(self) -> list[Traffic]:
        return [entry for entry in self.ledger() if isinstance(entry, Traffic)]

    def outcomes(self) -> list[OutcomeSeen]:
        return [entry for entry in self.ledger() if isinstance(entry, OutcomeSeen)]

    def unmatched(self) -> list[Unmatched]:
        return [entry for entry in self.ledger() if isinstance(entry, Unmatched)]

    def sums(self, *names: str) -> dict[tuple[Any, ...], int]:
        """The traces by these fields of the traffic rows, without what sums up to nothing."""
        found: dict[tuple[Any, ...], int] = {}
        for row in self.traffic():
            cell = tuple(getattr(row, name) for name in names)
            found[cell] = found.get(cell, 0) + row.traces
        return {cell: count for cell, count in found.items() if count}


@asynccontextmanager
async def running(
    directory: Path,
    traces: Traces | None = None,
    sampling: Sampling | None = None,
    emit: Emit | None = None,
    *,
    max_bytes: int = 256 << 20,
) -> AsyncIterator[Rig]:
    """A rig that is up; it is killed at the end, whatever it was doing."""
    rig = Rig(directory, traces or Traces(), sampling or Sampling(), max_bytes, emit)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.kill()


def chat(trace: int, **more: Any) -> Made:
    """The root span of a trace with a model call."""
    return span(CHAT, trace=trace, **more)


def said(name: str, trace: int = 0, span_identity: int = 0, *, named: Mapping[str, str] | None = None, **fields: Any) -> Made:
    """A log event `otel_eval.{name}` with its own fields, and attributes that name what it is about."""
    attributes = {f"otel_eval.{name}.{key}": value for key, value in fields.items()}
    return log(f"otel_eval.{name}", attributes | dict(named or {}), trace=trace, span_identity=span_identity)
