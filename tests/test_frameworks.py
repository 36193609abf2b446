"""Small traces as frameworks write them that no capture is from: an agent, its model and its tool read the same."""

import json
from typing import Any

import pytest

from otel_eval.sampling.signals import detect
from tests.spans import Made, span, view

J = json.dumps
TOLD = [{"role": "system", "content": "S"}, {"role": "user", "content": "W?"}]
ASKED = J([{"role": "user", "parts": [{"type": "text", "content": "W?"}]}])
ANSWERED = J([{"role": "assistant", "parts": [{"type": "text", "content": "Rain"}], "finish_reason": "stop"}])
BLOCKS = [{"role": "system", "content": [{"text": "S"}]}, {"role": "user", "content": [{"text": "W?"}]}]
SAID = "gen_ai.input.messages"
SYSTEM = J([{"type": "text", "content": "S"}])


def below(*spans: dict[str, Any], name: str = "w") -> list[Made]:
    """The first span with the others below it."""
    return [span(one, name=name, identity=n + 1, parent=1 if n else 0, start_ms=10 * n) for n, one in enumerate(spans)]


FRAMEWORKS: dict[str, list[Made]] = {
    "traceAI": below(
        {"gen_ai.span.kind": "AGENT", "input.value": "S", "output.value": "Rain", "session.id": "s"},
        {
            "fi.span.kind": "LLM",
            f"{SAID}.0.message.role": "system", f"{SAID}.0.message.content": "S",
            f"{SAID}.1.message.role": "user", f"{SAID}.1.message.content": "W?",
        },
        {"gen_ai.span.kind": "TOOL", "gen_ai.tool.name": "w", "input.value": '{"a": 1}', "output.value": "rain"},
        {"gen_ai.span.kind": "VECTOR_DB", "gen_ai.retrieval.documents.0.document.content": "A"},
    ),
    "OpenLIT": below(
        {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.input": "W?", "gen_ai.workflow.output": "Rain"},
        {"gen_ai.operation.name": "chat", SAID: ASKED, "gen_ai.system_instructions": SYSTEM, "session.id": "s"},
        {"gen_ai.tool.name": "w", "gen_ai.tool.input": '{"a": 1}', "gen_ai.tool.output": "rain"},
        {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": '["A"]'},
    ),
    "Agent Framework": below(
        {
            "gen_ai.operation.name": "invoke_agent", SAID: ASKED, "gen_ai.output.messages": ANSWERED,
            "gen_ai.system_instructions": SYSTEM, "gen_ai.conversation.id": "s",
        },
        {"gen_ai.operation.name": "chat", SAID: ASKED, "gen_ai.response.finish_reasons": '["tool_calls"]'},
        {"gen_ai.tool.name": "w", "gen_ai.tool.call.arguments": '{"a": 1}', "gen_ai.tool.call.result": "rain"},
        {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": [{"content": "A"}]},
    ),
    "Mastra": below(
        {"mastra.span.type": "agent_run", "mastra.agent_run.input": J(TOLD[1:]), "mastra.agent_run.output": '{"text": "Rain"}'},
        {
            "mastra.span.type": "model_generation", "mastra.metadata.threadId": "s",
            "mastra.model_generation.input": J({"messages": TOLD}), "mastra.model_generation.output": '{"text": "Rain"}',
        },
        {
            "mastra.span.type": "tool_call", "gen_ai.tool.name": "w",
            "mastra.tool_call.input": '{"a": 1}', "mastra.tool_call.output": '"rain"',
        },
        {"langwatch.span.type": "rag", "rag.output": '[{"text": "A"}]'},
    ),
    "Genkit": below(
        {"genkit:metadata:subtype": "flow", "genkit:input": '"W?"', "genkit:output": '"Rain"', "genkit:sessionId": "s"},
        {
            "genkit:name": "m", "genkit:metadata:subtype": "model", "genkit:input": J({"messages": BLOCKS}),
            "genkit:output": J({"message": {"role": "model", "content": [{"text": "Rain"}]}, "finishReason": "stop"}),
        },
        {"genkit:name": "w", "genkit:metadata:subtype": "tool", "genkit:input": '{"a": 1}', "genkit:output": '"rain"'},
        {"genkit:metadata:subtype": "retriever", "genkit:output": '{"documents": [{"content": [{"text": "A"}]}]}'},
    ),
    "LiveKit": below(
        {"lk.session_id": "s", "lk.user_input": "W?", "lk.response.text": "Rain", "lk.instructions": "S"},
        {"gen_ai.request.model": "m", "lk.chat_ctx": J({"items": TOLD}), "lk.response.text": "Rain"},
        {"lk.function_tool.name": "w", "lk.function_tool.arguments": '{"a": 1}', "lk.function_tool.output": "rain"},
        {"openinference.span.kind": "RETRIEVER", "output.value": '["A"]'},
    ),
    "Haystack": below(
        {
            "haystack.pipeline.input_data": J({"finder": {"query": "W?", "top_k": 3}}), "session.id": "s",
            "haystack.pipeline.output_data": J({"llm": {"replies": ["Rain"]}}),
        },
        {
            "haystack.component.type": "OpenAIChatGenerator", "haystack.component.input": J({"messages": BLOCKS}),
            "haystack.component.output": J({"replies": ["Rain"]}),
        },
        {"haystack.tool.name": "w", "haystack.component.type": "ToolInvoker", "haystack.tool.input": '{"a": 1}',
         "haystack.tool.output": "rain"},
        {"haystack.component.type": "InMemoryBM25Retriever", "haystack.component.output": '{"documents": [{"content": "A"}]}'},
    ),
    "Vercel AI 4": below(
        {
            "ai.operationId": "ai.generateText", "ai.prompt": J({"system": "S", "prompt": "W?"}), "ai.response.text": "Rain",
            "ai.telemetry.metadata.sessionId": "s", "ai.usage.promptTokens": 9,
        },
        {"ai.operationId": "ai.generateText.doGenerate", "ai.prompt.messages": J(TOLD), "ai.response.text": "Rain"},
        {
            "ai.operationId": "ai.toolCall", "ai.toolCall.name": "w",
            "ai.toolCall.args": '{"a": 1}', "ai.toolCall.result": '"rain"',
        },
        {"openinference.span.kind": "RETRIEVER", "output.value": '{"documents": [{"text": "A"}]}'},
    ),
    "Pydantic AI 1": below(
        {
            "agent_name": "a", "final_result": "Rain", "metadata": '{"session_id": "s"}',
            "all_messages_events": J([{"event.name": f"gen_ai.{one['role']}.message", **one} for one in TOLD]),
        },
        {"gen_ai.operation.name": "chat", "events": J([{"event.name": "gen_ai.user.message", **TOLD[1]}])},
        {"gen_ai.tool.name": "w", "tool_arguments": '{"a": 1}', "tool_response": "rain"},
        {"langfuse.observation.type": "retriever", "langfuse.observation.output": '["A"]'},
    ),
    "LangSmith": below(
        {"langsmith.span.kind": "chain", "gen_ai.prompt": J({"messages": TOLD[1:]}), "gen_ai.completion": '{"output": "Rain"}'},
        {"langsmith.span.kind": "llm", "gen_ai.prompt": J({"messages": TOLD}), "langsmith.metadata.thread_id": "s"},
        {"langsmith.span.kind": "tool", "gen_ai.prompt": '{"a": 1}', "gen_ai.completion": '{"output": "rain"}'},
        {"langsmith.span.kind": "retriever", "gen_ai.completion": '{"documents": [{"page_content": "A"}]}'},
    ),
    "MLflow": below(
        {"mlflow.spanType": '"AGENT"', "mlflow.spanInputs": '{"question": "W?"}', "mlflow.spanOutputs": '"Rain"'},
        {"mlflow.spanType": '"CHAT_MODEL"', "mlflow.spanInputs": J({"messages": TOLD}), "mlflow.trace.session": '"s"'},
        {"mlflow.spanType": '"TOOL"', "mlflow.spanInputs": '{"a": 1}', "mlflow.spanOutputs": '"rain"'},
        {"mlflow.spanType": '"RETRIEVER"', "mlflow.spanOutputs": '[{"page_content": "A"}]'},
    ),
}  # fmt: skip


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_agent_reads_the_same_in_every_framework(framework: str) -> None:
    found = view(*FRAMEWORKS[framework])
    assert (found.user_input, found.final_output, found.system_prompt, found.session_id) == ("W?", "Rain", "S", "s")
    assert len(found.model_calls) == 1
    assert [(tool.name, tool.arguments, tool.result) for tool in found.tool_calls] == [("w", {"a": 1}, "rain")]
    assert [document.content for document in found.retrieved_documents] == ["A"]
    assert (detect(found), found.errors) == ({}, ())


@pytest.mark.parametrize("key", ["metadata.session_id", "metadata.thread_id", "metadata.requester_metadata"])
def test_litellms_metadata_name_the_session_and_the_user(key: str) -> None:
    session = {key: "{'session_id': 's'}" if key.endswith("metadata") else "s"}
    found = view(span({"gen_ai.request.model": "m", "metadata.user_api_key_end_user_id": "u", **session}))
    assert (found.session_id, found.user_id) == ("s", "u")
