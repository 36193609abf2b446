"""The exporter `clickhouse` against a real server: everything arrives, and once in effect."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from msgspec.structs import replace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_eval.clickhouse import schema
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import InProcess
from otel_eval.clickhouse.exporter import ClickHouseExporter
from otel_eval.clickhouse.server import EmbeddedServer, NoWayInError
from otel_eval.config import load
from otel_eval.errors import PermanentError, RetryableError, TooLargeError
from otel_eval.evaluators.evaluator import Scope
from otel_eval.exporters import Message
from otel_eval.judging import scores
from otel_eval.records import Kind, OwnKind, PartialSuccess
from otel_eval.sampling import ledger
from otel_eval.sampling.ledger import Decided, OutcomeSeen, Traffic, Unmatched
from otel_eval.traces.entry import Trigger
from tests import traffic
from tests.clickhouse import collector_ddl
from tests.clickhouse.conftest import Database
from tests.exporters.backends import tcp_server

DECIDED = Decided(
    trace_id=bytes(range(16)),
    time_ns=1_763_700_000_000_000_000,
    revision=0,
    trigger=Trigger.ROOT,
    pi=0.25,
    own_pi=0.25,
    wanted=0.25,
    r=7,
    r_source="trace_id",
    chosen=True,
    rates={"baseline": 0.25},
    policy="baseline",
    service="shop",
    minute=29_395_000,
)
ENTRIES: list[ledger.Entry] = [
    DECIDED,
    Traffic(minute=29_395_000, flushed=29_395_001, service="shop", policy="baseline", traces=4, chosen=1, latency={3: 4}),
    OutcomeSeen(id="o", time_ns=1_763_700_000_000_000_000, success=False, metadata={"a": "b"}),
    Unmatched(id="u", time_ns=1_763_700_000_000_000_000, target="trace 00", kind="thumbs"),
]
JUDGEMENT = scores.Judgement(
    job="j",
    trace_id=DECIDED.trace_id.hex(),
    revision=0,
    state=scores.State.SCORED,
    time_ns=1_763_700_001_000_000_000,
    results=(scores.Result(evaluator="answered", state=scores.State.SCORED),),
    scores=(
        scores.Score(
            name="answered",
            evaluator="answered",
            kind="code",
            version="0a",
            scope=Scope.TRACE,
            span_id="00" * 8,
            value=1.0,
        ),
    ),
    pi=0.25,
    policy="baseline",
    service="shop",
    minute=29_395_000,
)
EVERY_TABLE = {
    "otel_traces": 5, "otel_logs": 2, "otel_evaluations": 1, "otel_eval_judgements": 1, "otel_eval_decisions": 1,
    "otel_eval_traffic": 1, "otel_eval_outcomes": 1, "otel_eval_unmatched_feedback": 1,
}  # fmt: skip


def deep(count: int) -> bytes:
    """Spans with an attribute that only the native way can store."""
    request = traffic.traces(count)
    for span in request.resource_spans[0].scope_spans[0].spans:
        nested = span.attributes.add(key="deep").value.kvlist_value.values.add(key="a")
        nested.value.array_value.values.add().int_value = 1
    return request.SerializeToString()


MESSAGES = [
    Message(Kind.TRACES, [traffic.traces(3).SerializeToString(), deep(2)], "hop-ch-traces-0-1", "hop"),
    Message(Kind.LOGS, [traffic.logs(1).SerializeToString()] * 2, "hop-ch-logs-0-1", "hop"),
    Message(OwnKind.LEDGER, [ledger.encode(ENTRIES[:2]), memoryview(ledger.encode(ENTRIES[2:]))], "hop-ch-ledger-0-1", "hop"),
    Message(OwnKind.EVALUATIONS, [scores.encode(JUDGEMENT)], "hop-ch-evaluations-0-0", "hop"),
]


@asynccontextmanager
async def running(server: EmbeddedServer, database: str, **settings: Any) -> AsyncIterator[ClickHouseExporter]:
    url = f"http://writer@{server.host}:{server.http_port}/{database}"
    config = ClickHouseExporter.Config(endpoint=url, password=server.passwords["writer"], **settings)
    exporter = ClickHouseExporter("clickhouse", config)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.shutdown()


async def counts(database: Database, tables: Sequence[str] = tuple(EVERY_TABLE)) -> dict[str, int]:
    return {table: (await database.client.query(f"SELECT count() FROM {table}")).rows[0][0] for table in tables}


async def test_every_kind_arrives_once_however_often_it_is_sent(clickhouse_server: EmbeddedServer, database: Database) -> None:
    for _ in range(2):  # the second exporter is one after a restart
        async with running(clickhouse_server, database.name) as exporter:
            for message in [*MESSAGES, *MESSAGES]:
                assert await exporter.export(message) == PartialSuccess()
    assert await counts(database) == EVERY_TABLE


async def test_the_database_is_made(clickhouse_server: EmbeddedServer, database: Database) -> None:
    await database.client.command(f"DROP DATABASE {database.name} SYNC")
    async with running(clickhouse_server, database.name) as exporter:
        assert await exporter.export(MESSAGES[0]) == PartialSuccess()
    assert await counts(database, ["otel_traces"]) == {"otel_traces": 5}


async def test_equal_bytes_under_another_id_are_other_rows(clickhouse_server: EmbeddedServer, database: Database) -> None:
    async with running(clickhouse_server, database.name) as exporter:
        for message in MESSAGES[:2]:
            for number in range(3):
                await exporter.export(message._replace(id=f"{message.id}-{number}"))
    assert await counts(database, ["otel_traces", "otel_logs"]) == {"otel_traces": 15, "otel_logs": 6}


async def test_what_is_stored_is_what_was_sent(clickhouse_server: EmbeddedServer, database: Database) -> None:
    async with running(clickhouse_server, database.name) as exporter:
        for message in MESSAGES:
            await exporter.export(message)
    rows = (
        await database.client.query("SELECT SpanAttributes['deep'] FROM otel_traces WHERE mapContains(SpanAttributes, 'deep')")
    ).rows
    assert rows == [('{"a":[1]}',)] * 2
    found = await database.client.query(
        "SELECT Probability, EvaluationName, Score, toUnixTimestamp(Minute), Hop FROM otel_evaluations"
    )
    assert found.rows == [(0.25, "answered", 1.0, 29_395_000 * 60, "hop")]
    found = await database.client.query("SELECT toUnixTimestamp(Minute), Traces, Chosen, Latency FROM otel_eval_traffic")
    assert found.rows == [(29_395_000 * 60, 4, 1, {3: 4})]


async def test_a_score_is_weighed_by_the_latest_decision(clickhouse_server: EmbeddedServer, database: Database) -> None:
    later = replace(DECIDED, revision=1, pi=1.0, policy="signals", signals={"thumbs_down": "-1"}, signal_class="thumbs_down")
    session = replace(JUDGEMENT, job="s", policy="session", pi=0.5, trace_id=JUDGEMENT.trace_id)
    other = replace(JUDGEMENT, job="o", trace_id="ab" * 16)
    async with running(clickhouse_server, database.name) as exporter:
        await exporter.export(Message(OwnKind.LEDGER, [ledger.encode([later, DECIDED])], "a", "hop"))
        bodies = [scores.encode(one) for one in (JUDGEMENT, other)]
        await exporter.export(Message(OwnKind.EVALUATIONS, bodies, "b", "hop"))
        found = "SELECT Policy, SignalClass, Probability FROM otel_eval_scores ORDER BY Policy"
        assert (await database.client.query(found)).rows == [("baseline", "", 0.25), ("signals", "thumbs_down", 1.0)]
        await exporter.export(Message(OwnKind.EVALUATIONS, [scores.encode(session)], "c", "hop"))
        found = "SELECT count() FROM otel_eval_scores WHERE Policy = 'session' AND Probability = 0.5"
        assert (await database.client.query(found)).rows == [(1,)]


async def test_the_native_way_alone_gives_the_same_rows(
    clickhouse_server: EmbeddedServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_eval.clickhouse.tables._RAW_FROM", (99,))  # as for an old server
    async with running(clickhouse_server, database.name) as exporter:
        for message in [*MESSAGES, *MESSAGES]:
            await exporter.export(message)
    assert await counts(database) == EVERY_TABLE


async def test_tables_that_go_away_are_made_again(clickhouse_server: EmbeddedServer, database: Database) -> None:
    async with running(clickhouse_server, database.name) as exporter:
        await exporter.export(MESSAGES[2])
        await database.client.command("DROP TABLE otel_eval_traffic SYNC")
        message = MESSAGES[2]._replace(id="another")
        with pytest.raises(RetryableError, match="otel_eval_traffic"):
            await exporter.export(message)
        assert await exporter.export(message) == PartialSuccess()
    assert await counts(database, ["otel_eval_traffic"]) == {"otel_eval_traffic": 1}


async def test_without_create_schema_the_tables_are_waited_for(clickhouse_server: EmbeddedServer, database: Database) -> None:
    async with running(clickhouse_server, database.name, create_schema=False) as exporter:
        with pytest.raises(RetryableError, match="otel_traces"):
            await exporter.export(MESSAGES[0])
        await schema.apply(database.client, schema.Target(database=database.name))
        assert await exporter.export(MESSAGES[0]) == PartialSuccess()
    assert await counts(database, ["otel_traces"]) == {"otel_traces": 5}


async def test_nothing_is_sent_to_a_landing_table_whose_view_is_missing(
    clickhouse_server: EmbeddedServer, database: Database
) -> None:
    await schema.apply(database.client, schema.Target(database=database.name))
    await database.client.command("DROP VIEW otel_traces_in_mv")
    async with running(clickhouse_server, database.name, create_schema=False) as exporter:
        assert await exporter.export(MESSAGES[0]) == PartialSuccess()
    assert await counts(database, ["otel_traces"]) == {"otel_traces": 5}


async def test_of_a_message_that_is_refused_nothing_is_stored(clickhouse_server: EmbeddedServer, database: Database) -> None:
    for statement in collector_ddl.early(database.name):  # its Duration is signed
        await database.client.command(statement)
    endless = ExportTraceServiceRequest.FromString(deep(1))
    endless.resource_spans[0].scope_spans[0].spans[0].end_time_unix_nano = (1 << 64) - 1
    bodies = [traffic.traces(3).SerializeToString(), endless.SerializeToString()]
    async with running(clickhouse_server, database.name) as exporter:
        with pytest.raises(PermanentError, match="Duration"):
            await exporter.export(Message(Kind.TRACES, bodies, "both"))
        assert await counts(database, ["otel_traces"]) == {"otel_traces": 0}  # its halves come under names of their own


async def test_who_is_cancelled_at_a_stop_does_not_try_again() -> None:
    asked = asyncio.Event()

    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await reader.read()

    async with tcp_server(silence) as port:
        exporter = ClickHouseExporter("clickhouse", ClickHouseExporter.Config(endpoint=f"http://127.0.0.1:{port}/otel"))
        await exporter.start()
        loops = [asyncio.create_task(exporter.export(message)) for message in MESSAGES[:2]]
        await asked.wait()
        loops[0].cancel()  # as the sending loop is, whose second message is not cancelled yet
        await exporter.shutdown()
        await asyncio.wait(loops)
        assert loops[0].cancelled()
        assert isinstance(loops[1].exception(), RetryableError)


async def test_what_cannot_be_read_is_refused_for_good(clickhouse_server: EmbeddedServer, database: Database) -> None:
    async with running(clickhouse_server, database.name) as exporter:
        own = [Message(kind, [b"\xc1"], "d") for kind in (OwnKind.LEDGER, OwnKind.EVALUATIONS)]
        for message in (Message(Kind.TRACES, [b"\xff\xff"], "a"), Message(Kind.LOGS, [b"\x0a\x05ab"], "b"), *own):
            with pytest.raises(PermanentError):
                await exporter.export(message)
        with pytest.raises(PermanentError, match="metrics"):
            await exporter.export(Message(Kind.METRICS, [traffic.metrics(1).SerializeToString()], "c"))


async def test_spans_of_many_days_in_one_batch_are_stored(clickhouse_server: EmbeddedServer, database: Database) -> None:
    request = traffic.traces(300)
    for day, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
        span.start_time_unix_nano = span.end_time_unix_nano = day * 86_400 * 10**9
    native = ExportTraceServiceRequest.FromString(request.SerializeToString())
    native.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="deep").value.kvlist_value.values.add(key="a")
    async with running(clickhouse_server, database.name) as exporter:
        for number, body in enumerate((request, native)):
            await exporter.export(Message(Kind.TRACES, [body.SerializeToString()], f"days-{number}"))
    assert await counts(database, ["otel_traces"]) == {"otel_traces": 600}


async def test_a_span_that_would_take_all_memory_is_too_large(clickhouse_server: EmbeddedServer, database: Database) -> None:
    async with running(clickhouse_server, database.name) as exporter:
        with pytest.raises(TooLargeError, match="16 MiB"):
            await exporter.export(Message(Kind.TRACES, [bytes(17 << 20)], "large"))


async def test_without_a_way_in_the_engine_of_this_process_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_server: EmbeddedServer) -> None:
        raise NoWayInError("this chdb-core cannot be a server")

    monkeypatch.setattr(EmbeddedServer, "start", refuse)  # as another version of chdb-core ends
    monkeypatch.chdir(tmp_path)
    exporter = ClickHouseExporter("clickhouse", ClickHouseExporter.Config(directory=tmp_path / "engine"))
    with structlog.testing.capture_logs() as lines:
        await exporter.start()
    assert "nobody can query" in str(lines)
    for message in [*MESSAGES, *MESSAGES]:
        assert await exporter.export(message) == PartialSuccess()
    await exporter.shutdown()
    client = ClickHouse(InProcess(tmp_path / "engine", "otel"))
    found = {table: (await client.query(f"SELECT count() FROM {table}")).rows[0][0] for table in EVERY_TABLE}
    await client.close()
    assert found == EVERY_TABLE
    assert [file.name for file in tmp_path.iterdir()] == ["engine"], "nothing is left in the current directory"


def test_one_setting_of_the_queue_leaves_the_others_as_they_are() -> None:
    queue = load(None, ["exporters.clickhouse.sending_queue.batch.flush_timeout=2s"]).config.exporters["clickhouse"].sending_queue
    assert (queue.num_consumers, queue.batch.flush_timeout, queue.batch.min_size_bytes) == (2, 2.0, 16 << 20)
    assert queue.batch.max_items == 50_000
