"""Tokens are not seen: not in the log of the whole program, nor on its pages."""

from pathlib import Path

import pytest

from tests import hop
from tests.conftest import StartProcess
from tests.hop import otlp_to
from tests.receivers.clients import UNAUTHENTICATED, call, connection, post, request
from tests.sink import Sink

PROTOCOLS = ["grpc", "http"]
TOKENS = {"grpc": "grpc-token-2718281828", "http": "http-token-3141592653"}
SHOWN = "a-token-that-somebody-showed"


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_token_appears_in_log_lines_or_pages(
    sink: Sink, start_process: StartProcess, tmp_path: Path, log_format: str
) -> None:
    """Neither ours nor one that is shown, whether the request around it is well formed or not."""
    file = tmp_path / "tokens"
    file.write_text(TOKENS["http"])
    auth = {"grpc": {"token": TOKENS["grpc"]}, "http": {"filename": str(file)}}
    protocols = {name: {"endpoint": f"127.0.0.1:{hop.free_port()}", "auth": auth[name]} for name in PROTOCOLS}
    telemetry = {
        "metrics": f"127.0.0.1:{hop.free_port()}",
        "health": f"127.0.0.1:{hop.free_port()}",
        "logs": {"level": "debug", "format": log_format},
    }
    process = await start_process(
        {"otlp": otlp_to(sink.grpc_port)}, receivers={"otlp": {"protocols": protocols}}, telemetry=telemetry
    )
    grpc_port, http_port = (int(endpoint.rsplit(":", 1)[1]) for endpoint in (process.grpc, process.http))
    for token, code in ((SHOWN, UNAUTHENTICATED), (TOKENS["grpc"], 0)):
        assert (await call(grpc_port, b"", metadata=(("authorization", f"Bearer {token}"),))).code == code
    for token, code in ((SHOWN, UNAUTHENTICATED), (TOKENS["http"], 0)):
        assert (await post(http_port, b"", Authorization=f"Bearer {token}")).code == code
    broken = [
        request(body=b"", Authorization=f"Bearer {SHOWN}\0"),
        request(body=b"", Authorization=f"Bearer {SHOWN}").replace(b"HTTP/1.1", b"HTTP/9.x"),
        request(body=b"", Authorization=f"Bearer {SHOWN}", Content_Length="-1"),
        f"Bearer {SHOWN}\r\n\r\n".encode(),
    ]
    for sent in broken:
        async with connection(http_port) as (reader, writer):
            writer.write(sent)
            assert (await reader.readline()).split()[1] == b"400"
    async with connection(grpc_port) as (reader, writer):
        writer.write(broken[0])
        await reader.read()
    file.unlink()
    assert (await post(http_port, b"", Authorization=f"Bearer {SHOWN}")).code == UNAUTHENTICATED
    seen = process.log() + (await process.page("metrics", "metrics"))[1] + (await process.page("health", "readyz"))[1]
    assert "keeping the old tokens" in seen
    for secret in (*TOKENS.values(), SHOWN):
        assert secret not in seen
