"""OTLP/JSON to the binary encoding, once, at the door.

The rules beyond protobuf's own JSON mapping (opentelemetry-proto `docs/specification.md`, "JSON Protobuf Encoding"):
trace and span ids are hex, enums are integers, unknown fields are ignored. Text that is not Unicode (JavaScript cuts
strings inside a surrogate pair) gets U+FFFD in place of the broken character rather than costing the request.
"""

import base64
import json
import re
from typing import Any

from google.protobuf import json_format

from otel_eval.errors import PermanentError
from otel_eval.records import Kind
from otel_eval.wire.lens import REQUESTS

_ID_KEYS = frozenset({"traceId", "spanId", "parentSpanId"})
_MAX_DEPTH = 300
_SURROGATE = re.compile("[\ud800-\udfff]")


def to_protobuf(kind: Kind, body: bytes) -> bytes:
    """The binary form of an OTLP/JSON request; raises PermanentError with the place of the first mistake."""
    message = REQUESTS[kind]()
    try:
        document = json.loads(body.decode("utf-8-sig", errors="replace"))
        if not isinstance(document, dict):
            raise PermanentError(f"not an OTLP/JSON {kind} request: the body is not a JSON object")
        json_format.ParseDict(_adapt(document, 0), message, ignore_unknown_fields=True)
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise PermanentError(f"not an OTLP/JSON {kind} request: {str(error)[:300]}") from None
    return message.SerializeToString()


def _adapt(value: Any, depth: int) -> Any:
    """The same document as protobuf's JSON mapping wants it: ids in base64, text in Unicode."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {
            _text(key): _base64_id(key, item) if key in _ID_KEYS and isinstance(item, str) else _adapt(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_adapt(item, depth + 1) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


def _base64_id(key: str, value: str) -> str:
    try:
        return base64.b64encode(bytes.fromhex(value)).decode()
    except ValueError:
        raise ValueError(f"{key} is not hexadecimal") from None
