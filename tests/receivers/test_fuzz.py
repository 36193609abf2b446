"""More than ten thousand strange requests to one running hop: each answer is the right one, and the hop is well afterwards."""

import asyncio
import gzip
import json
import random
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.records import Kind
from otel_eval.wire.lens import REQUESTS
from tests import json_oracle, oracle, strategies, traffic
from tests.conftest import StartProcess
from tests.hop import otlp_to
from tests.receivers import clients
from tests.receivers.clients import INVALID_ARGUMENT, JSON, PROTOBUF, UNIMPLEMENTED
from tests.sink import Sink

HTTP_REQUESTS, GRPC_REQUESTS, CONNECTIONS = 7000, 4000, 8
MAX_GROWTH_MIB = 40
RESPONSES: dict[Kind, Any] = {
    Kind.TRACES: ExportTraceServiceResponse,
    Kind.LOGS: ExportLogsServiceResponse,
    Kind.METRICS: ExportMetricsServiceResponse,
}


@dataclass
class Case:
    """One request, the code and HTTP status that it must get, and what of it must arrive."""

    kind: Kind
    body: bytes
    code: int
    http_status: int = 200
    rejected: int = 0
    arriving: tuple[bytes, ...] = ()
    arriving_unseen: int = 0
    path: str = ""
    method: str = "POST"
    content_type: str = PROTOBUF
    encoding: str | None = None


def binary(kind: Kind, body: bytes) -> Case:
    if not oracle.parses(REQUESTS[kind], body, utf8=False):
        return Case(kind, body, INVALID_ARGUMENT, 400)
    items = [item.raw for item in oracle.items(body)]
    good = tuple(item for item in items if has_good_ids(kind, item))
    return Case(kind, body, 0, rejected=len(items) - len(good), arriving=good if points_in(kind, body) else ())


def has_good_ids(kind: Kind, item: bytes) -> bool:
    lengths = {1: (0, 16), 2: (0, 8), 4: (0, 8)} if kind is Kind.TRACES else {9: (0, 16), 10: (0, 8)} if kind is Kind.LOGS else {}
    return all(len(value) in lengths[number] for number, value in oracle.last_values(item, set(lengths)).items())


def points_in(kind: Kind, body: bytes) -> bool:
    """Whether there is anything to count: metrics without data points are an empty request."""
    return kind is not Kind.METRICS or any(
        number == 1
        for item in oracle.items(body)
        for value in oracle.all_values(item.raw, {5, 7, 9, 10, 11})
        for number in oracle.last_values(value, {1})
    )
