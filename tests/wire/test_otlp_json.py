"""OTLP/JSON means what the specification says, judged by an encoder written here from the specification."""

import base64
import json
import math
import random
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor as Field
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.errors import PermanentError, TooLargeError
from otel_eval.records import Kind
from otel_eval.wire import check, lens, otlp_json
from otel_eval.wire.lens import REQUESTS
from tests import oracle, strategies

LONG = {Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_FIXED64, Field.TYPE_SFIXED64, Field.TYPE_SINT64}
IDS = {"trace_id", "span_id", "parent_span_id"}
UNKNOWN = {"future": {"traceId": "not hex", "deep": [[{}], None, 10**30, 1.5e300, "\x7f\ud800"]}, "[ext.name]": 1, "@type": "x"}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def to_json(message: Any, source: random.Random) -> dict[str, Any]:
    """One of the ways to write this message as OTLP/JSON, with unknown fields here and there."""
    document: dict[str, Any] = {}
    for field, value in message.ListFields():
        written = [scalar(field, one, source) for one in value] if field.is_repeated else scalar(field, value, source)
        document[field.name if source.random() < 0.1 else camel(field.name)] = written
    unset = [field for field in message.DESCRIPTOR.fields if field.containing_oneof is None and camel(field.name) not in document]
    if unset and source.random() < 0.2:
        document.setdefault(camel(source.choice(unset).name), None)
    if source.random() < 0.2:
        document |= UNKNOWN
    return document


def scalar(field: Any, value: Any, source: random.Random) -> Any:
    if field.message_type is not None:
        return to_json(value, source)
    if field.name in IDS:
        return source.choice((str.upper, str.lower))(value.hex())
    if field.type == Field.TYPE_BYTES:
        encoded = source.choice((base64.b64encode, base64.urlsafe_b64encode))(value).decode()
        return source.choice((encoded, encoded.rstrip("=")))
    if field.type in LONG:
        return source.choice((str(value), value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def convert(document: Any, kind: Kind = Kind.TRACES) -> bytes:
    return otlp_json.to_protobuf(kind, document if isinstance(document, bytes) else json.dumps(document).encode())


def with_span(**fields: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}


def convert_span(**fields: Any) -> Any:
    (raw,) = lens.items(convert(with_span(**fields)))
    return Span.FromString(raw)


def with_value(value: Any) -> dict[str, Any]:
    return with_span(attributes=[{"key": "k", "value": value}])


@strategies.PROPERTY
@given(strategies.kinds, st.integers(0, 1 << 32), st.booleans(), st.data())
def test_what_it_gives_is_what_the_generated_class_encodes(kind: Kind, seed: int, ascii_only: bool, data: st.DataObject) -> None:
    request = data.draw(strategies.requests(kind, unknown=False))
    document = to_json(request, random.Random(seed))
    body = convert(json.dumps(document, ensure_ascii=ascii_only).encode(errors="surrogatepass"), kind)
    expected = [(item.resource, item.scope, item.raw) for item in oracle.items(request.SerializeToString())]
    assert [(item.resource, item.scope, item.raw) for item in oracle.items(body)] == expected
    assert oracle.parses(REQUESTS[kind], body, utf8=True)


def test_ids_are_hexadecimal_in_either_case() -> None:
    span = convert_span(traceId="5B8EFFF798038103D269B633813FC60C", spanId="eee19b7ec3c1b174", parentSpanId="")
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert span.span_id.hex() == "eee19b7ec3c1b174"
    assert convert_span(trace_id="ab" * 16).trace_id == b"\xab" * 16


@pytest.mark.parametrize("value", [1544712660000000000, "1544712660000000000", 1544712660000000000.0])
def test_integers_are_numbers_or_strings(value: Any) -> None:
    assert convert_span(startTimeUnixNano=value).start_time_unix_nano == 1544712660000000000


def test_enums_are_integers_and_their_names_are_taken_too() -> None:
    assert convert_span(kind=3, status={"code": 2}).kind == 3
    assert convert_span(kind=77).kind == 77
    assert convert_span(kind="SPAN_KIND_CLIENT", status={"code": "STATUS_CODE_ERROR"}).status.code == 2


def test_null_is_the_same_as_absent() -> None:
    assert convert_span(name=None, attributes=None, status=None) == Span()
    assert convert({"resourceSpans": None}) == convert({}) == convert({"resourceSpans": [{"scopeSpans": None}]}) == b""


def test_numbers_that_json_does_not_have_are_strings() -> None:
    for text, check_value in (
        ("NaN", math.isnan),
        ("Infinity", lambda v: v == math.inf),
        ("-Infinity", lambda v: v == -math.inf),
    ):
        assert check_value(
            convert_span(attributes=[{"key": "k", "value": {"doubleValue": text}}]).attributes[0].value.double_value
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb"half \ud83d", "half \ufffd"),
        (rb"\udc00 half", "\ufffd half"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\\ud83d", "\\ud83d"),
        (rb"\\\ud83d\\", "\\\ufffd\\"),
        (rb"\uD83D\uDE00\uDBFF", "😀\ufffd"),
        (b"cut \xe6\x97", "cut \ufffd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (rb"nul \u0000", "nul \0"),
    ],
)
def test_text_that_is_not_unicode_costs_only_the_broken_character(text: bytes, expected: str) -> None:
    body = convert(b'{"resourceSpans":[{"schemaUrl":"%s","scopeSpans":[{"spans":[{"name":"%s"}]}]}]}' % (text, text))
    (item,) = oracle.items(body)
    assert Span.FromString(item.raw).name == expected
    assert item.resource == oracle.field(3, expected.encode())


WRONG = {
    "a list": [],
    "a text": "x",
    "a number": 5,
    "no json": b"{",
    "text behind": b"{} x",
    "nothing": b"",
    "utf-16": '{"resourceSpans":[]}'.encode("utf-16"),
    "nan": b'{"future":NaN}',
    "infinity": b'{"future":-Infinity}',
    "resources not a list": {"resourceSpans": {}},
    "a resource that is a list": {"resourceSpans": [[]]},
    "a resource that is null": {"resourceSpans": [None]},
    "a span that is a text": {"resourceSpans": [{"scopeSpans": [{"spans": ["x"]}]}]},
    "resource fields of a wrong type": {"resourceSpans": [{"resource": "x"}]},
    "an id that is not hexadecimal": with_span(traceId="zz"),
    "an id with an odd digit": with_span(traceId="abc"),
    "an id with spaces": with_span(spanId="ab cd"),
    "an id that is a number": with_span(traceId=5),
    "an id that is a list": with_span(traceId=[1]),
    "a name that is a number": with_span(name=5),
    "attributes that are an object": with_span(attributes={"k": "v"}),
    "a value that is a text": with_value("v"),
    "a value that is a list": with_value([]),
    "a text value that is a number": with_value({"stringValue": 5}),
    "a flag that is a number": with_value({"boolValue": 1}),
    "an integer with a fraction": with_value({"intValue": 1.5}),
    "an integer that is too large": with_value({"intValue": 1 << 63}),
    "an integer that is far too large": with_value({"intValue": 10**400}),
    "digits without end": with_value({"intValue": "9" * 5000}),
    "an integer that is true": with_value({"intValue": True}),
    "an integer with spaces": with_value({"intValue": " 5"}),
    "an integer that is a list": with_value({"intValue": []}),
    "a double that is too large": json.dumps(with_value({"doubleValue": "1e400"})).replace('"1e400"', "1e400").encode(),
    "a double that is a huge integer": with_value({"doubleValue": 10**400}),
    "a double that is true": with_value({"doubleValue": True}),
    "bytes that are not base64": with_value({"bytesValue": "***"}),
    "bytes of an odd length": with_value({"bytesValue": "A"}),
    "bytes that are a number": with_value({"bytesValue": 5}),
    "an unknown name of an enum": with_span(kind="FOO"),
    "an enum that is a list": with_span(kind=[]),
    "an enum that is an object": with_span(kind={}),
    "an enum that is too large": with_span(kind=1 << 31),
    "a negative time": with_span(startTimeUnixNano=-1),
    "flags that are too large": with_span(flags=1 << 32),
    "an open array": b"[" * 100_000,
    "very deep unknown fields": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused(body: Any) -> None:
    with pytest.raises(PermanentError) as refused:
        convert(body)
    assert len(str(refused.value)) < 400


def test_the_refusal_names_the_place() -> None:
    with pytest.raises(PermanentError, match=r"attributes: value: intValue: expected an integer, got 1\.5"):
        convert(with_value({"intValue": 1.5}))
    with pytest.raises(PermanentError, match=r"\$\.resourceSpans\[1\]"):
        convert({"resourceSpans": [{}, 5]})


def test_values_nest_as_deep_as_the_binary_form_allows() -> None:
    value: dict[str, Any] = {"stringValue": "x"}
    accepted = set()
    for depth in range(200):
        try:
            check.inspect(Kind.TRACES, convert(with_value(value)))
            accepted.add(depth)
        except PermanentError:
            pass
        value = {"arrayValue": {"values": [value]}}
    assert accepted == set(range(48))


def test_any_bytes_give_a_request_or_a_permanent_error() -> None:
    (capture,) = strategies.CAPTURES[0].parent.glob("*.otlp.json")
    text = capture.read_bytes()
    source = random.Random(5)
    outcomes = [0, 0]
    pieces = [b'{"', b'"}', b"[", b"]", b"null", b"1e9", b"\\ud800", b"\xff", b'"a":', b",", b"-", b"true"]
    for _ in range(1500):
        start = source.randrange(len(text))
        body = (
            text[:start]
            + source.choice([*pieces, b"", text[source.randrange(len(text)) :][:20]])
            + text[start + source.randrange(3) :]
        )
        try:
            assert oracle.parses(REQUESTS[Kind.TRACES], convert(body), utf8=True)
            outcomes[0] += 1
        except PermanentError:
            outcomes[1] += 1
    assert min(outcomes) > 50


def test_too_many_values_are_refused() -> None:
    for body in (
        b'{"future":[' + b"0," * 6_300_000 + b"0]}",
        json.dumps(with_span(events=[[0]])).encode().replace(b"0", b"0," * 2_100_000 + b"0"),
    ):
        with pytest.raises(TooLargeError):
            convert(body)


@pytest.mark.parametrize(
    ("before", "after"),
    [(b'{"resourceSpans":[{"scopeSpans":[', b"]}]}"), (b'{"resourceSpans":[{"scopeSpans":[{"spans":[', b"]}]}]}")],
)
def test_too_many_groups_and_items_are_refused(before: bytes, after: bytes) -> None:
    with pytest.raises(TooLargeError):
        convert(before + b"{}," * check.MAX_ITEMS + b'{"spans":[{}]}' + after)
