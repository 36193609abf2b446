"""`otel-eval backfill`: judge recorded history as a hop would have, and send the scores to the configured exporters."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otel_eval.cli.options import config_option, load, plain_errors, set_option
from otel_eval.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress

    from otel_eval.config import Config, Loaded
    from otel_eval.judging.backfill import Estimate, Tally
    from otel_eval.judging.planning import Plan, Planner, Window

_INTERRUPTED = 130
_MAX_REASONS = 20
_CLICKHOUSE = "clickhouse"


@click.command()
@click.option(
    "--from", "sources", multiple=True, required=True, metavar="FILE|clickhouse",
    help="Captured OTLP requests, as for inspect; or what the clickhouse exporter (of that name) has stored.",
)  # fmt: skip
@click.option("--since", metavar="TIME", help="Only traces that ended then or later: 2026-01-31T12:00:00Z, or `7 days ago`.")
@click.option("--until", metavar="TIME", help="Only traces that ended before; of ClickHouse by default those that are complete.")
@click.option("--yes", is_flag=True, help="Do not ask before anything is judged.")
@click.option("--concurrency", type=click.IntRange(1, 256), help="So many traces at once; by default judging.workers.")
@config_option
@set_option
def backfill(
    sources: tuple[str, ...],
    since: str | None,
    until: str | None,
    yes: bool,
    concurrency: int | None,
    file: str | None,
    settings: tuple[str, ...],
) -> None:
    """Judge recorded history: what the configured policies choose, within the budget; scores go to the exporters.

    Shows first how many traces that are, and what they may cost. Out of ClickHouse only what has not been judged is.
    Status 1 when something could not be sent.
    """
    with plain_errors():
        window = _window(since, until)
        loaded = load(file, settings)
        found = _planned(loaded, sources, window)
        if not found.jobs:
            return
        if not yes:
            if not sys.stdin.isatty():
                raise ConfigError("--yes: expected it where nobody can be asked, since stdin is no terminal; nothing was judged")
            click.confirm("Judge them?", abort=True)
        sys.exit(_run(loaded, found, concurrency or loaded.config.judging.workers))


def _window(since: str | None, until: str | None) -> "Window":
    from otel_eval.clickhouse.queries import time_ns
    from otel_eval.judging.planning import ALWAYS

    window, now = ALWAYS, datetime.now(UTC)
    if since is not None:
        window = window._replace(since_ns=time_ns("--since", since, now))
    if until is not None:
        window = window._replace(until_ns=time_ns("--until", until, now))
    if window.since_ns >= window.until_ns:
        raise ConfigError("--until: expected a time after --since")
    return window


def _planned(loaded: "Loaded", sources: Sequence[str], window: "Window") -> "Plan":
    """What would be judged, which is shown with its cost. Raises ConfigError, also when scores would go nowhere."""
    from otel_eval import logs
    from otel_eval.judging.backfill import estimate
    from otel_eval.judging.running import with_key_of_the_environment
    from otel_eval.records import Kind, OwnKind

    config = loaded.config
    logs.configure(config.telemetry.logs.level, config.telemetry.logs.format)
    wanted = {Kind.TRACES, Kind.LOGS, OwnKind.EVALUATIONS}
    if not any(wanted.intersection(settings.kinds) for settings in config.exporters.values()):
        raise ConfigError(f"{loaded.source}: exporters: expected one that takes traces or logs; scores would go nowhere")
    found = _read(config, sources, window)
    has_key = with_key_of_the_environment(config.judging.provider).api_key is not None
    cost = asyncio.run(estimate(config, loaded.source, found.jobs, has_key=has_key))
    click.echo(f"{len(found.jobs)} of {found.traces} agent traces would be judged")
    if found.judged:
        click.echo(f"  {'chosen, but judged already':28} {found.judged:>7}")
    for policy, count in found.by_policy.most_common():
        click.echo(f"  {policy:28} {count:>7}")
    if found.jobs:
        click.echo(_cost(cost) if has_key else "cost: nothing; without an API key no judge is asked")
    if cost.left_out:
        click.echo(f"not asked: {', '.join(cost.left_out)}; sessions are not put together")
    return found


def _read(config: "Config", sources: Sequence[str], window: "Window") -> "Plan":
    from otel_eval.inspection.load import read
    from otel_eval.judging.planning import Planner, plan

    stored = [source for source in sources if source.partition("/")[0] == _CLICKHOUSE]
    if not stored:
        return plan(config.sampling, config.scrub, read([Path(source) for source in sources]), window)
    if len(sources) > 1:
        raise ConfigError("--from: expected either files or one clickhouse exporter")
    planner = Planner(config.sampling, config.scrub, window)
    asyncio.run(_read_clickhouse(config, _exporter(config, stored[0]), window, planner))
    return planner.plan


def _exporter(config: "Config", source: str) -> str:
    """The name of the clickhouse exporter that is meant."""
    known = [name for name in config.exporters if name.partition("/")[0] == _CLICKHOUSE]
    if source in known:
        return source
    if not known:
        raise ConfigError(f"--from {source}: no clickhouse exporter is configured (for a file of that name: ./{source})")
    if source != _CLICKHOUSE or len(known) > 1:
        raise ConfigError(f"--from {source}: there is no exporter of that name; expected {' or '.join(known)}")
    return known[0]


async def _read_clickhouse(config: "Config", name: str, window: "Window", planner: "Planner") -> None:
    import time

    from otel_eval.clickhouse.attaching import attached
    from otel_eval.clickhouse.client import ClickHouse
    from otel_eval.clickhouse.history import History

    complete_ns = time.time_ns() - int(config.traces.idle_timeout * 1e9)
    key, too_large = f"exporters.{name}", 0
    async with attached(config.exporters[name], key) as (settings, server):
        client = ClickHouse(server, settings.timeout)
        try:
            history = History(client, settings.target(key), int(config.traces.max_age * 1e9))
            window, spans = await history.open(window._replace(until_ns=min(window.until_ns, complete_ns)))
            with _progress("reading") as bar:
                task = bar.add_task("reading", total=spans)
                async for page in history.pages(window):
                    too_large += page.too_large
                    await _keep(planner, history, planner.decide(page.views))
                    bar.advance(task, page.spans)
                await _keep(planner, history, planner.finish())
        finally:
            await client.close()
    if too_large:
        click.echo(f"{too_large} traces are too large to be read; they are left out", err=True)


async def _keep(planner: "Planner", history: Any, chosen: list[Any]) -> None:
    judged = await history.judged([decided.trace_id.hex() for decided, _ in chosen])
    await asyncio.to_thread(planner.keep, chosen, judged)


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
    from otel_eval.clickhouse.attaching import beside_a_hop
    from otel_eval.exporters.outlets import Outlets
    from otel_eval.judging.backfill import Backfill
    from otel_eval.judging.running import Judges

    config = loaded.config
    judges = Judges(config, loaded.source)
    try:
        async with beside_a_hop(config, config.exporters) as ready:
            outlets = Outlets(ready, "backfill")
            try:
                await outlets.start()
                with _progress("judging") as bar:
                    task = bar.add_task("judging", total=len(found.jobs))
                    await Backfill(judges.examiner, outlets.send, tally, lambda: bar.advance(task)).run(found.jobs, concurrency)
            finally:
                await outlets.shutdown()
    finally:
        await judges.close()


def _progress(what: str) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


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
