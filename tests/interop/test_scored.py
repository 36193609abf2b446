"""Agents with the SDKs' stock exporters and nothing but environment variables set show up scored in ClickHouse."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import running
from otel_eval.errors import RetryableError
from tests.conftest import StartProcess
from tests.interop import test_node
from tests.interop.agent import CONVERSATIONS

sender = test_node.sender
AGENT = Path(__file__).parent / "agent.py"
EVALUATORS = ["answered", "pii_leak", "tool_success"]


@asynccontextmanager
async def hop(start_process: StartProcess, directory: Path) -> AsyncIterator[tuple[str, ClickHouse]]:
    """A hop that judges everything: the URL for OTLP/HTTP, and a reader of its embedded ClickHouse."""
    engine = directory / "engine"
    process = await start_process(
        {"clickhouse": {"directory": str(engine)}},
        traces={"quiet_period": "200ms"},
        sampling={"baseline": {"rate": 1.0}, "signals": {}},
        judging={"evaluators": EVALUATORS},
    )
    server = running(engine, "otel")
    assert server is not None
    client = ClickHouse(server)
    yield process.http, client
    await client.close()


async def agent(url: str, name: str, *command: str | Path) -> None:
    """Run an agent to its end, with nothing set but two variables that every SDK knows."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment = {**inherited, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": name}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b""), errors.decode()


async def scores(client: ClickHouse, service: str) -> list[tuple[str, int, int, float]]:
    """Of each evaluation its scores, traces and mean, once all conversations of the service have them."""
    sql = (
        "SELECT EvaluationName, count(), uniq(TraceId), avg(Score) FROM otel_evaluations FINAL "
        "WHERE ServiceName = {service:String} AND Probability = 1 GROUP BY EvaluationName ORDER BY EvaluationName"
    )
    async with asyncio.timeout(60):
        while True:
            rows: list[Any] = []
            with suppress(RetryableError):  # the tables are made with the first spans
                rows = list((await client.query(sql, {"service": service})).rows)
            if len(rows) == len(EVALUATORS) and all(row[2] == CONVERSATIONS for row in rows):
                return rows
            await asyncio.sleep(0.1)


async def test_a_python_agent(start_process: StartProcess, tmp_path: Path) -> None:
    async with hop(start_process, tmp_path) as (url, client):
        await agent(url, "python-shop", sys.executable, AGENT)
        assert await scores(client, "python-shop") == [(name, CONVERSATIONS, CONVERSATIONS, 1.0) for name in EVALUATORS]


@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="Node.js with npm is not installed")
@pytest.mark.timeout(300)  # the first run downloads the packages
async def test_a_node_agent(start_process: StartProcess, tmp_path: Path, sender: Path) -> None:
    shutil.copy(test_node.SOURCE / "scored.mjs", sender.parent)
    async with hop(start_process, tmp_path) as (url, client):
        await agent(url, "node-shop", "node", sender.parent / "scored.mjs")
        assert await scores(client, "node-shop") == [(name, CONVERSATIONS, CONVERSATIONS, 1.0) for name in EVALUATORS]
