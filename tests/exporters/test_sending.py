"""What each answer of a backend leads to, over both protocols."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.records import Kind
from tests import traffic
from tests.conftest import StartHop
from tests.exporters.backends import PROTOCOLS, behind, failing, journal, queue, to_sink, until
from tests.sink import UNAVAILABLE, Answer, Sink

# reference: opentelemetry-proto docs/specification.md, "Failures" of OTLP/gRPC and OTLP/HTTP
CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED = range(1, 8)
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL = range(8, 14)
DATA_LOSS, UNAUTHENTICATED = 15, 16

RETRYABLE = [
    *(("grpc", Answer(code=code)) for code in (CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, 14, DATA_LOSS)),
    ("grpc", Answer(code=RESOURCE_EXHAUSTED, retry_after_s=0.01)),
    ("grpc", Answer(code=RESOURCE_EXHAUSTED, retry_after_s=0)),
    ("grpc", Answer(code=UNAUTHENTICATED)),
    *(("http", Answer(code=14, http_status=status)) for status in (401, 429, 502, 503, 504)),
]
PERMANENT = [
    *(
        ("grpc", Answer(code=code))
        for code in (
            *(UNKNOWN, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED),
            *(FAILED_PRECONDITION, UNIMPLEMENTED, INTERNAL),
        )
    ),
    *(
        ("http", Answer(code=3, http_status=status))
        for status in (300, 301, 302, 303, 307, 308, 400, 402, 403, 404, 405, 408, 409, 410, 411, 413, 414, 415, 422, 431)
    ),
    *(("http", Answer(code=3, http_status=status)) for status in (500, 501, 505, 507)),
]


def label(value: Any) -> str:
    return f"{value.code}-{value.http_status}-{value.retry_after_s}" if isinstance(value, Answer) else str(value)


def dead_letters(directory: Path) -> list[Any]:
    return DeadLetters(directory / "journal").letters()


@pytest.mark.parametrize(("protocol", "answer"), RETRYABLE, ids=label)
async def test_a_retryable_answer_is_tried_again_until_success(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str, answer: Answer
) -> None:
    service = await start_hop(to_sink(protocol, sink))
    sink.answers.extend([answer] * 3)
    body = traffic.traces(2).SerializeToString()
    journal(service, body)
    await sink.wait_for_items(2)
    assert sink.received[Kind.TRACES] == [body]
    assert sink.requests == 4
    assert not dead_letters(tmp_path)


@pytest.mark.parametrize(("protocol", "answer"), PERMANENT, ids=label)
async def test_a_permanent_answer_makes_a_dead_letter_at_once_and_the_rest_goes_on(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str, answer: Answer
) -> None:
    service = await start_hop(to_sink(protocol, sink))
    sink.answers.append(answer)
    refused, taken = traffic.traces(1).SerializeToString(), traffic.traces(1).SerializeToString()
    journal(service, refused)
    await until(lambda: dead_letters(tmp_path))
    journal(service, taken)
    await sink.wait_for_items(1)
    (letter,) = dead_letters(tmp_path)
    (name,) = service.state()["exporters"]
    assert (letter.body(), letter.kind, letter.items, letter.exporter) == (refused, Kind.TRACES, 1, name)
    assert sink.received[Kind.TRACES] == [taken]
    assert sink.requests == 2
    assert service.metrics.counter("exporter_send_failed_spans", exporter=name).value == 1
    await until(lambda: behind(service, name) == 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_wrong_credentials_hold_the_data_until_somebody_mends_them(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str
) -> None:
    sink.behave = lambda _kind, _body: Answer(code=UNAUTHENTICATED, http_status=401, message="who are you?")
    service = await start_hop(to_sink(protocol, sink))
    bodies = [traffic.traces(1).SerializeToString() for _ in range(10)]
    journal(service, *bodies)
    (name,) = service.state()["exporters"]
    await until(lambda: sink.requests > 3)
    assert "who are you?" in failing(service, name)
    assert behind(service, name) > sum(map(len, bodies))
    sink.behave = lambda _kind, _body: Answer()
    await sink.wait_for_items(10)
    await until(lambda: behind(service, name) == 0)
    assert not dead_letters(tmp_path)
    assert service.state()["exporters"][name]["failing"] is None


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [("grpc", Answer(code=UNIMPLEMENTED)), ("http", Answer(code=5, http_status=404)), ("http", Answer(code=5, http_status=405))],
    ids=label,
)
async def test_a_backend_without_the_service_is_not_asked_again_in_halves(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str, answer: Answer
) -> None:
    service = await start_hop(to_sink(protocol, sink))
    sink.answers.append(answer)
    bodies = [traffic.traces(1).SerializeToString() for _ in range(20)]
    journal(service, *bodies)
    await until(lambda: len(dead_letters(tmp_path)) == 20)
    assert sink.requests == 1
    assert sorted(letter.body() for letter in dead_letters(tmp_path)) == sorted(bodies)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_partial_success_counts_as_delivered_and_is_told(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    service = await start_hop(to_sink(protocol, sink))
    (name,) = service.state()["exporters"]
    response = b"\x0a\x0d\x08\x02\x12\x09too\x1b old!"  # 2 rejected, with an escape character in the reason
    sink.answers.append(Answer(response=response))
    with structlog.testing.capture_logs() as lines:
        journal(service, traffic.traces(5).SerializeToString(), items=5)
        await until(lambda: behind(service, name) == 0)
    assert sink.requests == 1
    (line,) = [line for line in lines if "partial success" in line["event"]]
    assert (line["rejected"], line["reason"], line["log_level"]) == (2, "too\x1b old!", "warning")
    assert service.metrics.counter("exporter_rejected_spans", exporter=name).value == 2
    assert service.metrics.counter("exporter_sent_spans", exporter=name).value == 3


@pytest.mark.parametrize("rejected", [-5, 10**15])
async def test_an_absurd_number_of_rejected_spans_cannot_spoil_the_counters(
    sink: Sink, start_hop: StartHop, rejected: int
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    service = await start_hop(to_sink("grpc", sink))
    sink.answers.append(Answer(response=response.SerializeToString()))
    journal(service, traffic.traces(5).SerializeToString(), items=5)
    await until(lambda: behind(service, "otlp") == 0)
    sent = service.metrics.counter("exporter_sent_spans", exporter="otlp").value
    lost = service.metrics.counter("exporter_rejected_spans", exporter="otlp").value
    assert 0 <= sent <= 5
    assert sent + lost == 5


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_small_requests_travel_together_and_in_order(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    service = await start_hop(to_sink(protocol, sink))
    bodies = [traffic.traces(1).SerializeToString() for _ in range(100)]
    journal(service, *bodies)
    await sink.wait_for_items(100)
    assert sink.received[Kind.TRACES] == [b"".join(bodies)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_slow_backend_has_several_requests_under_way_but_no_more(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    sink.behave = lambda _kind, _body: Answer(delay_s=0.5)
    settings = {"max_message_bytes": 1024, "sending_queue": queue(consumers=3)}
    service = await start_hop(to_sink(protocol, sink, **settings))
    journal(service, *(traffic.traces(1, value_bytes=250).SerializeToString() for _ in range(9)))
    await until(lambda: sink.requests == 3)
    await asyncio.sleep(0.2)
    assert sink.requests == 3
    await sink.wait_for_items(9)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("compression", ["gzip", "none"])
async def test_compression_and_headers_reach_the_backend(
    sink: Sink, start_hop: StartHop, protocol: str, compression: str
) -> None:
    headers = {"Authorization": "Bearer s3cret", "x-scope-orgid": "team 1", "user-agent": "mine"}
    service = await start_hop(to_sink(protocol, sink, compression=compression, headers=headers))
    body = traffic.traces(50, value_bytes=200).SerializeToString()
    journal(service, body)
    await sink.wait_for_items(50)
    assert sink.received[Kind.TRACES] == [body]
    (shown,) = ({key.lower(): value for key, value in metadata.items()} for metadata in sink.metadata)
    assert shown["authorization"] == "Bearer s3cret"
    assert shown["x-scope-orgid"] == "team 1"
    if protocol == "http":
        assert shown.get("content-encoding", "none") == compression
        assert [key.lower() for key in sink.metadata[0]].count("user-agent") == 1
        assert shown["user-agent"] == "mine"
        size = int(shown["content-length"])
        assert size < len(body) / 5 if compression == "gzip" else size == len(body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_user_agent_names_the_exporter(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    service = await start_hop(to_sink(protocol, sink))
    journal(service, traffic.traces(1).SerializeToString())
    await sink.wait_for_items(1)
    (shown,) = ({key.lower(): value for key, value in metadata.items()} for metadata in sink.metadata)
    assert shown["user-agent"].startswith("OTel-OTLP-Exporter-otel_eval/")


async def test_each_kind_can_have_its_own_http_endpoint(start_hop: StartHop) -> None:
    traces, rest = await Sink().start(), await Sink().start()
    try:
        url = f"http://127.0.0.1:{traces.http_port}/v1/traces"
        settings = {"endpoint": f"http://127.0.0.1:{rest.http_port}/", "traces_endpoint": url}
        service = await start_hop({"otlp_http": settings})
        journal(service, traffic.traces(1).SerializeToString())
        journal(service, traffic.logs(1).SerializeToString(), kind=Kind.LOGS)
        journal(service, traffic.metrics(1).SerializeToString(), kind=Kind.METRICS)
        await traces.wait_for_items(1)
        await rest.wait_for_items(1, Kind.LOGS)
        await rest.wait_for_items(1, Kind.METRICS)
        assert not rest.spans()
    finally:
        await traces.stop()
        await rest.stop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_a_backend_echoes_of_our_credentials_is_not_logged(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    sink.answers.extend(
        [Answer(code=UNAUTHENTICATED, http_status=401, message="no such key: s3cret-key-1"), UNAVAILABLE, Answer()]
    )
    with structlog.testing.capture_logs() as lines:
        service = await start_hop(to_sink(protocol, sink, headers={"authorization": "Bearer s3cret-key-1"}))
        journal(service, traffic.traces(1).SerializeToString())
        await sink.wait_for_items(1)
    assert "no such key" in str(lines)
    assert "s3cret-key-1" not in str(lines)
