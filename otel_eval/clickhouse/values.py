"""The texts that attributes are stored as, from their encoded form: what the Collector's exporter would have written.

A text stands as it is, bytes as base64, numbers in ClickHouse's spelling (`toString`), arrays and key-value lists as JSON.
Texts stay bytes on the whole way: they need not be UTF-8, and ClickHouse keeps any bytes.
"""

import base64
import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from otel_eval.errors import PermanentError
from otel_eval.wire import lens
from otel_eval.wire.schema import lens_classes

_KeyValue: Final = lens_classes("otel_eval.clickhouse.values", {"KeyValue": [("key", 1, "bytes"), ("value", 2, "bytes")]})[
    "KeyValue"
]
_KEY, _VALUE, _STRING = 0x0A, 0x12, 0x0A
"""The tags of KeyValue.key, KeyValue.value and AnyValue.string_value."""
_SHORTEST, _LONGEST_SCALAR = 6, 11

_ESCAPED: Final = re.compile(rb'[\x00-\x1f"\\]|\xe2\x80[\xa8\xa9]')
_ESCAPES: Final = {
    **{bytes([code]): b"\\u%04X" % code for code in range(0x20)},
    b"\b": rb"\b", b"\f": rb"\f", b"\n": rb"\n", b"\r": rb"\r", b"\t": rb"\t", b'"': rb"\"", b"\\": rb"\\",
    b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029",
}  # fmt: skip


class Pairs(list[tuple[bytes, bytes]]):
    """A map as clickhouse-connect takes it, but a key may be there twice: ClickHouse stores both, and finds the first."""

    def keys(self) -> list[bytes]:  # noqa: D102
        return [key for key, _ in self]

    def values(self) -> list[bytes]:  # noqa: D102
        return [value for _, value in self]

    def items(self) -> list[tuple[bytes, bytes]]:  # noqa: D102
        return self

    def first(self, wanted: bytes) -> bytes:
        """The value of the first such key, empty without one."""
        return next((value for key, value in self if key == wanted), b"")


def pairs(attributes: Iterable[bytes]) -> Pairs:
    """The map of encoded KeyValues; raises PermanentError when one does not parse."""
    return Pairs([_pair(attribute) for attribute in attributes])


def _pair(raw: bytes) -> tuple[bytes, bytes]:
    """Key and text. The form that SDKs send is read in place, in a fraction of the time that a message takes."""
    size = len(raw)
    if size > _SHORTEST and raw[0] == _KEY and raw[1] < 0x80:
        end = raw[1] + 2
        if end + 4 <= size and raw[end] == _VALUE:
            length, more = raw[end + 1], raw[end + 2]
            if length < 0x80:
                if end + 2 + length == size:
                    if more == _STRING and raw[end + 3] == length - 2:
                        return raw[2:end], raw[end + 4 :]
                    return raw[2:end], text(raw[end + 2 :])
            elif more < 0x80 and end + 3 + (length & 0x7F | more << 7) == size:
                return raw[2:end], text(raw[end + 3 :])
    message = parse(_KeyValue, raw)
    return message.key, text(message.value)


def text(raw: bytes) -> bytes:
    """The stored text of an encoded AnyValue; empty when nothing is set. Raises PermanentError when it does not parse."""
    size = len(raw)
    if size > 2 and raw[0] == _STRING:
        length, more = raw[1], raw[2]
        if length + 2 == size and length < 0x80:
            return raw[2:]
        if length >= 0x80 > more and (length & 0x7F | more << 7) + 3 == size:
            return raw[3:]
    return _scalar(raw) if size <= _LONGEST_SCALAR else _text(lens.any_value(raw))


def _text(value: Any) -> bytes:
    fields = value.ListFields()
    if not fields:
        return b""
    name, content = fields[0][0].name, fields[0][1]
    return content if name == "string_value" else _TEXTS[name](content)


@lru_cache(maxsize=1 << 12)
def _scalar(raw: bytes) -> bytes:
    """Most numbers have been there before."""
    return _text(lens.any_value(raw))


def _json(value: Any) -> bytes:
    """The value inside an array or a key-value list."""
    fields = value.ListFields()
    if not fields:
        return b"null"
    name, content = fields[0][0].name, fields[0][1]
    written = _text(value)
    if name in {"string_value", "bytes_value"} or (name == "double_value" and not math.isfinite(content)):
        return _quoted(written)
    return written


def _quoted(text: bytes) -> bytes:
    """A JSON string as ClickHouse writes it: what is not UTF-8 stays as it is."""
    return b'"%b"' % _ESCAPED.sub(lambda found: _ESCAPES[found[0]], text)


def _array(array: Any) -> bytes:
    return b"[%b]" % b",".join(map(_json, array.values))


def _object(pairs: Any) -> bytes:
    """Keys in order, of a key given twice the last one: so the Collector has it from Go's maps."""
    members = {pair.key: pair.value for pair in pairs.values}
    return b"{%b}" % b",".join(b"%b:%b" % (_quoted(key), _json(members[key])) for key in sorted(members))


def double(number: float) -> bytes:
    """ClickHouse's spelling: the fewest digits that tell the number, an exponent from 1e21 up and below 1e-6.

    >>> double(1.0), double(-0.0), double(1e20), double(1.5e-7), double(float("-inf"))
    (b'1', b'-0', b'100000000000000000000', b'1.5e-7', b'-inf')
    """
    shortest = repr(number)
    digits, exponential, exponent = shortest.partition("e")
    if not exponential:
        return shortest.removesuffix(".0").encode()
    if -7 < int(exponent) < 21:
        return f"{Decimal(shortest):f}".encode()
    return f"{digits}e{int(exponent)}".encode()


_TEXTS: Final[dict[str, Callable[[Any], bytes]]] = {
    "bool_value": lambda content: b"true" if content else b"false",
    "int_value": lambda content: b"%d" % content,
    "double_value": double,
    "array_value": _array,
    "kvlist_value": _object,
    "bytes_value": base64.b64encode,
}


def parse(message: type[Message], raw: bytes) -> Any:
    """The message; raises PermanentError when the bytes are none."""
    try:
        return message.FromString(raw)
    except DecodeError:
        raise PermanentError("not OTLP: the protobuf is malformed") from None
