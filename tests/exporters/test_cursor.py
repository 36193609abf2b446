"""How far an exporter has delivered: never too far, kept over a restart, and nobody waits for anybody else."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest
import structlog.testing

from otel_eval.config import ExporterConfig
from otel_eval.config.models import Batch, RetryOnFailure, SendingQueue
from otel_eval.config.values import Duration, PositiveDuration
from otel_eval.errors import RetryableError
from otel_eval.exporters import Message
from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.exporters.running import RunningExporter
from otel_eval.journal import Journal
from otel_eval.records import Kind, PartialSuccess
from otel_eval.telemetry import Metrics
from otel_eval.wire import lens
from tests import hop, traffic
from tests.conftest import StartHop
from tests.exporters.backends import PROTOCOLS, behind, journal, queue, to_sink, until
from tests.hop import otlp_to
from tests.sink import OK, UNAVAILABLE, Answer, Sink

ONE_BY_ONE = {"max_message_bytes": 1024, "sending_queue": queue(consumers=4)}


def numbered(count: int) -> list[bytes]:
    """Requests of which no two fit into one message of 1024 bytes."""
    return [traffic.traces(1, value_bytes=250).SerializeToString() for _ in range(count)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_cursor_waits_in_front_of_what_is_not_delivered(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    bodies = numbered(12)
    sink.behave = lambda _kind, body: UNAVAILABLE if body == bodies[0] else OK
    service = await start_hop(to_sink(protocol, sink, **ONE_BY_ONE))
    journal(service, *bodies)
    (name,) = service.state()["exporters"]
    everything = behind(service, name)
    await sink.wait_for_items(11)
    assert behind(service, name) == everything, "the first request is not delivered, so a restart must begin with it"
    await service.stop(0)

    again = await Sink().start()
    try:
        service = await start_hop(to_sink(protocol, again, **ONE_BY_ONE))
        await until(lambda: behind(service, name) == 0)
        assert set(again.received[Kind.TRACES]) == set(bodies)
    finally:
        await again.stop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_restart_goes_on_where_it_stood(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    first, second = numbered(5), numbered(5)
    service = await start_hop(to_sink(protocol, sink, **ONE_BY_ONE))
    (name,) = service.state()["exporters"]
    journal(service, *first)
    await until(lambda: behind(service, name) == 0)
    await service.stop(0)
    service = await start_hop(to_sink(protocol, sink, **ONE_BY_ONE))
    journal(service, *second)
    await until(lambda: behind(service, name) == 0)
    assert sorted(sink.received[Kind.TRACES]) == sorted(first + second)


async def test_a_new_exporter_gets_what_is_still_there(sink: Sink, start_hop: StartHop) -> None:
    bodies = numbered(3)
    service = await start_hop({"otlp/old": otlp_to(hop.free_port())})
    journal(service, *bodies)
    await service.stop(0)
    service = await start_hop({"otlp/old": otlp_to(hop.free_port()), "otlp/new": otlp_to(sink.grpc_port)})
    await sink.wait_for_items(3)
    assert behind(service, "otlp/new") == 0
    assert behind(service, "otlp/old") > 0


async def test_exporters_of_other_speeds_and_kinds_do_not_wait_for_each_other(start_hop: StartHop) -> None:
    fast, slow, logs_only = await Sink().start(), await Sink().start(), await Sink().start()
    slow.behave = lambda _kind, _body: Answer(delay_s=30)
    exporters = {
        "otlp/fast": otlp_to(fast.grpc_port),
        "otlp/slow": otlp_to(slow.grpc_port),
        "otlp/dead": otlp_to(hop.free_port()),
        "otlp_http/logs": {"endpoint": f"http://127.0.0.1:{logs_only.http_port}", "types": ["logs"]},
        "otlp_http/slow": {"endpoint": f"http://127.0.0.1:{slow.http_port}"},
    }
    try:
        service = await start_hop(exporters)
        for _ in range(50):
            journal(service, *numbered(4))
            journal(service, traffic.logs(1).SerializeToString(), kind=Kind.LOGS)
            journal(service, traffic.metrics(1).SerializeToString(), kind=Kind.METRICS)
        await fast.wait_for_items(200)
        await fast.wait_for_items(50, Kind.LOGS)
        await fast.wait_for_items(50, Kind.METRICS)
        await logs_only.wait_for_items(50, Kind.LOGS)
        assert not logs_only.received[Kind.TRACES]
        await until(lambda: behind(service, "otlp/fast") == behind(service, "otlp_http/logs") == 0)
        assert min(behind(service, f"otlp/{name}") for name in ("slow", "dead")) > 0
    finally:
        for sink in (fast, slow, logs_only):
            await sink.stop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_metrics_that_fail_do_not_hold_traces_up(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    sink.behave = lambda kind, _body: UNAVAILABLE if kind is Kind.METRICS else OK
    service = await start_hop(to_sink(protocol, sink, **ONE_BY_ONE))
    journal(service, *(traffic.metrics(100).SerializeToString() for _ in range(10)), kind=Kind.METRICS)
    await until(lambda: sink.requests > 3)
    journal(service, *numbered(20))
    await sink.wait_for_items(20)
    assert not sink.received[Kind.METRICS]
    first = sink.requests
    (name,) = service.state()["exporters"]
    await service.stop(0)
    sink.behave = lambda _kind, _body: OK
    service = await start_hop(to_sink(protocol, sink, **ONE_BY_ONE))
    await until(lambda: behind(service, name) == 0)
    assert len(sink.items(Kind.TRACES)) == 20, "traces are not sent again because metrics had failed"
    assert len(sink.received[Kind.METRICS]) == 10
    assert sink.requests > first


async def test_a_terminal_that_takes_nothing_does_not_stop_the_hop(
    sink: Sink, start_hop: StartHop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    terminal = os.fdopen(write_end, "w")
    monkeypatch.setattr(sys, "stdout", terminal)
    debug = {"verbosity": "detailed", "timeout": "200ms", "retry_on_failure": {"initial_interval": "5s"}}
    with structlog.testing.capture_logs():  # else our own lines go to the same terminal
        service = await start_hop({"debug": debug, "otlp": otlp_to(sink.grpc_port)})
        journal(service, traffic.traces(3000).SerializeToString(), items=3000)
        await sink.wait_for_items(3000)
        await until(lambda: "stdout" in str(service.state()["exporters"]["debug"]["failing"]))
        journal(service, *numbered(5))
        await sink.wait_for_items(3005)
        assert behind(service, "debug") > 0
        shown = b""
        while b"step 2999 " not in shown:
            shown += await _read(read_end)
        await service.stop(0)
    os.close(read_end)
    with contextlib.suppress(BrokenPipeError):
        terminal.close()


async def _read(fd: int) -> bytes:
    await asyncio.sleep(0.001)
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""


class Failing:
    """An exporter with a defect: it raises what it is told to before it takes anything."""

    Config: ClassVar[type[ExporterConfig]] = ExporterConfig

    def __init__(self, *defects: BaseException) -> None:
        self.defects = list(defects)
        self.received: list[bytes] = []
        self.targets: dict[str, tuple[str, int]] = {}

    async def start(self) -> None: ...

    async def export(self, message: Message) -> PartialSuccess:
        if self.defects:
            raise self.defects.pop(0)
        self.received.append(message.body)
        return PartialSuccess()

    async def shutdown(self) -> None: ...


DEFECTS = [ValueError("no"), KeyError("x"), RecursionError(), MemoryError(), asyncio.CancelledError(), TimeoutError()]


@pytest.mark.parametrize("defect", DEFECTS, ids=repr)
async def test_a_defect_in_an_exporter_is_told_and_costs_no_data(tmp_path: Path, defect: BaseException) -> None:
    exporter = Failing(defect, defect, defect)
    config = ExporterConfig(
        retry_on_failure=RetryOnFailure(initial_interval=PositiveDuration(0.01)),
        sending_queue=SendingQueue(batch=Batch(flush_timeout=Duration(0.01))),
        max_message_bytes=1024,
    )
    log = Journal(tmp_path / "journal", 1 << 24)
    running = RunningExporter("failing", exporter, config)
    with structlog.testing.capture_logs() as lines:
        await running.prepare()
        running.start(log, DeadLetters(tmp_path / "journal"), Metrics(), lambda _name, work: asyncio.ensure_future(work()))
        bodies = numbered(10)
        for body in bodies:
            log.append(Kind.TRACES, body, 1)
        await until(lambda: running.behind == 0)
        await running.stop()
    await log.close()
    assert sorted(exporter.received) == sorted(bodies)
    assert sum("unexpectedly" in line["event"] and line["log_level"] == "error" for line in lines) == 3


class Recording:
    """An exporter whose backend takes everything or nothing; keeps every message that it was given."""

    Config: ClassVar[type[ExporterConfig]] = ExporterConfig

    def __init__(self, *, is_open: bool) -> None:
        self.tried: list[Message] = []
        self.open = is_open
        self.targets: dict[str, tuple[str, int]] = {}

    async def start(self) -> None: ...

    async def export(self, message: Message) -> PartialSuccess:
        self.tried.append(message)
        if not self.open:
            raise RetryableError("closed")
        return PartialSuccess()

    async def shutdown(self) -> None: ...


class Sent(NamedTuple):
    """The id of the journal, the messages by their ids, and the ids of those that were said to be there again at first."""

    hop: str
    bodies: dict[str, bytes]
    again: set[str]


async def sending(directory: Path, bodies: list[bytes], *, is_open: bool) -> Sent:
    """What a hop with three consumers sends of these bodies and of what was there."""
    config = ExporterConfig(
        types=(Kind.TRACES,),
        retry_on_failure=RetryOnFailure(initial_interval=PositiveDuration(0.01)),
        sending_queue=SendingQueue(num_consumers=3, batch=Batch(flush_timeout=Duration(0.01))),
        max_message_bytes=4096,
    )
    exporter = Recording(is_open=is_open)
    log = Journal(directory / "journal", 1 << 24)
    running = RunningExporter("recording", exporter, config)
    running.start(log, DeadLetters(directory / "journal"), Metrics(), lambda _name, work: asyncio.ensure_future(work()))
    for body in bodies:
        log.append(Kind.TRACES, body, 1)
        await asyncio.sleep(0)
    await (running.drain() if is_open else until(lambda: len(exporter.tried) > 9))
    await running.stop()
    await log.close()
    assert all(message.hop == log.id and message.id.startswith(log.id) for message in exporter.tried)
    firsts: dict[str, Message] = {}
    for message in exporter.tried:
        assert message.again or message.id not in firsts
        firsts.setdefault(message.id, message)
    return Sent(log.id, {one.id: one.body for one in exporter.tried}, {one.id for one in firsts.values() if one.again})


async def test_what_was_on_its_way_is_sent_again_as_the_same_messages_after_a_restart(tmp_path: Path) -> None:
    bodies = numbered(200)
    first = await sending(tmp_path, bodies[:2], is_open=False)
    second = await sending(tmp_path, bodies[2:90], is_open=False)
    third = await sending(tmp_path, bodies[90:], is_open=True)
    assert len(first.bodies) == 1
    assert len(second.bodies) == 3
    assert first.bodies.items() <= second.bodies.items() <= third.bodies.items(), "what was sent before has other limits now"
    assert b"".join(third.bodies.values()) == b"".join(bodies)
    assert first.hop == third.hop
    assert (first.again, second.again, third.again) == (set(), set(first.bodies), set(second.bodies))
    other = await sending(tmp_path / "other", bodies, is_open=True)
    assert other.hop != first.hop
    assert not other.bodies.keys() & third.bodies.keys()


async def test_a_message_has_no_more_items_than_allowed_unless_one_request_has(tmp_path: Path) -> None:
    exporter = Recording(is_open=True)
    log = Journal(tmp_path / "journal", 1 << 24)
    for items in (3, 3, 4, 1, 25, 9, 1, 1):
        log.append(Kind.TRACES, traffic.traces(items).SerializeToString(), items)
    config = ExporterConfig(types=(Kind.TRACES,), sending_queue=SendingQueue(num_consumers=1, batch=Batch(max_items=10)))
    running = RunningExporter("recording", exporter, config)
    running.start(log, DeadLetters(tmp_path / "journal"), Metrics(), lambda _name, work: asyncio.ensure_future(work()))
    await running.drain()
    await running.stop()
    await log.close()
    assert [lens.count_items(Kind.TRACES, message.body) for message in exporter.tried] == [10, 1, 25, 10, 1]
