"""The cap: never more than the room, and a probability that is the one with which a trace is chosen."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_eval.config.sampling import Cap as Settings
from otel_eval.config.values import PositiveDuration
from otel_eval.sampling.cap import Candidate, Cap, Room, Spent, bottom_k, resolve
from otel_eval.sampling.randomness import SPACE

MINUTE, HOUR, DAY = 60 * 10**9, 3600 * 10**9, 86400 * 10**9
START = 20_000 * DAY
RATES = st.sampled_from([(0.0, 0.0), (0.02, 0.0), (0.1, 0.1), (0.3, 0.1), (0.55, 0.1), (1.0, 0.1), (1.0, 1.0)])
ROOMS = st.integers(0, 6).flatmap(lambda total: st.builds(Room, st.just(1.0), st.just(total), st.integers(0, total)))
SPLIT = [
    [Room(1.0, 2, 1)],
    [Room(1.0, 3, 0)],
    [Room(1.0, 2, 2)],
    [Room(0.75, 0, 0), Room(0.25, 1, 1)],
    [Room(0.3, 1, 0), Room(0.5, 1, 1), Room(0.2, 2, 1)],
]


def candidates(draws: Sequence[tuple[float, tuple[float, float]]], chosen: Sequence[bool] = ()) -> list[Candidate]:
    """Candidates of (u, (rate wanted, rate of the baseline))."""
    flags = itertools.chain(chosen, itertools.repeat(False))
    return [Candidate(u, wanted, base, flag) for (u, (wanted, base)), flag in zip(draws, flags, strict=False)]


def below_own(window: Sequence[Candidate], own: int, rooms: Sequence[Room]) -> tuple[float, float]:
    """For which share of all its own numbers a candidate is chosen, the others staying as they are, and what is reported.

    Exact: whether it is chosen changes only where its number passes the rank of another, or its own rates.
    """
    me = window[own]
    rates = [rate for rate in (me.wanted, me.baseline) if rate > 0]
    ranks = [other.u / rate for other in window for rate in (other.wanted, other.baseline) if rate > 0]
    edges = sorted({0.0, 1.0, *rates, *(point for rate in rates for rank in ranks if (point := rate * rank) < 1)})
    share, reported = 0.0, set()
    for low, high in itertools.pairwise(edges):
        moved = [*window[:own], me._replace(u=(low + high) / 2), *window[own + 1 :]]
        for realised, room in enumerate(rooms):
            found = resolve(moved, rooms, realised)[own]
            reported.add(found.probability)
            share += room.probability * found.chosen * (high - low)
    (probability,) = reported  # whatever its own number
    return share, probability


@pytest.mark.parametrize("rooms", SPLIT)
def test_every_candidate_of_a_small_window_is_chosen_with_the_probability_that_is_reported(rooms: list[Room]) -> None:
    rates = [(1.0, 0.25), (0.4, 0.25), (0.25, 0.25), (0.25, 0.0)]
    for numbers in itertools.product((0.03, 0.11, 0.24, 0.38, 0.77), repeat=3):
        window = candidates(list(zip((0.5, *numbers), rates, strict=True)))
        for own in range(4):
            share, probability = below_own(window, own, rooms)
            assert share == pytest.approx(probability, abs=1e-12)


@given(
    st.lists(st.tuples(st.integers(1, 20).map(lambda n: n / 20), RATES), min_size=1, max_size=9),
    st.lists(st.booleans(), max_size=9),
    st.one_of(st.sampled_from(SPLIT), ROOMS.map(lambda room: [room])),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_moving_the_number_of_any_candidate_moves_nothing_but_its_choice(
    draws: list[tuple[float, tuple[float, float]]], chosen: list[bool], rooms: list[Room], data: st.DataObject
) -> None:
    window = candidates(draws, chosen)
    own = data.draw(st.integers(0, len(window) - 1))
    share, probability = below_own(window, own, rooms)
    assert share == pytest.approx(1.0 if window[own].chosen else probability, abs=1e-12)
    assert probability <= window[own].wanted


@given(
    st.lists(st.tuples(st.sampled_from([2**-56, 0.05, 0.1, 0.3, 0.55, 1.0]) | st.floats(2**-56, 1), RATES), max_size=30),
    st.lists(st.booleans(), max_size=30),
    ROOMS,
)
@settings(max_examples=300, deadline=None)
def test_there_is_never_more_than_the_room_and_what_is_wanted_fills_it(
    draws: list[tuple[float, tuple[float, float]]], chosen: list[bool], room: Room
) -> None:
    window = candidates(draws, chosen)
    found = bottom_k(window, room.total, room.baseline)
    new = sum(one.chosen and not before.chosen for one, before in zip(found, window, strict=True))
    wanting = [one for one in window if one.u <= one.wanted and not one.chosen]
    assert new <= room.total
    for one, before in zip(found, window, strict=True):
        assert one.chosen if before.chosen else not (one.chosen and before.u > before.wanted)
    numbers = [one.u for one in window]
    ranks = [one.u / one.wanted for one in wanting]
    base = [one.u / one.baseline for one in window if one.baseline]
    if all(len({*several}) == len(several) for several in (numbers, ranks, base)):  # of equals at the end none is chosen
        assert new == min(room.total, len(wanting))


@given(st.integers(1, SPACE), st.sampled_from([0.02, 0.05, 0.3, 1.0]) | st.floats(1e-9, 1), st.integers(1, 4))
def test_equal_numbers_do_not_break_the_cap(number: int, rate: float, total: int) -> None:
    """Several traces may share an `rv`; u / rate * rate is often not u again."""
    same = [Candidate(number / SPACE, rate, rate / 2)] * 5
    assert sum(one.chosen for one in bottom_k(same, total, 0)) == 0
    assert sum(one.chosen for one in bottom_k(same, total, total)) == 0
    assert sum(one.chosen for one in bottom_k(same, 5, 2)) == 5 * (number / SPACE <= rate)


def test_all_are_chosen_by_their_rate_where_there_is_room() -> None:
    window = candidates([(0.02, (0.02, 0.02)), (0.021, (0.02, 0.02)), (1.0, (1.0, 0.02)), (2**-56, (0.0, 0.0))])
    found = bottom_k(window, 4, 1)
    assert [one.chosen for one in found] == [True, False, True, False]
    assert [one.probability for one in found] == [0.02, 0.02, 1.0, 0.0]


def test_there_may_be_no_room_and_no_candidate() -> None:
    assert bottom_k([], 3, 1) == []
    assert bottom_k(candidates([(2**-56, (1.0, 1.0))]), 0, 0) == [(0.0, False)]


def test_the_baseline_has_its_share_among_any_number_of_signals() -> None:
    rng = np.random.default_rng(3)
    numbers = 1 - rng.random(400)
    window = candidates([(float(u), (1.0 if n % 4 else 0.1, 0.1)) for n, u in enumerate(numbers)])
    lowest = set(np.argsort(numbers)[:6].tolist())
    chosen = {index for index, one in enumerate(bottom_k(window, 20, 6)) if one.chosen}
    assert lowest < chosen
    assert len(chosen) == 20
    assert not lowest <= {index for index, one in enumerate(bottom_k(window, 3, 0)) if one.chosen}


def test_room_that_the_baseline_does_not_use_goes_to_the_others() -> None:
    window = candidates([(0.5, (1.0, 0.1)), (0.6, (1.0, 0.1)), (0.7, (1.0, 0.1))])
    assert [one.chosen for one in bottom_k(window, 2, 2)] == [True, True, False]


def test_what_was_chosen_before_takes_no_room_but_gets_its_probability() -> None:
    draws = [(0.2, (1.0, 0.1)), (0.3, (1.0, 0.1)), (0.4, (1.0, 0.1))]
    assert bottom_k(candidates(draws, [True]), 1, 0) == [(0.3, True), (0.4, True), (0.3, False)]
    assert [one.chosen for one in bottom_k(candidates(draws), 1, 0)] == [True, False, False]


BUDGET = st.none() | st.integers(1, 2000)


@given(
    st.tuples(BUDGET, BUDGET, BUDGET).filter(any),
    st.integers(0, 2000),
    st.sampled_from([1, 5, 10, 60]),
    st.integers(0, 86399),
    st.sampled_from([0.0, 0.3, 0.35, 1 / 3, 1.0]) | st.floats(0, 1),
)
def test_the_rooms_of_a_window_make_its_part_of_what_is_left(
    budgets: tuple[int | None, ...], spent: int, window_s: int, second: int, share: float
) -> None:
    names, lengths = ("per_minute", "per_hour", "per_day"), (60, 3600, 86400)
    begun = second - second % window_s
    state = {
        name: Spent(START + (begun - begun % length) * 10**9, min(spent, budget or 0))
        for name, budget, length in zip(names, budgets, lengths, strict=True)
    }
    left = {name: budget - state[name].chosen for name, budget in zip(names, budgets, strict=True) if budget is not None}
    windows = {name: (length - begun % length) / window_s for name, length in zip(names, lengths, strict=True)}
    part = min(left[name] / windows[name] for name in left)
    configured = dict(zip(names, budgets, strict=True))
    cap = Cap(Settings(**configured, window=PositiveDuration(window_s), baseline_share=share), state)
    rooms, realised = cap.rooms(START + begun * 10**9)
    assert 0 <= realised < len(rooms)
    assert math.fsum(room.probability for room in rooms) == pytest.approx(1.0, abs=1e-12)
    assert all(room.probability > 0 and 0 <= room.baseline <= room.total <= min(left.values()) for room in rooms)
    assert math.fsum(room.probability * room.total for room in rooms) == pytest.approx(part, abs=1e-7)
    assert math.fsum(room.probability * room.baseline for room in rooms) == pytest.approx(part * share, abs=1e-7)


def test_rooms_come_as_often_as_their_probability_says() -> None:
    drawn = Counter[Room]()
    configured = Settings(per_minute=7, window=PositiveDuration(10), baseline_share=0.4)
    for minute in range(6000):
        rooms, realised = Cap(configured, {}).rooms(START + minute * MINUTE)
        drawn[rooms[realised]] += 1
    probabilities = {(room.total, room.baseline): round(room.probability, 6) for room in drawn}
    assert probabilities == {(1, 0): 0.533333, (1, 1): 0.3, (2, 1): 0.166667}
    for room, count in drawn.items():
        assert abs(count - 6000 * room.probability) < 3.5 * math.sqrt(6000 * room.probability * (1 - room.probability))


@pytest.mark.parametrize(
    ("configured", "days"),
    [({"per_hour": 7, "per_day": 100}, 2), ({"per_day": 50}, 2), ({"per_minute": 3, "per_hour": 120}, 1), ({"per_minute": 1}, 1)],
)
def test_budgets_are_hard_used_up_and_leave_estimates_unbiased(configured: dict[str, int], days: int) -> None:
    """Traffic of 15 traces a minute, all of them wanted by some rate, for days; the estimate is of their number."""
    rng = np.random.default_rng(11)
    cap = Cap(msgspec.convert(configured, Settings), {})
    rates = [(1.0, 0.05), (0.3, 0.05), (0.05, 0.05)] * 5
    chosen = Counter[tuple[str, int]]()
    estimate = variance = 0.0
    for minute in range(days * 1440):
        window = candidates(list(zip((1 - rng.random(15)).tolist(), rates, strict=True)))
        for one in cap.choose(window, START + minute * MINUTE):
            if one.chosen:
                chosen.update([("per_minute", minute), ("per_hour", minute // 60), ("per_day", minute // 1440)])
                estimate += 1 / one.probability
                variance += (1 - one.probability) / one.probability**2
    for name, budget in configured.items():
        assert max(count for (period, _), count in chosen.items() if period == name) <= budget
    of_days = min(budget * {"per_day": 1, "per_hour": 24, "per_minute": 1440}[name] for name, budget in configured.items())
    assert sum(count for (period, _), count in chosen.items() if period == "per_day") > 0.97 * days * of_days
    assert abs(estimate - days * 1440 * 15) < 3 * math.sqrt(variance)


def test_what_was_spent_outlives_the_process_and_ends_with_its_period() -> None:
    spent: dict[str, Spent] = {}
    window = candidates([(0.1 * n, (1.0, 0.1)) for n in range(1, 9)])
    assert sum(one.chosen for one in Cap(Settings(per_hour=5), spent).choose(window, START + HOUR - MINUTE)) == 5
    assert not any(one.chosen for one in Cap(Settings(per_hour=5), spent).choose(window, START + HOUR - MINUTE))
    assert Cap(Settings(per_hour=5), spent).rooms(START + HOUR + 59 * MINUTE)[0] == [Room(0.5, 5, 1), Room(0.5, 5, 2)]
    chosen_before = [one._replace(chosen=True) for one in window[:3]]
    Cap(Settings(per_hour=5), spent).choose([*chosen_before, *window[3:5]], START + HOUR + 59 * MINUTE)
    assert spent["per_hour"].chosen == 2
