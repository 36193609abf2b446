"""Bodies that unpack to far more than they are: what a running hop takes for them."""

import gzip
import sys
import zlib
from pathlib import Path

import grpc
import pytest

from tests import oracle, traffic
from tests.conftest import StartProcess
from tests.hop import HopProcess, otlp_to
from tests.receivers import clients
from tests.receivers.clients import INVALID_ARGUMENT, JSON, RESOURCE_EXHAUSTED
from tests.sink import Sink

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the largest resident size of another process"),
]

BOUND_MIB = 600
"""Over the size at the start; measured are 330."""


def peak_mib(hop: HopProcess) -> int:
    (line,) = [line for line in Path(f"/proc/{hop.pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) >> 10


def packed_zeros(mib: int, before: bytes = b"") -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return b"".join([packer.compress(before), *(packer.compress(bytes(1 << 20)) for _ in range(mib)), packer.flush()])


async def test_bombs_take_a_bounded_amount_of_memory(sink: Sink, start_process: StartProcess) -> None:
    hop = await start_process({"otlp": otlp_to(sink.grpc_port)})
    http, grpc_port = (int(address.rsplit(":", 1)[1]) for address in (hop.http, hop.grpc))
    start = peak_mib(hop)
    bomb = packed_zeros(200)
    assert len(bomb) < 4 << 20
    empty_groups = gzip.compress(b"\x0a\x00" * (32 << 20), 1)
    for body, code in ((bomb, RESOURCE_EXHAUSTED), (empty_groups, RESOURCE_EXHAUSTED), (packed_zeros(60), INVALID_ARGUMENT)):
        assert (await clients.post(http, body, Content_Encoding="gzip")).code == code
    values = gzip.compress(b'{"resourceSpans":[' + b"{}," * (21 << 20) + b"{}]}", 1)
    assert (await clients.post(http, values, content_type=JSON, Content_Encoding="gzip")).code == RESOURCE_EXHAUSTED
    members = gzip.compress(b"") * 900 + gzip.compress(oracle.field(1001, bytes(60 << 20)), 0)
    assert (await clients.post(http, members, Content_Encoding="gzip")).code == 0
    async with clients.channel(grpc_port) as channel:
        for body, code in ((bytes(80 << 20), RESOURCE_EXHAUSTED), (b"\x0a\x00" * (31 << 20), RESOURCE_EXHAUSTED)):
            assert (await clients.export(channel, body, compression=grpc.Compression.Gzip)).code == code
    assert peak_mib(hop) - start < BOUND_MIB
    good = traffic.traces(2).SerializeToString()
    for protocol, port in (("grpc", grpc_port), ("http", http)):
        assert (await clients.send(protocol, port, good)).code == 0
    await sink.wait_for_items(4)
