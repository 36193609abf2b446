"""Who may send: TLS, client certificates and bearer tokens, and what is said when anybody may."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from structlog.testing import capture_logs

from otel_eval.config.models import BearerAuth, ServerTls
from otel_eval.config.values import ListenAddress, Secret
from otel_eval.errors import ConfigError
from otel_eval.records import Kind, PartialSuccess
from tests import traffic
from tests.exporters.certificates import Authority, Pair
from tests.receivers.clients import JSON, UNAUTHENTICATED, Reply, call, channel, export, post, receiver

BODY = traffic.traces(1).SerializeToString()
PROTOCOLS = ["grpc", "http"]
TOKEN = "correct-horse-battery-staple"


class Taken(list[bytes]):
    """An `accept` that keeps the bodies."""

    async def __call__(self, _kind: Kind, body: bytes, _transport: str) -> PartialSuccess:
        self.append(body)
        return PartialSuccess()


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def server_tls(pair: Pair, clients: Authority | None = None) -> ServerTls:
    return ServerTls(cert_file=pair.cert, key_file=pair.key, client_ca_file=clients.file if clients else None)


async def send_secure(protocol: str, port: int, trusted: Authority, client: Pair | None = None) -> Reply:
    """A request by a client that trusts this authority; raises or answers UNAVAILABLE when there is no connection."""
    if protocol == "grpc":
        key, chain = (client.key.read_bytes(), client.cert.read_bytes()) if client else (None, None)
        return await call_secure(port, grpc.ssl_channel_credentials(trusted.file.read_bytes(), key, chain))
    context = ssl.create_default_context(cafile=trusted.file)
    if client:
        context.load_cert_chain(client.cert, client.key)
    return await post(port, BODY, scheme="https", ssl=context)


async def call_secure(port: int, credentials: grpc.ChannelCredentials) -> Reply:
    async with channel(port, credentials) as opened:
        return await export(opened, BODY)


async def is_turned_away(protocol: str, port: int, trusted: Authority, client: Pair | None = None) -> None:
    if protocol == "grpc":
        assert (await send_secure(protocol, port, trusted, client)).code == grpc.StatusCode.UNAVAILABLE.value[0]
    else:
        with pytest.raises(aiohttp.ClientError):
            await send_secure(protocol, port, trusted, client)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_client_that_trusts_the_authority_can_send(protocol: str, taken: Taken, authority: Authority) -> None:
    async with receiver(protocol, taken, tls=server_tls(authority.issue("server", "127.0.0.1"))) as port:
        assert (await send_secure(protocol, port, authority)).code == 0
    assert taken == [BODY]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_client_that_trusts_another_authority_does_not_send(
    protocol: str, taken: Taken, authority: Authority, tmp_path: Path
) -> None:
    async with receiver(protocol, taken, tls=server_tls(authority.issue("server", "127.0.0.1"))) as port:
        await is_turned_away(protocol, port, Authority(tmp_path, "other"))
    assert taken == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_only_clients_with_a_certificate_of_the_client_authority_can_send(
    protocol: str, taken: Taken, authority: Authority, tmp_path: Path
) -> None:
    clients, others = Authority(tmp_path, "clients"), Authority(tmp_path, "others")
    tls = server_tls(authority.issue("server", "127.0.0.1"), clients)
    async with receiver(protocol, taken, tls=tls) as port:
        await is_turned_away(protocol, port, authority)
        await is_turned_away(protocol, port, authority, others.issue("stranger"))
        await is_turned_away(protocol, port, authority, authority.issue("of the server's authority"))
        assert taken == []
        assert (await send_secure(protocol, port, authority, clients.issue("client"))).code == 0
    assert taken == [BODY]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_plain_text_to_a_tls_port_is_not_taken(protocol: str, taken: Taken, authority: Authority) -> None:
    async with receiver(protocol, taken, tls=server_tls(authority.issue("server", "127.0.0.1"))) as port:
        if protocol == "grpc":
            assert (await call(port, BODY)).code == grpc.StatusCode.UNAVAILABLE.value[0]
        else:
            with pytest.raises(aiohttp.ClientError):
                await post(port, BODY)
    assert taken == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_protocols_older_than_tls_1_2_are_refused(protocol: str, taken: Taken, authority: Authority) -> None:
    old = ssl.create_default_context(cafile=authority.file)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    async with receiver(protocol, taken, tls=server_tls(authority.issue("server", "127.0.0.1"))) as port:
        with pytest.raises(aiohttp.ClientError):
            await post(port, BODY, scheme="https", ssl=old)


BROKEN_TLS = {
    "no such certificate": ("missing", "one.key.pem", None),
    "no such key": ("one.cert.pem", "missing", None),
    "a certificate that is none": ("junk", "one.key.pem", None),
    "a key of another certificate": ("one.cert.pem", "two.key.pem", None),
    "a key with a password": ("locked.cert.pem", "locked.key.pem", None),
    "a directory": (".", "one.key.pem", None),
    "no such client authority": ("one.cert.pem", "one.key.pem", "missing"),
    "a client authority that is none": ("one.cert.pem", "one.key.pem", "junk"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("case", BROKEN_TLS)
async def test_files_that_cannot_serve_are_refused_at_the_start(
    protocol: str, case: str, taken: Taken, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "junk").write_text("-----BEGIN CERTIFICATE-----\nnot really\n")
    authority.issue("one")
    authority.issue("two")
    authority.issue("locked", password=b"1234")
    cert, key, ca = BROKEN_TLS[case]
    tls = ServerTls(cert_file=tmp_path / cert, key_file=tmp_path / key, client_ca_file=tmp_path / ca if ca else None)
    wrong = next((name for name in (cert, key, ca) if name in {"missing", "junk"}), None)
    with pytest.raises(ConfigError, match=rf"^receivers\.otlp\.protocols\.{protocol}\.tls") as refused:
        async with receiver(protocol, taken, tls=tls):
            pass
    assert wrong is None or str(tmp_path / wrong) in str(refused.value)


async def send_with(protocol: str, port: int, authorization: str | None, content_type: str | None = None) -> Reply:
    if protocol == "grpc":
        return await call(port, BODY, metadata=() if authorization is None else (("authorization", authorization),))
    headers = {} if authorization is None else {"Authorization": authorization}
    return await post(port, BODY, **({"content_type": content_type} if content_type else {}), **headers)


@asynccontextmanager
async def guarded(protocol: str, taken: Taken, auth: BearerAuth) -> AsyncIterator[Any]:
    """A function that sends with the value of an Authorization header and gives the answer's code."""
    async with receiver(protocol, taken, auth=auth) as port:

        async def code(authorization: str | None) -> int:
            return (await send_with(protocol, port, authorization)).code

        yield code


WRONG = [
    None,
    "",
    "Bearer",
    "Bearer ",
    f"Basic {TOKEN}",
    TOKEN,
    f"Bearer{TOKEN}",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN.upper()}",
    f"Bearer {TOKEN} {TOKEN}",
    f"Bearer {TOKEN},{TOKEN}",
]


@pytest.mark.parametrize("source", ["token", "filename"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_only_senders_that_show_the_token_are_let_in(protocol: str, source: str, taken: Taken, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n")
    auth = BearerAuth(token=Secret(TOKEN)) if source == "token" else BearerAuth(filename=file)
    async with guarded(protocol, taken, auth) as code:
        for authorization in WRONG:
            assert await code(authorization) == UNAUTHENTICATED, authorization
        assert taken == []
        for scheme in ("Bearer", "bearer", "BEARER"):
            assert await code(f"{scheme} {TOKEN}") == 0
    assert taken == [BODY] * 3


@pytest.mark.parametrize("content_type", ["application/x-protobuf", JSON])
@pytest.mark.parametrize("authorization", [None, "Bearer wrong"])
async def test_http_refuses_with_401_in_the_type_of_the_request(taken: Taken, authorization: str | None, content_type: str) -> None:
    async with receiver("http", taken, auth=BearerAuth(token=Secret(TOKEN))) as port:
        reply = await send_with("http", port, authorization, content_type)
    assert (reply.http_status, reply.code) == (401, UNAUTHENTICATED)
    assert reply.headers is not None
    assert reply.headers["Content-Type"] == content_type
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert "token" in reply.message


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_body_is_not_read_for_a_sender_without_a_token(protocol: str, taken: Taken) -> None:
    """What is not a request at all gets the same answer, so nothing can be learnt without a token."""
    async with receiver(protocol, taken, auth=BearerAuth(token=Secret(TOKEN))) as port:
        reply = await (call(port, b"\xff") if protocol == "grpc" else post(port, b"\xff", Content_Encoding="gzip"))
    assert reply.code == UNAUTHENTICATED


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_tokens_can_be_rotated_while_running(protocol: str, taken: Taken, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("old\n")
    async with guarded(protocol, taken, BearerAuth(filename=file)) as code:
        assert [await code("Bearer old"), await code("Bearer new")] == [0, UNAUTHENTICATED]
        file.write_text("\n  old  \r\n\nnew\n")
        assert [await code("Bearer old"), await code("Bearer new")] == [0, 0]
        following = tmp_path / "following"
        following.write_text("new")
        following.replace(file)
        assert [await code("Bearer old"), await code("Bearer new")] == [UNAUTHENTICATED, 0]
        assert await code("Bearer ") == UNAUTHENTICATED


@pytest.mark.parametrize("loss", ["gone", "empty", "blank"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_file_that_vanishes_or_becomes_empty_leaves_the_old_tokens(
    protocol: str, loss: str, taken: Taken, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(TOKEN)
    async with guarded(protocol, taken, BearerAuth(filename=file)) as code:
        if loss == "gone":
            file.unlink()
        else:
            file.write_text("" if loss == "empty" else " \n\n")
        with capture_logs() as lines:
            for _ in range(3):
                assert [await code(f"Bearer {TOKEN}"), await code("Bearer wrong")] == [0, UNAUTHENTICATED]
        (line,) = lines
        assert line["log_level"] == "error"
        assert f"receivers.otlp.protocols.{protocol}.auth.filename: {file}" in line["reason"]
        file.write_text("another")
        assert [await code("Bearer another"), await code(f"Bearer {TOKEN}")] == [0, UNAUTHENTICATED]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("content", [None, "", " \n"])
async def test_a_token_file_must_hold_a_token_at_the_start(
    protocol: str, content: str | None, taken: Taken, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "tokens").write_text(content)
    with pytest.raises(ConfigError, match=rf"^receivers\.otlp\.protocols\.{protocol}\.auth\.filename: .*tokens"):
        async with receiver(protocol, taken, auth=BearerAuth(filename=tmp_path / "tokens")):
            pass


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_it_is_said_when_anybody_may_send(protocol: str, taken: Taken, authority: Authority) -> None:
    pair = authority.issue("server", "127.0.0.1")
    bearer = BearerAuth(token=Secret(TOKEN))
    cases: list[tuple[str, dict[str, Any], bool]] = [
        ("0.0.0.0:0", {}, True),
        ("0.0.0.0:0", {"tls": server_tls(pair)}, True),
        ("0.0.0.0:0", {"tls": server_tls(pair, authority)}, False),
        ("0.0.0.0:0", {"auth": bearer}, False),
        ("127.0.0.1:0", {}, False),
        ("localhost:0", {}, False),
    ]
    for address, config, expected in cases:
        with capture_logs() as lines:
            async with receiver(protocol, taken, endpoint=ListenAddress.parse(address), **config):
                pass
        assert [line["key"] for line in lines] == [f"receivers.otlp.protocols.{protocol}.endpoint"] * expected, address
