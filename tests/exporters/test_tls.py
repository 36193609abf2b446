"""TLS towards a backend, over both protocols."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from otel_eval.errors import ConfigError
from otel_eval.records import Kind
from tests import hop, traffic
from tests.conftest import StartHop
from tests.exporters.backends import PROTOCOLS, behind, failing, journal, until
from tests.exporters.certificates import Authority, Pair
from tests.sink import Sink

BODY = traffic.traces(1).SerializeToString()


@asynccontextmanager
async def secure_sink(server: Pair, clients: Authority | None = None) -> AsyncIterator[Sink]:
    """A sink with TLS; with `clients` it takes only senders with a certificate of that authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server.cert, server.key)
    ca = None
    if clients:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
        ca = clients.file.read_bytes()
    pair = [(server.key.read_bytes(), server.cert.read_bytes())]
    sink = await Sink().start(credentials=grpc.ssl_server_credentials(pair, ca, clients is not None), ssl_context=context)
    try:
        yield sink
    finally:
        await sink.stop()


def secure(protocol: str, sink: Sink, **tls: Any) -> dict[str, Any]:
    tls = {key: str(value) if isinstance(value, Path) else value for key, value in tls.items()}
    if protocol == "grpc":
        return {"otlp": {"endpoint": f"127.0.0.1:{sink.grpc_port}", "tls": tls}}
    return {"otlp_http": {"endpoint": f"https://127.0.0.1:{sink.http_port}", "tls": tls}}


async def delivers(start_hop: StartHop, sink: Sink, exporters: dict[str, Any]) -> None:
    service = await start_hop(exporters)
    journal(service, BODY)
    await sink.wait_for_items(1)
    assert sink.received[Kind.TRACES] == [BODY]


async def holds(start_hop: StartHop, sink: Sink, exporters: dict[str, Any]) -> str:
    """The reason for which the data stays in the journal."""
    service = await start_hop(exporters)
    journal(service, BODY)
    (name,) = exporters
    await until(lambda: failing(service, name) != "None")
    assert behind(service, name) > len(BODY)
    assert sink.requests == 0
    assert "internal failure" not in failing(service, name)
    return failing(service, name)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_own_authority_is_trusted(start_hop: StartHop, tmp_path: Path, protocol: str) -> None:
    authority = Authority(tmp_path, "authority")
    async with secure_sink(authority.issue("server", "127.0.0.1")) as sink:
        await delivers(start_hop, sink, secure(protocol, sink, ca_file=authority.file))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_unknown_authority_is_not_trusted(start_hop: StartHop, tmp_path: Path, protocol: str) -> None:
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    async with secure_sink(authority.issue("server", "127.0.0.1")) as sink:
        await holds(start_hop, sink, secure(protocol, sink, ca_file=other.file))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_name_in_the_certificate_counts(start_hop: StartHop, tmp_path: Path, protocol: str) -> None:
    authority = Authority(tmp_path, "authority")
    async with secure_sink(authority.issue("server", "tempo.example")) as sink:
        exporters = secure(protocol, sink, ca_file=authority.file)
        await holds(start_hop, sink, exporters)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_expected_name_can_be_set(start_hop: StartHop, tmp_path: Path, protocol: str) -> None:
    authority = Authority(tmp_path, "authority")
    async with secure_sink(authority.issue("server", "tempo.example")) as sink:
        tls = {"ca_file": authority.file, "server_name_override": "tempo.example"}
        await delivers(start_hop, sink, secure(protocol, sink, **tls))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_client_certificate_is_shown(start_hop: StartHop, tmp_path: Path, protocol: str) -> None:
    authority, clients = Authority(tmp_path, "authority"), Authority(tmp_path, "clients")
    client = clients.issue("client")
    async with secure_sink(authority.issue("server", "127.0.0.1"), clients) as sink:
        tls = {"ca_file": authority.file, "cert_file": client.cert, "key_file": client.key}
        await delivers(start_hop, sink, secure(protocol, sink, **tls))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_without_a_client_certificate_the_data_is_held(start_hop: StartHop, tmp_path: Path, protocol: str) -> None:
    authority = Authority(tmp_path, "authority")
    async with secure_sink(authority.issue("server", "127.0.0.1"), authority) as sink:
        await holds(start_hop, sink, secure(protocol, sink, ca_file=authority.file))


async def test_http_can_skip_verification(start_hop: StartHop, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    async with secure_sink(authority.issue("server", "elsewhere.example")) as sink:
        await delivers(start_hop, sink, secure("http", sink, insecure_skip_verify=True))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_plain_text_to_a_tls_port_and_the_reverse_are_held(start_hop: StartHop, tmp_path: Path, protocol: str) -> None:
    authority = Authority(tmp_path, "authority")
    async with secure_sink(authority.issue("server", "127.0.0.1")) as sink:
        plain = secure(protocol, sink, insecure=True)
        if protocol == "http":
            plain["otlp_http"]["endpoint"] = f"http://127.0.0.1:{sink.http_port}"
        await holds(start_hop, sink, plain)
    open_sink = await Sink().start()
    try:
        other = tmp_path / "other"
        other.mkdir()
        service = await hop.start_service(other, hop.settings(other, secure(protocol, open_sink, ca_file=authority.file)))
        journal(service, BODY)
        (name,) = service.state()["exporters"]
        await until(lambda: failing(service, name) != "None")
        await service.stop(0)
        assert open_sink.requests == 0
    finally:
        await open_sink.stop()


BROKEN = {
    "no such authority": ("missing", None, None),
    "an authority that is none": ("junk", None, None),
    "a directory": (".", None, None),
    "no such certificate": (None, "missing", "one.key.pem"),
    "a certificate that is none": (None, "junk", "one.key.pem"),
    "a key of another certificate": (None, "one.cert.pem", "two.key.pem"),
    "a key with a password": (None, "locked.cert.pem", "locked.key.pem"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("case", BROKEN)
async def test_files_that_cannot_serve_are_refused_at_the_start(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str, case: str
) -> None:
    """gRPC itself would only fail at the first handshake, and OpenSSL would ask the terminal for a password."""
    authority = Authority(tmp_path, "authority")
    (tmp_path / "junk").write_text("-----BEGIN CERTIFICATE-----\nnot really\n")
    for name in ("one", "two"):
        authority.issue(name)
    authority.issue("locked", password=b"1234")
    keys = ("ca_file", "cert_file", "key_file")
    tls = {key: tmp_path / name for key, name in zip(keys, BROKEN[case], strict=True) if name}
    with pytest.raises(ConfigError, match=r"exporters\.\w+\.tls"):
        await start_hop(secure(protocol, sink, **tls))
