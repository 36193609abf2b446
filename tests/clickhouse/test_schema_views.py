"""Scores beside their spans, and added up by the hour."""

import math
import random
import time
from collections import defaultdict
from typing import Any

from otel_eval.clickhouse import schema
from otel_eval.clickhouse.client import ClickHouse
from tests.clickhouse.conftest import Database
from tests.clickhouse.spans_of_tests import insert, span

NOW = time.time_ns()
HOUR = 3600


async def score(client: ClickHouse, **columns: Any) -> None:
    """A score of span 1, changed by `columns`."""
    row = {
        "SpanTimestamp": NOW, "TraceId": f"{1:032x}", "SpanId": f"{1:016x}", "ServiceName": "shop", "Scope": "span",
        "EvaluationName": "groundedness", "EvaluatorVersion": "1", "Score": 0.5, "Label": "", "Passed": True,
        "Explanation": "because", "Minute": NOW // 10**9 // 60 * 60, "Probability": 0.25, "ScoredAt": NOW,
    } | columns  # fmt: skip
    await client.insert_columns("otel_evaluations", {name: [value] for name, value in row.items()})


async def test_spans_have_their_latest_scores_and_the_reader_sees_them(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database.name))
    await insert(database.client, "otel_traces_in", [span(number, start=NOW) for number in (1, 2)], "spans")
    await score(database.client)
    await score(database.client, Score=0.75, ScoredAt=NOW + 1)  # again: it replaces
    await score(database.client, EvaluatorVersion="0", Score=0.1, ScoredAt=NOW - 1)  # an earlier version of the evaluator
    await score(database.client, Ordinal=1, Score=0.2, ScoredAt=NOW + 1)  # the first of several counts
    await score(database.client, EvaluationName="verdict", Score=None, Label="bad", Passed=False, Explanation="")
    await score(database.client, EvaluationName="unsaid", Score=None, Label="", Passed=None, Explanation="", Probability=0.0)
    await score(database.client, TraceId="none such")
    columns = "Scores, Labels, Passed, Explanations, Probabilities, SpanName, Duration"
    rows = (await database.reader.query(f"SELECT {columns} FROM otel_traces_scored ORDER BY TraceId")).rows
    assert rows == [
        (
            {"groundedness": 0.75},
            {"verdict": "bad"},
            {"groundedness": True, "verdict": False},
            {"groundedness": "because"},
            {"groundedness": 0.25, "verdict": 0.25, "unsaid": 0.0},
            "chat",
            5,
        ),
        ({}, {}, {}, {}, {}, "chat", 5),
    ]


async def test_a_filter_on_the_trace_reaches_both_sides_of_the_join(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database.name))
    sql = "EXPLAIN indexes = 1 SELECT Scores FROM otel_traces_scored WHERE TraceId = 'a'"
    plan = "\n".join(row[0] for row in (await database.reader.query(sql)).rows)
    assert plan.count("Filter column: TraceId = 'a'") == 2, plan


def added_up(rows: list[dict[str, Any]]) -> dict[str, float]:
    weights = [1 / row["Probability"] if row["Probability"] else 0.0 for row in rows]
    scored = [(w, row["Score"]) for w, row in zip(weights, rows, strict=True) if row["Score"] is not None]
    verdicts = [(w, row["Passed"]) for w, row in zip(weights, rows, strict=True) if row["Passed"] is not None]
    passed = [w for w, has_passed in verdicts if has_passed]
    return {
        "Scores": len(scored), "Weight": sum(w for w, _ in scored), "Weight2": sum(w * w for w, _ in scored),
        "Score": sum(y for _, y in scored), "Score2": sum(y * y for _, y in scored),
        "WeightScore": sum(w * y for w, y in scored), "WeightScore2": sum(w * y * y for w, y in scored),
        "Weight2Score": sum(w * w * y for w, y in scored), "Weight2Score2": sum(w * w * y * y for w, y in scored),
        "Verdicts": len(verdicts), "VerdictWeight": sum(w for w, _ in verdicts),
        "VerdictWeight2": sum(w * w for w, _ in verdicts),
        "Passed": len(passed), "WeightPassed": sum(passed), "Weight2Passed": sum(w * w for w in passed),
    }  # fmt: skip


async def refreshed(database: Database) -> dict[tuple[int, str, str], dict[str, float]]:
    for action in ("REFRESH", "WAIT"):
        await database.client.command(f"SYSTEM {action} VIEW otel_eval_scores_hourly_mv")
    names = list(added_up([]))
    sql = f"SELECT toUnixTimestamp(Hour), EvaluationName, Stratum, {', '.join(names)} FROM otel_eval_scores_hourly FINAL"
    rows = (await database.reader.query(sql)).rows
    return {row[:3]: dict(zip(names, row[3:], strict=True)) for row in rows}


async def test_hours_add_up_what_counts_now(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database.name))
    rng = random.Random(7)
    now = NOW // 10**9
    rows: list[dict[str, Any]] = [
        {
            "SpanTimestamp": NOW, "TraceId": f"{number:032x}", "SpanId": "", "ServiceName": "shop", "EvaluatorVersion": "1",
            "EvaluationName": rng.choice(["a", "b"]), "Stratum": rng.choice(["x", "y"]), "ScoredAt": NOW,
            "Score": rng.choice([None, 0.0, 0.25, 1.0]), "Passed": rng.choice([None, False, True]),
            "Probability": rng.choice([0.0, 0.1, 1.0]), "Minute": (now - rng.randrange(3) * HOUR) // 60 * 60,
        }
        for number in range(200)
    ]  # fmt: skip
    await database.client.insert_columns("otel_evaluations", {name: [row[name] for row in rows] for name in rows[0]})

    async def compare() -> dict[tuple[int, str, str], dict[str, float]]:
        cells = defaultdict(list)
        for row in rows:
            cells[row["Minute"] // HOUR * HOUR, row["EvaluationName"], row["Stratum"]].append(row)
        found = await refreshed(database)
        for cell in found.keys() | cells.keys():
            for name, value in added_up(cells.get(cell, [])).items():
                assert math.isclose(found[cell][name], value, rel_tol=1e-9), (cell, name)
        return found

    assert all(cell["Verdicts"] for cell in (await compare()).values())
    for row in rows:  # decided anew: every score moves to another stratum, and is made again
        row |= {"Stratum": "z", "ScoredAt": NOW + 1}
    await database.client.insert_columns("otel_evaluations", {name: [row[name] for row in rows] for name in rows[0]})
    assert any(cell["Verdicts"] == 0 for cell in (await compare()).values())
    await database.client.insert_columns("otel_evaluations", {
        **{name: [rows[0][name]] for name in rows[0]}, "Score": [math.nan], "TraceId": ["nan"], "Passed": [None],
    })  # fmt: skip
    await compare()
