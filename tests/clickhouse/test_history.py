"""Traces read back from a real ClickHouse: the same that were stored, each once, in the order in which they ended."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.clickhouse import history, reading
from otel_eval.clickhouse.exporter import ClickHouseExporter
from otel_eval.clickhouse.history import History, Page
from otel_eval.clickhouse.schema import Target
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.errors import ConfigError
from otel_eval.exporters import Message
from otel_eval.inspection.document import to_json
from otel_eval.judging.planning import ALWAYS, Window
from otel_eval.records import Kind
from otel_eval.traces.joining import read_traces
from otel_eval.traces.view import TraceView
from otel_eval.wire import lens
from otel_eval.wire.check import OWN_SCOPE
from tests import spans
from tests.clickhouse.conftest import Database

CAPTURES = Path(__file__).parents[1] / "captures"
HALF_AN_HOUR = 1800 * 10**9


async def store(server: EmbeddedServer, database: Database, *messages: Message) -> None:
    url = f"http://writer@{server.host}:{server.http_port}/{database.name}"
    exporter = ClickHouseExporter("clickhouse", ClickHouseExporter.Config(endpoint=url, password=server.passwords["writer"]))
    await exporter.start()
    for message in messages:
        await exporter.export(message)
    await exporter.shutdown()


async def read(database: Database, window: Window = ALWAYS) -> list[Page]:
    stored = History(database.client, Target(database=database.name), HALF_AN_HOUR)
    window, _ = await stored.open(window)
    return [page async for page in stored.pages(window)]


def documents(views: Sequence[TraceView]) -> list[object]:
    shown = [json.loads(to_json([view])) for view in views]
    return sorted(shown, key=json.dumps)


async def test_captured_traces_read_the_same_as_from_their_files(clickhouse_server: EmbeddedServer, database: Database) -> None:
    """Every convention that there is a capture of."""
    files = {kind: [file for file in sorted(CAPTURES.glob("*.pb")) if (".logs." in file.name) is (kind is Kind.LOGS)]
             for kind in (Kind.TRACES, Kind.LOGS)}  # fmt: skip
    bodies = {kind: [file.read_bytes() for file in found] for kind, found in files.items()}
    await store(clickhouse_server, database, *(Message(kind, found, str(kind)) for kind, found in bodies.items()))
    groups = {kind: [group for body in found for group in lens.groups(body)] for kind, found in bodies.items()}
    sent = [view for view in read_traces(groups[Kind.TRACES], groups[Kind.LOGS]) if view.span_count]
    pages = await read(database)
    assert len(sent) > 60
    assert documents([view for page in pages for view in page.views]) == documents(sent)


def minutes(count: int, own: bool = False) -> bytes:
    """Traces of two spans, one that ends each minute; the root starts first and ends last, half a minute apart."""
    made = []
    for number in range(1, count + 1):
        at = number * 60_000.0
        scope = OWN_SCOPE.decode() if own else ""
        made.append(spans.span({}, name="root", trace=number, start_ms=at, duration_ms=30_000, scope=scope))
        made.append(spans.span({}, identity=2, parent=1, trace=number, start_ms=at + 29_000, duration_ms=10, scope=scope))
    return spans.trace_request(made)


async def test_each_trace_comes_once_and_in_order_however_it_is_cut(
    clickhouse_server: EmbeddedServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = minutes(2, own=True)  # left out: this program made it
    await store(clickhouse_server, database, Message(Kind.TRACES, [minutes(40), own], "a"))
    for slice_spans, page_spans, page_traces in ((10**6, 10**6, 500), (7, 5, 500), (1, 2, 1)):
        monkeypatch.setattr(history, "_SLICE_SPANS", slice_spans)
        monkeypatch.setattr(history, "_PAGE_SPANS", page_spans)
        monkeypatch.setattr(history, "_PAGE_TRACES", page_traces)
        pages = await read(database)
        assert [int(view.trace_id, 16) for page in pages for view in page.views] == list(range(1, 41))
        assert all(view.span_count == 2 for page in pages for view in page.views)
        assert sum(page.spans for page in pages) == 80
        assert max(len(page.views) for page in pages) <= page_traces

    minute = 60 * 10**9
    ends_3 = spans.START_NS + 3 * minute + minute // 2  # of the third trace
    pages = await read(database, Window(ends_3, ends_3 + 2 * minute))
    assert [int(view.trace_id, 16) for page in pages for view in page.views] == [3, 4], "the last moment is not in it"
    assert await read(database, Window(ends_3 + 200 * minute, ends_3 + 201 * minute)) == []


async def test_a_trace_that_is_too_large_is_left_out_and_counted(
    clickhouse_server: EmbeddedServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = spans.trace_request([spans.span({"text": "x" * 3_000_000}, trace=99, start_ms=90_000)])
    await store(clickhouse_server, database, Message(Kind.TRACES, [minutes(5), large], "a"))
    monkeypatch.setitem(history._WHOLE, "max_result_bytes", 1_000_000)
    pages = await read(database)
    assert [int(view.trace_id, 16) for page in pages for view in page.views] == [1, 2, 3, 4, 5]
    assert sum(page.too_large for page in pages) == 1
    assert sum(page.spans for page in pages) == 11


async def test_without_tables_there_is_no_history(database: Database) -> None:
    with pytest.raises(ConfigError, match="otel_traces: there is no such table"):
        await read(database)


async def test_texts_and_hostile_values_come_back_as_they_were(clickhouse_server: EmbeddedServer, database: Database) -> None:
    made = spans.span(
        {"a": "42", "b": "true", "gen_ai.request.max_tokens": 17, "gen_ai.request.stream": True, "c": "it's \\ '; DROP TABLE x",
         "nul": "a\0b", "hidden": "\u202e\u200b", "gen_ai.tool.definitions": "[" * 3000, "gen_ai.request.top_p": 1e-9,
         "lk.function_tool.is_error": True, "otel_eval.outcome.success": False, "evaluations.0.evaluation.score": 0.5},
        resource={"service.name": "größe"},
    )  # fmt: skip
    body = spans.trace_request([made]).replace(b"gr\xc3\xb6\xc3\x9fe", b"gr\xff\xfe\xc3\x9fe")  # the same length, not UTF-8
    await store(clickhouse_server, database, Message(Kind.TRACES, [body], "a"))
    ((view,),) = [page.views for page in await read(database)]
    span = view.spans[0]
    assert (span.get("a"), span.get("b"), span.get("gen_ai.request.max_tokens")) == ("42", "true", 17)
    assert (span.get("gen_ai.request.stream"), span.get("gen_ai.request.top_p")) == (True, 1e-9)
    assert (span.get("lk.function_tool.is_error"), span.get("otel_eval.outcome.success")) == (True, False)
    assert span.get("evaluations.0.evaluation.score") == 0.5
    assert (span.get("c"), span.get("nul"), span.get("hidden")) == ("it's \\ '; DROP TABLE x", "a\0b", "\u202e\u200b")
    assert span.get("gen_ai.tool.definitions") == "[" * 3000
    assert (view.service_name or "").startswith("gr\ufffd")


@given(st.text() | st.integers().map(str) | st.floats().map(str) | st.just("[" * 99 + "]" * 99))
def test_any_text_can_be_read_back(text: str) -> None:
    """Rows as the client gives them, with no engine between."""
    stored = text.encode(errors="replace").decode()
    keys = ["plain", "gen_ai.request.x", "gen_ai.tool.definitions"]
    around: list[Any] = [[], []]
    span = ["0" * 32, text, "zz", "", stored, "Client", 1, 2, "Ok", "", "", ""]
    row = [*span, *around, keys, [stored] * 3, [], [], [], [], [], []]
    ((raw,),) = [group.items for group in lens.groups(reading.spans([row]))]
    found = lens.span(raw)
    assert found.attributes["plain"] == spans.any_value(stored).SerializeToString()
    assert len(found.attributes) == 3
