"""Nobody outside can flood our log, read a secret there, or stop the hop by no longer reading it."""

import asyncio
import os
import subprocess
import sys

import pytest

from tests.conftest import StartProcess
from tests.hop import otlp_to
from tests.sink import Sink

NOBODY_READS = """
import logging, structlog, sys
from otel_eval import logs
logs.configure("info", sys.argv[1])
sys.stdin.readline()
for number in range(50):
    structlog.get_logger().error(f"line {number}", reason="x" * 1000)
    logging.getLogger("library").error("line %d", number)
print("alive")
"""
TOKEN = "s3cret-of-a-sender"
MALFORMED = [
    f"POST /v1/traces HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\x01\r\n\r\n",
    f"POST /v1/traces HTTP/1.1\r\nHost: a\r\n{TOKEN} : x\r\n\r\n",
    f"GET /{TOKEN}\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
    f"{TOKEN}\r\n\r\n",
    "POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_of_the_lines_who_goes_away_disturbs_nobody(form: str) -> None:
    command = [sys.executable, "-c", NOBODY_READS, form]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stderr.close()
        child.stdin.write(b"\n")
        child.stdin.close()
        assert child.stdout.read() == b"alive\n"
    assert child.returncode == 0


async def test_malformed_http_cannot_flood_the_log_or_show_a_token_there(sink: Sink, start_process: StartProcess) -> None:
    hop = await start_process({"otlp": otlp_to(sink.grpc_port)})
    before = len(hop.log().splitlines())
    pages = (str(hop.config["telemetry"][page]) for page in ("metrics", "health"))
    ports = {address.rpartition(":")[2] for address in (hop.http, hop.grpc, *pages)}
    for request in MALFORMED * 4:
        for port in ports:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(request.encode("latin-1"))
            try:
                async with asyncio.timeout(0.2):
                    await reader.read(1000)
            except (TimeoutError, ConnectionError):
                pass
            writer.close()
    assert await hop.stop() == 0
    shown = hop.log().splitlines()[before:]
    assert len(shown) < 30, shown
    assert TOKEN not in "".join(shown)
    assert "\x1b" not in "".join(shown)
