"""What is seen through the lenses is what the generated classes see."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import assume, given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.errors import PermanentError
from otel_eval.records import Kind
from otel_eval.wire import check, edit, lens
from otel_eval.wire.lens import REQUESTS
from tests import oracle, strategies


def canonical(encoded: bytes) -> bytes:
    return AnyValue.FromString(encoded).SerializeToString(deterministic=True)


def assert_same_attributes(seen: lens.AttributeMap, attributes: Any) -> None:
    expected = {item.key: item.value for item in attributes if not (item.key_strindex or len(UnknownFieldSet(item)))}
    assert set(seen) == set(expected)
    assert len(seen) == len(expected)
    for key, value in expected.items():
        assert key in seen
        assert canonical(seen[key]) == canonical(seen.get(key) or b"") == canonical(value.SerializeToString())


def assert_same_fields(seen: Any, message: Any, texts: tuple[str, ...], values: tuple[str, ...]) -> None:
    assert {name: getattr(seen, name) for name in values} == {name: getattr(message, name) for name in values}
    assert {name: getattr(seen, name) for name in texts} == {name: getattr(message, name).encode() for name in texts}
    assert_same_attributes(seen.attributes, message.attributes)


@strategies.PROPERTY
@given(strategies.messages(Span, depth=2))
def test_a_span_has_the_fields_that_the_generated_class_has(message: Any) -> None:
    span = lens.span(message.SerializeToString())
    values = ("trace_id", "span_id", "parent_span_id", "kind", "start_time_unix_nano", "end_time_unix_nano", "flags")
    assert_same_fields(span, message, ("name", "trace_state"), values)
    assert (span.status.code, span.status.message) == (message.status.code, message.status.message.encode())
    assert len(span.events) == len(message.events)
    for event, expected in zip(span.events, message.events, strict=True):
        assert_same_fields(event, expected, ("name",), ("time_unix_nano",))
    assert len(span.links) == len(message.links)
    for link, expected in zip(span.links, message.links, strict=True):
        assert_same_fields(link, expected, (), ("trace_id", "span_id"))


@strategies.PROPERTY
@given(strategies.messages(LogRecord, depth=2))
def test_a_log_record_has_the_fields_that_the_generated_class_has(message: Any) -> None:
    record = lens.log_record(message.SerializeToString())
    values = ("time_unix_nano", "observed_time_unix_nano", "severity_number", "trace_id", "span_id")
    assert_same_fields(record, message, ("event_name",), values)
    assert canonical(record.body) == canonical(message.body.SerializeToString())


def test_of_a_key_given_twice_the_last_value_is_seen() -> None:
    pairs = [oracle.field(1, b"k") + oracle.field(2, oracle.field(1, value)) for value in (b"first", b"last")]
    span = lens.span(b"".join(oracle.field(9, pair) for pair in pairs))
    assert AnyValue.FromString(span.attributes["k"]).string_value == "last"


def test_names_and_values_that_are_not_utf8_can_be_read() -> None:
    bad = oracle.field(1, b"\xff\xfe") + oracle.field(2, oracle.field(1, b"\xe6\x97"))
    good = oracle.field(1, b"k") + oracle.field(2, oracle.field(1, b"\xe6\x97"))
    span = lens.span(oracle.field(5, b"\xc3(") + oracle.field(9, bad) + oracle.field(9, good))
    assert span.name == b"\xc3("
    assert len(span.attributes) == len(list(span.attributes)) == 2
    assert span.attributes.get("k") == oracle.field(1, b"\xe6\x97")
    assert span.attributes.get("absent") is None


def test_an_attribute_with_fields_newer_than_us_is_not_seen_but_kept() -> None:
    pair = oracle.field(1, b"k") + oracle.field(2, oracle.field(1, b"v"))
    span = oracle.field(9, pair + oracle.field(7, b"future")) + oracle.field(9, pair.replace(b"k", b"j"))
    assert list(lens.span(span).attributes) == ["j"]
    body = oracle.nest(1, 2, 2, value=span)
    assert list(lens.items(body)) == list(lens.items(edit.join(edit.split(body, 1)))) == [span]


@strategies.PROPERTY
@given(strategies.kinds, st.data())
def test_groups_and_items_are_the_bytes_that_were_sent(kind: Kind, data: st.DataObject) -> None:
    body = data.draw(strategies.bodies(kind))
    assume(oracle.parses(REQUESTS[kind], body, utf8=False))
    seen = [oracle.Item(*group[:3], item) for group in lens.groups(body) for item in group.items]
    assert seen == oracle.items(body)
    assert list(lens.items(body)) == [item.raw for item in seen]


def everything(body: bytes, source: random.Random) -> list[Callable[[], Any]]:
    """A call of each function that takes encoded bytes."""
    kind = source.choice(list(Kind))
    return [
        lambda: check.inspect(kind, body),
        lambda: lens.count_items(kind, body),
        lambda: list(lens.groups(body)),
        lambda: list(lens.items(body)),
        lambda: read_all(lens.span(body)),
        lambda: read_all(lens.log_record(body)),
        lambda: edit.join([body, body]),
        lambda: edit.split(body, source.choice((1, 100, 1000))),
        lambda: edit.drop(body, {0, source.randrange(5)}),
        lambda: edit.assemble(lens.groups(body)),
        lambda: edit.append_attributes(body, {"k": 1}),
        lambda: edit.append_event(body, "e", 1, {}),
    ]


def read_all(seen: Any) -> None:
    for holder in (seen, *getattr(seen, "events", ()), *getattr(seen, "links", ())):
        assert all(isinstance(holder.attributes.get(key), bytes) for key in holder.attributes if isinstance(key, str))
    assert isinstance(getattr(seen, "name", b""), bytes)


def test_any_bytes_give_a_result_or_a_permanent_error() -> None:
    source = random.Random(3)
    body = strategies.hostile_bodies(source)
    results = refusals = 0
    for _ in range(3000):
        for call in everything(body(), source):
            try:
                call()
                results += 1
            except PermanentError:
                refusals += 1
    assert min(results, refusals) > 5000


def test_every_item_of_an_accepted_body_can_be_read() -> None:
    source = random.Random(4)
    body = strategies.hostile_bodies(source)
    read = 0
    for _ in range(6000):
        found = body()
        for kind, look in ((Kind.TRACES, lens.span), (Kind.LOGS, lens.log_record)):
            try:
                check.inspect(kind, found)
            except PermanentError:
                continue
            for item in lens.items(found):
                read_all(look(item))
                read += 1
    assert read > 2000


@pytest.mark.parametrize("file", strategies.CAPTURES, ids=lambda file: file.stem)
def test_captures_look_the_same_through_both(file: Path) -> None:
    kind = strategies.capture_kind(file)
    body = file.read_bytes()
    for raw in lens.items(body):
        if kind is Kind.TRACES:
            span = Span.FromString(raw)
            assert lens.span(raw).name == span.name.encode()
            assert_same_attributes(lens.span(raw).attributes, span.attributes)
        else:
            assert_same_attributes(lens.log_record(raw).attributes, LogRecord.FromString(raw).attributes)
