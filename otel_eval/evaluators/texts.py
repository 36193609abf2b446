"""The texts of a trace that evaluators by code compare: the answer, and what the models were given."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from otel_eval.evaluators.evaluator import Subject
from otel_eval.evaluators.told import asked_at, ran_elsewhere, tools_here
from otel_eval.traces.records import Data, Message, ModelCall, Text, ToolCall, ToolResult
from otel_eval.traces.values import to_text
from otel_eval.traces.view import TraceView

MAX_CONTEXT: Final = 1 << 20
"""What was given is not looked at when it has more characters: half of it would say nothing about the rest."""

MAX_ANSWER: Final = 100_000
"""Of longer answers only so many characters are looked at."""

_WRITTEN: Final = (Text, Data)
_LISTS: Final = frozenset({list, tuple, set})
_NUMBERS: Final = frozenset({int, float})
_FENCED: Final = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_INLINE: Final = re.compile(r"`[^`\n]*`")


def without_code(text: str) -> str:
    """The text without code blocks and code in a line.

    >>> without_code("Use `x = 1` or:\\n```python\\nx = 2\\n```\\nDone.").split()
    ['Use', 'or:', 'Done.']
    """
    return _INLINE.sub(" ", _FENCED.sub(" ", text)) if "`" in text or "~~~" in text else text


def answer(view: TraceView) -> str:
    """What came out in the end, cut to `MAX_ANSWER`; empty when nothing was captured."""
    return (view.final_output or "")[:MAX_ANSWER]


def answering_call(view: TraceView) -> ModelCall | None:
    """The model call whose words came out; else the one that ended last and said something.

    Later ones may have checked the answer, or given the conversation a title.
    """
    said = sorted((call for call in view.model_calls if call.output_messages), key=lambda call: call.end_ns, reverse=True)
    return next((call for call in said if came_out(view, call)), said[0] if said else None)


def came_out(view: TraceView, call: ModelCall) -> bool:
    """Whether the words of the call are what came out in the end."""
    return call.output_text.rstrip("\n") == view.final_output


def answering_span(view: TraceView) -> str | None:
    """The span of `answering_call`."""
    call = answering_call(view)
    return None if call is None else call.span_id


def client_requests(call: ModelCall) -> list[ToolCall]:
    """The tools that the call asks its client for: what the provider ran itself has its result beside the request."""
    requests = call.tool_calls
    if not requests:
        return []
    ran = {result.id for message in call.output_messages for result in message.tool_results}
    return [request for request in requests if request.id not in ran]


def retrieved(view: TraceView) -> bool:
    """Whether the trace has documents, or results of tools, that an answer can rest on.

    A tool may have run outside of the trace, with its result in the prompt only.
    """
    if view.retrieved_documents or any(tool.result is not None for tool in view.tool_calls):
        return True
    here = tools_here(view)
    return any((ran := ran_elsewhere(call, here)) and ran[-1][0] >= asked_at(call) for call in view.model_calls)


def given(subject: Subject) -> str | None:
    """What the models were given, as one text: prompts, earlier turns, documents, results of tools.

    What a model said in this trace is no evidence and left out. None when it is longer than `MAX_CONTEXT`.
    """
    return subject.once(given, lambda: _given(subject.view))


def _given(view: TraceView) -> str | None:
    found: dict[str, None] = {}
    if view.user_input:
        found[view.user_input] = None
    before: Sequence[Message] = ()
    for index, call in enumerate(view.model_calls):
        if call.system_prompt:
            found[call.system_prompt] = None
        for number, message in enumerate(call.input_messages):
            if index and message.role == "assistant":
                continue
            if number >= len(before) or before[number] != message:  # most calls are told again what the one before was told
                _take(message, found)
        before = call.input_messages
    for document in view.retrieved_documents:
        found.update(dict.fromkeys(filter(None, (document.content, document.id, *leaves(document.metadata)))))
    for tool in view.tool_calls:
        found.update(dict.fromkeys(leaves(tool.result)))
    return "\n".join(found) if sum(map(len, found)) <= MAX_CONTEXT else None


def _take(message: Message, found: dict[str, None]) -> None:
    """Add what a message says."""
    for part in message.parts:
        if isinstance(part, _WRITTEN):
            found[part.text] = None
        elif isinstance(part, ToolResult):
            found.update(dict.fromkeys(leaves(part.result)))


def leaves(value: Any) -> list[str]:
    """Every text, number and key in a plain value, in no order.

    >>> sorted(leaves({"temp_c": 14, "sky": ["rain", None, True]}))
    ['14', 'rain', 'sky', 'temp_c']
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is str:
            found.append(item)
        elif kind is dict:
            waiting += item
            waiting += item.values()
        elif kind in _LISTS:
            waiting += item
        elif kind in _NUMBERS:
            found.append(repr(item))
    return found


def canonical(value: Any) -> bytes:
    """A plain value as JSON, the same for equal values whatever the order of their keys."""
    try:
        return msgspec.json.encode(value, order="deterministic")
    except (TypeError, ValueError, OverflowError, RecursionError):
        return to_text(value).encode(errors="replace")
