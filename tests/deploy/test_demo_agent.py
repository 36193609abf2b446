"""The agent of the composition's profile `demo` sends traces that the hop can read and judge."""

import asyncio
import os
import sys
from pathlib import Path

from otel_eval.inspection.document import detected
from otel_eval.inspection.load import read
from otel_eval.records import Kind
from tests.sink import Sink

PROGRAM = Path(__file__).parent.parent.parent / "deploy/demo_agent.py"


async def test_its_traces_are_whole_and_say_what_went_wrong(sink: Sink, tmp_path: Path) -> None:
    address = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.grpc_port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    environment = {**os.environ, **address, "DEMO_INTERVAL_S": "0.001"}
    agent = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), env=environment)
    await sink.wait_for_items(90)
    agent.terminate()
    assert await agent.wait() == 0
    files = []
    for number, body in enumerate(sink.received[Kind.TRACES]):
        files.append(tmp_path / f"{number}.pb")
        files[-1].write_bytes(body)
    found = list(detected(read(files)))
    assert len(found) >= 30
    assert {(len(view.model_calls), len(view.tool_calls)) for view, _ in found} == {(1, 1)}
    failed = [signals for _, signals in found if "tool_error" in signals]
    assert len(found) // 9 <= len(failed) <= len(found) // 9 + 1
