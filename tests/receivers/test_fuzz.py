"""More than ten thousand strange requests to one running hop: each answer is the right one, and the hop is well afterwards."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_eval.records import Kind
from tests import traffic
from tests.conftest import StartProcess
from tests.hop import HopProcess, otlp_to
from tests.receivers import clients
from tests.receivers.clients import PROTOBUF
from tests.receivers.fuzz_cases import Case, Cases
from tests.sink import Sink

HTTP_REQUESTS, GRPC_REQUESTS, CONNECTIONS = 7000, 4000, 8
MAX_GROWTH_MIB = 40


RESPONSES: dict[Kind, tuple[Any, str]] = {
    Kind.TRACES: (ExportTraceServiceResponse, "rejected_spans"),
    Kind.LOGS: (ExportLogsServiceResponse, "rejected_log_records"),
    Kind.METRICS: (ExportMetricsServiceResponse, "rejected_data_points"),
}


def rejected(case: Case, response: bytes) -> int:
    """How many items an answer says were rejected; a full success must say nothing."""
    response_class, field = RESPONSES[case.kind]
    binary = case.content_type == PROTOBUF
    parsed = response_class.FromString(response) if binary else json_format.Parse(response, response_class())
    number = int(getattr(parsed.partial_success, field))
    assert number or response == (b"" if binary else b"{}")
    return number


async def send_http(session: aiohttp.ClientSession, url: str, case: Case) -> clients.Reply:
    headers = {"Content-Type": case.content_type, **({"Content-Encoding": case.encoding} if case.encoding else {})}
    path = case.path or f"/v1/{case.kind}"
    async with session.request(case.method, url + path, data=case.body, headers=headers) as response:
        return clients.http_reply(response.status, response.headers, await response.read())


def assert_right(case: Case, reply: clients.Reply) -> None:
    assert (reply.code, reply.message) == (case.code, reply.message), (case, reply)
    assert reply.http_status in {0, case.http_status}, (case, reply)
    if not reply.code:
        assert rejected(case, reply.response) == case.rejected, (case, reply)


async def work_off(cases: list[Case], send: Callable[[Case], Awaitable[clients.Reply]]) -> None:
    async def work() -> None:
        while cases:
            case = cases.pop()
            assert_right(case, await send(case))

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(work())


async def resident_mib(hop: HopProcess) -> float:
    return await hop.metric("process_resident_memory_bytes") / (1 << 20)


async def work_off_http(hop: HopProcess, cases: list[Case]) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        await work_off(cases, lambda case: send_http(session, hop.http, case))


async def work_off_grpc(hop: HopProcess, cases: list[Case]) -> None:
    packings = [grpc.Compression.NoCompression, grpc.Compression.Gzip]
    async with clients.channel(int(hop.grpc.rsplit(":", 1)[1])) as channel:

        async def send(case: Case) -> clients.Reply:
            packing = packings[len(case.body) % 2]
            return await clients.export(channel, case.body, case.kind, method=case.path or None, compression=packing)

        await work_off(cases, send)


@pytest.mark.slow
async def test_every_strange_request_gets_the_right_answer_and_harms_nothing(sink: Sink, start_process: StartProcess) -> None:
    hop = await start_process({"otlp": otlp_to(sink.grpc_port)})
    source = Cases(20260101)
    http = [source.http() for _ in range(HTTP_REQUESTS)]
    grpc_cases = [source.grpc() for _ in range(GRPC_REQUESTS)]
    everything = [*http, *grpc_cases]
    outcomes = Counter((case.http_status, case.code) for case in everything)
    assert min(outcomes[key] for key in ((200, 0), (400, 3), (404, 12), (405, 12), (415, 3), (0, 12))) >= 50, outcomes
    assert sum(case.rejected > 0 for case in everything) > 100

    await work_off_http(hop, http[:3000])
    await work_off_grpc(hop, grpc_cases[:2000])
    warm = await resident_mib(hop)
    await work_off_http(hop, http[3000:])
    await work_off_grpc(hop, grpc_cases[2000:])
    assert await resident_mib(hop) - warm < MAX_GROWTH_MIB

    for kind in Kind:
        expected = Counter(item for case in everything if case.kind is kind for item in case.arriving)
        unseen = sum(case.unseen for case in everything if case.kind is kind)
        arrived = Counter(await sink.wait_for_items(expected.total() + unseen, kind))
        assert expected <= arrived
        assert arrived.total() == expected.total() + unseen
    good = traffic.traces(1).SerializeToString()
    before = len(sink.spans())
    assert (await clients.call(int(hop.grpc.rsplit(":", 1)[1]), good)).code == 0
    await sink.wait_for_items(before + 1)
    assert await hop.stop() == 0
    assert "Traceback" not in hop.log()
    assert hop.log().count("\n") < 40
