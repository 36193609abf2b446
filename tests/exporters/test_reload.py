"""Another configuration while the hop runs: taken over as a whole or not at all, and no data is lost on the way."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog.testing

from otel_eval.config import Loaded, load
from otel_eval.errors import ConfigError
from otel_eval.records import Kind
from otel_eval.service import run
from tests import hop, traffic
from tests.conftest import StartHop
from tests.exporters.backends import behind, journal, until
from tests.hop import otlp_to
from tests.sink import UNAVAILABLE, Sink
from tests.test_forwarding import send_grpc, send_http

BODY = traffic.traces(1).SerializeToString()


def changed(directory: Path, exporters: dict[str, Any], **sections: Any) -> Loaded:
    """The configuration that runs, with other exporters and sections."""
    config = load(str(directory / "config.yaml")).config
    endpoints = {name: {"endpoint": str(getattr(config.receivers.otlp.protocols, name).endpoint)} for name in ("grpc", "http")}
    kept = {
        "receivers": {"otlp": {"protocols": endpoints}},
        "telemetry": {"metrics": str(config.telemetry.metrics), "health": str(config.telemetry.health)},
    }
    other = directory / "other"
    other.mkdir(exist_ok=True)
    settings = hop.settings(directory, exporters, **{**kept, **sections})
    return load(str(hop.write_config(other, settings)))


async def test_data_that_waits_goes_to_the_new_endpoint(sink: Sink, start_hop: StartHop, tmp_path: Path) -> None:
    service = await start_hop({"otlp": otlp_to(hop.free_port()), "otlp/same": otlp_to(sink.grpc_port)})
    bodies = [traffic.traces(1).SerializeToString() for _ in range(5)]
    journal(service, *bodies)
    await sink.wait_for_items(5)
    new = await Sink().start()
    try:
        exporters = {"otlp": otlp_to(new.grpc_port), "otlp/same": otlp_to(sink.grpc_port), "otlp/more": otlp_to(new.grpc_port)}
        await service.reload(changed(tmp_path, exporters))
        assert await new.wait_for_items(10)
        assert set(service.state()["exporters"]) == set(exporters)
        await send_grpc(service, Kind.TRACES, BODY)
        await send_http(service, Kind.TRACES, BODY)
        await new.wait_for_items(14)
        await until(lambda: behind(service, "otlp/same") == 0)
        assert len(sink.spans()) == 7, "an exporter whose settings are the same goes on undisturbed"
    finally:
        await new.stop()


async def test_an_exporter_that_is_gone_stops(sink: Sink, start_hop: StartHop, tmp_path: Path) -> None:
    sink.behave = lambda _kind, _body: UNAVAILABLE
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})
    journal(service, BODY)
    await until(lambda: sink.requests > 2)
    await service.reload(changed(tmp_path, {"debug": {}}))
    tries = sink.requests
    assert set(service.state()["exporters"]) == {"debug"}
    await until(lambda: behind(service, "debug") == 0)
    assert sink.requests == tries
    assert b'exporter="otlp"' not in b"".join(line for line in service.metrics.prometheus().splitlines() if b"queue_size" in line)


BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a missing authority": ({"tls": {"ca_file": "missing.pem"}}, {}, "ca_file|authority"),
    "a bad endpoint": ({"endpoint": "nowhere:port"}, {}, "endpoint"),
    "a receiver's certificate is missing": (
        {},
        {"receivers": {"otlp": {"protocols": {"grpc": {"tls": {"cert_file": "missing", "key_file": "missing"}}, "http": {}}}}},
        "tls",
    ),
    "the port of a page is taken": ({}, {"telemetry": {"metrics": "TAKEN", "health": "127.0.0.1:0"}}, "metrics"),
    "the port of a receiver is taken": ({}, {"receivers": {"otlp": {"protocols": {"http": {"endpoint": "TAKEN"}}}}}, "endpoint"),
    "another journal": ({}, {"journal": {"directory": "elsewhere"}}, "journal"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_configuration_that_cannot_work_changes_nothing(
    sink: Sink, start_hop: StartHop, tmp_path: Path, case: str
) -> None:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})
    before = {name: (receiver, receiver.port) for name, receiver in service.receivers.items()}
    values, sections, message = BROKEN[case]
    taken = f"127.0.0.1:{sink.http_port}"
    sections = {name: _put(section, taken) for name, section in sections.items()}
    exporters = {"otlp": {**otlp_to(sink.grpc_port), **values, "timeout": "3s"}, "otlp/more": otlp_to(sink.grpc_port)}
    with pytest.raises(ConfigError, match=message):
        await service.reload(changed(tmp_path, exporters, **sections))
    assert {name: receiver.port for name, receiver in service.receivers.items()} == {name: at for name, (_, at) in before.items()}
    assert set(service.state()["exporters"]) == {"otlp"}
    assert service.state()["status"] == "ready"
    await send_grpc(service, Kind.TRACES, BODY)
    await send_http(service, Kind.TRACES, BODY)
    await sink.wait_for_items(2)
    await until(lambda: behind(service, "otlp") == 0)
    await service.reload(changed(tmp_path, {"otlp/other": otlp_to(sink.grpc_port)}))
    assert set(service.state()["exporters"]) == {"otlp/other"}


async def test_a_defect_in_a_reload_does_not_end_the_hop(sink: Sink, tmp_path: Path) -> None:
    loaded = load(str(hop.write_config(tmp_path, hop.settings(tmp_path, {"otlp": otlp_to(sink.grpc_port)}))))
    asked = 0

    def load_again() -> Loaded:
        nonlocal asked
        asked += 1
        raise RuntimeError("a defect")

    with structlog.testing.capture_logs() as lines:
        running = asyncio.create_task(run(loaded, load_again))
        await until(lambda: any("is running" in line["event"] for line in lines))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: any("reload failed" in line["event"] for line in lines))
        url = f"http://{loaded.config.receivers.otlp.protocols.http.endpoint}/v1/traces"  # type: ignore[union-attr]
        headers = {"Content-Type": "application/x-protobuf"}
        async with aiohttp.ClientSession() as session, session.post(url, data=BODY, headers=headers) as response:
            assert response.status == 200
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            await running
    assert asked == 1
    assert sink.received[Kind.TRACES] == [BODY]


def _put(section: Any, taken: str) -> Any:
    if isinstance(section, dict):
        return {key: _put(value, taken) for key, value in section.items()}
    return taken if section == "TAKEN" else section
