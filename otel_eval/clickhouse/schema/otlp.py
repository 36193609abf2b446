"""SQL for OTLP's attributes and times, which the landing table's view needs in many places.

ClickHouse's types are not recursive and AnyValue is, so values are read to a fixed depth: scalars, and arrays of scalars.
The names in the types are those of the protobuf fields. `value` is none: with `input_format_protobuf_oneof_presence`
ClickHouse puts the number of the oneof's member there that was sent.
"""

from typing import Final

_SCALAR: Final = "string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String"
_SENT: Final = "Enum8('none' = 0, 'string' = 1, 'bool' = 2, 'int' = 3, 'double' = 4, 'array' = 5, 'kvlist' = 6, 'bytes' = 7)"
_ANY_VALUE: Final = f"Tuple({_SCALAR}, array_value Tuple(values Array(Tuple({_SCALAR}, value {_SENT}))), value {_SENT})"
_PAIRS: Final = f"Array(Tuple(key String, value {_ANY_VALUE}))"
_SPAN: Final = (
    "trace_id String, span_id String, trace_state String, parent_span_id String, name String, kind Int32, "
    f"start_time_unix_nano UInt64, end_time_unix_nano UInt64, attributes {_PAIRS}, "
    f"events Array(Tuple(time_unix_nano UInt64, name String, attributes {_PAIRS})), "
    f"links Array(Tuple(trace_id String, span_id String, trace_state String, attributes {_PAIRS})), "
    "status Tuple(message String, code Int32)"
)

RESOURCE_SPANS: Final = (
    f"Array(Tuple(resource Tuple(attributes {_PAIRS}), "
    f"scope_spans Array(Tuple(scope Tuple(name String, version String), spans Array(Tuple({_SPAN}))))))"
)
"""The type of ExportTraceServiceRequest.resource_spans."""


def attributes(pairs: str) -> str:
    """A map of texts from a list of key-value pairs; a key that is there twice stays there twice."""
    return f"CAST(arrayMap(pair -> (pair.key, {_text('pair.value')}), {pairs}), 'Map(LowCardinality(String), String)')"


def time(nanoseconds: str) -> str:
    """A DateTime64(9); times after the year 2262 are the last that it holds."""
    return f"fromUnixTimestamp64Nano(toInt64(least({nanoseconds}, {(1 << 63) - 1})))"


def _text(value: str) -> str:
    """The text of an AnyValue; '' for none, and for what is deeper than read here."""
    elements = f"arrayMap(element -> {_json('element')}, {value}.array_value.values)"
    return (
        f"multiIf({value}.value = 'string', {value}.string_value, {value}.value = 'array', "
        f"concat('[', arrayStringConcat({elements}, ','), ']'), {value}.value = 'bytes', base64Encode({value}.bytes_value), "
        f"{_plain(value)}, '')"
    )


def _json(value: str) -> str:
    """The JSON of a scalar in an array. JSON has no bytes, infinities and NaN: they are strings."""
    return (
        f"multiIf({value}.value = 'string', toJSONString({value}.string_value), "
        f"{value}.value = 'bytes', toJSONString(base64Encode({value}.bytes_value)), "
        f"{value}.value = 'double' AND NOT isFinite({value}.double_value), toJSONString(toString({value}.double_value)), "
        f"{_plain(value)}, 'null')"
    )


def _plain(value: str) -> str:
    """Conditions and texts of the scalars that look the same inside and outside of an array."""
    return (
        f"{value}.value = 'int', toString({value}.int_value), {value}.value = 'double', toString({value}.double_value), "
        f"{value}.value = 'bool', if({value}.bool_value, 'true', 'false')"
    )
