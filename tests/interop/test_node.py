"""The Node SDK's own OTLP exporters send through the hop."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.conftest import StartHop
from tests.hop import otlp_to
from tests.sink import Sink

SOURCE = Path(__file__).parent / "node"
BUILD = Path(__file__).parents[2] / ".build" / "node"

pytestmark = [
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="Node.js with npm is not installed"),
    pytest.mark.timeout(300),  # the first run downloads the packages
]


@pytest.fixture(scope="module")
def sender() -> Path:
    """The sending script with its packages installed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCE / "send.mjs", BUILD)
    wanted, installed = (SOURCE / "package.json").read_text(), BUILD / "installed.json"
    if not installed.exists() or installed.read_text() != wanted:
        shutil.copy(SOURCE / "package.json", BUILD)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], check=True, cwd=BUILD)
        installed.write_text(wanted)
    return BUILD / "send.mjs"


@pytest.mark.parametrize("kind", ["grpc", "http", "proto"])
async def test_spans_of_the_node_exporters_arrive(sink: Sink, start_hop: StartHop, sender: Path, kind: str) -> None:
    """`http` sends JSON, `proto` protobuf over HTTP."""
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})
    port = service.receivers["grpc" if kind == "grpc" else "http"].port
    url = f"http://127.0.0.1:{port}" + ("" if kind == "grpc" else "/v1/traces")
    node = await asyncio.create_subprocess_exec(
        "node", str(sender), kind, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await node.communicate()
    assert node.returncode == 0, errors.decode()
    spans = [Span.FromString(raw) for raw in await sink.wait_for_items(10)]
    assert [span.span_id.hex() for span in spans] == json.loads(output)
    assert [span.name for span in spans] == [f"chat {index}" for index in range(10)]
    for index, span in enumerate(spans):
        values = {attribute.key: attribute.value for attribute in span.attributes}
        assert values["gen_ai.request.model"].string_value == "größe 🙂"
        assert values["index"].int_value == index
        assert [event.name for event in span.events] == ["token"]
