"""What queries say of all traffic is what `analysis` says."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from otel_eval.analysis.estimate import Estimate, Judged, State, Variance, post_stratified_mean
from otel_eval.clickhouse import ledger, queries, scores
from tests.clickhouse import history
from tests.clickhouse.conftest import Database
from tests.clickhouse.history import DAY, MIDNIGHT, Trace

Row = dict[str, Any]
FIRST_DAY = datetime.fromtimestamp(MIDNIGHT * 60, UTC).toordinal()


async def ask(database: Database, name: str, **given: str) -> list[Row]:
    query = queries.load(name)
    window = {"since": str(MIDNIGHT * 60), "until": str((MIDNIGHT + 30 * DAY) * 60)}
    values = query.values({**window, **given})
    found = await database.reader.query(query.sql, values)
    return [dict(zip(found.names, row, strict=True)) for row in found.rows]


def expected(traces: Iterable[Trace], evaluation: str, merge_below: float, *, bounded: bool) -> Estimate:
    """What the oracle makes of one slice, with its small classes merged."""
    counted: dict[Any, int] = defaultdict(int)
    judged: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for trace in traces:
        names = (trace.policy, trace.stratum, trace.signal_class)
        counted[names] += 1
        if evaluation in trace.values:
            judged[names].append((trace.values[evaluation], trace.pi))
    merged: dict[Any, tuple[int, list[tuple[float, float]]]] = {}
    for names, number in counted.items():
        weights = [1 / pi for _, pi in judged[names]]
        effective = sum(weights) ** 2 / sum(w * w for w in weights) if weights else 0.0
        into = None if len(weights) < number and effective < merge_below else names
        before = merged.get(into, (0, []))
        merged[into] = (before[0] + number, before[1] + judged[names])
    rows = [(at, y, pi) for at, (_, scores) in enumerate(merged.values()) for y, pi in scores]
    classes, y, pi = ([row[column] for row in rows] for column in range(3))
    sizes = [number for number, _ in merged.values()]
    return post_stratified_mean(Judged(y, pi), classes, sizes, Variance.PROCESS, bounded=bounded)


def same(found: float | None, wanted: float | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-12)


def compare(row: Row, wanted: Estimate) -> None:
    normal = wanted.interval if wanted.interval_method == "normal" else None
    assert same(row["Estimate"], wanted.estimate), (row, wanted)
    assert same(row["StandardError"], wanted.standard_error), (row, wanted)
    assert same(row["Low"], normal and normal[0]), (row, wanted)
    assert same(row["High"], normal and normal[1]), (row, wanted)
    assert row["State"] == ("ok" if normal else "insufficient_data")
    assert (row["Judged"], row["Traces"]) == (wanted.n, wanted.N)
    assert same(row["Effective"], wanted.n_eff)
    assert same(row["LargestWeight"], wanted.largest_weight_share)


@pytest.mark.parametrize("merge_below", ["0", "10"])
async def test_every_slice_is_what_the_oracle_says(database: Database, merge_below: str) -> None:
    services = [f"s{number}" for number in range(8)]
    traces = history.many(int(merge_below), 2, services)
    others = [history.Trace(number=10**6 + n, service="s1", policy=policy, values={"passing": 0.0, "grade": 0.0, "latency": 1.0},
                            eligible=False) for n, policy in enumerate(["asked", "session"])]  # fmt: skip
    await history.store(database, [*traces, *others])
    again = ledger.traffic(reversed(list(history.traffic(traces))), history.HOP)  # as after a crash: the same flushes
    await database.client.insert_columns("otel_eval_traffic", again)
    slices: dict[tuple[str, int], list[Trace]] = defaultdict(list)
    for trace in traces:
        slices[trace.service, (trace.minute - MIDNIGHT) // DAY].append(trace)
    rows = await ask(database, "quality_by_day", merge_below=merge_below)
    seen: set[str] = set()
    for row in rows:
        of_slice = slices[row["Service"], (row["Day"].toordinal() - FIRST_DAY)]
        wanted = expected(of_slice, row["Evaluation"], float(merge_below), bounded=row["Evaluation"] != "latency")
        compare(row, wanted)
        values = [trace.values[row["Evaluation"]] for trace in of_slice if row["Evaluation"] in trace.values]
        assert same(row["RawMean"], sum(values) / len(values))
        assert row["Chosen"] == sum(trace.chosen for trace in of_slice)
        assert same(row["Response"], len(values) / row["Chosen"])
        if wanted.state is State.INSUFFICIENT_DATA and row["Needed"] is not None:
            assert row["Needed"] >= (wanted.needed_n or 0)
        seen |= {f"{row['State']} {row['Evaluation']}", f"{row['Estimate'] is None} {row['Covered'] < 1}"}
    judged = {(place, name) for place, of_slice in slices.items() for trace in of_slice for name in trace.values}
    assert len(rows) == len(judged)
    assert seen >= {f"{state} {name}" for state in ("ok", "insufficient_data") for name in ("passing", "grade", "latency")}
    assert "True True" in seen


def class_of(numbers: range, judged: int, pi: float, score: float, **names: Any) -> Sequence[Trace]:
    """Traces of one class, the first ones judged."""
    return [
        Trace(number=number, pi=pi, chosen=at < judged, values={"passing": score} if at < judged else {}, **names)
        for at, number in enumerate(numbers)
    ]


async def test_failures_that_are_judged_more_often_do_not_spoil_the_estimate(database: Database) -> None:
    signalled = [Trace(number=n, policy="signals", signals=("error",), values={"passing": float(n % 2)}) for n in range(1, 201)]
    quiet = [
        Trace(number=1000 + n, pi=0.1, chosen=n < 180, values={"passing": float(n < 170)} if n < 180 else {}) for n in range(1800)
    ]
    await history.store(database, [*signalled, *quiet])
    (row,) = await ask(database, "quality_by_day")
    assert same(row["Estimate"], 0.1 * 0.5 + 0.9 * 170 / 180)
    assert same(row["RawMean"], 270 / 380)
    assert (row["State"], row["Judged"], row["Traces"], row["Covered"], row["Chosen"]) == ("ok", 380, 2000, 1.0, 380)
    assert row["Low"] < row["Estimate"] < row["High"]
    assert 0.85 < row["Low"]


@pytest.mark.parametrize("name", ["cost", "latency/fast", "time_to_first_token"])
async def test_dollars_and_seconds_below_one_have_an_interval_of_their_own_size(database: Database, name: str) -> None:
    traces = [
        Trace(number=n, pi=0.25, chosen=n % 4 == 0, values={name: 0.0004 + n % 7 * 1e-5} if n % 4 == 0 else {})
        for n in range(1200)
    ]
    await history.store(database, traces)
    (row,) = await ask(database, "quality_by_day")
    compare(row, expected(traces, name, 10, bounded=False))
    assert row["High"] - row["Low"] < 1e-5
    (row,) = await ask(database, "quality_by_day", measure="passed")
    assert row["Low"] == row["Estimate"] == 0 < row["High"], "whether they passed is 1 or 0 as ever"


async def test_classes_that_nobody_judged_are_told(database: Database) -> None:
    judged, unknown = class_of(range(1, 301), 150, 0.5, 1.0), class_of(range(500, 600), 0, 0.01, 0.0, stratum="b")
    await history.store(database, [*judged, *unknown])
    (row,) = await ask(database, "quality_by_day", merge_below="0")
    assert (row["Estimate"], row["State"], row["Needed"]) == (None, "insufficient_data", 100)
    assert (row["Covered"], row["Traces"]) == (0.75, 400)


async def test_how_many_are_enough(database: Database) -> None:
    numbers = iter(range(10**6))
    traces = [
        Trace(number=next(numbers), service=f"{judged:03}", pi=0.1, chosen=at < judged,
              values={"passing": float(at % 2)} if at < judged else {})
        for judged in (9, 10, 99, 100)
        for at in range(1000)
    ]  # fmt: skip
    await history.store(database, traces)
    rows = await ask(database, "quality_by_day", merge_below="0")
    assert [(row["Estimate"] is None, row["Low"] is None, row["State"], row["Needed"]) for row in rows] == [
        (True, True, "insufficient_data", 91), (False, True, "insufficient_data", 90), (False, True, "insufficient_data", 1),
        (False, False, "ok", 0),
    ]  # fmt: skip


async def test_a_class_that_was_judged_whole_counts_each_trace_once(database: Database) -> None:
    traces = [Trace(number=n, pi=1.0 if n % 2 else 0.5, values={"passing": float(n % 2)}) for n in range(200)]
    await history.store(database, traces)
    (row,) = await ask(database, "quality_by_day")
    compare(row, expected(traces, "passing", 10, bounded=True))
    assert (row["Estimate"], row["Effective"], row["LargestWeight"]) == (0.5, 200, 1 / 200)


async def test_rates_of_passing_and_scores_of_a_later_version(database: Database) -> None:
    old = [Trace(number=n, values={"grade": 0.0}, evaluator_version="v1") for n in range(1, 121)]
    await history.store(database, old)
    new = [Trace(number=n, values={"grade": 0.25 + 0.5 * (n % 2)}, evaluator_version="v2") for n in range(1, 121)]
    judged = [history.judgement(trace) for trace in new]
    later = [msgspec.structs.replace(one, revision=1) for one in judged]
    columns = scores.evaluations(later, history.HOP)
    replaced = {"Score": [0.9] * len(new), "ScoredAt": [time - 1 for time in columns["ScoredAt"]]}
    await database.client.insert_columns("otel_evaluations", columns)
    await database.client.insert_columns("otel_evaluations", {**columns, **replaced})
    (score,) = await ask(database, "quality_by_day")
    (rate,) = await ask(database, "quality_by_day", measure="passed")
    assert (score["Judged"], score["Versions"], score["State"]) == (120, 1, "ok")
    assert same(score["Estimate"], 0.5)
    assert same(rate["Estimate"], 0.5)
    assert rate["StandardError"] > 1.5 * score["StandardError"]


async def test_counts_that_are_not_written_yet_do_no_harm(database: Database) -> None:
    await history.store(database, [Trace(number=n, values={"passing": float(n % 2)}) for n in range(1, 121)])
    await database.client.command("TRUNCATE TABLE otel_eval_traffic")
    (row,) = await ask(database, "quality_by_day")
    assert (row["Traces"], row["Judged"], row["Estimate"], row["State"]) == (120, 120, 0.5, "ok")
    assert row["Response"] is None
