"""What the tests of rows share: both ways into otel_traces, and whether two tables hold the same."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from otel_eval.clickhouse import raw, schema, spans
from tests.clickhouse.conftest import Database

CAPTURES = Path(__file__).parent.parent / "captures"
MANY_DAYS = {"async_insert": 0, "max_partitions_per_insert_block": 0}
NATIVE = "otel_traces_native"


async def prepare(database: Database) -> None:
    """All tables, and one like otel_traces that nothing but `insert_native` writes."""
    await schema.apply(database.client, schema.Target(database=database.name))
    await database.client.command(f"CREATE TABLE {NATIVE} AS otel_traces")


async def insert_raw(database: Database, bodies: Iterable[bytes]) -> None:
    await database.client.insert_raw("otel_traces_in", b"".join(bodies), raw.FORMAT, {**raw.SETTINGS, **MANY_DAYS})


async def insert_native(database: Database, bodies: Iterable[bytes], table: str = NATIVE) -> None:
    await database.client.insert_columns(table, spans.columns(bodies), MANY_DAYS)


async def content(database: Database, table: str) -> dict[str, int]:
    """The number of rows, a hash of each column and one of whole rows; the order of rows does not count."""
    columns = [f"`{name}`" for name in spans.COLUMNS]
    hashes = [f"sum(sipHash64({names}))" for names in (*columns, ", ".join(columns))]
    found = await database.client.query(f"SELECT count(), {', '.join(hashes)} FROM {table}")
    return dict(zip(("number", *columns, "rows"), found.rows[0], strict=True))


async def assert_same(database: Database, bodies: Sequence[bytes]) -> int:
    """Insert both ways into emptied tables; gives the number of rows."""
    for table in ("otel_traces", NATIVE):
        await database.client.command(f"TRUNCATE TABLE {table}")
    await insert_raw(database, bodies)
    await insert_native(database, bodies)
    left, right = await content(database, "otel_traces"), await content(database, NATIVE)
    assert left == right, [name for name, value in left.items() if value != right[name]]
    return left["number"]


async def rows(database: Database, table: str, what: str, order: str = "tuple()") -> list[tuple[Any, ...]]:
    return list((await database.client.query(f"SELECT {what} FROM {table} ORDER BY {order}")).rows)


async def insert(database: Database, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Insert columns, which must be all that the table has."""
    described = await database.client.query(f"DESCRIBE TABLE {table}")
    assert {row[0] for row in described.rows} - {"TimestampTime"} == set(columns)
    await database.client.insert_columns(table, columns, MANY_DAYS)
