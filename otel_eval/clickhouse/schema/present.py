"""What a database holds already."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from otel_eval.clickhouse.client import ClickHouse

_WINDOW: Final = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")


class Relation(NamedTuple):
    """A table or view."""

    engine: str
    created_by: str
    """The CREATE statement as the server has it, settings included; empty when the user may not see it."""
    fills: Sequence[str] = ()
    """The materialized views that read what is inserted into it, also those that the user may not see."""

    @property
    def is_alone(self) -> bool:
        """Whether one server stores its rows and deduplication tokens, none of them in Keeper."""
        return re.fullmatch(r"\w*MergeTree", self.engine) is not None and not self.engine.startswith(("Repl", "Shared"))

    @property
    def ttl_days(self) -> int:
        """How long rows stay, 0 for ever."""
        found = re.search(r"\bTTL .*?\+ toIntervalDay\((\d+)\)", self.created_by)
        return int(found[1]) if found else 0


async def relations(client: ClickHouse, database: str) -> dict[str, Relation]:
    """The tables and views that the user may see, by name."""
    sql = "SELECT name, engine, create_table_query, dependencies_table FROM system.tables WHERE database = {database:String}"
    found = await client.query(sql, {"database": database})
    return {name: Relation(engine, text, views) for name, engine, text, views in found.rows}


async def columns(client: ClickHouse, table: str) -> dict[str, str]:
    """The columns of a table that can be inserted into, in order, with their types; `table` as it is written in SQL."""
    described = await client.query(f"DESCRIBE TABLE {table}", settings={"print_pretty_type_names": 0})
    return {row[0]: row[1] for row in described.rows if row[2] not in {"ALIAS", "MATERIALIZED"}}


async def window_is_off(client: ClickHouse, database: str, table: str) -> bool:
    """Whether a table that is there forgets deduplication tokens. Replicated and other engines never do."""
    relation = (await relations(client, database)).get(table)
    if relation is None or not relation.is_alone:
        return False
    if found := _WINDOW.search(relation.created_by):
        return found[1] == "0"
    sql = "SELECT value FROM system.merge_tree_settings WHERE name = 'non_replicated_deduplication_window'"
    default = (await client.query(sql)).rows
    return not default or default[0][0] == "0"
