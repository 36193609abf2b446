"""SIGHUP: a running hop takes over its changed file, or says why not and goes on as before; nothing is lost."""

import asyncio
import copy
import signal
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from otel_eval.records import Kind
from otel_eval.wire import lens
from tests import hop
from tests.conftest import StartHop, StartProcess
from tests.exporters.backends import behind, until
from tests.exporters.test_reload import changed
from tests.hop import HopProcess, free_port, otlp_to
from tests.senders import export, named, post
from tests.sink import UNAVAILABLE, Sink

FAST = {
    "retry_on_failure": {"initial_interval": "20ms", "max_interval": "100ms"},
    "sending_queue": {"batch": {"flush_timeout": "20ms"}},
}
TAKEN_OVER = "the configuration was reloaded"
REFUSED = "the new configuration is refused; the old one keeps running"


async def said(process: HopProcess, event: str, times: int) -> None:
    """Return when the log has this line that often."""
    try:
        async with asyncio.timeout(20):
            while process.log().count(event) < times:
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"expected {event!r} {times} times:\n{process.log()}") from None


async def reload(process: HopProcess, event: str = TAKEN_OVER) -> str:
    """Write the file again, send SIGHUP, and return what the log says from then on when it says `event`."""
    hop.write_config(process.directory, process.config)
    before = process.log()
    process.signal(signal.SIGHUP)
    await said(process, event, before.count(event) + 1)
    return process.log().removeprefix(before)


async def delivered(process: HopProcess) -> None:
    async with asyncio.timeout(20):
        while await process.metric("exporter_queue_size_bytes"):
            await asyncio.sleep(0.02)


def protocols(process: HopProcess) -> dict[str, Any]:
    found: dict[str, Any] = process.config["receivers"]["otlp"]["protocols"]
    return found


async def send(process: HopProcess, items: int = 1) -> list[bytes]:
    """The spans of a request that was acknowledged."""
    body = named(Kind.TRACES, items)
    assert await post(process.http, Kind.TRACES, body) == 200
    return list(lens.items(body))


async def test_a_new_exporter_gets_data_and_a_removed_one_does_not(sink: Sink, start_process: StartProcess) -> None:
    process = await start_process({"otlp/old": otlp_to(sink.grpc_port)})
    first = await send(process)
    await sink.wait_for_items(1)
    new = await Sink().start()
    try:
        process.config["exporters"]["otlp/new"] = {**FAST, **otlp_to(new.grpc_port)}
        await reload(process)
        second = await send(process)
        assert await sink.wait_for_items(2) == first + second
        assert (await new.wait_for_items(2))[-1:] == second
        del process.config["exporters"]["otlp/old"]
        await reload(process)
        third = await send(process)
        assert (await new.wait_for_items(3))[-1:] == third
        assert sink.spans() == first + second
        assert 'exporter="otlp/old"' not in "".join(await queue_lines(process))
    finally:
        await new.stop()


async def queue_lines(process: HopProcess) -> list[str]:
    _, text = await process.page("metrics", "metrics")
    return [line for line in text.splitlines() if line.startswith("otel_eval_exporter_queue_size")]


async def test_an_exporter_whose_endpoint_changed_goes_on_where_it_stood(sink: Sink, start_process: StartProcess) -> None:
    process = await start_process({"otlp": otlp_to(sink.grpc_port)})
    before = [await send(process) for _ in range(3)]
    await delivered(process)
    sink.behave = lambda _kind, _body: UNAVAILABLE
    waiting = [await send(process) for _ in range(3)]
    new = await Sink().start()
    try:
        process.config["exporters"]["otlp"]["endpoint"] = f"127.0.0.1:{new.grpc_port}"
        await reload(process)
        tries = sink.requests
        waiting.append(await send(process))
        assert sorted(await new.wait_for_items(4)) == sorted(chain(*waiting))
        await delivered(process)
        assert sink.requests == tries
        assert sorted(sink.spans()) == sorted(chain(*before))
    finally:
        await new.stop()


async def test_what_one_exporter_still_has_to_send_is_not_deleted_while_others_change(
    sink: Sink, start_hop: StartHop, tmp_path: Path
) -> None:
    quick = [f"otlp/quick{number}" for number in range(4)]
    exporters = {"otlp/slow": otlp_to(free_port()), **{name: otlp_to(sink.grpc_port) for name in quick}}
    service = await start_hop(exporters, journal={"directory": str(tmp_path / "journal"), "max_size_mib": 4})
    first = named(Kind.TRACES, 1, "x" * 300_000)  # more than a file of so small a journal holds
    service.journal.append(Kind.TRACES, first, 1)
    await until(lambda: all(behind(service, name) == 0 for name in quick))
    new = await Sink().start()
    try:
        exporters["otlp/slow"] = otlp_to(new.grpc_port)
        others = {name: otlp_to(sink.grpc_port, timeout="9s") for name in quick}
        loaded = changed(tmp_path, {**exporters, **others}, journal={"directory": str(tmp_path / "journal"), "max_size_mib": 4})
        reloading = asyncio.create_task(service.reload(loaded))
        while not reloading.done():
            if service.journal.budget.used < 2 << 20:
                service.journal.append(Kind.TRACES, named(Kind.TRACES, 1, "y" * 100_000), 1)
            await asyncio.sleep(0)
        await reloading
        assert next(iter(lens.items(first))) in await new.wait_for_items(1)
    finally:
        await new.stop()


async def test_the_log_level_and_format_change(sink: Sink, start_process: StartProcess) -> None:
    telemetry = {"metrics": f"127.0.0.1:{free_port()}", "health": f"127.0.0.1:{free_port()}", "logs": {"level": "error"}}
    process = await start_process({"otlp": otlp_to(sink.grpc_port)}, telemetry=telemetry)
    assert "otel-eval is running" not in process.log()
    process.config["telemetry"]["logs"] = {"level": "info", "format": "json"}
    assert (await reload(process)).startswith('{"')
    process.config["telemetry"]["logs"] = {"level": "info"}
    assert "[info" in await reload(process)


async def test_receivers_and_pages_move_to_other_ports(sink: Sink, start_process: StartProcess) -> None:
    process = await start_process({"otlp": otlp_to(sink.grpc_port)})
    old = [protocols(process)["grpc"]["endpoint"], protocols(process)["http"]["endpoint"]]
    old += [process.config["telemetry"]["metrics"], process.config["telemetry"]["health"]]
    for name in ("grpc", "http"):
        protocols(process)[name]["endpoint"] = f"127.0.0.1:{free_port()}"
        process.config["telemetry"]["metrics" if name == "grpc" else "health"] = f"127.0.0.1:{free_port()}"
    await reload(process)
    for endpoint in old:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*endpoint.split(":"))
    assert await process.ready()
    await export(process.grpc, Kind.TRACES, named(Kind.TRACES, 1))
    await send(process)
    await sink.wait_for_items(2)
    del protocols(process)["grpc"]
    await reload(process)
    await send(process)
    await sink.wait_for_items(3)


def _broken(process: HopProcess, _: int) -> str:
    (process.directory / "config.yaml").write_text("exporters: {otlp: {endpoint: [\n")
    return "config.yaml"


def _unknown_key(process: HopProcess, _: int) -> str:
    process.config["exporters"]["otlp"]["endpont"] = "x:1"
    return "did you mean endpoint?"


def _own_receiver(process: HopProcess, _: int) -> str:
    process.config["exporters"]["otlp/self"] = otlp_to(int(process.grpc.rpartition(":")[2]))
    return "it would send to itself"


def _other_journal(process: HopProcess, _: int) -> str:
    process.config["journal"]["directory"] = "elsewhere"
    return "journal: cannot change while running"


def _larger_journal(process: HopProcess, _: int) -> str:
    process.config["journal"]["max_size_mib"] = 77
    return "journal: cannot change while running"


def _held(process: HopProcess, _: int) -> str:
    process.config |= {"emit": {"mode": "hold"}, "judging": {"enabled": True}}
    return "cannot change while running"


def _taken_grpc(process: HopProcess, taken: int) -> str:
    protocols(process)["grpc"]["endpoint"] = f"127.0.0.1:{taken}"
    process.config["exporters"]["otlp/more"] = otlp_to(free_port())
    protocols(process)["http"]["endpoint"] = f"127.0.0.1:{free_port()}"
    return "receivers.otlp.protocols.grpc.endpoint: cannot listen"


def _taken_http(process: HopProcess, taken: int) -> str:
    protocols(process)["http"]["endpoint"] = f"127.0.0.1:{taken}"
    protocols(process)["grpc"]["endpoint"] = f"127.0.0.1:{free_port()}"
    return "receivers.otlp.protocols.http.endpoint: cannot listen"


MISTAKES = (_broken, _unknown_key, _own_receiver, _other_journal, _larger_journal, _held, _taken_grpc, _taken_http)


async def test_a_bad_file_is_refused_and_the_old_one_keeps_running(sink: Sink, start_process: StartProcess) -> None:
    process = await start_process({"otlp": otlp_to(sink.grpc_port)})
    good = copy.deepcopy(process.config)
    grpc, http = process.grpc, process.http
    for times, mistake in enumerate(MISTAKES, 1):
        process.config = copy.deepcopy(good)
        expected = mistake(process, sink.http_port)
        if mistake is not _broken:
            hop.write_config(process.directory, process.config)
        process.signal(signal.SIGHUP)
        await said(process, REFUSED, times)
        assert expected in process.log().splitlines()[-1], mistake.__name__
        assert await process.ready()
        await export(grpc, Kind.TRACES, named(Kind.TRACES, 1))
        assert await post(http, Kind.TRACES, named(Kind.TRACES, 1)) == 200
        await sink.wait_for_items(2 * times)
    process.config = good
    await reload(process)
    assert "Traceback" not in process.log()
    assert await process.stop() == 0


async def test_a_hop_that_lacks_one_of_its_receivers_is_not_ready(sink: Sink, start_hop: StartHop, tmp_path: Path) -> None:
    exporters = {"otlp": otlp_to(sink.grpc_port)}
    service = await start_hop(exporters)
    await service.receivers.pop("http").shutdown()
    assert service.state()["problems"] == ["not receiving over http"]
    await service.reload(changed(tmp_path, exporters))
    assert service.state()["status"] == "ready"
    only_http = {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{free_port()}"}}}}
    await service.reload(changed(tmp_path, exporters, receivers=only_http))
    assert service.state()["status"] == "ready"


async def test_a_signal_during_a_reload_leads_to_another_one(sink: Sink, start_process: StartProcess) -> None:
    process = await start_process({"otlp": otlp_to(sink.grpc_port)})
    host, port = protocols(process)["http"]["endpoint"].split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n"
    writer.write(head + b"half")  # the old receiver waits for the rest of it
    await writer.drain()
    await asyncio.sleep(0.2)
    for number in range(2):
        protocols(process)["http"]["endpoint"] = f"127.0.0.1:{free_port()}"
        hop.write_config(process.directory, process.config)
        process.signal(signal.SIGHUP)
        if number == 0:
            await _until_refused(host, int(port))
    assert TAKEN_OVER not in process.log()
    writer.transport.abort()
    await said(process, TAKEN_OVER, 2)
    await send(process)
    await sink.wait_for_items(1)


async def _until_refused(host: str, port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except ConnectionRefusedError:
                return
            writer.transport.abort()
            await asyncio.sleep(0.02)
