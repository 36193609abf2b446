"""Stand-ins for spans, for log records that came without any: Claude Code with traces switched off, GenAI events alone.

There is one for each span id that the records name (and one for those that name none), and one for each record that
tells of a whole model call or tool use. The records are then given to them as to any span.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from otel_eval.traces.items import Record
from otel_eval.traces.span import SpanReader
from otel_eval.traces.values import decode, number
from otel_eval.wire import lens

_NO_SPAN: Final = b"\0" * 8
_OWN_IDS: Final = 1 << 63
_DETAILS: Final = "gen_ai.client.inference.operation.details"
# Claude Code's records that tell what a span would, and the name that the span would have.
_WHOLE: Final = {
    "api_request": "claude_code.llm_request",
    "api_error": "claude_code.llm_request",
    "tool_result": "claude_code.tool",
}
_SAID: Final = {
    *_WHOLE, _DETAILS, "user_prompt", "assistant_response", "gen_ai.choice",
    *(f"gen_ai.{role}.message" for role in ("system", "user", "assistant", "tool")),
}  # fmt: skip


def stand_ins(records: Iterable[Record]) -> Iterator[SpanReader]:
    """Spans for these records; none when no record tells of an agent."""
    ordered = sorted(records, key=lambda record: record.event.time_ns)
    if not any(record.event.name in _SAID for record in ordered):
        return
    around: dict[bytes, list[Record]] = {}
    for number_, record in enumerate(ordered):
        name = _WHOLE.get(record.event.name)
        around.setdefault(record.span_id or _NO_SPAN, []).append(record)
        if name is not None or (record.event.name == _DETAILS and not record.span_id):
            identity = (_OWN_IDS + number_).to_bytes(8, "big")
            yield _whole(record, name or "chat", identity, record.span_id or _NO_SPAN)
    for identity, own in around.items():
        details = next((one for one in own if one.event.name == _DETAILS and one.span_id), None)
        attributes = details.attributes if details is not None else {}
        yield _span(own[0], "log records", identity, (own[0].event.time_ns, own[-1].event.time_ns), attributes=attributes)


def _whole(record: Record, name: str, identity: bytes, parent: bytes) -> SpanReader:
    """A record is written when the call or tool has ended."""
    end = record.event.time_ns
    took = number(decode(record.attributes["duration_ms"])) if "duration_ms" in record.attributes else None
    start = end - min(end, max(0, int((took or 0) * 1e6)))
    return _span(record, name, identity, (start, end), parent, record.attributes)


def _span(
    record: Record, name: str, identity: bytes, times: tuple[int, int], parent: bytes = b"",
    attributes: Mapping[str, bytes] | None = None,
) -> SpanReader:  # fmt: skip
    raw = cast(Any, lens.span(b""))
    raw.trace_id, raw.span_id, raw.parent_span_id, raw.name = record.trace_id, identity, parent, name.encode()
    raw.start_time_unix_nano, raw.end_time_unix_nano = times
    for key, value in (attributes or {}).items():
        raw.attributes[key] = value
    return SpanReader(raw, record.scope, record.resource)
