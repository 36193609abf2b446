"""Spans and log records back from their tables, as OTLP requests.

What the tables do not hold is lost: dropped counts, flags, schema URLs, scope attributes, bytes that are not UTF-8 (they
are U+FFFD). Types are lost too, since attribute values are stored as text. They stay text where a reader of the trace
takes a text as well: numbers in `gen_ai.usage.*`, arrays and objects as JSON. An answer "42" must not become a number, so
a text is read as what it spells only under the few keys where the type counts (`_TYPED` and `_STRUCTURED`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

_TYPED: Final = re.compile(
    r"gen_ai\.request\.(?!model$|user$|parameters$).*|.*\.(?:annotation|evaluation)\.score|gen_ai\.evaluation\.score\.value"
    r"|otel_eval\.feedback\.value|otel_eval\.outcome\.(?:success|score)|lk\.function_tool\.is_error"
)
_STRUCTURED: Final = frozenset({"gen_ai.tool.definitions"})
_NAMES_A_TYPED_ONE: Final = "logfire.feedback.name"
_NUMBER: Final = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,3})?", re.ASCII)
_KINDS: Final = {"Internal": 1, "Server": 2, "Client": 3, "Producer": 4, "Consumer": 5}
_STATUS_CODES: Final = {"Ok": 1, "Error": 2}
_MAX_INT64: Final = (1 << 63) - 1
_MAX_DEPTH: Final = 24
"""Of JSON: protobuf takes a hundred messages in one another, and each level is two or three of them."""

_TEXTS: Final = {"ScopeName", "ScopeVersion", "StatusMessage", "SpanName", "TraceState", "Body", "EventName"}
"""Columns that may be missing (or not UTF-8), which are read as a text."""


def _map(of: str) -> tuple[str, str]:
    """Keys and values of a map: a key that is there twice stays there twice."""
    keys, values = (f"arrayMap(text -> toValidUTF8(toString(text)), {part}({of}))" for part in ("mapKeys", "mapValues"))
    return keys, values


def _maps(of: str) -> str:
    keys, values = _map("one")
    return f"arrayMap(one -> ({keys}, {values}), {of})"


_AROUND: Final = {"ResourceKeys": _map("ResourceAttributes")[0], "ResourceValues": _map("ResourceAttributes")[1]}
_SPAN: Final = {
    "TraceId": "TraceId",
    "SpanId": "SpanId",
    "ParentSpanId": "ParentSpanId",
    "TraceState": "toValidUTF8(TraceState)",
    "SpanName": "toValidUTF8(toString(SpanName))",
    "SpanKind": "toString(SpanKind)",
    "StartNs": "toUnixTimestamp64Nano(Timestamp)",
    "DurationNs": "toInt64(Duration)",
    "StatusCode": "toString(StatusCode)",
    "StatusMessage": "toValidUTF8(StatusMessage)",
    "ScopeName": "toValidUTF8(ScopeName)",
    "ScopeVersion": "toValidUTF8(ScopeVersion)",
    **_AROUND,
    "Keys": _map("SpanAttributes")[0],
    "Values": _map("SpanAttributes")[1],
    "EventTimes": "arrayMap(time -> toUnixTimestamp64Nano(time), Events.Timestamp)",
    "EventNames": "arrayMap(name -> toValidUTF8(toString(name)), Events.Name)",
    "EventAttributes": _maps("Events.Attributes"),
    "LinkTraceIds": "Links.TraceId",
    "LinkSpanIds": "Links.SpanId",
    "LinkAttributes": _maps("Links.Attributes"),
}
_LOG: Final = {
    "TraceId": "TraceId",
    "SpanId": "SpanId",
    "TimeNs": "toUnixTimestamp64Nano(Timestamp)",
    "Severity": "toInt32(SeverityNumber)",
    "Body": "toValidUTF8(Body)",
    "EventName": "toValidUTF8(toString(EventName))",
    "ScopeName": "toValidUTF8(toString(ScopeName))",
    "ScopeVersion": "toValidUTF8(toString(ScopeVersion))",
    **_AROUND,
    "Keys": _map("LogAttributes")[0],
    "Values": _map("LogAttributes")[1],
}


def selected_spans(there: Iterable[str]) -> str:
    """What is to be selected from `otel_traces` for `spans`, when it has these columns."""
    return _selected(_SPAN, frozenset(there))


def selected_logs(there: Iterable[str]) -> str:
    """What is to be selected from `otel_logs` for `logs`, when it has these columns."""
    return _selected(_LOG, frozenset(there))


def _selected(wanted: Mapping[str, str], there: frozenset[str]) -> str:
    shown = {name: "''" if name in _TEXTS and name not in there else sql for name, sql in wanted.items()}
    return ", ".join(f"{sql} AS {name}_" for name, sql in shown.items())  # no alias hides a column


def spans(rows: Iterable[Sequence[Any]]) -> bytes:
    """An OTLP traces request with these rows, a group for each. What is no id is none."""
    request = ExportTraceServiceRequest()
    for row in rows:
        of = dict(zip(_SPAN, row, strict=True))
        group = request.resource_spans.add()
        scope = _around(group, group.scope_spans, of)
        start = min(max(of["StartNs"], 0), _MAX_INT64)
        span = scope.spans.add(
            trace_id=_id(of["TraceId"]),
            span_id=_id(of["SpanId"]),
            parent_span_id=_id(of["ParentSpanId"]),
            trace_state=of["TraceState"],
            name=of["SpanName"],
            kind=_KINDS.get(of["SpanKind"], 0),
            start_time_unix_nano=start,
            end_time_unix_nano=start + max(of["DurationNs"], 0),
        )
        span.status.code, span.status.message = _STATUS_CODES.get(of["StatusCode"], 0), of["StatusMessage"]
        _put(span.attributes, of["Keys"], of["Values"])
        for time_ns, name, pairs in zip(of["EventTimes"], of["EventNames"], of["EventAttributes"], strict=True):
            _put(span.events.add(time_unix_nano=max(time_ns, 0), name=name).attributes, *pairs)
        for trace_id, span_id, pairs in zip(of["LinkTraceIds"], of["LinkSpanIds"], of["LinkAttributes"], strict=True):
            _put(span.links.add(trace_id=_id(trace_id), span_id=_id(span_id)).attributes, *pairs)
    return request.SerializeToString()


def logs(rows: Iterable[Sequence[Any]]) -> bytes:
    """An OTLP logs request with these rows, a group for each. A body that was no text is JSON."""
    request = ExportLogsServiceRequest()
    for row in rows:
        of = dict(zip(_LOG, row, strict=True))
        group = request.resource_logs.add()
        scope = _around(group, group.scope_logs, of)
        record = scope.log_records.add(
            trace_id=_id(of["TraceId"]),
            span_id=_id(of["SpanId"]),
            time_unix_nano=max(of["TimeNs"], 0),
            severity_number=of["Severity"],
            event_name=of["EventName"],
        )
        if of["Body"]:
            record.body.string_value = of["Body"]
        _put(record.attributes, of["Keys"], of["Values"])
    return request.SerializeToString()


def _around(group: Any, scopes: Any, of: Mapping[str, Any]) -> Any:
    """Fill in the resource and add the scope."""
    _put(group.resource.attributes, of["ResourceKeys"], of["ResourceValues"])
    made = scopes.add()
    made.scope.name, made.scope.version = of["ScopeName"], of["ScopeVersion"]
    return made


def _put(target: Any, keys: Sequence[str], texts: Sequence[str]) -> None:
    named = next((text for key, text in zip(keys, texts, strict=True) if key == _NAMES_A_TYPED_ONE), None)
    for key, text in zip(keys, texts, strict=True):
        value: AnyValue = target.add(key=key).value
        if key == named or _TYPED.fullmatch(key):
            _set(value, _spelt(text))
        elif key in _STRUCTURED:
            _set(value, _decoded(text))
        else:
            value.string_value = text


def _spelt(text: str) -> bool | int | float | str:
    """The truth value or number that a text is, or the text."""
    if text in {"true", "false"}:
        return text == "true"
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _set(value: AnyValue, plain: Any, depth: int = 0) -> None:
    """Plain JSON as an AnyValue; what lies too deep is left out."""
    match plain:
        case bool():
            value.bool_value = plain
        case int() if abs(plain) <= _MAX_INT64:
            value.int_value = plain
        case int() | float():
            value.double_value = float(plain)
        case str():
            value.string_value = plain.encode(errors="replace").decode()
        case list() if depth < _MAX_DEPTH:
            value.array_value.SetInParent()
            for item in plain:
                _set(value.array_value.values.add(), item, depth + 1)
        case dict() if depth < _MAX_DEPTH:
            value.kvlist_value.SetInParent()
            for key, item in plain.items():
                _set(value.kvlist_value.values.add(key=key).value, item, depth + 1)


def _id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
