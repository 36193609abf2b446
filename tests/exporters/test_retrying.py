"""When and how often a request is sent again: hints, limits, timeouts, broken connections and broken answers."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog.testing
from aiohttp import web
from google.protobuf.any_pb2 import Any as Any_
from google.rpc.status_pb2 import Status

from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.records import Kind
from tests import traffic
from tests.conftest import StartHop
from tests.exporters.backends import (
    PROTOCOLS,
    Converse,
    Proxy,
    behind,
    exporter_to,
    failing,
    grpc_server,
    http_server,
    journal,
    never_answer,
    queue,
    tcp_server,
    to_sink,
    until,
)
from tests.sink import OK, UNAVAILABLE, Answer, Sink

BODY = traffic.traces(1).SerializeToString()


def dead_letters(directory: Path) -> list[Any]:
    return DeadLetters(directory / "journal").letters()


def at(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(("protocol", "code"), [("grpc", 14), ("grpc", 8), ("grpc", 16), ("http", 14)])
async def test_a_hint_to_wait_is_kept_by_all_requests_under_way(
    sink: Sink, start_hop: StartHop, protocol: str, code: int
) -> None:
    tries: list[float] = []

    def behave(_kind: Kind, _body: bytes) -> Answer:
        tries.append(time.monotonic())
        if len(tries) == 1:
            return Answer(code=code, http_status=429, retry_after_s=1.0)
        return UNAVAILABLE if len(tries) <= 3 else OK

    sink.behave = behave
    settings = {"max_message_bytes": 1024, "sending_queue": queue(consumers=3), "retry_on_failure": {"initial_interval": "300ms"}}
    service = await start_hop(to_sink(protocol, sink, **settings))
    journal(service, *(traffic.traces(1, value_bytes=250).SerializeToString() for _ in range(3)))
    await sink.wait_for_items(3)
    assert tries[3] - tries[0] >= 1.0


async def test_a_date_to_wait_for_is_understood(start_hop: StartHop) -> None:
    tries: list[float] = []

    async def respond(_: web.BaseRequest) -> web.Response:
        tries.append(time.monotonic())
        return web.Response(status=200 if len(tries) > 1 else 503, headers={"Retry-After": at(2)})

    async with http_server(respond) as port:
        service = await start_hop(exporter_to("http", port, port))
        journal(service, BODY)
        await until(lambda: behind(service, "otlp_http") == 0)
    assert tries[1] - tries[0] >= 0.5  # an HTTP date has whole seconds


HINTS = [
    *("soon", "", "-5", "nan", "-inf", "0", at(-100)),
    *("Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2030 00:00:00 +9999999999"),
]


@pytest.mark.parametrize("hint", HINTS, ids=[str(index) for index in range(len(HINTS))])
async def test_a_useless_hint_is_ignored(start_hop: StartHop, hint: str) -> None:
    statuses = [503, 200]

    async def respond(_: web.BaseRequest) -> web.Response:
        return web.Response(status=statuses.pop(0), headers={"Retry-After": hint})

    with structlog.testing.capture_logs() as lines:
        async with http_server(respond) as port:
            service = await start_hop(exporter_to("http", port, port))
            journal(service, BODY)
            await until(lambda: behind(service, "otlp_http") == 0)
    assert "HTTP 503" in str(lines)
    assert "unexpectedly" not in str(lines)


@pytest.mark.parametrize("hint", ["99999999999999999999", "1e400", "inf", at(1e9)], ids=["long", "1e400", "inf", "date"])
async def test_no_hint_is_believed_beyond_an_hour(start_hop: StartHop, hint: str) -> None:
    async def respond(_: web.BaseRequest) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": hint})

    with structlog.testing.capture_logs() as lines:
        async with http_server(respond) as port:
            service = await start_hop(exporter_to("http", port, port))
            journal(service, BODY)
            await until(lambda: any("retry_in_s" in line for line in lines))
    assert {line["retry_in_s"] for line in lines if "retry_in_s" in line} == {3600}


BROKEN_RETRY_INFO = Status(details=[Any_(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\x0a\xff")])


@pytest.mark.parametrize("details", [b"\xff\xff", BROKEN_RETRY_INFO.SerializeToString()])
async def test_broken_status_details_do_not_change_what_the_code_means(
    start_hop: StartHop, tmp_path: Path, details: bytes
) -> None:
    async def refuse(_: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no", (("grpc-status-details-bin", details),))
        return b""

    async with grpc_server(refuse) as port:
        service = await start_hop(exporter_to("grpc", port, port))
        journal(service, BODY)
        await until(lambda: dead_letters(tmp_path))
    assert dead_letters(tmp_path)[0].reason == "INVALID_ARGUMENT: no"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_after_the_longest_time_each_request_is_a_dead_letter(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str
) -> None:
    sink.behave = lambda _kind, _body: UNAVAILABLE
    retry = {"initial_interval": "20ms", "max_interval": "20ms", "max_elapsed_time": "300ms"}
    service = await start_hop(to_sink(protocol, sink, retry_on_failure=retry))
    bodies = [traffic.traces(1).SerializeToString() for _ in range(5)]
    journal(service, *bodies)
    await until(lambda: len(dead_letters(tmp_path)) == 5)
    assert sink.requests > 3
    sink.behave = lambda _kind, _body: OK
    assert {letter.reason.partition(":")[0] for letter in dead_letters(tmp_path)} == {"given up after 300ms"}
    journal(service, BODY)
    assert await sink.wait_for_items(1)
    assert sink.received[Kind.TRACES] == [BODY]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_backend_that_starts_late_gets_everything(start_hop: StartHop, protocol: str) -> None:
    sink = await Sink().start()
    ports = sink.grpc_port, sink.http_port
    await sink.stop()
    service = await start_hop(exporter_to(protocol, *ports))
    journal(service, BODY)
    (name,) = service.state()["exporters"]
    await until(lambda: failing(service, name) != "None")
    await sink.start(*ports)
    try:
        assert await sink.wait_for_items(1)
    finally:
        await sink.stop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_connection_that_hangs_is_given_up_for_a_new_one(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    """As when a firewall forgets a connection: no answer comes, and nobody closes it."""
    proxy = Proxy(sink.grpc_port if protocol == "grpc" else sink.http_port)
    async with tcp_server(proxy.converse) as port:
        service = await start_hop(exporter_to(protocol, port, port, timeout="500ms"))
        journal(service, BODY)
        await sink.wait_for_items(1)
        proxy.freeze()
        journal(service, BODY)
        assert await sink.wait_for_items(2)
        assert proxy.connections >= 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_connection_cut_in_the_middle_of_an_answer_loses_nothing(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str
) -> None:
    sink.behave = lambda _kind, _body: Answer(response=b"\x0a\x88\x80\x04\x12\x84\x80\x04" + b"x" * 65_540)
    proxy = Proxy(sink.grpc_port if protocol == "grpc" else sink.http_port, cut=2, cut_after=20_000)
    async with tcp_server(proxy.converse) as port:
        service = await start_hop(exporter_to(protocol, port, port))
        bodies = [traffic.traces(1).SerializeToString() for _ in range(3)]
        journal(service, *bodies)
        (name,) = service.state()["exporters"]
        await until(lambda: behind(service, name) == 0)
    assert sink.received[Kind.TRACES] == [b"".join(bodies)] * 3
    assert not dead_letters(tmp_path)


async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(10)


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n" * 1000)
    await writer.drain()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("converse", [hang_up, babble, never_answer])
async def test_a_server_that_is_no_backend_is_tried_again(start_hop: StartHop, protocol: str, converse: Converse) -> None:
    async with tcp_server(converse) as port:
        service = await start_hop(exporter_to(protocol, port, port, timeout="300ms"))
        journal(service, BODY)
        (name,) = service.state()["exporters"]
        await until(lambda: failing(service, name) != "None")
        assert "internal failure" not in failing(service, name)
        assert behind(service, name) > len(BODY)


GARBAGE = {
    "not protobuf": Answer(response=b"\xff\xff\xff"),
    "empty": Answer(response=b""),
    "another message": Answer(response=traffic.traces(3).SerializeToString()),
    "larger than OTLP allows": Answer(response=bytes(5 << 20)),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", GARBAGE)
async def test_a_success_with_a_broken_body_is_a_success(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str, name: str
) -> None:
    service = await start_hop(to_sink(protocol, sink))
    sink.answers.append(GARBAGE[name])
    journal(service, BODY)
    (exporter,) = service.state()["exporters"]
    await until(lambda: behind(service, exporter) == 0)
    assert sink.requests == 1
    assert not dead_letters(tmp_path)


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "text/html"}, {"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}, {"Content-Type": "?"}],
)
@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_2xx_answer_is_a_success_whatever_its_body(
    start_hop: StartHop, tmp_path: Path, status: int, headers: dict[str, str]
) -> None:
    asked = 0

    async def respond(_: web.BaseRequest) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=status, body=None if status == 204 else b"<html>", headers=headers)

    async with http_server(respond) as port:
        service = await start_hop(exporter_to("http", port, port))
        journal(service, BODY)
        await until(lambda: behind(service, "otlp_http") == 0)
    assert asked == 1
    assert not dead_letters(tmp_path)


async def test_cookies_of_a_backend_are_not_kept(start_hop: StartHop) -> None:
    shown: list[str | None] = []

    async def respond(request: web.BaseRequest) -> web.Response:
        shown.append(request.headers.get("Cookie"))
        return web.Response(status=200 if len(shown) > 1 else 503, headers={"Set-Cookie": "stick=here; Path=/"})

    async with http_server(respond) as port:
        service = await start_hop(exporter_to("http", port, port))
        journal(service, BODY)
        await until(lambda: behind(service, "otlp_http") == 0)
    assert shown == [None, None]
