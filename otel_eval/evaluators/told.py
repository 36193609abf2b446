"""What the prompt of a model call tells: where the user's question is, and of tools that ran outside of the trace.

A tool runs outside where each call of a model is a trace, or where an application runs it between two requests.
"""

from collections.abc import Set
from typing import Final, NamedTuple

from otel_eval.traces.records import ModelCall, ToolExecution
from otel_eval.traces.tools import error_text
from otel_eval.traces.values import to_text
from otel_eval.traces.view import TraceView

OUTPUT_TOOLS: Final = frozenset({"final_result"})
"""Pydantic AI's tool for a structured answer: nothing that runs."""


def asked_at(call: ModelCall) -> int:
    """Which of the messages that the call was told asks: the last with words of the user; 0 without any."""
    found = (index for index, message in enumerate(call.input_messages) if message.role == "user" and message.text)
    return max(found, default=0)


class Here(NamedTuple):
    """What a trace has itself of tools: their call ids, the names of those without, and their results."""

    ids: Set[str]
    without_id: Set[str]
    results: Set[str]


def tools_here(view: TraceView) -> Here:
    """To be made once for a trace: it may have thousands of tools and of calls."""
    tools = view.tool_calls
    results = frozenset(to_text(tool.result) for tool in tools if tool.result is not None)
    return Here({tool.call_id for tool in tools if tool.call_id}, {tool.name for tool in tools if not tool.call_id}, results)


def ran_elsewhere(call: ModelCall, here: Here) -> list[tuple[int, ToolExecution]]:
    """The tools with results in the call's prompt, but for those that the trace has itself; each with its message's index."""
    results = [(index, result) for index, message in enumerate(call.input_messages) for result in message.tool_results]
    if not results:
        return []
    requests = {request.id: request for message in call.input_messages for request in message.tool_calls if request.id}
    found = []
    for index, result in results:
        request = requests.get(result.id or "")
        name = (request.name if request is not None else result.name) or ""
        is_here = result.id in here.ids or name in here.without_id or (not name and any((here.ids, here.without_id)))
        if name not in OUTPUT_TOOLS and not is_here and to_text(result.result) not in here.results:
            arguments, error = request and request.arguments, error_text(result.result, always=result.is_error is True)
            found.append((index, ToolExecution(name, arguments, result.result, error, result.id)))
    return found
