"""Rows of otel_traces: what ClickHouse makes of the bytes and what is made of them here are the same, by a real engine."""

import contextlib
import random
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from otel_eval.clickhouse import raw, spans
from otel_eval.errors import PermanentError
from otel_eval.records import Kind
from otel_eval.wire import check
from tests import strategies
from tests.clickhouse.conftest import Database
from tests.clickhouse.rows import NATIVE, assert_same, insert_native, insert_raw, prepare, rows
from tests.oracle import field, nest, varint
from tests.spans import START_NS, any_value, span, trace_request

DAY_NS = 86400 * 10**9
TIMES = [0, 1, START_NS, START_NS + 1, START_NS + DAY_NS, 2**63 - 1, 2**63, 2**64 - 1]
TRACE_CAPTURES = [file for file in strategies.CAPTURES if strategies.capture_kind(file) is Kind.TRACES]
SCALARS = st.one_of(
    st.text(max_size=300), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(max_size=20), st.none(),
    st.floats(1e-9, 1e-3), st.floats(1e14, 1e24), st.sampled_from(["", "/<>&\u2028\u2029\x7f\b\f\n\r\t\x00\"\\'", "x" * 20000]),
)  # fmt: skip
KEYS = st.sampled_from(["", "service.name", "a", "k" * 130]) | st.text(max_size=5)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests of any shape, most of them with values that the landing table can read."""
    if draw(st.integers(0, 3)) == 0:
        request = draw(strategies.requests(Kind.TRACES, unknown=False))
    else:
        attributes = st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), max_size=4)
        made = span(draw(attributes), resource=draw(attributes), events=[("e", draw(attributes))], links=[(1, 2)])
        request = ExportTraceServiceRequest.FromString(trace_request([made]))
        first = request.resource_spans[0].scope_spans[0].spans[0]
        first.attributes.extend(first.attributes[:1])  # a key twice
        first.links[0].attributes.extend(first.attributes)
        request.resource_spans[0].resource.attributes.add(key="service.name").value.string_value = "again"
        first.kind = draw(st.sampled_from(Span.SpanKind.values()))
        first.status.code = draw(st.sampled_from(Status.StatusCode.values()))
    times = st.sampled_from(TIMES)
    for group in request.resource_spans:
        for scope in group.scope_spans:
            for one in scope.spans:  # few days: each is a part on disk
                one.start_time_unix_nano, one.end_time_unix_nano = draw(times), draw(times)
                for event in one.events:
                    event.time_unix_nano = draw(times)
    body: bytes = request.SerializeToString()
    return body


async def test_generated_requests_that_fit_are_the_same_both_ways(database: Database) -> None:
    """One batch of all examples: an engine call for each would take minutes."""
    bodies = []

    @strategies.PROPERTY
    @given(requests())
    def collect(body: bytes) -> None:
        bodies.append(body)

    collect()
    await prepare(database)
    fitting = [body for body in bodies if raw.fits(body)]
    assert len(fitting) > len(bodies) / 3
    assert await assert_same(database, fitting) > len(fitting) / 2
    await insert_native(database, bodies)


async def test_damaged_requests_that_fit_are_the_same_both_ways(database: Database) -> None:
    """A request that the door lets in and ClickHouse refuses would take all others of its batch with it."""
    seeds = [file.read_bytes() for file in TRACE_CAPTURES if file.stat().st_size < 3000]
    seeds += [request(fields) for fields in (*ODD.values(), *OTHERWISE.values(), *NEWER.values())] * 3
    source = random.Random(6)
    bodies: list[bytes] = []
    while len(bodies) < 500:
        body = strategies.mutate(source.choice(seeds), source, source.choice([1, 1, 2, 4]))
        with contextlib.suppress(PermanentError):
            check.inspect(Kind.TRACES, body)
            bodies.append(body)
    fitting = [body for body in bodies if raw.fits(body)]
    assert 100 < len(fitting) < 400
    await prepare(database)
    await assert_same(database, fitting)
    await insert_native(database, bodies)


async def test_captures_are_the_same_both_ways(database: Database) -> None:
    bodies = [file.read_bytes() for file in TRACE_CAPTURES]
    fitting = [body for body in bodies if raw.fits(body)]
    assert len(fitting) == len(bodies) > 50
    await prepare(database)
    assert await assert_same(database, bodies) == len(spans.columns(bodies)["SpanId"]) > 100


class Encoded(SpanExporter):
    """What the SDK's own exporters would send."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.bodies.append(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS


async def test_spans_of_the_sdk_are_the_same_both_ways(database: Database) -> None:
    exporter = Encoded()
    provider = TracerProvider(resource=Resource.create({"service.name": "tests"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests", "1.0")
    values: dict[str, Any] = {
        "s": "Grüße 🦊 a/b",
        "i": -5,
        "f": 12.5,
        "b": True,
        "ss": ["x", "y/z"],
        "fs": [1.0, 1e21],
        "bs": [True],
    }
    with tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER, attributes=values) as outer:
        linked = trace.Link(outer.get_span_context(), {"why": [1, 2]})
        with tracer.start_as_current_span("inner", links=[linked], attributes={"n": 2**62}) as inner:
            inner.add_event("first_token", {"latency_s": 0.25})
            inner.record_exception(ValueError("no"))
            inner.set_status(trace.StatusCode.ERROR, "it failed")
    assert all(map(raw.fits, exporter.bodies))
    await prepare(database)
    assert await assert_same(database, exporter.bodies) == 2
    (found,) = await rows(database, "otel_traces", "SpanAttributes, SpanKind, ServiceName", "SpanName DESC LIMIT 1")
    expected = {"s": "Grüße 🦊 a/b", "i": "-5", "f": "12.5", "b": "true", "ss": '["x","y/z"]', "fs": "[1,1e21]", "bs": "[true]"}
    assert found == (expected, "Server", "tests")


def fixed(number: int, value: int | float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d" if isinstance(value, float) else "<Q", value)


def pair(value: bytes, key: bytes = b"k") -> bytes:
    return field(9, field(1, key) + field(2, value))


GROUP = varint(1001 << 3 | 3) + field(1, b"x") + varint(1001 << 3 | 4)
SHOWN = "SpanName, SpanKind, Duration, StatusCode, StatusMessage, toString(SpanAttributes)"
ODD = {
    "not UTF-8": pair(field(1, b"a\xff\xc3(\xed\xa0\x80"), b"\xff") + field(5, b"n\xff\x00"),
    "not UTF-8 in an array": pair(field(5, field(1, field(1, b"a\xff\xe2\x80\xa8\x1f\xe2\x80")))),
    "a key twice": pair(field(1, b"first")) + pair(field(1, b"second")),
    "no key and no value": field(9, b"") + field(9, field(1, b"k")) + field(9, field(2, field(1, b"v"))),
    "ids of odd lengths": field(1, b"\x01") + field(2, b"123456789") + field(4, b"q"),
    "fields in any order": pair(field(1, b"v")) + field(5, b"name") + pair(field(1, b"w")) + field(1, b"t" * 16),
    "numbers": b"".join(pair(fixed(4, value)) for value in (float("nan"), float("-inf"), -0.0, 5e-324, 1e-7, 1e21, 1.5e300)),
    "fields that ClickHouse skips": field(10, 3) + varint(16 << 3 | 5) + b"\x01\x03\x00\x00" + field(14, 1),
    "a zero that is said": field(6, 0) + fixed(8, 0) + pair(field(3, 0)) + pair(field(2, 0)) + pair(field(1, b"")),
}
OTHERWISE = {
    "a key-value list": pair(field(6, field(1, field(1, b"a") + field(2, field(1, b"b"))))),
    "an empty key-value list": pair(field(6, b"")),
    "an array in an array": pair(nest(5, 1, 5, 1, 1, value=b"a")),
    "a key-value list in an array": pair(nest(5, 1, value=field(6, b""))),
    "a deep array": pair(nest(*[5, 1] * 30, value=b"")),
    "a value of two kinds": pair(field(1, b"v") + field(3, 1)),
    "a value twice": pair(field(1, b"v") + field(1, b"w")),
    "two values": field(9, field(1, b"k") + field(2, field(1, b"v")) + field(2, field(1, b"w"))),
    "a key that is given twice": field(9, field(1, b"k") + field(1, b"l") + field(2, field(1, b"v"))),
    "a name twice": field(5, b"a") + field(5, b"b"),
    "a status twice": field(15, field(3, 2)) + field(15, field(2, b"m")),
    "a group": GROUP,
    "a group in a value": pair(field(1, b"v") + GROUP),
    "a number for a text": field(5, 7),
    "a text for a number": pair(field(3, b"v")),
    "a truth value of 2": pair(field(2, 2)),
    "a kind beyond 32 bits": field(6, 1 << 31),
}
NEWER = {
    "a field of a later OTLP": field(99, b"later"),
    "a kind of value of a later OTLP": pair(field(99, b"later")),
    "a kind of span of a later OTLP": field(6, 6),
    "a status of a later OTLP": field(15, field(3, 3)),
    "numbers that are longer than they need": pair(b"\x18\x85\x80\x00"),
}


def request(span_fields: bytes) -> bytes:
    return nest(1, 2, 2, value=fixed(7, START_NS) + span_fields)


async def test_odd_content_that_fits_is_the_same_both_ways(database: Database) -> None:
    await prepare(database)
    bodies = {what: request(fields) for what, fields in ODD.items()}
    around = field(1, field(1, field(1, field(1, b"a"))) + field(2, field(2, b"")) + field(2, b""))
    bodies["a resource without spans"] = around + field(1, b"")
    for what, body in bodies.items():
        assert raw.fits(body), what
    assert await assert_same(database, list(bodies.values())) == len(bodies)


async def test_what_the_landing_table_cannot_store_exactly_does_not_fit(database: Database) -> None:
    """Each of these is refused with all of its batch, or stored otherwise: hence the other way."""
    await prepare(database)
    for what, fields in OTHERWISE.items():
        body = request(fields)
        assert not raw.fits(body), what
        assert not raw.fits(request(b"") + body), what
        for table in ("otel_traces", NATIVE):
            await database.client.command(f"TRUNCATE TABLE {table}")
        await insert_native(database, [body])
        stored = await rows(database, NATIVE, SHOWN)
        assert len(stored) == 1, what
        with contextlib.suppress(PermanentError):
            await insert_raw(database, [body])
        assert await rows(database, "otel_traces", SHOWN) != stored, what


@pytest.mark.parametrize("what", NEWER)
def test_what_is_unusual_goes_the_sure_way(what: str) -> None:
    assert not raw.fits(request(NEWER[what]))
    found = spans.columns([request(NEWER[what])])
    assert (found["SpanKind"], found["StatusCode"]) == (["Unspecified"], ["Unset"])


def test_what_is_no_request() -> None:
    assert raw.fits(b"")
    assert spans.columns([]) == spans.columns([b""]) == {name: [] for name in spans.COLUMNS}
    for body in (b"\x0a", b"\xff", request(b"")[:-1]):
        assert not raw.fits(body)
        with pytest.raises(PermanentError):
            spans.columns([body])


DEEP = {
    '{"a":[1.5,"x/y",null,{"c":true}],"b":1}': {"b": 1, "a": [1.5, "x/y", None, {"c": True}]},
    '[["a"],[],{}]': [["a"], [], {}],
    "{}": {},
    '["inf",{"n":"nan"}]': [float("inf"), {"n": float("nan")}],
    '{"\\"\\n\\u001F\\u2028é":"AP8="}': {'"\n\x1f\u2028é': b"\x00\xff"},
    "[-9223372036854775808,[1e-7,100000000000000000000,0.1]]": [-(2**63), [1e-7, 1e20, 0.1]],
}


async def test_deep_values_are_json(database: Database) -> None:
    await prepare(database)
    bodies = []
    for text, value in DEEP.items():
        deep = {"deep": value, "flat": [1, "a"]}
        bodies.append(trace_request([span(deep, name=text, resource={"service.name": value}, events=[("e", deep)])]))
        assert not raw.fits(bodies[-1]), text
    await insert_native(database, bodies)
    found = await rows(database, NATIVE, "SpanName, SpanAttributes, ServiceName, Events.Attributes")
    assert len(found) == len(DEEP)
    for text, attributes, service, events in found:
        assert (attributes, service) == ({"deep": text, "flat": '[1,"a"]'}, text)
        assert events == [attributes]


def test_of_a_key_that_a_list_has_twice_the_last_counts() -> None:
    made = any_value({"k": 1})
    made.kvlist_value.values.extend(any_value({"k": 2, "j": 3}).kvlist_value.values)
    (attributes,) = spans.columns([request(pair(made.SerializeToString()))])["SpanAttributes"]
    assert attributes.first(b"k") == b'{"j":3,"k":2}'
