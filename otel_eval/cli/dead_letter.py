"""`otel-eval dead-letter`: requests that a backend refused for good."""

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from otel_eval.cli.options import config_option, load, plain_errors, set_option
from otel_eval.errors import ConfigError

if TYPE_CHECKING:
    from otel_eval.config import Config, Loaded
    from otel_eval.exporters.dead_letters import DeadLetter, DeadLetters


@click.group("dead-letter")
def dead_letter() -> None:
    """Requests that a backend refused for good."""


def _store(loaded: "Loaded") -> "DeadLetters":
    from otel_eval.exporters.dead_letters import DeadLetters

    return DeadLetters(loaded.config.journal.directory)


@dead_letter.command("list")
@config_option
@set_option
def list_dead_letters(file: str | None, settings: tuple[str, ...]) -> None:
    """Show what there is, the oldest first."""
    with plain_errors():
        letters = _store(load(file, settings)).letters()
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
@config_option
@set_option
def retry(ids: tuple[str, ...], file: str | None, settings: tuple[str, ...]) -> None:
    """Send them (all, or those with these IDS) to the exporter that they were for; what is taken is removed."""
    with plain_errors():
        loaded = load(file, settings)
        from otel_eval import logs

        logs.configure(loaded.config.telemetry.logs.level, loaded.config.telemetry.logs.format)  # not onto stdout
        left = 0
        for letter, problem in asyncio.run(_retried(loaded.config, _store(loaded).select(ids))):
            click.echo(f"{letter.id}  {'sent' if problem is None else 'kept: ' + ascii(problem)[1:-1]}")
            left += problem is not None
        sys.exit(1 if left else 0)


async def _retried(config: "Config", letters: "Sequence[DeadLetter]") -> "list[tuple[DeadLetter, str | None]]":
    from otel_eval.clickhouse.attaching import beside_a_hop
    from otel_eval.exporters.running import retry_dead_letters

    async with beside_a_hop(config, {letter.exporter for letter in letters}) as ready:
        return await retry_dead_letters(ready, letters)


@dead_letter.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Delete every dead letter.")
@config_option
@set_option
def drop(ids: tuple[str, ...], everything: bool, file: str | None, settings: tuple[str, ...]) -> None:
    """Delete those with these IDS for good."""
    with plain_errors():
        if bool(ids) == everything:
            raise ConfigError("expected the ids to delete, or --all")
        for letter in _store(load(file, settings)).select(ids):
            letter.drop()
            click.echo(f"{letter.id}  deleted")
