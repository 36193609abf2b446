"""The load generator: `python -m tests.bench.load PORT SHAPE SPANS_A_REQUEST REQUESTS RATE` prints JSON.

RATE is requests a second (open loop, so that waiting is measured), or 0 for as fast as eight senders can.
"""

import asyncio
import json
import os
import random
import sys
import time
from typing import Any, NamedTuple

import grpc
import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_eval.records import Kind
from tests.traffic import attribute

_SENDERS = 8
_BODIES = 24
_WORDS = "the agent calls a tool and reads what it returned before it answers gen_ai user order refund 4711".split()


class Shape(NamedTuple):
    """A kind of span: its size on the wire in bytes, its attributes, and whether one of them is nested."""

    span_bytes: int
    attributes: int
    nested: bool = False


SHAPES = {"thin": Shape(350, 10), "medium": Shape(4_000, 20), "thick": Shape(17_000, 25)}
_OTHERS = {"deep": Shape(4_000, 20, nested=True)}


def bodies(shape: Shape, spans: int) -> list[bytes]:
    """Requests whose spans belong to traces of 8 to 40 spans."""
    chance = random.Random(spans)
    return [_request(shape, spans, chance).SerializeToString() for _ in range(_BODIES)]


def _request(shape: Shape, spans: int, chance: random.Random) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.append(attribute("service.name", "bench"))
    scope = group.scope_spans.add()
    scope.scope.name = "tests.bench"
    left, trace_id = 0, b""
    for index in range(spans):
        if left == 0:
            left, trace_id = chance.randint(8, 40), os.urandom(16)
        left -= 1
        span = scope.spans.add(trace_id=trace_id, span_id=os.urandom(8), parent_span_id=os.urandom(8), name=f"chat {index}")
        span.kind = 1  # type: ignore[assignment]
        span.flags = 0x101
        span.start_time_unix_nano = time.time_ns()
        span.end_time_unix_nano = span.start_time_unix_nano + 10**9
        for number in range(shape.attributes - 1):
            span.attributes.append(attribute(f"gen_ai.key.{number}", "4711"))
        if shape.nested:
            span.attributes.add(key="nested").value.kvlist_value.values.append(attribute("a", "b"))
        text = " ".join(chance.choices(_WORDS, k=shape.span_bytes // 4))
        span.attributes.append(attribute("gen_ai.input.messages", text[: max(0, shape.span_bytes - span.ByteSize() - 30)]))
    return request


async def run(port: int, shape: str, spans: int, requests: int, rate: float) -> dict[str, Any]:
    """Send and return what was sent, in how many seconds, and the latencies of Export in ms."""
    prepared = bodies((SHAPES | _OTHERS)[shape], spans)
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_send_message_length", -1)]) as channel:
        export: Any = channel.unary_unary(f"/{Kind.TRACES.service}/Export")

        async def send(index: int) -> None:
            begun = time.perf_counter()
            await export(prepared[index % _BODIES], wait_for_ready=True)
            latencies.append(time.perf_counter() - begun)

        async def sender(first: int) -> None:
            for index in range(first, requests, _SENDERS):
                await send(index)

        started = time.perf_counter()
        if rate:
            tasks = []
            for index in range(requests):
                await asyncio.sleep(max(0.0, started + index / rate - time.perf_counter()))
                tasks.append(asyncio.create_task(send(index)))
            await asyncio.gather(*tasks)
        else:
            await asyncio.gather(*(sender(first) for first in range(_SENDERS)))
        seconds = time.perf_counter() - started
    latencies.sort()
    sent = sum(len(prepared[index % _BODIES]) for index in range(requests))
    return {
        "bytes": sent,
        "seconds": seconds,
        "p50_ms": 1e3 * latencies[len(latencies) // 2],
        "p99_ms": 1e3 * latencies[int(len(latencies) * 0.99)],
    }


if __name__ == "__main__":
    _port, _shape, _spans, _requests, _rate = sys.argv[1:]
    print(json.dumps(asyncio.run(run(int(_port), _shape, int(_spans), int(_requests), float(_rate)))))
