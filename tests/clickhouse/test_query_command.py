"""`otel-eval query`: the library and SQL, through a running hop's server, a named one, or the directory alone."""

import asyncio
import io
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from otel_eval.cli.query import _show, query
from otel_eval.clickhouse import queries
from otel_eval.clickhouse.client import ClickHouse, Rows
from otel_eval.clickhouse.endpoint import endpoint_of
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.doctor.storage import owner
from tests.clickhouse import history
from tests.clickhouse.conftest import Database
from tests.clickhouse.history import DAY, MIDNIGHT
from tests.hop import free_port

stored_shop, shop = history.stored_shop, history.shop
WINDOW = ["--since", str(MIDNIGHT * 60), "--until", str((MIDNIGHT + 2 * DAY) * 60)]


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(query, arguments, env=environment)


def of_server(server: EmbeddedServer, database: str) -> list[str]:
    return ["--server", f"http://reader@{server.host}:{server.http_port}/{database}"]


@pytest.fixture
def asked(clickhouse_server: EmbeddedServer, stored_shop: str) -> Any:
    """Runs the command as the reader of the stored shop."""
    arguments = of_server(clickhouse_server, stored_shop)
    password = clickhouse_server.passwords["reader"].reveal()
    return lambda *more: run(*more, *arguments, CLICKHOUSE_PASSWORD=password)


def test_the_library_is_listed_and_shown() -> None:
    listed = run("--list").output.splitlines()
    assert [line.split()[0] for line in listed] == queries.names()
    assert "How good the traffic was, by day" in listed[queries.names().index("quality_by_day")]
    shown = run("--show", "quality_by_day")
    assert shown.output == queries.load("quality_by_day").sql


def test_a_measure_that_is_none_is_not_taken_for_another() -> None:
    found = run("--named", "quality_by_day", "--param", "measure=pased")
    assert (found.exit_code, found.output) == (1, "otel-eval: quality_by_day: measure: 'pased': expected score or passed\n")


@pytest.mark.parametrize("sql", ["", " \n"])
def test_no_sql_is_no_question(sql: str) -> None:
    assert run(sql).output == "otel-eval: expected one of SQL, --named, --list and --show\n"


def test_a_named_query(asked: Any) -> None:
    found = asked("--named", "quality_by_day", "--service", "shop", "--evaluation", "task_completion", *WINDOW)
    assert found.exit_code == 0, found.output
    header, _, *rows = found.output.splitlines()
    assert header.split()[:5] == ["Day", "Service", "Evaluation", "Estimate", "Low"]
    assert [row.split()[:4] for row in rows] == [["2025-11-21", "shop", "task_completion", "0.8"],
                                                 ["2025-11-22", "shop", "task_completion", "0.8"]]  # fmt: skip
    nothing = asked("--named", "quality_by_day", "--service", "shop", "--days", "1")
    assert nothing.output == "no rows\n"
    rows = json.loads(asked("--named", "worst_traces", "--param", "rows=2", "--format", "json", *WINDOW).output)
    assert [row["Asked"] for row in rows] == ["question 1", "question 11"]


@pytest.mark.parametrize("since", [["--days", "36500"], ["--since", "1970-01-01"], ["--since", "9999"]])
def test_everything_since_the_beginning(asked: Any, since: list[str]) -> None:
    whole = asked("--named", "quality_by_day", *WINDOW)
    assert asked("--named", "quality_by_day", *since, *WINDOW[2:]).output == whole.output
    assert asked("SELECT toUnixTimestamp({since:DateTime}) < 10000 AS early", *since, "--format", "csv").output == '"early"\n1\n'


def test_sql_in_every_format(asked: Any, tmp_path: Path) -> None:
    sql = (
        "SELECT Policy, uniqExact(TraceId) AS Traces FROM otel_evaluations "
        "WHERE ServiceName = {service:String} GROUP BY Policy;\n"
    )
    lines = [line.split() for line in asked(sql, "--service", "shop").output.splitlines()]
    assert (lines[0], lines[2:]) == (["Policy", "Traces"], [["baseline", "300"]])
    assert asked(sql, "--service", "shop", "--format", "csv").output == '"Policy","Traces"\n"baseline",300\n'
    assert json.loads(asked(sql, "--service", "shop", "--format", "json").output) == [{"Policy": "baseline", "Traces": 300}]
    parquet = tmp_path / "rows.parquet"
    assert asked(sql, "--service", "shop", "--format", "parquet", "--output", str(parquet)).output == ""
    assert parquet.read_bytes()[:4] == parquet.read_bytes()[-4:] == b"PAR1"
    table = tmp_path / "rows.txt"
    assert asked(sql, "--service", "shop", "--output", str(table)).output == ""
    assert "baseline" in table.read_text()
    many = asked("SELECT number FROM numbers(1500)").output
    assert many.endswith("only the first 1000 rows; --format csv, json or parquet has all\n")
    assert len(asked("SELECT number FROM numbers(1500)", "--format", "csv").output.splitlines()) == 1501


def test_text_cannot_steer_the_terminal(asked: Any) -> None:
    sql = "SELECT 'a\\x1b[31m\\u202e[red]b\\n\\x00c' AS Text, ['[bold]', '\\x1b]0;x'] AS `a\\x1b[0m`"
    for fmt in ("table", "json"):
        found = asked(sql, "--format", fmt)
        assert found.exit_code == 0, found.output
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", found.output), found.output
        assert "[red]" in found.output


def test_rows_that_are_too_wide_for_the_terminal_are_shown_line_by_line() -> None:
    rows = Rows(("TraceId", "Why"), ("String", "String"), [("a" * 32, "first\x1b[2J\nsecond"), ("b", "c")])
    narrow, wide = io.StringIO(), io.StringIO()
    _show(rows, Console(file=narrow, width=30))
    _show(rows, Console(file=wide, width=200))
    assert narrow.getvalue() == f"TraceId  {'a' * 32}\nWhy      first␛[2J\nsecond\n\nTraceId  b\nWhy      c\n\n"
    assert "first␛[2J second" in wide.getvalue()


def test_nothing_can_be_changed(asked: Any, clickhouse_server: EmbeddedServer, stored_shop: str) -> None:
    insert = "INSERT INTO otel_eval_outcomes (Id) VALUES ('x')"
    for statement in ("DROP TABLE otel_traces", insert, "CREATE TABLE x (a Int8) ENGINE = Memory"):
        assert asked(statement).exit_code == 1
    writer = f"http://writer@{clickhouse_server.host}:{clickhouse_server.http_port}/{stored_shop}"
    password = clickhouse_server.passwords["writer"].reveal()
    found = run("DROP TABLE otel_eval_outcomes", "--server", writer, CLICKHOUSE_PASSWORD=password)
    assert found.exit_code == 1
    assert "readonly" in found.output
    assert asked("SELECT count() FROM otel_eval_outcomes", "--format", "csv").output.endswith("\n100\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of SQL, --named, --list and --show"),
        (["SELECT 1", "--list"], "expected one of SQL"),
        (["--named", "quality_by_dya"], "did you mean quality_by_day?"),
        (["--named", "trace"], "trace: expected a value for trace_id"),
        (["--named", "trace", "--service", "x"], "trace: no parameter 'service'"),
        (["--named", "quality_by_day", "--since", "soon"], "since: 'soon': expected a time"),
        (["--named", "quality_by_day", "--days", "1", "--since", "now"], "either --days or --since"),
        (["SELECT 1", "--param", "x"], "--param 'x': expected NAME=VALUE"),
        (["SELEC 1"], "Syntax error"),
        (["SELECT * FROM nowhere"], "nowhere"),
        (["--named", "quality_by_day", "--param", "merge_below=-1"], "merge_below"),
    ],
)
def test_mistakes_are_told_plainly(asked: Any, arguments: list[str], message: str) -> None:
    found = asked(*arguments)
    assert found.exit_code == 1
    assert message in found.output
    assert "Traceback" not in found.output
    assert found.exception is None or isinstance(found.exception, SystemExit)


def test_wrong_passwords_and_servers(clickhouse_server: EmbeddedServer, stored_shop: str, tmp_path: Path) -> None:
    wrong = run("SELECT 1", *of_server(clickhouse_server, stored_shop), CLICKHOUSE_PASSWORD="hunter2")
    assert (wrong.exit_code, "hunter2" in wrong.output, "reader" in wrong.output) == (1, False, True)
    file = tmp_path / "password"
    file.write_text(clickhouse_server.passwords["reader"].reveal() + "\n")
    assert run("SELECT 1 AS one", *of_server(clickhouse_server, stored_shop), "--password-file", str(file)).exit_code == 0
    nobody = run("SELECT 1", "--server", f"http://reader@127.0.0.1:{free_port()}/otel")
    assert (nobody.exit_code, "127.0.0.1" in nobody.output or "connect" in nobody.output.lower()) == (1, True)


CONFIG = """
exporters:
  clickhouse:
    endpoint: embedded
    directory: {directory}
"""


@pytest.mark.slow
async def test_the_configured_one_while_the_hop_runs_and_when_it_does_not(tmp_path: Path) -> None:
    directory, config = tmp_path / "engine", tmp_path / "otel-eval.yaml"
    config.write_text(CONFIG.format(directory=directory))
    options = ["--config", str(config), "--format", "csv"]

    async def ask(*more: str) -> tuple[int, str]:
        found = await asyncio.to_thread(run, *more, *options)
        return found.exit_code, found.output

    async def in_process(*more: str) -> tuple[int | None, str]:
        program = "from otel_eval.cli.query import query; query()"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, *more, *options, stdout=-1, stderr=-2)
        told = (await process.communicate())[0].decode()
        return process.returncode, told

    nothing = await ask("SELECT 1")
    assert (nothing[0], f"{directory}: nothing is stored here" in nothing[1]) == (1, True)
    server = EmbeddedServer(directory, database="otel")
    await server.start()
    try:
        client = ClickHouse(endpoint_of(server, "writer"))
        await client.command("CREATE DATABASE otel")
        database = Database("otel", ClickHouse(endpoint_of(server, "writer", "otel")), client)
        await history.store(database, [trace for trace in history.shop_of_two_days() if trace.service == "bot"])
        await database.client.close()
        await client.close()
        assert await ask("SELECT currentUser() AS user") == (0, '"user"\n"reader"\n')
        named = await ask("--named", "judged_share", *WINDOW, "--service", "bot")
    finally:
        await server.stop()
    assert named[0] == 0
    assert '"bot","baseline",1,1,1,1,0' in named[1]
    assert await in_process("--named", "judged_share", *WINDOW, "--service", "bot") == named
    refused = await in_process("DROP TABLE otel_traces")
    assert (refused[0], "readonly" in refused[1]) == (1, True)


def test_a_configuration_without_clickhouse(tmp_path: Path) -> None:
    config = tmp_path / "otel-eval.yaml"
    config.write_text("exporters:\n  debug:\n")
    found = run("SELECT 1", "--config", str(config))
    assert found.exit_code == 1
    assert "expected one of type clickhouse, not 0; or give --server" in found.output


async def test_ctrl_c_ends_a_query_of_the_directory_alone(tmp_path: Path) -> None:
    """The engine in this process cannot be interrupted."""
    server = EmbeddedServer(tmp_path / "engine")
    await server.start()
    client = ClickHouse(endpoint_of(server, "writer"))
    await client.command("CREATE DATABASE otel")
    await client.close()
    await server.stop()
    (config := tmp_path / "otel-eval.yaml").write_text(CONFIG.format(directory=server.directory))
    forever = "SELECT sleepEachRow(3) FROM numbers(100) SETTINGS max_block_size = 1"
    line = [sys.executable, "-m", "otel_eval", "query", forever, "--config", str(config)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        while owner(server.directory) != str(running.pid):
            assert running.poll() is None
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=30)
    assert running.returncode == -signal.SIGINT, said
