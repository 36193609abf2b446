"""The words of `otel-eval explain` for what a ledger may hold."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.inspection.explain import explain
from otel_eval.journal import Journal
from otel_eval.records import OwnKind, Sync
from otel_eval.sampling.ledger import Decided, Traffic, encode
from otel_eval.sampling.randomness import SPACE
from tests.inspection.explaining import has
from tests.sampling.rig import ident

NAMES = {"type": "decided", "trace_id": ident(1), "trigger": "root", "r_source": "hash", "policy": "p"}


def of_entries(directory: Path, *entries: dict[str, Any]) -> str:
    """What is said of the decisions about trace 1 when the ledger holds these."""
    numbers = {"time_ns": 5, "r": 0, "pi": 0.5, "own_pi": 0.5, "wanted": 0.5, "chosen": False}
    made = [msgspec.convert({**NAMES, **numbers, "revision": at, **entry}, Decided) for at, entry in enumerate(entries)]
    journal = Journal(directory, 1 << 26, Sync.NEVER)
    journal.append(OwnKind.LEDGER, encode([Traffic(minute=1), *made]), 1)
    journal.logs[OwnKind.LEDGER].close()
    return "\n".join(explain(ident(1).hex(), directory))


UNIT = st.integers(1, 64).map(lambda n: n / 64)


@given(UNIT, UNIT, UNIT, st.booleans(), st.booleans())
def test_the_words_fit_the_numbers(u: float, wanted: float, left: float, chosen: bool, before: bool) -> None:
    """Whatever a cap leaves: a room that is rounded may choose a trace above its probability, and not choose one below."""
    own_pi = wanted * left
    chosen = (chosen and u <= wanted) if own_pi < wanted else u <= wanted
    r = round((1 - u) * SPACE)
    first = {"r": r, "chosen": before, "own_pi": 1.0, "wanted": 1.0}
    last = {
        "r": r,
        "chosen": chosen or before,
        "own_pi": own_pi,
        "wanted": wanted,
        "capped": own_pi < wanted,
        "rates": {"p": wanted},
    }
    with TemporaryDirectory() as directory:
        text = of_entries(Path(directory), first, last).rpartition("decided again")[2]
    assert ("chosen by an earlier decision" in text) == before
    assert (" that the cap left of " in text) == (own_pi < wanted)
    assert f"the probability {own_pi:.6g}" in text
    if not before:
        assert ("not chosen:" in text) == (not chosen)
        assert (", by policy p" in text) == chosen
        if "above" in text:
            assert (" is not above " in text) == (u <= own_pi)
        else:
            assert own_pi < wanted


def test_decisions_that_the_ledger_has_lost_are_not_made_up(tmp_path: Path) -> None:
    only_last = of_entries(tmp_path, {"revision": 2, "chosen": True, "wanted": 0.02, "own_pi": 0.02, "trigger": "late"})
    has(only_last, "decided again", "chosen by an earlier decision; now with the probability 0.02")


def test_what_else_a_decision_may_say(tmp_path: Path) -> None:
    text = of_entries(
        tmp_path,
        {"time_ns": 0, "whole": False, "spans": 7, "rates": {"p": 0.25, "baseline": 0.02}, "pressure": 80},
        {"upstream_pi": 0.1, "pi": 0.05, "complete": False, "rates": {"p": 0.5}, "pressure": 70},
    )
    has(
        text,
        "decided 1970-01-01 00:00:00.000 UTC: its root",
        "7 spans, complete; parts of it are gone or were too many to read",
        "not chosen: its number 1.000000, from a hash of the trace id, since the ids that arrive do not look random, is above",
        "rates: p 0.25, baseline 0.02",
        "they were lowered, since 80 % of the judges' budget or queue was used",
        "decided again",
        "0 spans, partial: its root never came",
        "sampled before it came here, with probability 0.1; with ours it is 0.05",
    )
    assert text.count("lowered") == 1
