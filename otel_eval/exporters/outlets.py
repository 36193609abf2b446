"""The configured exporters for requests that do not come out of a journal."""

import asyncio
from typing import Any, Final

from otel_eval.config import Config
from otel_eval.errors import OtelEvalError, RetryableError
from otel_eval.exporters import Exporter, Message
from otel_eval.exporters.running import build_exporters
from otel_eval.records import Kind, OwnKind

_TRIES: Final = 5
_LONGEST_WAIT_S: Final = 60.0


class Outlets:
    """Sends each request to every exporter that takes its kind. Raises ConfigError for settings that cannot work."""

    def __init__(self, config: Config, name: str) -> None:
        self._config = config
        self._name = name
        self._exporters = build_exporters(config)

    async def start(self) -> None:
        """Make all ready; raises ConfigError."""
        for exporter in self._exporters.values():
            await exporter.start()

    async def send(self, kind: Kind | OwnKind, body: bytes, identity: str) -> list[str]:
        """Send to each that gets this kind; why some have not taken it, or not all of it.

        A backend that knows the ids of messages takes what has the same `identity` once.
        """
        takers = [name for name in self._exporters if kind in self._config.exporters[name].kinds]
        message = Message(kind, [body], f"{self._name}-{kind}-{identity}", self._name)
        answers = await asyncio.gather(*(self._send(name, message) for name in takers))
        return [f"{name}: {problem}" for name, problem in zip(takers, answers, strict=True) if problem is not None]

    async def _send(self, name: str, message: Message) -> str | None:
        exporter: Exporter = self._exporters[name]
        retry: Any = self._config.exporters[name].retry_on_failure
        wait_s = float(retry.initial_interval)
        for left in reversed(range(_TRIES)):
            try:
                answer = await exporter.export(message)
            except RetryableError as error:
                message = message._replace(again=True)
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
        """Release everything."""
        for exporter in self._exporters.values():
            await exporter.shutdown()
