"""The story of the demo: the same for the same seed, and it tells what it should."""

from collections.abc import Iterable
from itertools import chain, pairwise
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_eval.demo import shop
from otel_eval.demo.intents import Flaw
from otel_eval.demo.story import DAYS, Turn, planned

TURNS = [turn for session in planned(7, 3000) for turn in session]


def share(turns: Iterable[Turn], flaw: Flaw) -> float:
    return mean(turn.flaw is flaw for turn in turns)


def of(version: str, *days: int) -> list[Turn]:
    return [turn for turn in TURNS if turn.prompt_version == version and turn.day in days]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 120))
def test_the_same_seed_tells_the_same_story_of_exactly_so_many_traces(seed: int, traces: int) -> None:
    told = planned(seed, traces)
    assert told == planned(seed, traces)
    assert sum(map(len, told)) == traces


def test_another_seed_tells_another_story() -> None:
    assert planned(1, 50) != planned(2, 50)


def test_days_pass_and_each_has_its_share() -> None:
    days = [session[0].day for session in planned(7, 3000)]
    assert days == sorted(days)
    assert set(days) == set(range(1, DAYS + 1))
    assert all(1 / 12 < mean(turn.day == day for turn in TURNS) < 1 / 3 for day in range(1, DAYS + 1))


def test_sessions_have_several_turns_that_know_what_was_said_before() -> None:
    sessions = planned(7, 500)
    assert max(map(len, sessions)) >= 3
    for session in sessions:
        assert len({(turn.session, turn.prompt_version, turn.day) for turn in session}) == 1
        for last, turn in pairwise(session):
            assert turn.history == (*last.history, ("user", last.asked), ("assistant", last.answer))


def test_the_api_changes_on_day_three() -> None:
    uses = [(turn.day, use) for turn in TURNS for use in turn.uses]
    assert {use.error for day, use in uses if day < shop.SCHEMA_CHANGES_ON_DAY} == {None}
    failed = [use for _, use in uses if use.error is not None]
    assert failed
    assert all("order_id" in use.arguments and "order_number" in (use.error or "") for use in failed)
    assert all(("order_number" in use.arguments) == (use.result is not None) for day, use in uses if day >= 3)


def test_the_second_version_reads_the_new_description_more_often() -> None:
    wrong = {
        version: mean(turn.uses[0].error is not None for turn in of(version, 3, 4, 5, 6) if turn.uses) for version in ("v1", "v2")
    }
    assert wrong["v1"] > 2 * wrong["v2"] > 0


def test_more_and_more_figures_are_invented_by_v2_fewer() -> None:
    assert share(of("v1", 5, 6), Flaw.INVENTED) > 2 * share(of("v1", 1, 2), Flaw.INVENTED)
    assert share(of("v1", 5, 6), Flaw.INVENTED) > 1.5 * share(of("v2", 5, 6), Flaw.INVENTED)


def test_v2_claims_more_often_what_it_has_not_done() -> None:
    every_day = range(1, DAYS + 1)
    assert share(of("v2", *every_day), Flaw.CLAIMED) > 5 * share(of("v1", *every_day), Flaw.CLAIMED)
    assert not any(turn.uses for turn in TURNS if turn.flaw is Flaw.CLAIMED)


def test_an_answer_is_good_when_nothing_is_wrong_with_it() -> None:
    assert all(turn.good is (turn.flaw is None and not (turn.uses and turn.uses[-1].error)) for turn in TURNS)
    assert 0.6 < mean(turn.good for turn in TURNS) < 0.9


@pytest.mark.parametrize("opinion", [True, False])
def test_thumbs_tell_of_the_truth_but_are_wrong_at_times(opinion: bool) -> None:
    pressed = [turn.good for turn in TURNS if turn.opinion is opinion]
    assert 0.6 < mean(good is opinion for good in pressed) < 1 or opinion
    assert len(pressed) > 50


def test_some_press_regenerate() -> None:
    pairs = chain.from_iterable(pairwise(session) for session in planned(7, 1000))
    assert sum(last.asked == turn.asked for last, turn in pairs) > 20
