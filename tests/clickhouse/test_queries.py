"""Each query of the library on a past whose answers were worked out by hand."""

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from otel_eval.clickhouse import queries, scores
from otel_eval.clickhouse.queries import Query
from otel_eval.errors import ConfigError
from tests.clickhouse import history
from tests.clickhouse.conftest import Database
from tests.clickhouse.history import DAY, MIDNIGHT, Trace, shop_of_two_days
from tests.clickhouse.test_query_estimates import ask

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
stored_shop, shop = history.stored_shop, history.shop


async def test_the_library_is_documented() -> None:
    assert len(queries.names()) == 16
    for name in queries.names():
        query = queries.load(name)
        assert 20 < len(query.summary) < 160
        assert "-- Columns\n" in query.sql
        assert "{include" not in query.sql
        assert "{arguments}" not in query.sql
        named = {parameter.name for parameter in query.parameters}
        used = {used.partition(":")[0] for used in query.sql.split("{")[1:]}
        assert named == used, name
        for parameter in query.parameters:
            assert f"{{{parameter.name}:{parameter.type}}}" in query.sql, (name, parameter)


async def test_every_query_runs_where_there_is_nothing(database: Database) -> None:
    await history.store(database, [])
    for name in queries.names():
        given = {"trace_id": "0" * 32} if name == "trace" else {}
        query = queries.load(name)
        found = await database.reader.query(query.sql, query.values(given, NOW))
        assert list(found.rows) == [], name


async def test_every_column_is_documented(shop: Database) -> None:
    for name in queries.names():
        query = queries.load(name)
        given = {"trace_id": f"{1:032x}"} if name == "trace" else {}
        window = {"since": str(MIDNIGHT * 60), "until": str((MIDNIGHT + 2 * DAY) * 60)} if name != "trace" else {}
        found = await shop.reader.query(query.sql, query.values({**window, **given}))
        assert found.rows, name
        for column in found.names:
            assert any(documents(line, column) for line in query.sql.splitlines()), (name, column)


def documents(line: str, column: str) -> bool:
    return line.startswith("--   ") and column in line[5:].partition("  ")[0].replace(",", " ").split()


async def test_quality_by_slice(shop: Database) -> None:
    by_day = {(row["Service"], row["Evaluation"], row["Day"].day): row for row in await ask(shop, "quality_by_day")}
    assert by_day["shop", "context_relevance", 22]["Estimate"] == 0.5
    assert by_day["shop", "context_relevance", 22]["Traces"] == 150
    den = by_day["den", "task_completion", 21]
    assert (den["Traces"], den["Judged"], den["Chosen"], den["Covered"], den["Estimate"]) == (2, 1, 1, 0.5, None)
    by_model = await ask(shop, "quality_by_model", evaluations="factual_grounding", since=str((MIDNIGHT + DAY) * 60))
    assert [(row["Model"], row["Judged"], row["RawMean"]) for row in by_model] == [("m-0", 75, 1.0), ("m-1", 75, 0.8)]
    assert [row["State"] for row in by_model] == ["insufficient_data"] * 2
    by_prompt = await ask(shop, "quality_by_prompt_version", evaluations="context_relevance")
    assert [(row["PromptVersion"], row["RawMean"]) for row in by_prompt] == [("0", 0.9), ("1", 0.5)]
    by_service = await ask(shop, "quality_by_service", evaluations="task_completion", service="shop")
    assert [(row["Service"], row["Traces"], row["RawMean"]) for row in by_service] == [("shop", 300, 0.8)]
    versions = await ask(shop, "quality_by_service_version", evaluations="task_completion")
    assert [(row["Service"], row["ServiceVersion"], row["Chosen"]) for row in versions] == [("den", "", 1), ("shop", "", 300)]


async def test_what_changed(database: Database) -> None:
    judged = shop_of_two_days()
    await history.store(database, judged)
    window = {"since": str(MIDNIGHT * 60), "until": str((MIDNIGHT + 2 * DAY) * 60)}
    rows = {row["Evaluation"]: row for row in await ask(database, "changed_since_yesterday", service="shop", **window)}
    assert {name: row["Change"] for name, row in rows.items()} == {
        "context_relevance": "worse", "factual_grounding": "none", "task_completion": "none",
    }  # fmt: skip
    worse = rows["context_relevance"]
    assert math.isclose(worse["Difference"], -0.4)
    assert worse["DifferenceLow"] < -0.4 < worse["DifferenceHigh"] < 0
    assert math.isclose(worse["DifferenceHigh"] - worse["DifferenceLow"], 2 * 1.9599639845400545 * worse["Error"])
    await database.client.command("TRUNCATE TABLE otel_evaluations")
    renewed = [msgspec.structs.replace(one, evaluator_version="v2") if one.minute >= MIDNIGHT + DAY else one for one in judged]
    columns = scores.evaluations([history.judgement(trace) for trace in renewed], history.HOP)
    await database.client.insert_columns("otel_evaluations", columns)
    rows = {row["Evaluation"]: row for row in await ask(database, "changed_since_yesterday", **window)}
    assert {row["Change"] for row in rows.values()} == {"judge_changed"}


async def test_whether_retriever_or_generator_moved(shop: Database) -> None:
    rows = await ask(shop, "retrieval_against_groundedness")
    assert [(row["Day"].day, row["Moved"]) for row in rows] == [(21, "insufficient_data"), (22, "retriever")]
    assert math.isclose(rows[1]["RetrievalChange"], -0.4)
    assert (rows[1]["Retrieval"], rows[1]["Grounding"], rows[1]["GroundingJudged"]) == (0.5, 0.9, 150)
    swapped = await ask(shop, "retrieval_against_groundedness", evaluations="factual_grounding,context_relevance")
    assert [row["Moved"] for row in swapped] == ["insufficient_data", "generator"]


async def test_what_it_costs(shop: Database) -> None:
    row = (await ask(shop, "cost_per_passed_task", service="shop"))[0]
    assert math.isclose(row["UsdPerPassed"], 0.1 / 0.8)
    assert math.isclose(row["UsdPerTrace"], 0.1)
    assert math.isclose(row["JudgeUsd"], 150 * 3 * 0.002)
    assert row["Low"] < row["UsdPerPassed"] < row["High"]
    spend = await ask(shop, "judge_spend", service="shop")
    assert len(spend) == 2 * 3
    assert (spend[0]["Scores"], spend[0]["Model"], spend[0]["InputTokens"], spend[0]["LatencyS"]) == (150, "judge", 1500, 2.0)
    assert math.isclose(spend[0]["Usd"], 0.3)
    assert math.isclose(spend[0]["UsdPerScore"], 0.002)


async def test_how_much_was_judged(database: Database) -> None:
    traces = [*shop_of_two_days(), *(Trace(number=9000 + n, chosen=n < 4, pi=0.4, policy="strata") for n in range(10))]
    await history.store(database, traces)
    await database.client.command("ALTER TABLE otel_eval_judgements DELETE WHERE TraceId = {id:String}",
                                  {"id": f"{9000:032x}"}, {"mutations_sync": 1})  # fmt: skip
    rows = {(row["Service"], row["Policy"]): row for row in await ask(database, "judged_share")}
    baseline, strata, bot = rows["shop", "baseline"], rows["shop", "strata"], rows["bot", "baseline"]
    assert (baseline["Traces"], baseline["Chosen"], baseline["Scored"], baseline["Waiting"]) == (300, 300, 300, 0)
    assert (strata["Traces"], strata["Chosen"], strata["Ended"], strata["Waiting"]) == (10, 4, 3, 1)
    assert (strata["ChosenShare"], strata["Response"], strata["States"]) == (0.4, 0.75, {"scored": 3})
    assert (bot["Ended"], bot["Scored"], bot["States"]) == (1, 0, {"expired": 1})


async def test_a_trace_that_feedback_has_moved_counts_where_its_latest_decision_has_put_it(database: Database) -> None:
    moved = [Trace(number=9100 + n, pi=1.0, policy="signals", values={"grounded": 0.0}) for n in range(20)]
    others = [Trace(number=9200 + n, pi=0.5, chosen=n % 2 == 0, values={"grounded": 1.0}) for n in range(400)]
    await history.store(database, [*moved, *others])
    expected = await ask(database, "quality_by_service"), await ask(database, "judged_share")
    before = [msgspec.structs.replace(history.judgement(one), policy="baseline", pi=0.5) for one in moved]
    for table, columns in (("otel_evaluations", scores.evaluations), ("otel_eval_judgements", scores.judgements)):
        await database.client.insert_columns(table, columns(before, "hop"))
    stored = "SELECT count() FROM otel_evaluations FINAL WHERE Policy = 'baseline' AND Score = 0"
    assert (await database.client.query(stored)).rows == [(20,)]
    assert (await ask(database, "quality_by_service"), await ask(database, "judged_share")) == expected
    assert expected[0][0]["Estimate"] == pytest.approx(400 / 420)


async def test_signals_and_outcomes(shop: Database) -> None:
    signals = await ask(shop, "signals_by_day")
    assert [(row["Signal"], row["Traces"], row["AllTraces"], row["Chosen"]) for row in signals] == [
        ("slow", 10, 150, 10), ("slow", 10, 150, 10),
    ]  # fmt: skip
    assert math.isclose(signals[0]["Share"], 10 / 150)
    outcomes = await ask(shop, "outcomes_by_day", service="shop")
    assert [(row["Outcomes"], row["Succeeded"], row["Failed"], row["Agreed"]) for row in outcomes] == [(50, 40, 10, 50)] * 2
    other = await ask(shop, "outcomes_by_day", evaluations="factual_grounding")
    assert (other[0]["Compared"], other[0]["Agreed"], other[0]["FalsePasses"], other[0]["FalseFailures"]) == (50, 35, 10, 5)


async def test_single_traces_with_their_text(shop: Database) -> None:
    worst = await ask(shop, "worst_traces", rows="3")
    assert [(row["Failed"], row["TraceId"]) for row in worst] == [(2, f"{number:032x}") for number in (1, 11, 21)]
    assert (worst[1]["Asked"], worst[1]["Answered"]) == ("question 11", "answer 11")
    assert worst[0]["Why"].splitlines() == [f"{name}: {name} is 0" for name in ("context_relevance", "task_completion")]
    assert (worst[0]["Scores"]["factual_grounding"], worst[0]["Weight"]) == (1.0, 1.0)
    (slowest,) = await ask(shop, "slow_traces", rows="1", text_length="8")
    assert (slowest["Seconds"], slowest["Asked"], slowest["Signals"]) == (149.0, "question", ["slow"])
    assert slowest["Slowest"] == {"chat m-1": 0.5}
    steps = await ask(shop, "step_compounding", since=str(MIDNIGHT * 60), until=str((MIDNIGHT + DAY) * 60))
    found = [{name: value for name, value in row.items() if isinstance(value, int | float)} for row in steps]
    assert [row["Tools"] for row in steps] == [["search"], ["book"]]
    whole = {"Traces": 100, "Passed": 0.8, "Judged": 100}
    assert found == [
        {"Step": 1, "StepSuccess": 0.9, "Product": 0.9, "AllWorked": 0.9, **whole},
        {"Step": 2, "StepSuccess": 0.8, "Product": pytest.approx(0.72), "AllWorked": 0.8, **whole},
    ]
    query = queries.load("trace")
    rows = (await shop.reader.query(query.sql, query.values({"trace_id": f"{11:032X}"}))).rows
    assert [row[1] for row in rows] == ["outcome", "span", "decision", *["span"] * 3, "judgement", *["score"] * 3]
    assert {row[2] for row in rows if row[1] == "score"} == {"context_relevance", "factual_grounding", "task_completion"}


@pytest.mark.parametrize(
    ("text", "found"),
    [("now", NOW.timestamp() + 1), ("7 days ago", NOW.timestamp() - 7 * 86400), ("1 hour ago", NOW.timestamp() - 3600),
     ("2026-01-31T12:00:00Z", NOW.timestamp()), ("2026-01-31T13:00:00+01:00", NOW.timestamp()), ("17", 17),
     ("2026-01-31", 1769817600)],
)  # fmt: skip
def test_times(text: str, found: int) -> None:
    assert queries.time_value("since", text, NOW) == f"{found:010.0f}"


@pytest.mark.parametrize(
    "text", ["", "yesterday", "-1", "99999999999", "2026-13-01", "999999999 days ago", "9999-12-31T00:00:00Z"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match=r"since: .*expected"):
        queries.time_value("since", text, NOW)


def test_mistakes_are_told() -> None:
    with pytest.raises(ConfigError, match="did you mean quality_by_day"):
        queries.load("quality_by_dya")
    for hostile in ("", "../schema/001_otel_traces", "_estimate", "x" * 10_000):
        with pytest.raises(ConfigError, match="no query has that name"):
            queries.load(hostile)
    query: Query = queries.load("trace")
    with pytest.raises(ConfigError, match="trace: expected a value for trace_id"):
        query.values({})
    with pytest.raises(ConfigError, match=r"no parameter 'service' \(it has: trace_id"):
        query.values({"service": "x"})


async def test_texts_of_every_convention(database: Database) -> None:
    message = '[{"role":"system","content":"no"},{"role":"user","parts":[{"type":"text","content":"a"},{"type":"x"}]}]'
    cases: list[tuple[dict[str, str], str]] = [
        ({"input.value": "by OpenInference"}, "by OpenInference"),
        ({"traceloop.entity.input": "by OpenLLMetry"}, "by OpenLLMetry"),
        ({"gen_ai.input.messages": '[{"role":"user","content":"flat"}]'}, "flat"),
        ({"gen_ai.input.messages": message}, "a"),
        ({"gen_ai.input.messages": "[" * 10_000}, ""),
        ({"gen_ai.input.messages": '[{"role":"user","parts":7}]', "input.value": "rest"}, "rest"),
    ]
    traces = [Trace(number=number, values={"passing": 0.0}) for number in range(len(cases))]
    await history.store(database, traces)
    spans: dict[str, list[Any]] = {
        "Timestamp": [trace.start_ns for trace in traces],
        "TraceId": [trace.id for trace in traces],
        "SpanAttributes": [attributes for attributes, _ in cases],
    }
    await database.client.insert_columns("otel_traces", spans)
    assert [row["Asked"] for row in await ask(database, "worst_traces")] == [asked for _, asked in cases]


async def test_a_value_never_becomes_sql(shop: Database) -> None:
    hostile: Any = "' OR 1=1 --\n\\'"
    assert await ask(shop, "quality_by_day", service=hostile) == []
    assert await ask(shop, "quality_by_day", evaluations=f"{hostile},]") == []
    assert await ask(shop, "judged_share", service=hostile) == []
