"""`otel-eval backfill --from clickhouse` against the real engine: spans that a hop stored, judged afterwards."""

import os
from pathlib import Path
from typing import Any

import pytest

from otel_eval.clickhouse.attaching import attached
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.exporter import ClickHouseExporter
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.exporters import Message
from otel_eval.judging import scores
from otel_eval.records import Kind, OwnKind
from tests import hop
from tests.clickhouse.conftest import Database
from tests.clickhouse.test_exporter import running
from tests.judging.history import captured, row, run
from tests.sink import UNAVAILABLE, Sink

TRACES = 8
EVERY = ("otel_traces", "otel_logs", "otel_evaluations", "otel_eval_judgements", "otel_traces_trace_id_ts")


@pytest.fixture(autouse=True)
def _plain_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("OTEL_", "ANTHROPIC_", "OPENAI_"))]:
        monkeypatch.delenv(name)


def configured(directory: Path, exporters: dict[str, Any], **sections: Any) -> str:
    values = {"sampling": {"baseline": {"rate": 1.0}, "signals": {}}, "judging": {"evaluators": ["answered", "pii_leak"]}}
    return str(hop.write_config(directory, hop.settings(directory, exporters, **{**values, **sections})))


def to_server(server: EmbeddedServer, database: Database) -> dict[str, Any]:
    url = f"http://writer@{server.host}:{server.http_port}/{database.name}"
    return {"clickhouse": {"endpoint": url, "password": server.passwords["writer"].reveal()}}


async def rows(client: ClickHouse, sql: str) -> list[Any]:
    return list((await client.query(sql)).rows)


async def counts(database: Database) -> dict[str, int]:
    """Rows as they are stored, with nothing merged away."""
    return {table: (await rows(database.client, f"SELECT count() FROM {table}"))[0][0] for table in EVERY}


async def test_what_is_stored_is_judged_once(clickhouse_server: EmbeddedServer, database: Database, tmp_path: Path) -> None:
    body = captured(tmp_path, TRACES).read_bytes()
    async with running(clickhouse_server, database.name) as exporter:
        await exporter.export(Message(Kind.TRACES, [body], "stored"))
    config = configured(tmp_path, to_server(clickhouse_server, database))

    status, out, log = await run("--from", "clickhouse", "--config", config, "--yes")
    assert (status, row(out, "scored")) == (0, TRACES), log
    found = await rows(
        database.client,
        "SELECT EvaluationName, count(), uniq(TraceId), min(Probability), any(Policy), any(Hop) "
        "FROM otel_evaluations GROUP BY EvaluationName ORDER BY 1",
    )
    assert found == [(name, TRACES, TRACES, 1.0, "baseline", "backfill") for name in ("answered", "pii_leak")]
    scored = await rows(database.client, "SELECT count() FROM otel_traces_scored WHERE mapContains(Scores, 'answered')")
    assert scored == [(TRACES,)], "each score is at its span"
    before = await counts(database)
    assert before == {
        "otel_traces": 4 * TRACES, "otel_logs": 2 * TRACES, "otel_evaluations": 2 * TRACES,
        "otel_eval_judgements": TRACES, "otel_traces_trace_id_ts": before["otel_traces_trace_id_ts"],
    }  # fmt: skip

    status, out, _ = await run("--from", "clickhouse", "--config", config, "--yes")
    assert (status, await counts(database)) == (0, before)
    assert f"0 of {TRACES} agent traces would be judged" in out
    assert f"chosen, but judged already {TRACES:>9}" in out

    await database.client.command("TRUNCATE TABLE otel_eval_judgements")  # as after a crash between the inserts
    status, out, _ = await run("--from", "clickhouse", "--config", config, "--yes")
    assert (status, row(out, "scored")) == (0, TRACES)
    after = await counts(database)
    assert (after["otel_traces"], after["otel_logs"]) == (before["otel_traces"], before["otel_logs"])
    assert await rows(database.client, "SELECT count() FROM otel_evaluations FINAL") == [(2 * TRACES,)]


async def test_the_choice_is_that_of_files(clickhouse_server: EmbeddedServer, database: Database, tmp_path: Path) -> None:
    """The policies see the same, those with a cap and those that hold back too; and what was judged stays counted."""
    file = captured(tmp_path, 30)
    async with running(clickhouse_server, database.name) as exporter:
        await exporter.export(Message(Kind.TRACES, [file.read_bytes()], "stored"))
    sampling = {"baseline": {"rate": 0.5}, "signals": {}, "cap": {"per_hour": 6}}
    config = configured(tmp_path, to_server(clickhouse_server, database), sampling=sampling)
    _, of_file, _ = await run("--from", file, "--config", config)
    _, stored, _ = await run("--from", "clickhouse", "--config", config)
    assert 0 < row(stored, "baseline") < 15
    assert stored == of_file
    _, _, _ = await run("--from", "clickhouse", "--config", config, "--yes")
    status, again, _ = await run("--from", "clickhouse", "--config", config, "--yes")
    assert (status, row(again, "baseline")) == (0, 0)
    assert "0 of 30 agent traces would be judged" in again, "the cap is not filled up with others"


async def test_what_another_exporter_has_not_taken_is_not_noted_as_judged(
    clickhouse_server: EmbeddedServer, database: Database, sink: Sink, tmp_path: Path
) -> None:
    async with running(clickhouse_server, database.name) as exporter:
        await exporter.export(Message(Kind.TRACES, [captured(tmp_path, 1).read_bytes()], "stored"))
    exporters = {**to_server(clickhouse_server, database), "otlp": hop.otlp_to(sink.grpc_port, types=["traces"])}
    config = configured(tmp_path, exporters)
    usual, sink.behave = sink.behave, lambda *_: UNAVAILABLE
    assert (await run("--from", "clickhouse", "--config", config, "--yes"))[0] == 1
    assert (await counts(database))["otel_eval_judgements"] == 0
    sink.behave = usual
    assert (await run("--from", "clickhouse", "--config", config, "--yes"))[0] == 0
    assert ((await counts(database))["otel_eval_judgements"], len(sink.spans())) == (1, 2)


async def test_what_nobody_has_looked_at_is_tried_again(
    clickhouse_server: EmbeddedServer, database: Database, tmp_path: Path
) -> None:
    """A row says that the trace has expired: there are no scores that could be doubled."""
    file = captured(tmp_path, 1)
    config = configured(tmp_path, to_server(clickhouse_server, database))
    async with running(clickhouse_server, database.name) as exporter:
        await exporter.export(Message(Kind.TRACES, [file.read_bytes()], "stored"))
        ((trace_id,),) = await rows(database.client, "SELECT DISTINCT TraceId FROM otel_traces")
        expired = scores.Judgement(
            job=f"{trace_id}:trace:0", trace_id=trace_id, revision=0, state=scores.State.EXPIRED, time_ns=1
        )
        await exporter.export(Message(OwnKind.EVALUATIONS, [scores.encode(expired)], "expired"))
    _, out, _ = await run("--from", "clickhouse", "--config", config, "--yes")
    assert row(out, "scored") == 1
    assert await rows(database.client, "SELECT State FROM otel_eval_judgements FINAL") == [("scored",)]


async def test_beside_a_hop_its_embedded_server_is_used(clickhouse_server: EmbeddedServer, tmp_path: Path) -> None:
    """As when a hop runs: somebody else holds the directory."""
    settings = ClickHouseExporter.Config(directory=clickhouse_server.directory)
    config = configured(tmp_path, {"clickhouse/own": {"directory": str(clickhouse_server.directory)}})
    async with attached(settings, "exporters.clickhouse") as (joined, server):
        client = ClickHouse(server)
        exporter = ClickHouseExporter("clickhouse", joined)
        await exporter.start()
        try:
            await exporter.export(Message(Kind.TRACES, [captured(tmp_path, 2).read_bytes()], "stored"))
            status, out, log = await run("--from", "clickhouse", "--config", config, "--yes")
            assert (status, row(out, "scored")) == (0, 2), log
            assert await rows(client, "SELECT count() FROM otel.otel_evaluations") == [(4,)]
        finally:
            await exporter.shutdown()
            await client.command("DROP DATABASE IF EXISTS otel SYNC")
            await client.close()


async def test_without_a_hop_the_embedded_server_is_started_for_the_command(tmp_path: Path) -> None:
    directory = tmp_path / "engine"
    async with attached(ClickHouseExporter.Config(directory=directory), "exporters.clickhouse") as (joined, _):
        exporter = ClickHouseExporter("clickhouse", joined)
        await exporter.start()
        await exporter.export(Message(Kind.TRACES, [captured(tmp_path, 2).read_bytes()], "stored"))
        await exporter.shutdown()
    config = configured(tmp_path, {"clickhouse": {"directory": str(directory)}})
    status, out, log = await run("--from", "clickhouse", "--config", config, "--yes")
    assert (status, row(out, "scored")) == (0, 2), log
    _, out, _ = await run("--from", "clickhouse", "--config", config, "--yes")
    assert f"chosen, but judged already {2:>9}" in out
