"""What a receiver must answer to a body, judged by the generated classes and the specifications alone.

Bodies are bytes of `application/x-protobuf`, `application/json` or gRPC; nothing of `otel_eval` is used here.
"""

import base64
import binascii
import json
import re
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS: Mapping[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
_PATHS = {
    "ExportTraceServiceRequest": ("resource_spans", "scope_spans", "spans"),
    "ExportLogsServiceRequest": ("resource_logs", "scope_logs", "log_records"),
    "ExportMetricsServiceRequest": ("resource_metrics", "scope_metrics", "metrics"),
}
_ID_LENGTHS = {"trace_id": (0, 16), "span_id": (0, 8), "parent_span_id": (0, 8)}


@dataclass(frozen=True)
class Verdict:
    """Whether a body is a request, the raw items that must arrive, and how many of it are told to be rejected."""

    valid: bool
    items: tuple[bytes, ...] = ()
    rejected: int = 0


INVALID = Verdict(valid=False)


def of_binary(kind: str, body: bytes) -> Verdict:
    """What the generated class parses is valid, and so is text that is not UTF-8."""
    try:
        request = _LENIENT[kind].FromString(body)
    except DecodeError:
        assert not _parses(REQUESTS[kind], body)
        return INVALID
    raw, parsed = items(kind, body), _items_of(request)
    if kind == "metrics":
        return Verdict(valid=True, items=tuple(raw) if any(_has_points(metric) for metric in parsed) else ())
    kept = tuple(item for item, message in zip(raw, parsed, strict=True) if _ids_are_right(message))
    return Verdict(valid=True, items=kept, rejected=len(raw) - len(kept))


def items(kind: str, body: bytes) -> list[bytes]:
    """The spans, log records or metrics of a request, encoded as they are in it."""
    return _items_of(_RAW[kind].FromString(body))


def of_json(kind: str, body: bytes) -> Verdict:
    """JSON as OTLP has it: hexadecimal ids, unknown keys ignored; what is not Unicode in a text becomes U+FFFD."""
    try:
        text = body.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
        document = json.loads(text, parse_constant=_refuse_constant)
        request = _message(document, REQUESTS[kind].DESCRIPTOR)
    except (ValueError, RecursionError, OverflowError):
        return INVALID
    return of_binary(kind, request.SerializeToString())


def gunzipped(body: bytes) -> bytes | None:
    """The content of one or more whole gzip members (RFC 1952), None when it is anything else."""
    content = b""
    while True:
        member = zlib.decompressobj(wbits=31)
        try:
            content += member.decompress(body)
        except zlib.error:
            return None
        if not member.eof:
            return None
        body = member.unused_data
        if not body:
            return content


def _parses(message: Any, body: bytes) -> bool:
    try:
        message.FromString(body)
    except DecodeError:
        return False
    return True


def _items_of(request: Any) -> list[Any]:
    resource, scope, item = _PATHS[request.DESCRIPTOR.name]
    return [one for group in getattr(request, resource) for inner in getattr(group, scope) for one in getattr(inner, item)]


def _ids_are_right(item: Any) -> bool:
    return all(len(getattr(item, name, b"")) in allowed for name, allowed in _ID_LENGTHS.items())


def _has_points(metric: Any) -> bool:
    return any(getattr(data, "data_points", ()) for _, data in metric.ListFields())


def _lenient(message: Any, *, raw: bool = False) -> Any:
    """The class of `message` with texts as bytes, which need not be UTF-8, and the members of oneofs side by side.

    With `raw` the items are left encoded.
    """
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(file_descriptor: Any) -> None:
        if file_descriptor.name in added:
            return
        added.add(file_descriptor.name)
        for dependency in file_descriptor.dependencies:
            add(dependency)
        file = descriptor_pb2.FileDescriptorProto()
        file_descriptor.CopyToProto(file)
        for declared in file.message_type:
            change(declared)
        pool.AddSerializedFile(file.SerializeToString())

    def change(declared: Any) -> None:
        declared.ClearField("oneof_decl")
        for field in declared.field:
            field.ClearField("oneof_index")
            field.ClearField("proto3_optional")
            if field.type == Field.TYPE_STRING or (raw and field.name == _PATHS[message.DESCRIPTOR.name][2]):
                field.type = Field.TYPE_BYTES
                field.ClearField("type_name")
        for nested in declared.nested_type:
            change(nested)

    add(message.DESCRIPTOR.file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message.DESCRIPTOR.full_name))


_LENIENT = {kind: _lenient(message) for kind, message in REQUESTS.items()}
_RAW = {kind: _lenient(message, raw=True) for kind, message in REQUESTS.items()}


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _message(value: Any, descriptor: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    built: Any = cast(Any, message_factory.GetMessageClass)(descriptor)()
    fields = {key: field for field in descriptor.fields for key in (field.name, field.camelcase_name)}
    for key, content in value.items():
        field = fields.get(key)
        if field is None or content is None:
            continue
        if field.is_repeated:
            if not isinstance(content, list):
                raise ValueError("not an array")
            getattr(built, field.name).extend([_value(one, field) for one in content])
        elif field.message_type is not None:
            getattr(built, field.name).CopyFrom(_value(content, field))
            getattr(built, field.name).SetInParent()
        else:
            setattr(built, field.name, _value(content, field))
    return built


def _value(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return _message(value, field.message_type)
    if field.enum_type is not None:
        names: dict[Any, int] = {known.name: known.number for known in field.enum_type.values}
        return names[value] if isinstance(value, str) and value in names else _integer(value)
    if field.name in _ID_LENGTHS:
        return _id(_of_type(value, str))
    read: Callable[[Any], Any] = _SCALARS.get(field.type, _integer)
    return read(value)


def _of_type(value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise ValueError(f"not a {wanted}")
    return value


def _id(text: str) -> bytes:
    if not re.fullmatch("([0-9a-fA-F]{2})*", text):
        raise ValueError("not hexadecimal")
    return binascii.unhexlify(text)


def _bytes(value: Any) -> bytes:
    text = _of_type(value, str).replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError("not an integer")
    if isinstance(value, str):
        if not re.fullmatch("-?[0-9]+", value):
            raise ValueError("not an integer")
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(_of_type(value, int))


def _number(value: Any) -> float:
    if isinstance(value, str):
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|NaN|-?Infinity", value):
            raise ValueError("not a number")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
        raise ValueError("not a number of 64 bits")
    return float(value)


_SCALARS: Mapping[int, Callable[[Any], Any]] = {
    Field.TYPE_DOUBLE: _number,
    Field.TYPE_FLOAT: _number,
    Field.TYPE_BOOL: lambda value: _of_type(value, bool),
    Field.TYPE_STRING: lambda value: re.sub("[\ud800-\udfff]", "\ufffd", _of_type(value, str)),
    Field.TYPE_BYTES: _bytes,
}
