"""Making the tables, or the text that makes them."""

from collections.abc import Mapping, Sequence
from typing import Final

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.schema.present import Relation, columns, relations, window_is_off
from otel_eval.clickhouse.schema.target import COLLECTORS, Migration, Target, created, identifier, migrations, windows
from otel_eval.errors import ConfigError

RECORD: Final = "otel_eval_schema"

OPTIONAL: Final = frozenset({"ScopeName", "ScopeVersion"})
"""Columns of otel_traces that tables of early Collectors lack."""

_INCOMPLETE_VIEW: Final = {"allow_materialized_view_with_bad_select": 1}


def statements(target: Target) -> Sequence[str]:
    """All statements in order, with comments and without semicolons, for an administrator to run.

    With a cluster and without ON CLUSTER they are for each node in turn.
    """
    made = [statement for migration in migrations() for statement in migration.statements(target)]
    return [_database(target), _record_table(target), *made, *(statement for _, statement in windows(target))]


async def apply(client: ClickHouse, target: Target) -> list[str]:
    """Make what is missing and return what was done, in words.

    Raises ConfigError where tables of another layout are in the way, and what the client raises: on code 497 the user
    lacks rights, and an administrator must run the statements.
    """
    done = []
    if not (await client.query("SELECT 1 FROM system.databases WHERE name = {name:String}", {"name": target.database})).rows:
        await client.command(_database(target))
        done.append(f"database {target.database}")
    present = await relations(client, target.database)
    _refuse_other_layout(target, present)
    await client.command(_record_table(target))
    noted = await recorded(client, target)
    for migration in migrations():
        made = migration.statements(target)
        if migration.version not in noted or created(made) - present.keys():
            for statement in made:
                await client.command(statement, settings=await _settings(client, target, statement))
            await _record(client, target, migration)
            done.append(f"{migration.version:03} {migration.name}")
    for table, statement in windows(target):
        if await window_is_off(client, target.database, table):
            await client.command(statement)
            done.append(f"deduplication window of {table}")
    return done


async def recorded(client: ClickHouse, target: Target) -> dict[int, str]:
    """The hash of each migration that was noted as applied, by its version."""
    sql = f"SELECT version, argMax(hash, applied_at) FROM {target.name(RECORD)} GROUP BY version"
    return dict((await client.query(sql)).rows)


async def _record(client: ClickHouse, target: Target, migration: Migration) -> None:
    await client.command(
        f"INSERT INTO {target.name(RECORD)} (version, name, hash, applied_at) "
        "SELECT {version:UInt32}, {name:String}, {hash:String}, now64(3)",
        {"version": migration.version, "name": migration.name, "hash": migration.hash},
        {"async_insert": 0},
    )


def _database(target: Target) -> str:
    return f"CREATE DATABASE IF NOT EXISTS {identifier(target.database)}{target.clause}"


def _record_table(target: Target) -> str:
    engine = "ReplicatedReplacingMergeTree" if target.replicated else "ReplacingMergeTree"
    return (
        "-- Which migrations were applied: one row is one of them.\n"
        f"CREATE TABLE IF NOT EXISTS {target.name(RECORD)}{target.clause} (\n"
        "    version UInt32,\n    name String,\n    hash String,\n    applied_at DateTime64(3)\n"
        f") ENGINE = {engine}(applied_at)\nORDER BY version"
    )


async def _settings(client: ClickHouse, target: Target, statement: str) -> dict[str, int]:
    """An otel_traces of an early Collector has no columns for the scope; the view then leaves them out."""
    makes_view = "otel_traces_in_mv" in created([statement])
    return {} if not makes_view or OPTIONAL <= (await columns(client, target.name("otel_traces"))).keys() else _INCOMPLETE_VIEW


def _refuse_other_layout(target: Target, present: Mapping[str, Relation]) -> None:
    for table in COLLECTORS:
        if table not in present:
            continue
        if (present[table].engine == "Distributed") != (target.cluster is not None):
            raise ConfigError(
                f"{target.database}.{table} is a Distributed table: name its cluster"
                if target.cluster is None
                else f"{target.database}.{table} is there and is not Distributed: use another database, or no cluster"
            )
