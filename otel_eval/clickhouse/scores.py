"""Rows of `otel_evaluations` and `otel_eval_judgements`: what judging leaves behind, as tables have it."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from otel_eval.clickhouse.cells import count, finite, minute, nanoseconds, probability, texts, unsigned
from otel_eval.evaluators.evaluator import JudgeUse
from otel_eval.judging.scores import Judgement, Score
from otel_eval.sampling.ledger import MINUTE_NS

_NO_JUDGE: Final = JudgeUse(model="")


class _Row(NamedTuple):
    """One score; `use` is what judging it took, `paid` the same, or nothing where the verdict had been paid for before."""

    of: Judgement
    score: Score
    ordinal: int
    use: JudgeUse
    paid: JudgeUse


def evaluations(judgements: Iterable[Judgement], hop: str) -> dict[str, list[Any]]:
    """The columns of `otel_evaluations`, a row for each score; `hop` is the id of the journal, as in all tables.

    A score whose span is not known has the time of its minute of traffic instead.
    """
    rows = [row for judgement in judgements for row in _rows(judgement)]
    return {
        "SpanTimestamp": [_span_time(row.of, row.score) for row in rows],
        "TraceId": texts(row.of.trace_id for row in rows),
        "SpanId": texts(row.score.span_id for row in rows),
        "ServiceName": texts(row.of.service for row in rows),
        "SpanName": texts(row.score.span_name for row in rows),
        "Scope": [str(row.score.scope) for row in rows],
        "EvaluationName": texts(row.score.name for row in rows),
        "EvaluatorName": texts(row.score.evaluator for row in rows),
        "EvaluatorKind": texts(row.score.kind for row in rows),
        "EvaluatorVersion": texts(row.score.version for row in rows),
        "Ordinal": [row.ordinal for row in rows],
        "Score": [finite(row.score.value) for row in rows],
        "Label": texts(row.score.label for row in rows),
        "Passed": [row.score.passed for row in rows],
        "Explanation": texts(row.score.explanation for row in rows),
        "Evidence": [texts(row.score.evidence) for row in rows],
        "Warnings": [texts(row.score.warnings) for row in rows],
        "Policies": [texts(row.of.reasons) for row in rows],
        "Signals": [texts(row.of.signals) for row in rows],
        **_decision([row.of for row in rows]),
        **_judge(rows),
        "JobId": texts(row.of.job for row in rows),
        "Hop": [hop] * len(rows),
        "ScoredAt": [nanoseconds(row.score.end_ns or row.of.time_ns) for row in rows],
    }


def judgements(judgements: Iterable[Judgement], hop: str) -> dict[str, list[Any]]:
    """The columns of `otel_eval_judgements`, a row for each job."""
    found = list(judgements)
    return {
        "JobId": texts(judgement.job for judgement in found),
        "TraceId": texts(judgement.trace_id for judgement in found),
        "Scope": ["session" if ":session:" in judgement.job else "trace" for judgement in found],
        "State": [str(judgement.state) for judgement in found],
        "Reason": texts(judgement.reason for judgement in found),
        "Tries": [unsigned(judgement.tries, 32) for judgement in found],
        "ServiceName": texts(judgement.service for judgement in found),
        **_decision(found),
        "Results.Evaluator": [texts(result.evaluator for result in judgement.results) for judgement in found],
        "Results.State": [[str(result.state) for result in judgement.results] for judgement in found],
        "Results.Reason": [texts(result.reason for result in judgement.results) for judgement in found],
        "Hop": [hop] * len(found),
        "JudgedAt": [nanoseconds(judgement.time_ns) for judgement in found],
    }


def _rows(judgement: Judgement) -> Iterable[_Row]:
    """The scores, each counted among those of the same name for the same span, as the ids of evaluation spans are."""
    times: Counter[tuple[str, ...]] = Counter()
    for score in judgement.scores:
        identity = (score.span_id, score.scope, score.name, score.version)
        use = score.judge or _NO_JUDGE
        yield _Row(judgement, score, unsigned(times[identity], 16), use, _NO_JUDGE if score.cached else use)
        times[identity] += 1


def _span_time(judgement: Judgement, score: Score) -> int:
    return nanoseconds(score.span_start_ns or judgement.minute * MINUTE_NS or judgement.time_ns)


def _decision(found: list[Judgement]) -> dict[str, list[Any]]:
    """What chose the trace, and where it is counted."""
    return {
        "Model": texts(judgement.model for judgement in found),
        "ServiceVersion": texts(judgement.service_version for judgement in found),
        "PromptVersion": texts(judgement.prompt_version for judgement in found),
        "SessionId": texts(judgement.session_id for judgement in found),
        "Minute": [minute(judgement.minute) for judgement in found],
        "Probability": [probability(judgement.pi) for judgement in found],
        "R": [unsigned(judgement.r) for judgement in found],
        "Policy": texts(judgement.policy for judgement in found),
        "SignalClass": texts(judgement.signal_class for judgement in found),
        "Stratum": texts(judgement.stratum for judgement in found),
        "Revision": [unsigned(judgement.revision, 32) for judgement in found],
    }


def _judge(rows: list[_Row]) -> dict[str, list[Any]]:
    """What judging took."""
    return {
        "JudgeModel": texts(row.use.model for row in rows),
        "JudgeResponseModel": texts(row.use.answered_by for row in rows),
        "Simulated": [row.use.simulated for row in rows],
        "Cached": [row.score.cached for row in rows],
        "InputTokens": [count(row.paid.input_tokens) for row in rows],
        "OutputTokens": [count(row.paid.output_tokens) for row in rows],
        "CacheReadTokens": [count(row.paid.cache_read_tokens) for row in rows],
        "CostUsd": [finite(row.paid.cost_usd) for row in rows],
        "PriceDate": texts(row.paid.price_date for row in rows),
        "LatencyS": [finite(row.paid.latency_s or None) for row in rows],
    }
