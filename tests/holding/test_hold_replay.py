"""With held roots too, a sampler that is killed at any moment comes to what one that was never killed makes of the journal."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_eval.config.models import Emit
from otel_eval.config.sampling import Traces
from otel_eval.config.values import PositiveDuration
from otel_eval.holding.records import Cut, decode
from otel_eval.journal import stored_bodies
from otel_eval.records import Kind, OwnKind
from otel_eval.wire import lens
from tests.sampling.mix import Mix, mix
from tests.sampling.rig import Rig, running
from tests.sampling.test_replay import SAMPLINGS, by_revision, damage, finish, keep, play_and_kill, remove, totals

HOLD = Emit(mode="hold", hold_timeout=PositiveDuration(7))
SECONDS = 100.0


async def undisturbed(rig: Rig, made: Mix) -> Rig:
    """The same journal in the hands of a sampler that knows nothing else."""
    directory = rig.directory.parent / "undisturbed"
    for kind in (Kind.TRACES, Kind.LOGS, OwnKind.HELD):
        shutil.copytree(rig.directory / kind, directory / kind)
    other = Rig(directory, rig.traces, rig.sampling, rig.max_bytes, rig.emit)
    await other.start()
    await finish(other, made)
    await other.kill()
    return other


def spans(rig: Rig, kind: Kind | OwnKind = Kind.TRACES) -> Counter[tuple[bytes, bytes]]:
    """The ids of what exporters are given, with how often."""
    found = (lens.span(item) for body in stored_bodies(rig.directory, kind) for item in lens.items(bytes(body)))
    return Counter((span.trace_id, span.span_id) for span in found)


def cuts(rig: Rig) -> Iterator[Cut]:
    for body in stored_bodies(rig.directory, OwnKind.HELD):
        if isinstance(found := decode(body), Cut):
            yield found


@pytest.mark.parametrize(
    ("name", "lose", "diligence"),
    [
        ("default", keep, 1.0), ("default", remove, 1.0), ("strata", damage, 1.0),
        ("uncertainty", keep, 0.05), ("strata", keep, 0.05),
    ],
)  # fmt: skip
async def test_a_killed_sampler_decides_the_same_and_sends_each_root_once(
    tmp_path: Path, name: str, lose: Callable[[Rig, random.Random], None], diligence: float
) -> None:
    made = mix(200, 7, SECONDS)
    async with running(tmp_path / "killed", Traces(), SAMPLINGS[name], HOLD) as rig:
        kills = await play_and_kill(rig, made, 7, lose, diligence)
        decisions = rig.decisions()
        assert len({(one.trace_id, one.revision) for one in decisions}) == len(decisions), "nothing is written twice"
        other = await undisturbed(rig, made)
        assert by_revision(decisions) == by_revision(other.decisions())
        assert totals(rig) == totals(other)
        held = {(one.trace_id, span_id) for one in decisions for span_id in rig.held.roots(one.trace_id)}
        sent = spans(rig)
        assert len(held) > 5
        assert kills > 2
        assert rig.held.waiting == 0
        assert {sent[root] for root in held} == {1}
        firsts = {first.trace_id: first for cut in cuts(rig) for first in cut.firsts}
        assert all(one.own_pi >= firsts[one.trace_id].rate for one in decisions if one.trace_id in firsts)
        assert {first.chosen for first in firsts.values()} == {True, False}
        for one in decisions:
            assert not rig.held.roots(one.trace_id) or one.chosen, "a first decision is not taken back"
