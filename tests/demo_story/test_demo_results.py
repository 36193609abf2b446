"""The numbers of the demo's report, from rows as ClickHouse gives them."""

import pytest

from otel_eval.demo.results import fall, slices
from otel_eval.demo.story import Turn, planned

TURNS = [turn for session in planned(7, 100) for turn in session]


def test_an_estimate_weighs_by_policy_and_the_mean_beside_it_does_not() -> None:
    rows = [("v1", "signals", 1.0, 100, 100, 40), ("v1", "strata", 0.25, 800, 200, 180)]
    (one,) = slices(rows, [], lambda turn: turn.prompt_version)
    assert one.estimate.estimate == pytest.approx((100 * 0.4 + 800 * 0.9) / 900)
    assert one.estimate.interval is not None
    assert one.estimate.estimate is not None
    assert one.estimate.interval[0] < one.estimate.estimate < one.estimate.interval[1]
    assert (one.estimate.n, one.estimate.N) == (300, 900)
    assert one.raw_mean == pytest.approx(220 / 300)


def test_what_was_chosen_with_two_probabilities_is_one_class() -> None:
    rows = [("day 1", "strata", 0.25, 400, 100, 50), ("day 1", "strata", 0.5, 200, 100, 50)]
    (one,) = slices(rows, [], lambda turn: turn.session)
    assert one.estimate.estimate == pytest.approx(0.5)
    assert one.estimate.N == 600


def test_little_that_was_judged_gives_no_number() -> None:
    (one,) = slices([("v1", "strata", 0.1, 50, 4, 4)], [], lambda turn: turn.session)
    assert one.estimate.interval is None
    (none,) = slices([("v1", "strata", 0.1, 50, 0, 0)], [], lambda turn: turn.session)
    assert none.raw_mean is None


def test_the_truth_beside_a_slice_is_that_of_its_turns() -> None:
    def version(turn: Turn) -> str:
        return turn.prompt_version

    rows = [(name, "strata", 0.5, 50, 20, 15) for name in ("v1", "v2")]
    for one in slices(rows, TURNS, version):
        good = [turn.good for turn in TURNS if turn.prompt_version == one.name]
        assert one.truth == sum(good) / len(good)


def test_the_largest_fall_from_day_to_day_is_found() -> None:
    rows = [
        ("latency", "day 1", 50, 1.0, ""),
        ("latency", "day 2", 50, 0.95, "slow"),
        ("tool_success", "day 1", 50, 1.0, ""),
        ("tool_success", "day 2", 3, 0.0, "too few to tell"),
        ("tool_success", "day 3", 50, 0.6, "422"),
    ]
    found = fall(rows)
    assert found is not None
    assert (found.evaluator, found.day, found.before, found.after, found.why) == ("tool_success", "day 3", 1.0, 0.6, "422")
    assert fall(rows[:1]) is None
