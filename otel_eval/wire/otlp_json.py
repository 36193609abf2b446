"""OTLP/JSON to the binary encoding, once, at the door.

The rules beyond protobuf's own JSON mapping (opentelemetry-proto `docs/specification.md`, "JSON Protobuf Encoding"):
trace and span ids are hex, enums are integers, unknown fields are ignored. As the Collector does, snake_case keys and
names of enum values are taken too: ignoring them would lose what they say. Text that is not Unicode (JavaScript cuts
strings inside a surrogate pair) gets U+FFFD in place of the broken character rather than costing the request.

The levels above the items are read first, without decoding the items, and then one item after the other, so that in
memory are the body and the objects of one item. protobuf's json_format is not used: it is several times slower, needs
all objects at once, and drops without a word what has a wrong type.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, cast

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import EncodeError
from google.protobuf.message_factory import GetMessageClass

from otel_eval.errors import PermanentError, TooLargeError
from otel_eval.records import Kind
from otel_eval.wire import edit
from otel_eval.wire.check import MAX_ITEMS
from otel_eval.wire.lens import REQUESTS, Group

_MAX_VALUES = 6 * MAX_ITEMS
"""More JSON values than this in a body are refused before they are decoded: one for each 10 bytes of 64 MiB."""

_MAX_ITEM_VALUES = 2 * MAX_ITEMS
"""The same for one item."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_Descriptor = Any
"""Of a message or field; the type stubs know two for each."""

_IDS = frozenset({"trace_id", "span_id", "parent_span_id"})
_DECIMAL = re.compile("-?[0-9]+")
_HALF_PAIR = re.compile(  # all up to half of a surrogate pair, and that half
    rb"((?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+)"
    rb"(\\u[dD][89a-fA-F][0-9a-fA-F]{2})?"
)
_MAX_HALF_PAIRS = 1 << 16
"""More of them in one request are not texts that were cut; they cost it."""


def to_protobuf(kind: Kind, body: bytes) -> bytes:
    """The binary form of an OTLP/JSON request; groups without items are left out.

    Raises PermanentError with the place of the first mistake, TooLargeError for what would take too much memory.
    """
    _refuse_too_many(body, _MAX_VALUES)
    try:
        return edit.assemble(_groups(kind, body))
    except (ValueError, OverflowError, RecursionError, EncodeError) as error:
        raise PermanentError(f"not an OTLP/JSON {kind} request: {str(error)[:300]}") from None


def _groups(kind: Kind, body: bytes) -> Iterator[Group]:
    request: _Descriptor = REQUESTS[kind].DESCRIPTOR
    resource = request.fields_by_number[1].message_type
    scope = resource.fields_by_number[2].message_type
    item = scope.fields_by_number[2].message_type
    request_fields, resources = _open(_outer(kind, body), request)
    count = len(resources)
    for raw_resource in resources:
        resource_fields, scopes = _open(raw_resource, resource)
        count += len(scopes)
        for raw_scope in scopes:
            scope_fields, items = _open(raw_scope, scope)
            count += len(items)
            if count > MAX_ITEMS:
                raise TooLargeError(f"more than {MAX_ITEMS} groups and items in one request")
            yield Group(request_fields, resource_fields, scope_fields, [_encode(_decode(raw), item) for raw in items])


@cache
def _keys(field: _Descriptor) -> tuple[str, ...]:
    return tuple(dict.fromkeys((field.camelcase_name, field.name)))


def _outer_type(message: _Descriptor, *path: int) -> Any:
    """A struct for the levels on this path of field numbers; all that stands beside it stays undecoded."""
    if not path:
        return msgspec.Raw
    below = message.fields_by_number[path[0]]
    types: dict[_Descriptor, Any] = dict.fromkeys(message.fields, msgspec.Raw)
    types[below] = list[_outer_type(below.message_type, *path[1:])] | None  # type: ignore[misc] # made at run time
    return msgspec.defstruct(message.name, [(key, types[field], None) for field in types for key in _keys(field)])


_OUTER = {kind: _outer_type(request.DESCRIPTOR, 1, 2, 2) for kind, request in REQUESTS.items()}


def _outer(kind: Kind, body: bytes) -> Any:
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        return msgspec.json.decode(body, type=_OUTER[kind])
    except msgspec.DecodeError:  # perhaps for half of a surrogate pair
        return msgspec.json.decode(_HALF_PAIR.sub(_mend, body, count=_MAX_HALF_PAIRS), type=_OUTER[kind])


def _mend(found: re.Match[bytes]) -> bytes:
    return found[1] + rb"\ufffd" if found[2] else found[0]


def _open(level: Any, message: _Descriptor) -> tuple[bytes, list[Any]]:
    """The encoded fields of a level, and the levels or items below it."""
    below: list[Any] = []
    fields = {}
    for key in level.__struct_fields__:
        value = getattr(level, key)
        if isinstance(value, list):
            below += value
        elif value is not None:
            fields[key] = _decode(value)
    return _encode(fields, message) if fields else b"", below


def _decode(raw: msgspec.Raw) -> Any:
    _refuse_too_many(bytes(raw), _MAX_ITEM_VALUES)
    try:
        return msgspec.json.decode(raw)
    except ValueError:  # text that is not UTF-8, or a number of many digits
        return json.loads(str(raw, "utf-8", "replace"))


def _refuse_too_many(data: bytes, limit: int) -> None:
    """Raise TooLargeError when there may be more values: what stands inside strings counts as well."""
    if data.count(b",") + data.count(b"{") + data.count(b"[") > limit:
        raise TooLargeError(f"more than {limit} JSON values in one request or item")


def _encode(value: Any, message: _Descriptor) -> bytes:
    return bytes(cast(Any, GetMessageClass)(message)(**_fields(value, message)).SerializeToString())


def _fields(value: Any, message: _Descriptor) -> dict[str, Any]:
    """The fields of a message, for its constructor."""
    if not isinstance(value, dict):
        raise _expected("an object", value)
    readers = _readers(message)
    fields = {}
    for key, item in value.items():
        if item is not None and key in readers:
            name, read = readers[key]
            try:
                fields[name] = read(item)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
    return fields


@cache
def _readers(message: _Descriptor) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """How to read each field, by its key in JSON."""
    return {key: (field.name, _reader(field)) for field in message.fields for key in _keys(field)}


def _reader(field: _Descriptor) -> Callable[[Any], Any]:
    read = _READERS.get(field.type, _integer)
    if field.message_type is not None:
        read = partial(_fields, message=field.message_type)
    elif field.enum_type is not None:
        read = partial(_enum, {name: value.number for name, value in field.enum_type.values_by_name.items()})
    elif field.name in _IDS:
        read = _id
    return partial(_several, read) if field.is_repeated else read


def _several(read: Callable[[Any], Any], values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise _expected("an array", values)
    return [read(value) for value in values]


def _expected(what: str, value: Any) -> ValueError:
    return ValueError(f"expected {what}, got {json.dumps(value)[:30]}")


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if (isinstance(value, str) and _DECIMAL.fullmatch(value)) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise _expected("an integer", value)


def _enum(numbers: dict[str, int], value: Any) -> int:
    if isinstance(value, str) and value in numbers:
        return numbers[value]
    return _integer(value)


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _expected("a number", value)
    number = float(value)
    if math.isinf(number) and not isinstance(value, str):
        raise _expected("a number that fits in 64 bits", value)
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _expected("a text", value)
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _expected("true or false", value)
    return value


def _bytes(value: Any) -> bytes:
    text = _text(value).replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _id(value: Any) -> bytes:
    try:
        return binascii.unhexlify(_text(value))
    except ValueError:
        raise _expected("hexadecimal digits", value) from None


_READERS: dict[int, Callable[[Any], Any]] = {
    FieldDescriptor.TYPE_STRING: _text,
    FieldDescriptor.TYPE_BYTES: _bytes,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_FLOAT: _double,
}
