"""What every exporter must do, whoever wrote it: found by entry points, so a new one is tested without a change here."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import running
from otel_eval.config import ExporterConfig, exporter_class, load
from otel_eval.errors import ConfigError, PermanentError, RetryableError
from otel_eval.exporters import Exporter, Message
from otel_eval.exporters.running import build_exporters
from otel_eval.records import Kind, PartialSuccess
from otel_eval.wire import lens
from tests import hop, traffic
from tests.exporters.backends import exporter_to, never_answer, tcp_server
from tests.sink import Sink

EXPORTERS = sorted(entry.name for entry in metadata.entry_points(group="otel_eval.exporters"))

# The least that an exporter of each type needs, to a backend with these gRPC and HTTP ports.
MINIMAL: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "clickhouse": lambda _grpc, http: {"endpoint": f"http://writer@127.0.0.1:{http}/otel", "password": "s3cret"},
    "debug": lambda _grpc, _http: {},
    "otlp": lambda grpc, http: exporter_to("grpc", grpc, http)["otlp"],
    "otlp_grpc": lambda grpc, http: exporter_to("grpc", grpc, http)["otlp"],
    "otlp_http": lambda grpc, http: exporter_to("http", grpc, http)["otlp_http"],
    "otlphttp": lambda grpc, http: exporter_to("http", grpc, http)["otlp_http"],
}
BODIES = {
    Kind.TRACES: traffic.traces(3).SerializeToString(),
    Kind.LOGS: traffic.logs(2).SerializeToString(),
    Kind.METRICS: traffic.metrics(4).SerializeToString(),
}

pytestmark = pytest.mark.parametrize("name", EXPORTERS)


def minimal(name: str, grpc_port: int = 4317, http_port: int = 4318) -> dict[str, Any]:
    if name not in MINIMAL:
        pytest.fail(f"the exporter type {name!r} has no row in MINIMAL of {__file__}: say what settings it needs")
    return MINIMAL[name](grpc_port, http_port)


def build(directory: Path, name: str, settings: dict[str, Any]) -> Exporter:
    config = {"exporters": {name: settings}, "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": "127.0.0.1:1"}}}}}
    return build_exporters(load(str(hop.write_config(directory, config))).config)[name]


def bodies_for(name: str) -> dict[Kind, bytes]:
    """A request of each kind that it takes."""
    loaded = load(None, [f"exporters.{name}={json.dumps(minimal(name))}"])
    return {kind: BODIES[kind] for kind in loaded.config.exporters[name].types}


@asynccontextmanager
async def started(directory: Path, name: str, settings: dict[str, Any]) -> AsyncIterator[Exporter]:
    exporter = build(directory, name, settings)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.shutdown()


@asynccontextmanager
async def delivering(directory: Path, name: str, sink: Sink) -> AsyncIterator[Exporter]:
    """An exporter with a backend that takes everything: the sink, or an engine of its own."""
    engine = {"endpoint": "embedded", "directory": str(directory / "engine")}
    settings = engine if name == "clickhouse" else minimal(name, sink.grpc_port, sink.http_port)
    async with started(directory, name, settings) as exporter:
        yield exporter


async def rows(directory: Path, table: str) -> int:
    """How many rows the engine in this directory has."""
    where = running(directory / "engine", "otel")
    assert where is not None
    client = ClickHouse(where)
    try:
        return int((await client.query(f"SELECT count() FROM {table}")).rows[0][0])
    finally:
        await client.close()


async def outcome(exporter: Exporter, kind: Kind, body: bytes) -> PartialSuccess | RetryableError | PermanentError:
    """What an export came to; any other exception breaks the contract and is raised."""
    try:
        return await exporter.export(Message(kind, [body], "a"))
    except (RetryableError, PermanentError) as error:
        return error if str(error) else pytest.fail("an error without a text helps nobody")


def test_it_has_a_documented_config(name: str) -> None:
    config = exporter_class(name).Config
    assert issubclass(config, ExporterConfig)
    assert (vars(config).get("__doc__") or "").strip(), "its settings are explained nowhere"
    assert (exporter_class(name).__doc__ or "").strip()


def test_an_unknown_key_is_refused_by_name(name: str, tmp_path: Path) -> None:
    build(tmp_path, name, minimal(name))
    with pytest.raises(ConfigError, match=f"{name}.*max_mesage_bytes.*did you mean max_message_bytes"):
        build(tmp_path, name, {**minimal(name), "max_mesage_bytes": 5000})


def test_the_targets_are_known_before_the_start(name: str, tmp_path: Path) -> None:
    exporter = build(tmp_path, name, minimal(name))
    assert set(exporter.targets) <= set(exporter_class(name).Config.__struct_fields__), "a target is named by its setting"
    assert set(exporter.targets.values()) <= {("127.0.0.1", 4317), ("127.0.0.1", 4318)}


async def test_shutdown_is_safe_before_start_and_twice(name: str, tmp_path: Path) -> None:
    await build(tmp_path, name, minimal(name)).shutdown()
    exporter = build(tmp_path, name, minimal(name))
    await exporter.start()
    await exporter.shutdown()
    await exporter.shutdown()


async def test_it_delivers_every_kind(name: str, tmp_path: Path, sink: Sink, capfd: pytest.CaptureFixture[str]) -> None:
    async with delivering(tmp_path, name, sink) as exporter:
        for kind, body in bodies_for(name).items():
            assert await exporter.export(Message(kind, [body], "a")) == PartialSuccess()
            if exporter.targets:
                assert sink.received[kind] == [body]
        if name == "clickhouse":
            assert [await rows(tmp_path, table) for table in ("otel_traces", "otel_logs")] == [3, 2]
    if name == "debug":
        assert len(capfd.readouterr().out.splitlines()) == len(BODIES)


async def test_concurrent_exports_all_arrive(name: str, tmp_path: Path, sink: Sink, capfd: pytest.CaptureFixture[str]) -> None:
    bodies = [traffic.traces(2).SerializeToString() for _ in range(64)]
    messages = [Message(Kind.TRACES, [body], str(number)) for number, body in enumerate(bodies)]
    async with delivering(tmp_path, name, sink) as exporter:
        assert await asyncio.gather(*map(exporter.export, messages)) == [PartialSuccess()] * 64
        if name == "clickhouse":
            assert await rows(tmp_path, "otel_traces") == 128
    if exporter.targets:
        assert sorted(sink.received[Kind.TRACES]) == sorted(bodies)
    elif name == "debug":
        assert len(capfd.readouterr().out.splitlines()) == 64


@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff", b"\x0a\x05ab", bytes(1000)], ids=["empty", "junk", "cut", "zeros"])
async def test_any_bytes_end_in_success_or_an_otlp_error(name: str, tmp_path: Path, sink: Sink, body: bytes) -> None:
    async with started(tmp_path, name, minimal(name, sink.grpc_port, sink.http_port)) as exporter:
        for kind in bodies_for(name):
            await outcome(exporter, kind, body)


async def test_an_export_before_start_or_after_shutdown_is_not_lost(name: str, tmp_path: Path, sink: Sink) -> None:
    exporter = build(tmp_path, name, minimal(name, sink.grpc_port, sink.http_port))
    if not exporter.targets:
        return  # it needs no connection, so it may always deliver
    assert isinstance(await outcome(exporter, Kind.TRACES, BODIES[Kind.TRACES]), RetryableError)
    await exporter.start()
    await exporter.shutdown()
    assert isinstance(await outcome(exporter, Kind.TRACES, BODIES[Kind.TRACES]), RetryableError)


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_a_shutdown_under_exports_ends_each_as_a_retry(name: str, tmp_path: Path, compression: str) -> None:
    async with tcp_server(never_answer) as port:
        settings = minimal(name, port, port)
        if "endpoint" not in settings:
            return
        if name == "clickhouse":
            compression = compression.replace("gzip", "lz4")
        exporter = build(tmp_path, name, {**settings, "compression": compression})
        await exporter.start()
        large = traffic.traces(2000, value_bytes=500).SerializeToString()
        bodies = [*bodies_for(name).items()] * 10 + [(Kind.TRACES, large)] * 3
        exports = [asyncio.create_task(outcome(exporter, kind, body)) for kind, body in bodies]
        await asyncio.sleep(0.01)
        await exporter.shutdown()
        async with asyncio.timeout(10):
            ended = await asyncio.gather(*exports)
    assert {type(end) for end in ended} == {RetryableError}


async def test_a_backend_that_never_answers_is_left_after_the_timeout(name: str, tmp_path: Path) -> None:
    async with tcp_server(never_answer) as port:
        settings = minimal(name, port, port)
        async with started(tmp_path, name, {**settings, "timeout": "300ms"}) as exporter, asyncio.timeout(10):
            end = await outcome(exporter, Kind.TRACES, BODIES[Kind.TRACES])
    assert isinstance(end, RetryableError if exporter.targets else PartialSuccess)


async def test_a_backend_without_a_listener_is_tried_again(name: str, tmp_path: Path) -> None:
    settings = minimal(name, hop.free_port(), hop.free_port())
    async with started(tmp_path, name, settings) as exporter:
        end = await outcome(exporter, Kind.TRACES, BODIES[Kind.TRACES])
    assert isinstance(end, RetryableError if exporter.targets else PartialSuccess)


def test_the_test_bodies_hold_items(name: str) -> None:
    assert name
    assert [lens.count_items(kind, body) for kind, body in BODIES.items()] == [3, 2, 4]
