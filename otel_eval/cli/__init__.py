"""The command line: parse arguments, call one function, print. Heavy imports wait until a command needs them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from otel_eval import __version__
from otel_eval.cli.backfill import backfill
from otel_eval.cli.dead_letter import dead_letter
from otel_eval.cli.dlq import dlq
from otel_eval.cli.doctor import doctor
from otel_eval.cli.judging import evaluate
from otel_eval.cli.options import config_option, load, plain_errors, set_option
from otel_eval.cli.plan import plan
from otel_eval.cli.query import query
from otel_eval.cli.sampling import explain, sample
from otel_eval.cli.schema import schema
from otel_eval.demo.__main__ import demo

if TYPE_CHECKING:
    from otel_eval.config import Loaded


def _load_valid(file: str | None, settings: tuple[str, ...]) -> "Loaded":
    """What `_load` gives, with settings that exporters, policies and evaluators can work with."""
    from otel_eval.exporters.running import build_exporters
    from otel_eval.judging import running
    from otel_eval.sampling import policies

    loaded = load(file, settings)
    with loaded.located():
        build_exporters(loaded.config)
        policies.build(loaded.config.sampling, {})
        running.check(loaded.config, loaded.source)
    return loaded


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="otel-eval")
def main() -> None:
    """Tell continuously and honestly how good your agents are: an OTLP hop that forwards everything and loses nothing."""


@main.command()
@config_option
@set_option
def run(file: str | None, settings: tuple[str, ...]) -> None:
    """Receive OTLP and forward it until SIGTERM; SIGHUP reloads the file."""
    with plain_errors():
        loaded = load(file, settings)
        from otel_eval import logs, service

        logs.configure(loaded.config.telemetry.logs.level, loaded.config.telemetry.logs.format)
        with loaded.located():
            asyncio.run(service.run(loaded, lambda: load(file, settings)))


@main.command()
@config_option
@set_option
def validate(file: str | None, settings: tuple[str, ...]) -> None:
    """Check a configuration without starting anything."""
    with plain_errors():
        loaded = _load_valid(file, settings)
        for note in loaded.notes:
            click.echo(f"note: {note}")
        click.echo(f"{loaded.source}: valid")


@main.command("config")
@config_option
@set_option
def show_config(file: str | None, settings: tuple[str, ...]) -> None:
    """Print the effective configuration, with defaults filled in and secrets hidden."""
    with plain_errors():
        loaded = _load_valid(file, settings)
        import yaml

        from otel_eval.config import effective

        text = yaml.safe_dump(effective(loaded.config), sort_keys=False, allow_unicode=True)
        click.echo(text.replace("$", "$$"), nl=False)  # as it is written in a file


@main.command()
@click.argument("sources", nargs=-1, required=True, metavar="FILE|TRACE_ID...")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
@config_option
@set_option
def inspect(sources: tuple[str, ...], as_json: bool, file: str | None, settings: tuple[str, ...]) -> None:
    """Show the traces in captured OTLP request bodies (binary or OTLP/JSON), or a trace that is in a hop's journal."""
    with plain_errors():
        from otel_eval.inspection.load import find, is_trace_id, read

        views = read([Path(source) for source in sources if not is_trace_id(source)])
        for trace_id in filter(is_trace_id, sources):
            views += find(trace_id, load(file, settings).config.journal.directory)
        if as_json:
            from otel_eval.inspection.document import to_json

            click.echo(to_json(views))
        else:
            from otel_eval.inspection.render import show

            show(views)


for command in (backfill, dead_letter, demo, dlq, doctor, evaluate, explain, plan, query, sample, schema):
    main.add_command(command)
