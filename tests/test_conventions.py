"""What was said: each row of the tables, in every convention."""

import json

import pytest

from tests.spans import Attributes, call, span, view

MODEL = {"openinference.span.kind": "LLM"}


PARTS = [{"type": "text", "content": "Hi"}]
ASKED = [{"role": "system", "parts": [{"type": "text", "content": "Be nice."}]}, {"role": "user", "parts": PARTS}]
ANSWERED = [{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "stop"}]
CHAT = [{"role": "system", "content": "Be nice."}, {"role": "user", "content": "Hi"}]
CHOICES = {"id": "r1", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}]}
ANTHROPIC = {"id": "m1", "role": "assistant", "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"}
GEMINI_REQUEST = {
    "model": "gemini-2.5-flash",
    "config": {"system_instruction": "Be nice."},
    "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
}
GEMINI_RESPONSE = {
    "content": {"role": "model", "parts": [{"text": "Hello"}]},
    "finish_reason": "STOP",
    "usage_metadata": {"prompt_token_count": 7},
}
LANGCHAIN = {
    "messages": [
        [
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "SystemMessage"],
                "kwargs": {"content": "Be nice.", "type": "system"},
            },
            {"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": "Hi", "type": "human"}},
        ]
    ]
}
GENERATIONS = {
    "generations": [
        [
            {
                "text": "Hello",
                "generation_info": {"finish_reason": "stop"},
                "message": {"lc": 1, "id": ["AIMessage"], "kwargs": {"content": "Hello"}},
            }
        ]
    ]
}
RESPONSES = {
    "id": "resp_1",
    "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Greet."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]},
    ],
}
CONVERSATIONS: dict[str, tuple[Attributes, Attributes]] = {
    "GenAI JSON": ({}, {"gen_ai.input.messages": json.dumps(ASKED), "gen_ai.output.messages": json.dumps(ANSWERED)}),
    "GenAI structured": ({}, {"gen_ai.input.messages": ASKED, "gen_ai.output.messages": ANSWERED}),
    "GenAI JSON in JSON": (
        {},
        {"gen_ai.input.messages": json.dumps(json.dumps(ASKED)), "gen_ai.output.messages": json.dumps(json.dumps(ANSWERED))},
    ),
    "GenAI instructions": (
        {},
        {
            "gen_ai.system_instructions": [{"type": "text", "content": "Be nice."}],
            "gen_ai.input.messages": ASKED[1:],
            "gen_ai.output.messages": ANSWERED,
        },
    ),
    "GenAI plain text instructions": (
        {},
        {
            "gen_ai.system_instructions": "Be nice.",
            "gen_ai.input.messages": json.dumps(ASKED[1:]),
            "gen_ai.output.messages": json.dumps(ANSWERED),
        },
    ),
    "OpenInference content": (
        MODEL,
        {
            "llm.input_messages.0.message.role": "system",
            "llm.input_messages.0.message.content": "Be nice.",
            "llm.input_messages.1.message.role": "user",
            "llm.input_messages.1.message.content": "Hi",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "Hello",
        },
    ),
    "OpenInference contents, with gaps, content repeated": (
        MODEL,
        {
            "llm.input_messages.3.message.role": "system",
            "llm.input_messages.3.message.contents.0.message_content.type": "text",
            "llm.input_messages.3.message.contents.0.message_content.text": "Be nice.",
            "llm.input_messages.17.message.role": "user",
            "llm.input_messages.17.message.contents.4.message_content.type": "text",
            "llm.input_messages.17.message.contents.4.message_content.text": "Hi",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "Hello",
            "llm.output_messages.0.message.contents.0.message_content.type": "text",
            "llm.output_messages.0.message.contents.0.message_content.text": "Hello",
        },
    ),
    "traceAI": (
        {"gen_ai.span.kind": "LLM", "input.value": "Be nice.", "output.value": "Hello"},
        {
            "gen_ai.input.messages.0.message.role": "system",
            "gen_ai.input.messages.0.message.content": "Be nice.",
            "gen_ai.input.messages.1.message.role": "user",
            "gen_ai.input.messages.1.message.content": "Hi",
            "gen_ai.output.messages.0.message.role": "assistant",
            "gen_ai.output.messages.0.message.content": "Hello",
        },
    ),
    "OpenLLMetry flat": (
        {"llm.request.type": "chat"},
        {
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be nice.",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": '[{"type": "text", "text": "Hi"}]',
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "Hello",
            "gen_ai.completion.0.finish_reason": "stop",
        },
    ),
    "Vercel inner": (
        {"ai.operationId": "ai.generateText.doGenerate"},
        {
            "ai.prompt.messages": '[{"role":"system","content":"Be nice."},{"role":"user","content":[{"type":"text","text":"Hi"}]}]',
            "ai.response.text": "Hello",
        },
    ),
    "Vercel version 3": (
        {"ai.operationId": "ai.generateText.doGenerate"},
        {"ai.prompt": '{"system":"Be nice.","prompt":"Hi"}', "ai.result.text": "Hello"},
    ),
    "Langfuse": (
        {"langfuse.observation.type": "generation"},
        {
            "langfuse.observation.input": json.dumps(CHAT),
            "langfuse.observation.output": '{"role": "assistant", "content": "Hello"}',
        },
    ),
    "MLflow OpenAI": (
        {"mlflow.spanType": '"CHAT_MODEL"'},
        {"mlflow.spanInputs": json.dumps({"model": "m", "messages": CHAT}), "mlflow.spanOutputs": json.dumps(CHOICES)},
    ),
    "MLflow Anthropic": (
        {"mlflow.spanType": '"CHAT_MODEL"'},
        {
            "mlflow.spanInputs": json.dumps({"system": "Be nice.", "messages": CHAT[1:]}),
            "mlflow.spanOutputs": json.dumps(ANTHROPIC),
        },
    ),
    "Google ADK 1": (
        {"gen_ai.system": "gcp.vertex.agent", "gen_ai.request.model": "gemini-2.5-flash"},
        {
            "gcp.vertex.agent.llm_request": json.dumps(GEMINI_REQUEST),
            "gcp.vertex.agent.llm_response": json.dumps(GEMINI_RESPONSE),
        },
    ),
    "LangSmith OpenAI": (
        {"langsmith.span.kind": "llm"},
        {"gen_ai.prompt": json.dumps({"messages": CHAT, "model": "m"}), "gen_ai.completion": json.dumps(CHOICES)},
    ),
    "LangSmith LangChain": (
        {"langsmith.span.kind": "llm"},
        {"gen_ai.prompt": json.dumps(LANGCHAIN), "gen_ai.completion": json.dumps(GENERATIONS)},
    ),
    "OpenInference raw LangChain": (MODEL, {"input.value": json.dumps(LANGCHAIN), "output.value": json.dumps(GENERATIONS)}),
    "OpenInference raw Responses API": (
        MODEL,
        {"input.value": json.dumps({"instructions": "Be nice.", "input": "Hi"}), "output.value": json.dumps(RESPONSES)},
    ),
    "Pydantic AI version 1": (
        {"gen_ai.operation.name": "chat"},
        {
            "events": json.dumps(
                [
                    {"event.name": "gen_ai.system.message", "role": "system", "content": "Be nice."},
                    {"event.name": "gen_ai.user.message", "role": "user", "content": "Hi"},
                    {"event.name": "gen_ai.choice", "index": 0, "message": {"role": "assistant", "content": "Hello"}},
                ]
            )
        },
    ),
    "LiteLLM Python literal": (
        {"gen_ai.operation.name": "chat"},
        {"gen_ai.input.messages": json.dumps(ASKED), "gen_ai.completion": json.dumps(CHOICES)},
    ),
    "LangWatch": (
        {"langwatch.span.type": "llm"},
        {
            "langwatch.input": json.dumps({"type": "chat_messages", "value": CHAT}),
            "langwatch.output": json.dumps({"type": "chat_messages", "value": [{"role": "assistant", "content": "Hello"}]}),
        },
    ),
    "Haystack": (
        {"haystack.component.type": "OpenAIChatGenerator"},
        {
            "haystack.component.input": json.dumps(
                {
                    "messages": [
                        {"role": "system", "content": [{"text": "Be nice."}]},
                        {"role": "user", "content": [{"text": "Hi"}]},
                    ]
                }
            ),
            "haystack.component.output": json.dumps({"replies": [{"role": "assistant", "content": [{"text": "Hello"}]}]}),
        },
    ),
    "Bedrock shapes": (
        MODEL,
        {
            "input.value": json.dumps(
                {"system": [{"text": "Be nice."}], "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
            ),
            "output.value": json.dumps(
                {"output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}}, "stopReason": "end_turn"}
            ),
        },
    ),
    "input.value plain": (MODEL, {"gen_ai.system_instructions": "Be nice.", "input.value": "Hi", "output.value": "Hello"}),
}


@pytest.mark.parametrize("convention", CONVERSATIONS)
def test_a_conversation_reads_the_same_in_every_convention(convention: str) -> None:
    marks, content = CONVERSATIONS[convention]
    found = call({**marks, **content})
    assert found.system_prompt == "Be nice."
    assert [(message.role, message.text) for message in found.input_messages] == [("user", "Hi")]
    assert [(message.role, message.text) for message in found.output_messages] == [("assistant", "Hello")]
    trace = view(span({**marks, **content}))
    assert (trace.user_input, trace.final_output, trace.system_prompt) == ("Hi", "Hello", "Be nice.")
