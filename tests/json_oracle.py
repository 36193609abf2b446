"""An independent judge of OTLP/JSON, written from the specification over the descriptors of the generated classes."""

import base64
import json
import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field

from otel_eval.records import Kind
from otel_eval.wire.lens import REQUESTS

_RANGES = {
    **dict.fromkeys((Field.TYPE_INT32, Field.TYPE_SINT32, Field.TYPE_SFIXED32, Field.TYPE_ENUM), (-(1 << 31), 1 << 31)),
    **dict.fromkeys((Field.TYPE_INT64, Field.TYPE_SINT64, Field.TYPE_SFIXED64), (-(1 << 63), 1 << 63)),
    **dict.fromkeys((Field.TYPE_UINT32, Field.TYPE_FIXED32), (0, 1 << 32)),
    **dict.fromkeys((Field.TYPE_UINT64, Field.TYPE_FIXED64), (0, 1 << 64)),
}
_IDS = {"trace_id": 32, "span_id": 16, "parent_span_id": 16}


class WrongError(Exception):
    pass


def judge(kind: Kind, body: bytes) -> tuple[int, int] | None:
    """The numbers of valid and of invalid spans or log records in a body, or None when it is no request of that kind."""
    try:
        document = json.loads(body.decode(errors="replace"), parse_constant=_no_constant)
        _message(REQUESTS[kind].DESCRIPTOR, document)
    except (ValueError, WrongError):
        return None
    valid = invalid = 0
    for item in _items(REQUESTS[kind].DESCRIPTOR, document, 3):
        if all(len(item.get(key) or "") in {0, _IDS[name]} for name in _IDS for key in (name, _camel(name))):
            valid += 1
        else:
            invalid += 1
    return valid, invalid


def _items(descriptor: Any, document: dict[str, Any], levels: int) -> list[Any]:
    if not levels:
        return [document]
    below = descriptor.fields_by_number[1 if levels == 3 else 2]
    groups = [group for key in {_camel(below.name), below.name} for group in document.get(key) or ()]
    return [item for group in groups for item in _items(below.message_type, group, levels - 1)]


def _no_constant(text: str) -> Any:
    raise WrongError(text)


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda match: match[1].upper(), name)


def _message(descriptor: Any, value: Any) -> None:
    _require(isinstance(value, dict))
    for field in descriptor.fields:
        for key in (field.name, _camel(field.name)):
            given = value.get(key)
            if given is not None and field.is_repeated:
                _require(isinstance(given, list))
                for one in given:
                    _one(field, one)
            elif given is not None:
                _one(field, given)


def _one(field: Any, value: Any) -> None:
    if field.message_type is not None:
        _message(field.message_type, value)
    elif field.type == Field.TYPE_STRING:
        _require(isinstance(value, str))
    elif field.type == Field.TYPE_BOOL:
        _require(isinstance(value, bool))
    elif field.type == Field.TYPE_BYTES:
        _require(isinstance(value, str))
        hexadecimal = re.fullmatch("([0-9a-fA-F]{2})*", value)
        _require(hexadecimal is not None if field.name in _IDS else _is_base64(value))
    elif field.type in _RANGES:
        _integer(field, value)
    else:
        _require(isinstance(value, int | float | str) and not isinstance(value, bool))
        _require(isinstance(value, str) or abs(value) < 2**1024)
        float(value)


def _integer(field: Any, value: Any) -> None:
    if field.enum_type is not None and isinstance(value, str) and value in field.enum_type.values_by_name:
        return
    _require(not isinstance(value, bool))
    if isinstance(value, str):
        _require(re.fullmatch("-?[0-9]+", value) is not None)
    else:
        _require(isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    low, high = _RANGES[field.type]
    _require(low <= int(value) < high)


def _is_base64(value: str) -> bool:
    text = value.rstrip("=")
    if not re.fullmatch("[A-Za-z0-9+/_-]*", text) or len(text) % 4 == 1:
        return False
    base64.urlsafe_b64decode(text + "===")
    return True


def _require(condition: bool) -> None:
    if not condition:
        raise WrongError
