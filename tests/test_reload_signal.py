"""SIGHUP to the real process: a good file is taken over, a bad one changes nothing, and no data is lost on the way."""

import asyncio
import copy
import json
import re
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from otel_eval.records import Kind
from tests import traffic
from tests.conftest import StartProcess
from tests.hop import HopProcess, free_port, otlp_to, write_config
from tests.sink import Sink
from tests.test_operations import drained, post, send

DONE = "the configuration was reloaded"
REFUSED = "the new configuration is refused"


async def reloaded(hop: HopProcess, config: dict[str, Any] | str, expected: str = DONE) -> str:
    """Write the file, send SIGHUP, and return the line that tells the outcome."""
    if isinstance(config, str):
        (hop.directory / "config.yaml").write_text(config)
    else:
        write_config(hop.directory, config)
    before = len(hop.log())
    hop.signal(signal.SIGHUP)
    async with asyncio.timeout(20):
        while not (line := re.search(f".*({DONE}|{REFUSED}).*", hop.log()[before:])):
            await asyncio.sleep(0.02)
    assert expected in line[0], line[0]
    return line[0]


async def test_a_good_file_is_taken_over(sink: Sink, start_process: StartProcess) -> None:
    hop = await start_process({"otlp/old": otlp_to(sink.grpc_port), "debug": {}})
    old_http = hop.http
    await send(hop, Kind.TRACES, traffic.traces(2).SerializeToString())
    await sink.wait_for_items(2)
    new = await Sink().start()
    try:
        config = copy.deepcopy(hop.config)
        config["exporters"]["otlp/new"] = config["exporters"].pop("otlp/old") | otlp_to(new.grpc_port)
        for protocol in ("grpc", "http"):
            config["receivers"]["otlp"]["protocols"][protocol]["endpoint"] = f"127.0.0.1:{free_port()}"
        config["telemetry"] |= {"logs": {"format": "json", "level": "info"}, "metrics": f"127.0.0.1:{free_port()}"}
        line = await reloaded(hop, config)
        assert json.loads(line)["exporters"] == "debug, otlp/new"
        hop.config = config
        with pytest.raises(aiohttp.ClientConnectorError):
            await aiohttp.request("POST", f"{old_http}/v1/traces").__aenter__()
        assert await post(hop, Kind.TRACES, traffic.traces(1).SerializeToString()) == 200
        await send(hop, Kind.TRACES, traffic.traces(1).SerializeToString())
        await new.wait_for_items(2)
        await drained(hop)
        assert len(sink.spans()) == 2
        _, page = await hop.page("metrics", "metrics")
        assert set(re.findall(r'queue_size_bytes\{exporter="([^"]*)"', page)) == {"debug", "otlp/new"}
        config["telemetry"]["logs"]["level"] = "error"
        write_config(hop.directory, config)
        lines = len(hop.log().splitlines())
        hop.signal(signal.SIGHUP)
        assert await hop.stop() == 0
        assert not [line for line in hop.log().splitlines()[lines:] if '"level": "info"' in line]
    finally:
        await new.stop()


async def test_a_bad_file_is_refused_and_the_old_one_keeps_running(sink: Sink, start_process: StartProcess) -> None:
    hop = await start_process({"otlp": otlp_to(sink.grpc_port)})
    good = copy.deepcopy(hop.config)
    file = hop.directory / "config.yaml"
    taken = f"127.0.0.1:{sink.http_port}"
    no_authority = {"endpoint": "https://backend", "tls": {"ca_file": "/none"}}
    sent = 0

    async def change(path: str, value: Any) -> str:
        config = copy.deepcopy(good)
        *parents, last = path.split(".")
        section = config
        for key in parents:
            section = section.setdefault(key, {})
        section[last] = value
        return await reloaded(hop, config, REFUSED)

    lines = [
        (await reloaded(hop, "journal: {", REFUSED), f"{file}:1: not valid YAML"),
        (await reloaded(hop, "exporters: {otlp: {endpoint: 'a:1', tmeout: 5s}}", REFUSED), "did you mean timeout?"),
        (await change("journal.max_size_mib", 20), "journal: cannot change while running"),
        (await change("exporters.otlp/self", otlp_to(int(hop.grpc.rpartition(":")[2]))), "own receiver"),
        (await change("exporters.otlp_http", no_authority), "exporters.otlp_http.tls"),
        (await change("receivers.otlp.protocols.http.endpoint", taken), f"cannot listen on {taken}"),
        (await change("receivers.otlp.protocols.grpc.endpoint", taken), f"cannot listen on {taken}"),
        (await change("telemetry.metrics", taken), f"telemetry.metrics: cannot listen on {taken}"),
        (await change("telemetry.health", taken), f"telemetry.health: cannot listen on {taken}"),
        (await change("receivers.otlp.protocols.grpc.tls", {"cert_file": "/none", "key_file": "/none"}), "/none"),
    ]
    file.unlink()
    before = len(hop.log())
    hop.signal(signal.SIGHUP)
    async with asyncio.timeout(20):
        while "No such file" not in hop.log()[before:]:
            await asyncio.sleep(0.02)
    for line, says in lines:
        assert says in line, line
    for _ in range(2):
        await send(hop, Kind.TRACES, traffic.traces(1).SerializeToString())
        assert await post(hop, Kind.TRACES, traffic.traces(1).SerializeToString()) == 200
        sent += 2
        await sink.wait_for_items(sent)
        assert await hop.ready()
        assert await hop.metric("exporter_queue_capacity_bytes") > 0
        await reloaded(hop, good)
    assert "Traceback" not in hop.log()
    assert await hop.stop() == 0


async def test_reloads_under_load_lose_nothing(sink: Sink, start_process: StartProcess, tmp_path: Path) -> None:
    """Every exporter changes at each reload, one of them with a backlog: another one's progress must not delete it."""
    dead = free_port()
    journal = {"directory": str(tmp_path / "journal"), "max_size_mib": 8}
    hop = await start_process({"otlp": otlp_to(sink.grpc_port), "otlp/behind": otlp_to(dead)}, journal=journal)
    sent = 0
    stop = asyncio.Event()

    async def send_for_ever() -> None:
        nonlocal sent
        while not stop.is_set():
            await send(hop, Kind.TRACES, traffic.traces(5, value_bytes=2000).SerializeToString())
            sent += 5

    sending = asyncio.create_task(send_for_ever())
    config = copy.deepcopy(hop.config)
    for number in range(1, 9):
        for exporter in config["exporters"].values():
            exporter["timeout"] = f"{number}s"
        await reloaded(hop, config)
        await asyncio.sleep(0.05)
    stop.set()
    await sending
    back = await Sink().start(dead)
    try:
        await drained(hop)
        assert [len(set(backend.spans())) for backend in (sink, back)] == [sent, sent]
    finally:
        await back.stop()
    assert "is gone" not in hop.log()
