"""Who may send: TLS, client certificates and bearer tokens, over both protocols."""

import os
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from structlog.testing import capture_logs

from otel_eval.config.models import BearerAuth, GrpcServer, HttpServer, ServerTls
from otel_eval.config.values import ListenAddress, Secret
from otel_eval.errors import ConfigError
from otel_eval.receivers.grpc import GrpcReceiver
from otel_eval.receivers.http import HttpReceiver
from otel_eval.receivers.security import warn_if_open
from otel_eval.records import Kind, PartialSuccess
from otel_eval.telemetry import Metrics
from tests import hop, traffic
from tests.exporters.certificates import Authority, Pair
from tests.receivers import clients
from tests.receivers.clients import UNAUTHENTICATED, UNAVAILABLE

PROTOCOLS = ["grpc", "http"]
BODY = traffic.traces(1).SerializeToString()


async def took(kind: Kind, body: bytes, transport: str) -> PartialSuccess:
    assert body == BODY
    return PartialSuccess()


async def send_secure(
    protocol: str, port: int, authority: Authority, client: Pair | None = None, address: str = "127.0.0.1"
) -> int:
    """The code of the answer over TLS; UNAVAILABLE when there is no connection."""
    if protocol == "grpc":
        key, cert = (client.key.read_bytes(), client.cert.read_bytes()) if client else (None, None)
        async with clients.channel(port, grpc.ssl_channel_credentials(authority.file.read_bytes(), key, cert)) as channel:
            return (await clients.export(channel, BODY)).code
    context = ssl.create_default_context(cafile=authority.file)
    if client:
        context.load_cert_chain(client.cert, client.key)
    try:
        return (await clients.post(port, BODY, scheme="https", ssl=context)).code
    except aiohttp.ClientError:
        return UNAVAILABLE


def server_tls(pair: Pair, clients_of: Authority | None = None) -> ServerTls:
    return ServerTls(cert_file=pair.cert, key_file=pair.key, client_ca_file=clients_of.file if clients_of else None)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_senders_that_know_the_authority_may_send_and_plain_text_is_refused(tmp_path: Path, protocol: str) -> None:
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    tls = server_tls(authority.issue("server", "127.0.0.1"))
    async with clients.receiver(protocol, took, tls=tls) as port:
        assert await send_secure(protocol, port, authority) == 0
        assert await send_secure(protocol, port, other) == UNAVAILABLE
        if protocol == "grpc":
            assert (await clients.call(port, BODY)).code == UNAVAILABLE
        else:
            with pytest.raises(aiohttp.ClientError):
                await clients.post(port, BODY)
        assert await send_secure(protocol, port, authority) == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_with_a_client_authority_senders_must_show_its_certificate(tmp_path: Path, protocol: str) -> None:
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    tls = server_tls(authority.issue("server", "127.0.0.1"), authority)
    async with clients.receiver(protocol, took, tls=tls) as port:
        assert await send_secure(protocol, port, authority, authority.issue("agent")) == 0
        assert await send_secure(protocol, port, authority) == UNAVAILABLE
        assert await send_secure(protocol, port, authority, other.issue("stranger")) == UNAVAILABLE


def started(protocol: str, **config: Any) -> GrpcReceiver | HttpReceiver:
    config = {"endpoint": ListenAddress.parse("127.0.0.1:0"), **config}
    if protocol == "grpc":
        return GrpcReceiver(GrpcServer(**config), took, Metrics())
    return HttpReceiver(HttpServer(**config), took, Metrics())


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_files_that_cannot_serve_are_refused_at_the_start(tmp_path: Path, protocol: str) -> None:
    authority = Authority(tmp_path, "authority")
    one, two, locked = authority.issue("one"), authority.issue("two"), authority.issue("locked", password=b"1234")
    missing, junk = tmp_path / "missing", tmp_path / "junk"
    junk.write_text("-----BEGIN CERTIFICATE-----\nnot really\n")
    broken = [
        (missing, one.key),
        (one.cert, missing),
        (junk, one.key),
        (one.cert, junk),
        (one.cert, two.key),
        (locked.cert, locked.key),
    ]
    cases = [ServerTls(cert_file=cert, key_file=key) for cert, key in broken]
    cases += [ServerTls(cert_file=one.cert, key_file=one.key, client_ca_file=file) for file in (missing, junk, tmp_path)]
    for tls in cases:
        with pytest.raises(ConfigError, match=rf"receivers\.otlp\.protocols\.{protocol}\.tls"):
            await started(protocol, tls=tls).start()


async def codes(protocol: str, port: int, *shown: str | None) -> list[int]:
    """The code of the answer for each value of the Authorization header."""
    found = []
    for value in shown:
        if protocol == "grpc":
            metadata = (("authorization", value),) if value is not None else ()
            reply = await clients.call(port, BODY, metadata=metadata)
        else:
            reply = await clients.post(port, BODY, **({"Authorization": value} if value is not None else {}))
            assert (reply.http_status, "WWW-Authenticate" in (reply.headers or ())) in {(200, False), (401, True)}
        found.append(reply.code)
    return found


NO, YES = UNAUTHENTICATED, 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_token_must_be_shown(protocol: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = {
        "Bearer s3cret": YES, "bearer s3cret": YES, "BEARER  s3cret ": YES,
        "Bearer s3cre": NO, "Bearer s3cretx": NO, "Bearer S3CRET": NO, "Bearer": NO, "Bearer ": NO, "s3cret": NO,
        "Basic s3cret": NO, "": NO, None: NO,
    }  # fmt: skip
    with capture_logs() as lines:
        async with clients.receiver(protocol, took, auth=BearerAuth(token=Secret(" s3cret\n"))) as port:
            assert await codes(protocol, port, *shown) == list(shown.values())
            if protocol == "http":
                assert await codes(protocol, port, "Bearer s3cret\xff", "Bearer \u20ac") == [NO, NO]
    assert "s3cre" not in f"{lines}{capsys.readouterr()}"


async def test_without_a_token_the_body_is_not_read_and_the_path_still_counts() -> None:
    async with clients.receiver("http", took, auth=BearerAuth(token=Secret("s3cret"))) as port:
        async with clients.connection(port) as (reader, writer):
            writer.write(clients.request(Content_Length=1000))
            assert (await clients.read_reply(reader)).http_status == 401
            writer.write(bytes(1000))
        assert (await clients.post(port, b"", "/nowhere")).http_status == 404
    async with clients.receiver("grpc", took, auth=BearerAuth(token=Secret("s3cret"))) as port, clients.channel(port) as channel:
        assert (await clients.export(channel, BODY, method="/x/y", metadata=(("authorization", "Bearer s3cret"),))).code == 12


def replace(file: Path, text: str) -> None:
    """As Kubernetes and careful people do it."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_tokens_in_a_file_can_be_rotated_while_running(tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "tokens"
    file.write_text("one\r\n\n  two  \n")
    tokens = ["Bearer one", "Bearer two", "Bearer three", "Bearer "]
    with capture_logs() as lines:
        async with clients.receiver(protocol, took, auth=BearerAuth(filename=file)) as port:
            assert await codes(protocol, port, *tokens) == [YES, YES, NO, NO]
            replace(file, "two\nthree\n")
            assert await codes(protocol, port, *tokens) == [NO, YES, YES, NO]
            written = file.stat().st_mtime_ns
            file.write_text("three\n")  # in place, within one tick of a coarse clock
            os.utime(file, ns=(written, written))
            assert await codes(protocol, port, *tokens) == [NO, NO, YES, NO]
            file.write_text("one\n")
            assert await codes(protocol, port, *tokens) == [YES, NO, NO, NO]
            assert lines == []
            for break_file in (file.unlink, lambda: file.write_text(" \n"), file.unlink, file.mkdir):
                break_file()
                assert await codes(protocol, port, *tokens, *tokens) == [YES, NO, NO, NO] * 2
            assert len(lines) == 4  # once for each, not for each request
            assert all("keeping the old tokens" in line["event"] and line["log_level"] == "error" for line in lines)
            file.rmdir()
            replace(file, "three\n")
            assert await codes(protocol, port, *tokens) == [NO, NO, YES, NO]
    assert not any(word in str(lines) for word in ("one", "two", "three"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_token_file_must_hold_a_token_at_the_start(tmp_path: Path, protocol: str) -> None:
    (tmp_path / "empty").write_text("\n \n")
    for name, reason in (("missing", "cannot be read"), ("empty", "holds no token"), (".", "cannot be read")):
        with pytest.raises(ConfigError, match=rf"protocols\.{protocol}\.auth\.filename: .*{reason}"):
            await started(protocol, auth=BearerAuth(filename=tmp_path / name)).start()


@pytest.mark.parametrize("endpoint", ["0.0.0.0:4317", "[::]:4317", "192.0.2.1:4317", "hop.example:4317"])
def test_an_endpoint_that_everybody_reaches_is_warned_of(tmp_path: Path, endpoint: str) -> None:
    address = ListenAddress.parse(endpoint)
    plain = ServerTls(cert_file=tmp_path, key_file=tmp_path)
    mutual = ServerTls(cert_file=tmp_path, key_file=tmp_path, client_ca_file=tmp_path)
    token = BearerAuth(token=Secret("x"))
    for tls, auth, warned in ((None, None, True), (plain, None, True), (mutual, None, False), (None, token, False)):
        with capture_logs() as lines:
            warn_if_open(address, tls, auth, "receivers.otlp.protocols.grpc")
        assert [(line["log_level"], line["endpoint"]) for line in lines] == ([("warning", endpoint)] if warned else [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_loopback_is_not_warned_of(protocol: str) -> None:
    for endpoint in ("127.0.0.1:0", "localhost:0", "127.0.0.53:0"):
        with capture_logs() as lines:
            server = started(protocol, endpoint=ListenAddress.parse(endpoint))
            await server.start()
            await server.shutdown()
        assert lines == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_port_that_is_taken_is_a_config_error_that_names_the_key(protocol: str) -> None:
    async with clients.receiver(protocol, took) as port:
        address = ListenAddress.parse(f"127.0.0.1:{port}")
        with pytest.raises(ConfigError, match=rf"receivers\.otlp\.protocols\.{protocol}\.endpoint: cannot listen on {address}"):
            await started(protocol, endpoint=address).start()
        assert (await clients.send(protocol, port, BODY)).code == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_two_hops_cannot_share_a_port(tmp_path: Path, protocol: str) -> None:
    """gRPC would let them, and each would get half of the calls."""
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first = hop.HopProcess(tmp_path / "first", hop.settings(tmp_path / "first", {"debug": {}}))
    await first.start()
    try:
        settings = hop.settings(tmp_path / "second", {"debug": {}})
        endpoint = first.config["receivers"]["otlp"]["protocols"][protocol]["endpoint"]
        settings["receivers"]["otlp"]["protocols"][protocol]["endpoint"] = endpoint
        second = hop.HopProcess(tmp_path / "second", settings)
        with pytest.raises(AssertionError, match=rf"protocols\.{protocol}\.endpoint: cannot listen on {endpoint}"):
            await second.start()
        assert "Traceback" not in second.log()
    finally:
        await first.kill()
