"""Spans through the landing table and its view."""

import time
from datetime import UTC, datetime

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_eval.clickhouse import raw, schema
from tests.clickhouse.conftest import Database
from tests.clickhouse.spans_of_tests import EXACTLY_ONCE, insert, request, span

COUNTS = "SELECT (SELECT count() FROM otel_traces), (SELECT count() FROM otel_traces_trace_id_ts)"


async def test_the_same_token_again_stores_nothing(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database.name))
    day = 86_400 * 10**9
    begin = time.time_ns()
    spans = [span(number, start=begin - number % 3 * day) for number in range(40)]  # three partitions
    for token in ("one", "one", "one"):
        await insert(database.client, "otel_traces_in", spans, token)
    assert (await database.client.query(COUNTS)).rows == [(40, 40)]
    await insert(database.client, "otel_traces_in", spans, "two")
    assert (await database.client.query(COUNTS)).rows == [(80, 80)]
    await insert(database.client, "otel_traces_in", [span(99, start=begin)], "two")  # the token counts, not the rows
    assert (await database.client.query(COUNTS)).rows == [(80, 80)]


async def test_it_is_the_window_that_remembers(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database.name))
    for table in ("otel_traces", "otel_traces_trace_id_ts"):
        await database.client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 0")
    for _ in range(2):
        await insert(database.client, "otel_traces_in", [span(1)], "one")
    assert (await database.client.query(COUNTS)).rows == [(2, 2)]


async def test_a_batch_in_many_blocks_is_stored_once(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database.name))
    bodies = [request([span(10 * first + n) for n in range(10)]).SerializeToString() for first in range(30)]
    small = {"max_insert_block_size": 7, "min_insert_block_size_rows": 7, "min_insert_block_size_bytes": 1, "max_block_size": 13}
    for settings in (EXACTLY_ONCE | small, EXACTLY_ONCE | small, EXACTLY_ONCE):
        await database.client.insert_raw(
            "otel_traces_in", b"".join(bodies), raw.FORMAT, settings | {"insert_deduplication_token": "one"}
        )
    assert (await database.client.query(COUNTS)).rows == [(300, 300)]


async def test_kinds_codes_and_times_that_are_out_of_range(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database.name))
    odd = [
        span(1),
        Span(trace_id=b"\2", kind=9, status=Status(code=7), start_time_unix_nano=5, end_time_unix_nano=3),  # type: ignore[arg-type]
        Span(trace_id=b"\3", kind=-1, status=Status(code=-1), start_time_unix_nano=(1 << 64) - 1),  # type: ignore[arg-type]
        Span(trace_id=b"\4", kind=5, status=Status(code=2, message="no"), end_time_unix_nano=(1 << 64) - 1),  # type: ignore[arg-type]
        Span(),
    ]
    odd[0].events.add(time_unix_nano=(1 << 64) - 1, name="late")
    await database.client.insert_raw("otel_traces_in", request(odd).SerializeToString(), raw.FORMAT, EXACTLY_ONCE)
    columns = "TraceId, SpanKind, StatusCode, StatusMessage, Duration, toUnixTimestamp64Nano(Timestamp)"
    rows = (await database.client.query(f"SELECT {columns} FROM otel_traces WHERE TraceId != '{1:032x}' ORDER BY TraceId")).rows
    assert rows == [
        ("", "Unspecified", "Unset", "", 0, 0),
        ("02", "Unspecified", "Unset", "", 0, 5),
        ("03", "Unspecified", "Unset", "", 0, (1 << 63) - 1),
        ("04", "Consumer", "Error", "no", (1 << 64) - 1, 0),
    ]
    late = (await database.client.query("SELECT `Events.Timestamp` FROM otel_traces WHERE notEmpty(`Events.Name`)")).rows
    assert late == [([datetime(2262, 4, 11, 23, 47, 16, 854775, UTC)],)]


async def test_values_are_the_texts_that_the_collector_writes(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database.name))
    scalars = [
        AnyValue(string_value='a/"b"\n'), AnyValue(int_value=-5), AnyValue(double_value=1.0), AnyValue(bool_value=False),
        AnyValue(bytes_value=b"\x00\xff"), AnyValue(double_value=float("inf")), AnyValue(),
    ]  # fmt: skip
    one = span(1)
    for number, value in enumerate(scalars):
        one.attributes.add(key=str(number)).value.CopyFrom(value)
    one.attributes.add(key="array").value.array_value.CopyFrom(ArrayValue(values=scalars))
    one.attributes.add(key="empty").value.array_value.SetInParent()
    await insert(database.client, "otel_traces_in", [one], "one")
    stored = (await database.client.query("SELECT SpanAttributes FROM otel_traces")).rows[0][0]
    assert stored == {
        "0": 'a/"b"\n', "1": "-5", "2": "1", "3": "false", "4": "AP8=", "5": "inf", "6": "",
        "array": '["a/\\"b\\"\\n",-5,1,false,"AP8=","inf",null]', "empty": "[]",
    }  # fmt: skip
