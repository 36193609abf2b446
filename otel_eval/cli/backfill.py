"""`otel-eval backfill`: judge recorded history as a hop would have, and send the scores to the configured exporters."""

import asyncio
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import xxhash

from otel_eval.cli.options import config_option, load, plain_errors, set_option
from otel_eval.errors import ConfigError, OtelEvalError, RetryableError

if TYPE_CHECKING:
    from otel_eval.config import Config, Loaded
    from otel_eval.exporters import Exporter
    from otel_eval.judging.backfill import Estimate, Plan, Tally
    from otel_eval.records import Kind

_TRIES = 5
_LONGEST_WAIT_S = 60.0
_INTERRUPTED = 130
_MAX_REASONS = 20
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@click.command()
@click.option("--from", "sources", multiple=True, required=True, metavar="FILE", help="Captured OTLP requests, as for inspect.")
@click.option("--since", metavar="TIME", help="Only traces that ended then or later, such as 2026-01-31T12:00:00Z.")
@click.option("--yes", is_flag=True, help="Do not ask before anything is judged.")
@click.option("--concurrency", type=click.IntRange(1, 256), help="So many traces at once; by default judging.workers.")
@config_option
@set_option
def backfill(
    sources: tuple[str, ...], since: str | None, yes: bool, concurrency: int | None, file: str | None, settings: tuple[str, ...]
) -> None:
    """Judge recorded history: what the configured policies choose, within the budget; scores go to the exporters.

    Shows first how many traces that are, and what they may cost. Status 1 when something could not be sent.
    """
    with plain_errors():
        since_ns = 0 if since is None else _time_ns(since)
        if "clickhouse" in sources:
            raise ConfigError("--from clickhouse: judging out of ClickHouse is not built yet; expected files")
        loaded = load(file, settings)
        found = _planned(loaded, [Path(source) for source in sources], since_ns)
        if not found.jobs:
            return
        if not yes:
            if not sys.stdin.isatty():
                raise ConfigError("--yes: expected it where nobody can be asked, since stdin is no terminal; nothing was judged")
            click.confirm("Judge them?", abort=True)
        sys.exit(_run(loaded, found, concurrency or loaded.config.judging.workers))


def _time_ns(text: str) -> int:
    try:
        if not _RFC_3339.fullmatch(text):
            raise ValueError
        since = datetime.fromisoformat(text.upper()) - datetime(1970, 1, 1, tzinfo=UTC)
    except ValueError:
        raise ConfigError(f"--since: {text!r:.100}: expected RFC 3339 with an offset, such as 2026-01-31T12:00:00Z") from None
    return since // timedelta(microseconds=1) * 1000


def _planned(loaded: "Loaded", files: Sequence[Path], since_ns: int) -> "Plan":
    """What would be judged, which is shown with its cost. Raises ConfigError, also when scores would go nowhere."""
    from otel_eval import logs
    from otel_eval.inspection.load import read
    from otel_eval.judging.backfill import estimate, plan
    from otel_eval.judging.running import with_key_of_the_environment
    from otel_eval.records import Kind

    config = loaded.config
    logs.configure(config.telemetry.logs.level, config.telemetry.logs.format)
    if not any(kind in settings.types for settings in config.exporters.values() for kind in (Kind.TRACES, Kind.LOGS)):
        raise ConfigError(f"{loaded.source}: exporters: expected one that takes traces or logs; scores would go nowhere")
    found = plan(config.sampling, config.scrub, read(files), since_ns)
    has_key = with_key_of_the_environment(config.judging.provider).api_key is not None
    cost = asyncio.run(estimate(config.judging, loaded.source, found.jobs, has_key=has_key))
    click.echo(f"{len(found.jobs)} of {found.traces} agent traces would be judged")
    for policy, count in found.by_policy.most_common():
        click.echo(f"  {policy:28} {count:>7}")
    if found.jobs:
        click.echo(_cost(cost) if has_key else "cost: nothing; without an API key no judge is asked")
    if cost.left_out:
        click.echo(f"not asked: {', '.join(cost.left_out)}; sessions are not put together")
    return found


def _cost(cost: "Estimate") -> str:
    if not cost.questions:
        return "cost: nothing; no judge is asked"
    text = f"{cost.questions} questions (at most {cost.most_questions}), about {cost.input_tokens} input tokens"
    unknown = f"the price of {', '.join(sorted(cost.unpriced))} is not known" if cost.unpriced else ""
    if not cost.worst_usd:
        return f"cost: {text}; {unknown}"
    known = f"expected {cost.expected_usd:.4f} USD, at worst {cost.worst_usd:.4f} USD"
    return f"cost: {text}; {known}{f'; not in it: {unknown}' if unknown else ''}"


def _run(loaded: "Loaded", found: "Plan", concurrency: int) -> int:
    """Judge, show what came of it, also after Ctrl-C, and return the exit status."""
    from otel_eval.judging.backfill import Tally

    tally = Tally()
    status = 0
    try:
        asyncio.run(_judge(loaded, found, concurrency, tally))
    except KeyboardInterrupt:
        status = _INTERRUPTED
    _show(tally, len(found.jobs))
    return status or int(bool(tally.unsent))


async def _judge(loaded: "Loaded", found: "Plan", concurrency: int, tally: "Tally") -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from otel_eval.judging.backfill import Backfill
    from otel_eval.judging.running import Judges

    config = loaded.config
    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    judges = Judges(config.judging, loaded.source, config.journal.directory)
    outlets = _Outlets(config)
    try:
        await outlets.start()
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("judging", total=len(found.jobs))
            await Backfill(judges.examiner, outlets.send, tally, lambda: bar.advance(task)).run(found.jobs, concurrency)
    finally:
        await outlets.shutdown()
        await judges.close()


class _Outlets:
    """The configured exporters, for requests that do not come out of a journal."""

    def __init__(self, config: "Config") -> None:
        from otel_eval.exporters.running import build_exporters

        self._config = config
        self._exporters = build_exporters(config)

    async def start(self) -> None:
        for exporter in self._exporters.values():
            await exporter.start()

    async def send(self, kind: "Kind", body: bytes) -> list[str]:
        """Send to each that gets this kind; why some have not taken it, or not all of it."""
        takers = [name for name in self._exporters if kind in self._config.exporters[name].types]
        answers = await asyncio.gather(*(self._send(name, kind, body) for name in takers))
        return [f"{name}: {problem}" for name, problem in zip(takers, answers, strict=True) if problem is not None]

    async def _send(self, name: str, kind: "Kind", body: bytes) -> str | None:
        from otel_eval.exporters import Message

        exporter: Exporter = self._exporters[name]
        retry: Any = self._config.exporters[name].retry_on_failure
        wait_s = float(retry.initial_interval)
        message = Message(kind, [body], f"backfill-{kind}-{xxhash.xxh3_128_hexdigest(body)}")
        for left in reversed(range(_TRIES)):
            try:
                answer = await exporter.export(message)
            except RetryableError as error:
                if not left:
                    return f"{_TRIES} tries failed: {error}"
                await asyncio.sleep(min(max(wait_s, error.retry_after_s or 0.0), _LONGEST_WAIT_S))
                wait_s *= retry.multiplier
            except OtelEvalError as error:
                return str(error)
            else:
                return f"{answer.rejected} rejected: {answer.message}" if answer.rejected else None
        return None

    async def shutdown(self) -> None:
        for exporter in self._exporters.values():
            await exporter.shutdown()


def _show(tally: "Tally", planned: int) -> None:
    from otel_eval.inspection.plain_text import one_line

    done = tally.states.total()
    click.echo(f"{done} of {planned} traces are done: {tally.scores} scores, which cost {tally.usd:.4f} USD")
    for state, count in tally.states.most_common():
        click.echo(f"  {state:28} {count:>7}")
    if tally.failed:
        click.echo("without a score:")
    for (evaluator, state), count in tally.failed.most_common():
        click.echo(f"  {evaluator:28} {count:>7}  {state}: {one_line(tally.reasons[evaluator, state])[:200]}")
    if tally.unsent:
        click.echo(f"{tally.unsent.total()} requests were not sent; the same command sends them again:", err=True)
    for reason, count in tally.unsent.most_common(_MAX_REASONS):
        click.echo(f"  {count:>7}  {one_line(reason)[:200]}", err=True)
