"""A clickhouse exporter of one command: beside a hop it uses the embedded server that the hop runs."""

from collections.abc import AsyncIterator, Container
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from msgspec.structs import asdict, replace

from otel_eval.clickhouse.directory import EngineDirectory
from otel_eval.clickhouse.endpoint import Endpoint, endpoint_of
from otel_eval.clickhouse.exporter import DATABASE, ClickHouseExporter
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.clickhouse.settings import WRITER
from otel_eval.config import Config


class _Attached(ClickHouseExporter.Config, frozen=True, kw_only=True):
    """The settings of an exporter to an embedded server that runs already."""

    at: Endpoint

    def server(self, _: str) -> Endpoint:
        """See ClickHouseExporter.Config."""
        return self.at


class Attached(NamedTuple):
    """The settings of an exporter, and the server that it uses."""

    config: ClickHouseExporter.Config
    server: Endpoint


@asynccontextmanager
async def attached(config: ClickHouseExporter.Config, key: str) -> AsyncIterator[Attached]:
    """The settings with a server that runs: the embedded one of a hop, or one that is started for this long.

    Raises ConfigError, which names `key`, when it cannot be had.
    """
    server = config.server(key)
    if server is not None:
        yield Attached(config, server)
        return
    directory = EngineDirectory(config.directory)
    listening = directory.listening()
    if listening is not None:
        password = directory.passwords()[WRITER]
        yield _to(config, Endpoint(listening.host, listening.http_port, WRITER, password, compression="none", is_local=True))
        return
    engine = EmbeddedServer(config.directory, config.http_port, max_memory_bytes=config.max_memory_mib << 20, database=DATABASE)
    await engine.start()
    try:
        yield _to(config, endpoint_of(engine, WRITER))
    finally:
        await engine.stop()


@asynccontextmanager
async def beside_a_hop(config: Config, names: Container[str]) -> AsyncIterator[Config]:
    """The configuration, with those of these exporters that are of type clickhouse attached; raises ConfigError."""
    exporters = dict(config.exporters)
    async with AsyncExitStack() as stack:
        for name, settings in config.exporters.items():
            if name in names and isinstance(settings, ClickHouseExporter.Config):
                exporters[name] = (await stack.enter_async_context(attached(settings, f"exporters.{name}"))).config
        yield replace(config, exporters=exporters)


def _to(config: ClickHouseExporter.Config, server: Endpoint) -> Attached:
    return Attached(_Attached(**asdict(config), at=server), server)
