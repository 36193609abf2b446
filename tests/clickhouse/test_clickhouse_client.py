"""The client against the real engine: statements, formats, inserts, broken connections, TLS, and in process."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import Endpoint, InProcess, endpoint_of, parse_endpoint
from otel_eval.clickhouse.failures import MissingError, UnreachableError
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.config.models import ClientTls
from otel_eval.errors import ConfigError, OtelEvalError, PermanentError, RetryableError, TooLargeError
from tests.clickhouse.conftest import Database
from tests.exporters.backends import Proxy, tcp_server
from tests.exporters.certificates import Authority

TABLE = """CREATE TABLE t (a UInt64, s String, t DateTime64(9), m Map(LowCardinality(String), String)) ENGINE = MergeTree
ORDER BY a SETTINGS non_replicated_deduplication_window = 1000"""


@asynccontextmanager
async def client_of(server: EmbeddedServer, database: Database, port: int) -> AsyncIterator[ClickHouse]:
    """A client of the writer that goes through another port."""
    client = ClickHouse(Endpoint("127.0.0.1", port, "writer", server.passwords["writer"], database=database.name))
    try:
        yield client
    finally:
        await client.close()


async def count(database: Database) -> int:
    return int((await database.client.query("SELECT count() FROM t")).rows[0][0])


async def test_values_go_in_and_come_out(database: Database) -> None:
    await database.client.command(TABLE)
    rows: dict[str, list[object]] = {"a": [1, 2], "s": ["x\n", "\0"], "t": [1700000000123456789, 0], "m": [{"k": "v"}, {}]}
    await database.client.insert_columns("t", rows)
    await database.client.insert_columns("t", {"a": [3], "s": ["é"]}, column_types=["UInt64", "String"])
    await database.client.insert_columns("t", {"a": [], "s": []})
    await database.client.insert_raw("t", b'{"a": 4, "s": "raw"}\n', "JSONEachRow", columns=["a", "s"])
    result = await database.reader.query(
        "SELECT a, s, toUnixTimestamp64Nano(t) AS ns, m FROM t WHERE a <= {most:UInt64} ORDER BY a", {"most": 3}
    )
    assert result.names == ("a", "s", "ns", "m")
    assert result.types == ("UInt64", "String", "Int64", "Map(LowCardinality(String), String)")
    assert result.rows == [(1, "x\n", 1700000000123456789, {"k": "v"}), (2, "\0", 0, {}), (3, "é", 0, {})]
    assert (await database.client.version())[:2] == (26, 9)


async def test_results_as_each_format(database: Database) -> None:
    sql = "SELECT number AS n, concat('a,', toString(number)) AS s FROM numbers({n:UInt8})"
    assert await database.reader.raw_query(sql, "CSVWithNames", {"n": 2}) == b'"n","s"\n0,"a,0"\n1,"a,1"\n'
    document = json.loads(await database.reader.raw_query(sql, "JSON", {"n": 2}))
    assert document["data"] == [{"n": "0", "s": "a,0"}, {"n": "1", "s": "a,1"}] or document["data"][1]["s"] == "a,1"
    parquet = await database.reader.raw_query(sql, "Parquet", {"n": 2})
    assert parquet[:4] == parquet[-4:] == b"PAR1"
    large = await database.reader.raw_query("SELECT repeat('x', 1000) FROM numbers(20000)", "TSV")
    assert len(large) == 20000 * 1001


@pytest.mark.parametrize("compression", ["lz4", "none"])
async def test_many_inserts_at_once(compression: str, database: Database, clickhouse_server: EmbeddedServer) -> None:
    await database.client.command(TABLE)
    end = endpoint_of(clickhouse_server, "writer", database.name)
    client = ClickHouse(msgspec.structs.replace(end, compression=compression))
    body = b"".join(b"%d,%s\n" % (number, b"x" * 500) for number in range(2000))
    columns = {"a": range(100), "s": ["y"] * 100}
    slow = asyncio.create_task(client.query("SELECT sleep(1)"))
    await asyncio.gather(
        *(client.insert_raw("t", body, "CSV", {"insert_deduplication_token": f"r{n}"}, ["a", "s"]) for n in range(6)),
        *(client.insert_columns("t", columns, {"insert_deduplication_token": f"c{n}"}) for n in range(6)),
    )
    assert not slow.done()
    await slow
    assert await count(database) == 6 * 2000 + 6 * 100
    await client.close()


@pytest.mark.parametrize("way", ["raw", "columns"])
async def test_after_a_cut_it_is_not_sent_again_by_itself(
    way: str, database: Database, clickhouse_server: EmbeddedServer
) -> None:
    sent = []

    async def forget_answers_to_inserts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", clickhouse_server.http_port)

        async def ask() -> None:
            while asked := await reader.read(1 << 16):
                if b"INSERT" in asked:
                    sent.append(asked)
                back.write(asked)

        asking = asyncio.create_task(ask())
        try:
            before = len(sent)
            while (answer := await there.read(1 << 16)) and len(sent) == before:
                writer.write(answer)
        finally:
            asking.cancel()
            back.close()

    await database.client.command(TABLE)
    settings = {"insert_deduplication_token": "one"}
    async with tcp_server(forget_answers_to_inserts) as port, client_of(clickhouse_server, database, port) as client:
        for tries in (1, 2):
            if way == "raw":
                insert = client.insert_raw("t", b"1\n", "CSV", settings, columns=["a"])
            else:
                insert = client.insert_columns("t", {"a": [1]}, settings, column_types=["UInt64"])
            with pytest.raises(RetryableError, match="cannot be reached"):
                await insert
            assert len(sent) == tries
    assert await count(database) == 1


@pytest.mark.parametrize("body", [b"<html>Back soon</html>", b""])
async def test_a_page_of_a_proxy_is_no_answer_to_an_insert(
    body: bytes, database: Database, clickhouse_server: EmbeddedServer
) -> None:
    async def maintenance(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", clickhouse_server.http_port)

        async def answer() -> None:
            while answered := await there.read(1 << 16):
                writer.write(answered)

        answering = asyncio.create_task(answer())
        try:
            while asked := await reader.read(1 << 16):
                if b"INSERT" in asked:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                else:
                    back.write(asked)
        finally:
            answering.cancel()
            back.close()

    await database.client.command(TABLE)
    async with tcp_server(maintenance) as port, client_of(clickhouse_server, database, port) as client:
        with pytest.raises(UnreachableError, match="has no X-ClickHouse-Query-Id: something before"):
            await client.insert_raw("t", b"1\n", "CSV", columns=["a"])
        assert await count(database) == 0


async def test_errors_by_what_can_be_done(database: Database, clickhouse_server: EmbeddedServer) -> None:
    await database.client.command(TABLE)
    await database.client.command("CREATE TABLE p (d Date) ENGINE = MergeTree PARTITION BY d ORDER BY d")
    client, reader = database.client, database.reader
    cases: list[tuple[Callable[[], Awaitable[object]], type[OtelEvalError], str]] = [
        (lambda: client.query("SELECT * FROM nope"), MissingError, "error 60"),
        (lambda: client.insert_raw("nope", b"1\n", "CSV"), MissingError, "error 60"),
        (lambda: client.insert_columns("t", {"nope": [1]}), MissingError, "Unrecognized column 'nope'"),
        (lambda: client.insert_raw("t", b"1\n", "CSV", columns=["nope"]), MissingError, "error 16"),
        (lambda: client.query("SELECT sleep(3)", settings={"max_execution_time": 1}), RetryableError, "error 159"),
        (lambda: reader.command("INSERT INTO t (a) VALUES (1)"), RetryableError, "error 497"),
        (lambda: client.command("INSERT INTO p SELECT toDate(number) FROM numbers(200)"), TooLargeError, "Too many partitions"),
        (lambda: client.insert_raw("t", b"secret\n", "CSV", columns=["a"]), PermanentError, "error (27|117)"),
        (lambda: client.insert_raw("t", b'{"a": "sec\'ret"}', "JSONEachRow"), PermanentError, "error (27|117)"),
        (lambda: client.insert_raw("t", b"garbage secret", "Native"), PermanentError, "error 33"),
        (lambda: client.insert_columns("t", {"a": ["secret"]}), PermanentError, "values of column a do not fit"),
        (lambda: client.insert_columns("t", {"s": ["secret\ud800"]}), PermanentError, "values of column s do not fit"),
        (lambda: client.insert_columns("t", {"a": [1], "s": []}), PermanentError, "different numbers of rows"),
        (lambda: client.query("SELEC 1"), PermanentError, "error 62"),
        (lambda: client.query("SELECT 1", settings={"nope": 1}), PermanentError, "error 115"),
        (lambda: client.query("SELECT {a:String}", {"a": "\ud800"}), PermanentError, "cannot be sent"),
    ]
    for call, kind, said in cases:
        with pytest.raises(OtelEvalError, match=said) as caught:
            await call()
        assert type(caught.value) is kind, caught.value
        assert "secret" not in str(caught.value)
    assert await count(database) == 0


async def test_no_server_no_database_no_time(database: Database, clickhouse_server: EmbeddedServer) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    right = clickhouse_server.passwords["writer"]
    async with tcp_server(talk) as port:
        clients = [
            (ClickHouse(Endpoint("127.0.0.1", 1, "writer", right)), "cannot be reached"),
            (ClickHouse(Endpoint("127.0.0.1", port, "writer", right)), "HTTP status 502"),
            (ClickHouse(endpoint_of(clickhouse_server, "writer", "nowhere")), "error 81"),
            (ClickHouse(endpoint_of(clickhouse_server, "writer"), timeout_s=0.3), "no answer within 0.3 s"),
        ]
        for client, said in clients:
            with pytest.raises(RetryableError, match=said):
                await client.query("SELECT sleep(1)")
            await client.close()


async def test_a_renewed_password_file_is_read_again(tmp_path: Path, clickhouse_server: EmbeddedServer) -> None:
    file = tmp_path / "password"
    file.write_text("wrong-password\n")
    client = ClickHouse(parse_endpoint("key", f"http://reader@127.0.0.1:{clickhouse_server.http_port}", password_file=file))
    with pytest.raises(RetryableError, match="error 516") as caught:
        await client.query("SELECT 1")
    assert "wrong-password" not in str(caught.value)
    file.unlink()
    with pytest.raises(RetryableError, match="No such file"):
        await client.query("SELECT 1")
    file.write_text(clickhouse_server.passwords["reader"].reveal())
    assert (await client.query("SELECT 1")).rows == [(1,)]
    await client.close()


async def test_loopback_needs_no_proxy(clickhouse_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    client = ClickHouse(endpoint_of(clickhouse_server, "reader"))
    assert (await client.query("SELECT 1")).rows == [(1,)]
    await client.close()


async def test_tls_by_an_authority_of_ones_own(tmp_path: Path, clickhouse_server: EmbeddedServer) -> None:
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    pair = authority.issue("server", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    server = await asyncio.start_server(Proxy(clickhouse_server.http_port).converse, "127.0.0.1", 0, ssl=context)
    url = f"https://reader@127.0.0.1:{server.sockets[0].getsockname()[1]}/system"
    password = clickhouse_server.passwords["reader"]
    try:
        client = ClickHouse(parse_endpoint("key", url, password, tls=ClientTls(ca_file=authority.file)))
        assert (await client.query("SELECT currentUser(), currentDatabase()")).rows == [("reader", "system")]
        await client.close()
        stranger = ClickHouse(parse_endpoint("key", url, password, tls=ClientTls(ca_file=other.file)))
        with pytest.raises(RetryableError, match="cannot be reached"):
            await stranger.query("SELECT 1")
        await stranger.close()
    finally:
        server.close()


async def test_in_process_it_is_the_same_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(tmp_path / "engine")
    await server.start()
    writer = ClickHouse(endpoint_of(server, "writer"))
    await writer.command("CREATE DATABASE otel")
    await writer.command("CREATE TABLE otel.t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    await writer.insert_columns("otel.t", {"a": [1], "s": ["x"]})
    await writer.close()
    await server.stop()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.xml").write_text("<clickhouse/>")
    client = ClickHouse(InProcess(tmp_path / "engine", "otel"))
    with pytest.raises(ConfigError, match="the engine would take its settings from here"):
        await client.query("SELECT 1")
    (tmp_path / "config.xml").unlink()
    await client.insert_columns("t", {"a": [2], "s": ["y"]})
    await client.insert_raw("t", b"3,z\n", "CSV")
    assert (await client.query("SELECT * FROM t ORDER BY a")).rows == [(1, "x"), (2, "y"), (3, "z")]
    assert await client.raw_query("SELECT max(a) FROM t", "CSV") == b"3\n"
    with pytest.raises(RetryableError, match="error 60"):
        await client.query("SELECT * FROM nope")
    with pytest.raises(PermanentError, match="error 27"):
        await client.insert_raw("t", b"secret,z\n", "CSV")
    with pytest.raises(ConfigError, match="in use by this process already; each exporter and the journal need"):
        await EmbeddedServer(tmp_path / "engine").start()
    await client.close()
    await server.start()
    await server.stop()
