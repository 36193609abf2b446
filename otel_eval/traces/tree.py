"""The span tree of one trace, from spans and log records in any order."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from otel_eval.traces import fields, items
from otel_eval.traces.from_logs import stand_ins
from otel_eval.traces.items import OWN_SCOPE, Record
from otel_eval.traces.records import SpanKind
from otel_eval.traces.span import SpanReader
from otel_eval.wire import lens

# Claude Code's logs carry the ids of the span around; these name the request or tool use that they are about.
_JOINED_BY: Final = ("request_id", "tool_use_id", "tool_name")


class SpanTree:
    """All spans of a trace, linked.

    `spans` is in order of start, `roots` are the spans whose parent is not here. A span that came twice is kept once,
    and parents that go in circles are cut. Log records without any span have stand-ins (`from_logs`); `has_spans` is then
    False. `kinds` and `named` tell what each span is and whether it says so itself;
    `depth` counts from the roots; `enclosing` is the nearest ancestor that is more than plumbing (HTTP and the like);
    `left_out` are evaluators', feedback's and our own spans with everything below them.
    """

    def __init__(self, spans: Iterable[lens.Group], logs: Iterable[lens.Group]) -> None:
        by_id: dict[str, SpanReader] = {}
        records = list(items.records(logs))
        for span in items.spans(spans):
            known = by_id.get(span.span_id)
            if known is None or len(span.attributes) > len(known.attributes):
                by_id[span.span_id] = span
        self.has_spans = bool(by_id)
        if not by_id:
            by_id = {span.span_id: span for span in stand_ins(records)}
        self.spans = sorted(by_id.values(), key=lambda span: (span.start_ns, -span.end_ns, span.span_id))
        self.by_id = by_id
        self.roots: list[SpanReader] = []
        self._link()
        self._attach(records)
        self.kinds: dict[str, SpanKind] = {}
        self.named: set[str] = set()
        self.enclosing: dict[str, SpanReader | None] = {}
        self.depth: dict[str, int] = {}
        self.left_out: set[str] = set()
        self._classify()

    def of_kind(self, *kinds: SpanKind) -> list[SpanReader]:
        """The spans of these kinds that are not left out, in order of start."""
        return [span for span in self.spans if self.kinds[span.span_id] in kinds and span.span_id not in self.left_out]

    def top_down(self) -> list[SpanReader]:
        """All spans, parents before children, level by level."""
        found = list(self.roots)
        for span in found:  # grows while it is walked
            found += span.children
        return found

    def _link(self) -> None:
        for span in self.spans:
            parent = self.by_id.get(span.parent_span_id)
            if parent is None or parent is span:
                self.roots.append(span)
            else:
                span.parent = parent
                parent.children.append(span)
        reached = self.top_down()
        if len(reached) < len(self.spans):
            self._cut_circles({span.span_id for span in reached})

    def _cut_circles(self, reached: set[str]) -> None:
        for span in self.spans:
            if span.span_id in reached:
                continue
            if span.parent is not None:
                span.parent.children.remove(span)
                span.parent = None
            self.roots.append(span)
            below = [span]
            for one in below:
                reached.add(one.span_id)
                below += one.children

    def _attach(self, records: Iterable[Record]) -> None:
        """Give the log records to their spans; those without a span id to the root."""
        joined: dict[str, list[SpanReader]] | None = None
        for record in records:
            event = record.event
            if joined is None:
                joined = self._join_keys()
            keys = (f"{name}={event.get(name)}" for name in _JOINED_BY)
            about = next((_running(joined[key], event.time_ns) for key in keys if key in joined), None)
            span = about or self.by_id.get(record.span_id.hex())
            if span is None and not record.span_id and self.roots:
                span = self.roots[0]
            if span is not None:
                span.logs.append(event)

    def _join_keys(self) -> dict[str, list[SpanReader]]:
        joined: dict[str, list[SpanReader]] = {}
        for span in self.spans:
            for name in _JOINED_BY:
                if name in span.attributes:
                    joined.setdefault(f"{name}={span.get(name)}", []).append(span)
        return joined

    def _classify(self) -> None:
        for span in self.top_down():
            identity, parent = span.span_id, span.parent
            kind, named = fields.kind_of(span)
            self.kinds[identity] = kind
            self.depth[identity] = 0 if parent is None else self.depth[parent.span_id] + 1
            if named:
                self.named.add(identity)
            if parent is None:
                self.enclosing[identity] = None
            else:
                plumbing = self.kinds[parent.span_id] is SpanKind.OTHER
                self.enclosing[identity] = self.enclosing[parent.span_id] if plumbing else parent
            if (
                kind in {SpanKind.EVALUATOR, SpanKind.FEEDBACK}
                or span.scope == OWN_SCOPE
                or (parent is not None and parent.span_id in self.left_out)
            ):
                self.left_out.add(identity)


def _running(spans: list[SpanReader], time_ns: int) -> SpanReader:
    """The one that started last before this time."""
    index = bisect_right(spans, time_ns, key=lambda span: span.start_ns)
    return spans[max(0, index - 1)]
