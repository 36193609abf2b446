"""Joining, splitting and changing keeps every byte of what it keeps."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.records import Kind
from otel_eval.wire import edit
from otel_eval.wire.lens import REQUESTS
from tests import oracle, strategies, traffic

ATTRIBUTES = st.dictionaries(
    st.text(max_size=5),
    st.text(max_size=5)
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=5),
    max_size=4,
)


@st.composite
def sound_bodies(draw: st.DrawFn, kind: Kind) -> bytes:
    """Bodies that were let in: several requests joined, perhaps with encodings that no library would write."""
    body = b"".join(draw(st.lists(strategies.bodies(kind), min_size=1, max_size=3)))
    assume(oracle.parses(REQUESTS[kind], body, utf8=False))
    return body


def same_but_request_fields(item: oracle.Item) -> tuple[bytes, bytes, bytes]:
    return item.resource, item.scope, item.raw


@strategies.PROPERTY
@given(strategies.kinds, st.data())
def test_joining_keeps_each_item_with_its_resource_and_scope(kind: Kind, data: st.DataObject) -> None:
    bodies = data.draw(st.lists(sound_bodies(kind), max_size=2))
    joined = edit.join(bodies)
    assert joined == edit.join(map(memoryview, bodies))
    expected = [same_but_request_fields(item) for body in bodies for item in oracle.items(body)]
    assert [same_but_request_fields(item) for item in oracle.items(joined)] == expected
    merged = REQUESTS[kind]()
    for body in bodies:
        if oracle.parses(REQUESTS[kind], body, utf8=True):
            merged.MergeFromString(body)
    if all(oracle.parses(REQUESTS[kind], body, utf8=True) for body in bodies):
        assert REQUESTS[kind].FromString(joined).SerializeToString(deterministic=True) == merged.SerializeToString(
            deterministic=True
        )


@strategies.PROPERTY
@given(strategies.kinds, st.integers(1, 400), st.data())
def test_splitting_keeps_everything_within_the_limit(kind: Kind, limit: int, data: st.DataObject) -> None:
    body = data.draw(sound_bodies(kind))
    parts = edit.split(body, limit)
    assert [item for part in parts for item in oracle.items(part)] == oracle.items(body)
    assert all(oracle.items(part) for part in parts)
    assert sum(map(len, parts)) <= max(len(body), edit._MAX_GROWTH * len(body) + max(map(len, parts), default=0))
    for part in parts:
        if len(part) > limit and len(oracle.items(part)) > 1:
            assert part == body  # only where the parts would have grown out of proportion
            assert grown(body, limit) > edit._MAX_GROWTH * len(body)


def grown(body: bytes, limit: int) -> int:
    """At least the bytes that parts within the limit have together: each item alone, with a resource and scope about."""
    return sum(len(item.request + item.resource + item.scope + item.raw) + 30 for item in oracle.items(body)) + limit


def test_parts_are_as_large_as_the_limit_allows() -> None:
    body = traffic.traces(1000, value_bytes=100).SerializeToString()
    parts = edit.split(body, 50_000)
    assert all(len(part) <= 50_000 for part in parts)
    assert len(parts) == -(-len(body) // 49_000)


def test_a_request_within_the_limit_stays_whole() -> None:
    body = traffic.traces(100).SerializeToString() + traffic.traces(100).SerializeToString()
    assert [oracle.items(part) for part in edit.split(body, len(body) + 100)] == [oracle.items(body)]


def large_resource(resource_bytes: int, scopes: int) -> bytes:
    resource = oracle.field(1, oracle.field(1, oracle.field(1, b"k" * resource_bytes)))
    scope = oracle.field(1, oracle.field(1, b"s")) + oracle.field(
        2, traffic.traces(1).resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    )
    return oracle.field(1, resource + oracle.field(2, scope) * scopes)


def test_a_large_resource_is_repeated_once_for_each_part_only() -> None:
    body = large_resource(100_000, 2000)
    assert len(edit.drop(body, {1999})) < len(body)
    parts = edit.split(body, 200_000)
    assert all(len(part) <= 200_000 for part in parts)
    assert sum(map(len, parts)) < 3 * len(body)


def test_a_request_whose_parts_would_be_mostly_resource_is_not_cut() -> None:
    body = large_resource(100_000, 500)
    assert edit.split(body, 101_000) == edit.split(body, 1000) == [body]


@strategies.PROPERTY
@given(strategies.kinds, st.data())
def test_dropping_leaves_the_others_as_they_were(kind: Kind, data: st.DataObject) -> None:
    body = data.draw(sound_bodies(kind))
    items = oracle.items(body)
    positions = set(data.draw(st.lists(st.integers(0, len(items)), max_size=3)))
    kept = edit.drop(body, positions)
    assert oracle.items(kept) == [item for position, item in enumerate(items) if position not in positions]
    assert oracle.parses(REQUESTS[kind], kept, utf8=False)


@strategies.PROPERTY
@given(strategies.kinds, st.data())
def test_schema_urls_and_fields_newer_than_us_survive_as_messages(kind: Kind, data: st.DataObject) -> None:
    """The same as the generated classes see it: without empty groups, and each part merged with the others."""
    request = data.draw(strategies.requests(kind))
    body = request.SerializeToString()
    parts = edit.split(body, data.draw(st.integers(1, 300)))
    assert [shell for part in parts for shell in shells(kind, part)] == shells(kind, body)


def shells(kind: Kind, body: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Each item with its resource and scope group emptied, as the generated classes encode them."""
    found = []
    resources = getattr(REQUESTS[kind].FromString(body), REQUESTS[kind].DESCRIPTOR.fields_by_number[1].name)
    for resource in resources:
        scopes_name = resource.DESCRIPTOR.fields_by_number[2].name
        for scope in getattr(resource, scopes_name):
            items_name = scope.DESCRIPTOR.fields_by_number[2].name
            found += [
                (emptied(resource, scopes_name), emptied(scope, items_name), item.SerializeToString())
                for item in getattr(scope, items_name)
            ]
    return found


def emptied(group: Any, field: str) -> bytes:
    copy = type(group)()
    copy.CopyFrom(group)
    copy.ClearField(field)
    return bytes(copy.SerializeToString())


@strategies.PROPERTY
@given(strategies.kinds, st.data())
def test_what_is_picked_and_what_is_left_are_together_what_was_there(kind: Kind, data: st.DataObject) -> None:
    body = data.draw(sound_bodies(kind))
    items = oracle.items(body)
    positions = data.draw(st.sets(st.sampled_from(range(len(items))))) if items else set()
    picked = edit.pick(body, positions)
    assert picked.keys() == positions
    for position, group in picked.items():
        request = edit.assemble([group])
        assert oracle.items(request) == [items[position]]
        assert len(request) <= edit.size_alone(group)
    left = [item for position, item in enumerate(items) if position not in positions]
    assert oracle.items(edit.drop(body, positions)) == left


@strategies.PROPERTY
@given(strategies.messages(Span, depth=2), ATTRIBUTES, st.integers(0, (1 << 64) - 1))
def test_added_attributes_and_events_are_what_the_generated_class_would_add(
    span: Any, attributes: dict[str, edit.AttributeValue], time: int
) -> None:
    raw = span.SerializeToString()
    names = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value", bytes: "bytes_value"}
    added = [KeyValue(key=key, value=AnyValue(**{names[type(value)]: value})) for key, value in attributes.items()]  # type: ignore[arg-type]
    longer = edit.append_attributes(raw, attributes)
    assert longer.startswith(raw)
    assert Span.FromString(longer).attributes[len(span.attributes) :] == added
    longer = edit.append_event(raw, "scored", time, attributes)
    assert longer.startswith(raw)
    assert Span.FromString(longer).events[len(span.events) :] == [
        Span.Event(name="scored", time_unix_nano=time, attributes=added)
    ]


def test_half_a_surrogate_pair_in_added_text_becomes_a_replacement_character() -> None:
    span = Span.FromString(edit.append_event(b"", "a\ud83d", 1, {"b\udc00": "c\ud800", "emoji": "😀"}))
    assert span.events[0].name == "a\ufffd"
    assert [(item.key, item.value.string_value) for item in span.events[0].attributes] == [
        ("b\ufffd", "c\ufffd"),
        ("emoji", "😀"),
    ]


def test_an_added_integer_of_more_than_64_bits_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="out of range"):
        edit.append_attributes(b"", {"k": 1 << 63})
