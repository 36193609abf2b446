"""What came of it: the numbers that the report shows, each read from ClickHouse by one of `queries`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, Final

from msgspec import Struct

from otel_eval.analysis.estimate import Estimate, Judged, Variance, post_stratified_mean
from otel_eval.demo import queries
from otel_eval.demo.story import Turn

Ask = Callable[[str], Awaitable[Sequence[tuple[Any, ...]]]]
"""A query's rows."""

_MIN_JUDGED: Final = 10
"""So many judged traces a day make a pass rate worth comparing."""


class Slice(Struct, frozen=True):
    """One slice of traffic: what the estimate says, the mean of what was judged beside it, and what is true."""

    name: str
    estimate: Estimate
    raw_mean: float | None
    truth: float


class Group(Struct, frozen=True):
    """Traces that one policy chose for one reason, with the smallest and the largest probability."""

    policy: str
    signal: str
    traces: int
    chosen: int
    min_pi: float
    max_pi: float


class Fall(Struct, frozen=True):
    """The largest fall of an evaluator's pass rate from one day to the next, and an explanation from the day after."""

    evaluator: str
    day: str
    before: float
    after: float
    why: str


class Agreement(Struct, frozen=True):
    """How often the judge's verdict is the truth, for the traces that it judged."""

    judged: int
    passed_bad: int
    failed_good: int


class Score(Struct, frozen=True):
    """A score of the worst trace."""

    name: str
    kind: str
    value: float | None
    label: str
    explanation: str
    passed: bool | None
    simulated: bool


class Results(Struct, frozen=True):
    """All of it. `chosen` and `with_one_end` are counts of traces; `states` are the terminal ones of jobs."""

    spans: int
    traces: int
    groups: Sequence[Group]
    states: Mapping[str, int]
    chosen: int
    with_one_end: int
    spent_usd: float
    by_version: Sequence[Slice]
    by_day: Sequence[Slice]
    by_intent: Sequence[Slice]
    agreement: Agreement
    fall: Fall | None
    worst: str | None
    worst_scores: Sequence[Score]


async def read(ask: Ask, truth: Mapping[str, Turn]) -> Results:
    """Ask everything; `truth` are the turns by trace id."""
    ((spans, traces),) = await ask(queries.FORWARDED)
    ((_, chosen, with_one_end),) = await ask(queries.ENDS)
    ((spent_usd,),) = await ask(queries.SPENT)
    worst = next((row[0] for row in await ask(queries.WORST)), None)
    turns = truth.values()
    by_version, by_day = await ask(queries.quality("PromptVersion")), await ask(queries.quality("Stratum"))
    return Results(
        spans=spans,
        traces=traces,
        groups=[Group(*row) for row in await ask(queries.CHOSEN)],
        states={state: jobs for state, jobs, _ in await ask(queries.JUDGED)},
        chosen=chosen,
        with_one_end=with_one_end,
        spent_usd=spent_usd or 0.0,
        by_version=[*slices(by_version, turns, lambda turn: turn.prompt_version), _all(by_version, turns)],
        by_day=slices(by_day, turns, lambda turn: f"day {turn.day}"),
        by_intent=slices(await ask(queries.quality("intent")), turns, lambda turn: f"{turn.intent} {turn.prompt_version}"),
        agreement=_agreement(await ask(queries.VERDICTS), truth),
        fall=fall(await ask(queries.BY_DAY_AND_EVALUATOR)),
        worst=worst,
        worst_scores=[] if worst is None else [Score(*row) for row in await ask(queries.scores(worst))],
    )


def slices(rows: Sequence[tuple[Any, ...]], turns: Iterable[Turn], slice_of: Callable[[Turn], str]) -> list[Slice]:
    """The slices of a query for quality, in the order of its rows."""
    good: dict[str, list[bool]] = {}
    for turn in turns:
        good.setdefault(slice_of(turn), []).append(turn.good)
    return [_slice(name, list(of), good.get(name, [])) for name, of in groupby(rows, itemgetter(0))]


def _all(rows: Sequence[tuple[Any, ...]], turns: Iterable[Turn]) -> Slice:
    return _slice("all", rows, [turn.good for turn in turns])


def _slice(name: str, rows: Sequence[tuple[Any, ...]], good: Sequence[bool]) -> Slice:
    """Each policy is a class of its own: its traces had one probability, and are counted whether judged or not."""
    policies = sorted({row[1] for row in rows})
    counted = [sum(row[3] for row in rows if row[1] == policy) for policy in policies]
    scores: list[int] = []
    pi: list[float] = []
    classes: list[int] = []
    for _, policy, probability, _, judged, passed in rows:
        scores += [1] * passed + [0] * (judged - passed)
        pi += [probability] * judged
        classes += [policies.index(policy)] * judged
    estimate = post_stratified_mean(Judged(scores, pi), classes, counted, Variance.DESIGN)
    raw = sum(scores) / len(scores) if scores else None
    return Slice(name, estimate, raw, sum(good) / len(good) if good else 0.0)


def _agreement(rows: Sequence[tuple[Any, ...]], truth: Mapping[str, Turn]) -> Agreement:
    pairs = [(bool(passed), truth[trace_id].good) for trace_id, passed in rows if trace_id in truth]
    return Agreement(
        judged=len(pairs),
        passed_bad=sum(passed and not good for passed, good in pairs),
        failed_good=sum(good and not passed for passed, good in pairs),
    )


def fall(rows: Sequence[tuple[Any, ...]]) -> Fall | None:
    """The largest fall of any evaluator between two days on which enough was judged; None without one."""
    falls = []
    for name, days in groupby(rows, itemgetter(0)):
        enough = [row for row in days if row[2] >= _MIN_JUDGED]
        falls += [Fall(name, now[1], last[3], now[3], now[4]) for last, now in pairwise(enough)]
    return max(falls, key=lambda one: one.before - one.after, default=None)
