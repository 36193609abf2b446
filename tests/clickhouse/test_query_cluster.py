"""The library on Distributed tables: the other of two shards tells all."""

from otel_eval.clickhouse import queries
from otel_eval.clickhouse.client import ClickHouse
from tests.clickhouse import history
from tests.clickhouse.history import DAY, MIDNIGHT
from tests.clickhouse.test_schema_cluster import shards as of_two_servers

shards = of_two_servers


async def test_every_query_runs_on_distributed_tables(shards: list[ClickHouse]) -> None:
    await history.insert(shards[0], history.shop_of_two_days(), {"distributed_foreground_insert": 1})
    of_one_fragment = {f"quality_by_{slice_by}" for slice_by in ("day", "model", "prompt_version", "service_version")}
    for name in sorted({*queries.names()} - of_one_fragment):
        query = queries.load(name)
        window = {"since": str(MIDNIGHT * 60), "until": str((MIDNIGHT + 2 * DAY) * 60)}
        values = query.values({"trace_id": f"{1:032x}"} if name == "trace" else window)
        rows = (await shards[1].query(query.sql, values)).rows
        assert rows, name
        if name == "quality_by_service":
            assert [row[1:3] for row in rows if row[0] == "shop"][2] == ("task_completion", 0.8)
        if name == "worst_traces":
            assert rows[0][5:7] == ("question 1", "answer 1")
