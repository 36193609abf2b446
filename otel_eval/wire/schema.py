"""Building protobuf message classes at import, from tables in code or from the OTLP definitions themselves."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_Field = descriptor_pb2.FieldDescriptorProto

# A field of a lens: (name, number, type), where the type is one of these or the name of a message of the same lens;
# `[type]` is repeated, and "map" is `repeated KeyValue` read as a map from key to the raw bytes of its AnyValue.
FieldSpec = tuple[str, int, str | list[str]]

_SCALARS: Mapping[str, Any] = {
    "bytes": _Field.TYPE_BYTES,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "double": _Field.TYPE_DOUBLE,
    "fixed32": _Field.TYPE_FIXED32,
    "fixed64": _Field.TYPE_FIXED64,
}
_VARINTS = (
    _Field.TYPE_INT32,
    _Field.TYPE_INT64,
    _Field.TYPE_UINT32,
    _Field.TYPE_UINT64,
    _Field.TYPE_SINT32,
    _Field.TYPE_SINT64,
)


def lens_classes(name: str, messages: Mapping[str, Sequence[FieldSpec]]) -> dict[str, type[Message]]:
    """Message classes that declare just these fields; what is not declared is kept as unknown fields.

    The syntax is proto2 and text is declared as bytes, so that nothing checks UTF-8.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=name, syntax="proto2")
    for message, fields in messages.items():
        declared = file.message_type.add(name=message)
        for field_name, number, spec in fields:
            repeated = isinstance(spec, list) or spec == "map"
            field: Any = declared.field.add(
                name=field_name, number=number, label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            )
            type_name = spec[0] if isinstance(spec, list) else spec
            if type_name == "map":
                type_name = _declare_map_entry(declared, field_name)
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{name}.{message}.{type_name}"
            elif type_name in messages:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{name}.{type_name}"
            else:
                field.type = _SCALARS[type_name]
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {message: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{name}.{message}")) for message in messages}


def _declare_map_entry(message: Any, field_name: str) -> str:
    """Declare the entry message of a map field the way protoc names it."""
    name = "".join(part.capitalize() for part in field_name.split("_")) + "Entry"
    entry = message.nested_type.add(name=name)
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=_Field.TYPE_BYTES, label=_Field.LABEL_OPTIONAL)
    return name


def merging_class(message: type[Message], kept: Collection[str] = ()) -> type[Message]:
    """A class that checks the wire form of `message` in constant memory, but for the repeated fields named in `kept`.

    It is the same schema with four changes: repeated messages and texts are singular (protobuf merges or replaces the
    occurrences of a singular field, so a million of them become one), repeated integers are booleans (the same bytes
    on the wire, one byte in memory), oneofs are plain fields, and strings are bytes.
    """
    pool = descriptor_pool.DescriptorPool()
    _add_merging_file(pool, message.DESCRIPTOR.file, kept, set())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message.DESCRIPTOR.full_name))


def _add_merging_file(pool: descriptor_pool.DescriptorPool, descriptor: Any, kept: Collection[str], done: set[str]) -> None:
    if descriptor.name in done:
        return
    done.add(descriptor.name)
    for dependency in descriptor.dependencies:
        _add_merging_file(pool, dependency, kept, done)
    file = descriptor_pb2.FileDescriptorProto()
    descriptor.CopyToProto(file)
    file.syntax = "proto2"
    file.ClearField("options")
    for message in file.message_type:
        _merge_fields(message, kept)
    pool.AddSerializedFile(file.SerializeToString())


def _merge_fields(message: descriptor_pb2.DescriptorProto, kept: Collection[str]) -> None:
    message.ClearField("oneof_decl")
    for field in message.field:
        field.ClearField("oneof_index")
        field.ClearField("proto3_optional")
        field.ClearField("json_name")
        field.ClearField("options")
        if field.type == _Field.TYPE_STRING:
            field.type = _Field.TYPE_BYTES
        elif field.type == _Field.TYPE_ENUM:  # proto3 enums are open: any number is valid
            field.type = _Field.TYPE_INT32
            field.ClearField("type_name")
        if field.name in kept:
            continue
        if field.type in (_Field.TYPE_MESSAGE, _Field.TYPE_BYTES):
            field.label = _Field.LABEL_OPTIONAL
        elif field.label == _Field.LABEL_REPEATED and field.type in _VARINTS:
            field.type = _Field.TYPE_BOOL
    for nested in message.nested_type:
        _merge_fields(nested, kept)
