"""Pydantic AI and Logfire: the whole conversation on the agent span; older names; costs; Logfire's raw requests."""

from otel_eval.traces.fields.places import Fields, answered, asked, at, numbers, texts, values
from otel_eval.traces.messages import messages
from otel_eval.traces.records import Message, SpanKind
from otel_eval.traces.values import Plain, structured


def _until_asked(value: Plain) -> tuple[Message, ...]:
    """The conversation up to the user's last turn; what follows came out of the agent."""
    found = messages(value, "user")
    turns = [index for index, message in enumerate(found) if message.role == "user" and message.spoken]
    return found[: turns[-1] + 1] if turns else found


def _events(value: Plain, *, choices: bool) -> tuple[Message, ...]:
    """Version 1 wrote the per-message events as one JSON list; `gen_ai.choice` has the answer."""
    events = structured(value)
    if not isinstance(events, list):
        return ()
    wanted = [
        event.get("message", event) if choices else event
        for event in events
        if isinstance(event, dict) and (event.get("event.name") == "gen_ai.choice") is choices
    ]
    return messages(wanted, "assistant" if choices else "user")


FIELDS: Fields = {
    "kind": [at("logfire.span_type", {"annotation": SpanKind.FEEDBACK, "pending_span": SpanKind.OTHER}.get)],
    "input_messages": [
        at("pydantic_ai.all_messages", _until_asked),
        at("all_messages_events", _until_asked),
        at("events", lambda value: _events(value, choices=False)),
        at("request_data", asked),
    ],
    "output_messages": [
        at("final_result", answered),
        at("events", lambda value: _events(value, choices=True)),
        at("response_data", answered),
    ],
    "cost_usd": numbers("operation.cost"),
    "agent_name": texts("agent_name"),
    "tool_arguments": values("tool_arguments"),
    "tool_result": values("tool_response"),
}
