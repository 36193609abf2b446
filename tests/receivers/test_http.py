"""OTLP/HTTP as the specification wants it: reference 'OTLP/HTTP Request' and 'OTLP/HTTP Response'."""

import gzip
import json
from typing import Any

import pytest

from otel_eval.records import Kind, PartialSuccess
from otel_eval.service import Service
from otel_eval.wire import lens
from tests import oracle, traffic
from tests.conftest import StartHop
from tests.hop import otlp_to
from tests.receivers import clients
from tests.receivers.clients import INVALID_ARGUMENT, JSON, PROTOBUF, UNAVAILABLE, UNIMPLEMENTED
from tests.sink import Sink

TRACES = traffic.traces(2).SerializeToString()
TRACES_JSON = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"%s","name":"x"}]}]}]}' % (
    b"ab" * 16,
    b"cd" * 8,
)


async def started(start_hop: StartHop, sink: Sink, **http_settings: Any) -> int:
    protocols = {"http": {"endpoint": "127.0.0.1:0", **http_settings}}
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)}, receivers={"otlp": {"protocols": protocols}})
    return port_of(service)


def port_of(service: Service) -> int:
    return service.receivers["http"].port


async def took(kind: Kind, body: bytes, transport: str) -> PartialSuccess:
    return PartialSuccess()


async def test_success_has_an_empty_body_in_the_type_of_the_request(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink)
    requests = {Kind.TRACES: traffic.traces(3), Kind.LOGS: traffic.logs(2), Kind.METRICS: traffic.metrics(4)}
    for kind, request in requests.items():
        reply = await clients.post(port, request.SerializeToString(), f"/v1/{kind}")
        assert (reply.http_status, reply.response, reply.headers and reply.headers["Content-Type"]) == (200, b"", PROTOBUF)
    reply = await clients.post(port, TRACES_JSON, content_type=JSON)
    assert (reply.http_status, reply.response, reply.headers and reply.headers["Content-Type"]) == (200, b"{}", JSON)
    for kind, request in requests.items():
        await sink.wait_for_items(1, kind)
        assert sink.received[kind][0].startswith(request.SerializeToString())


async def test_an_empty_request_is_a_success_and_goes_nowhere(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink)
    for body in (b"", b"\x0a\x00", oracle.nest(1, 2, value=b""), oracle.field(1001, b"newer")):
        assert (await clients.post(port, body)).response == b""
    for document in (b"{}", b'{"resourceSpans":[]}', b'{"resourceSpans":[{"scopeSpans":[{}]}]}', b'{"newer":1}'):
        assert (await clients.post(port, document, content_type=JSON)).response == b"{}"
    await clients.post(port, TRACES)
    assert await sink.wait_for_items(2) == list(lens.items(TRACES))


@pytest.mark.parametrize(
    "path", ["/", "/v1/trace", "/v1/traces/", "/v1/traces/x", "/V1/TRACES", "/v1development/profiles", "//v1/traces"]
)
async def test_an_unknown_path_is_not_found(path: str) -> None:
    async with clients.receiver("http", took) as port:
        for content_type in (PROTOBUF, JSON, "text/plain"):
            reply = await clients.post(port, TRACES, path, content_type)
            assert (reply.http_status, reply.code) == (404, UNIMPLEMENTED)
            assert reply.headers is not None
            assert reply.headers["Content-Type"] == (PROTOBUF if content_type == PROTOBUF else JSON)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "QUERY"])
async def test_only_post_is_allowed(method: str) -> None:
    async with clients.receiver("http", took) as port, clients.connection(port) as (reader, writer):
        writer.write(clients.request(method=method, body=b""))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 405 ")
        assert "\r\nAllow: POST\r\n" in head


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/octet-stream", "application/protobuf", "application/xml", "x", "é"]
)
async def test_other_content_types_are_unsupported(content_type: str) -> None:
    async with clients.receiver("http", took) as port:
        reply = await clients.post(port, TRACES, content_type=content_type)
    assert (reply.http_status, reply.code) == (415, INVALID_ARGUMENT)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;x=y"])
async def test_a_content_type_may_have_parameters_and_capitals(content_type: str) -> None:
    async with clients.receiver("http", took) as port:
        assert (await clients.post(port, TRACES_JSON, content_type=content_type)).http_status == 200


@pytest.mark.parametrize("encoding", ["zstd", "deflate", "br", "snappy", "gzip, gzip", "x"])
async def test_other_encodings_are_unsupported(encoding: str) -> None:
    async with clients.receiver("http", took) as port:
        reply = await clients.post(port, TRACES, Content_Encoding=encoding)
    assert (reply.http_status, reply.code) == (415, INVALID_ARGUMENT)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip "])
async def test_gzip_is_unpacked_in_one_member_or_several(sink: Sink, start_hop: StartHop, encoding: str) -> None:
    port = await started(start_hop, sink)
    half = len(TRACES) // 2
    for body in (gzip.compress(TRACES), gzip.compress(TRACES[:half]) + gzip.compress(b"") + gzip.compress(TRACES[half:])):
        assert (await clients.post(port, body, Content_Encoding=encoding)).response == b""
    assert await sink.wait_for_items(4) == [*lens.items(TRACES)] * 2
    assert (await clients.post(port, gzip.compress(TRACES_JSON), content_type=JSON, Content_Encoding=encoding)).response == b"{}"


async def test_a_body_larger_than_a_piece_of_the_unpacking_arrives_whole(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink)
    text = bytes(range(256)) * 4000
    body = oracle.nest(1, 2, 2, value=oracle.field(1, b"x" * 16) + oracle.field(1001, text))
    for level in (0, 9):
        assert (await clients.post(port, gzip.compress(body, level), Content_Encoding="gzip")).response == b""
    assert await sink.wait_for_items(2) == [*lens.items(body)] * 2


GZIPPED = gzip.compress(TRACES)
BAD_GZIP = {
    "nothing": b"",
    "no gzip": TRACES,
    "cut short": GZIPPED[:-1],
    "cut in the middle": GZIPPED[: len(GZIPPED) // 2],
    "a wrong checksum": GZIPPED[:-8] + bytes(8),
    "something behind": GZIPPED + b"x",
    "a second member cut short": GZIPPED + GZIPPED[:-3],
    "two thousand members": gzip.compress(b"") * 2000,
}


@pytest.mark.parametrize("body", BAD_GZIP.values(), ids=BAD_GZIP)
async def test_bad_gzip_is_bad_data(body: bytes) -> None:
    async with clients.receiver("http", took) as port:
        reply = await clients.post(port, body, Content_Encoding="gzip")
    assert (reply.http_status, reply.code, reply.violations) == (400, INVALID_ARGUMENT, (reply.message,))


@pytest.mark.parametrize("kind", list(Kind))
async def test_bad_data_is_told_with_its_reason(sink: Sink, start_hop: StartHop, kind: Kind) -> None:
    port = await started(start_hop, sink)
    for content_type, body in ((PROTOBUF, b"\x0a\x05ab"), (JSON, b'{"resource'), (JSON, b"[]")):
        reply = await clients.post(port, body, f"/v1/{kind}", content_type)
        assert (reply.http_status, reply.code, reply.retry_after_s) == (400, INVALID_ARGUMENT, None)
        assert str(kind) in reply.message
        assert reply.violations == (reply.message,)
        assert reply.headers is not None
        assert reply.headers["Content-Type"] == content_type


async def test_partial_success_has_the_type_of_the_request() -> None:
    async def rejects(kind: Kind, body: bytes, transport: str) -> PartialSuccess:
        return PartialSuccess(3, "no good")

    async with clients.receiver("http", rejects) as port:
        for kind, name in (
            (Kind.TRACES, "rejectedSpans"),
            (Kind.LOGS, "rejectedLogRecords"),
            (Kind.METRICS, "rejectedDataPoints"),
        ):
            reply = await clients.post(port, b"", f"/v1/{kind}")
            assert reply.response == oracle.field(1, oracle.field(1, 3) + oracle.field(2, b"no good"))
            reply = await clients.post(port, b"{}", f"/v1/{kind}", JSON)
            assert json.loads(reply.response) == {"partialSuccess": {name: "3", "errorMessage": "no good"}}


async def test_an_unexpected_failure_is_to_be_tried_again() -> None:
    for failure in (RuntimeError("secret"), TimeoutError(), ConnectionResetError(), KeyError("x"), AssertionError()):

        async def fails(kind: Kind, body: bytes, transport: str, failure: Exception = failure) -> PartialSuccess:
            raise failure

        async with clients.receiver("http", fails) as port:
            for content_type in (PROTOBUF, JSON):
                reply = await clients.post(port, b"{}" if content_type == JSON else b"", content_type=content_type)
                assert (reply.http_status, reply.code) == (503, UNAVAILABLE)
                assert "secret" not in reply.message
