"""An agent with the SDK that remembers its spans as the bytes that it sends, and what a backend has of them."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult

from otel_eval.wire import lens
from tests import traffic
from tests.sink import Sink

_TRIES = 20


class _Memory(SpanExporter):
    def __init__(self) -> None:
        self.items: list[bytes] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.items += lens.items(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS


class _Patient(OTLPSpanExporter):
    """Begins again where the SDK gives up."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        results = (super(_Patient, self).export(spans) for _ in range(_TRIES))
        return next((result for result in results if result is SpanExportResult.SUCCESS), SpanExportResult.FAILURE)


def send(endpoint: str, traces: int, pause_s: float = 0.0) -> list[bytes]:
    """Traces of an agent and its model call; returns all spans as they were sent. What is not acknowledged is sent again."""
    provider, memory = TracerProvider(resource=Resource({"service.name": "support"})), _Memory()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    exporter = _Patient(endpoint=endpoint, insecure=True, timeout=10)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100, max_queue_size=100_000))
    tracer = provider.get_tracer("agent")
    for number in range(traces):
        traffic.ask(tracer, number)
        time.sleep(pause_s)
    provider.force_flush(120_000)  # a shutdown gives up what is to be sent again
    provider.shutdown()
    return memory.items


@dataclass
class Seen:
    """What came to a backend, each kind of span by its id with all of its contents, in the order in which they came."""

    roots: dict[bytes, list[bytes]] = field(default_factory=dict)
    children: dict[bytes, list[bytes]] = field(default_factory=dict)
    evaluations: dict[bytes, list[bytes]] = field(default_factory=dict)

    def contents(self) -> list[dict[bytes, set[bytes]]]:
        """The same without how often each came."""
        kinds = (self.roots, self.children, self.evaluations)
        return [{span_id: set(contents) for span_id, contents in spans.items()} for spans in kinds]

    @property
    def scored(self) -> set[tuple[bytes, str]]:
        """The trace ids and names of the scores that came with a root."""
        found = [parsed(raw) for contents in self.roots.values() for raw in contents]
        return {(span.trace_id, event.attributes[0].value.string_value) for span in found for event in span.events}

    @property
    def followed(self) -> set[tuple[bytes, str]]:
        """The same of those that came as evaluation spans."""
        spans = [parsed(raw) for contents in self.evaluations.values() for raw in contents]
        return {(span.trace_id, span.name.removeprefix("evaluation ")) for span in spans}


def seen(items: Iterable[bytes]) -> Seen:
    found = Seen()
    for raw in items:
        span = lens.span(raw)
        kind = found.children if span.parent_span_id else found.roots
        kind = found.evaluations if span.name.startswith(b"evaluation ") else kind
        kind.setdefault(span.span_id, []).append(raw)
    return found


def at(sink: Sink) -> Seen:
    return seen(sink.spans())


def parsed(raw: bytes) -> Span:
    return Span.FromString(raw)


def scores(raw: bytes) -> dict[str, Any]:
    """The scores and labels among the attributes of a span."""
    own = (one for one in parsed(raw).attributes if one.key.startswith(("otel_eval.score.", "otel_eval.label.")))
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in own}
