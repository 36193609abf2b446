"""A third-party collector in front of the hop and behind it."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from tests.conftest import StartHop
from tests.hop import free_port, otlp_to
from tests.sink import Sink

ROTEL = importlib.util.find_spec("rotel")

pytestmark = pytest.mark.skipif(ROTEL is None, reason="rotel has no wheel for this platform")


class Rotel:
    """The collector's ports."""

    def __init__(self) -> None:
        self.grpc_port, self.http_port = free_port(), free_port()


StartRotel = Callable[[str, str], Awaitable[Rotel]]


@pytest_asyncio.fixture
async def start_rotel(tmp_path: Path) -> AsyncIterator[StartRotel]:
    """Start collectors: `await start_rotel(endpoint, protocol)` sends to that endpoint by grpc or http."""
    assert ROTEL is not None
    assert ROTEL.origin is not None
    binary = Path(ROTEL.origin).with_name("rotel-agent")
    async with AsyncExitStack() as stack:

        async def start(endpoint: str, protocol: str) -> Rotel:
            rotel = Rotel()
            process = await asyncio.create_subprocess_exec(
                binary,
                "start",
                f"--otlp-grpc-endpoint=127.0.0.1:{rotel.grpc_port}",
                f"--otlp-http-endpoint=127.0.0.1:{rotel.http_port}",
                f"--otlp-exporter-endpoint={endpoint}",
                f"--otlp-exporter-protocol={protocol}",
                "--batch-timeout=50ms",
                f"--pid-file={tmp_path / 'rotel.pid'}",
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )

            async def end() -> None:
                process.kill()
                await process.wait()

            stack.push_async_callback(end)
            for port in (rotel.grpc_port, rotel.http_port):
                await _listening(port)
            return rotel

        yield start


async def _listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return


def send(exporter: SpanExporter) -> dict[str, str]:
    """Send ten spans with the SDK and return the name of each by its id."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    names = {}
    for index in range(10):
        with provider.get_tracer("interop").start_as_current_span(f"chat {index}") as span:
            span.set_attribute("gen_ai.input.messages", "größe " * 100)
            names[f"{span.get_span_context().span_id:016x}"] = f"chat {index}"
    provider.shutdown()
    return names


async def arrived(sink: Sink) -> dict[str, str]:
    spans = [Span.FromString(raw) for raw in await sink.wait_for_items(10)]
    assert all(span.attributes[0].value.string_value == "größe " * 100 for span in spans)
    return {span.span_id.hex(): span.name for span in spans}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_collector_in_front(sink: Sink, start_hop: StartHop, start_rotel: StartRotel, protocol: str) -> None:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})
    rotel = await start_rotel(f"http://127.0.0.1:{service.receivers[protocol].port}", protocol)
    exporter = GrpcSpanExporter(endpoint=f"http://127.0.0.1:{rotel.grpc_port}", insecure=True)
    assert await asyncio.to_thread(send, exporter) == await arrived(sink)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_a_collector_behind(
    sink: Sink, start_hop: StartHop, start_rotel: StartRotel, protocol: str, compression: str
) -> None:
    rotel = await start_rotel(f"http://127.0.0.1:{sink.grpc_port}", "grpc")
    exporter = {
        "grpc": {"otlp": otlp_to(rotel.grpc_port, compression=compression)},
        "http": {"otlp_http": {"endpoint": f"http://127.0.0.1:{rotel.http_port}", "compression": compression}},
    }[protocol]
    service = await start_hop(exporter)
    http = HttpSpanExporter(endpoint=f"http://127.0.0.1:{service.receivers['http'].port}/v1/traces")
    assert await asyncio.to_thread(send, http) == await arrived(sink)
