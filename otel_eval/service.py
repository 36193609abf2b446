"""The running program: the only place that knows all parts.

Parts are started downstream first and stopped upstream first, so that each can hand on what it holds. A reload builds
the new parts from the new configuration, replaces the ones whose section changed, and leaves the others alone.
"""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from otel_eval import __version__, logs
from otel_eval.config import Config, Loaded
from otel_eval.errors import ConfigError, OtelEvalError
from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.exporters.running import RunningExporter, build_exporters
from otel_eval.holding import HeldSpans
from otel_eval.intake import Intake
from otel_eval.journal import Journal
from otel_eval.judging.direct import Direct
from otel_eval.judging.running import RunningJudging
from otel_eval.receivers.api import Evaluate
from otel_eval.records import Kind
from otel_eval.sampling.tail import TailSampler
from otel_eval.scrub.forwarding import forwarding
from otel_eval.servers import Server, Servers
from otel_eval.telemetry import Metrics

_log = structlog.get_logger(__name__)

_RESTART_S = 1.0
_MEASURE_S = 5.0


class Service:
    """One hop. `start`, then `stop`; `reload` in between as often as wanted."""

    def __init__(self, loaded: Loaded) -> None:
        config = self._config = loaded.config
        self._source = loaded.source
        for note in loaded.notes:
            _log.warning(note)
        exporters = build_exporters(config)
        self.metrics = Metrics()
        self._dead_letters = DeadLetters(config.journal.directory, (config.journal.max_size_mib << 20) // 10)
        self.journal = Journal(config.journal.directory, config.journal.max_size_mib << 20, config.journal.sync)
        self._held = HeldSpans(self.journal, self.metrics, config.emit)
        self._sampler: TailSampler | None = None
        self._judging: RunningJudging | None = None
        directory = config.journal.directory
        if config.sampling.enabled and config.judging.enabled:
            self._judging = RunningJudging(config, self._source, self.journal, self.metrics, self._held)
        if config.sampling.enabled:
            self._sampler = TailSampler(
                config.traces, config.sampling, self.journal, self.metrics, directory, self._held, self._judging
            )
        self._intake = self._make_intake()
        self._prepared = [RunningExporter(name, exporter, config.exporters[name]) for name, exporter in exporters.items()]
        self._exporters: dict[str, RunningExporter] = {}
        self._dead_letters_seen = (0, 0)  # number and bytes
        desk = self._sampler.desk if self._sampler is not None else None
        self._servers = Servers(self._intake.accept, desk, self._evaluator(config), self.metrics, self.state)
        self._tasks: list[asyncio.Task[None]] = []
        self._sampling: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Start all parts; raises ConfigError, after undoing what was begun, when one cannot start."""
        try:
            self._show_journal()
            self._tasks = [
                self._supervise("journal sync", self.journal.sync_periodically),
                self._supervise("dead letters", self._count_dead_letters),
            ]
            for running in self._prepared:
                await running.prepare()
                self._start_exporter(running)
            self._name_forgotten_readers()
            self._name_unsent_kinds()
            if self._judging is not None:
                self._judging.start(self._supervise)
            if self._sampler is not None:
                await self._sampler.prepare()
                self._sampling = self._supervise("sampler", self._sampler.run)
            if self._held.waiting or self._config.emit.mode == "hold":
                self._tasks.append(self._supervise("held spans", self._held.run))
            await self._servers.start(self._config)
        except BaseException:
            await self.stop(drain_timeout_s=0)
            raise
        _log.info(
            "otel-eval is running",
            version=__version__,
            config=self._source,
            **{name: f"{receiver.port}" for name, receiver in self._servers.receivers.items()},
            exporters=", ".join(self._exporters) or "none",
            journal=str(self._config.journal.directory),
        )

    async def stop(self, drain_timeout_s: float | None = None) -> None:
        """Stop receiving, send what is in the journal within the drain timeout, and say what is left."""
        if self._stopping:
            return
        self._stopping = True
        timeout_s = self._config.service.drain_timeout if drain_timeout_s is None else drain_timeout_s
        await self._servers.stop_receiving()
        await self._stop_judging()  # before the exporters, which then send its last scores
        await self._drain(timeout_s)
        for name in list(self._exporters):
            await self._stop_exporter(name)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._servers.stop()
        try:
            await self.journal.close()
        except OtelEvalError as error:
            _log.error("the journal could not be closed cleanly", reason=str(error))
        self.metrics.close()

    async def _stop_judging(self) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
            await asyncio.gather(self._sampling, return_exceptions=True)
        if self._judging is not None:
            await self._judging.stop()
        await self._held.close()
        if self._sampler is not None:
            await self._sampler.close()

    async def reload(self, loaded: Loaded) -> None:
        """Take over another configuration; raises ConfigError, and keeps everything as it was, when it is not usable."""
        new = loaded.config
        for section in ("journal", "traces", "sampling", "scrub", "judging", "emit"):
            if getattr(new, section) != getattr(self._config, section):
                raise ConfigError(f"{section}: cannot change while running; restart for that")
        outdated = [
            name
            for name, running in self._exporters.items()
            if new.exporters.get(name) != running.config or running.config.reads_files
        ]
        fresh = {
            name: RunningExporter(name, exporter, new.exporters[name])
            for name, exporter in build_exporters(new).items()
            if name in outdated or name not in self._exporters
        }
        try:
            for running in fresh.values():
                await running.prepare()
            await self._servers.reload(self._config, new)
        except ConfigError:
            for running in fresh.values():
                await running.stop()
            raise
        logs.configure(new.telemetry.logs.level, new.telemetry.logs.format)
        self._config = new
        for name in outdated:
            await self._stop_exporter(name)
            if name in fresh:  # at once: without a reader, what it has not sent may be deleted
                self._start_exporter(fresh.pop(name))
        for running in fresh.values():
            self._start_exporter(running)
        _log.info("the configuration was reloaded", config=loaded.source, exporters=", ".join(self._exporters))

    async def settle(self) -> None:
        """Spare the garbage collector what is loaded for good, at once and when judging has loaded its part (150,000 objects).

        Looking through it again and again took a seventh of the CPU.
        """
        gc.freeze()
        if self._judging is not None:
            await self._judging.pool.first_judged.wait()
            gc.freeze()

    @property
    def receivers(self) -> dict[str, Server]:
        """The receivers that listen, by protocol."""
        return self._servers.receivers

    def state(self) -> dict[str, Any]:
        """What `/readyz` shows."""
        exporters = {
            name: {"behind_bytes": running.behind, "failing": running.failing} for name, running in self._exporters.items()
        }
        problems = ["stopping"] if self._stopping else []
        if self.journal.problem:
            problems.append(self.journal.problem)
        problems += [f"not receiving over {name}" for name in self._servers.missing(self._config)]
        return {"status": "unready" if problems else "ready", "problems": problems, "exporters": exporters}

    def _start_exporter(self, running: RunningExporter) -> None:
        running.start(self.journal, self._dead_letters, self.metrics, self._supervise)
        self._exporters[running.name] = running

    async def _stop_exporter(self, name: str) -> None:
        await self._exporters.pop(name).stop()
        self.metrics.forget_gauges(exporter=name)

    async def _drain(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(running.drain() for running in self._exporters.values()))
        left = {name: running.behind for name, running in self._exporters.items() if running.behind}
        for name, behind in left.items():
            _log.warning("not everything was sent; the next start goes on with it", exporter=name, behind_bytes=behind)
        _log.info("otel-eval has stopped", everything_sent=not left)

    def _supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `work` for as long as the service runs: an error is logged and the work begins again."""

        async def keep_running() -> None:
            while True:
                try:
                    return await work()
                except OtelEvalError as error:
                    _log.error("a task cannot go on and is started again", task=name, reason=str(error))
                except Exception as error:  # noqa: BLE001 - after the start, nothing may end the hop
                    _log.error("a task failed unexpectedly and is started again", task=name, exc_info=error)
                await asyncio.sleep(_RESTART_S)

        return asyncio.create_task(keep_running(), name=name)

    def _make_intake(self) -> Intake:
        scrub = forwarding(self._config.scrub)
        if self._sampler is None:
            return Intake(self.journal, self.metrics, scrub=scrub)
        cut = self._sampler.first.cut if self._config.emit.mode == "hold" else None
        return Intake(self.journal, self.metrics, self._sampler.observe, cut, scrub)

    def _evaluator(self, config: Config) -> Evaluate | None:
        """What judges on demand."""
        if self._judging is None or self._sampler is None:
            return None
        return Direct(self._judging.judges.examiner, config.scrub, self._sampler.find).answer

    def _show_journal(self) -> None:
        self.metrics.gauge("journal_size", lambda: self.journal.budget.used)
        self.metrics.gauge("exporter_queue_capacity", lambda: self.journal.budget.limit)
        self._dead_letters.deleted = self.metrics.counter("dead_letters_deleted")
        self.metrics.gauge("dead_letters", lambda: self._dead_letters_seen[0])
        for kind, log in self.journal.logs.items():
            log.damage = self.metrics.counter("journal_damaged_records", kind=str(kind))

    async def _count_dead_letters(self) -> None:
        """Keep the budget's idea of the dead letters: another process may drop them."""
        while True:
            seen = await asyncio.to_thread(self._dead_letters.measure)  # half a second for 100,000 of them
            self.journal.budget.used += seen[1] - self._dead_letters_seen[1]
            self._dead_letters_seen = seen
            await asyncio.sleep(_MEASURE_S)

    def _name_unsent_kinds(self) -> None:
        for kind in set(Kind).difference(*(running.config.types for running in self._exporters.values())):
            _log.warning("no exporter takes this kind of request; what arrives is accepted and not kept", kind=str(kind))

    def _name_forgotten_readers(self) -> None:
        for name in sorted(self.journal.reader_names() - set(self._exporters)):
            _log.warning(
                "an exporter that was once configured is gone; what it has not sent may be deleted from now on", exporter=name
            )


async def run(loaded: Loaded, load_again: Callable[[], Loaded]) -> None:
    """Run a hop until SIGTERM or SIGINT; SIGHUP reloads the configuration."""
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, reload)):
        loop.add_signal_handler(number, event.set)
    service = Service(loaded)
    await service.start()
    stopped = asyncio.create_task(stop.wait())
    settling = asyncio.create_task(service.settle())
    try:
        while not stop.is_set():
            reloaded = asyncio.create_task(reload.wait())
            await asyncio.wait({stopped, reloaded}, return_when=asyncio.FIRST_COMPLETED)
            reloaded.cancel()
            if reload.is_set() and not stop.is_set():
                reload.clear()  # first: a signal during the reload asks for another one
                await _reload(service, load_again)
    finally:
        stopped.cancel()
        settling.cancel()
        await service.stop()


async def _reload(service: Service, load_again: Callable[[], Loaded]) -> None:
    try:
        with (loaded := load_again()).located():
            await service.reload(loaded)
    except ConfigError as error:
        _log.error("the new configuration is refused; the old one keeps running", reason=str(error))
    except Exception as error:  # noqa: BLE001 - after the start, nothing may end the hop
        _log.error("the reload failed unexpectedly; the hop keeps running", exc_info=error)
