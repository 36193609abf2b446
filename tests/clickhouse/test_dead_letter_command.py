"""`otel-eval dead-letter retry` for what the embedded ClickHouse of a hop refused: beside the hop, and without it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from otel_eval.cli import main
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import endpoint_of
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.records import Kind
from tests import hop, traffic


@pytest.fixture(autouse=True)
def _plain_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def retried(directory: Path, engine: Path) -> Result:
    """What the command says of one letter."""
    letters = DeadLetters(directory / "journal")
    letters.add("clickhouse/own", Kind.TRACES, "0", traffic.traces(2).SerializeToString(), 2, "refused once")
    config = hop.write_config(directory, hop.settings(directory, {"clickhouse/own": {"directory": str(engine)}}))
    result = CliRunner().invoke(main, ["dead-letter", "retry", "--config", str(config)])
    assert not letters.letters(), result.output
    return result


async def stored(server: EmbeddedServer) -> Any:
    """The number of spans, which are gone afterwards."""
    client = ClickHouse(endpoint_of(server, "writer"))
    try:
        return (await client.query("SELECT count() FROM otel.otel_traces")).rows
    finally:
        await client.command("DROP DATABASE IF EXISTS otel SYNC")
        await client.close()


def test_while_the_hop_runs_its_server_takes_it(clickhouse_server: EmbeddedServer, tmp_path: Path) -> None:
    """As when a hop runs: somebody else holds the directory."""
    result = retried(tmp_path, clickhouse_server.directory)

    assert (result.exit_code, result.stdout) == (0, "clickhouse%2Fown.traces.0  sent\n")
    assert asyncio.run(stored(clickhouse_server)) == [(2,)]


def test_without_a_hop_a_server_is_started_for_it(tmp_path: Path) -> None:
    result = retried(tmp_path, tmp_path / "engine")

    assert (result.exit_code, result.stdout) == (0, "clickhouse%2Fown.traces.0  sent\n")
