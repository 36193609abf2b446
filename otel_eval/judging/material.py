"""What of a trace, a span or a session is shown to a judge, as items in the order of what happened.

Left out on purpose: feedback and other scores, which would be copied; models, prices and ids, which would bias; and a
model's reasoning, which is neither said nor done.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from otel_eval.evaluators.evaluator import Subject
from otel_eval.evaluators.rubric import Part
from otel_eval.evaluators.texts import answering_call
from otel_eval.evaluators.told import asked_at, ran_elsewhere, tools_here
from otel_eval.traces.records import Message, ModelCall, ToolDefinition, ToolExecution
from otel_eval.traces.view import TraceView

_MAX_OFFERED: Final = 100
_MIN_PROMPT: Final = 200
"""A prompt so many characters longer than the question in it brings context along."""


class Item(msgspec.Struct, frozen=True):
    """One thing to be shown. `part` says what it is; `texts` are values of any sort under names of ours.

    Only items that are not `core` may be left out whole. `turn` counts the user's turns of a session from 1.
    """

    part: str
    texts: dict[str, Any]
    core: bool = False
    failing: bool = False
    turn: int | None = None


_SHOWN_AS: Final = {
    "message": Part.CONVERSATION,
    "prompt_with_context": Part.DOCUMENTS,
    "document": Part.DOCUMENTS,
    **dict.fromkeys(("tools_offered", "tool", "tool_request", "tool_result"), Part.TOOLS),
}


def present(items: Iterable[Item]) -> frozenset[str]:
    """The parts that these items show something of."""
    return frozenset(str(_SHOWN_AS.get(item.part, item.part)) for item in items)


def user_turns(items: Iterable[Item]) -> int:
    """How many messages of the user are among these items."""
    return sum(item.part == "user_input" or (item.part == "message" and item.texts["role"] == "user") for item in items)


def of_trace(subject: Subject, sees: Iterable[Part]) -> list[Item]:
    """The one trace: what was told and offered, what was asked, the steps, what came out, and what was expected."""
    view, sees = subject.view, frozenset(sees)
    found = _beginning(view, sees)
    found += _earlier(view, sees)
    if Part.USER_INPUT in sees and view.user_input:
        found.append(Item("user_input", {"text": view.user_input}, core=True))
    found += _steps(view, sees)
    if Part.FINAL_OUTPUT in sees and view.final_output:
        found.append(Item("final_output", {"text": view.final_output}, core=True))
    if Part.REFERENCE in sees and subject.expected is not None:
        found.append(Item("reference", {"text": subject.expected}, core=True))
    return found


def of_session(subject: Subject, sees: Iterable[Part]) -> list[Item]:
    """The conversation turn by turn, with the steps of each where tools or documents are seen.

    Of turns that are gone, there is what the first one that is left was told of them.
    """
    views, sees = [view for view in subject.session if view.spans] or [subject.view], frozenset(sees)
    first = next((view for view in views if view.system_prompt), views[0])
    found = _beginning(first, sees)
    turn = 0
    for item in _earlier(views[0], sees | {Part.CONVERSATION}):
        turn += item.texts.get("role") == "user"
        found.append(replace(item, turn=max(turn, 1)))
    for view in views:
        turn += bool(view.user_input)
        said = [Item("message", {"role": "user", "text": view.user_input})] if view.user_input else []
        steps = _steps(view, sees - {Part.CONVERSATION})
        answer = [Item("message", {"role": "agent", "text": view.final_output})] if view.final_output else []
        found += [replace(item, turn=max(turn, 1)) for item in (*said, *steps, *answer)]
    if Part.REFERENCE in sees and subject.expected is not None:
        found.append(Item("reference", {"text": subject.expected}, core=True))
    return found


def of_call(call: ModelCall, sees: Iterable[Part]) -> list[Item]:
    """One model call by itself: its messages are the conversation, what it said is the final output."""
    sees = frozenset(sees)
    asked = max((i for i, message in enumerate(call.input_messages) if message.role == "user" and message.text), default=None)
    found: list[Item] = []
    if Part.SYSTEM_PROMPT in sees and call.system_prompt:
        found.append(Item("system_prompt", {"text": call.system_prompt}, core=True))
    if Part.TOOLS in sees and call.tool_definitions:
        found.append(_tools_offered(call.tool_definitions))
    for index, message in enumerate(call.input_messages):
        if index == asked and Part.USER_INPUT in sees:
            found.append(Item("user_input", {"text": message.text}, core=True))
        elif Part.CONVERSATION in sees and message.text:
            found.append(_message(message))
        if Part.TOOLS in sees:
            found += [Item("tool_result", _given(name=part.name, result=part.result)) for part in message.tool_results]
    if Part.TOOLS in sees:
        found += [Item("tool_request", _given(name=tool.name, arguments=tool.arguments)) for tool in call.tool_calls]
    if Part.FINAL_OUTPUT in sees and call.output_text:
        found.append(Item("final_output", {"text": call.output_text}, core=True))
    return found


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _beginning(view: TraceView, sees: frozenset[Part]) -> list[Item]:
    found = []
    if Part.SYSTEM_PROMPT in sees:
        call = _told(view)
        prompts = dict.fromkeys((view.system_prompt, call.system_prompt if call is not None else None))
        found += [Item("system_prompt", {"text": prompt}, core=True) for prompt in prompts if prompt]
    if Part.TOOLS in sees and (offered := _offered(view)):
        found.append(_tools_offered(offered))
    return found


def _tools_offered(tools: Sequence[ToolDefinition]) -> Item:
    said = [_given(name=tool.name, description=tool.description) for tool in tools[:_MAX_OFFERED]]
    return Item("tools_offered", {"tools": said}, core=True)


def _offered(view: TraceView) -> list[ToolDefinition]:
    """The tools that were offered in any call, each name once."""
    found = {tool.name: tool for call in view.model_calls for tool in call.tool_definitions}
    return list(found.values())


def _told(view: TraceView) -> ModelCall | None:
    """The call whose prompt tells the conversation: the one that answered, if it was asked what the user asks; else the first.

    Before it, others may have routed or rewritten the question, with prompts of their own.
    """
    call = answering_call(view)
    if call is not None and call.input_messages and (view.user_input or "") in call.input_messages[asked_at(call)].text:
        return call
    return view.model_calls[0] if view.model_calls else None


def _earlier(view: TraceView, sees: frozenset[Part]) -> list[Item]:
    """What was said before the user's question, and what tools gave then."""
    call = _told(view)
    if call is None:
        return []
    asked, ran = asked_at(call), ran_elsewhere(call, tools_here(view)) if Part.TOOLS in sees else ()
    found = [(index, _tool(tool)) for index, tool in ran if index < asked]
    for index, message in enumerate(call.input_messages[:asked]):
        if Part.CONVERSATION in sees and message.role in {"user", "assistant"} and message.text:
            found.append((index, _message(message)))
    return [item for _, item in sorted(found, key=lambda entry: entry[0])]


def _message(message: Message) -> Item:
    return Item("message", {"role": "agent" if message.role == "assistant" else message.role, "text": message.text})


def _prompt_with_context(view: TraceView) -> str | None:
    """The prompt around the user's question, where no retrieval of its own tells what the model was given to read."""
    for call in view.model_calls:
        for message in call.input_messages:
            if message.role == "user" and view.user_input and view.user_input in message.text:
                return message.text if len(message.text) >= len(view.user_input) + _MIN_PROMPT else None
    return None


def _steps(view: TraceView, sees: frozenset[Part]) -> list[Item]:
    """What the agent did between question and answer, in order of time."""
    timed = [*_said(view, sees), *_documents(view, sees), *_used(view, sees), *_went_wrong(view, sees)]
    return [item for _, item in sorted(timed, key=lambda entry: entry[0])]


def _said(view: TraceView, sees: frozenset[Part]) -> Iterator[tuple[int, Item]]:
    if not sees & {Part.TOOLS, Part.CONVERSATION}:
        return
    told = {view.final_output, *(item.texts["text"] for item in _earlier(view, frozenset({Part.CONVERSATION})))}
    for call in view.model_calls:
        if call.output_text and call.output_text.rstrip("\n") not in told:
            yield call.end_ns, Item("said_between", {"text": call.output_text})
    if len(view.agents) > 1:
        for agent in view.agents:
            yield agent.start_ns, Item("agent_begins", {"name": agent.name})


def _documents(view: TraceView, sees: frozenset[Part]) -> Iterator[tuple[int, Item]]:
    if Part.DOCUMENTS not in sees:
        return
    spans = view.tree.by_id
    for document in view.retrieved_documents:
        span = spans.get(document.span_id or "")
        yield span.end_ns if span else view.start_ns, Item("document", _given(id=document.id, text=document.content))
    if not view.retrieved_documents and (prompt := _prompt_with_context(view)) is not None:
        yield view.start_ns, Item("prompt_with_context", {"text": prompt}, core=True)


def _used(view: TraceView, sees: frozenset[Part]) -> Iterator[tuple[int, Item]]:
    if Part.TOOLS not in sees:
        return
    if (told := _told(view)) is not None:
        question = asked_at(told)
        yield from ((view.start_ns, _tool(tool)) for index, tool in ran_elsewhere(told, tools_here(view)) if index >= question)
    asked = {call.span_id: call.end_ns for call in view.model_calls}
    for tool in view.tool_calls:
        start_ns = tool.start_ns if tool.start_ns is not None else asked.get(tool.requested_by or "", view.start_ns)
        yield start_ns, _tool(tool)


def _tool(tool: ToolExecution) -> Item:
    result = None if tool.result == tool.error else tool.result
    values = _given(name=tool.name, arguments=tool.arguments, result=result, error=tool.error)
    return Item("tool", values, failing=tool.error is not None)


def _went_wrong(view: TraceView, sees: frozenset[Part]) -> Iterator[tuple[int, Item]]:
    """Errors that no tool tells."""
    if Part.TOOLS not in sees:
        return
    told = {tool.span_id for tool in view.tool_calls if tool.error is not None}
    for error in view.errors:
        if error.span_id not in told:
            what = ": ".join(filter(None, (error.type, error.message))) or "failed"
            yield view.tree.by_id[error.span_id].end_ns, Item("error", {"in": error.span_name, "error": what}, failing=True)
