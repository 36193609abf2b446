"""Agents with stock exporters and the environment that README shows come to the backend, and so do their scores."""

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.conftest import StartHop
from tests.hop import otlp_to
from tests.interop.test_node import sender
from tests.readme.shown import shell
from tests.sink import Sink

HERE = Path(__file__).parent
HAS_NODE = shutil.which("node") and shutil.which("npm")

__all__ = ["sender"]  # the packages of the Node exporters


def environment(program: str, ports: dict[str, int]) -> dict[str, str]:
    """What README sets for that program, with this hop's ports in place of the usual ones."""
    (line,) = (line for line in shell() if line.endswith(f" {program}"))
    exports = [line.removeprefix("export ") for line in shell() if line.startswith("export ")]
    set_here = [word for words in (*exports, line) for word in shlex.split(words) if "=" in word]
    found = dict(word.split("=", 1) for word in set_here)
    for usual, port in ports.items():
        found = {name: value.replace(f":{usual}", f":{port}") for name, value in found.items()}
    return {**{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}, **found}


async def scored(sink: Sink, start_hop: StartHop, program: str, command: Callable[[], list[str]]) -> None:
    """Run the agent; return when its span and a score of it are in the backend."""
    sections = {
        "judging": {"evaluators": ["answered"]},
        "sampling": {"baseline": {"rate": 1.0}},
        "traces": {"quiet_period": "50ms"},
    }
    hop = await start_hop({"otlp": otlp_to(sink.grpc_port)}, **sections)
    ports = {"4317": hop.receivers["grpc"].port, "4318": hop.receivers["http"].port}
    agent = await asyncio.create_subprocess_exec(*command(), env=environment(program, ports))
    assert await agent.wait() == 0
    found = [Span.FromString(raw) for raw in await sink.wait_for_items(2)]
    assert {span.name for span in found} == {"chat model", "evaluation answered"}


async def test_a_python_agent_comes_out_scored(sink: Sink, start_hop: StartHop) -> None:
    await scored(sink, start_hop, "python agent.py", lambda: [sys.executable, str(HERE / "agent.py")])


@pytest.mark.skipif(not HAS_NODE, reason="Node.js with npm is not installed")
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("sender")
async def test_a_node_agent_comes_out_scored(sink: Sink, start_hop: StartHop, sender: Path) -> None:
    program = shutil.copy(HERE / "agent.mjs", sender.parent)
    await scored(sink, start_hop, "node agent.mjs", lambda: ["node", str(program)])
