"""Bodies to send to a receiver: real ones, and real ones made strange; always the same for a seed."""

import base64
import json
import random
import re
from typing import Any

from google.protobuf import json_format

from otel_eval.records import Kind
from tests import oracle, strategies, traffic
from tests.receivers import verdicts

_HEX_IDS = {"traceId", "spanId", "parentSpanId"}
_ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e300,
    1 << 63,
    "",
    "x",
    "12",
    "zz",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    "NaN",
    "ab" * 16,
]


def _with_hex_ids(value: Any) -> Any:
    """OTLP/JSON out of protobuf's own mapping, which has ids in base64."""
    if isinstance(value, list):
        return [_with_hex_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: base64.b64decode(one).hex() if key in _HEX_IDS else _with_hex_ids(one) for key, one in value.items()}


def _binary_seeds() -> list[tuple[Kind, bytes]]:
    seeds = [(strategies.capture_kind(file), file.read_bytes()) for file in strategies.CAPTURES]
    return seeds + [(Kind.METRICS, traffic.metrics(points).SerializeToString()) for points in (0, 1, 3)] * 4


def _json_seeds(binary: list[tuple[Kind, bytes]]) -> list[tuple[Kind, bytes]]:
    seeds = [(Kind.TRACES, file.read_bytes()) for file in strategies.CAPTURES[0].parent.glob("*.otlp.json")] * 8
    for kind, body in binary:
        document = json_format.MessageToDict(verdicts.REQUESTS[kind].FromString(body), use_integers_for_enums=True)
        seeds.append((kind, json.dumps(_with_hex_ids(document), ensure_ascii=False).encode()))
    return seeds


BINARY_SEEDS = _binary_seeds()
_JSON_SEEDS = _json_seeds(BINARY_SEEDS)


class Bodies:
    """An endless source of bodies, each with the kind that it is to be sent as."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._hostile = strategies.hostile_bodies(source)

    def binary(self) -> tuple[Kind, bytes]:
        kind, body = self._source.choice(BINARY_SEEDS)
        match self._source.randrange(8):
            case 0:
                pass
            case 1:
                body = body[: self._source.randrange(len(body) + 1)]
            case 2:
                body = self._source.randbytes(self._source.randrange(200))
            case 3 | 4:
                kind, body = self._source.choice(list(Kind)), self._hostile()
            case 5:  # one more item, whose id has some length
                item = oracle.field(self._source.choice((1, 2, 4, 9, 10)), self._source.randbytes(self._source.randrange(20)))
                body += oracle.nest(1, 2, 2, value=item)
            case _:
                body = strategies.mutate(body, self._source, self._source.choice((1, 2, 4)))
        return (kind if self._source.random() < 0.9 else self._source.choice(list(Kind))), body

    def json(self) -> tuple[Kind, bytes]:
        kind, body = self._source.choice(_JSON_SEEDS)
        match self._source.randrange(7):
            case 0:
                pass
            case 1:
                body = body[: self._source.randrange(len(body) + 1)]
            case 2:
                changed = self._source.randbytes(self._source.randrange(20)).hex().encode()
                ids = rb'((?:traceId|[sS]panId)": *")[^"]*'
                body = re.sub(ids, rb"\g<1>" + changed, body, count=self._source.randrange(1, 4))
            case 3 | 4:
                document = json.loads(body)
                self._put_odd_value(document)
                body = json.dumps(document).encode()
            case _:
                body = strategies.mutate(body, self._source, self._source.choice((1, 2, 4)))
        return kind, body

    def _put_odd_value(self, document: Any) -> None:
        level = document
        while level:
            key = self._source.choice(list(level) if isinstance(level, dict) else range(len(level)))
            if isinstance(level[key], dict | list) and self._source.random() < 0.9:
                level = level[key]
            else:
                level[key] = self._source.choice(_ODD_VALUES)
                return
