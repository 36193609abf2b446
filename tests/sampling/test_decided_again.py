"""A trace that is decided again, and what a tracestate may claim."""

from collections.abc import Sequence
from pathlib import Path

from otel_eval.config.sampling import Baseline, Cap, Sampling, Strata, Traces
from otel_eval.config.values import PositiveDuration
from otel_eval.sampling.deciding import Decider
from otel_eval.sampling.ledger import Decided
from otel_eval.sampling.randomness import IdCheck, Source
from otel_eval.sampling.sessions import SessionMemory
from otel_eval.traces.entry import Entry
from otel_eval.traces.retrieval import Stored
from otel_eval.wire import lens
from tests.sampling.rig import CHAT, Rig, chat, running
from tests.spans import Made, log, span, trace_request

ASKED = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}


def decider() -> Decider:
    return Decider(Sampling(), {}, SessionMemory(), IdCheck())


def stored(*items: Made) -> Stored:
    return Stored(list(lens.groups(trace_request(list(items)))), [], whole=True)


def with_state(state: str) -> Made:
    made = span(ASKED, trace=1 << 100)
    made.item.trace_state = state  # type: ignore[union-attr]
    return made


def test_a_threshold_that_the_number_contradicts_is_not_believed() -> None:
    """Its weight would be 2^56: one such trace would outweigh all others."""
    found = decider().finish(bytes(3) + b"\x10" + bytes(12), Entry(1, 1, due_ns=1), stored(with_state("ot=th:ffffffffffffff")))
    assert found is not None
    assert found.draft.decided.upstream_pi is None
    believed = decider().finish(
        bytes(3) + b"\x10" + bytes(12), Entry(1, 1, due_ns=1), stored(with_state("ot=th:8;rv:f0000000000000"))
    )
    assert believed is not None
    assert (believed.draft.decided.upstream_pi, believed.draft.decided.r_source) == (0.5, Source.TRACESTATE)


def test_what_is_not_looked_at_says_nothing_of_the_ids() -> None:
    made = decider()
    for number in range(20_000):
        made.unread(number.to_bytes(16, "big"), Entry(1, 1, due_ns=1))
    assert made.ids.random
    assert made.ids.seen == 0


def test_pressure_lowers_the_rate_of_what_is_not_looked_at_too() -> None:
    made = decider()
    made.roll(1, 90)
    assert made.unread(bytes(15) + b"\1", Entry(1, 1, due_ns=1)).decided.wanted == 0.01


async def test_a_trace_competes_for_the_cap_once_with_the_same_rate(tmp_path: Path) -> None:
    """In a quieter window it would be chosen after all; feedback, which asks for more, lets it compete again."""
    capped = Sampling(baseline=Baseline(rate=0.9), cap=Cap(per_minute=1, window=PositiveDuration(60), baseline_share=0.0))
    loser, winner = 1 << 53, 1 << 55  # u is 0.875 and 0.5
    async with running(tmp_path, Traces(), capped) as rig:
        for trace in (loser, winner):
            await rig.send(1, span(CHAT, trace=trace))
        await rig.work(61)
        first = rig.last()[loser]
        assert (first.chosen, rig.last()[winner].chosen) == (False, True)
        await rig.send(70, span(CHAT, trace=loser, identity=2))
        await rig.work(121)
        again = rig.last()[loser]
        assert (again.revision, again.chosen, again.own_pi) == (1, False, first.own_pi)
        await rig.send(130, log("otel_eval.feedback", {"otel_eval.feedback.value": 0.0}, trace=loser))
        await rig.work(181)
        assert (rig.last()[loser].chosen, rig.last()[loser].own_pi) == (True, 1.0)


class Spending:
    """Judges whose budget is used up from a moment on."""

    wants_sessions = False

    def __init__(self) -> None:
        self.level = 0

    async def judge(self, decided: Decided, traces: Sequence[Stored], *, session: bool = False) -> None:
        """See Judges."""

    async def drop(self, decided: Decided) -> None:
        """See Judges."""

    def pressure(self) -> int:
        return self.level


async def test_a_trace_counts_as_it_was_decided_before_a_crash_whatever_its_rates_would_be_now(tmp_path: Path) -> None:
    """The same requests are decided again, while the budget that lowers rates has been used up in between."""
    sampling = Sampling(strata=Strata(by=("service.name",), rates={"*": 0.03}))
    rig = Rig(tmp_path, Traces(), sampling, 256 << 20)
    rig.judges = judges = Spending()
    await rig.start()
    try:
        for trace in range(20):
            await rig.send(0, chat(trace + 1))
        await rig.work(10)
        assert {one.policy for one in rig.decisions()} == {"strata"}
        judges.level = 100
        await rig.restart(20)
        await rig.send(25, span(CHAT, trace=1, identity=2, parent=1, failed=True))
        await rig.work(130)
        assert rig.sums("policy", "signal_class") == {("strata", "none"): 19, ("signals", "model_error"): 1}
    finally:
        await rig.kill()
