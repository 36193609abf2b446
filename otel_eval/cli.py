"""The command line: parse arguments, call one function, print. Heavy imports wait until a command needs them."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from otel_eval import __version__
from otel_eval.errors import ConfigError, OtelEvalError

if TYPE_CHECKING:
    from otel_eval.config import Loaded
    from otel_eval.exporters.dead_letters import DeadLetter, DeadLetters

_config_option = click.option(
    "--config", "file", metavar="FILE", envvar="OTEL_EVAL_CONFIG", help="YAML file; without it, defaults apply."
)
_set_option = click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Lay a value over the file, such as journal.sync=always."
)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """A user's mistake is shown without a traceback and ends with status 1."""
    try:
        yield
    except OtelEvalError as error:
        click.echo(f"otel-eval: {error}", err=True)
        sys.exit(1)


def _load(file: str | None, settings: tuple[str, ...]) -> "Loaded":
    from otel_eval.config import load

    return load(file, settings)


def _load_valid(file: str | None, settings: tuple[str, ...]) -> "Loaded":
    """What `_load` gives, with settings that the exporters can work with."""
    from otel_eval.exporters.running import build_exporters

    loaded = _load(file, settings)
    build_exporters(loaded.config)
    return loaded


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="otel-eval")
def main() -> None:
    """Tell continuously and honestly how good your agents are: an OTLP hop that forwards everything and loses nothing."""


@main.command()
@_config_option
@_set_option
def run(file: str | None, settings: tuple[str, ...]) -> None:
    """Receive OTLP and forward it until SIGTERM; SIGHUP reloads the file."""
    with _plain_errors():
        loaded = _load(file, settings)
        from otel_eval import logs, service

        logs.configure(loaded.config.telemetry.logs.level, loaded.config.telemetry.logs.format)
        asyncio.run(service.run(loaded, lambda: _load(file, settings)))


@main.command()
@_config_option
@_set_option
def validate(file: str | None, settings: tuple[str, ...]) -> None:
    """Check a configuration without starting anything."""
    with _plain_errors():
        loaded = _load_valid(file, settings)
        for note in loaded.notes:
            click.echo(f"note: {note}")
        click.echo(f"{loaded.source}: valid")


@main.command("config")
@_config_option
@_set_option
def show_config(file: str | None, settings: tuple[str, ...]) -> None:
    """Print the effective configuration, with defaults filled in and secrets hidden."""
    with _plain_errors():
        loaded = _load_valid(file, settings)
        import yaml

        from otel_eval.config import effective

        text = yaml.safe_dump(effective(loaded.config), sort_keys=False, allow_unicode=True)
        click.echo(text.replace("$", "$$"), nl=False)  # as it is written in a file


@main.command()
@click.argument("sources", nargs=-1, required=True, metavar="FILE|TRACE_ID...")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
@_config_option
@_set_option
def inspect(sources: tuple[str, ...], as_json: bool, file: str | None, settings: tuple[str, ...]) -> None:
    """Show the traces in captured OTLP request bodies (binary or OTLP/JSON), or a trace that is in a hop's journal."""
    with _plain_errors():
        from otel_eval.inspection.load import find, is_trace_id, load

        views = load([Path(source) for source in sources if not is_trace_id(source)])
        for trace_id in filter(is_trace_id, sources):
            views += find(trace_id, _load(file, settings).config.journal.directory)
        if as_json:
            from otel_eval.inspection.document import to_json

            click.echo(to_json(views))
        else:
            from otel_eval.inspection.render import show

            show(views)


@main.group("dead-letter")
def dead_letter() -> None:
    """Requests that a backend refused for good."""


def _store(loaded: "Loaded") -> "DeadLetters":
    from otel_eval.exporters.dead_letters import DeadLetters

    return DeadLetters(loaded.config.journal.directory)


@dead_letter.command("list")
@_config_option
@_set_option
def list_dead_letters(file: str | None, settings: tuple[str, ...]) -> None:
    """Show what there is, the oldest first."""
    with _plain_errors():
        letters = _store(_load(file, settings)).letters()
        for letter in letters:
            click.echo(_line(letter))
        if not letters:
            click.echo("no dead letters")


def _line(letter: "DeadLetter") -> str:
    from datetime import UTC, datetime

    when = datetime.fromtimestamp(letter.time_ns / 1e9, UTC).isoformat(timespec="seconds")
    what = f"{letter.items} {letter.kind.items.replace('_', ' ')}, {letter.size} bytes"
    return f"{letter.id}  {when}  {letter.exporter}  {what}  {ascii(letter.reason)[1:-1]}"


@dead_letter.command()
@click.argument("ids", nargs=-1)
@_config_option
@_set_option
def retry(ids: tuple[str, ...], file: str | None, settings: tuple[str, ...]) -> None:
    """Send them (all, or those with these IDS) to the exporter that they were for; what is taken is removed."""
    with _plain_errors():
        loaded = _load(file, settings)
        from otel_eval.exporters.running import retry_dead_letters

        left = 0
        for letter, problem in asyncio.run(retry_dead_letters(loaded.config, _store(loaded).select(ids))):
            click.echo(f"{letter.id}  {'sent' if problem is None else 'kept: ' + ascii(problem)[1:-1]}")
            left += problem is not None
        sys.exit(1 if left else 0)


@dead_letter.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Delete every dead letter.")
@_config_option
@_set_option
def drop(ids: tuple[str, ...], everything: bool, file: str | None, settings: tuple[str, ...]) -> None:
    """Delete those with these IDS for good."""
    with _plain_errors():
        if bool(ids) == everything:
            raise ConfigError("expected the ids to delete, or --all")
        for letter in _store(_load(file, settings)).select(ids):
            letter.drop()
            click.echo(f"{letter.id}  deleted")
