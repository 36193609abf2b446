"""What a killed server has lost although it remembers it: stored again, and nothing twice."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
import structlog.testing
from hypothesis import given
from msgspec.structs import replace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.completing import complete
from otel_eval.clickhouse.endpoint import endpoint_of
from otel_eval.clickhouse.exporter import ClickHouseExporter
from otel_eval.clickhouse.failures import UnreachableError
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.clickhouse.tables import find
from otel_eval.exporters import Message
from otel_eval.records import Kind
from tests import strategies
from tests.clickhouse.conftest import Database
from tests.clickhouse.test_exporter import EVERY_TABLE, MESSAGES, counts, running
from tests.clickhouse.test_rows_spans import requests

TIMES = "SELECT TraceId, min(Start), max(End) FROM otel_traces_trace_id_ts GROUP BY TraceId ORDER BY TraceId"


async def again(exporter: ClickHouseExporter, messages: Sequence[Message] = MESSAGES) -> list[str]:
    """Send messages that may have been sent before; what was logged."""
    with structlog.testing.capture_logs() as lines:
        for message in messages:
            await exporter.export(message._replace(again=True))
    return [line["event"] for line in lines if line["log_level"] == "warning"]


async def parts(client: ClickHouse) -> list[Path]:
    found = await client.query("SELECT path FROM system.parts WHERE database = 'otel' AND active AND table != 'otel_eval_schema'")
    return [Path(path) for (path,) in found.rows]


@pytest.mark.slow
async def test_rows_of_which_a_killed_server_kept_only_the_tokens(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    async with running(server, "otel") as exporter:
        for message in MESSAGES:
            await exporter.export(message)
    client = ClickHouse(endpoint_of(server, "writer", "otel"))
    stored = await parts(client)
    assert len(stored) >= len(EVERY_TABLE)
    await client.close()
    await server.stop()
    for part in stored:  # where a server has them that is killed behind the note of the token and before their rename
        part.rename(part.with_name(f"tmp_insert_{part.name}"))

    server = EmbeddedServer(tmp_path)
    await server.start()
    try:
        client = ClickHouse(endpoint_of(server, "writer", "otel"))
        database = Database("otel", client, client)
        async with running(server, "otel") as exporter:
            for message in MESSAGES:
                await exporter.export(message)
            assert await counts(database) == dict.fromkeys(EVERY_TABLE, 0), "the server takes them for what it has"
            assert len(await again(exporter)) == 2
            assert await counts(database) == EVERY_TABLE
            assert len((await client.query(TIMES)).rows) == 2
            assert await again(exporter) == []
            assert await counts(database, ["otel_traces", "otel_logs"]) == {"otel_traces": 5, "otel_logs": 2}
        await client.close()
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def stored(clickhouse_server: EmbeddedServer, database: Database) -> AsyncIterator[ClickHouseExporter]:
    """An exporter that has stored MESSAGES."""
    async with running(clickhouse_server, database.name) as exporter:
        for message in MESSAGES:
            await exporter.export(message)
        yield exporter


async def test_what_is_there_is_not_stored_again(stored: ClickHouseExporter, database: Database) -> None:
    times = (await database.client.query(TIMES)).rows
    for _ in range(3):
        assert await again(stored) == []
    for table in EVERY_TABLE:  # those of a Replacing engine: as a query with FINAL has it
        await database.client.command(f"OPTIMIZE TABLE {table} FINAL")
    assert await counts(database) == EVERY_TABLE
    assert (await database.client.query(TIMES)).rows == times


async def test_a_part_of_the_rows(stored: ClickHouseExporter, database: Database) -> None:
    """DELETE hides rows and keeps the tokens of their insert."""
    rows = "SELECT * FROM otel_traces ORDER BY ALL"
    whole = (await database.client.query(rows)).rows
    times = (await database.client.query(TIMES)).rows
    some = "SELECT SpanId FROM otel_traces ORDER BY SpanId LIMIT 2"
    await database.client.command(f"DELETE FROM otel_traces WHERE SpanId IN ({some})")
    await database.client.command("DELETE FROM otel_traces_trace_id_ts WHERE true")
    assert len(await again(stored)) == 1
    assert (await database.client.query(rows)).rows == whole
    assert (await database.client.query(TIMES)).rows == times


async def test_it_is_lost_more_than_once(stored: ClickHouseExporter, database: Database) -> None:
    """What is stored again has a token too, which can be remembered without the rows in its turn."""
    for _ in range(3):
        await database.client.command("DELETE FROM otel_traces WHERE true")
        await again(stored)
        assert await counts(database, ["otel_traces"]) == {"otel_traces": 5}


async def test_odd_requests_are_not_doubled(clickhouse_server: EmbeddedServer, database: Database) -> None:
    bodies: dict[str, list[bytes]] = {"otel_traces": [], "otel_logs": []}

    @strategies.PROPERTY
    @given(requests(), strategies.requests(Kind.LOGS, unknown=False))
    def collect(spans: bytes, logs: ExportLogsServiceRequest) -> None:
        bodies["otel_traces"].append(spans)
        bodies["otel_logs"].append(logs.SerializeToString())

    collect()
    kinds = {"otel_traces": Kind.TRACES, "otel_logs": Kind.LOGS}
    messages = [Message(kinds[table], bodies[table], table, "hop") for table in bodies]
    async with running(clickhouse_server, database.name) as exporter:
        for message in messages:
            await exporter.export(message)
        whole = await counts(database, list(bodies))
        assert min(whole.values()) > 40
        assert await again(exporter, messages) == []
        assert await counts(database, list(bodies)) == whole
        for table in bodies:
            await database.client.command(f"DELETE FROM {table} WHERE true")
        assert len(await again(exporter, messages)) == 2
        assert await counts(database, list(bodies)) == whole


async def test_a_server_that_does_not_say_is_believed(stored: ClickHouseExporter, database: Database) -> None:
    tables = await find(database.client, stored._target, is_server=True)
    asked_elsewhere = tables._replace(target=replace(tables.target, database="no such database"))
    with structlog.testing.capture_logs() as lines:
        await complete(asked_elsewhere, MESSAGES[0])
    assert len(lines) == 2
    assert "UNKNOWN" not in str(lines)


async def test_a_server_that_dies_meanwhile_is_not(stored: ClickHouseExporter, clickhouse_server: EmbeddedServer) -> None:
    tables = await stored._prepare(ClickHouse(endpoint_of(clickhouse_server, "writer")))
    dead = ClickHouse(replace(endpoint_of(clickhouse_server, "writer"), port=1))
    with pytest.raises(UnreachableError):
        await complete(tables._replace(client=dead), MESSAGES[0])
