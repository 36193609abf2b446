"""Strange requests, each with the answer that it must get, found by the oracles and not by the code under test."""

import gzip
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from otel_eval.records import Kind
from otel_eval.wire.lens import REQUESTS
from tests import json_oracle, oracle, strategies, traffic
from tests.receivers.clients import INVALID_ARGUMENT, JSON, PROTOBUF, UNIMPLEMENTED

_ID_LENGTHS = {Kind.TRACES: {1: (0, 16), 2: (0, 8), 4: (0, 8)}, Kind.LOGS: {9: (0, 16), 10: (0, 8)}, Kind.METRICS: {}}
_GZIP_HEADER_BYTES = 10


@dataclass(frozen=True)
class Case:
    """One request; `arriving` are the items of it that must reach the backend, `unseen` how many more."""

    kind: Kind
    body: bytes
    code: int = 0
    http_status: int = 200
    rejected: int = 0
    arriving: tuple[bytes, ...] = ()
    unseen: int = 0
    path: str = ""
    method: str = "POST"
    content_type: str = PROTOBUF
    encoding: str = ""

    def refused(self, http_status: int, code: int = INVALID_ARGUMENT) -> "Case":
        return replace(self, http_status=http_status, code=code, rejected=0, arriving=(), unseen=0)


class Cases:
    """An endless source of cases, always the same for a seed."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)
        self._hostile: Callable[[], bytes] = strategies.hostile_bodies(self._source)
        (capture,) = strategies.CAPTURES[0].parent.glob("*.otlp.json")
        self._json = json.dumps(json.loads(capture.read_bytes())).encode()
        self._sound = [
            (strategies.capture_kind(file), file.read_bytes()) for file in strategies.CAPTURES if file.stat().st_size < 8000
        ]
        self._sound += [(Kind.METRICS, traffic.metrics(points).SerializeToString()) for points in range(1, 20)]

    def grpc(self) -> Case:
        case = self._binary()
        if self._source.random() < 0.02:
            return replace(
                case.refused(0, UNIMPLEMENTED), path=self._source.choice(("/x", "/x/Export", f"/{case.kind.service}/export"))
            )
        return case

    def http(self) -> Case:
        way = self._source.random()
        case = self._in_json() if way < 0.3 else self._binary()
        if way > 0.8:
            case = self._packed(case)
        return self._with_bad_head(case) if self._source.random() < 0.1 else case

    def _binary(self) -> Case:
        kind, body = self._source.choice(list(Kind)), self._hostile()
        way = self._source.random()
        if way < 0.4:
            kind, body = self._source.choice(self._sound)
            body = strategies.mutate(body, self._source, self._source.choice((0, 1, 1, 3)))
        elif way < 0.5:
            body = self._source.randbytes(self._source.randrange(200))
        if not oracle.parses(REQUESTS[kind], body, utf8=False):
            return Case(kind, body).refused(400)
        items = [item.raw for item in oracle.items(body)]
        good = tuple(item for item in items if _has_good_ids(kind, item))
        return Case(kind, body, rejected=len(items) - len(good), arriving=good if _counts(kind, items) else ())

    def _in_json(self) -> Case:
        kind = self._source.choice((Kind.TRACES, Kind.TRACES, Kind.TRACES, Kind.LOGS))
        body = self._changed_json()
        found = json_oracle.judge(kind, body)
        case = Case(kind, body, content_type=self._source.choice((JSON, "application/json; charset=utf-8")))
        return case.refused(400) if found is None else replace(case, unseen=found[0], rejected=found[1])

    def _changed_json(self) -> bytes:
        source, text = self._source, self._json
        if source.random() < 0.1:
            return text
        for _ in range(source.choice((1, 1, 2))):
            at = source.randrange(len(text))
            end = at + source.choice((0, 0, 1, 4))
            new = source.choice(
                (
                    b'"',
                    b"{",
                    b"}",
                    b"[]",
                    b",",
                    b"null",
                    b"\\ud83d",
                    b"\xff",
                    b"9",
                    b"-",
                    b"e",
                    b" ",
                    b"true",
                    source.randbytes(2),
                )
            )
            text = text[:at] + new + text[end:]
        return text if source.random() < 0.95 else text[: source.randrange(len(text))]

    def _packed(self, case: Case) -> Case:
        """The same in gzip, perhaps broken; only behind the header, which gzip and zlib check differently."""
        packed = gzip.compress(case.body, self._source.choice((0, 1, 9)), mtime=0)
        case = replace(case, body=packed, encoding="gzip")
        way = self._source.random()
        if way < 0.5:
            return case
        if way < 0.7:
            return replace(case, body=packed[: self._source.randrange(len(packed))]).refused(400)
        if way < 0.8:
            return replace(case, body=self._source.randbytes(30)).refused(400)
        changed = packed[:_GZIP_HEADER_BYTES] + strategies.mutate(packed[_GZIP_HEADER_BYTES:], self._source, 1)
        return replace(case, body=changed) if _same_content(packed, changed) else replace(case, body=changed).refused(400)

    def _with_bad_head(self, case: Case) -> Case:
        match self._source.randrange(5):
            case 0:
                path = self._source.choice(("/", "/v1/spans", f"/v1/{case.kind}/", "/v1//traces", "/%2e"))
                return replace(case.refused(404, UNIMPLEMENTED), path=path)
            case 1:
                return replace(
                    case.refused(405, UNIMPLEMENTED), method=self._source.choice(("PUT", "DELETE", "PATCH", "OPTIONS"))
                )
            case 2:
                return replace(
                    case.refused(415), content_type=self._source.choice(("text/plain", "application/x-protobuf2", "x", ";"))
                )
            case 3:
                return replace(case.refused(415), encoding=self._source.choice(("zstd", "deflate", "br", "gzip, gzip")))
            case _:
                return replace(case, path=f"/v1/{case.kind}?x=1")


def _has_good_ids(kind: Kind, item: bytes) -> bool:
    last = {number: value for number, value in oracle.delimited(item) if number in _ID_LENGTHS[kind]}
    return all(len(value) in _ID_LENGTHS[kind][number] for number, value in last.items())


def _counts(kind: Kind, items: list[bytes]) -> bool:
    """Whether there is anything to count: metrics without data points are an empty request."""
    if kind is not Kind.METRICS:
        return True
    data = [value for item in items for number, value in oracle.delimited(item) if number in {5, 7, 9, 10, 11}]
    return any(number == 1 for value in data for number, _ in oracle.delimited(value))


def _same_content(packed: bytes, changed: bytes) -> bool:
    try:
        return gzip.decompress(changed) == gzip.decompress(packed) and not _has_padding(changed)
    except (OSError, EOFError, zlib.error):
        return False


def _has_padding(packed: bytes) -> bool:
    """Zeros behind the end, which the gzip module skips."""
    try:
        gzip.decompress(packed[:-1])
    except (OSError, EOFError, zlib.error):
        return False
    return True
