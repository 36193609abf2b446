"""Tables of a Collector beside ours, whoever comes first."""

from collections.abc import Callable

import pytest

from otel_eval.clickhouse import schema
from tests.clickhouse import collector_ddl
from tests.clickhouse.conftest import Database
from tests.clickhouse.spans_of_tests import insert, span

TABLES = ("otel_traces", "otel_traces_trace_id_ts", "otel_traces_trace_id_ts_mv", "otel_logs")


async def definitions(database: Database) -> dict[str, str]:
    """The CREATE statements as the server has them, without the deduplication window."""
    found = {}
    for table in TABLES:
        text = (await database.client.query(f"SHOW CREATE TABLE {table}")).rows[0][0]
        found[table] = text.replace(", non_replicated_deduplication_window = 10000", "")
    return found


async def run(database: Database, statements: list[str]) -> None:
    for statement in statements:
        await database.client.command(statement)


async def test_our_tables_are_the_collectors_to_the_codec_index_and_key(database: Database) -> None:
    await run(database, collector_ddl.released(database.name))
    theirs = await definitions(database)
    for table in reversed(TABLES):
        await database.client.command(f"DROP TABLE {table} SYNC")
    await schema.apply(database.client, schema.Target(database.name))
    assert await definitions(database) == theirs
    await run(database, collector_ddl.released(database.name))  # a Collector that starts later
    assert await definitions(database) == theirs
    assert await schema.check(database.client, schema.Target(database.name)) == []


@pytest.mark.parametrize("ddl", [collector_ddl.released, collector_ddl.early, collector_ddl.newer])
async def test_tables_that_are_there_stay_as_they_are_and_take_spans(database: Database, ddl: Callable[[str], list[str]]) -> None:
    target = schema.Target(database.name)
    await run(database, ddl(database.name))
    theirs = await definitions(database)
    await schema.apply(database.client, target)
    assert await definitions(database) == theirs
    assert await schema.check(database.client, target) == []
    for _ in range(2):
        await insert(database.client, f"{database.name}.otel_traces_in", [span(1), span(2)], "one batch")
    rows = (await database.client.query("SELECT TraceId, SpanName, Duration FROM otel_traces ORDER BY TraceId")).rows
    assert rows == [(f"{1:032x}", "chat", 5), (f"{2:032x}", "chat", 5)]
    assert (await database.client.query("SELECT count() FROM otel_traces_trace_id_ts")).rows == [(2,)]
    assert (await database.client.query("SELECT count() FROM otel_traces_scored WHERE empty(Scores)")).rows == [(2,)]


async def test_what_other_versions_lack_is_noted(database: Database) -> None:
    target = schema.Target(database.name)
    await run(database, collector_ddl.early(database.name))
    await schema.apply(database.client, target)
    assert await schema.notes(database.client, target) == [
        "otel_traces: no column ScopeName, as some versions of the Collector",
        "otel_traces: no column ScopeVersion, as some versions of the Collector",
        "otel_logs: no column EventName, as some versions of the Collector",
        "otel_logs: no column TimestampTime, as some versions of the Collector",
    ]
    assert "ResourceAttributeItems" not in await schema.columns(database.client, target.name("otel_traces"))
