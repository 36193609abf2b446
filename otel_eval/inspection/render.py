"""Traces as a tree for people: who said what, which tool with what, how long, how many tokens, what went wrong."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from otel_eval.inspection.document import detected
from otel_eval.inspection.lines import (
    call_line,
    called,
    cost,
    count,
    cut,
    duration,
    failed,
    feedback_line,
    joined,
    said,
    score_line,
    short,
    step_line,
    tokens,
    tool_line,
)
from otel_eval.inspection.plain_text import visible
from otel_eval.sampling.signals import Signal
from otel_eval.traces.documents import documents_of
from otel_eval.traces.records import Media, Message, ModelCall, Reasoning, Refusal, SpanKind, ToolCall, ToolExecution
from otel_eval.traces.span import SpanReader
from otel_eval.traces.view import TraceView

_MAX_NODES: Final = 500
_MAX_DOCUMENTS: Final = 5
_MAX_HISTORY: Final = 20
_WIDTH: Final = 120
_SHOWN: Final = {
    SpanKind.AGENT: "agent",
    SpanKind.CHAIN: "step",
    SpanKind.RETRIEVER: "retrieval",
    SpanKind.RERANKER: "reranking",
    SpanKind.EMBEDDING: "embedding",
    SpanKind.GUARDRAIL: "guardrail",
    SpanKind.PARSER: "parser",
}
_REASONS: Final = {"length": "cut off at the token limit", "content_filter": "stopped by a content filter", "refusal": "refused"}


def show(views: Sequence[TraceView]) -> None:
    """Print the traces."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    if not views:
        console.print("no traces")
    for index, (view, signals) in enumerate(detected(views)):
        if index:
            console.print()
        console.print(_Rendering(view, signals).tree())


class _Rendering:
    """One trace on its way to a tree."""

    def __init__(self, view: TraceView, signals: dict[str, Signal]) -> None:
        self._view = view
        self._signals = signals
        self._calls = {call.span_id: call for call in view.model_calls}
        self._duplicates = {identity for call in view.model_calls for identity in call.duplicate_span_ids}
        self._tools = {tool.span_id: tool for tool in view.tool_calls if tool.span_id is not None}
        self._call_ids = {tool.call_id for tool in view.tool_calls}
        self._unseen: dict[str, list[ToolExecution]] = {}
        for tool in view.tool_calls:
            if tool.span_id is None and tool.requested_by is not None:
                self._unseen.setdefault(tool.requested_by, []).append(tool)
        self._errors = {error.span_id: error for error in view.errors}
        self._agents = {agent.span_id: agent.name for agent in view.agents}
        self._heard: set[tuple[str, str]] = set()
        self._left = _MAX_NODES

    def tree(self) -> Tree:
        """Title, what is known of the whole, the conversation, the result."""
        view, root = self._view, Tree(self._title(), guide_style="dim")
        for line in self._about():
            root.add(line)
        if view.system_prompt:
            root.add(said("system", view.system_prompt))
        if view.user_input:
            root.add(said("user", view.user_input))
            self._heard.add(("user", view.user_input))
        self._add_spans(root, view.tree.roots)
        if self._left <= 0:
            root.add(Text("… more than can be shown", "dim"))
        if view.final_output and ("assistant", view.final_output) not in self._heard:
            root.add(said("assistant", view.final_output, name="answer"))
        if not root.children:
            root.add(Text("nothing of its own: its spans tell about another trace, or carry no content", "dim italic"))
        return root

    def _title(self) -> Text:
        view = self._view
        when = datetime.fromtimestamp(view.start_ns / 1e9, UTC) if 0 < view.start_ns < 1 << 61 else None
        calls, tools = len(view.model_calls), len(view.tool_calls)
        facts = [
            visible(view.service_name or ""),
            when.strftime("%Y-%m-%d %H:%M:%S UTC") if when else "",
            duration(view.duration_s),
            count(calls, "model call") if calls else "",
            count(tools, "tool call") if tools else "",
            count(view.span_count, "span"),
            tokens(view.usage),
            cost(view.cost_usd),
        ]
        return Text.assemble((f"trace {view.trace_id}".rstrip(), "bold"), f"  {joined(facts)}")

    def _about(self) -> Iterable[Text]:
        view = self._view
        who = [f"{name} {visible(value)}" for name, value in (("session", view.session_id), ("user", view.user_id)) if value]
        if who:
            yield Text(joined(who), "dim")
        for name, signal in self._signals.items():
            style = "bold blue" if name in {"thumbs_up", "rating"} else "bold red"
            yield Text.assemble((f"signal {name}", style), f"  {visible(signal.detail)}".rstrip())
        for feedback in view.feedback:
            yield feedback_line(feedback, view.trace_id)
        for score in view.evaluations:
            yield score_line(score)

    def _add_spans(self, root: Tree, spans: Sequence[SpanReader]) -> None:
        """What is to be shown of these spans and all below; a list of work, since traces can be deep."""
        work: list[tuple[Tree, SpanReader | Text]] = [(root, span) for span in reversed(spans)]
        while work and self._left > 0:
            parent, item = work.pop()
            if isinstance(item, Text):
                self._add(parent, item)
                continue
            node = self._node(parent, item)
            error = self._error(item)
            if error is not None:  # behind what happened before it
                work.append((node, error))
            work += [(node, child) for child in reversed(item.children)]

    def _node(self, parent: Tree, span: SpanReader) -> Tree:
        """The span's own node, or its parent's when it has nothing to show."""
        identity, kind = span.span_id, self._view.tree.kinds[span.span_id]
        if identity in self._view.tree.left_out or identity in self._duplicates:
            return parent
        if identity in self._calls:
            return self._add_call(parent, self._calls[identity])
        if identity in self._tools:
            return self._add(parent, tool_line(self._tools[identity]))
        # Of chains only those that hold several things together.
        if identity not in self._errors and (kind not in _SHOWN or (kind is SpanKind.CHAIN and len(span.children) < 2)):
            return parent
        node = self._add(parent, step_line(_SHOWN.get(kind, "span"), self._agents.get(identity, span.name), span.duration_s))
        if kind in {SpanKind.RETRIEVER, SpanKind.RERANKER}:
            for document in documents_of(span)[:_MAX_DOCUMENTS]:
                score = f" ({document.score:g})" if document.score is not None else ""
                self._add(node, Text(f"• {short(document.content)}{score}"))
        return node

    def _error(self, span: SpanReader) -> Text | None:
        """The error of a span whose own line does not tell it."""
        error = self._errors.get(span.span_id)
        if error is None or span.span_id in self._calls or span.span_id in self._tools or span.span_id in self._duplicates:
            return None
        return failed(": ".join(filter(None, (error.type, error.message))))

    def _add(self, parent: Tree, line: Text) -> Tree:
        self._left -= 1
        return parent.add(line)

    def _add_call(self, parent: Tree, call: ModelCall) -> Tree:
        node = self._add(parent, call_line(call))
        requests = {asked.id: asked for message in call.input_messages for asked in message.tool_calls}
        for message in call.input_messages[-_MAX_HISTORY:]:
            self._add_asked(node, message, requests)
        for message in call.output_messages:
            self._add_answer(node, message)
        for request in call.tool_calls:
            self._add(node, Text.assemble(("asks for ", "yellow"), called(request.name, request.arguments)))
        for tool in self._unseen.get(call.span_id, ()):
            if tool.result is not None or tool.error is not None:
                self._add(node, tool_line(tool))
        for line in _endings(call):
            self._add(node, line)
        return node

    def _add_asked(self, node: Tree, message: Message, requests: Mapping[str | None, ToolCall]) -> None:
        """What went in and was not shown before: earlier turns, and results of tools that this trace does not show."""
        if message.spoken and (message.role, message.text) not in self._heard:
            self._heard.add((message.role, message.text))
            self._add(
                node, said(message.role, message.text, name=f"{message.role}, earlier" if message.role == "assistant" else None)
            )
        for result in message.tool_results:
            if result.id is not None and result.id not in self._call_ids:
                self._call_ids.add(result.id)
                asked = requests.get(result.id) or ToolCall(result.name or "tool")
                self._add(node, tool_line(ToolExecution(asked.name, asked.arguments, result.result)))

    def _add_answer(self, node: Tree, message: Message) -> None:
        for part in message.parts:
            if isinstance(part, Reasoning):
                self._add(node, Text.assemble(("thinks  ", "dim cyan"), (cut(part.text), "dim italic")))
            elif isinstance(part, Media):
                self._add(node, Text(f"[{visible(part.modality)} {visible(part.uri or '')}]", "dim"))
            elif isinstance(part, Refusal):
                self._add(node, Text.assemble(("refuses  ", "bold red"), cut(part.text)))
        if message.spoken or message.text:
            self._heard.add((message.role, message.text))
            if not any(isinstance(part, Refusal) for part in message.parts):
                self._add(node, said(message.role, message.text))


def _endings(call: ModelCall) -> Iterable[Text]:
    """What is unusual about how the call ended."""
    for reason in call.finish_reasons:
        if reason in _REASONS:
            yield failed(_REASONS[reason])
    if call.error is not None:
        yield failed(": ".join(filter(None, (call.error.type, call.error.message))) or "failed")
    if not call.has_content:
        yield Text("no content was captured", "dim italic")
