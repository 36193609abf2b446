"""A hop that is killed between any two writes of holding and releasing sends each root once, and loses none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.config.models import Emit
from otel_eval.config.sampling import Baseline, Sampling, Traces
from otel_eval.config.values import PositiveDuration
from otel_eval.errors import RetryableError
from otel_eval.journal import RELEASED
from otel_eval.records import Kind, OwnKind
from otel_eval.wire import check, edit, lens
from tests.sampling.rig import CHAT, Rig, chat, ident, running
from tests.spans import Made, span, trace_request

HOLD = Emit(mode="hold", hold_timeout=PositiveDuration(30))
ALL = Sampling(baseline=Baseline(rate=1.0))


def rig_in(directory: Path) -> Any:
    return running(directory, Traces(), ALL, HOLD)


def tool(trace: int) -> Made:
    return span({"gen_ai.operation.name": "execute_tool"}, identity=2, parent=1, trace=trace)


def on_their_way(rig: Rig) -> list[bytes]:
    """The spans that exporters are given."""
    return [item for _, record in rig.journal.records(Kind.TRACES, 0) for item in lens.items(bytes(record.body))]


def released(rig: Rig) -> list[bytes]:
    flagged = (bytes(record.body) for _, record in rig.journal.records(Kind.TRACES, 0) if record.flags & RELEASED)
    return [item for body in flagged for item in lens.items(body)]


def scoring(text: bytes) -> Callable[[bytes, bytes], bytes]:
    return lambda _span_id, raw: edit.append_attributes(raw, {"otel_eval.label.x": text.decode()})


async def test_a_root_is_cut_out_and_goes_on_at_its_deadline(tmp_path: Path) -> None:
    body = trace_request([tool(1), chat(1)])
    child, root = lens.items(body)
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, body)
        assert (on_their_way(rig), rig.held.waiting) == ([child], 1)
        await rig.work(29)
        assert released(rig) == []
        await rig.work(31)
        assert (released(rig), rig.held.waiting) == ([root], 0)
        (decided,) = rig.decisions()
        assert (decided.spans, decided.complete, decided.whole, decided.chosen, decided.pi) == (2, True, True, True, 1.0)
        stored = await rig.sampler.find(ident(1))
        assert stored is not None
        assert sorted(item for group in stored.spans for item in group.items) == sorted([child, root])


async def test_beside_a_span_that_is_refused(tmp_path: Path) -> None:
    broken = tool(1)
    broken.item.span_id = b"short"
    async with rig_in(tmp_path) as rig:
        body = trace_request([broken, chat(1), tool(1), chat(2)])
        answer = await rig.intake.accept(Kind.TRACES, body, "test")
        assert answer.rejected == 1
        assert on_their_way(rig) == [tool(1).item.SerializeToString()]
        assert rig.held.waiting == 2
        assert rig.metrics.counter("receiver_accepted_spans", transport="test").value == 3
        assert [record.items for _, record in rig.journal.records(Kind.TRACES, 0)] == [1]


async def test_killed_before_the_rest_is_journaled(tmp_path: Path) -> None:
    """The sender, who has no answer, sends again."""
    body = trace_request([tool(1), chat(1), chat(2), tool(2)])
    items = list(lens.items(body))
    async with rig_in(tmp_path) as rig:
        await rig.sampler.first.cut(check.inspect(Kind.TRACES, body), body)
        await rig.restart(1)
        assert (on_their_way(rig), rig.held.waiting) == ([], 2)
        await rig.accept(2, Kind.TRACES, body)
        assert (on_their_way(rig), rig.held.waiting) == ([items[0], items[3]], 2)
        assert rig.metrics.counter("judging_spans_repeated").value == 2
        await rig.work(40)
        assert sorted(on_their_way(rig)) == sorted(items)


async def test_killed_before_the_rest_is_journaled_and_never_sent_again(tmp_path: Path) -> None:
    body = trace_request([tool(1), chat(1)])
    async with rig_in(tmp_path) as rig:
        await rig.sampler.first.cut(check.inspect(Kind.TRACES, body), body)
        await rig.restart(100)
        await rig.work(101)
        assert on_their_way(rig) == list(lens.items(body))[1:]


@pytest.mark.parametrize("marked", [False, True])
async def test_killed_after_a_release(tmp_path: Path, marked: bool) -> None:
    """It has gone on with these bytes, marked or not, and what would give them again is known."""
    async with rig_in(tmp_path) as rig:
        for trace in range(1, 4):
            await rig.accept(0, Kind.TRACES, trace_request([chat(trace), tool(trace)]))
        assert rig.held.release(ident(1), "scored", scoring(b"good")) == {root_id(rig, 1)}
        if marked:
            await rig.held.work(0)
        await rig.accept(1, Kind.TRACES, trace_request([tool(9), chat(9)]))
        (before,) = released(rig)
        await rig.restart(2)
        assert rig.held.waiting == 3
        assert rig.held.release(ident(1), "scored", scoring(b"good")) == {root_id(rig, 1)}, "these scores are with it"
        assert rig.held.release(ident(1), "scored", scoring(b"bad")) == set()
        await rig.work(60)
        assert released(rig).count(before) == 1
        assert len(released(rig)) == len({lens.span(item).trace_id for item in released(rig)}) == 4
        await rig.restart(61)
        assert rig.held.waiting == 0


def root_id(rig: Rig, trace: int) -> bytes:
    (span_id,) = rig.held.roots(ident(trace))
    return span_id


async def test_a_release_that_was_torn_is_made_again(tmp_path: Path) -> None:
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([chat(1)]))
        rig.held.release(ident(1), "scored", scoring(b"good"))
        await rig.kill()
        (file,) = (tmp_path / "traces").glob("*.log")
        file.write_bytes(file.read_bytes()[:-1])
        await rig.start(1)
        assert (on_their_way(rig), rig.held.waiting) == ([], 1)
        await rig.work(31)
        assert on_their_way(rig) == list(lens.items(trace_request([chat(1)])))


@pytest.mark.parametrize("marked", [False, True])
async def test_released_once_though_its_record_could_be_deleted(tmp_path: Path, marked: bool) -> None:
    """All has been delivered, and the checkpoint is lost. Only what is marked is deleted."""
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([chat(1)]))
        await rig.accept(0, Kind.TRACES, trace_request([chat(2)]))
        rig.held.release(ident(1), "scored", scoring(b"good"))
        if marked:
            await rig.held.work(0)
        await rig.sampler.save()
        rig.sampler.table.open.clear()
        rig.journal.logs[Kind.TRACES]._release()
        await rig.kill()
        assert any(file.stat().st_size for file in (tmp_path / "traces").glob("*.log")) is not marked
        rig.checkpoint.unlink()
        await rig.start(1)
        assert rig.held.waiting == 1
        await rig.work(60)
        assert [lens.span(item).trace_id for item in on_their_way(rig)][-1] == ident(2)
        assert len(released(rig)) == 2 - marked


async def test_a_root_that_comes_again_is_left_out_while_it_is_remembered(tmp_path: Path) -> None:
    async with rig_in(tmp_path) as rig:
        body = trace_request([chat(1)])
        for at in (0, 1, 40, 41):
            await rig.accept(at, Kind.TRACES, body)
            await rig.restart(at)
            await rig.work(at)
        await rig.work(80)
        assert on_their_way(rig) == list(lens.items(body))


async def test_a_second_local_root_is_held_with_the_first(tmp_path: Path) -> None:
    async with rig_in(tmp_path) as rig:
        remote = span(CHAT, trace=1, identity=5, parent=1)
        remote.item.flags = 0x300
        for at, one in ((0, remote), (1, chat(1)), (1.1, chat(1))):
            await rig.accept(at, Kind.TRACES, trace_request([one]))
        assert (on_their_way(rig), rig.held.waiting) == ([], 2)
        assert rig.held.roots(ident(1)) == [lens.span(one.item.SerializeToString()).span_id for one in (remote, chat(1))]
        await rig.work(31)
        assert on_their_way(rig) == [item for one in (remote, chat(1)) for item in lens.items(trace_request([one]))]


async def test_what_has_no_room_goes_on_and_is_not_held_when_it_comes_again(tmp_path: Path) -> None:
    async with running(tmp_path, Traces(), ALL, HOLD, max_bytes=1 << 20) as rig:
        large = [span(CHAT | {"text": "x" * 30_000}, trace=trace) for trace in range(1, 5)]
        for one in large:
            await rig.accept(0, Kind.TRACES, trace_request([one]))
        assert rig.held.waiting == 2, "a sixteenth of the budget"
        assert rig.metrics.counter("judging_spans_released", reason="full").value == 2
        await rig.work(35)
        await rig.sampler.save()
        assert rig.held.has_room(1000)
        for one in large:
            await rig.accept(36, Kind.TRACES, trace_request([one]))
        assert rig.held.waiting == 0
        ids = [lens.span(item).trace_id for item in on_their_way(rig)]
        assert sorted(ids) == sorted([ident(1), ident(2), *[ident(3), ident(4)] * 2]), (
            "those that were not held come as they are sent"
        )


async def test_a_root_that_had_no_room_is_not_held_when_there_is_some(tmp_path: Path) -> None:
    """Its trace is still open, and another root of it is held."""
    other = span(CHAT, trace=1, identity=5, parent=1)
    other.item.flags = 0x300
    async with rig_in(tmp_path) as rig:
        budget = rig.journal.budget
        await rig.accept(0, Kind.TRACES, trace_request([other]))
        used, budget.used = budget.used, budget.limit * 3 // 4
        await rig.accept(0.1, Kind.TRACES, trace_request([chat(1), chat(2)]))
        budget.used = used + budget.used - budget.limit * 3 // 4
        await rig.accept(0.2, Kind.TRACES, trace_request([chat(1), chat(2), chat(3)]))
        assert (rig.held.waiting, len(on_their_way(rig))) == (2, 4), "the other root and that of trace 3"
        await rig.restart(0.3)
        await rig.accept(0.4, Kind.TRACES, trace_request([chat(1), chat(2), chat(3)]))
        assert (rig.held.waiting, len(on_their_way(rig))) == (2, 6)


async def test_a_root_is_read_once_though_it_stands_between_other_spans(tmp_path: Path) -> None:
    """The table knows of so many places; beyond them two become one, with what lies between them."""
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([chat(1)]))
        await rig.accept(0, Kind.TRACES, trace_request([span(identity=100, parent=1, trace=1)]))
        rig.held.release(ident(1), "scored", scoring(b"good"))
        for number in range(1, 20):
            await rig.accept(0, Kind.TRACES, trace_request([span(identity=100 + number, parent=1, trace=1)]))
            await rig.accept(0, Kind.TRACES, trace_request([span({"text": "x" * 1000}, parent=2, trace=2)]))
        stored = await rig.sampler.find(ident(1))
        assert stored is not None
        found = [item for group in stored.spans for item in group.items]
        assert len(found) == 21
        assert found.count(chat(1).item.SerializeToString()) == 1


async def test_a_root_is_found_that_a_start_has_not_got_to_yet(tmp_path: Path) -> None:
    async with rig_in(tmp_path) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([chat(1), tool(1)]))
        rig.held.release(ident(1), "scored", scoring(b"good"))
        await rig.kill()
        rig.open(1)
        assert rig.held.has_room(1)
        await rig.sampler.prepare()
        stored = await rig.sampler.find(ident(1))
        assert stored is not None
        assert stored.whole
        assert len(stored.spans) == 2


async def test_the_number_of_the_first_decision_counts(tmp_path: Path) -> None:
    """A root that comes later has another one, but with it the trace would have had a second chance."""
    first = span(CHAT, trace=1, identity=5, parent=1)
    first.item.flags = 0x300
    root = chat(1)
    assert isinstance(root.item, Span)
    root.item.trace_state = "ot=rv:00000000000001"
    async with rig_in(tmp_path) as rig:
        for at, one in ((0, first), (1, root)):
            await rig.accept(at, Kind.TRACES, trace_request([one]))
        await rig.restart(1)
        await rig.work(10)
        (decided,) = rig.decisions()
        assert decided.r_source == "trace_id"


async def test_a_full_journal_lets_what_is_held_wait_for_room(tmp_path: Path) -> None:
    async with running(tmp_path, Traces(), ALL, HOLD, max_bytes=1 << 20) as rig:
        await rig.accept(0, Kind.TRACES, trace_request([span(CHAT | {"text": "x" * 30_000}, trace=1)]))
        budget = rig.journal.budget
        used, budget.used = budget.used, budget.limit
        with pytest.raises(RetryableError):
            rig.held.release(ident(1), "scored")
        assert rig.held.waiting == 1
        budget.used = used
        rig.held.release(ident(1), "scored")
        assert (len(released(rig)), rig.held.waiting) == (1, 0)
        assert [record.items for _, record in rig.journal.records(OwnKind.HELD, 0)] == [1]
