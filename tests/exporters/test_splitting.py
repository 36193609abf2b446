"""What is refused for its size or its content is cut down; everything else of it arrives."""

import math
from pathlib import Path
from typing import Any

import pytest

from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.records import Kind
from otel_eval.wire import lens
from tests import traffic
from tests.conftest import StartHop
from tests.exporters.backends import PROTOCOLS, behind, journal, queue, to_sink, until
from tests.sink import INVALID, OK, Answer, Sink

TOO_LARGE = Answer(code=8, http_status=413, message="too large")


def refuse_over(limit: int) -> Any:
    return lambda _kind, body: TOO_LARGE if len(body) > limit else OK


def dead_letters(directory: Path) -> list[Any]:
    return DeadLetters(directory / "journal").letters()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("poisoned", [0, 37, 63])
async def test_one_poisoned_request_among_many_is_found_in_logarithmic_time(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str, poisoned: int
) -> None:
    bodies = [traffic.traces(1).SerializeToString() for _ in range(64)]
    sink.behave = lambda _kind, body: INVALID if bodies[poisoned] in body else OK
    service = await start_hop(to_sink(protocol, sink))
    journal(service, *bodies)
    await sink.wait_for_items(63)
    await until(lambda: dead_letters(tmp_path))
    (letter,) = dead_letters(tmp_path)
    assert letter.body() == bodies[poisoned]
    assert "bad data" in letter.reason
    expected = [span for index, body in enumerate(bodies) for span in lens.items(body) if index != poisoned]
    assert sink.spans() == expected
    assert sink.requests == 1 + 2 * math.log2(64)


async def test_several_poisoned_requests_cost_no_more_than_their_neighbourhoods(
    sink: Sink, start_hop: StartHop, tmp_path: Path
) -> None:
    bodies = [traffic.traces(1).SerializeToString() for _ in range(100)]
    bad = {bodies[index] for index in (3, 4, 50, 99)}
    sink.behave = lambda _kind, body: INVALID if any(one in body for one in bad) else OK
    service = await start_hop(to_sink("grpc", sink))
    journal(service, *bodies)
    await until(lambda: len(dead_letters(tmp_path)) == 4)
    await sink.wait_for_items(96)
    assert {letter.body() for letter in dead_letters(tmp_path)} == bad
    assert sink.requests < 4 * 2 * math.ceil(math.log2(100)) + 1
    await until(lambda: service.metrics.counter("exporter_send_failed_spans", exporter="otlp").value == 4)  # behind the file


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_too_large_requests_are_cut_until_they_fit(sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str) -> None:
    sink.behave = refuse_over(3000)
    service = await start_hop(to_sink(protocol, sink))
    bodies = [traffic.traces(20, value_bytes=100).SerializeToString() for _ in range(5)]
    journal(service, *bodies, items=20)
    spans = [span for body in bodies for span in lens.items(body)]
    assert await sink.wait_for_items(100) == spans
    assert not dead_letters(tmp_path)
    assert max(map(len, sink.received[Kind.TRACES])) <= 3000
    (name,) = service.state()["exporters"]
    await until(lambda: behind(service, name) == 0)
    assert service.metrics.counter("exporter_sent_spans", exporter=name).value == 100


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_only_the_span_that_is_too_large_alone_becomes_a_dead_letter(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str
) -> None:
    sink.behave = refuse_over(2000)
    request = traffic.traces(9)
    giant = request.resource_spans[0].scope_spans[0].spans[4]
    giant.name = "x" * 5000
    body = request.SerializeToString()
    service = await start_hop(to_sink(protocol, sink))
    journal(service, body, items=9)
    small = [span for span in lens.items(body) if len(span) < 5000]
    await until(lambda: dead_letters(tmp_path))
    assert sorted(await sink.wait_for_items(8)) == sorted(small)
    (letter,) = dead_letters(tmp_path)
    assert list(lens.items(letter.body())) == [giant.SerializeToString()]
    assert letter.items == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", list(Kind))
async def test_a_request_over_our_own_limit_is_cut_at_item_borders(
    sink: Sink, start_hop: StartHop, protocol: str, kind: Kind
) -> None:
    service = await start_hop(to_sink(protocol, sink, max_message_bytes=4096))
    metrics = traffic.metrics(2)
    scope = metrics.resource_metrics[0].scope_metrics[0]
    scope.metrics.extend([scope.metrics[0]] * 999)
    bodies = {Kind.TRACES: traffic.traces(300), Kind.LOGS: traffic.logs(800), Kind.METRICS: metrics}
    body = bodies[kind].SerializeToString()
    items = list(lens.items(body))
    journal(service, body, kind=kind, items=lens.count_items(kind, body))
    assert await sink.wait_for_items(len(items), kind) == items
    assert max(map(len, sink.received[kind])) <= 4096
    assert all(lens.groups(part) for part in sink.received[kind])
    (name,) = service.state()["exporters"]
    await until(lambda: behind(service, name) == 0)
    sent = service.metrics.counter(f"exporter_sent_{kind.items}", exporter=name).value
    assert sent == lens.count_items(kind, body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_single_span_over_our_own_limit_is_still_tried(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    service = await start_hop(to_sink(protocol, sink, max_message_bytes=1024))
    body = traffic.traces(1, value_bytes=5000).SerializeToString()
    journal(service, body)
    await sink.wait_for_items(1)
    assert sink.received[Kind.TRACES] == [body]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_message_of_many_megabytes_goes_through(sink: Sink, start_hop: StartHop, protocol: str) -> None:
    service = await start_hop(to_sink(protocol, sink, max_message_bytes=64 << 20))
    body = traffic.traces(40, value_bytes=150_000).SerializeToString()
    journal(service, body, items=40)
    await sink.wait_for_items(40)
    assert sink.received[Kind.TRACES] == [body]


@pytest.mark.parametrize("limit", ["ours", "the backend's"])
async def test_a_huge_resource_is_not_multiplied_by_its_spans(
    sink: Sink, start_hop: StartHop, tmp_path: Path, limit: str
) -> None:
    """Cut span by span, 2 MB would become 2 GB, as fast as a hostile sender likes."""
    request = traffic.traces(1000, attributes=0)
    request.resource_spans[0].resource.attributes.append(traffic.attribute("big", "x" * 2_000_000))
    body = request.SerializeToString()
    sent = 0

    def behave(_kind: Kind, part: bytes) -> Answer:
        nonlocal sent
        sent += len(part)
        return OK if limit == "ours" else refuse_over(1_000_000)(_kind, part)

    sink.behave = behave
    service = await start_hop(to_sink("grpc", sink, max_message_bytes=(1 if limit == "ours" else 4) << 20))
    journal(service, body, items=1000)
    await until(lambda: behind(service, "otlp") == 0)
    assert sent < 4 * len(body)
    if limit == "ours":
        assert len(sink.spans()) == 1000
    else:
        assert [letter.items for letter in dead_letters(tmp_path)] == [1000]


async def test_parts_keep_their_places_among_the_requests_around_them(sink: Sink, start_hop: StartHop) -> None:
    service = await start_hop(to_sink("grpc", sink, max_message_bytes=2048, sending_queue=queue(consumers=1)))
    bodies = [traffic.traces(count).SerializeToString() for count in (1, 60, 1, 60, 1)]
    journal(service, *bodies)
    assert await sink.wait_for_items(123) == [span for body in bodies for span in lens.items(body)]
