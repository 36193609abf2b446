"""What may happen on an HTTP connection: many requests, strange ones, slow senders, too much data."""

import gzip
from typing import Any

import pytest

from otel_eval.receivers import http
from otel_eval.wire import lens
from tests import oracle
from tests.conftest import StartHop
from tests.receivers import clients
from tests.receivers.clients import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE
from tests.receivers.test_http import TRACES, started, took
from tests.sink import Sink


async def test_requests_on_one_connection_are_answered_in_turn(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink)
    good, bad = clients.request(body=TRACES), clients.request(body=b"\xff")
    async with clients.connection(port) as (reader, writer):
        for _ in range(2):  # kept alive
            writer.write(good)
            assert (await clients.read_reply(reader)).http_status == 200
        writer.write(good + bad + clients.request("/nowhere", body=TRACES) + good)  # pipelined
        assert [(await clients.read_reply(reader)).http_status for _ in range(4)] == [200, 400, 404, 200]
    assert await sink.wait_for_items(8) == [*lens.items(TRACES)] * 4


async def test_a_body_in_chunks_is_put_together(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink)
    async with clients.connection(port) as (reader, writer):
        writer.write(clients.request(Transfer_Encoding="chunked"))
        for byte in TRACES:
            writer.write(b"1\r\n%c\r\n" % byte)
        writer.write(b"0\r\n\r\n")
        assert (await clients.read_reply(reader)).http_status == 200
    assert await sink.wait_for_items(2) == list(lens.items(TRACES))


async def test_a_sender_that_asks_first_is_told_to_go_on(sink: Sink, start_hop: StartHop) -> None:
    """curl asks before bodies over 1 MiB; others wait for ever."""
    port = await started(start_hop, sink)
    async with clients.connection(port) as (reader, writer):
        for _ in range(2):
            writer.write(clients.request(Expect="100-continue", Content_Length=len(TRACES)))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(TRACES)
            assert (await clients.read_reply(reader)).http_status == 200
    async with clients.connection(port) as (reader, writer):
        writer.write(clients.request("/nowhere", Expect="100-continue", Content_Length=len(TRACES)))
        assert (await clients.read_reply(reader)).http_status == 404


async def test_old_http_is_understood(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink)
    async with clients.connection(port) as (reader, writer):
        writer.write(clients.request(body=TRACES).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await clients.read_reply(reader)).http_status == 200
        assert await reader.read() == b""


NO_HTTP = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no method": b"/v1/traces\r\n\r\n",
    "a negative length": clients.request(Content_Length="-1"),
    "two lengths": clients.request(Content_Length="3", content_length="4"),
    "a length and chunks": clients.request(Content_Length="3", Transfer_Encoding="chunked"),
    "a bad chunk": clients.request(Transfer_Encoding="chunked") + b"zz\r\nabc\r\n",
    "a bad path": clients.request("/v1/\xff"),
    "a long header": clients.request(Authorization="Bearer secret" + "x" * 9000),
    "many headers": clients.request(body=None, **{f"X_{n}": "x" for n in range(500)}),
}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_not_http_is_bad_data_and_leaves_no_trace(
    data: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with clients.receiver("http", took) as port:
        async with clients.connection(port) as (reader, writer):
            writer.write(data)
            reply = await clients.read_reply(reader)
            assert (reply.http_status, reply.code) == (400, INVALID_ARGUMENT)
            assert reply.message
            assert "secret" not in reply.message
            assert await reader.read() == b""
        assert (await clients.post(port, TRACES)).http_status == 200
    assert caplog.text == ""
    assert capsys.readouterr() == ("", "")


async def test_a_sender_that_stops_in_the_middle_is_told_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BODY_TIMEOUT_S", 0.2)
    async with clients.receiver("http", took) as port:
        chunk = clients.request(Transfer_Encoding="chunked") + b"2\r\nab\r\n"
        for start, rest in ((clients.request(Content_Length=100), b"x" * 100), (chunk, b"0\r\n\r\n")):
            async with clients.connection(port) as (reader, writer):
                writer.write(start)
                reply = await clients.read_reply(reader)
                assert (reply.http_status, reply.code) == (503, UNAVAILABLE)
                writer.write(rest + clients.request(body=TRACES))  # it can go on where it stopped
                assert (await clients.read_reply(reader)).http_status == 200


async def test_a_sender_that_hangs_up_harms_nobody(sink: Sink, start_hop: StartHop, capsys: pytest.CaptureFixture[str]) -> None:
    port = await started(start_hop, sink)
    for start in (
        clients.request(Content_Length=100) + b"abc",
        b"POST /v1/tr",
        clients.request(Transfer_Encoding="chunked") + b"5\r\na",
    ):
        async with clients.connection(port) as (_, writer):
            writer.write(start)
            await writer.drain()
    async with clients.connection(port) as (_, writer):
        writer.write(clients.request(body=TRACES))  # whole, but the answer is not waited for
        await writer.drain()
    assert await sink.wait_for_items(2) == list(lens.items(TRACES))
    assert (await clients.post(port, TRACES)).http_status == 200
    assert "Traceback" not in capsys.readouterr().err


async def test_the_limit_holds_before_and_after_unpacking(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink, max_request_body_size_mib=1)
    inside, over = large(1 << 20), large((1 << 20) + 1)

    async def chunks(body: bytes) -> Any:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    packed = gzip.compress(inside)
    for body, headers in ((inside, {}), (chunks(inside), {}), (packed, {"Content_Encoding": "gzip"})):
        assert (await clients.post(port, body, **headers)).http_status == 200
    halves = gzip.compress(over[: len(over) // 2]) + gzip.compress(over[len(over) // 2 :])
    for body, headers in (
        (over, {}),
        (chunks(over), {}),
        (gzip.compress(over), {"Content_Encoding": "gzip"}),
        (halves, {"Content_Encoding": "gzip"}),
        (chunks(gzip.compress(over)), {"Content_Encoding": "gzip"}),
    ):
        reply = await clients.post(port, body, **headers)
        assert (reply.http_status, reply.code, reply.retry_after_s) == (413, RESOURCE_EXHAUSTED, None)
        assert "1 MiB" in reply.message
    async with clients.connection(port) as (reader, writer):
        writer.write(clients.request(Content_Length=1 << 50))
        assert (await clients.read_reply(reader)).http_status == 413
    assert len(await sink.wait_for_items(3)) == 3


def large(size: int) -> bytes:
    span = oracle.field(1, b"t" * 16) + oracle.field(2, b"s" * 8)
    body = oracle.nest(1, 2, 2, value=span + oracle.field(5, bytes(size - 80)))
    return oracle.nest(1, 2, 2, value=span + oracle.field(5, bytes(size - 80 + size - len(body))))
