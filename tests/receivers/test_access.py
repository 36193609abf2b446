"""Access in detail: which client certificates count, how a refusal looks, and what a mistake in the files is called."""

import asyncio
import ssl
from pathlib import Path

import aiohttp
import grpc
import pytest

from otel_eval.config.models import BearerAuth, ServerTls
from otel_eval.config.values import Secret
from otel_eval.errors import ConfigError
from otel_eval.records import Kind, PartialSuccess
from tests.exporters.certificates import Authority, Pair
from tests.receivers.clients import JSON, PROTOBUF, UNAUTHENTICATED, UNAVAILABLE, call, channel, export, post, receiver

PROTOCOLS = ["grpc", "http"]


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


async def send(protocol: str, port: int, trusted: Authority, client: Pair) -> int:
    """The code of the answer; UNAVAILABLE when there is no connection."""
    if protocol == "grpc":
        files = (trusted.file, client.key, client.cert)
        async with channel(port, grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))) as opened:
            return (await export(opened, b"")).code
    context = ssl.create_default_context(cafile=trusted.file)
    context.load_cert_chain(client.cert, client.key)
    try:
        return (await post(port, b"", scheme="https", ssl=context)).code
    except aiohttp.ClientError:
        return UNAVAILABLE


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_authority_of_the_server_does_not_vouch_for_clients(
    protocol: str, taken: Taken, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority(tmp_path, "clients")
    pair = authority.issue("server", "127.0.0.1")
    tls = ServerTls(cert_file=pair.cert, key_file=pair.key, client_ca_file=clients.file)
    async with receiver(protocol, taken, tls=tls) as port:
        assert await send(protocol, port, authority, authority.issue("neighbour")) == UNAVAILABLE
        assert taken == []
        assert await send(protocol, port, authority, clients.issue("client")) == 0
    assert taken == [b""]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_protocols_older_than_tls_1_2_are_refused(protocol: str, taken: Taken, authority: Authority) -> None:
    client = ssl.create_default_context(cafile=authority.file)
    client.set_ciphers("ALL:@SECLEVEL=0")  # so that OpenSSL offers the old ones at all
    client.set_alpn_protocols(["h2", "http/1.1"])
    client.minimum_version = ssl.TLSVersion.TLSv1
    pair = authority.issue("server", "127.0.0.1")
    async with receiver(protocol, taken, tls=ServerTls(cert_file=pair.cert, key_file=pair.key)) as port:
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        writer.close()
        client.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=client)


BROKEN_TLS = {  # the files, and the key and file that the error names
    "no such certificate": ("missing", "one.key.pem", None, "cert_file: {}/missing cannot be read"),
    "no such key": ("one.cert.pem", "missing", None, "key_file: {}/missing cannot be read"),
    "a directory": (".", "one.key.pem", None, "cert_file: {} cannot be read"),
    "no such client authority": ("one.cert.pem", "one.key.pem", "missing", "client_ca_file: {}/missing cannot be read"),
    "a client authority that is none": ("one.cert.pem", "one.key.pem", "junk", "client_ca_file: {}/junk cannot be used"),
    "a certificate that is none": ("junk", "one.key.pem", None, ": {}/junk with the key {}/one.key.pem cannot be used"),
    "a key of another": ("one.cert.pem", "two.key.pem", None, ": {}/one.cert.pem with the key {}/two.key.pem cannot be used"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("case", BROKEN_TLS)
async def test_a_file_that_cannot_serve_is_named(
    protocol: str, case: str, taken: Taken, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "junk").write_text("-----BEGIN CERTIFICATE-----\nnot really\n")
    authority.issue("one")
    authority.issue("two")
    cert, key, ca, named = BROKEN_TLS[case]
    tls = ServerTls(cert_file=tmp_path / cert, key_file=tmp_path / key, client_ca_file=tmp_path / ca if ca else None)
    with pytest.raises(ConfigError, match=rf"^receivers\.otlp\.protocols\.{protocol}\.tls") as refused:
        async with receiver(protocol, taken, tls=tls):
            pass
    assert named.replace("{}", str(tmp_path)) in str(refused.value)


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("shown", [{}, {"Authorization": "Bearer wrong"}])
async def test_http_refuses_with_401_in_the_type_of_the_request(taken: Taken, shown: dict[str, str], content_type: str) -> None:
    async with receiver("http", taken, auth=BearerAuth(token=Secret("right"))) as port:
        reply = await post(port, b"", content_type=content_type, **shown)
    assert (reply.http_status, reply.code, reply.message) == (401, UNAUTHENTICATED, "a valid bearer token is needed")
    assert reply.headers is not None
    assert reply.headers["Content-Type"] == content_type
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert taken == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_without_a_token_what_is_wrong_with_a_body_is_not_told(protocol: str, taken: Taken) -> None:
    async with receiver(protocol, taken, auth=BearerAuth(token=Secret("right"))) as port:
        reply = await (call(port, b"\xff") if protocol == "grpc" else post(port, b"\xff", Content_Encoding="gzip"))
    assert reply.code == UNAUTHENTICATED
