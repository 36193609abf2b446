"""The running program: the only place that knows all parts.

Parts are started downstream first and stopped upstream first, so that each can hand on what it holds. A reload builds
the new parts from the new configuration, replaces the ones whose section changed, and leaves the others alone.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from otel_eval import __version__, logs
from otel_eval.config import Config, Loaded
from otel_eval.errors import ConfigError, OtelEvalError
from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.exporters.running import RunningExporter, build_exporters
from otel_eval.intake import Intake
from otel_eval.journal import Journal
from otel_eval.operations import Page, health_page, metrics_page
from otel_eval.receivers.grpc import GrpcReceiver
from otel_eval.receivers.http import HttpReceiver
from otel_eval.receivers.security import ssl_context
from otel_eval.records import Kind
from otel_eval.telemetry import Metrics

_log = structlog.get_logger(__name__)

_RESTART_S = 1.0
_MEASURE_S = 5.0


class _Server(Protocol):
    port: int

    async def start(self) -> None: ...
    async def shutdown(self) -> None: ...


class Service:
    """One hop. `start`, then `stop`; `reload` in between as often as wanted."""

    def __init__(self, loaded: Loaded) -> None:
        self._config = loaded.config
        self._source = loaded.source
        for note in loaded.notes:
            _log.warning(note)
        config = self._config
        exporters = build_exporters(config)
        self.metrics = Metrics()
        self._dead_letters = DeadLetters(config.journal.directory, (config.journal.max_size_mib << 20) // 10)
        self.journal = Journal(config.journal.directory, config.journal.max_size_mib << 20, config.journal.sync)
        self._intake = Intake(self.journal, self.metrics)
        self._prepared = [RunningExporter(name, exporter, config.exporters[name]) for name, exporter in exporters.items()]
        self._exporters: dict[str, RunningExporter] = {}
        self._dead_letters_seen = (0, 0)  # number and bytes
        self.receivers: dict[str, _Server] = {}
        self._pages: dict[str, Page] = {}
        self._tasks: list[asyncio.Task[None]] = []
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
            await self._start_pages(self._config)
            await self._start_receivers(self._config)
        except BaseException:
            await self.stop(drain_timeout_s=0)
            raise
        _log.info(
            "otel-eval is running",
            version=__version__,
            config=self._source,
            **{name: f"{receiver.port}" for name, receiver in self.receivers.items()},
            exporters=", ".join(self._exporters) or "none",
            journal=str(self._config.journal.directory),
        )

    async def stop(self, drain_timeout_s: float | None = None) -> None:
        """Stop receiving, send what is in the journal within the drain timeout, and say what is left."""
        if self._stopping:
            return
        self._stopping = True
        timeout_s = self._config.service.drain_timeout if drain_timeout_s is None else drain_timeout_s
        await asyncio.gather(*(receiver.shutdown() for receiver in self.receivers.values()))
        await self._drain(timeout_s)
        for name in list(self._exporters):
            await self._stop_exporter(name)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for page in self._pages.values():
            await page.shutdown()
        try:
            await self.journal.close()
        except OtelEvalError as error:
            _log.error("the journal could not be closed cleanly", reason=str(error))
        self.metrics.close()

    async def reload(self, loaded: Loaded) -> None:
        """Take over another configuration; raises ConfigError, and keeps everything as it was, when it is not usable."""
        new = loaded.config
        if new.journal != self._config.journal:
            raise ConfigError("journal: cannot change while running; restart for that")
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
            await self._reload_servers(self._config, new)
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

    def state(self) -> dict[str, Any]:
        """What `/readyz` shows."""
        exporters = {
            name: {"behind_bytes": running.behind, "failing": running.failing} for name, running in self._exporters.items()
        }
        problems = ["stopping"] if self._stopping else []
        if self.journal.problem:
            problems.append(self.journal.problem)
        protocols = self._config.receivers.otlp.protocols
        wanted = [name for name in ("grpc", "http") if getattr(protocols, name) is not None]
        problems += [f"not receiving over {name}" for name in wanted if name not in self.receivers]
        return {"status": "unready" if problems else "ready", "problems": problems, "exporters": exporters}

    def _start_exporter(self, running: RunningExporter) -> None:
        running.start(self.journal, self._dead_letters, self.metrics, self._supervise)
        self._exporters[running.name] = running

    async def _stop_exporter(self, name: str) -> None:
        await self._exporters.pop(name).stop()
        self.metrics.forget_gauges(exporter=name)

    async def _drain(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(running.drain() for running in self._exporters.values()))
        except TimeoutError:
            pass
        left = {name: running.behind for name, running in self._exporters.items() if running.behind}
        for name, behind in left.items():
            _log.warning("not everything was sent; the next start goes on with it", exporter=name, behind_bytes=behind)
        _log.info("otel-eval has stopped", everything_sent=not left)

    async def _start_receivers(self, config: Config) -> None:
        protocols = config.receivers.otlp.protocols
        servers: dict[str, _Server] = {}
        if protocols.grpc is not None:
            servers["grpc"] = GrpcReceiver(protocols.grpc, self._intake.accept, self.metrics)
        if protocols.http is not None:
            servers["http"] = HttpReceiver(protocols.http, self._intake.accept, self.metrics)
        for name, server in servers.items():
            if name not in self.receivers:
                await server.start()
                self.receivers[name] = server

    async def _start_pages(self, config: Config) -> None:
        if config.telemetry.health is not None and "health" not in self._pages:
            page = health_page(config.telemetry.health, self.state)
            await page.start()
            self._pages["health"] = page
        if config.telemetry.metrics is not None and "metrics" not in self._pages:
            page = metrics_page(config.telemetry.metrics, self.metrics)
            await page.start()
            self._pages["metrics"] = page

    async def _reload_servers(self, old: Config, new: Config) -> None:
        """Put the servers of the new configuration in place of the old ones, or the old ones back when that fails."""
        for name in ("grpc", "http"):
            server = getattr(new.receivers.otlp.protocols, name)
            if server and server.tls:  # before anything stops: with the same unusable files the old one could not start either
                ssl_context(server.tls, f"receivers.otlp.protocols.{name}")
        try:
            await self._replace_servers(old, new)
        except ConfigError:
            await self._replace_servers(new, old)
            raise

    async def _replace_servers(self, old: Config, new: Config) -> None:
        """Restart the servers whose section changed, and those with TLS, whose certificates may have been renewed."""
        before, after = old.receivers.otlp.protocols, new.receivers.otlp.protocols
        for name in list(self.receivers):
            server = getattr(after, name)
            if getattr(before, name) != server or (server and server.tls):
                await self.receivers.pop(name).shutdown()
        for name in list(self._pages):
            if getattr(old.telemetry, name) != getattr(new.telemetry, name):
                await self._pages.pop(name).shutdown()
        await self._start_pages(new)
        await self._start_receivers(new)

    def _supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `work` for as long as the service runs: a defect is logged and the work begins again."""

        async def keep_running() -> None:
            while True:
                try:
                    return await work()
                except Exception as error:  # noqa: BLE001 - after the start, nothing may end the hop
                    _log.error("a task failed unexpectedly and is started again", task=name, exc_info=error)
                    await asyncio.sleep(_RESTART_S)

        return asyncio.create_task(keep_running(), name=name)

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
        await service.stop()


async def _reload(service: Service, load_again: Callable[[], Loaded]) -> None:
    try:
        await service.reload(load_again())
    except ConfigError as error:
        _log.error("the new configuration is refused; the old one keeps running", reason=str(error))
    except Exception as error:  # noqa: BLE001 - after the start, nothing may end the hop
        _log.error("the reload failed unexpectedly; the hop keeps running", exc_info=error)
