"""`otel-eval schema`: the tables in ClickHouse."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otel_eval.cli.options import config_option, load, plain_errors, set_option
from otel_eval.errors import ConfigError

if TYPE_CHECKING:
    from otel_eval.clickhouse.client import ClickHouse
    from otel_eval.clickhouse.endpoint import Endpoint
    from otel_eval.clickhouse.exporter import ClickHouseExporter
    from otel_eval.clickhouse.schema import Target

exporter_option = click.option("--exporter", "name", metavar="NAME", help="Which clickhouse exporter, when there are several.")
each_node_option = click.option("--each-node", is_flag=True, help="Without ON CLUSTER, for each node in turn.")


@click.group("schema")
def schema() -> None:
    """The tables in ClickHouse, as a clickhouse exporter is configured."""


@schema.command()
@exporter_option
@each_node_option
@config_option
@set_option
def apply(name: str | None, each_node: bool, file: str | None, settings: tuple[str, ...]) -> None:
    """Make what is missing; what is there stays. A hop does this itself unless it has `create_schema: false`."""
    with plain_errors():
        from otel_eval.clickhouse import schema as tables

        key, config = _configured(file, settings, name)
        done = asyncio.run(_connected(config, key, lambda client: tables.apply(client, _target(config, key, each_node))))
        click.echo("\n".join(f"made: {what}" for what in done) or "nothing to do")


@schema.command("print")
@exporter_option
@each_node_option
@config_option
@set_option
def print_statements(name: str | None, each_node: bool, file: str | None, settings: tuple[str, ...]) -> None:
    """Print all statements, for an administrator to run; they may be run again."""
    with plain_errors():
        from otel_eval.clickhouse import schema as tables

        key, config = _configured(file, settings, name)
        for statement in tables.statements(_target(config, key, each_node)):
            click.echo(f"{statement};\n")


@schema.command()
@exporter_option
@config_option
@set_option
def check(name: str | None, file: str | None, settings: tuple[str, ...]) -> None:
    """Say what keeps the exporter from working right; status 2 when something does."""
    with plain_errors():
        key, config = _configured(file, settings, name)
        problems, notes = asyncio.run(_connected(config, key, lambda client: _look(client, _target(config, key, False))))
        for note in notes:
            click.echo(f"note: {note}")
        for problem in problems:
            click.echo(problem)
        if problems:
            sys.exit(2)
        click.echo("the tables are as they should be")


async def _look(client: "ClickHouse", target: "Target") -> tuple[list[str], list[str]]:
    from otel_eval.clickhouse import schema as tables

    return await tables.check(client, target), await tables.notes(client, target)


async def _connected(config: "ClickHouseExporter.Config", key: str, do: Callable[["ClickHouse"], Awaitable[Any]]) -> Any:
    from otel_eval.clickhouse.client import ClickHouse

    client = ClickHouse(config.server(key) or _embedded(config.directory), config.timeout)
    try:
        return await do(client)
    finally:
        await client.close()


def _embedded(path: Path) -> "Endpoint":
    """The embedded server of a hop that is running, as its writer."""
    from otel_eval.clickhouse.directory import EngineDirectory
    from otel_eval.clickhouse.endpoint import Endpoint
    from otel_eval.clickhouse.settings import WRITER

    directory = EngineDirectory(path)
    listening = directory.listening()
    if listening is None:
        raise ConfigError(f"{path}: no embedded ClickHouse runs here; a hop makes its tables when it runs")
    password = directory.passwords()[WRITER]
    return Endpoint(listening.host, listening.http_port, WRITER, password, compression="none", is_local=True)


def _configured(file: str | None, settings: tuple[str, ...], name: str | None) -> tuple[str, "ClickHouseExporter.Config"]:
    """The exporter's place in the configuration, and its settings."""
    from otel_eval.clickhouse.exporter import ClickHouseExporter

    exporters = load(file, settings).config.exporters
    known = {one: config for one, config in exporters.items() if isinstance(config, ClickHouseExporter.Config)}
    if not known:
        raise ConfigError("exporters: no clickhouse exporter is configured")
    if name is None and len(known) > 1:
        raise ConfigError(f"exporters: name one with --exporter: {', '.join(known)}")
    chosen = name or next(iter(known))
    if chosen not in known:
        raise ConfigError(f"exporters: there is no clickhouse exporter {chosen!r:.100}; expected {' or '.join(known)}")
    return f"exporters.{chosen}", known[chosen]


def _target(config: "ClickHouseExporter.Config", key: str, each_node: bool) -> "Target":
    from msgspec.structs import replace

    return replace(config.target(key), on_cluster=not each_node)
