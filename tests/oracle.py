"""An independent reading of the protobuf wire format, to judge the code under test by.

Written from the encoding's specification (protobuf.dev/programming-guides/encoding), over the descriptors of the
generated classes, with nothing of `otel_eval.wire`.
"""

from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 100
_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)


class MalformedError(Exception):
    pass


def parses(message: Any, body: bytes, *, utf8: bool) -> bool:
    """Whether `body` is an encoded `message` (a generated class); with `utf8` its texts must be UTF-8 as well."""
    try:
        _message(message.DESCRIPTOR, body, MAX_DEPTH, utf8)
    except MalformedError:
        return False
    return True


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, value: bytes | int) -> bytes:
    """A length-delimited field, or for an int one of wire type 0."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(value)
    return varint(number << 3 | _LENGTH) + varint(len(value)) + value


def nest(*path: int, value: bytes) -> bytes:
    """`value` in fields of these numbers, the first outermost."""
    for number in reversed(path):
        value = field(number, value)
    return value


@dataclass(frozen=True)
class Item:
    """One span, log record or metric, with the raw bytes of all other fields of the levels around it, in their order."""

    request: bytes
    resource: bytes
    scope: bytes
    raw: bytes


def items(body: bytes) -> list[Item]:
    """The items of a request that parses."""
    request, resources = _divide(body, 1)
    found = []
    for resource in resources:
        resource_rest, scopes = _divide(resource, 2)
        for scope in scopes:
            scope_rest, raw_items = _divide(scope, 2)
            found += [Item(request, resource_rest, scope_rest, raw) for raw in raw_items]
    return found


def delimited(message: bytes) -> list[tuple[int, bytes]]:
    """Number and value of each length-delimited field of a message that parses."""
    found = []
    position = 0
    while position < len(message):
        key, position = _key(message, position)
        if key & 7 == _LENGTH:
            value, position = _delimited(message, position)
            found.append((key >> 3, value))
        else:
            position = _skip(message, position, key, MAX_DEPTH)
    return found


def _divide(message: bytes, number: int) -> tuple[bytes, list[bytes]]:
    """All fields but those of this number as they stand, and the values of those."""
    rest, values = b"", []
    position = 0
    while position < len(message):
        start = position
        key, position = _key(message, position)
        if key == number << 3 | _LENGTH:
            value, position = _delimited(message, position)
            values.append(value)
        else:
            position = _skip(message, position, key, MAX_DEPTH)
            rest += message[start:position]
    return rest, values


def _message(descriptor: Any, body: bytes, depth: int, utf8: bool) -> None:
    position = 0
    while position < len(body):
        key, position = _key(body, position)
        declared = descriptor.fields_by_number.get(key >> 3)
        if declared is not None and key & 7 == _LENGTH:
            value, position = _delimited(body, position)
            _declared(declared, value, depth, utf8)
        elif key & 7 == _END_GROUP:
            raise MalformedError
        else:
            position = _skip(body, position, key, depth)


def _declared(declared: Any, value: bytes, depth: int, utf8: bool) -> None:
    if declared.type == declared.TYPE_MESSAGE:
        if depth == 0:
            raise MalformedError
        _message(declared.message_type, value, depth - 1, utf8)
    elif declared.type == declared.TYPE_STRING and utf8:
        try:
            value.decode()
        except UnicodeDecodeError:
            raise MalformedError from None
    elif declared.is_repeated and declared.type not in (declared.TYPE_STRING, declared.TYPE_BYTES):
        _packed(declared, value)


def _packed(declared: Any, value: bytes) -> None:
    if declared.type in (declared.TYPE_DOUBLE, declared.TYPE_FIXED64, declared.TYPE_SFIXED64):
        if len(value) % 8:
            raise MalformedError
        return
    position = 0
    while position < len(value):
        _, position = _varint(value, position)


def _skip(body: bytes, position: int, key: int, depth: int) -> int:
    match key & 7:
        case 0:
            return _varint(body, position)[1]
        case 1 | 5 as wire_type:
            position += 8 if wire_type == _FIXED64 else 4
            if position > len(body):
                raise MalformedError
            return position
        case 2:
            return _delimited(body, position)[1]
        case 3:
            if depth == 0:
                raise MalformedError
            while True:
                inner, position = _key(body, position, lowest=0)  # protobuf's C runtime lets 0 pass inside a group
                if inner & 7 == _END_GROUP:
                    if inner >> 3 != key >> 3:
                        raise MalformedError
                    return position
                position = _skip(body, position, inner, depth - 1)
        case _:
            raise MalformedError


def _key(body: bytes, position: int, lowest: int = 1) -> tuple[int, int]:
    key, position = _varint(body, position)
    if key >= 1 << 32 or key >> 3 < lowest:
        raise MalformedError
    return key, position


def _delimited(body: bytes, position: int) -> tuple[bytes, int]:
    length, position = _varint(body, position)
    if length > len(body) - position:
        raise MalformedError
    return body[position : position + length], position + length


def _varint(body: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if position + index >= len(body):
            raise MalformedError
        byte = body[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1  # of a value, protobuf's C runtime drops what is beyond 64 bits
    raise MalformedError
