"""Two servers as a cluster of two shards, without ON CLUSTER."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from otel_eval.clickhouse import schema
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.directory import EngineDirectory
from otel_eval.clickhouse.endpoint import endpoint_of
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.clickhouse.settings import WRITER, Shard
from tests.clickhouse.spans_of_tests import insert, span

TARGET = schema.Target("otel", cluster="two", on_cluster=False)
SPANS = [span(number) for number in range(400)]
SYNC = {"distributed_foreground_insert": 1}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest_asyncio.fixture
async def shards(tmp_path: Path) -> AsyncIterator[list[ClickHouse]]:
    """Clients of the two writers."""
    shards = []
    for name in ("a", "b"):
        directory = EngineDirectory(tmp_path / name)
        directory.prepare()
        shards.append(Shard(free_port(), WRITER, directory.passwords()[WRITER]))
    servers = [
        EmbeddedServer(tmp_path / name, tcp_port=shard.port, clusters={"two": shards})
        for name, shard in zip(("a", "b"), shards, strict=True)
    ]
    clients: list[ClickHouse] = []
    try:
        await asyncio.gather(*(server.start() for server in servers))
        clients += [ClickHouse(endpoint_of(server, WRITER, "otel")) for server in servers]
        for server in servers:
            admin = ClickHouse(endpoint_of(server, WRITER))
            await schema.apply(admin, TARGET)
            await admin.close()
        yield clients
    finally:
        for client in clients:
            await client.close()
        await asyncio.gather(*(server.stop() for server in servers))


async def counts(shards: list[ClickHouse], table: str) -> list[int]:
    return [(await shard.query(f"SELECT count() FROM {table}")).rows[0][0] for shard in shards]


async def test_two_shards(shards: list[ClickHouse]) -> None:
    for shard in shards:
        assert await schema.check(shard, TARGET) == []
        assert await schema.apply(shard, TARGET) == []
    await rows_are_on_both_shards_and_retries_store_nothing(shards)
    await scores_are_joined_and_added_up_where_they_are(shards)
    await a_shard_that_lost_its_part_gets_it_by_the_retry(shards)


async def rows_are_on_both_shards_and_retries_store_nothing(shards: list[ClickHouse]) -> None:
    for shard in (shards[0], shards[0], shards[1]):  # a retry, and one through the other node
        await insert(shard, "otel_traces_in", SPANS, "one batch", **SYNC)
        for table in ("otel_traces", "otel_traces_trace_id_ts"):
            assert await counts(shards, table) == [400, 400]
            here, there = await counts(shards, f"{table}_local")
            assert here + there == 400
            assert min(here, there) > 100


async def scores_are_joined_and_added_up_where_they_are(shards: list[ClickHouse]) -> None:
    select = (
        "SELECT Timestamp, TraceId, SpanId, ServiceName, 'a', 0.5, toStartOfMinute(Timestamp), 0.5, now64(9) FROM otel_traces"
    )
    columns = "SpanTimestamp, TraceId, SpanId, ServiceName, EvaluationName, Score, Minute, Probability, ScoredAt"
    await shards[0].command(f"INSERT INTO otel_evaluations ({columns}) {select}", settings=SYNC)
    assert await counts(shards, "otel_traces_scored WHERE Scores['a'] = 0.5") == [400, 400]
    assert await counts(shards, "otel_evaluations_local") == await counts(shards, "otel_traces_local")

    for shard in shards:
        for action in ("REFRESH", "WAIT"):
            await shard.command(f"SYSTEM {action} VIEW otel_eval_scores_hourly_mv")
    hourly = (await shards[1].query("SELECT sum(Scores), sum(Weight) FROM otel_eval_scores_hourly FINAL")).rows
    assert hourly == [(400, 800.0)]


async def a_shard_that_lost_its_part_gets_it_by_the_retry(shards: list[ClickHouse]) -> None:
    """As after a cut, when one shard has stored its part and the other has not."""
    kept = await counts(shards, "otel_traces_local")
    await shards[1].command("TRUNCATE TABLE otel_traces_local SYNC")
    for window in (0, 10000):  # it forgets the tokens
        sql = f"ALTER TABLE otel_traces_local MODIFY SETTING non_replicated_deduplication_window = {window}"
        await shards[1].command(sql)
    assert await counts(shards, "otel_traces_local") == [kept[0], 0]
    await insert(shards[0], "otel_traces_in", SPANS, "one batch", **SYNC)
    assert await counts(shards, "otel_traces_local") == kept
