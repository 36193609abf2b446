"""What judging 2 % of all traces adds to the CPU of carrying a span; the judges' API is a process of its own."""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_eval.records import Kind
from tests.bench.hop import Process, received
from tests.hop import free_port, otlp_to, settings, write_config

_LIMIT = 1.10
_ROUNDS = 7
_SPANS = 40_000
_RATE = 0.02
_IDLE_S = 0.05
"""CPU that a hop with nothing to do stays below in a second."""

_TRACES_A_REQUEST = 10
_SPANS_A_TRACE = 20
_JUDGED = ["answered", "grounded_numbers", "refusal", "tool_call_validity", "tool_efficiency", "pii_leak", "secret_leak"]


def costs() -> Iterator[str]:
    """A row for each size: medians of rounds in which hops without and with judging take turns, and of their ratios."""
    yield f"{'span':>8} {'without µs':>11} {'with µs':>8} {'ratio':>6} {'limit':>6} {'judged':>7}"
    for size in (1000, 4000):
        with tempfile.TemporaryDirectory(dir=Path(".build").absolute()) as place, ExitStack() as stack:
            sink_port, judge_port = free_port(), free_port()
            sink = _started(stack, sink_port, "tests.bench.null_hop", str(sink_port))
            _stand_in(stack, judge_port)
            without = _hop(stack, Path(place) / "without", sink_port, {"enabled": False})
            judging = {
                "provider": {"api_key": "any", "base_url": f"http://127.0.0.1:{judge_port}"},
                "evaluators": [*_JUDGED, {"rubric": "task_completion"}],
                "limits": {"max_rate_limit_share": 1},
            }
            with_judges = _hop(stack, Path(place) / "with", sink_port, judging)
            for hop in (without, with_judges):
                _round(hop, sink, size, _SPANS // 10)  # what is imported, connected and loaded once is no cost of a span
            rounds = [(_round(without, sink, size), _round(with_judges, sink, size)) for _ in range(_ROUNDS)]
        off, on = (statistics.median(one[index] for one in rounds) for index in (0, 1))
        ratio = statistics.median(one[1] / one[0] for one in rounds)  # of neighbours: the machine changes by a third in minutes
        judged = int(_ROUNDS * _SPANS / _SPANS_A_TRACE * _RATE)
        yield f"{size:>6} B {off:>11.1f} {on:>8.1f} {ratio:>6.2f} {_LIMIT:>6.2f} {judged:>7}"


def _started(stack: ExitStack, port: int, *arguments: str) -> Process:
    process = Process(port, *arguments)
    stack.callback(process.stop)
    return process


def _stand_in(stack: ExitStack, port: int) -> None:
    arguments = [sys.executable, "-m", "otel_eval.standin", "--port", str(port)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    process.stdout.readline()  # it says that it listens


def _hop(stack: ExitStack, directory: Path, sink_port: int, judging: dict[str, Any]) -> Process:
    directory.mkdir()
    sections: dict[str, Any] = {"traces": {"quiet_period": "500ms"}, "sampling": {"baseline": {"rate": _RATE}}}
    config = settings(directory, {"otlp": otlp_to(sink_port, sending_queue={})}, judging=judging, **sections)
    config["telemetry"] = {"metrics": None, "health": None, "logs": {"level": "error"}}
    port = int(config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rsplit(":")[-1])
    return _started(stack, port, "otel_eval", "run", "--config", str(write_config(directory, config)))


def _round(hop: Process, sink: Process, size: int, spans: int = _SPANS) -> float:
    """µs of the hop's CPU a span, until all is at the sink and nothing is left to decide or judge."""
    bodies = [_request(size) for _ in range(spans // (_TRACES_A_REQUEST * _SPANS_A_TRACE))]
    before, begun_s = received(sink), hop.cpu_s()
    with grpc.insecure_channel(f"127.0.0.1:{hop.port}", [("grpc.max_send_message_length", -1)]) as channel:
        export: Any = channel.unary_unary(f"/{Kind.TRACES.service}/Export")
        for body in bodies:
            export(body)
    while received(sink) < before + sum(map(len, bodies)):
        time.sleep(0.1)
    last_s, idle = hop.cpu_s(), 0
    while idle < 2:
        time.sleep(1.0)
        now_s = hop.cpu_s()
        idle = idle + 1 if now_s - last_s < _IDLE_S else 0
        last_s = now_s
    return 1e6 * (last_s - begun_s) / spans


def _request(size: int) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "bench"
    spans = group.scope_spans.add().spans
    for _ in range(_TRACES_A_REQUEST):
        trace_id, root = os.urandom(16), os.urandom(8)
        for index in range(_SPANS_A_TRACE):
            span = spans.add(name="chat", trace_id=trace_id, span_id=os.urandom(8) if index else root, flags=0x101)
            span.parent_span_id = root if index else b""
            span.start_time_unix_nano, span.end_time_unix_nano = 10**18, 10**18 + 10**9
            text = f"order {random.randrange(10**9)} is on its way " * ((size - 300) // 60 or 1)
            for key, role in (("input", "user"), ("output", "assistant")):
                said = json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])
                span.attributes.add(key=f"gen_ai.{key}.messages").value.string_value = said
            span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat" if index else "invoke_agent"
    return request.SerializeToString()
