"""The queries of the library on a week of 2 million spans, asked as the reader of an embedded server.

Rows are made by the server itself: 250,000 traces of three services, 8 spans each, one trace in five judged by four
evaluators. Each query is asked with its defaults; `first` is the first time, `again` the best of three more.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from otel_eval.clickhouse import queries, schema
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import endpoint_of
from otel_eval.clickhouse.server import EmbeddedServer

TRACES: Final = 250_000
SPANS: Final = 8
_AT_ONCE: Final = 25_000  # traces in one insert
_SETTINGS: Final = {"async_insert": 0, "max_partitions_per_insert_block": 0, "max_block_size": 50_000}

_TRACE: Final = """
    number AS n, lower(hex(MD5(toString(n)))) AS Id,
    toDateTime(now() - 60 - intDiv((250000 - n) * 7 * 86400, 250000)) AS Begun, toStartOfMinute(Begun) AS Counted,
    ['shop', 'desk', 'travel'][n % 3 + 1] AS Service, ['m-1', 'm-2'][n % 2 + 1] AS WithModel,
    if(n % 20 = 0, 1., 0.15) AS Pi, n % 20 = 0 OR sipHash64(n) % 100 < 15 AS Judged,
    if(n % 20 = 0, 'signals', 'baseline') AS By,
    if(n % 20 = 0, 'tool_error', '') AS Class, ['', 'long'][n % 5 = 1 ? 2 : 1] AS Layer
"""
_INSERTS: Final = {
    "otel_traces": """
    INSERT INTO otel_traces (Timestamp, TraceId, SpanId, ParentSpanId, SpanName, SpanKind, ServiceName, ResourceAttributes,
        SpanAttributes, Duration, StatusCode)
    SELECT toDateTime64(Begun, 9) + toIntervalSecond(at), Id, lower(hex(toUInt64(n * 8 + at + 1))),
        if(at = 0, '', lower(hex(toUInt64(n * 8 + 1)))),
        ['invoke_agent', 'retrieval', 'chat', 'execute_tool', 'chat', 'execute_tool', 'chat', 'execute_tool'][at + 1],
        'Internal', Service, map('service.name', Service),
        multiIf(
            at IN (2, 4, 6), map('gen_ai.operation.name', 'chat', 'gen_ai.request.model', WithModel,
                'gen_ai.input.messages',
                concat('[{"role":"user","parts":[{"type":"text","content":"', repeat(hex(MD5(Id)), 16), '"}]}]'),
                'gen_ai.output.messages',
                concat('[{"role":"assistant","parts":[{"type":"text","content":"', repeat(Id, 8), '"}]}]')),
            at IN (3, 5, 7),
            map('gen_ai.operation.name', 'execute_tool', 'gen_ai.tool.name', ['find', 'book', 'mail'][intDiv(at, 2)]),
            map('gen_ai.operation.name', 'invoke_agent')),
        toUInt64(5e8 + sipHash64(n, at) % 1000000000), if(at IN (3, 5, 7) AND sipHash64(n, at) % 20 = 0, 'Error', 'Unset')
    FROM (SELECT {trace} FROM numbers({first}, {count})) ARRAY JOIN range(8) AS at
    """,
    "otel_eval_decisions": """
    INSERT INTO otel_eval_decisions (TraceId, DecidedAt, Minute, Timestamp, Duration, ServiceName, Model, Stratum, SignalClass,
        Policy, Trigger, Probability, R, Chosen, Signals, Spans, Complete, Whole, Eligible)
    SELECT Id, Begun + 9, Counted, Begun, toUInt64(8e9 + sipHash64(n) % 1000000000), Service, WithModel, Layer, Class, By, 'root',
        Pi, n, Judged, if(Class = '', map(), map(Class, 'seen')), 8, true, true, true
    FROM (SELECT {trace} FROM numbers({first}, {count}))
    """,
    "otel_eval_traffic": """
    INSERT INTO otel_eval_traffic (Minute, FlushedAt, ServiceName, Model, Stratum, SignalClass, Policy, Eligible, Traces, Chosen,
        Spans, Errors, InputTokens, OutputTokens, CostUsd, Latency)
    SELECT Counted, Counted + 60 + {first}, Service, WithModel, Layer, Class, By, true, count(), countIf(Judged), 8 * count(), 0,
        1000, 100, 0.01 * count(), map(40, count())
    FROM (SELECT {trace} FROM numbers({first}, {count})) GROUP BY Counted, Service, WithModel, Layer, Class, By
    """,
    "otel_evaluations": """
    INSERT INTO otel_evaluations (SpanTimestamp, TraceId, SpanId, ServiceName, SpanName, Scope, EvaluationName, EvaluatorName,
        EvaluatorKind, EvaluatorVersion, Score, Passed, Explanation, Model, Minute, Probability, R, Policy, SignalClass, Stratum,
        JudgeModel, CostUsd, InputTokens, OutputTokens, LatencyS, JobId, ScoredAt)
    SELECT Begun, Id, lower(hex(toUInt64(n * 8 + 1))), Service, 'invoke_agent', 'trace', name, name, 'llm', 'v1',
        (sipHash64(n, name) % 1001) / 1000 AS y, y > 0.2, repeat('because ', 20), WithModel, Counted, Pi, n, By, Class, Layer,
        'judge', 0.001, 2000, 100, 2.5, Id, Begun + 60
    FROM (SELECT {trace} FROM numbers({first}, {count}))
    ARRAY JOIN ['task_completion', 'context_relevance', 'factual_grounding', 'quality_4d'] AS name
    WHERE Judged
    """,
    "otel_eval_judgements": """
    INSERT INTO otel_eval_judgements (JobId, TraceId, Scope, State, Tries, ServiceName, Model, Policy, Stratum, SignalClass,
        Probability, R, Minute, `Results.Evaluator`, `Results.State`, `Results.Reason`, JudgedAt)
    SELECT Id, Id, 'trace', 'scored', 1, Service, WithModel, By, Layer, Class, Pi, n, Counted,
        ['task_completion'], ['scored'], [''], Begun + 60
    FROM (SELECT {trace} FROM numbers({first}, {count})) WHERE Judged
    """,
    "otel_eval_outcomes": """
    INSERT INTO otel_eval_outcomes (Id, Time, TraceId, Success)
    SELECT Id, Begun + 300, Id, sipHash64(n) % 4 != 0 FROM (SELECT {trace} FROM numbers({first}, {count})) WHERE n % 10 = 0
    """,
}


def times() -> Iterator[str]:
    """A row for each query."""
    with tempfile.TemporaryDirectory(dir=".build") as directory:
        rows = _run(Path(directory) / "engine")
        with asyncio.Runner() as runner:
            while (row := runner.run(anext(rows, ""))) != "":
                yield row


async def _run(directory: Path) -> AsyncIterator[str]:
    server = EmbeddedServer(directory)
    await server.start()
    writer = ClickHouse(endpoint_of(server, "writer"), timeout_s=600)
    owner, reader = (ClickHouse(endpoint_of(server, user, "otel"), timeout_s=120) for user in ("writer", "reader"))
    try:
        await schema.apply(writer, schema.Target("otel"))
        started = time.perf_counter()
        for first in range(0, TRACES, _AT_ONCE):
            for insert in _INSERTS.values():
                sql = insert.replace("{trace}", _TRACE).replace("{first}", str(first)).replace("{count}", str(_AT_ONCE))
                await owner.command(sql, settings=_SETTINGS)
        counted = ((await owner.query(f"SELECT count() FROM {table}")).rows[0][0] for table in _INSERTS)
        sizes = ", ".join([f"{number:,} {table}" for table, number in zip(_INSERTS, [one async for one in counted], strict=True)])
        yield f"{sizes}; made in {time.perf_counter() - started:.0f} s"
        yield f"{'query':>32} {'rows':>6} {'first ms':>9} {'again ms':>9}"
        for name in queries.names():
            yield await _row(reader, name)
    finally:
        for client in (writer, owner, reader):
            await client.close()
        await server.stop()


async def _row(reader: ClickHouse, name: str) -> str:
    query = queries.load(name)
    found = await reader.query(f"SELECT lower(hex(MD5('{TRACES // 2}')))")
    given = {"trace_id": found.rows[0][0]} if name == "trace" else {}
    taken = []
    rows = 0
    for _ in range(4):
        started = time.perf_counter()
        rows = len((await reader.query(query.sql, query.values(given))).rows)
        taken.append((time.perf_counter() - started) * 1e3)
    return f"{name:>32} {rows:>6} {taken[0]:>9.0f} {min(taken[1:]):>9.0f}"


if __name__ == "__main__":
    Path(".build").mkdir(exist_ok=True)
    for row in times():
        print(row, flush=True)
