"""Rates by stratum: fixed ones, and those that follow the traffic to so many judged traces a day."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from otel_eval.config.sampling import Strata as Settings
from otel_eval.sampling.policies.strata import OTHER, State, Strata
from tests.sampling.deciders import CHAT, TOOL, decided, decider, facts
from tests.spans import span

NOTHING = facts(span(CHAT))
DAY = 1440
START = 29_000_000


def by_values(*names: str, **more: Any) -> Strata:
    return Strata(msgspec.convert({"by": names, **more}, Settings), None)


@pytest.mark.parametrize(
    ("stratum", "rate"),
    [("shop/gold", 0.9), ("shop/free", 0.5), ("pay/gold", 0.3), ("pay/free", 0.1), ("", 0.1), ("a/b/c", 0.1), ("Shop/gold", 0.3)],
)
def test_of_fixed_rates_the_first_that_fits_counts(stratum: str, rate: float) -> None:
    by = by_values("a", "b", rates={"shop/gold": 0.9, "shop/*": 0.5, "*/gold": 0.3, "*": 0.1})
    assert by.rate(NOTHING, stratum) == rate
    assert by_values("a", "b", rates={"x/*": 1.0}).rate(NOTHING, stratum) == 0.0
    assert by_values("a").rate(NOTHING, stratum) == 0.0  # traffic is counted by stratum, and that is all


def test_a_stratum_is_made_of_attributes_resources_and_what_the_view_says() -> None:
    items = [
        span({**CHAT, "tier": "gold", "gen_ai.prompt.version": "7"}, resource={"service.name": "shop"}),
        span(TOOL, identity=2, parent=1, failed=True),
        span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "clerk"}, identity=3, parent=1),
    ]
    names = ("service.name", "tier", "model", "prompt_version", "agent", "signal_class", "nothing")
    assert by_values(*names).stratum(facts(*items)) == "shop/gold/m/7/clerk/tool_error/-"


@pytest.mark.parametrize(
    ("value", "stratum"),
    [
        ("a/b", "a_b"),
        ("", "-"),
        (None, "-"),
        (17, "17"),
        (2.5, "2.5"),
        (["x"], "-"),
        ("x" * 5000, "x" * 100),
        ("\x00\n*", "\x00\n*"),
    ],
)
def test_values_of_any_sort_make_one_part_of_a_stratum(value: Any, stratum: str) -> None:
    assert by_values("k").stratum(facts(span({**CHAT, "k": value}))) == stratum


def traffic(rng: np.random.Generator, per_day: float, minute: int, *, first_day: int = 0) -> int:
    """Traces of a stratum in a minute: five times as many at the height of the day as in the depth of the night."""
    if minute < first_day * DAY:
        return 0
    return int(rng.poisson(per_day / DAY * (1 + 2 / 3 * math.sin(2 * math.pi * minute / DAY))))


def test_the_target_is_met_by_every_stratum_on_every_day() -> None:
    """Ten days of strata of all sizes, one of them new on the fifth, with a restart on the seventh."""
    rng = np.random.default_rng(1)
    strata = {"large": (20_000.0, 0), "middle": (2_000.0, 0), "small": (60.0, 0), "rare": (1.0, 0), "new": (5_000.0, 4)}
    settings = Settings(by=("tier",), target_per_day=100)
    by = Strata(settings, None)
    judged = {name: np.zeros(10) for name in strata}
    came = {name: np.zeros(10) for name in strata}
    for minute in range(10 * DAY):
        if minute == 6 * DAY + 17:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(by.state), type=State)
            by = Strata(settings, state)
        by.roll(START + minute)
        for name, (per_day, first_day) in strata.items():
            count, rate = traffic(rng, per_day, minute, first_day=first_day), by.rate(NOTHING, name)
            for _ in range(count):
                by.learn(NOTHING, name)
            assert by.rate(NOTHING, name) == rate  # fixed until the minute is over
            judged[name][minute // DAY] += count * rate
            came[name][minute // DAY] += count
    for name in ("large", "middle"):
        assert (np.abs(judged[name][1:] - 100) < 12).all(), judged[name]
        assert 80 < judged[name][0] < 170, judged[name]
    assert (judged["small"] == came["small"]).all()
    assert (judged["rare"] == came["rare"]).all()
    assert 80 < judged["new"][4] < 170
    assert (np.abs(judged["new"][5:] - 100) < 12).all(), judged["new"]


def test_a_rate_is_the_target_over_what_a_day_brings() -> None:
    by = by_values("tier", target_per_day=50)
    for minute in range(2 * DAY):
        by.roll(START + minute)
        by.learn(NOTHING, "a")
        by.learn(NOTHING, "a")
    by.roll(START + 2 * DAY)
    assert by.rate(NOTHING, "a") == pytest.approx(50 / 2880)
    assert by.rate(NOTHING, "never seen") == 1.0


def test_what_was_never_seen_has_rate_1_until_the_minute_is_over() -> None:
    by = by_values("tier", target_per_day=50)
    by.roll(START)
    for _ in range(100):
        by.learn(NOTHING, "a")
    assert by.rate(NOTHING, "a") == 1.0
    by.roll(START + 1)
    assert by.rate(NOTHING, "a") == pytest.approx(50 / (100 * DAY))


def test_what_is_gone_for_a_week_is_forgotten() -> None:
    by = by_values("tier", target_per_day=1)
    by.roll(START)
    for _ in range(1000):
        by.learn(NOTHING, "a")
    by.roll(START + 6 * DAY)
    assert by.rate(NOTHING, "a") == pytest.approx(6 / 1000)
    by.learn(NOTHING, "b")
    by.roll(START + 7 * DAY + 60)
    assert by.rate(NOTHING, "a") == 1.0
    assert set(by.state.seen) == {"b"}
    assert by.rate(NOTHING, "b") == pytest.approx(min(1, (1 + 1 / 24) / 1))


def test_more_strata_than_there_may_be_are_one() -> None:
    by = decider(strata={"by": ["user"], "target_per_day": 10, "max_strata": 3})
    by.roll(START)
    found = [decided(by, span({**CHAT, "user": f"u{n % 50}"})).stratum for n in range(200)]
    assert set(found) == {"u0", "u1", "u2", OTHER}
    assert found.count(OTHER) == 188
    by.roll(START + 1)
    assert decided(by, span({**CHAT, "user": "u0"})).rates["strata"] == pytest.approx(10 / (4 * DAY))
    late = decided(by, span({**CHAT, "user": "u49"}))
    assert late.stratum == OTHER
    assert late.rates["strata"] == pytest.approx(10 / (188 * DAY))
    assert len(by.states["strata"].seen) == 4


def test_each_minute_costs_as_much_as_there_are_strata_and_hours() -> None:
    by = by_values("tier", target_per_day=10, max_strata=50)
    for hour in range(24 * 9):
        by.roll(START + hour * 60)
        for n in range(5):
            by.learn(NOTHING, f"s{n}")
    assert all(len(seen.hours) <= 7 * 24 for seen in by.state.seen.values())
    assert len(msgspec.msgpack.encode(by.state)) < 5 * 7 * 24 * 12
