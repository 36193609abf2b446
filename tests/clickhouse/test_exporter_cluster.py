"""The exporter on a cluster of two shards: what it promises of one server."""

from collections.abc import AsyncIterator

import pytest_asyncio

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import Endpoint
from otel_eval.clickhouse.exporter import ClickHouseExporter
from otel_eval.exporters import Message
from otel_eval.records import Kind, PartialSuccess
from tests import traffic
from tests.clickhouse.test_exporter import EVERY_TABLE, MESSAGES
from tests.clickhouse.test_schema_cluster import counts
from tests.clickhouse.test_schema_cluster import shards as of_two_servers

shards = of_two_servers


@pytest_asyncio.fixture
async def exporters(shards: list[ClickHouse]) -> AsyncIterator[list[ClickHouseExporter]]:
    """One through each node. The tables are there already: these servers have no ON CLUSTER."""
    made = []
    for shard in shards:
        where = shard._where
        assert isinstance(where, Endpoint)
        url = f"http://{where.user}@{where.host}:{where.port}/otel"
        config = ClickHouseExporter.Config(endpoint=url, password=where.password, cluster_name="two", create_schema=False)
        made.append(ClickHouseExporter("clickhouse", config))
        await made[-1].start()
    yield made
    for exporter in made:
        await exporter.shutdown()


async def test_every_kind_arrives_once_through_whichever_node(
    shards: list[ClickHouse], exporters: list[ClickHouseExporter]
) -> None:
    for exporter in (*exporters, *exporters):
        for message in MESSAGES:
            assert await exporter.export(message) == PartialSuccess()
    for table, number in EVERY_TABLE.items():
        assert await counts(shards, table) == [number, number], table
    many = Message(Kind.TRACES, [traffic.traces(5).SerializeToString() for _ in range(60)], "many", "hop")
    for exporter in exporters:
        await exporter.export(many)
    assert await counts(shards, "otel_traces") == [EVERY_TABLE["otel_traces"] + 300] * 2
    here, there = await counts(shards, "otel_traces_local")
    assert min(here, there) > 50, "both shards hold their part"


async def test_what_shards_have_lost_is_stored_again_through_whichever_node(
    shards: list[ClickHouse], exporters: list[ClickHouseExporter]
) -> None:
    bodies = [traffic.traces(5).SerializeToString() for _ in range(60)]
    many = [
        Message(Kind.TRACES, bodies, "many", "hop", again=True),
        Message(Kind.LOGS, [traffic.logs(50).SerializeToString()], "log", "hop", again=True),
    ]
    for exporter in (*exporters, *exporters):
        for message in many:
            await exporter.export(message)
        assert await counts(shards, "otel_traces") == [300] * 2
        assert await counts(shards, "otel_logs") == [50] * 2
    for exporter, shard in zip(exporters, shards, strict=True):
        for table in ("otel_traces", "otel_logs", "otel_traces_trace_id_ts"):
            await shard.command(f"DELETE FROM {table}_local WHERE true")  # on this node; the tokens stay
        for message in many:
            await exporter.export(message)
        assert await counts(shards, "otel_traces") == [300] * 2
        assert await counts(shards, "otel_logs") == [50] * 2
        seen = await shard.query("SELECT uniqExact(TraceId) FROM otel_traces_trace_id_ts")
        assert seen.rows == [(60,)]
