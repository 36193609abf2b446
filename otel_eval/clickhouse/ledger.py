"""Rows of the ledger's tables: what became of every trace, and how much traffic there was."""

from collections.abc import Iterable, Mapping
from typing import Any

from otel_eval.clickhouse.cells import (
    finite,
    known,
    milliseconds,
    minute,
    nanoseconds,
    probability,
    signed,
    text,
    texts,
    unsigned,
)  # fmt: skip
from otel_eval.sampling.ledger import Decided, OutcomeSeen, Traffic, Unmatched


def decisions(entries: Iterable[Decided], hop: str) -> dict[str, list[Any]]:
    """The columns of `otel_eval_decisions`; `hop` is the id of the journal, as in all tables."""
    found = list(entries)
    return {
        "TraceId": [entry.trace_id.hex() for entry in found],
        "Revision": [unsigned(entry.revision, 32) for entry in found],
        "DecidedAt": [nanoseconds(entry.time_ns) for entry in found],
        "Minute": [minute(entry.minute) for entry in found],
        "Timestamp": [nanoseconds(entry.start_ns) for entry in found],
        "Duration": [unsigned(entry.duration_ns) for entry in found],
        "ServiceName": texts(entry.service for entry in found),
        "ServiceVersion": texts(entry.service_version for entry in found),
        "Model": texts(entry.model for entry in found),
        "PromptVersion": texts(entry.prompt_version for entry in found),
        "Stratum": texts(entry.stratum for entry in found),
        "SignalClass": texts(entry.signal_class for entry in found),
        "Policy": texts(entry.policy for entry in found),
        "Trigger": [str(entry.trigger) for entry in found],
        "Probability": [probability(entry.pi) for entry in found],
        "OwnProbability": [probability(entry.own_pi) for entry in found],
        "WantedProbability": [probability(entry.wanted) for entry in found],
        "UpstreamProbability": [None if entry.upstream_pi is None else probability(entry.upstream_pi) for entry in found],
        "R": [unsigned(entry.r) for entry in found],
        "RSource": texts(entry.r_source for entry in found),
        "Chosen": [entry.chosen for entry in found],
        "Rates": [{text(policy): probability(rate) for policy, rate in entry.rates.items()} for entry in found],
        "Signals": [_texts(entry.signals) for entry in found],
        "Spans": [unsigned(entry.spans) for entry in found],
        "Complete": [entry.complete for entry in found],
        "Whole": [entry.whole for entry in found],
        "Eligible": [entry.eligible for entry in found],
        "Capped": [entry.capped for entry in found],
        "Unread": [entry.unread for entry in found],
        "Pressure": [unsigned(entry.pressure, 8) for entry in found],
        "Hop": [hop] * len(found),
    }


def traffic(entries: Iterable[Traffic], hop: str) -> dict[str, list[Any]]:
    """The columns of `otel_eval_traffic`. Counts are differences, and may be negative."""
    found = list(entries)
    return {
        "Minute": [minute(entry.minute) for entry in found],
        "FlushedAt": [milliseconds(entry.flushed) for entry in found],
        "ServiceName": texts(entry.service for entry in found),
        "ServiceVersion": texts(entry.service_version for entry in found),
        "Stratum": texts(entry.stratum for entry in found),
        "SignalClass": texts(entry.signal_class for entry in found),
        "Policy": texts(entry.policy for entry in found),
        "Model": texts(entry.model for entry in found),
        "PromptVersion": texts(entry.prompt_version for entry in found),
        "Eligible": [entry.eligible for entry in found],
        "Traces": [signed(entry.traces) for entry in found],
        "Chosen": [signed(entry.chosen) for entry in found],
        "Spans": [signed(entry.spans) for entry in found],
        "Errors": [signed(entry.errors) for entry in found],
        "InputTokens": [signed(entry.input_tokens) for entry in found],
        "OutputTokens": [signed(entry.output_tokens) for entry in found],
        "CostUsd": [known(entry.cost_usd) for entry in found],
        "Latency": [{unsigned(at, 8): signed(count) for at, count in entry.latency.items()} for entry in found],
        "Hop": [hop] * len(found),
    }


def outcomes(entries: Iterable[OutcomeSeen], hop: str) -> dict[str, list[Any]]:
    """The columns of `otel_eval_outcomes`."""
    found = list(entries)
    return {
        "Id": texts(entry.id for entry in found),
        "Time": [nanoseconds(entry.time_ns) for entry in found],
        "GoalId": texts(entry.goal_id for entry in found),
        "TraceId": [entry.trace_id.hex() for entry in found],
        "Success": [entry.success for entry in found],
        "Score": [finite(entry.score) for entry in found],
        "Metadata": [_texts(entry.metadata) for entry in found],
        "Hop": [hop] * len(found),
    }


def unmatched(entries: Iterable[Unmatched], hop: str) -> dict[str, list[Any]]:
    """The columns of `otel_eval_unmatched_feedback`."""
    found = list(entries)
    return {
        "Id": texts(entry.id for entry in found),
        "Target": texts(entry.target for entry in found),
        "Label": texts(entry.label for entry in found),
        "Kind": texts(entry.kind for entry in found),
        "Time": [nanoseconds(entry.time_ns) for entry in found],
        "Hop": [hop] * len(found),
    }


def _texts(values: Mapping[str, str]) -> dict[str, str]:
    return {text(name): text(value) for name, value in values.items()}
