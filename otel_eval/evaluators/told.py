"""What the prompt of a model call tells: where the user's question is, and of tools that ran outside of the trace.

A tool runs outside where each call of a model is a trace, or where an application runs it between two requests.
"""

from typing import Final

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


def ran_elsewhere(view: TraceView, call: ModelCall) -> list[tuple[int, ToolExecution]]:
    """The tools with results in the call's prompt, but for those that the trace has itself; each with its message's index."""
    results = [(index, result) for index, message in enumerate(call.input_messages) for result in message.tool_results]
    if not results:
        return []
    requests = {request.id: request for message in call.input_messages for request in message.tool_calls if request.id}
    here = {tool.call_id for tool in view.tool_calls if tool.call_id}
    without_id = {tool.name for tool in view.tool_calls if not tool.call_id}
    known = {to_text(tool.result) for tool in view.tool_calls if tool.result is not None}
    found = []
    for index, result in results:
        request = requests.get(result.id or "")
        name = (request.name if request is not None else result.name) or ""
        if name in OUTPUT_TOOLS or result.id in here or name in without_id or (view.tool_calls and not name):
            continue
        if to_text(result.result) not in known:
            arguments, error = request and request.arguments, error_text(result.result, always=result.is_error is True)
            found.append((index, ToolExecution(name, arguments, result.result, error, result.id)))
    return found
