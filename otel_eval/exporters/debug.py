"""Shows on stdout what passes, for looking at a pipeline."""

import asyncio
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from otel_eval.config import ExporterConfig
from otel_eval.errors import RetryableError
from otel_eval.exporters import Message
from otel_eval.records import Kind, PartialSuccess
from otel_eval.wire import lens


class DebugExporter:
    """Writes a line for each message, and with `detailed` one for each span and log record.

    In a thread of its own: a terminal or pipe that takes no more (Ctrl-S, a pager) must not stop the hop.
    """

    class Config(ExporterConfig, frozen=True, kw_only=True):
        """`verbosity` as in the Collector: basic or detailed."""

        verbosity: Literal["basic", "detailed"] = "basic"

    def __init__(self, name: str, config: Config) -> None:
        self._name = name
        self._detailed = config.verbosity == "detailed"
        self._timeout_s = config.timeout
        self._thread: ThreadPoolExecutor | None = None

    @property
    def targets(self) -> Mapping[str, tuple[str, int]]:
        """See Exporter."""
        return {}

    async def start(self) -> None:
        """See Exporter."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)

    async def export(self, message: Message) -> PartialSuccess:
        """See Exporter."""
        kind, body = Kind(message.kind), message.body
        lines = [f"{self._name}: {lens.count_items(kind, body)} {kind.items.replace('_', ' ')}, {len(body)} bytes"]
        if self._detailed and kind is Kind.TRACES:
            lines += [_span_line(raw) for raw in lens.items(body)]
        elif self._detailed and kind is Kind.LOGS:
            lines += [_log_line(raw) for raw in lens.items(body)]
        if self._thread is None:
            raise RetryableError("the exporter is stopped")
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.get_running_loop().run_in_executor(self._thread, _write, "\n".join(lines) + "\n")
        except TimeoutError:
            raise RetryableError("stdout takes no more") from None
        except OSError as error:
            raise RetryableError(f"stdout cannot be written: {error.strerror}") from None
        return PartialSuccess()

    async def shutdown(self) -> None:
        """See Exporter."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _span_line(raw: bytes) -> str:
    span = lens.span(raw)
    duration_ms = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    error = " ERROR" if span.status.code == 2 else ""
    ids = f"{span.trace_id.hex()} {span.span_id.hex()}"
    return f"  {ids} {_text(span.name)} {duration_ms:.1f} ms, {len(span.attributes)} attributes{error}"


def _log_line(raw: bytes) -> str:
    record = lens.log_record(raw)
    return f"  {record.trace_id.hex() or '-'} {_text(record.event_name) or '-'}, {len(record.attributes)} attributes"


def _text(raw: bytes) -> str:
    """Foreign text on one line, without anything that a terminal would obey."""
    return ascii(raw[:200].decode(errors="replace"))[1:-1]
