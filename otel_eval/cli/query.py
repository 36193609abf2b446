"""`otel-eval query`: SQL, or a query of the library, to the ClickHouse that a hop writes to."""

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from otel_eval.cli.options import config_option, load, plain_errors, set_option
from otel_eval.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from otel_eval.clickhouse.client import Rows
    from otel_eval.clickhouse.endpoint import Endpoint, InProcess

_MAX_ROWS: Final = 1000
_PASSWORD: Final = "CLICKHOUSE_PASSWORD"  # noqa: S105 - the variable's name
_READ_ONLY: Final = {"readonly": 2}
_FORMATS: Final = {"json": "JSONEachRow", "csv": "CSVWithNames", "parquet": "Parquet"}
_JSON: Final = {"output_format_json_array_of_rows": 1, "output_format_json_validate_utf8": 1}
_WIDE: Final = 1_000_000


class _Question(NamedTuple):
    """What to ask, and the values of its parameters."""

    sql: str
    values: dict[str, Any]


@click.command()
@click.argument("sql", required=False)
@click.option("--named", "name", metavar="NAME", help="A query of the library instead of SQL; see --list.")
@click.option("--list", "listing", is_flag=True, help="Show the queries of the library.")
@click.option("--show", "shown", metavar="NAME", help="Print a query of the library, with what its columns mean.")
@click.option("--service", metavar="NAME", help="Parameter service: only this service.")
@click.option("--evaluation", "evaluations", multiple=True, metavar="NAME", help="Parameter evaluations: only these.")
@click.option("--days", type=click.IntRange(1, 36500), help="Parameter since: so many days ago.")
@click.option("--since", metavar="TIME", help="Parameter since: 2026-01-31T12:00:00Z, or `2 hours ago`.")
@click.option("--until", metavar="TIME", help="Parameter until, likewise.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Any parameter; in SQL it is {NAME:Type}.")
@click.option("--format", "fmt", type=click.Choice(["table", *_FORMATS]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write into this file.")
@click.option("--server", metavar="URL", help=f"Ask https://user@host:8443/database; its password is in ${_PASSWORD}.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Read the password of --server from this file.")
@config_option
@set_option
def query(
    sql: str | None, name: str | None, listing: bool, shown: str | None, service: str | None, evaluations: tuple[str, ...],
    days: int | None, since: str | None, until: str | None, params: tuple[str, ...], fmt: str, output: Path | None,
    server: str | None, password_file: Path | None, file: str | None, settings: tuple[str, ...],
) -> None:  # fmt: skip
    """Ask ClickHouse: SQL, or --named for a query of the library; nothing can be changed that way.

    The server is that of the configured exporter of type clickhouse, while the hop runs or not, or --server.
    """
    with plain_errors():
        if [(sql or "").strip() or None, name, listing or None, shown].count(None) != 3:
            raise ConfigError("expected one of SQL, --named, --list and --show")
        if listing:
            _list()
        elif shown is not None:
            from otel_eval.clickhouse.queries import load as load_query

            click.echo(load_query(shown).sql, nl=False)
        else:
            if days is not None and since is not None:
                raise ConfigError("expected either --days or --since")
            named = {
                "service": service,
                "evaluations": ",".join(evaluations) or None,
                "since": f"{days} days ago" if days is not None else since,
                "until": until,
            }
            given = {key: value for key, value in named.items() if value is not None}
            question = _question(sql, name, given | dict(map(_pair, params)))
            where = _named_server(server, password_file) if server is not None else _configured(file, settings)
            with _ended_by_ctrl_c(where):
                asyncio.run(_ask(where, question, fmt, output))


@contextmanager
def _ended_by_ctrl_c(where: "Endpoint | InProcess") -> Iterator[None]:
    """Ctrl-C ends this process at once where the engine is in it: that cannot be interrupted, but survives being killed."""
    from otel_eval.clickhouse.endpoint import InProcess

    if not isinstance(where, InProcess) or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _list() -> None:
    from otel_eval.clickhouse import queries

    for name in queries.names():
        click.echo(f"{name:32}{queries.load(name).summary}")


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise ConfigError(f"--param {text!r:.100}: expected NAME=VALUE")
    return name, value


def _question(sql: str | None, name: str | None, given: dict[str, str]) -> _Question:
    from otel_eval.clickhouse import queries

    if name is not None:
        found = queries.load(name)
        return _Question(found.sql, found.values(given))
    now = datetime.now(UTC)
    values: dict[str, Any] = dict(given)
    for time in {"since", "until"} & given.keys():
        values[time] = queries.time_value(time, given[time], now)
    if "evaluations" in given:
        values["evaluations"] = given["evaluations"].split(",")
    return _Question((sql or "").rstrip(" \t\r\n;"), values)


def _named_server(url: str, password_file: Path | None) -> "Endpoint":
    import os

    from otel_eval.clickhouse.endpoint import parse_endpoint
    from otel_eval.config.values import Secret

    password = os.environ.get(_PASSWORD)
    secret = Secret(password) if password and password_file is None else None
    return parse_endpoint("--server", url, secret, password_file)


def _configured(file: str | None, settings: tuple[str, ...]) -> "Endpoint | InProcess":
    """The ClickHouse of the configuration; the embedded one by its server while that runs, else opened here."""
    from msgspec.structs import replace

    from otel_eval.clickhouse.endpoint import InProcess, running
    from otel_eval.clickhouse.exporter import ClickHouseExporter

    loaded = load(file, settings)
    found = {name: one for name, one in loaded.config.exporters.items() if isinstance(one, ClickHouseExporter.Config)}
    if len(found) != 1:
        raise ConfigError(f"{loaded.source}: exporters: expected one of type clickhouse, not {len(found)}; or give --server")
    ((name, config),) = found.items()
    database = config.target(f"exporters.{name}").database
    server = config.server(f"exporters.{name}")
    if server is not None:
        return replace(server, database=database)
    embedded = running(config.directory, database)
    if embedded is None and not (config.directory / "data").is_dir():
        raise ConfigError(f"{config.directory}: nothing is stored here; start the hop once, or name the right directory")
    return embedded or InProcess(config.directory, database)


async def _ask(where: "Endpoint | InProcess", question: _Question, fmt: str, output: Path | None) -> None:
    from otel_eval.clickhouse.client import ClickHouse

    if fmt == "parquet" and output is None and sys.stdout.isatty():
        raise ConfigError("--format parquet is not for a terminal; give --output")
    client = ClickHouse(where, timeout_s=120)
    try:
        if fmt == "table":
            rows = await client.query(question.sql, question.values, {**_READ_ONLY, "limit": _MAX_ROWS + 1})
            _print_table(rows, output)
        else:
            more = _JSON if fmt == "json" else {}
            _write(await client.raw_query(question.sql, _FORMATS[fmt], question.values, {**_READ_ONLY, **more}), fmt, output)
    finally:
        await client.close()


def _write(answer: bytes, fmt: str, output: Path | None) -> None:
    from otel_eval.inspection.plain_text import escaped, visible

    if output is not None:
        try:
            output.write_bytes(answer)
        except OSError as error:
            raise ConfigError(f"--output {output}: {error.strerror}") from None
    elif fmt == "json":
        click.echo(escaped(answer.decode(errors="replace")), nl=False)
    elif fmt == "csv" and sys.stdout.isatty():
        click.echo(visible(answer.decode(errors="replace")), nl=False)
    else:
        click.echo(answer, nl=False)


def _print_table(rows: "Rows", output: Path | None) -> None:
    from rich.console import Console

    if output is not None:
        try:
            with output.open("w", encoding="utf-8") as file:
                _show(rows, Console(file=file, width=_WIDE))
        except OSError as error:
            raise ConfigError(f"--output {output}: {error.strerror}") from None
    else:
        _show(rows, Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False))


def _show(rows: "Rows", console: "Console") -> None:
    """A table, or a block of lines for each row where that would be too wide."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from otel_eval.inspection.plain_text import one_line, visible

    shown = rows.rows[:_MAX_ROWS]
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for name, kind in zip(rows.names, rows.types, strict=True):
        table.add_column(Text(one_line(name)), justify="right" if "Int" in kind or "Float" in kind else "left")
    for row in shown:
        table.add_row(*(Text(one_line(_cell(value))) for value in row))
    if not shown:
        console.print("no rows")
    elif table.__rich_measure__(console, console.options.update(width=_WIDE)).maximum <= console.width:
        console.print(table, crop=False)
    else:
        width = max(map(len, rows.names))
        for row in shown:
            for name, value in zip(rows.names, row, strict=True):
                console.print(Text(f"{visible(name):{width}}  {visible(_cell(value))}"), soft_wrap=True)
            console.print()
    if len(rows.rows) > _MAX_ROWS:
        console.print(f"only the first {_MAX_ROWS} rows; --format csv, json or parquet has all")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.6g}"
        case datetime():
            return value.isoformat(sep=" ")
        case list() | tuple():
            return ", ".join(map(_cell, value))
        case dict():
            return ", ".join(f"{_cell(name)}: {_cell(one)}" for name, one in value.items())
    return str(value)
