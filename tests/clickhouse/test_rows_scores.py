"""Rows of scores and of the ledger: where the contract has them, and stored whatever the records hold."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_eval.clickhouse import ledger, schema, scores
from otel_eval.evaluators.evaluator import JudgeUse, Scope
from otel_eval.judging import emit
from otel_eval.judging.scores import Judgement, Result, Score, State
from otel_eval.sampling.ledger import MINUTE_NS, Decided, OutcomeSeen, Traffic, Unmatched
from otel_eval.traces.entry import Trigger
from tests import strategies
from tests.clickhouse.conftest import Database
from tests.clickhouse.rows import insert, rows
from tests.spans import START_NS

MINUTE = START_NS // MINUTE_NS
START = datetime.fromtimestamp(START_NS // 10**9, UTC)
AT_MINUTE = datetime.fromtimestamp(MINUTE * 60, UTC)
HOP = "0123456789abcdef"

TEXTS = st.text(st.characters(), max_size=4) | st.sampled_from(["\ud800", "\0", "'; DROP TABLE otel_traces; --"])
NUMBERS = st.sampled_from([-(2**70), -1, 0, 1, 255, 256, 2**31, 2**32, 2**63, 2**64, 2**70])
TIMES = st.sampled_from([-1, 0, START_NS, START_NS + 86400 * 10**9, 2**63, 2**70])  # few days: each is a part on disk
STRATEGIES: Mapping[Any, st.SearchStrategy[Any]] = {
    str: TEXTS, float: st.floats(), int: NUMBERS, bool: st.booleans(), bytes: st.binary(max_size=20),
    tuple[str, ...]: st.lists(TEXTS, max_size=2).map(tuple), dict[str, str]: st.dictionaries(TEXTS, TEXTS, max_size=2),
    dict[str, float]: st.dictionaries(TEXTS, st.floats(), max_size=2),
    dict[int, int]: st.dictionaries(NUMBERS, NUMBERS, max_size=2),
    Scope: st.sampled_from(Scope), State: st.sampled_from(State), Trigger: st.sampled_from(Trigger),
}  # fmt: skip


def hostile(record: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Records with anything in every field."""
    fields = {}
    for field in msgspec.structs.fields(record):
        optional = getattr(field.type, "__args__", ())[-1:] == (type(None),)
        kind = field.type.__args__[0] if optional else field.type
        if field.name in {"time_ns", "start_ns", "end_ns", "span_start_ns"}:
            strategy: st.SearchStrategy[Any] = TIMES
        elif field.name == "flushed":
            strategy = st.sampled_from([-1, 0, MINUTE * 60_000, 2**62])
        elif field.name == "minute":
            strategy = st.sampled_from([-1, 0, MINUTE, MINUTE + 1, 2**40])
        elif kind in STRATEGIES:
            strategy = STRATEGIES[kind]
        else:
            strategy = hostile(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else _several(kind)
        fields[field.name] = st.none() | strategy if optional else strategy
    return st.builds(record, **fields)


def _several(kind: Any) -> st.SearchStrategy[Any]:
    return st.lists(hostile(kind.__args__[0]), max_size=2).map(tuple)


def examples(strategy: st.SearchStrategy[Any]) -> list[Any]:
    found = []

    @settings(strategies.PROPERTY, max_examples=30)
    @given(strategy)
    def collect(one: Any) -> None:
        found.append(one)

    collect()
    return found


Columns = dict[str, list[Any]]
TABLES: dict[str, tuple[type[msgspec.Struct], Callable[[Sequence[Any], str], Columns]]] = {
    "otel_evaluations": (Judgement, scores.evaluations),
    "otel_eval_judgements": (Judgement, scores.judgements),
    "otel_eval_decisions": (Decided, ledger.decisions),
    "otel_eval_traffic": (Traffic, ledger.traffic),
    "otel_eval_outcomes": (OutcomeSeen, ledger.outcomes),
    "otel_eval_unmatched_feedback": (Unmatched, ledger.unmatched),
}


async def test_records_that_hold_anything_are_stored(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database=database.name))
    for table, (record, columns) in TABLES.items():
        found = examples(hostile(record))
        made = columns(found, HOP)
        await database.client.command(f"CREATE TABLE {table}_all AS {table} ENGINE = Memory")  # keeps rows of one key
        await insert(database, table, made)
        await insert(database, f"{table}_all", made)
        assert made["Hop"]
        assert await rows(database, f"{table}_all", "count(), min(Hop), max(Hop)") == [(len(made["Hop"]), HOP, HOP)]
        assert columns([], HOP) == {name: [] for name in made}


def judgement(**more: Any) -> Judgement:
    return Judgement(
        job="j", trace_id="01" * 16, revision=2, state=State.SCORED, time_ns=START_NS + 9, service="shop", minute=MINUTE,
        pi=0.25, r=2**55, policy="errors", reasons=("errors", "baseline"), signals=("loop",), signal_class="loop", **more,
    )  # fmt: skip


def score(**more: Any) -> Score:
    return Score(name="faithful", evaluator="judge", kind="llm", version="v1", scope=Scope.SPAN, span_id="02" * 8, **more)


async def test_a_score_is_stored_with_its_decision_and_its_cost(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database=database.name))
    use = JudgeUse(model="small", answered_by="small-1", input_tokens=10, cost_usd=0.5, price_date="2026-01-01", latency_s=2.0)
    first = score(
        value=0.5, label="partly", passed=False, judge=use, span_start_ns=START_NS, span_name="chat", end_ns=START_NS + 5
    )
    one = judgement(scores=(first, score(value=0.75, judge=use, cached=True)))
    await insert(database, "otel_evaluations", scores.evaluations([one], HOP))
    what = (
        "SpanTimestamp, SpanName, Ordinal, Score, Label, Passed, InputTokens, CostUsd, PriceDate, LatencyS, Cached, "
        "JudgeModel, Policies, Probability, R, Minute, toUnixTimestamp64Nano(ScoredAt) - 1700000000000000000, Revision"
    )
    decision = (["errors", "baseline"], 0.25, 2**55, AT_MINUTE)
    assert await rows(database, "otel_evaluations", what, "Ordinal") == [
        (START, "chat", 0, 0.5, "partly", False, 10, 0.5, "2026-01-01", 2.0, False, "small", *decision, 5, 2),
        (AT_MINUTE, "", 1, 0.75, "", None, None, None, "", None, True, "small", *decision, 9, 2),
    ]


def test_ordinals_count_what_the_ids_of_evaluation_spans_tell_apart() -> None:
    same, other = score(value=1.0), score(value=1.0, span_start_ns=5)
    one = judgement(scores=(same, Score(**{**msgspec.structs.asdict(other), "version": "v2"}), other, same))
    found = scores.evaluations([one, one], HOP)
    assert found["Ordinal"] == [0, 0, 1, 2] * 2
    keys = set(zip(found["TraceId"], found["SpanId"], found["EvaluatorVersion"], found["Ordinal"], strict=True))
    assert len(keys) == len(set(emit.span_ids(one))) == 4


def test_what_is_not_known() -> None:
    unknown = Judgement(job="j", trace_id="", revision=0, state=State.DEAD_LETTER, time_ns=7, scores=(score(value=float("nan")),))
    found = scores.evaluations([unknown], HOP)
    assert (found["SpanTimestamp"], found["Score"], found["JudgeModel"], found["Minute"]) == ([7], [None], [""], [0])


async def test_a_job_is_stored_with_the_results_of_its_evaluators(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database=database.name))
    results = (Result(evaluator="a", state=State.SCORED), Result(evaluator="b", state=State.JUDGE_REFUSED, reason="no"))
    session = msgspec.structs.replace(judgement(results=results, tries=3), job="01:session:2")
    await insert(database, "otel_eval_judgements", scores.judgements([judgement(), session], HOP))
    what = "Scope, State, Tries, `Results.Evaluator`, `Results.State`, `Results.Reason`, JudgedAt"
    assert await rows(database, "otel_eval_judgements", what, "Tries") == [
        ("trace", "scored", 1, [], [], [], START),
        ("session", "scored", 3, ["a", "b"], ["scored", "judge_refused"], ["", "no"], START),
    ]


async def test_the_ledger_is_stored(database: Database) -> None:
    await schema.apply(database.client, schema.Target(database=database.name))
    decided = Decided(
        trace_id=b"\x01" * 16, time_ns=START_NS, revision=1, trigger=Trigger.IDLE, pi=0.5, own_pi=1.0, wanted=0.75, r=7,
        r_source="tracestate", chosen=True, rates={"errors": 0.5}, signals={"loop": "twice"}, minute=MINUTE, duration_ns=5,
    )  # fmt: skip
    cell = Traffic(minute=MINUTE, flushed=(MINUTE + 1) * 60_000, service="shop", traces=-1, cost_usd=-0.5, latency={31: -1, 0: 2})
    seen = OutcomeSeen(id="o", time_ns=START_NS, goal_id="g", success=True, metadata={"k": "v"})
    lost = Unmatched(id="u", time_ns=START_NS, target="t", kind="rating", label="good")
    await insert(database, "otel_eval_decisions", ledger.decisions([decided], HOP))
    await insert(database, "otel_eval_traffic", ledger.traffic([cell], HOP))
    await insert(database, "otel_eval_outcomes", ledger.outcomes([seen], HOP))
    await insert(database, "otel_eval_unmatched_feedback", ledger.unmatched([lost], HOP))
    what = "TraceId, DecidedAt, Minute, Trigger, Probability, UpstreamProbability, R, Rates, Signals, Duration, Chosen, Whole"
    expected = ("01" * 16, START, AT_MINUTE, "idle", 0.5, None, 7, {"errors": 0.5}, {"loop": "twice"}, 5, True, True)
    assert await rows(database, "otel_eval_decisions", what) == [expected]
    counted = (AT_MINUTE, AT_MINUTE + timedelta(minutes=1), "shop", -1, -0.5, {31: -1, 0: 2})
    assert await rows(database, "otel_eval_traffic", "Minute, FlushedAt, ServiceName, Traces, CostUsd, Latency") == [counted]
    assert await rows(database, "otel_eval_outcomes", "Id, GoalId, TraceId, Success, Score, Metadata, Hop") == [
        ("o", "g", "", True, None, {"k": "v"}, HOP)
    ]
    assert await rows(database, "otel_eval_unmatched_feedback", "Id, Target, Kind, Label, Time") == [
        ("u", "t", "rating", "good", START)
    ]
