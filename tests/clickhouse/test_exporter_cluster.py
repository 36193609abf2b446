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
