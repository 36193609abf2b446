"""Rows of otel_logs, as the Collector's exporter makes them."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from otel_eval.clickhouse import logs, schema
from otel_eval.records import Kind
from tests import strategies
from tests.clickhouse.conftest import Database
from tests.clickhouse.rows import insert, rows
from tests.spans import START_NS, any_value

CAPTURES = [file.read_bytes() for file in strategies.CAPTURES if strategies.capture_kind(file) is Kind.LOGS]
START = datetime.fromtimestamp(START_NS // 10**9, UTC)


def body(*records: LogRecord, service: Any = "shop") -> bytes:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add(schema_url="https://r")
    group.resource.attributes.add(key="service.name").value.CopyFrom(any_value(service))
    scope = group.scope_logs.add(schema_url="https://s")
    scope.scope.name, scope.scope.version = "scope", "2"
    scope.scope.attributes.add(key="k").value.CopyFrom(any_value([1]))
    scope.log_records.extend(records)
    encoded: bytes = request.SerializeToString()
    return encoded


async def test_a_record_is_stored_with_all_that_it_says(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database=database.name))
    record = LogRecord(
        time_unix_nano=START_NS, observed_time_unix_nano=START_NS + 1, severity_text="INFO",
        severity_number=SeverityNumber.SEVERITY_NUMBER_INFO,
        trace_id=b"\x01" * 16, span_id=b"\x02" * 8, flags=0x101, event_name="gen_ai.choice",
    )  # fmt: skip
    record.body.CopyFrom(any_value({"role": "user", "parts": [1, "x/y"]}))
    record.attributes.add(key="deep").value.CopyFrom(any_value([["a"]]))
    await insert(database, "otel_logs", logs.columns([body(record)]))
    names = ", ".join(logs.COLUMNS)
    assert await rows(database, "otel_logs", f"{names}, TimestampTime") == [(
        START, "01" * 16, "02" * 8, 1, "INFO", 9, "shop", '{"parts":[1,"x/y"],"role":"user"}',
        "https://r", {"service.name": "shop"}, "https://s", "scope", "2", {"k": "[1]"}, {"deep": '[["a"]]'},
        "gen_ai.choice", START,
    )]  # fmt: skip


def test_odd_records() -> None:
    observed = LogRecord(observed_time_unix_nano=START_NS)
    far = LogRecord(time_unix_nano=2**64 - 1, severity_number=-1)  # type: ignore[arg-type]
    found = logs.columns([body(observed, far), body(LogRecord(severity_number=1000), service=7)])  # type: ignore[arg-type]
    assert found["Timestamp"] == [START_NS, 2**63 - 1, 0]
    assert found["SeverityNumber"] == [0, 0, 255]
    assert found["Body"] == [b""] * 3
    assert found["ServiceName"] == [b"shop", b"shop", b"7"]
    assert logs.columns([]) == {name: [] for name in logs.COLUMNS}


async def test_generated_and_captured_records_are_all_stored(database: Database) -> None:
    bodies = []

    @settings(strategies.PROPERTY, max_examples=50)
    @given(strategies.requests(Kind.LOGS))
    def collect(request: ExportLogsServiceRequest) -> None:
        for group in request.resource_logs:
            for scope in group.scope_logs:
                for record in scope.log_records:  # few days: each is a part on disk
                    record.time_unix_nano = START_NS + record.time_unix_nano % 10**9
        bodies.append(request.SerializeToString())

    collect()
    assert len(CAPTURES) > 3
    await schema.apply(database.client, schema.Target(database=database.name))
    found = logs.columns(bodies + CAPTURES)
    await insert(database, "otel_logs", found)
    ((number, texts),) = await rows(database, "otel_logs", "count(), sum(length(Body))")
    assert number == len(found["Body"]) > 50
    assert texts == sum(map(len, found["Body"])) > 1000
