"""What was said in span events, log records and raw spans."""

import json
from typing import Any

import pytest

from tests.spans import Attributes, call, log, span, view

ASKED = [
    {"role": "system", "parts": [{"type": "text", "content": "Be nice."}]},
    {"role": "user", "parts": [{"type": "text", "content": "Hi"}]},
]
ANSWERED = [{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "stop"}]
CHAT = [{"role": "system", "content": "Be nice."}, {"role": "user", "content": "Hi"}]
DETAILS = "gen_ai.client.inference.operation.details"


@pytest.mark.parametrize(
    "events",
    [
        [(DETAILS, {"gen_ai.input.messages": ASKED, "gen_ai.output.messages": ANSWERED})],
        [(DETAILS, {"gen_ai.input.messages": json.dumps(ASKED)}), (DETAILS, {"gen_ai.output.messages": json.dumps(ANSWERED)})],
        [
            ("gen_ai.system.message", {"content": "Be nice."}),
            ("gen_ai.user.message", {"content": '[{"text": "Hi"}]'}),
            ("gen_ai.choice", {"finish_reason": "end_turn", "message": '[{"text": "Hello"}]'}),
        ],
        [
            ("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps(CHAT)}),
            ("gen_ai.content.completion", {"gen_ai.completion": "Hello"}),
        ],
        [
            ("gen_ai.content.prompt", {"gen_ai.prompt": "system: Be nice.\nuser: Hi"}),
            ("gen_ai.content.completion", {"gen_ai.completion": "Hello"}),
        ],
    ],
)
def test_content_in_span_events_is_read(events: list[tuple[str, Attributes]]) -> None:
    found = call({"gen_ai.operation.name": "chat"}, events=events)
    assert (found.system_prompt, found.input_messages[0].text, found.output_text) == ("Be nice.", "Hi", "Hello")


@pytest.mark.parametrize(
    "records",
    [
        [log(DETAILS, {"gen_ai.input.messages": ASKED, "gen_ai.output.messages": ANSWERED})],
        [
            log(
                "gen_ai.choice",
                body={"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}},
                at_ms=9,
            ),
            log("gen_ai.user.message", body={"content": "Hi"}, at_ms=2),
            log("gen_ai.system.message", body={"content": "Be nice."}, at_ms=1),
        ],
        [
            log("", {"event.name": "gen_ai.system.message"}, {"content": "Be nice."}),
            log("", {"event.name": "gen_ai.user.message"}, {"content": {"role": "user", "parts": [{"text": "Hi"}]}}),
            log(
                "",
                {"event.name": "gen_ai.choice"},
                {"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finish_reason": "STOP"},
            ),
        ],
    ],
    ids=["details", "per message, out of order", "Google ADK 2"],
)
def test_content_in_log_records_is_read(records: list[Any]) -> None:
    (found,) = view(*records, span({"gen_ai.operation.name": "chat"})).model_calls
    assert (found.system_prompt, found.input_messages[0].text, found.output_text) == ("Be nice.", "Hi", "Hello")
    assert set(found.finish_reasons) <= {"stop"}


def test_the_raw_span_of_litellm_lends_its_messages() -> None:
    outer = span({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}, identity=1)
    raw = span({"llm.openai.messages": "[{'role': 'user', 'content': 'Hi'}]"}, name="raw_gen_ai_request", identity=2, parent=1)
    (found,) = view(outer, raw).model_calls
    assert found.input_messages[0].text == "Hi"
    assert found.request_model == "m"
