"""Making the tables and checking them."""

import asyncio

import pytest

from otel_eval.clickhouse import schema
from otel_eval.clickhouse.schema.target import migrations
from otel_eval.errors import ConfigError
from tests.clickhouse.conftest import Database


async def test_applied_once_it_has_nothing_more_to_do(database: Database) -> None:
    target = schema.Target(database.name)
    done = await schema.apply(database.client, target)
    assert done[0] == "001 otel_traces"
    assert done[-1] == "deduplication window of otel_logs"
    assert await schema.apply(database.client, target) == []
    assert await schema.check(database.client, target) == []
    assert await schema.notes(database.client, target) == []


async def test_several_hops_at_once(database: Database) -> None:
    target = schema.Target(database.name)
    await asyncio.gather(*(schema.apply(database.client, target) for _ in range(3)))
    assert await schema.check(database.client, target) == []
    assert await schema.notes(database.client, target) == []
    assert await schema.apply(database.client, target) == []


async def test_what_is_printed_makes_the_same_in_a_new_database_of_any_name(database: Database) -> None:
    name = f"{database.name}_it's `a` \\ name"
    target = schema.Target(name, traces_ttl_days=30, evaluations_ttl_days=90, ledger_ttl_days=400)
    try:
        for statement in ";\n\n".join(schema.statements(target)).split(";\n"):
            await database.client.command(statement)
        assert await schema.check(database.client, target) == []
        assert await schema.notes(database.client, target) == []
        assert len(await schema.apply(database.client, target)) == len(migrations())  # nothing was noted
        other = schema.Target(name, traces_ttl_days=30)
        assert "otel_evaluations: rows stay 90 days, not for ever as configured" in await schema.notes(database.client, other)
    finally:
        await database.client.command(
            schema.statements(target)[0].replace("CREATE DATABASE IF NOT", "DROP DATABASE IF") + " SYNC"
        )


async def test_a_table_that_is_gone_is_made_again(database: Database) -> None:
    target = schema.Target(database.name)
    await schema.apply(database.client, target)
    await database.client.command("DROP TABLE otel_logs SYNC")
    assert await schema.check(database.client, target) == ["otel_logs: missing, or hidden from this user"]
    assert await schema.apply(database.client, target) == ["002 otel_logs", "deduplication window of otel_logs"]
    assert await schema.check(database.client, target) == []


async def test_problems_are_named(database: Database) -> None:
    target = schema.Target(database.name)
    assert await schema.check(database.client, target) == [
        f"{database.name}: there is no such database, or nothing in it that this user may see"
    ]
    await schema.apply(database.client, target)
    for statement in (
        "ALTER TABLE otel_evaluations DROP COLUMN Explanation",
        "ALTER TABLE otel_evaluations MODIFY COLUMN Score Nullable(Float32)",
        "ALTER TABLE otel_evaluations ADD COLUMN Extra String",
        "ALTER TABLE otel_eval_traffic DROP COLUMN Errors",
        "ALTER TABLE otel_eval_traffic ADD COLUMN Errors Int64 ALIAS 1",
        "ALTER TABLE otel_traces MODIFY SETTING non_replicated_deduplication_window = 0",
        "ALTER TABLE otel_logs RESET SETTING non_replicated_deduplication_window",
        "DROP VIEW otel_traces_in_mv",
    ):
        await database.client.command(statement)
    assert await schema.check(database.client, target) == [
        "otel_traces_in_mv: missing, or hidden from this user",
        "otel_evaluations: column Score is Nullable(Float32), not Nullable(Float64)",
        "otel_evaluations: no column Explanation",
        "otel_eval_traffic: no column Errors",
        "otel_traces: the deduplication window is off, so a retry can store rows twice",
        "otel_logs: the deduplication window is off, so a retry can store rows twice",
    ]


async def test_a_window_that_somebody_has_set_stays_and_missing_rights_are_named(database: Database) -> None:
    target = schema.Target(database.name)
    await schema.apply(database.client, target)
    await database.client.command("ALTER TABLE otel_traces MODIFY SETTING non_replicated_deduplication_window = 50")
    assert await schema.apply(database.client, target) == []
    assert "window = 50" in (await database.client.query("SHOW CREATE TABLE otel_traces")).rows[0][0]
    problems = await schema.check(database.reader, target)
    assert "otel_traces_in: this user lacks INSERT" in problems
    assert len(problems) == 9


async def test_migrations_of_another_version_are_noted_and_another_layout_is_refused(database: Database) -> None:
    target = schema.Target(database.name)
    await schema.apply(database.client, target)
    await database.client.command(
        "INSERT INTO otel_eval_schema VALUES (999, 'later', 'x', now64(3)), (2, 'otel_logs', 'other', now64(3) + 1)"
    )
    assert await schema.notes(database.client, target) == [
        "migration 002 otel_logs was applied with another text",
        "migration 999 is of a later otel-eval",
    ]
    with pytest.raises(ConfigError, match="is there and is not Distributed"):
        await schema.apply(database.client, schema.Target(database.name, cluster="two"))


def test_on_cluster_every_statement_names_it() -> None:
    target = schema.Target(cluster="our cluster", replicated=True, ledger_ttl_days=3)
    for statement in schema.statements(target):
        sql = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
        assert sql.splitlines()[0].count(" ON CLUSTER `our cluster`") == 1, sql
        assert "ENGINE = MergeTree" not in sql
        assert "ENGINE = Replacing" not in sql
        assert "non_replicated" not in sql
    text = "\n".join(schema.statements(target))
    assert "ENGINE = ReplicatedReplacingMergeTree(ScoredAt)" in text
    assert "ENGINE = Distributed('our cluster', 'otel', 'otel_traces_local', cityHash64(TraceId))" in text
    assert text.count("+ toIntervalDay(3)") == 4
