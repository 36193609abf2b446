"""`otel-eval schema`."""

import asyncio
from pathlib import Path
from urllib.parse import quote

from click.testing import CliRunner

from otel_eval.cli.schema import schema
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.clickhouse.settings import WRITER
from tests.clickhouse.conftest import Database


async def run(*arguments: str) -> tuple[int, str, str]:
    """In a thread: the command has an event loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, schema, arguments)
    return result.exit_code, result.stdout, result.stderr


def configured(path: Path, server: EmbeddedServer, database: str, extra: str = "") -> list[str]:
    password, file = path / "password", path / "otel-eval.yaml"
    password.write_text(server.passwords[WRITER].reveal())
    endpoint = f"http://{WRITER}@{server.host}:{server.http_port}/{quote(database)}"
    file.write_text(f"exporters:\n  clickhouse:\n    endpoint: {endpoint}\n    password_file: {password}\n{extra}")
    return ["--config", str(file)]


async def test_apply_and_check_a_server(tmp_path: Path, clickhouse_server: EmbeddedServer, database: Database) -> None:
    options = configured(tmp_path, clickhouse_server, database.name)
    status, out, _ = await run("check", *options)
    assert (status, out.count("no such database")) == (2, 1)
    status, out, err = await run("apply", *options)
    assert (status, err) == (0, "")
    assert "made: 001 otel_traces" in out
    assert await run("apply", *options) == (0, "nothing to do\n", "")
    assert await run("check", *options) == (0, "the tables are as they should be\n", "")
    await database.client.command("DROP VIEW otel_traces_in_mv")
    assert await run("check", *options) == (2, "otel_traces_in_mv: missing, or hidden from this user\n", "")


async def test_print_needs_no_server(tmp_path: Path, clickhouse_server: EmbeddedServer) -> None:
    options = configured(tmp_path, clickhouse_server, "elsewhere", "    cluster_name: two\n    ttl_days: {traces: 30}\n")
    status, out, _ = await run("print", *options)
    assert status == 0
    assert out.startswith("CREATE DATABASE IF NOT EXISTS `elsewhere` ON CLUSTER `two`;\n\n")
    assert "TTL toDateTime(Timestamp) + toIntervalDay(30)" in out
    assert "ON CLUSTER" not in (await run("print", "--each-node", *options))[1]


async def test_mistakes_are_told(tmp_path: Path, clickhouse_server: EmbeddedServer) -> None:
    two = f"  clickhouse/other: {{directory: {tmp_path / 'none'}}}\n"
    options = configured(tmp_path, clickhouse_server, "elsewhere", two)
    assert await run("print", *options) == (
        1, "", "otel-eval: exporters: name one with --exporter: clickhouse, clickhouse/other\n"
    )  # fmt: skip
    status, _, err = await run("apply", "--exporter", "clickhouse/other", *options)
    assert status == 1
    assert "no embedded ClickHouse runs here" in err
