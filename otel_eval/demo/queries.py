# ruff: noqa: S608 - nothing from outside goes into a query but an id that was read as a number
"""The questions to ClickHouse from which every number of the demo's report comes; each can be asked by hand as it stands."""

from typing import Final, Literal

COMPOSITE: Final = "quality_4d"

_DECISIONS: Final = """(
    SELECT * FROM otel_eval_decisions FINAL
    WHERE Eligible ORDER BY Revision DESC LIMIT 1 BY TraceId
)"""

FORWARDED: Final = """
SELECT count() AS spans, uniqExact(TraceId) AS traces
FROM otel_traces WHERE ScopeName != 'otel_eval'
"""

CHOSEN: Final = f"""
SELECT Policy, SignalClass, count() AS traces, countIf(Chosen) AS chosen, min(Probability), max(Probability)
FROM {_DECISIONS}
GROUP BY Policy, SignalClass ORDER BY Policy, traces DESC
"""

JUDGED: Final = """
SELECT State, count() AS jobs, uniqExact(TraceId) AS traces
FROM otel_eval_judgements FINAL
GROUP BY State ORDER BY jobs DESC
"""

ENDS: Final = f"""
SELECT count() AS decided, countIf(Chosen) AS chosen, countIf(Chosen AND jobs = 1) AS with_one_end
FROM {_DECISIONS} AS decision
LEFT JOIN (
    SELECT TraceId, count() AS jobs FROM otel_eval_judgements FINAL GROUP BY TraceId
) AS judgement USING (TraceId)
"""

SPENT: Final = "SELECT sum(CostUsd) FROM otel_evaluations FINAL"

VERDICTS: Final = f"""
    SELECT TraceId, Passed FROM otel_evaluations FINAL
    WHERE EvaluationName = '{COMPOSITE}' AND isNotNull(Passed)
    ORDER BY Revision DESC, ScoredAt DESC LIMIT 1 BY TraceId
"""

_INTENTS: Final = """JOIN (
    SELECT TraceId, SpanAttributes['shop.intent'] AS intent FROM otel_traces WHERE ParentSpanId = ''
) AS root USING (TraceId)
"""

BY_DAY_AND_EVALUATOR: Final = f"""
SELECT EvaluationName, decision.Stratum AS day, count() AS judged,
    sum(Passed / decision.Probability) / sum(1 / decision.Probability) AS pass_rate,
    minIf(Explanation, NOT Passed) AS why
FROM (SELECT * FROM otel_evaluations FINAL) AS evaluation
JOIN {_DECISIONS} AS decision USING (TraceId)
WHERE EvaluatorKind = 'code' AND isNotNull(Passed)
GROUP BY EvaluationName, day ORDER BY EvaluationName, day
"""

WORST: Final = """
SELECT TraceId, countIf(NOT Passed) AS failed, avgIf(Score, EvaluatorKind = 'llm') AS by_judge
FROM otel_evaluations FINAL
GROUP BY TraceId ORDER BY failed DESC, by_judge, TraceId LIMIT 1
"""


def quality(slice_by: Literal["PromptVersion", "Stratum", "intent"]) -> str:
    """How many traces of each slice and policy there were, how many of them were judged, and passed.

    An intent is that of the agent's root span, and is told apart by version.
    """
    by_intent = slice_by == "intent"
    name, joined = ("concat(intent, ' ', PromptVersion)", _INTENTS) if by_intent else (slice_by, "")
    return f"""
SELECT {name} AS slice, Policy, Probability, count() AS traces,
    countIf(isNotNull(Passed)) AS judged, countIf(Passed) AS passed
FROM {_DECISIONS} AS decision
{joined}LEFT JOIN ({VERDICTS.rstrip()}
) AS verdict USING (TraceId)
GROUP BY slice, Policy, Probability ORDER BY slice, Policy, Probability
"""


def scores(trace_id: str) -> str:
    """All scores of one trace; the id is hexadecimal."""
    return f"""
SELECT EvaluationName, EvaluatorKind, Score, Label, Explanation, Passed, Simulated
FROM otel_evaluations FINAL WHERE TraceId = '{int(trace_id, 16):032x}'
ORDER BY Passed, EvaluatorKind DESC, EvaluationName
"""
