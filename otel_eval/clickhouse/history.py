"""The traces of a ClickHouse, read back in the order in which they ended.

Time is cut into slices, each with so few spans that their traces can be listed, and the traces of a slice into pages,
each of which is one query for spans and one for log records: memory is bounded by a page and by the list of a slice. A
trace belongs to the slice in which its last span ended; its spans may be up to `reach_ns` away from that. Evaluation
spans and events, which this program made, are left out.

What is put together here is less than a hop sees: log records that name no trace are not read, and what several traces
say about one thing is joined within a page. The user needs SELECT on `otel_traces`, and on `otel_logs` and
`otel_eval_judgements` where they are.
"""

import re
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Final, NamedTuple

from otel_eval.clickhouse import reading
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.schema import Target, columns
from otel_eval.clickhouse.schema.present import relations
from otel_eval.errors import ConfigError, TooLargeError
from otel_eval.judging.planning import Window
from otel_eval.traces.joining import read_traces
from otel_eval.traces.retrieval import MAX_ITEMS
from otel_eval.traces.view import TraceView
from otel_eval.wire import lens
from otel_eval.wire.check import OWN_SCOPE

_SECOND_NS: Final = 10**9
_WIDTHS_NS: Final = (3600 * _SECOND_NS, 60 * _SECOND_NS, _SECOND_NS)
_LATEST_NS: Final = (1 << 63) - 1
_SLICE_SPANS: Final = 200_000
_PAGE_SPANS: Final = 5_000
_PAGE_TRACES: Final = 500
_PAGE_BYTES: Final = 64 << 20
_TRACE_ID: Final = re.compile("[0-9a-f]{32}")

_LOOKED_AT: Final = "State NOT IN ('dead_letter', 'expired', 'dropped_budget', 'dropped_backpressure', 'blocked_evaluator')"
"""The others have no scores, and have none for a reason that passes."""

_END: Final = "toUnixTimestamp64Nano(Timestamp) + toInt64(Duration)"
_STARTED: Final = "Timestamp >= fromUnixTimestamp64Nano({from:Int64}) AND Timestamp < fromUnixTimestamp64Nano({to:Int64})"
_WHOLE: Final[dict[str, str | int]] = {"wait_end_of_query": 1, "max_result_bytes": _PAGE_BYTES, "result_overflow_mode": "throw"}
"""What is too large is refused by the server, with a status that says so."""


class Page(NamedTuple):
    """Traces that ended one after the other; `too_large` is how many more could not be read."""

    views: Sequence[TraceView]
    spans: int
    too_large: int


class _Listed(NamedTuple):
    """A trace that is to be read."""

    trace_id: str
    start_ns: int
    end_ns: int
    spans: int


class History:
    """What one ClickHouse holds; raises ConfigError when that is no history of traces."""

    def __init__(self, client: ClickHouse, target: Target, reach_ns: int) -> None:
        self._client = client
        self._target = target
        self._reach_ns = reach_ns
        self._spans = self._logs = ""
        self._others = "1"
        self._judged = False

    async def open(self, window: Window) -> tuple[Window, int]:
        """Look what is there: the window without what holds no spans, and the number of spans in it."""
        present = await relations(self._client, self._target.database)
        if "otel_traces" not in present:
            raise ConfigError(f"{self._target.name('otel_traces')}: there is no such table, so there is no history to judge")
        there = await columns(self._client, self._target.name("otel_traces"))
        self._spans = reading.selected_spans(there)
        if "ScopeName" in there:
            self._others = f"ScopeName != '{OWN_SCOPE.decode()}'"
        if "otel_logs" in present:
            self._logs = reading.selected_logs(await columns(self._client, self._target.name("otel_logs")))
        self._judged = "otel_eval_judgements" in present
        # S608: what stands in these statements are names that the schema has quoted, constants, and ids of hexadecimal digits
        sql = f"SELECT min({_END}), max({_END}), count() FROM {self._traces} WHERE {self._ended} AND {self._others}"
        first, last, spans = (await self._rows(sql, **self._between(*window)))[0]
        return Window(max(window.since_ns, first), min(window.until_ns, last + 1)), spans

    async def pages(self, window: Window) -> AsyncIterator[Page]:
        """The traces of a window, in order of their ends."""
        async for since_ns, until_ns in self._slices(*window):
            page: list[_Listed] = []
            for trace in await self._list(since_ns, until_ns):
                spans = sum(one.spans for one in page)
                if page and (spans + trace.spans > _PAGE_SPANS or len(page) == _PAGE_TRACES):
                    yield await self._page(page)
                    page = []
                page.append(trace)
            if page:
                yield await self._page(page)

    async def judged(self, trace_ids: Collection[str]) -> set[str]:
        """Which of these traces have been judged already; what nobody has looked at may be tried again."""
        if not self._judged or not trace_ids:
            return set()
        table = self._target.name("otel_eval_judgements")
        only = f"TraceId IN {_list(trace_ids)} AND Scope = 'trace' AND {_LOOKED_AT}"
        sql = f"SELECT DISTINCT TraceId FROM {table} WHERE {only}"
        return {row[0] for row in await self._rows(sql)}

    @property
    def _traces(self) -> str:
        return self._target.name("otel_traces")

    @property
    def _ended(self) -> str:
        return f"{_STARTED} AND {_END} >= {{since:Int64}} AND {_END} < {{until:Int64}}"

    def _between(self, since_ns: int, until_ns: int) -> dict[str, int]:
        """Parameters for spans that ended in this time."""
        return {"since": since_ns, "until": until_ns, "from": max(since_ns - self._reach_ns, 0), "to": until_ns}

    async def _slices(self, since_ns: int, until_ns: int, level: int = 0) -> AsyncIterator[tuple[int, int]]:
        """Times with no more than `_SLICE_SPANS` spans in each, or of a second; times without spans are left out."""
        width = _WIDTHS_NS[level]
        sql = (
            f"SELECT intDiv({_END} - {{since:Int64}}, {width}) AS nth, count() FROM {self._traces} "
            f"WHERE {self._ended} GROUP BY nth ORDER BY nth"
        )
        begun, ends, spans = since_ns, since_ns, 0
        for nth, count in await self._rows(sql, **self._between(since_ns, until_ns)):
            start = since_ns + nth * width
            if spans and spans + count > _SLICE_SPANS:
                yield begun, ends
                spans = 0
            if not spans:
                begun = start
            ends = min(start + width, until_ns)
            if count > _SLICE_SPANS and level + 1 < len(_WIDTHS_NS):
                async for part in self._slices(start, ends, level + 1):
                    yield part
            else:
                spans += count
        if spans:
            yield begun, ends

    async def _list(self, since_ns: int, until_ns: int) -> list[_Listed]:
        """The traces that ended then."""
        sql = (
            f"SELECT TraceId, min(toUnixTimestamp64Nano(Timestamp)), max({_END}) AS ended, count() FROM {self._traces} "
            f"WHERE {_STARTED} AND {self._others} GROUP BY TraceId "
            "HAVING ended >= {since:Int64} AND ended < {until:Int64} ORDER BY ended, TraceId"
        )
        reached = self._between(since_ns, until_ns) | {"to": min(until_ns + self._reach_ns, _LATEST_NS)}
        return [_Listed(*row) for row in await self._rows(sql, **reached) if _TRACE_ID.fullmatch(row[0])]

    async def _page(self, traces: Sequence[_Listed]) -> Page:
        """These traces; what is too large for one answer is read in halves, until one trace alone is too large."""
        try:
            groups = list(lens.groups(reading.spans(await self._stored("otel_traces", self._spans, traces))))
            logs = await self._stored("otel_logs", self._logs, traces) if self._logs else []
        except TooLargeError:
            if len(traces) == 1:
                return Page([], traces[0].spans, 1)
            half = len(traces) // 2
            before, after = await self._page(traces[:half]), await self._page(traces[half:])
            views = [*before.views, *after.views]
            return Page(views, before.spans + after.spans, before.too_large + after.too_large)
        views = read_traces(groups, lens.groups(reading.logs(logs)))
        return Page(sorted(views, key=lambda view: view.end_ns), sum(one.spans for one in traces), 0)

    async def _stored(self, table: str, selected: str, traces: Sequence[_Listed]) -> list[Sequence[Any]]:
        """The rows of these traces; of each only the first `MAX_ITEMS`."""
        reach = self._reach_ns if table == "otel_logs" else 0  # an event may come after the spans
        starts = min(one.start_ns for one in traces) - reach
        ends = max(one.end_ns for one in traces) + reach
        others = self._others if table == "otel_traces" else f"ScopeName_ != '{OWN_SCOPE.decode()}'"
        sql = (
            f"SELECT {selected} FROM {self._target.name(table)} WHERE TraceId IN {_list([one.trace_id for one in traces])} "
            f"AND {_STARTED} AND {others} ORDER BY TraceId, Timestamp LIMIT {MAX_ITEMS} BY TraceId"
        )
        return await self._rows(sql, **{"from": max(starts, 0), "to": min(ends + 1, _LATEST_NS)})

    async def _rows(self, sql: str, **parameters: int) -> list[Any]:
        return list((await self._client.query(sql, parameters, _WHOLE)).rows)


def _list(trace_ids: Collection[str]) -> str:
    """Trace ids for IN: hexadecimal digits only, so there is nothing to escape."""
    return "(" + ", ".join(f"'{one}'" for one in trace_ids if _TRACE_ID.fullmatch(one)) + ")"
