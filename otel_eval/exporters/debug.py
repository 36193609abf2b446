"""Shows on stdout what passes, for looking at a pipeline."""

import sys
from typing import Literal

from otel_eval.config import ExporterConfig
from otel_eval.records import Kind, PartialSuccess
from otel_eval.wire import lens


class DebugExporter:
    """Writes a line for each message, and with `detailed` one for each span and log record."""

    class Config(ExporterConfig, frozen=True, kw_only=True):
        """`verbosity` as in the Collector: basic or detailed."""

        verbosity: Literal["basic", "detailed"] = "basic"

    target = None

    def __init__(self, name: str, config: Config) -> None:
        self._name = name
        self._detailed = config.verbosity == "detailed"

    async def start(self) -> None:
        """See Exporter."""

    async def export(self, kind: Kind, body: bytes) -> PartialSuccess:
        """See Exporter."""
        lines = [f"{self._name}: {lens.count_items(kind, body)} {kind.items.replace('_', ' ')}, {len(body)} bytes"]
        if self._detailed and kind is Kind.TRACES:
            lines += [_span_line(raw) for raw in lens.items(body)]
        elif self._detailed and kind is Kind.LOGS:
            lines += [_log_line(raw) for raw in lens.items(body)]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        return PartialSuccess()

    async def shutdown(self) -> None:
        """See Exporter."""


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
