"""What the user asked and what came out, of a whole trace.

The spans around the model calls say it best: an agent's input is what the user wrote, while the model's prompt may
have context wrapped around it. The outermost that says anything counts. Without one, it is the first call's last
user message, or the last one's when the calls are turns of one conversation, and the last call's answer.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from otel_eval.traces import fields
from otel_eval.traces.records import Message, ModelCall, SpanKind
from otel_eval.traces.span import SpanReader
from otel_eval.traces.tree import SpanTree

_AROUND: Final = frozenset({SpanKind.AGENT, SpanKind.CHAIN, SpanKind.OTHER})


def entries(tree: SpanTree, calls: Sequence[ModelCall]) -> list[SpanReader]:
    """The spans around the model calls, outermost first; all agents, chains and roots where there is no call."""
    if not calls:
        return [
            span for span in tree.top_down()
            if span.span_id not in tree.left_out and tree.kinds[span.span_id] in _AROUND
        ]  # fmt: skip
    seen: set[str] = set()
    found: list[SpanReader] = []
    for call in calls:
        for span in tree.by_id[call.span_id].ancestors():
            if span.span_id in seen:
                break
            seen.add(span.span_id)
            if tree.kinds[span.span_id] in _AROUND or span.span_id not in tree.named:
                found.append(span)
    return sorted(found, key=lambda span: (tree.depth[span.span_id], span.start_ns))


def user_input(around: Sequence[SpanReader], calls: Sequence[ModelCall]) -> str | None:
    """What the user asked, without line ends behind it."""
    asked = _asked(around, calls)
    return None if asked is None else asked.rstrip("\n")


def final_output(around: Sequence[SpanReader], calls: Sequence[ModelCall]) -> str | None:
    """What came out in the end, without line ends behind it (Strands adds one)."""
    answer = _answered(around, calls)
    return None if answer is None else answer.rstrip("\n")


def _asked(around: Sequence[SpanReader], calls: Sequence[ModelCall]) -> str | None:
    prompts = {call.system_prompt for call in calls}
    values = None
    for messages in _said(around, "input_messages"):
        asked = _last(messages, "user")
        if asked is None or asked.text in prompts:  # traceAI writes the system prompt as a span's input
            continue
        if asked.spoken:
            return asked.text
        values = values or asked.text
    return _asked_of_models(calls) or values


def _said(around: Sequence[SpanReader], field: str) -> Iterator[tuple[Message, ...]]:
    for span in around:
        messages = fields.read(span, field)
        if messages:
            yield messages


def _last(messages: Sequence[Message], role: str) -> Message | None:
    """The last message of this role with a text; rather one that somebody spoke than a passed value."""
    said = [message for message in messages if message.role == role and message.text]
    spoken = [message for message in said if message.spoken]
    return spoken[-1] if spoken else said[-1] if said else None


def _asked_of_models(calls: Sequence[ModelCall]) -> str | None:
    """The first call's question, or the last turn's when later calls carry the conversation on."""
    question: str | None = None
    for call in calls:
        asked = [message.text for message in call.input_messages if message.role == "user" and message.text]
        if not asked:
            continue
        if question is None or (question in asked[:-1] and _answers_between(call, question)):
            question = asked[-1]
    return question


def _answers_between(call: ModelCall, question: str) -> bool:
    """Whether somebody answered the earlier question in words before the last one: a new turn, not a retry."""
    texts = [(message.role, message.text) for message in call.input_messages]
    start = max(index for index, (_, text) in enumerate(texts) if text == question)
    return any(role == "assistant" and text for role, text in texts[start:-1])


def _answered(around: Sequence[SpanReader], calls: Sequence[ModelCall]) -> str | None:
    values = None
    for messages in _said(around, "output_messages"):
        answer = _last(messages, "assistant")
        if answer is not None and answer.spoken:
            return answer.text
        values = values or (answer.text if answer is not None else None)
    by_end = sorted((call for call in calls if call.output_messages), key=lambda call: call.end_ns)
    texts = [call.output_text for call in by_end]
    if texts and texts[-1]:
        return texts[-1]
    return values or next((text for text in reversed(texts) if text), None)
