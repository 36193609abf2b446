"""Bodies of 64 MiB that are made to take memory, and a process that handles them and tells how much it took.

`python -m tests.wire.hostile binary` handles all of a group, one after the other, and prints for each its outcome and the
largest resident size until then, in MiB over a process that has done nothing: the body, and a copy from building it,
are in that.
"""

import resource
import sys
from collections.abc import Callable

from otel_eval.errors import PermanentError
from otel_eval.records import Kind
from otel_eval.wire import check, edit, otlp_json
from tests import oracle

SIZE = 64 << 20
_SPANS = b'{"resourceSpans":[{"scopeSpans":[{"spans":['


def nested(*path: int, unit: bytes, before: bytes = b"") -> bytes:
    """As many units as fit, in fields of these numbers, without a copy of them at each level."""
    count = (SIZE - 6 * len(path) - len(before)) // len(unit)
    size = count * len(unit) + len(before)
    heads = [before]
    for number in reversed(path):
        heads.append(oracle.varint(number << 3 | 2) + oracle.varint(size))
        size += len(heads[-1])
    return b"".join((*reversed(heads), unit * count))


def written(before: bytes, unit: bytes, after: bytes, units: int = SIZE) -> bytes:
    """JSON with so many units, or as many as fit, filled up with text to the full size."""
    units = min(units, (SIZE - 200) // len(unit))
    filling = SIZE - len(before) - len(after) - units * len(unit) - 20
    return b"".join((b'{"future":"', b"z" * filling, b'",', before[1:], unit * units, unit.removesuffix(b","), after))


Case = tuple[Kind, Callable[[], bytes]]
BINARY: dict[str, Case] = {
    "resource groups": (Kind.TRACES, lambda: nested(unit=b"\x0a\0")),
    "spans": (Kind.TRACES, lambda: nested(1, 2, unit=b"\x12\0")),
    "attributes of one span": (Kind.TRACES, lambda: nested(1, 2, 2, unit=b"\x4a\0")),
    "attributes of the resource": (Kind.TRACES, lambda: nested(1, 1, unit=b"\x0a\0")),
    "entity keys": (Kind.TRACES, lambda: nested(1, 1, 3, unit=b"\x1a\0")),
    "nested values": (Kind.TRACES, lambda: nested(1, 2, 2, 9, 2, *[5, 1] * 20, unit=b"\x2a\0")),
    "as many spans as are let in": (
        Kind.TRACES,
        lambda: nested(1, 2, unit=oracle.field(2, b"\x4a\0\x5a\0\x6a\0\x72\0\x7a\0" * 6 + b"\x2a\2ab")),
    ),
    "unknown fields": (Kind.TRACES, lambda: nested(unit=b"\x48\0")),
    "unknown fields between others": (Kind.TRACES, lambda: nested(1, 2, 2, unit=b"\x4a\0\xc8\x3e\0")),
    "data points": (Kind.METRICS, lambda: nested(1, 2, 2, 7, unit=b"\x0a\0")),
    "as many data points as are let in": (
        Kind.METRICS,
        lambda: nested(1, 2, 2, 10, unit=oracle.field(1, b"\x0a\2\x12\0\x42\0\x4a\0\x5a\0" * 6 + b"\x42\2\x12\0")),
    ),
    "packed buckets": (Kind.METRICS, lambda: nested(1, 2, 2, 10, 1, 8, 2, unit=b"\1")),
    "single buckets": (Kind.METRICS, lambda: nested(1, 2, 2, 10, 1, 8, unit=b"\x10\1")),
    "packed bounds": (Kind.METRICS, lambda: nested(1, 2, 2, 9, 1, 7, unit=bytes(8))),
    "a large resource, many scopes, a wrong id": (
        Kind.TRACES,
        lambda: nested(
            1, unit=oracle.nest(2, 2, value=oracle.field(1, b"short")) * 4, before=oracle.nest(1, 1, 1, value=bytes(60 << 20))
        ),
    ),
}
JSON: dict[str, Case] = {
    "nothing but values": (Kind.TRACES, lambda: written(b'{"other":[', b"{},", b"]}")),
    "resource groups": (Kind.TRACES, lambda: written(b'{"resourceSpans":[', b"{},", b"]}", 3_100_000)),
    "scope groups": (Kind.TRACES, lambda: written(b'{"resourceSpans":[{"scopeSpans":[', b"{},", b"]}]}", 3_100_000)),
    "spans": (Kind.TRACES, lambda: written(_SPANS, b"0,", b"]}]}]}", 6_200_000)),
    "attributes": (Kind.TRACES, lambda: written(_SPANS + b'{"attributes":[', b'{"a":1},', b"]}]}]}]}", 1_000_000)),
    "wide text": (Kind.TRACES, lambda: written(_SPANS + b'{"name":"', "é".encode() * 5 + "😀".encode(), b'"}]}]}]}')),
    "half surrogate pairs": (Kind.TRACES, lambda: written(_SPANS + b'{"name":"', rb"\ud83d", b'"}]}]}]}')),
}


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (10 if sys.platform == "linux" else 20)


def handle(kind: Kind, body: bytes, *, as_json: bool) -> str:
    try:
        body = otlp_json.to_protobuf(kind, body) if as_json else body
        found = check.inspect(kind, body)
        if found.invalid:
            body = edit.drop(body, found.invalid)
        parts = edit.split(body, 4 << 20)
    except PermanentError as error:
        return type(error).__name__
    return f"{found.items} items, {len(parts)} parts"


def main() -> None:
    cases = BINARY if sys.argv[1] == "binary" else JSON
    base = peak_mib()
    for name, (kind, build) in cases.items():
        body = build()
        print(name, handle(kind, body, as_json=cases is JSON), peak_mib() - base, sep="\t", flush=True)


if __name__ == "__main__":
    main()
