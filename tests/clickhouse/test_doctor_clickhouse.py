"""`otel-eval doctor` about ClickHouse exporters, against the real engine."""

from pathlib import Path
from typing import Any

import pytest

from otel_eval.clickhouse import schema
from otel_eval.clickhouse.server import EmbeddedServer
from tests.clickhouse.conftest import Database
from tests.doctor.looking import configured, findings, of


def settings(server: EmbeddedServer, database: str, user: str = "writer", **more: Any) -> dict[str, Any]:
    url = f"http://{user}@{server.host}:{server.http_port}/{database}"
    return {"clickhouse": {"endpoint": url, "password": server.passwords[user].reveal(), **more}}


async def looked(directory: Path, exporters: dict[str, Any]) -> list[tuple[str, str]]:
    configured(directory, exporters)
    status, found = await findings(directory)
    shown = of(found, f"exporter {next(iter(exporters))}")
    assert status == (1 if any(one == "problem" for one, _ in shown) else 0), found
    return shown


async def test_tables_are_missing_and_then_there(clickhouse_server: EmbeddedServer, database: Database, tmp_path: Path) -> None:
    before = await looked(tmp_path, settings(clickhouse_server, database.name))
    assert [one for one, _ in before] == ["ok"] * 3
    assert "the tables that are missing are made when a hop runs" in before[2][1]
    ((one, text), *_) = (await looked(tmp_path, settings(clickhouse_server, database.name, create_schema=False)))[2:]
    assert (one, "let an administrator run `otel-eval schema print`" in text) == ("problem", True)
    assert (await database.client.query("SHOW TABLES")).rows == [], "it has made nothing"

    target = schema.Target(database=database.name)
    await schema.apply(database.client, target)
    after = await looked(tmp_path, settings(clickhouse_server, database.name, ttl_days={"traces": 9}))
    assert after[2] == ("ok", f"{database.name}: the tables are there")
    assert any(one == "warning" and "otel_traces: rows stay for ever, not 9 days as configured" in text for one, text in after)

    await database.client.command("ALTER TABLE otel_evaluations DROP COLUMN Warnings")
    changed = await looked(tmp_path, settings(clickhouse_server, database.name))
    assert ("problem", "otel_evaluations: no column Warnings") in changed


async def test_tables_of_a_collector_are_no_problem(
    clickhouse_server: EmbeddedServer, database: Database, tmp_path: Path
) -> None:
    await schema.apply(database.client, schema.Target(database=database.name))
    await database.client.command("ALTER TABLE otel_traces MODIFY SETTING non_replicated_deduplication_window = 0")
    said = "otel_traces: the deduplication window is off, so a retry can store rows twice"
    by_the_hop = await looked(tmp_path, settings(clickhouse_server, database.name))
    assert ("warning", f"{said}; a hop turns it on when it connects") in by_the_hop
    assert ("problem", said) in await looked(tmp_path, settings(clickhouse_server, database.name, create_schema=False))


async def test_a_user_who_may_not_write(clickhouse_server: EmbeddedServer, database: Database, tmp_path: Path) -> None:
    without_tables = await looked(tmp_path, settings(clickhouse_server, database.name, "reader"))
    assert "this user lacks CREATE TABLE, CREATE VIEW, INSERT" in without_tables[2][1]
    await schema.apply(database.client, schema.Target(database=database.name))
    found = await looked(tmp_path, settings(clickhouse_server, database.name, "reader"))
    assert ("problem", "otel_traces: this user lacks INSERT") in found


async def test_a_wrong_password_is_not_shown(clickhouse_server: EmbeddedServer, tmp_path: Path) -> None:
    exporter = settings(clickhouse_server, "x")["clickhouse"] | {"password": "wrong-and-secret"}
    (*_, (one, text)) = await looked(tmp_path, {"clickhouse": exporter})
    assert one == "problem"
    assert "user and password" in text
    assert "wrong-and-secret" not in text


async def test_the_embedded_server_of_a_hop_that_runs(clickhouse_server: EmbeddedServer, tmp_path: Path) -> None:
    found = await looked(tmp_path, {"clickhouse/own": {"directory": str(clickhouse_server.directory)}})
    texts = [text for _, text in found]
    assert any(f"port {clickhouse_server.http_port}" in text and "its server runs" in text for text in texts)
    assert any(text.startswith(f"ClickHouse {clickhouse_server.version.split('.')[0]}.") for text in texts)


@pytest.mark.parametrize(("mode", "status", "said"), [(0o700, "ok", "can be used"), (0o777, "problem", "others can write here")])
async def test_the_directory_of_the_embedded_server(mode: int, status: str, said: str, tmp_path: Path) -> None:
    directory = tmp_path / "engine"
    directory.mkdir()
    directory.chmod(mode)
    (*_, (one, text)) = await looked(tmp_path, {"clickhouse": {"directory": str(directory)}})
    assert (one, said in text) == (status, True), text
    assert list(directory.iterdir()) == []
