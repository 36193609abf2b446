"""Which bodies are let in, and what is found in them."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.errors import PermanentError, TooLargeError
from otel_eval.records import Kind
from otel_eval.wire import check
from otel_eval.wire.lens import REQUESTS
from tests import oracle, strategies, traffic

ITEM_PATHS = {Kind.TRACES: (1, 2, 2), Kind.LOGS: (1, 2, 2), Kind.METRICS: (1, 2, 2, 7, 1)}
GROUP_FIELDS = [
    oracle.field(1001, 5),
    oracle.field(1001, 1 << 63),
    oracle.field(1001, b"abc"),
    b"\xcd\x3e1234",
    b"\xc9\x3e12345678",
]


def accepts(kind: Kind, body: bytes) -> bool:
    try:
        check.inspect(kind, body)
    except TooLargeError:
        raise
    except PermanentError:
        return False
    return True


def agrees_with_the_oracle(kind: Kind, body: bytes) -> tuple[bool, bool]:
    """Judge a body three ways; returns whether it is one, strictly and with texts that are not UTF-8."""
    try:
        REQUESTS[kind].FromString(body)
        strict = True
    except DecodeError:
        strict = False
    assert oracle.parses(REQUESTS[kind], body, utf8=True) == strict, body.hex()
    lenient = oracle.parses(REQUESTS[kind], body, utf8=False)
    assert accepts(kind, body) == lenient, body.hex()
    return strict, lenient


@strategies.PROPERTY
@given(strategies.kinds, st.data())
def test_exactly_what_the_generated_classes_parse_is_accepted(kind: Kind, data: st.DataObject) -> None:
    agrees_with_the_oracle(kind, data.draw(strategies.bodies(kind) | st.binary(max_size=30)))


def test_changed_captures_and_fragments_are_judged_as_the_generated_classes_judge_them() -> None:
    body = strategies.hostile_bodies(random.Random(1))
    seen: Counter[tuple[bool, bool]] = Counter()
    for _ in range(12_000):
        seen[agrees_with_the_oracle(random.Random(seen.total()).choice(list(Kind)), body())] += 1
    assert min(seen[True, True], seen[False, True], seen[False, False]) > 50
    assert not seen[True, False]


@pytest.mark.parametrize("file", strategies.CAPTURES, ids=lambda file: file.stem)
def test_a_capture_cut_short_anywhere_is_judged_as_the_generated_classes_judge_it(file: Path) -> None:
    body = file.read_bytes()
    for end in {*range(0, min(len(body), 300)), *range(0, len(body), 97)}:
        agrees_with_the_oracle(strategies.capture_kind(file), body[:end])


def test_text_that_is_not_utf8_is_accepted() -> None:
    span = oracle.field(5, "日本".encode()[:-1]) + oracle.field(
        9, oracle.field(1, b"\xff") + oracle.field(2, oracle.field(1, b"\xc3"))
    )
    assert check.inspect(Kind.TRACES, oracle.nest(1, 2, 2, value=span)).items == 1


@strategies.PROPERTY
@given(strategies.kinds, st.data())
def test_items_are_counted_as_the_generated_classes_count_them(kind: Kind, data: st.DataObject) -> None:
    request = data.draw(strategies.requests(kind))
    if kind is Kind.METRICS:
        metrics = [
            metric for resource in request.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
        ]
        expected = sum(len(getattr(metric, data).data_points) for metric in metrics if (data := metric.WhichOneof("data")))
    elif kind is Kind.TRACES:
        expected = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
    else:
        expected = sum(len(scope.log_records) for resource in request.resource_logs for scope in resource.scope_logs)
    assert check.inspect(kind, request.SerializeToString()).items == expected


@strategies.PROPERTY
@given(st.sampled_from([Kind.TRACES, Kind.LOGS]), st.data())
def test_items_with_ids_of_a_wrong_length_are_found(kind: Kind, data: st.DataObject) -> None:
    body = data.draw(strategies.requests(kind)).SerializeToString()
    item_class: Any = Span if kind is Kind.TRACES else LogRecord
    wrong = set()
    for position, item in enumerate(oracle.items(body)):
        parsed = item_class.FromString(item.raw)
        lengths = {"trace_id": {0, 16}, "span_id": {0, 8}, "parent_span_id": {0, 8}}
        if any(len(getattr(parsed, name)) not in allowed for name, allowed in lengths.items() if hasattr(parsed, name)):
            wrong.add(position)
    assert check.inspect(kind, body).invalid == wrong


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MAX_ITEMS", 1000)
    monkeypatch.setattr(check, "_SCAN_FROM_BYTES", 2000)


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("kind", list(Kind))
def test_too_many_fields_are_refused_at_every_level(kind: Kind) -> None:
    path = ITEM_PATHS[kind]
    for depth in range(len(path)):
        for unit in (oracle.field(path[depth], b""), *GROUP_FIELDS):
            body = oracle.nest(*path[:depth], value=unit * (check.MAX_ITEMS + 1))
            with pytest.raises(TooLargeError):
                check.inspect(kind, body)
            assert accepts(kind, oracle.nest(*path[:depth], value=unit * (check.MAX_ITEMS - depth - 1)))


@pytest.mark.usefixtures("small_limit")
def test_fields_within_unknown_groups_count_and_do_not_lead_astray() -> None:
    many = b"".join(GROUP_FIELDS) * (check.MAX_ITEMS // 5 + 1)
    for group in (b"\x4b" + many + b"\x4c", b"\x4b\x53" * 40 + many + b"\x54\x4c" * 40, b"\x4b\x4c" * (check.MAX_ITEMS + 1)):
        for prefix in ((), (1,), (1, 2)):
            with pytest.raises(TooLargeError):
                check.inspect(Kind.TRACES, oracle.nest(*prefix, value=group))
    # A group may hold what looks like a resource group, and even claims to be one.
    decoy = b"\x0b" + oracle.field(1, oracle.field(2, oracle.field(2, b"") * 200)) * 100 + b"\x0c"
    body = decoy + traffic.traces(3).SerializeToString() + oracle.field(1001, b"x" * 3000)
    assert check.inspect(Kind.TRACES, body).items == 3


def test_numbers_and_lengths_in_more_bytes_than_they_need_are_followed() -> None:
    def padded(value: int) -> bytes:
        return bytes([value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21 & 0x7F | 0x80, 0])

    span = oracle.field(5, b"x" * 1000)
    spans = (padded(0x12) + padded(len(span)) + span) * 3000
    scope = padded(0x12) + padded(len(spans)) + spans
    body = padded(0x0A) + padded(len(scope)) + scope
    assert len(body) > check._SCAN_FROM_BYTES
    assert check.inspect(Kind.TRACES, body).items == 3000


def test_large_requests_of_real_items_are_accepted() -> None:
    thin = traffic.traces(1, attributes=1).resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    spans = (64 << 20) // (len(thin) + 3) - 10
    body = oracle.nest(1, 2, value=oracle.field(2, thin) * spans)
    assert check.inspect(Kind.TRACES, body).items == spans > 500_000
    times_and_value = b"".join(bytes([tag]) + bytes(8) for tag in (0x11, 0x19, 0x31))
    attributes = b"".join(oracle.field(7, traffic.attribute(key, "gpt-4o").SerializeToString()) for key in ("model", "tenant"))
    point = oracle.field(1, attributes + times_and_value)
    points = (64 << 20) // len(point) - 10
    assert check.inspect(Kind.METRICS, oracle.nest(1, 2, 2, 7, value=point * points)).items == points > 500_000
