"""Certificates and tokens that are renewed while the hop runs."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from otel_eval.records import Kind
from tests.conftest import StartProcess
from tests.exporters.certificates import Authority
from tests.hop import HopProcess, free_port, otlp_to
from tests.senders import named, post
from tests.sink import Sink
from tests.test_reload import REFUSED, protocols, reload


async def presented(endpoint: str, authority: Authority, protocol: str) -> str:
    """The name in the certificate that a server shows."""
    context = ssl.create_default_context(cafile=authority.file)
    context.set_alpn_protocols(["h2" if protocol == "grpc" else "http/1.1"])
    _, writer = await asyncio.open_connection(*endpoint.split(":"), ssl=context)
    certificate: Any = writer.get_extra_info("peercert")
    writer.transport.abort()
    return str(dict(pair for name in certificate["subject"] for pair in name)["commonName"])


async def test_renewed_certificates_are_taken_over_and_bad_ones_are_not(
    sink: Sink, start_process: StartProcess, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    first, second = authority.issue("first", "127.0.0.1"), authority.issue("second", "127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(first.cert.read_bytes())
    key.write_bytes(first.key.read_bytes())
    tls = {"cert_file": str(cert), "key_file": str(key)}
    endpoints = {name: f"127.0.0.1:{free_port()}" for name in ("grpc", "http")}
    servers = {name: {"endpoint": endpoint, "tls": tls} for name, endpoint in endpoints.items()}
    process = await start_process({"otlp": otlp_to(sink.grpc_port)}, receivers={"otlp": {"protocols": servers}})

    async def names() -> set[str]:
        return {await presented(endpoint, authority, name) for name, endpoint in endpoints.items()}

    assert await names() == {"first"}
    cert.write_text("half a certificate")
    await reload(process, REFUSED)
    assert await names() == {"first"}
    cert.write_bytes(second.cert.read_bytes())  # with the key of the first: somebody is in the middle of it
    await reload(process, REFUSED)
    assert await names() == {"first"}
    key.write_bytes(second.key.read_bytes())
    await reload(process)
    assert await names() == {"second"}


@pytest.mark.parametrize("way", ["token", "filename"])
async def test_bearer_tokens_change(sink: Sink, start_process: StartProcess, tmp_path: Path, way: str) -> None:
    file = tmp_path / "tokens"
    file.write_text("first-token\n")
    auth = {"token": "first-token"} if way == "token" else {"filename": str(file)}
    process = await start_process(
        {"otlp": otlp_to(sink.grpc_port)},
        receivers={"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{free_port()}", "auth": auth}}}},
    )
    assert await _statuses(process, "first-token", "second-token") == [200, 401]
    file.write_text("second-token\nthird-token\n")
    if way == "token":
        protocols(process)["http"]["auth"] = {"token": "second-token"}
        await reload(process)
    assert await _statuses(process, "first-token", "second-token") == [401, 200]


async def _statuses(process: HopProcess, *tokens: str) -> list[int]:
    body = named(Kind.TRACES, 1)
    return [await post(process.http, Kind.TRACES, body, Authorization=f"Bearer {token}") for token in tokens]
