"""What a receiver must answer to a body, judged by the generated classes and the specifications alone.

Bodies are bytes of `application/x-protobuf`, `application/json` or gRPC; nothing of `otel_eval` is used here.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests import oracle

REQUESTS: Mapping[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
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
    raw = [item.raw for item in oracle.items(body)]
    item_class = type(request).DESCRIPTOR
    for number in (1, 2, 2):
        item_class = item_class.fields_by_number[number].message_type
    parsed = [message_factory.GetMessageClass(item_class).FromString(item) for item in raw]
    if kind == "metrics":
        return Verdict(valid=True, items=tuple(raw) if any(_has_points(metric) for metric in parsed) else ())
    kept = tuple(item for item, message in zip(raw, parsed, strict=True) if _ids_are_right(message))
    return Verdict(valid=True, items=kept, rejected=len(raw) - len(kept))


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


def _ids_are_right(item: Any) -> bool:
    return all(len(getattr(item, name, b"")) in allowed for name, allowed in _ID_LENGTHS.items())


def _has_points(metric: Any) -> bool:
    return any(getattr(data, "data_points", ()) for _, data in metric.ListFields())


def _lenient(message: Any) -> Any:
    """The class of `message` with texts as bytes, which need not be UTF-8, and the members of oneofs side by side."""
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
            if field.type == Field.TYPE_STRING:
                field.type = Field.TYPE_BYTES
        for nested in declared.nested_type:
            change(nested)

    add(message.DESCRIPTOR.file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message.DESCRIPTOR.full_name))


_LENIENT = {kind: _lenient(message) for kind, message in REQUESTS.items()}


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _message(value: Any, descriptor: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    built: Any = message_factory.GetMessageClass(descriptor)()
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
    if field.type in (Field.TYPE_DOUBLE, Field.TYPE_FLOAT):
        return _number(value)
    if field.type == Field.TYPE_BOOL:
        return _of_type(value, bool)
    if field.type == Field.TYPE_STRING:
        return re.sub("[\ud800-\udfff]", "\ufffd", _of_type(value, str))
    if field.type == Field.TYPE_BYTES:
        return _bytes(_of_type(value, str), is_id=field.name in _ID_LENGTHS)
    if field.enum_type is not None and value in [known.name for known in field.enum_type.values]:
        return field.enum_type.values_by_name[value].number
    return _integer(value)


def _of_type(value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise ValueError(f"not a {wanted}")
    return value


def _bytes(text: str, *, is_id: bool) -> bytes:
    if is_id:
        if not re.fullmatch("([0-9a-fA-F]{2})*", text):
            raise ValueError("not hexadecimal")
        return binascii.unhexlify(text)
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)


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
    number = float(_of_type(value, int | float if not isinstance(value, bool) else str))
    if number in (float("inf"), float("-inf")):
        raise ValueError("too large")
    return number
