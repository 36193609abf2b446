"""Trace requests as they came, for ClickHouse to take apart: format ProtobufSingle into the landing table.

Requests joined byte by byte are a request, so a batch is `b"".join(bodies)`. ClickHouse's reader of protobuf does less than
protobuf: it knows no recursive messages, refuses the whole batch for a group, a wrong wire type or a oneof that is set
twice, and stores nothing for a text that is there twice. `fits` tells which requests it stores exactly; any others go
through `spans.columns`. Needs ClickHouse 25.9.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

FORMAT: Final = "ProtobufSingle"

SCHEMA: Final = (
    'syntax = "proto3"; '
    "message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; "
    "double double_value = 4; ArrayValue array_value = 5; KeyValueList kvlist_value = 6; bytes bytes_value = 7; } } "
    "message ArrayValue { repeated AnyValue values = 1; } "
    "message KeyValueList { repeated KeyValue values = 1; } "
    "message KeyValue { string key = 1; AnyValue value = 2; } "
    "message InstrumentationScope { string name = 1; string version = 2; } "
    "message Resource { repeated KeyValue attributes = 1; } "
    "message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; } "
    "message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; } "
    "message ScopeSpans { InstrumentationScope scope = 1; repeated Span spans = 2; } "
    "message Span { bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5; "
    "int32 kind = 6; fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; "
    "message Event { fixed64 time_unix_nano = 1; string name = 2; repeated KeyValue attributes = 3; } "
    "repeated Event events = 11; "
    "message Link { bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; repeated KeyValue attributes = 4; } "
    "repeated Link links = 13; Status status = 15; } "
    "message Status { string message = 2; int32 code = 3; }"
)
"""What ClickHouse reads of a request; it skips other fields. It goes with each insert, in the URL: hence without spaces."""

SETTINGS: Final[dict[str, str | int]] = {
    "format_schema_source": "string",
    "format_schema": SCHEMA,
    "format_schema_message_name": "ExportTraceServiceRequest",
    "input_format_protobuf_oneof_presence": 1,  # tells the view which kind of value was sent
    "output_format_json_escape_forward_slashes": 0,  # reaches the view: "a/b" in an array stays as it is
}

_Field = descriptor_pb2.FieldDescriptorProto
_COMMON: Final = "opentelemetry.proto.common.v1"


def fits(body: bytes) -> bool:
    """Whether the landing table stores this trace request exactly.

    It does where each field is known and there once, in its shortest form, and each value is a scalar or an array of
    scalars: then, and only then, reading what is allowed and writing it again takes as many bytes. One of nothing but empty
    attributes takes 30 times its size in memory meanwhile.
    """
    try:
        request = _Exact.FromString(body)
    except DecodeError:
        return False
    request.DiscardUnknownFields()
    size: int = request.ByteSize()
    return size == len(body)


def _exact_class(message: type[Message]) -> Any:
    """The message as far as the landing table reads it exactly; what it does not becomes an unknown field.

    The definitions are OTLP's with these changes: enums and booleans are closed, so that numbers without a name are unknown
    (protobuf reads the number 2 as true, ClickHouse refuses it); no number takes more bytes when it is written
    again; strings are bytes; values end at arrays of scalars.
    """
    pool = descriptor_pool.DescriptorPool()
    _add_file(pool, message.DESCRIPTOR.file, set())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message.DESCRIPTOR.full_name))


def _add_file(pool: descriptor_pool.DescriptorPool, descriptor: Any, done: set[str]) -> None:
    if descriptor.name in done:
        return
    done.add(descriptor.name)
    for dependency in descriptor.dependencies:
        _add_file(pool, dependency, done)
    file = descriptor_pb2.FileDescriptorProto()
    descriptor.CopyToProto(file)
    file.syntax = "proto2"
    file.ClearField("options")
    for message in file.message_type:
        _narrow(message)
    if file.package == _COMMON:
        bit = file.enum_type.add(name="Bit")
        bit.value.add(name="OFF", number=0)
        bit.value.add(name="ON", number=1)
        _end_at_arrays(file)
    pool.AddSerializedFile(file.SerializeToString())


def _narrow(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        field.ClearField("json_name")
        field.ClearField("options")
        if field.type == _Field.TYPE_STRING:
            field.type = _Field.TYPE_BYTES
        elif field.type == _Field.TYPE_INT32:
            field.type = _Field.TYPE_UINT32
        elif field.type == _Field.TYPE_BOOL:
            field.type, field.type_name = _Field.TYPE_ENUM, f".{_COMMON}.Bit"
    for nested in message.nested_type:
        _narrow(nested)


def _end_at_arrays(common: descriptor_pb2.FileDescriptorProto) -> None:
    messages = {message.name: message for message in common.message_type}
    value = messages["AnyValue"]
    _remove(value, "kvlist_value")
    scalar = common.message_type.add()
    scalar.CopyFrom(value)
    scalar.name = "Scalar"
    _remove(scalar, "array_value")
    messages["ArrayValue"].field[0].type_name = f".{_COMMON}.Scalar"


def _remove(message: descriptor_pb2.DescriptorProto, name: str) -> None:
    del message.field[[field.name for field in message.field].index(name)]


_Exact: Final = _exact_class(ExportTraceServiceRequest)
