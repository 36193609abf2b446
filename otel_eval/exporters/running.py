"""The configured exporters: making them, and running each with its loops."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from otel_eval.config import Config, ExporterConfig, exporter_class
from otel_eval.config.models import Receivers
from otel_eval.errors import ConfigError, OtelEvalError
from otel_eval.exporters import Exporter, Message
from otel_eval.exporters.dead_letters import DeadLetter, DeadLetters
from otel_eval.exporters.sending import SendingLoop
from otel_eval.journal import Journal, Reader
from otel_eval.telemetry import Metrics

Supervise = Callable[[str, Callable[[], Awaitable[None]]], asyncio.Task[None]]
"""Runs work under a name for as long as the service runs."""

_THIS_MACHINE = ("localhost", "::1", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound


def build_exporters(config: Config) -> dict[str, Exporter]:
    """Make every configured exporter without starting it; raises ConfigError for settings that cannot work."""
    exporters: dict[str, Exporter] = {}
    for name, settings in config.exporters.items():
        exporters[name] = exporter_class(name)(name, settings)
        for setting, (host, port) in exporters[name].targets.items():
            if _is_own(host, port, config.receivers):
                key = f"exporters.{name}.{setting}"
                raise ConfigError(f"{key}: {host}:{port} is this hop's own receiver; it would send to itself")
    return exporters


def _is_own(host: str, port: int, receivers: Receivers) -> bool:
    protocols = receivers.otlp.protocols
    for server in (protocols.grpc, protocols.http):
        if server is None or port != server.endpoint.port:
            continue
        if host in _THIS_MACHINE or host.startswith("127.") or host == server.endpoint.host:
            return True
    return False


class RunningExporter:
    """One exporter with a reader and a sending loop for each kind of request that it gets."""

    def __init__(self, name: str, exporter: Exporter, config: ExporterConfig) -> None:
        self.name = name
        self.config = config
        self._exporter = exporter
        self._readers: list[Reader] = []
        self._loops: list[SendingLoop] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def behind(self) -> int:
        """Journal bytes that it has not delivered yet."""
        return sum(loop.behind for loop in self._loops)

    @property
    def failing(self) -> str | None:
        """Why the backend does not take requests at the moment, None while it does."""
        return next((loop.failing for loop in self._loops if loop.failing), None)

    async def prepare(self) -> None:
        """Make ready; raises ConfigError for settings that cannot work."""
        await self._exporter.start()

    def start(self, journal: Journal, dead_letters: DeadLetters, metrics: Metrics, supervise: Supervise) -> None:
        """Begin to send, after `prepare`."""
        for kind in self.config.kinds:
            reader = journal.reader(kind, self.name)
            loop = SendingLoop(
                name=self.name,
                kind=kind,
                exporter=self._exporter,
                config=self.config,
                reader=reader,
                dead_letters=dead_letters,
                hop=journal.id,
                metrics=metrics,
            )
            self._readers.append(reader)
            self._loops.append(loop)
            self._tasks.append(supervise(f"exporter {self.name} {kind}", loop.run))

    async def drain(self) -> None:
        """Return when it has delivered everything."""
        await asyncio.gather(*(loop.drain() for loop in self._loops))

    async def stop(self) -> None:
        """End; what is under way is sent again by the next start."""
        for task in self._tasks:
            task.cancel()
        await self._exporter.shutdown()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for reader in self._readers:
            reader.close()
        self._readers, self._loops, self._tasks = [], [], []


async def retry_dead_letters(config: Config, letters: Sequence[DeadLetter]) -> list[tuple[DeadLetter, str | None]]:
    """Send dead letters to the exporter each was for, and drop those that it takes; with each the reason it was kept."""
    exporters = build_exporters(config)
    try:
        for name in {letter.exporter for letter in letters} & set(exporters):
            await exporters[name].start()
        return [(letter, await _retry(config, exporters.get(letter.exporter), letter)) for letter in letters]
    finally:
        for exporter in exporters.values():
            await exporter.shutdown()


async def _retry(config: Config, exporter: Exporter | None, letter: DeadLetter) -> str | None:
    if exporter is None:
        return f"no exporter {letter.exporter} is configured"
    if letter.kind not in config.exporters[letter.exporter].kinds:
        return f"the exporter {letter.exporter} does not get {letter.kind} any more"
    try:
        await exporter.export(Message(letter.kind, [letter.body()], letter.id))
        letter.drop()
    except FileNotFoundError:
        return "it is gone"
    except OtelEvalError as error:
        return str(error)
    return None
