"""The small values that move between parts."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an OTLP request carries; also the name of its journal log and the last part of its HTTP path."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"

    @property
    def items(self) -> str:
        """What is counted in it, as the Collector's metric names spell it."""
        return _ITEMS[self]

    @property
    def service(self) -> str:
        """The gRPC service with the method `Export` for it."""
        return f"opentelemetry.proto.collector.{_PACKAGE[self]}.v1.{_PACKAGE[self].capitalize()}Service"


_PACKAGE = {Kind.TRACES: "trace", Kind.LOGS: "logs", Kind.METRICS: "metrics"}
_ITEMS = {Kind.TRACES: "spans", Kind.LOGS: "log_records", Kind.METRICS: "metric_points"}


class OwnKind(StrEnum):
    """What the hop writes into its journal about the traffic; also the name of the log.

    `ledger`: decisions, traffic counts and outcomes, see `sampling.ledger`. `evaluations`: what judging came to, see
    `judging.scores`. `held`: spans that wait for their scores, see `holding`.
    """

    LEDGER = "ledger"
    EVALUATIONS = "evaluations"
    HELD = "held"

    @property
    def items(self) -> str:
        """What is counted in it."""
        return _OWN_ITEMS[self]


_OWN_ITEMS = {OwnKind.LEDGER: "ledger_entries", OwnKind.EVALUATIONS: "scores", OwnKind.HELD: "held_spans"}


class Place(StrEnum):
    """Where the trace stands that feedback or an outcome is about."""

    OPEN = "open"
    DECIDED = "decided"
    TOO_LATE = "too_late"
    UNKNOWN = "unknown"


class Sync(StrEnum):
    """When accepted requests are written through to the disk; see the journal's docstring."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class PartialSuccess:
    """What a receiving side took: everything but `rejected` items; `message` is its reason or a warning."""

    rejected: int = 0
    message: str = ""
