"""OpenLIT: content in span events in older versions, tool and workflow attributes of its own."""

import re

from otel_eval.traces.fields.places import Fields, answered, asked, at, event, numbers, texts, values
from otel_eval.traces.messages import messages
from otel_eval.traces.records import Message
from otel_eval.traces.span import Event
from otel_eval.traces.values import Plain

_TURN = re.compile(r"^(system|user|assistant|tool): ", re.MULTILINE)


def _turns(value: Plain) -> tuple[Message, ...]:
    """Messages written as lines "role: text"."""
    if not isinstance(value, str) or not _TURN.match(value):
        return asked(value)
    _, *pieces = _TURN.split(value)
    return messages(
        [{"role": role, "content": text.strip()} for role, text in zip(pieces[::2], pieces[1::2], strict=True)], "user"
    )


def _prompt(events: list[Event]) -> tuple[Message, ...]:
    return tuple(message for one in events for message in _turns(one.first("gen_ai.prompt", "content")))


def _completion(events: list[Event]) -> tuple[Message, ...]:
    return tuple(message for one in events for message in answered(one.first("gen_ai.completion", "content")))


FIELDS: Fields = {
    "input_messages": [event("gen_ai.content.prompt", _prompt), at("gen_ai.workflow.input", asked)],
    "output_messages": [event("gen_ai.content.completion", _completion), at("gen_ai.workflow.output", answered)],
    "user_id": texts("gen_ai.request.user", "llm.user", "gen_ai.user"),
    "cost_usd": numbers("gen_ai.usage.cost"),
    "tool_arguments": values("gen_ai.tool.args", "gen_ai.tool.input", "gen_ai.tool.arguments"),
    "tool_result": values("gen_ai.tool.output", "gen_ai.tool.result"),
}
