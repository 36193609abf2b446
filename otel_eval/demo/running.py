"""The demo from start to end: hop, stand-in, traffic, waiting until all is judged, report."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import running
from otel_eval.demo import queries, results
from otel_eval.demo.hop import (
    CLICKHOUSE,
    REAL_BUDGET_USD,
    DemoError,
    HopProcess,
    StandInProcess,
    configuration,
    real_judge,
)
from otel_eval.demo.report import Report, console
from otel_eval.demo.traffic import Traffic
from otel_eval.inspection.plain_text import one_line

_POLL_S: Final = 0.5
_LIVE_APART_S: Final = 0.5
"""From one session to the next, after the report."""

_SETTLE_S: Final = 60.0
"""How long judging, and the rows of it, may take after the last trace."""


class Options(NamedTuple):
    """So many traces in about so many seconds, then the report; `live` goes on until Ctrl-C. Data goes below `directory`."""

    directory: Path
    traces: int = 1000
    seconds: float = 50.0
    live: bool = False
    seed: int = 7


async def run(options: Options) -> bool:
    """Whether everything added up. Raises DemoError, or CancelledError when it is interrupted."""
    out, begun = console(), time.monotonic()
    if (task := asyncio.current_task()) is not None:  # SIGTERM must not leave the hop behind
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    directory = _new(options.directory)
    async with contextlib.AsyncExitStack() as running_parts:
        url = None if real_judge() else (await running_parts.enter_async_context(StandInProcess(directory))).url
        with out.status("starting the hop and its ClickHouse"):
            hop = await running_parts.enter_async_context(HopProcess(directory, configuration(directory, url)))
        ask = await running_parts.enter_async_context(_asking(directory))
        _introduce(out, hop, url)
        traffic = Traffic(hop, options.seed)
        with _Display(out, options.traces) as display:
            await _watched(display, hop, traffic, _until_judged(hop, ask, traffic, options))
        found = await results.read(ask, traffic.truth)
        Report(out, found, traffic.spans, real=url is None).show(directory / "journal")
        right = found.spans == traffic.spans and found.traces == len(traffic.truth) and found.chosen == found.with_one_end
        _next_steps(out, hop, directory, found.worst)
        out.print(f"\n{'Everything added up' if right else 'It did NOT add up'}, after {time.monotonic() - begun:.0f} s.")
        if options.live:
            await _stay(out, traffic)
        await traffic.finish()
    return right


def _new(parent: Path) -> Path:
    """A directory for this run."""
    directory = parent.absolute() / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    try:
        directory.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise DemoError(f"{directory}: cannot be made: {error.strerror}") from None
    return directory


@contextlib.asynccontextmanager
async def _asking(directory: Path) -> AsyncIterator[results.Ask]:
    """Queries to the ClickHouse of the hop, as the reader that anybody on this machine may be who can read its password."""
    endpoint = running(directory / CLICKHOUSE, "otel")
    if endpoint is None:
        raise DemoError(f"{directory / CLICKHOUSE}: there is no ClickHouse")
    client = ClickHouse(endpoint)

    async def ask(sql: str) -> Any:
        return (await client.query(sql)).rows

    try:
        yield ask
    finally:
        await client.close()


def _introduce(out: Console, hop: HopProcess, url: str | None) -> None:
    settings = hop.settings
    http = settings["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    out.print(
        f"The hop listens on {hop.grpc} (OTLP/gRPC), {http} (OTLP/HTTP) and {settings['api']['endpoint']} (feedback); metrics on "
        f"http://{settings['telemetry']['metrics']}/metrics. Its backend is the embedded ClickHouse.\nConfiguration: {hop.file}",
        soft_wrap=True,
    )
    if url is None:
        out.print(f"ANTHROPIC_API_KEY is set: a real model judges a small sample, for at most {REAL_BUDGET_USD:.2f} USD.")
    else:
        out.print("There is no ANTHROPIC_API_KEY: a stand-in judges, which is no model. Its scores are marked as simulated.")


class _Display:
    """What has happened so far; without a terminal only its last state is printed."""

    _LINES: Final = ("sent", "forwarded", "chosen", "judged")

    def __init__(self, out: Console, traces: int) -> None:
        columns = (TextColumn("{task.description:>9}"), BarColumn(40), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
        self._progress = Progress(*columns, console=out)
        self._tasks: dict[str, TaskID] = {}
        self._traces = traces

    def __enter__(self) -> "_Display":
        for name in self._LINES:
            self._tasks[name] = self._progress.add_task(name, total=self._traces if name == "sent" else None, note="")
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    async def refresh(self, hop: HopProcess, traffic: Traffic) -> None:
        """Read the hop's metrics."""
        metrics = await hop.metrics()
        chosen, judged = metrics.total("sampling_traces_chosen_total"), metrics.total("judging_traces_total")
        spent = metrics.total("judging_cost_microdollars_total") / 1e6
        self._put("sent", len(traffic.truth), self._traces, f"traces, {traffic.spans:,} spans, {traffic.feedback} thumbs")
        self._put("forwarded", metrics.total("receiver_accepted_spans_total"), traffic.spans, "spans taken")
        self._put("chosen", chosen, len(traffic.truth), "traces, by policy and signal")
        self._put("judged", judged, chosen, f"traces, judges took {spent:.3f} USD")

    def _put(self, name: str, done: float, total: float, note: str) -> None:
        self._progress.update(self._tasks[name], completed=int(done), total=max(1, int(total)), note=note)


async def _watched(display: _Display, hop: HopProcess, traffic: Traffic, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and show how far it is; raises DemoError when the hop does not answer any more."""

    async def watch() -> None:
        while True:
            await display.refresh(hop, traffic)
            await asyncio.sleep(_POLL_S)

    watching, working = asyncio.create_task(watch()), asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait((watching, working), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await display.refresh(hop, traffic)
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.gather(watching, working, return_exceptions=True)


async def _until_judged(hop: HopProcess, ask: results.Ask, traffic: Traffic, options: Options) -> None:
    await traffic.play(options.traces, options.seconds)
    await traffic.flush()
    await _settled(hop, ask, traffic)


async def _settled(hop: HopProcess, ask: results.Ask, traffic: Traffic) -> None:
    """Return when the queue is empty and every row has arrived, or when it takes too long: the report shows what lacks."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        metrics = await hop.metrics()
        open_, due = metrics.total("sampling_traces_open"), metrics.total("sampling_traces_due")
        if open_ == due == metrics.total("judging_queue") == 0 and await _arrived(ask, traffic):
            return
        await asyncio.sleep(_POLL_S)


async def _arrived(ask: results.Ask, traffic: Traffic) -> bool:
    ((spans, traces),) = await ask(queries.FORWARDED)
    ((decided, chosen, ends),) = await ask(queries.ENDS)
    return bool(spans == traffic.spans and traces == decided == len(traffic.truth) and chosen == ends)


def _next_steps(out: Console, hop: HopProcess, directory: Path, worst: str | None) -> None:
    out.print()
    out.rule("Where to look next", align="left")
    for what, command in (
        ("why a trace was judged, and what came of it", f"otel-eval explain {worst or 'TRACE_ID'} --config {hop.file}"),
        ("the same trace as a conversation", f"otel-eval inspect {worst or 'TRACE_ID'} --config {hop.file}"),
        ("any question, while the hop runs or later", f'otel-eval query --config {hop.file} "SELECT ..."'),
        ("the whole configuration with its defaults", f"otel-eval config --config {hop.file}"),
        ("dashboards for Grafana, in the repository", "deploy/grafana"),
        ("everything that this run has written", str(directory)),
    ):
        out.print(f"{what}:\n  {one_line(command)}", soft_wrap=True)


async def _stay(out: Console, traffic: Traffic) -> None:
    """Go on until Ctrl-C, or SIGTERM. Raises what ends the traffic."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    out.print("Traffic goes on until Ctrl-C.")
    going_on = asyncio.create_task(traffic.go_on(_LIVE_APART_S))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([going_on, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if going_on.done():
        going_on.result()
    going_on.cancel()
    out.print(f"{len(traffic.truth):,} traces sent; the hop sends on what it has.")
