"""What a server that died has lost of an insert, although it remembers the insert's token.

A MergeTree table notes a token on disk before it moves the rows of the insert to their place (`MergeTreeSink`,
`MergeTreeDeduplicationLog`). A server killed in between starts without the rows, and takes the insert that is sent again
for one that it has. So behind an insert that may have been sent before, the rows are looked for, and what is not there
is inserted with another token. While a server lives its tokens and rows change together: what is missing behind an
answer is missing for good, and nothing is doubled.

Rows count as there when rows of the same key are: the same span, or a log record of the same words at the same
nanosecond. Tables of Replicated and Shared engines keep their tokens in Keeper, together with the parts, and are left
alone: another replica may not have the rows yet. Tables of Replacing engines need no look: rows that come again replace
themselves. An engine in this process is not asked (it takes no tables with a query).
"""

import asyncio
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Final, NamedTuple

import structlog

from otel_eval.clickhouse import logs, spans
from otel_eval.clickhouse.client import External
from otel_eval.clickhouse.failures import UnreachableError
from otel_eval.clickhouse.inserts import Columns, Insert
from otel_eval.clickhouse.tables import Tables
from otel_eval.errors import OtelEvalError
from otel_eval.exporters import Message
from otel_eval.records import Kind, OwnKind

_log = structlog.get_logger(__name__)

_ATTEMPTS: Final = 3
"""Each has a token of its own: that of one can be lost like that of the insert."""

_ASKED: Final = "asked"
_TRACE_TIMES: Final = "otel_traces_trace_id_ts"
_TIMES: Final = f"""(TraceId, Start, End)
    SELECT TraceId, min(Timestamp), max(Timestamp) FROM {_ASKED} WHERE TraceId != '' GROUP BY TraceId"""
"""What its view does; more rows of the same times change nothing there."""

_END_OF_DATETIME_NS: Final = (1 << 32) * 10**9
_TIME: Final = struct.Struct("<q")
_NUMBER: Final = struct.Struct("<I")


class _Stored(NamedTuple):
    """Where a kind is stored, the columns that tell its rows apart, and of these the one that narrows the search."""

    table: str
    columns: Callable[[Iterable[bytes]], Columns]
    key: tuple[str, ...]
    narrow: str


_STORED: Final[dict[Kind | OwnKind, _Stored]] = {
    Kind.TRACES: _Stored("otel_traces", spans.columns, ("TraceId", "SpanId"), "TraceId"),
    Kind.LOGS: _Stored("otel_logs", logs.columns, ("ServiceName", "TraceId", "SpanId", "EventName", "Body"), "ServiceName"),
}


async def complete(tables: Tables, message: Message) -> None:
    """Insert again what the server has lost of a message's spans or log records; to be called behind their insert.

    A server that cannot say what it has, for want of the right SELECT or of memory, is believed, with a warning. Raises
    UnreachableError, and what an insert raises.
    """
    stored = _STORED.get(message.kind)
    if stored is None or stored.table not in tables.forgetful:
        return
    rows = await asyncio.to_thread(stored.columns, map(bytes, message.bodies))
    if not rows["Timestamp"]:
        return
    types = tables.types[stored.table]
    key = ["Timestamp", *(name for name in stored.key if name in types)]
    asked = await asyncio.to_thread(_external, rows, key)
    query = _query(tables.target.name(stored.table), key, stored.narrow, rows["Timestamp"], by_seconds="TimestampTime" in types)
    for attempt in range(1, _ATTEMPTS + 1):
        lost: list[int] = []
        with _believing():
            lost = [row for (row,) in (await tables.client.query(query, external=asked)).rows]
        if not lost:
            break
        _log.warning("ClickHouse had lost rows that it remembers; they are stored again", table=stored.table, rows=len(lost))
        picked = {name: [values[row] for row in lost] for name, values in rows.items()}
        await tables.insert(Insert(stored.table, picked), f"{message.id}-{stored.table}-{attempt}")
    if message.kind is Kind.TRACES and _TRACE_TIMES in tables.forgetful:
        with _believing():
            await tables.insert_selected(_TRACE_TIMES, _TIMES, asked)


@contextmanager
def _believing() -> Iterator[None]:
    """Go on when the server refuses, but not when it may have died."""
    try:
        yield
    except UnreachableError:
        raise
    except OtelEvalError as error:
        _log.warning("what ClickHouse has of a batch that was sent again cannot be checked", reason=str(error))


def _query(table: str, key: Sequence[str], narrow: str, times: Sequence[int], *, by_seconds: bool) -> str:
    first, last = min(times), max(times)
    columns = ", ".join(key)
    where = f"Timestamp BETWEEN fromUnixTimestamp64Nano({first}) AND fromUnixTimestamp64Nano({last})"
    if by_seconds and last < _END_OF_DATETIME_NS:  # the partitions of logs are found by this
        where += f" AND TimestampTime BETWEEN toDateTime({first // 10**9}) AND toDateTime({last // 10**9})"
    known = f"SELECT {columns} FROM {table} WHERE {where} AND {narrow} GLOBAL IN (SELECT {narrow} FROM {_ASKED})"
    return f"SELECT row FROM {_ASKED} WHERE ({columns}) GLOBAL NOT IN ({known}) ORDER BY row"


def _external(rows: Columns, key: Sequence[str]) -> External:
    """The keys as a table that goes with a query, in the format RowBinary."""
    columns = [map(_TIME.pack, rows[key[0]]), *(map(_text, rows[name]) for name in key[1:])]
    body = b"".join(chain.from_iterable((_NUMBER.pack(row), *cells) for row, cells in enumerate(zip(*columns, strict=True))))
    structure = ", ".join(("row UInt32", "Timestamp DateTime64(9)", *(f"{name} String" for name in key[1:])))
    return External(_ASKED, structure, "RowBinary", body)


def _text(value: str | bytes) -> bytes:
    """A String: its length in LEB128, and its bytes."""
    data = value.encode() if isinstance(value, str) else value
    length, head = len(data), bytearray()
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(head) + bytes((length,)) + data
