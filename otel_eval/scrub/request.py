"""Scrubbing whole requests, as they go onto the judge queue."""

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from otel_eval.errors import PermanentError
from otel_eval.records import Kind
from otel_eval.scrub.scrubber import Scrubber
from otel_eval.wire.schema import FieldSpec, lens_classes

# Only fields that hold text are declared: everything else (ids, times, numbers, fields newer than us) is kept as it is.
# Texts are bytes, since they need not be UTF-8. A scope's version and a tracestate are no texts of users.
_COMMON: Final[Mapping[str, list[FieldSpec]]] = {
    "Request": [("resources", 1, ["ResourceGroup"])],
    "ResourceGroup": [("resource", 1, "Resource"), ("scopes", 2, ["ScopeGroup"])],
    "Resource": [("attributes", 1, ["KeyValue"])],
    "ScopeGroup": [("scope", 1, "Scope"), ("items", 2, ["Item"])],
    "Scope": [("name", 1, "bytes"), ("attributes", 3, ["KeyValue"])],
    "KeyValue": [("key", 1, "bytes"), ("value", 2, "AnyValue")],
    "AnyValue": [
        ("string_value", 1, "bytes"),
        ("array_value", 5, "ArrayValue"),
        ("kvlist_value", 6, "KeyValueList"),
        ("bytes_value", 7, "bytes"),
    ],
    "ArrayValue": [("values", 1, ["AnyValue"])],
    "KeyValueList": [("values", 1, ["KeyValue"])],
}
_SPAN: Final[Mapping[str, list[FieldSpec]]] = {
    "Item": [
        ("name", 5, "bytes"),
        ("attributes", 9, ["KeyValue"]),
        ("events", 11, ["Event"]),
        ("links", 13, ["Link"]),
        ("status", 15, "Status"),
    ],
    "Event": [("name", 2, "bytes"), ("attributes", 3, ["KeyValue"])],
    "Link": [("attributes", 4, ["KeyValue"])],
    "Status": [("message", 2, "bytes")],
}
_LOG_RECORD: Final[Mapping[str, list[FieldSpec]]] = {
    "Item": [
        ("severity_text", 3, "bytes"),
        ("body", 5, "AnyValue"),
        ("attributes", 6, ["KeyValue"]),
        ("event_name", 12, "bytes"),
    ],
}
_REQUESTS: Final = {
    Kind.TRACES: lens_classes("otel_eval.scrub.traces", {**_COMMON, **_SPAN})["Request"],
    Kind.LOGS: lens_classes("otel_eval.scrub.logs", {**_COMMON, **_LOG_RECORD})["Request"],
}


def scrub_request(kind: Kind, body: bytes, scrubber: Scrubber) -> bytes:
    """An OTLP traces or logs request with every text in it scrubbed, and without the attributes that may not go.

    Names, messages, bodies, attribute keys and values at any depth are texts, bytes values too; what is not UTF-8 in them
    stays as it is. Ids, times, numbers, order and unknown fields are kept; a request with nothing to hide is given back
    as it came. A value that is found late is replaced in what came before it too. Raises PermanentError when the body does
    not parse.
    """
    try:
        request = _REQUESTS[kind].FromString(body)
    except DecodeError:
        raise PermanentError(f"not an OTLP {kind} request: the protobuf is malformed") from None
    work = _Work(scrubber)
    work.leave_out_and_collect(request)
    work.replace_all(scrubber.texts)
    if scrubber.counts:
        work.replace_all(partial(map, scrubber.known))
    return request.SerializeToString() if work.changed else body


class _Work:
    """What is being done to one request."""

    def __init__(self, scrubber: Scrubber) -> None:
        self.changed = False
        self._scrubber = scrubber
        self._fields: list[tuple[Any, str]] = []  # the messages with text, and the name of the field with it

    def leave_out_and_collect(self, message: Message) -> None:
        """Take out the attributes that may not go, and remember where the texts are."""
        for field, value in message.ListFields():
            if isinstance(value, bytes):
                self._fields.append((message, field.name))
            elif isinstance(value, Message):
                self.leave_out_and_collect(value)
            else:
                if self._scrubber.chooses and field.name == "attributes":
                    self._leave_out(value)
                for item in value:
                    self.leave_out_and_collect(item)

    def replace_all(self, replace: Callable[[Iterable[str]], Iterable[str]]) -> None:
        """Put what `replace` makes of them in the place of the texts; those that come many times are done once."""
        raws = list(dict.fromkeys(getattr(message, name) for message, name in self._fields))
        # Bytes that are not UTF-8 become half surrogates, which no rule matches, and bytes again.
        done = (text.encode(errors="surrogateescape") for text in replace(map(_decode, raws)))
        changed = {raw: scrubbed for raw, scrubbed in zip(raws, done, strict=True) if scrubbed != raw}
        for message, name in self._fields if changed else ():
            scrubbed = changed.get(getattr(message, name))
            if scrubbed is not None:
                setattr(message, name, scrubbed)
                self.changed = True

    def _leave_out(self, attributes: Any) -> None:
        kept = [attribute for attribute in attributes if self._scrubber.goes(_decode(attribute.key))]
        if len(kept) < len(attributes):
            copies = [copy.deepcopy(attribute) for attribute in kept]
            del attributes[:]
            attributes.extend(copies)
            self.changed = True


def _decode(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")
