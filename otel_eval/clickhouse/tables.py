"""The tables that the exporter writes to, as the server has them."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from otel_eval.clickhouse import raw, schema
from otel_eval.clickhouse.client import ClickHouse, External
from otel_eval.clickhouse.inserts import TABLES, Insert
from otel_eval.clickhouse.schema.present import relations

_RAW_FROM: Final = (25, 9)
"""The first version of ClickHouse that takes raw requests."""

_EVERY_INSERT: Final = {
    "async_insert": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "throw_on_max_partitions_per_insert_block": 0,  # spans of a hundred days in one batch are refused for ever otherwise
}


class Tables(NamedTuple):
    """A connection whose tables are there.

    `types` are the types of the columns that each table has, `forgetful` the tables that one server stores alone: it may
    remember the token of rows that it lost, see `completing`.
    """

    client: ClickHouse
    target: schema.Target
    types: Mapping[str, Mapping[str, str]]
    takes_raw: bool
    forgetful: frozenset[str]

    async def insert(self, insert: Insert, token: str | None) -> None:
        """Insert what has not been inserted with this token; without a token, whatever has been."""
        settings = self._settings(token)
        table = self.target.name(insert.table)
        if isinstance(insert.rows, bytes):
            await self.client.insert_raw(table, insert.rows, raw.FORMAT, settings | raw.SETTINGS)
            return
        types = self.types[insert.table]
        columns = {name: values for name, values in insert.rows.items() if name in types}
        await self.client.insert_columns(table, columns, settings, [types[name] for name in columns])

    async def insert_selected(self, table: str, select: str, external: External) -> None:
        """Insert what a query gives, whether it has been inserted or not."""
        await self.client.command(
            f"INSERT INTO {self.target.name(table)} {select}", settings=self._settings(None), external=external
        )

    def _settings(self, token: str | None) -> dict[str, str | int]:
        settings: dict[str, str | int] = dict(_EVERY_INSERT)
        settings |= {"insert_deduplicate": 0} if token is None else {"insert_deduplication_token": token}
        return settings | ({} if self.target.cluster is None else {"distributed_foreground_insert": 1})


async def find(client: ClickHouse, target: schema.Target, *, is_server: bool) -> Tables:
    """Look what is there; `is_server` is False for an engine in this process."""
    types = {table: await schema.columns(client, target.name(table)) for table in TABLES}
    found = await relations(client, target.database)
    if not is_server:  # raw requests would leave the engine's __cache__ in our current directory; it knows no external data
        return Tables(client, target, types, takes_raw=False, forgetful=frozenset())
    landing = found.get("otel_traces_in")  # without its view it would take requests and store nothing
    takes_raw = landing is not None and "otel_traces_in_mv" in landing.fills and await client.version() >= _RAW_FROM
    alone = (table for table in (*TABLES, "otel_traces_trace_id_ts") if (one := found.get(target.local(table))) and one.is_alone)
    return Tables(client, target, types, takes_raw, frozenset(alone))
