"""Tool executions: tool spans, the model's requests for them, and the results that went back to the model, as one."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from otel_eval.traces import fields
from otel_eval.traces.errors import error_of
from otel_eval.traces.parts import result_value
from otel_eval.traces.records import ModelCall, SpanKind, ToolCall, ToolExecution, ToolResult
from otel_eval.traces.span import SpanReader
from otel_eval.traces.tree import SpanTree
from otel_eval.traces.values import Plain, bounded, cut, first, literal, text_or_none, to_text

_FAILED: Final = frozenset({"error", "failed", "failure", "denied", "rejected", "timeout"})
_NAME_PREFIXES: Final = ("execute_tool ", "tools/call ", "running tool: ", "tool: ", "claude_code.")
# Pydantic AI's output tool: how a structured answer is given, nothing that runs.
_OUTPUT_TOOLS: Final = frozenset({"final_result"})
_MAX_ERROR: Final = 2000


def tool_executions(tree: SpanTree, calls: Sequence[ModelCall]) -> tuple[ToolExecution, ...]:
    """All uses of tools in order: each tool span, and each request of a model that has no span."""
    requests = [(call, request) for call in calls for request in call.tool_calls]
    results = _Results(calls)
    waiting = _Waiting(requests)
    found: list[ToolExecution] = []
    for group in _grouped(tree):
        run = _executed(group)
        call, request = waiting.take(run)
        found.append(_matched(run, call, request, results))
    for call, request in waiting.rest():
        if request.name not in _OUTPUT_TOOLS:
            found.append(_matched(None, call, request, results))
    order = {call.span_id: call.end_ns for call in calls}
    return tuple(sorted(found, key=lambda tool: tool.start_ns or order.get(tool.requested_by or "", 0)))


def _grouped(tree: SpanTree) -> list[list[SpanReader]]:
    """Tool spans; one nested in another of the same name or call stands for the same execution."""
    groups: dict[str, list[SpanReader]] = {}
    owner: dict[str, str] = {}
    for span in sorted(tree.of_kind(SpanKind.TOOL), key=lambda span: tree.depth[span.span_id]):
        around = tree.enclosing[span.span_id]
        outer = owner.get(around.span_id) if around is not None else None
        if outer is None or not _same(groups[outer][0], span):
            outer = span.span_id
        owner[span.span_id] = outer
        groups.setdefault(outer, []).append(span)
    return sorted(groups.values(), key=lambda group: group[0].start_ns)


def _same(outer: SpanReader, inner: SpanReader) -> bool:
    ids = fields.read(outer, "tool_call_id"), fields.read(inner, "tool_call_id")
    return tool_name(outer) == tool_name(inner) if None in ids else ids[0] == ids[1]


def tool_name(span: SpanReader) -> str:
    """The tool's name; else the span's, without what instrumentations put around it."""
    named = fields.read(span, "tool_name")
    if isinstance(named, str):
        return named[:1000]
    name = span.name
    for prefix in _NAME_PREFIXES:
        name = name.removeprefix(prefix)
    return name.removesuffix(".tool")


def _executed(group: list[SpanReader]) -> ToolExecution:
    span = group[0]

    def say(field: str) -> Any:
        return next((value for one in group if (value := fields.read(one, field)) is not None), None)

    raw_result = say("tool_result")
    result = result_value(_unwrapped(raw_result))
    return ToolExecution(
        name=tool_name(span),
        arguments=arguments(say("tool_arguments")),
        result=result,
        error=next(filter(None, (_error(one, raw_result) for one in group)), None) or error_text(result),
        call_id=say("tool_call_id") or _call_id(raw_result),
        span_id=span.span_id,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
    )


def arguments(value: Plain) -> Plain:
    """What the tool was called with, without the wrapping of decorators and callbacks."""
    if not isinstance(value, dict):
        return value
    if {"args", "kwargs"} <= value.keys():
        return _of_function(value)
    if "input_str" in value:  # a LangChain callback's arguments
        return bounded(value.get("inputs") or literal(value["input_str"]))
    inner = literal(value["input"]) if set(value) == {"input"} else None
    return bounded(inner) if isinstance(inner, dict) else value


def _of_function(value: dict[str, Any]) -> Plain:
    """A decorated function's: one argument stands for itself."""
    args, kwargs = value["args"], value["kwargs"]
    if args and kwargs:
        return {"args": args, "kwargs": kwargs}
    if not args:
        return kwargs
    return args[0] if isinstance(args, list) and len(args) == 1 else args


def _unwrapped(result: Plain) -> Plain:
    """The output in a LangChain callback's arguments."""
    if isinstance(result, dict) and "output" in result and set(result) <= {"output", "kwargs", "tags", "metadata"}:
        return result["output"]
    return result


def _call_id(result: Plain) -> str | None:
    """LangChain's tool message carries the id of the call."""
    message = first(_unwrapped(result), "data", "kwargs") or _unwrapped(result)
    return text_or_none(first(message, "tool_call_id"))


def _error(span: SpanReader, result: Plain) -> str | None:
    error = error_of(span, SpanKind.TOOL)
    if error is not None:
        return cut(": ".join(filter(None, (error.type, error.message))) or "error", _MAX_ERROR)
    status = fields.read(span, "tool_status")
    if isinstance(status, str) and status.lower() in _FAILED:
        return error_text(result, always=True)
    if span.get("lk.function_tool.is_error") is True:
        return error_text(result, always=True)
    message = first(_unwrapped(result), "data", "kwargs", "toolResult") or _unwrapped(result)
    if isinstance(message, list) and message:
        message = first(message[0], "toolResult") or message[0]
    says = first(message, "status"), first(message, "isError", "is_error")
    if isinstance(message, dict) and (says[0] == "error" or says[1] is True):
        return error_text(first(message, "content") or result, always=True)
    return None


def error_text(result: Plain, *, always: bool = False) -> str | None:
    """A result as an error's text, when it starts like one (or `always`)."""
    if not always and not (isinstance(result, str) and result.lstrip()[:6].lower() in {"error:", "error ", "error"}):
        return None
    return cut(to_text(result_value(result)) or "error", _MAX_ERROR)


def _matched(
    run: ToolExecution | None, call: ModelCall | None, request: ToolCall | None, results: "_Results"
) -> ToolExecution:  # fmt: skip
    """One execution from the tool's span, the request for it, and what the model was told of it."""
    asked = request.arguments if request is not None else None
    if run is None:
        run = ToolExecution(request.name if request is not None else "", asked)
    given = (
        run.arguments
        if run.arguments is not None and not (isinstance(asked, dict) and not isinstance(run.arguments, dict))
        else asked
    )
    call_id = run.call_id or (request.id if request is not None else None)
    told = results.take(call_id, run.name)
    result = run.result if run.result is not None or told is None else told.result
    error = run.error
    if error is None and told is not None:
        error = error_text(told.result, always=told.is_error is True)
    return ToolExecution(
        run.name, given, result, error, call_id, run.span_id, run.start_ns, run.end_ns, call.span_id if call is not None else None
    )


class _Waiting:
    """Requests of models that no span has been found for yet."""

    def __init__(self, requests: list[tuple[ModelCall, ToolCall]]) -> None:
        self._left = dict(enumerate(requests))
        self._by_id = {request.id: index for index, (_, request) in reversed(self._left.items()) if request.id}
        self._by_name: dict[str, list[int]] = {}
        for index, (_, request) in reversed(self._left.items()):
            self._by_name.setdefault(request.name, []).append(index)

    def take(self, run: ToolExecution) -> tuple[ModelCall, ToolCall] | tuple[None, None]:
        """The request that the execution answers: the one with its id, else the oldest of its name."""
        index = self._by_id.get(run.call_id) if run.call_id else None
        if index is None or index not in self._left:
            same_name = self._by_name.get(run.name, [])
            while same_name and same_name[-1] not in self._left:
                same_name.pop()
            index = same_name[-1] if same_name else None
            if index is not None and run.call_id and self._left[index][1].id:
                return None, None  # both have an id, and they differ
        return self._left.pop(index) if index is not None else (None, None)

    def rest(self) -> Iterable[tuple[ModelCall, ToolCall]]:
        return self._left.values()


class _Results:
    """Results that a model was told, by call id, else by the tool's name in order.

    Of tools that its provider ran for it they stand in what it said, and in no later prompt.
    """

    def __init__(self, calls: Sequence[ModelCall]) -> None:
        self._by_id: dict[str, ToolResult] = {}
        self._by_name: dict[str, list[ToolResult]] = {}
        last: list[ToolResult] = []
        for call in calls:
            found = [result for message in (*call.input_messages, *call.output_messages) for result in message.tool_results]
            self._by_id.update({result.id: result for result in found if result.id})
            nameless = [result for result in found if not result.id]
            if len(nameless) > len(last):  # each call repeats what came before
                last = nameless
        for result in reversed(last):
            self._by_name.setdefault(result.name or "", []).append(result)

    def take(self, call_id: str | None, name: str) -> ToolResult | None:
        if call_id is not None and call_id in self._by_id:
            return self._by_id[call_id]
        for key in (name, ""):
            if self._by_name.get(key):
                return self._by_name[key].pop()
        return None
