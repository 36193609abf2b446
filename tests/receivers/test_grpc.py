"""OTLP/gRPC as the specification wants it, and what grpcio does before we are asked."""

import asyncio
import gzip
from typing import Any

import grpc
import pytest

from otel_eval.errors import PermanentError, RetryableError, TooLargeError
from otel_eval.records import Kind, PartialSuccess
from otel_eval.wire import lens
from tests import oracle, traffic
from tests.conftest import StartHop
from tests.hop import otlp_to
from tests.receivers import clients
from tests.receivers.clients import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE, UNIMPLEMENTED
from tests.sink import Sink

TRACES = traffic.traces(2).SerializeToString()


async def took(kind: Kind, body: bytes, transport: str) -> PartialSuccess:
    return PartialSuccess()


async def started(start_hop: StartHop, sink: Sink, **settings: Any) -> int:
    protocols = {"grpc": {"endpoint": "127.0.0.1:0", **settings}}
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)}, receivers={"otlp": {"protocols": protocols}})
    return service.receivers["grpc"].port


async def test_success_has_an_empty_body(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink)
    requests = {Kind.TRACES: traffic.traces(3), Kind.LOGS: traffic.logs(2), Kind.METRICS: traffic.metrics(4)}
    async with clients.channel(port) as channel:
        for kind, request in requests.items():
            assert await clients.export(channel, request.SerializeToString(), kind) == clients.Reply(0)
    for kind, request in requests.items():
        await sink.wait_for_items(1, kind)
        assert sink.received[kind] == [request.SerializeToString()]


async def test_an_empty_request_is_a_success_and_goes_nowhere(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink)
    for body in (b"", b"\x0a\x00", oracle.nest(1, 2, value=b""), oracle.field(1001, b"newer")):
        assert await clients.call(port, body) == clients.Reply(0)
    await clients.call(port, TRACES)
    assert await sink.wait_for_items(2) == list(lens.items(TRACES))


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_known_compressions_are_unpacked(sink: Sink, start_hop: StartHop, compression: grpc.Compression) -> None:
    port = await started(start_hop, sink)
    body = traffic.traces(2, value_bytes=5000).SerializeToString()
    assert await clients.call(port, body, compression=compression) == clients.Reply(0)
    assert await sink.wait_for_items(2) == list(lens.items(body))


@pytest.mark.parametrize("encoding", ["zstd", "snappy", "nonsense"])
async def test_other_compressions_are_refused_by_grpcio_itself(sink: Sink, start_hop: StartHop, encoding: str) -> None:
    """INTERNAL, which senders take for final: they must be set to gzip or none."""
    port = await started(start_hop, sink)
    answer = await clients.call_by_frames(port, [("grpc-encoding", encoding)], b"\1\0\0\0\4abcd")
    assert b"grpc-status\x0213" in answer
    assert b"Error parsing 'grpc-encoding' metadata" in answer
    assert await clients.call(port, TRACES) == clients.Reply(0)
    assert await sink.wait_for_items(2) == list(lens.items(TRACES))


PACKED = gzip.compress(TRACES)
BAD_MESSAGES = {
    "no gzip": b"\1" + len(TRACES).to_bytes(4, "big") + TRACES,
    "gzip cut short": b"\1" + (len(PACKED) - 9).to_bytes(4, "big") + PACKED[:-9],
    "two members": b"\1" + (2 * len(PACKED)).to_bytes(4, "big") + 2 * PACKED,
}


@pytest.mark.parametrize("message", BAD_MESSAGES.values(), ids=BAD_MESSAGES)
async def test_bad_gzip_is_refused_by_grpcio_itself(message: bytes) -> None:
    async with clients.receiver("grpc", took) as port:
        assert b"grpc-status\x0213" in await clients.call_by_frames(port, [("grpc-encoding", "gzip")], message)
        assert await clients.call(port, TRACES) == clients.Reply(0)


async def test_a_message_of_4_gib_is_refused_by_its_header() -> None:
    async with clients.receiver("grpc", took) as port:
        assert b"grpc-status\x018" in await clients.call_by_frames(port, [], b"\0\xff\xff\xff\xffa")
        assert await clients.call(port, TRACES) == clients.Reply(0)


@pytest.mark.parametrize("method", ["/x", "/opentelemetry.proto.collector.trace.v1.TraceService/Import", "/Export", "/a/b/c"])
async def test_an_unknown_method_is_not_implemented(method: str) -> None:
    async with clients.receiver("grpc", took) as port, clients.channel(port) as channel:
        assert (await clients.export(channel, TRACES, method=method)).code == UNIMPLEMENTED


@pytest.mark.parametrize("kind", list(Kind))
async def test_bad_data_is_told_with_its_reason(sink: Sink, start_hop: StartHop, kind: Kind) -> None:
    port = await started(start_hop, sink)
    reply = await clients.call(port, b"\x0a\x05ab", kind)
    assert (reply.code, reply.retry_after_s) == (INVALID_ARGUMENT, None)
    assert str(kind) in reply.message
    assert reply.violations == (reply.message,)


async def test_partial_success_and_warnings_are_passed_on() -> None:
    for outcome in (PartialSuccess(3, "no good"), PartialSuccess(0, "a warning")):

        async def answers(kind: Kind, body: bytes, transport: str, outcome: PartialSuccess = outcome) -> PartialSuccess:
            return outcome

        rejected = oracle.field(1, outcome.rejected) if outcome.rejected else b""
        expected = oracle.field(1, rejected + oracle.field(2, outcome.message.encode()))
        for protocol in ("grpc", "http"):
            async with clients.receiver(protocol, answers) as port:
                for kind in Kind:
                    assert (await clients.send(protocol, port, b"", kind)).response == expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermanentError("bad ünïcode\nline"), INVALID_ARGUMENT),
        (TooLargeError("too much"), RESOURCE_EXHAUSTED),
        (RetryableError("later"), UNAVAILABLE),
        (RetryableError("later", 7.5), UNAVAILABLE),
        (RuntimeError("secret"), UNAVAILABLE),
        (TimeoutError(), UNAVAILABLE),
        (ConnectionResetError(), UNAVAILABLE),
        (ValueError("x" * 100_000), UNAVAILABLE),
    ],
    ids=str,
)
async def test_every_failure_says_whether_to_try_again(error: Exception, code: int) -> None:
    async def fails(kind: Kind, body: bytes, transport: str) -> PartialSuccess:
        raise error

    hint = getattr(error, "retry_after_s", None)
    for protocol in ("grpc", "http"):
        async with clients.receiver(protocol, fails) as port:
            reply = await clients.send(protocol, port, TRACES)
            assert reply.code == code
            assert "secret" not in reply.message
            assert reply.retry_after_s == (hint if protocol == "grpc" or hint is None else round(hint))
            assert bool(reply.violations) == (code == INVALID_ARGUMENT)


async def test_five_mebibytes_are_accepted_by_default(sink: Sink, start_hop: StartHop) -> None:
    """grpcio's own default is 4 MiB, and prompts are long."""
    port = await started(start_hop, sink)
    body = traffic.traces(1, attributes=1, value_bytes=5 << 20).SerializeToString()
    assert await clients.call(port, body) == clients.Reply(0)
    assert await sink.wait_for_items(1) == list(lens.items(body))


async def test_the_limit_holds_before_and_after_unpacking(sink: Sink, start_hop: StartHop) -> None:
    port = await started(start_hop, sink, max_recv_msg_size_mib=1)
    inside = oracle.nest(1, 2, 2, value=oracle.field(5, bytes((1 << 20) - 16)))
    assert len(inside) == 1 << 20
    over = inside + b"\x0a\x00"
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        assert await clients.call(port, inside, compression=compression) == clients.Reply(0)
        reply = await clients.call(port, over, compression=compression)
        assert (reply.code, reply.retry_after_s) == (RESOURCE_EXHAUSTED, None)
    assert len(await sink.wait_for_items(2)) == 2


async def test_a_sender_that_hangs_up_harms_nobody(sink: Sink, start_hop: StartHop, capsys: pytest.CaptureFixture[str]) -> None:
    port = await started(start_hop, sink)
    for timeout in (0.0001, 0.001, 0.01):
        async with clients.channel(port) as channel:
            call: Any = channel.unary_unary(f"/{Kind.TRACES.service}/Export")
            with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
                await call(traffic.traces(1, attributes=1, value_bytes=20 << 20).SerializeToString(), timeout=timeout)
    assert await clients.call(port, TRACES) == clients.Reply(0)
    assert set(lens.items(TRACES)) <= set(await sink.wait_for_items(2))
    assert "Traceback" not in capsys.readouterr().err
