"""What the reader, and the engine's own user, may not do in the embedded server."""

import base64
from pathlib import Path

import aiohttp
import pytest

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.confinement import available
from otel_eval.clickhouse.endpoint import endpoint_of
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.errors import OtelEvalError, TooLargeError
from tests.clickhouse.conftest import Database

DENIED = [
    "INSERT INTO t VALUES (1)",
    "DROP TABLE t",
    "TRUNCATE TABLE t",
    "ALTER TABLE t DELETE WHERE 1",
    "CREATE TABLE u (a UInt64) ENGINE = Memory",
    "CREATE TEMPORARY TABLE u (a UInt64)",
    "SYSTEM STOP LISTEN HTTP",
    "SYSTEM STOP MERGES t",
    "KILL QUERY WHERE 1",
    "SELECT * FROM file('users.xml', LineAsString)",
    "SELECT * FROM filesystem('/')",
    "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
    "SELECT * FROM remote('127.0.0.1:1', system.numbers)",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM executable('id', TSV, 'a String')",
    "SELECT * FROM python('os')",
    "SELECT * FROM python('os') SETTINGS allow_python_table_function = 1",
    "SELECT * FROM system.processes",
    "SELECT * FROM system.users",
    "SELECT * FROM system.server_settings",
    "SELECT * FROM other.secret",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT 1 SETTINGS max_execution_time = 61",
    "SELECT 1 SETTINGS max_result_rows = 0",
    "SELECT 1 SETTINGS max_concurrent_queries_for_user = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS allow_introspection_functions = 1",
    "SET max_memory_usage = 1",
]


async def test_the_reader_reads_and_may_change_what_does_not_limit_it(database: Database) -> None:
    await database.client.command("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    await database.client.insert_columns("t", {"a": [1, 2, 3]})
    await database.client.command("CREATE VIEW v AS SELECT sum(a) AS s FROM t")
    assert (await database.reader.query("SELECT s FROM v SETTINGS max_threads = 1, max_execution_time = 55")).rows == [(6,)]
    assert (await database.reader.query("SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY 1")).rows == [
        ("t",),
        ("v",),
    ]


async def test_the_reader_is_denied_everything_else(database: Database, clickhouse_server: EmbeddedServer) -> None:
    await database.client.command("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    await database.client.command("CREATE DATABASE IF NOT EXISTS other")
    await database.client.command("CREATE TABLE IF NOT EXISTS other.secret (a UInt64) ENGINE = Memory")
    before = clickhouse_server.pid
    allowed = []
    for statement in DENIED:
        try:
            await database.reader.command(statement)
        except OtelEvalError as error:
            if "cannot be reached" not in str(error):
                continue
        allowed.append(statement)
    assert allowed == []
    assert (await database.reader.query("SELECT count() FROM t")).rows == [(0,)]
    assert clickhouse_server.pid == before


@pytest.mark.skipif(not available(), reason="no Landlock here: the package docstring says what that means")
async def test_the_kernel_keeps_files_from_the_engine(database: Database, clickhouse_server: EmbeddedServer) -> None:
    directory = clickhouse_server.directory
    for path in (directory / "writer.password", directory / "reader.password", Path(__file__), Path("/etc/passwd")):
        for client in (database.reader, database.client):
            assert path.exists()
            with pytest.raises(OtelEvalError, match="Permission denied"):
                await client.query(f"SELECT file('{path}')")
    with pytest.raises(OtelEvalError, match="Permission denied"):
        await database.client.command(f"INSERT INTO FUNCTION file('{directory}/lock', LineAsString, 'a String') VALUES ('x')")


async def test_results_are_limited(database: Database) -> None:
    with pytest.raises(TooLargeError, match="Limit for result exceeded"):
        await database.reader.query("SELECT number FROM numbers(2000000)")
    with pytest.raises(TooLargeError, match="Query memory limit exceeded"):
        await database.reader.query("SELECT length(groupArray(number)) FROM numbers(200000000)")


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def test_nobody_without_a_password_is_served(clickhouse_server: EmbeddedServer) -> None:
    right = clickhouse_server.passwords["reader"].reveal()
    url = f"http://127.0.0.1:{clickhouse_server.http_port}/"
    reader = {"X-ClickHouse-User": "reader", "X-ClickHouse-Key": right}
    refused: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({}, {"max_sessions_for_user": "9"}),
        ({}, {"user": "default", "session_id": "mine"}),
        ({"X-ClickHouse-User": "default"}, {}),
        ({"X-ClickHouse-User": "reader"}, {}),
        ({"X-ClickHouse-User": "reader", "X-ClickHouse-Key": "wrong"}, {}),
        ({"X-ClickHouse-User": "writer", "X-ClickHouse-Key": right}, {}),
        (reader, {"user": "default"}),
        (basic("default", ""), {}),
        (basic("reader", "wrong"), {}),
        (basic("reader", right), {"user": "default"}),
    ]
    async with aiohttp.ClientSession() as session:
        for query in ("SELECT currentUser()", "SYSTEM STOP LISTEN HTTP", "KILL QUERY WHERE 1", "SET max_sessions_for_user = 9"):
            for headers, parameters in refused:
                async with session.post(url, data=query, headers=headers, params=parameters) as response:
                    assert response.status >= 400, (query, headers, parameters)
        for headers in (reader, basic("reader", right)):
            async with session.post(url, data="SELECT currentUser()", headers=headers) as response:
                assert await response.text() == "reader\n"


async def test_nor_over_the_native_protocol(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "engine", tcp_port=0)
    await server.start()
    writer = ClickHouse(endpoint_of(server, "writer"))
    try:
        remote = "SELECT * FROM remote('127.0.0.1:{}', system.numbers, '{}', '{}') LIMIT 1"
        with pytest.raises(OtelEvalError, match="overflown session count 1"):
            await writer.query(remote.format(server.tcp_port, "default", ""))
        allowed = remote.format(server.tcp_port, "writer", server.passwords["writer"].reveal())
        assert (await writer.query(allowed)).rows == [(0,)]
    finally:
        await writer.close()
        await server.stop()


async def test_what_takes_too_much_by_itself_is_too_large_for_the_writer(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "engine", max_memory_bytes=256 << 20)
    await server.start()
    client = ClickHouse(endpoint_of(server, "writer"))
    try:
        await client.command("CREATE TABLE default.t (a Array(String)) ENGINE = Null")
        with pytest.raises(TooLargeError, match="Query memory limit"):
            await client.command("INSERT INTO default.t SELECT groupArray(repeat('x', 1000)) FROM numbers(1000000)")
    finally:
        await client.close()
        await server.stop()
