"""What becomes of a request behind the receivers: invalid items, no room, counting."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from otel_eval.records import Kind
from otel_eval.service import Service
from otel_eval.wire import lens
from tests import oracle, traffic
from tests.conftest import StartHop
from tests.hop import otlp_to
from tests.receivers import clients
from tests.receivers.clients import JSON, UNAVAILABLE
from tests.sink import UNAVAILABLE as SINK_UNAVAILABLE
from tests.sink import Sink

PROTOCOLS = ["grpc", "http"]


@pytest_asyncio.fixture
async def service(sink: Sink, start_hop: StartHop) -> AsyncIterator[Service]:
    yield await start_hop({"otlp": otlp_to(sink.grpc_port)})


def counted(service: Service, name: str, **labels: str) -> float:
    return service.metrics.counter(name, **labels).value


def span(trace_id: bytes = b"t" * 16, span_id: bytes = b"s" * 8, parent: bytes = b"", name: bytes = b"") -> bytes:
    return (
        oracle.field(1, trace_id)
        + oracle.field(2, span_id)
        + oracle.field(4, parent)
        + oracle.field(5, name)
        + oracle.field(2000, b"newer")
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_items_with_ids_of_a_wrong_length_are_left_out_and_the_rest_is_untouched(
    service: Service, sink: Sink, protocol: str
) -> None:
    good = [span(name=b"\xff not utf-8"), span(parent=b"p" * 8), span(b"", b"")]
    bad = [span(trace_id=b"t" * 15), span(trace_id=b"t" * 24), span(span_id=b"s" * 16), span(parent=b"p")]
    scope = oracle.field(1, oracle.field(1, b"scope")) + oracle.field(3, b"url") + oracle.field(2001, 7)
    resource = oracle.field(1, oracle.field(2, 3)) + oracle.field(3, b"url") + oracle.field(2002, b"x")
    spans = [bad[0], good[0], bad[1], good[1]]
    body = oracle.field(1, resource + oracle.field(2, scope + b"".join(oracle.field(2, raw) for raw in spans)))
    body += oracle.field(1, oracle.field(2, oracle.field(2, bad[2]) + oracle.field(2, good[2]) + oracle.field(2, bad[3])))
    reply = await clients.send(protocol, service.receivers[protocol].port, body)
    assert reply.response.startswith(oracle.varint(1 << 3 | 2))
    assert oracle.field(1, 4) in reply.response
    assert b"16 bytes" in reply.response
    await sink.wait_for_items(3)
    (received,) = sink.received[Kind.TRACES]
    assert oracle.items(received) == [item for item in oracle.items(body) if item.raw in good]
    assert counted(service, "receiver_accepted_spans", transport=protocol) == 3
    assert counted(service, "receiver_refused_spans", transport=protocol) == 4


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_log_records_are_judged_by_their_ids_too(service: Service, sink: Sink, protocol: str) -> None:
    records = [oracle.field(9, trace_id) + oracle.field(10, b"s" * 8) for trace_id in (b"t" * 16, b"t" * 17)]
    body = oracle.nest(1, 2, value=b"".join(oracle.field(2, record) for record in records))
    reply = await clients.send(protocol, service.receivers[protocol].port, body, Kind.LOGS)
    assert oracle.field(1, 1) in reply.response
    assert await sink.wait_for_items(1, Kind.LOGS) == records[:1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_request_of_nothing_but_invalid_items_goes_nowhere(service: Service, sink: Sink, protocol: str) -> None:
    port = service.receivers[protocol].port
    reply = await clients.send(protocol, port, oracle.nest(1, 2, 2, value=span(b"short")))
    assert oracle.field(1, 1) in reply.response
    good = traffic.traces(1).SerializeToString()
    await clients.send(protocol, port, good)
    assert await sink.wait_for_items(1) == list(lens.items(good))
    assert sink.received[Kind.TRACES] == [good]


async def test_json_is_forwarded_in_the_binary_form(service: Service, sink: Sink) -> None:
    port = service.receivers["http"].port
    record = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hi"}},{"traceId":"abcd"}]}]}]}'
    reply = await clients.post(port, record, "/v1/logs", JSON)
    assert b'"rejectedLogRecords": "1"' in reply.response
    assert await sink.wait_for_items(1, Kind.LOGS) == [oracle.field(5, oracle.field(1, b"hi"))]
    points = b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","sum":{"dataPoints":[{"asInt":"5"}]}}]}]}]}'
    assert (await clients.post(port, points, "/v1/metrics", JSON)).response == b"{}"
    expected = oracle.field(1, b"m") + oracle.nest(7, 1, value=b"\x31" + (5).to_bytes(8, "little"))
    assert await sink.wait_for_items(1, Kind.METRICS) == [expected]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_when_the_journal_is_full_senders_are_told_to_wait(
    sink: Sink, start_hop: StartHop, tmp_path: Any, protocol: str
) -> None:
    sink.behave = lambda _kind, _body: SINK_UNAVAILABLE
    journal = {"directory": str(tmp_path / "small"), "max_size_mib": 1}
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)}, journal=journal)
    port = service.receivers[protocol].port
    body = traffic.traces(1, attributes=1, value_bytes=200_000).SerializeToString()
    accepted = 0
    reply = await clients.send(protocol, port, body)
    while not reply.code and accepted < 10:
        accepted += 1
        reply = await clients.send(protocol, port, body)
    assert 2 <= accepted < 10
    assert (reply.code, reply.http_status) == (UNAVAILABLE, 0 if protocol == "grpc" else 503)
    assert reply.retry_after_s == 5
    assert counted(service, "receiver_refused_spans", transport=protocol) == 1
    never = traffic.traces(1, attributes=1, value_bytes=2 << 20).SerializeToString()
    reply = await clients.send(protocol, port, never)  # it would never fit
    assert (reply.code, reply.retry_after_s) == (8, None)
    assert counted(service, "receiver_refused_spans", transport=protocol) == 2
    sink.behave = Sink().behave
    await sink.wait_for_items(accepted)
    for _ in range(200):
        if not (await clients.send(protocol, port, body)).code:
            break
        await asyncio.sleep(0.02)
    await sink.wait_for_items(accepted + 1)


async def test_requests_are_counted_by_outcome(service: Service) -> None:
    http, grpc = service.receivers["http"].port, service.receivers["grpc"].port
    for body in (b"", b"\xff", b"\xff"):
        await clients.post(http, body)
        await clients.call(grpc, body)
    await clients.post(http, b"", "/nowhere")
    for transport in ("http", "grpc"):
        assert counted(service, "receiver_requests", transport=transport, outcome="success") == 1
        assert counted(service, "receiver_requests", transport=transport, outcome="invalid") == 2
    assert counted(service, "receiver_requests", transport="http", outcome="other") == 1
