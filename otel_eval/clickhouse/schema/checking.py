"""Whether the tables that are there are those that the exporter needs."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.schema.applying import OPTIONAL, RECORD, recorded
from otel_eval.clickhouse.schema.present import Relation, columns, relations, window_is_off
from otel_eval.clickhouse.schema.target import Target, created, migrations, windows
from otel_eval.errors import OtelEvalError, PermanentError

_COLUMN: Final = re.compile(
    r"^    (?:`([\w.]+)`|(\w+)) ([A-Z]\w*(?:\(.*?\))??)(?: CODEC\(.*| DEFAULT .*)?,?(?:  --.*)?$", re.MULTILINE
)
_TABLE: Final = re.compile(r"^CREATE TABLE IF NOT EXISTS `(?:[^`\\]|\\.)+`\.(\w+).* \($", re.MULTILINE)

_MAY_BE_MISSING: Final = {"otel_traces": OPTIONAL, "otel_logs": {"TimestampTime", "EventName"}}
"""Columns that some versions of the Collector do not have; what they would hold is not stored then."""

_SAME: Final = {
    ("otel_traces", "Duration", "Int64"),
    ("otel_traces_trace_id_ts", "Start", "SimpleAggregateFunction(min, DateTime)"),
    ("otel_traces_trace_id_ts", "End", "SimpleAggregateFunction(max, DateTime)"),
}
"""Types in other versions of the Collector, which take the same values."""

_FILLED_BY_VIEWS: Final = {"otel_traces_trace_id_ts", "otel_eval_scores_hourly"}


async def check(client: ClickHouse, target: Target) -> list[str]:
    """What keeps the exporter from working right, in words; none when all is well.

    Of a cluster it sees the node that it asks. Columns are matched by name; more of them do no harm.
    """
    present = await relations(client, target.database)
    if not present:
        return [f"{target.database}: there is no such database, or nothing in it that this user may see"]
    problems = [f"{name}: missing, or hidden from this user" for name in sorted(_expected_relations(target) - present.keys())]
    for table, expected in _expected_columns(target).items():
        if table in present:
            found = await columns(client, target.name(table))
            problems += [*_column_problems(table.removesuffix("_local"), table, expected, found)]
    for table, _ in windows(target):
        if await window_is_off(client, target.database, table):
            problems.append(f"{table}: the deduplication window is off, so a retry can store rows twice")
    return problems + await _missing_grants(client, target, present)


async def notes(client: ClickHouse, target: Target) -> list[str]:
    """What differs and does no harm, in words."""
    present = await relations(client, target.database)
    found = []
    for table, optional in _MAY_BE_MISSING.items():
        if target.local(table) in present:
            there = await columns(client, target.stored(table))
            found += [f"{table}: no column {name}, as some versions of the Collector" for name in sorted(optional - there.keys())]
    found += _other_ttls(target, present)
    if RECORD in present:
        found += await _other_migrations(client, target)
    return found


def _expected_relations(target: Target) -> set[str]:
    return {name for migration in migrations() for name in created(migration.statements(target))}


def _expected_columns(target: Target) -> dict[str, dict[str, str]]:
    """For each table of the migrations that stores rows, its columns and types."""
    expected = {}
    for migration in migrations():
        for statement in migration.statements(target):
            if table := _TABLE.search(statement):
                expected[table[1]] = {quoted or plain: kind for quoted, plain, kind in _COLUMN.findall(statement)}
    return expected


def _column_problems(table: str, name: str, expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for column, kind in expected.items():
        if column not in found:
            if column not in _MAY_BE_MISSING.get(table, ()):
                yield f"{name}: no column {column}"
        elif _unquoted(found[column]) != _unquoted(kind) and (table, column, found[column]) not in _SAME:
            yield f"{name}: column {column} is {found[column]:.200}, not {kind:.200}"


def _unquoted(kind: str) -> str:
    """Servers differ in which names inside of a type they quote."""
    return kind.replace("`", "")


async def _missing_grants(client: ClickHouse, target: Target, present: Mapping[str, Relation]) -> list[str]:
    """Servers that do not know CHECK GRANT are not asked further."""
    written = {table.removesuffix("_local") for table in _expected_columns(target)} - _FILLED_BY_VIEWS
    needed = [("INSERT", table) for table in sorted(written)]
    needed += [("SELECT", "otel_traces"), ("SELECT", "otel_logs")]  # what is sent again is looked for
    for view, source in (("otel_traces_in_mv", "otel_traces_in"), ("otel_traces_trace_id_ts_mv", target.local("otel_traces"))):
        if view not in present or "DEFINER" not in present[view].created_by:
            needed.append(("SELECT", source))  # the view runs with the rights of who inserts
    missing = []
    for right, table in dict.fromkeys(needed):
        if table not in present:
            continue
        try:
            granted = (await client.query(f"CHECK GRANT {right} ON {target.name(table)}")).rows[0][0]
        except PermanentError:
            return []
        if not granted:
            missing.append(f"{table}: this user lacks {right}")
    return missing


def _other_ttls(target: Target, present: Mapping[str, Relation]) -> list[str]:
    found = []
    for migration in migrations():
        for statement in migration.statements(target):
            table = _TABLE.search(statement)
            if table is None or not (relation := present.get(table[1])) or not relation.created_by:
                continue
            wanted = Relation("", statement).ttl_days
            if relation.ttl_days != wanted:
                found.append(f"{table[1]}: rows stay {_days(relation.ttl_days)}, not {_days(wanted)} as configured")
    return found


def _days(count: int) -> str:
    return f"{count} days" if count else "for ever"


async def _other_migrations(client: ClickHouse, target: Target) -> list[str]:
    known = {migration.version: migration for migration in migrations()}
    try:
        noted = await recorded(client, target)
    except OtelEvalError:
        return [f"{RECORD}: cannot be read, so which migrations were applied is not known"]
    found = []
    for version, text_hash in sorted(noted.items()):
        if version not in known:
            found.append(f"migration {version:03} is of a later otel-eval")
        elif known[version].hash != text_hash:
            found.append(f"migration {version:03} {known[version].name} was applied with another text")
    return found
