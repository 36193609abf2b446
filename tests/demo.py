"""`make demo`: a hop between a small agent and a backend, with the two things that go wrong most.

The agent uses the real OpenTelemetry SDK with its OTLP/gRPC exporter; the hop is the real command; the backend is a
real OTLP server that counts what it gets. In the middle the backend goes away, and the hop is killed with -9.
"""

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_eval.records import Kind
from otel_eval.wire import lens
from tests.hop import HopProcess, otlp_to, settings
from tests.sink import Sink

TRACES = 300


class Agent:
    """Answers questions with one retrieval, one tool call and two model calls; each is a span."""

    def __init__(self, endpoint: str) -> None:
        self.spans = 0
        exporter = OTLPSpanExporter(endpoint=f"http://{endpoint}", insecure=True, timeout=30)
        self._provider = TracerProvider(resource=Resource({"service.name": "support-agent"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50, max_export_batch_size=64))
        self._tracer = self._provider.get_tracer("demo")

    def answer(self, question: str) -> None:
        """One trace of five spans by the GenAI conventions."""
        with self._tracer.start_as_current_span("invoke_agent support") as agent:
            agent.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"})
            for name, operation in (
                ("retrieval handbook", "retrieval"),
                ("chat model", "chat"),
                ("execute_tool refund", "execute_tool"),
                ("chat model", "chat"),
            ):
                with self._tracer.start_as_current_span(name) as span:
                    span.set_attributes({"gen_ai.operation.name": operation, "gen_ai.input.messages": question})
        self.spans += 5

    def finish(self) -> None:
        """Send what is left."""
        self._provider.force_flush(60_000)
        self._provider.shutdown()


async def ask(agent: Agent, count: int) -> None:
    """Let the agent answer `count` questions."""
    for number in range(count):
        agent.answer(f"Where is my refund for order {number}?")
        await asyncio.sleep(0.002)


async def main() -> None:
    begun = time.monotonic()
    sink = await Sink().start()
    with tempfile.TemporaryDirectory() as directory:
        hop = HopProcess(Path(directory), settings(Path(directory), {"otlp/backend": otlp_to(sink.grpc_port)}))
        await hop.start()
        print(f"otel-eval listens on {hop.grpc} and forwards to a backend on 127.0.0.1:{sink.grpc_port}")
        agent = Agent(hop.grpc)
        await ask(agent, TRACES // 3)
        print(f"{agent.spans:>5} spans made by the agent; now the backend goes away")
        grpc_port, http_port = sink.grpc_port, sink.http_port
        await sink.stop()
        await ask(agent, TRACES // 3)
        behind = await hop.metric("exporter_queue_size_bytes")
        print(f"{agent.spans:>5} spans made; {behind / 1000:.0f} kB wait in the journal. Now kill -9, and a new start")
        await hop.kill()
        await hop.start()
        await ask(agent, TRACES // 3)
        await asyncio.to_thread(agent.finish)
        print(f"{agent.spans:>5} spans made; now the backend comes back")
        back = await Sink().start(grpc_port, http_port)
        await back.wait_for_items(agent.spans - len(sink.spans()), timeout_s=30)
        status = await hop.stop()
        report(agent.spans, sink.spans() + back.spans(), status)
        await back.stop()
    print(f"done in {time.monotonic() - begun:.0f} s")


def report(made: int, arrived: list[bytes], status: int) -> None:
    """What reached the backend."""
    spans = [lens.span(raw) for raw in arrived]
    copies = Counter(span.span_id for span in spans)
    names = Counter(span.name.decode() for span in spans)
    print(f"\nThe hop stopped with status {status}. What reached the backend ({Kind.TRACES}):")
    print(f"  spans made       {made:>6}\n  spans arrived    {len(copies):>6}\n  lost             {made - len(copies):>6}")
    repeated = sum(copies.values()) - len(copies)
    print(f"  arrived twice    {repeated:>6}   (at least once: a kill may repeat what was under way)")
    print(f"  traces           {len({span.trace_id for span in spans}):>6}")
    for name, count in names.most_common():
        print(f"  {count:>6}  {name}")
    if made != len(copies):
        raise SystemExit("spans were lost")


if __name__ == "__main__":
    asyncio.run(main())
