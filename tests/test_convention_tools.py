"""Tools and documents: each row of the tables, in every convention."""

import json
from typing import Any

import pytest

from tests.spans import Attributes, call, span, view

MODEL = {"openinference.span.kind": "LLM"}
TOOL = {"gen_ai.operation.name": "execute_tool"}


WANTED = ("get_weather", {"city": "Paris"}, "c1")


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "get_weather", "arguments": {"city": "Paris"}}]}]},
        {"gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "get_weather", "arguments": '{"city":"Paris"}'}]}]},
        {
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "get_weather",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"city": "Paris"}',
            "llm.output_messages.0.message.contents.0.message_content.type": "tool_use",
            "llm.output_messages.0.message.contents.0.tool_call.id": "c1",
            "llm.output_messages.0.message.contents.0.tool_call.function.name": "get_weather",
            "llm.output_messages.0.message.contents.0.tool_call.function.arguments": '{"city": "Paris"}',
        },
        {
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.tool_calls.0.id": "c1",
            "gen_ai.completion.0.tool_calls.0.name": "get_weather",
            "gen_ai.completion.0.tool_calls.0.arguments": '{"city": "Paris"}',
        },
        {"gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "server_tool_call", "id": "c1", "name": "get_weather", "server_tool_call": {"city": "Paris"}}]}]},
        {"ai.response.toolCalls": '[{"toolCallId":"c1","toolName":"get_weather","input":"{\\"city\\": \\"Paris\\"}"}]'},
        {"ai.response.toolCalls": '[{"toolCallType":"function","toolCallId":"c1","toolName":"get_weather","args":"{\\"city\\": \\"Paris\\"}"}]'},
        {"output.value": json.dumps({"content": [{"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Paris"}}]})},
        {"output.value": json.dumps({"output": {"message": {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "get_weather", "input": {"city": "Paris"}}}]}}})},
        {"output.value": json.dumps({"candidates": [{"content": {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "get_weather", "args": {"city": "Paris"}}}]}}]})},
        {"output.value": json.dumps({"output": [{"type": "function_call", "id": "fc", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Paris"}'}]})},
        {"output.value": json.dumps({"role": "assistant", "tool_calls": [{"name": "get_weather", "args": {"city": "Paris"}, "id": "c1", "type": "tool_call"}]})},
        {"output.value": json.dumps({"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}]}}]})},
    ],
)  # fmt: skip
def test_a_request_for_a_tool_is_read_in_every_shape(attributes: Attributes) -> None:
    found = call({**MODEL, **attributes})
    assert [(one.name, one.arguments, one.id) for one in found.tool_calls] == [WANTED]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": '{"rain": true}'}]},
        {"role": "user", "parts": [{"type": "tool_call_response", "id": "c1", "result": {"rain": True}}]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"rain": true}'},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": '{"rain": true}'}]}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "status": "success", "content": [{"json": {"rain": True}}]}}]},
        {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "c1", "toolName": "t", "output": {"type": "json", "value": {"rain": True}}}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "get_weather", "response": {"rain": True}}}]},
        {"type": "function_call_output", "call_id": "c1", "output": '{"rain": true}'},
        {"type": "tool", "data": {"content": '{"rain": true}', "type": "tool", "tool_call_id": "c1", "status": "success"}},
    ],
)  # fmt: skip
def test_a_tools_result_is_read_in_every_shape(message: dict[str, Any]) -> None:
    found = call({**MODEL, "input.value": json.dumps({"messages": [{"role": "user", "content": "Hi"}, message]})})
    (result,) = found.input_messages[-1].tool_results
    assert (result.id, result.result, bool(result.is_error)) == ("c1", {"rain": True}, False)


@pytest.mark.parametrize(
    ("attributes", "more"),
    [
        ({**TOOL, "gen_ai.tool.name": "t", "gen_ai.tool.call.arguments": '{"a": 1}', "gen_ai.tool.call.result": '{"b": 2}'}, {}),
        ({**TOOL, "gen_ai.tool.name": "t", "gen_ai.tool.call.arguments": {"a": 1}, "gen_ai.tool.call.result": {"b": 2}}, {}),
        ({"openinference.span.kind": "TOOL", "tool.name": "t", "tool.parameters": '{"type": "object"}', "input.value": '{"a": 1}', "output.value": '{"b": 2}'}, {}),
        ({"ai.operationId": "ai.toolCall", "ai.toolCall.name": "t", "ai.toolCall.args": '{"a": 1}', "ai.toolCall.result": '{"b": 2}'}, {}),
        ({"traceloop.span.kind": "tool", "traceloop.entity.name": "t", "traceloop.entity.input": '{"args": [], "kwargs": {"a": 1}}', "traceloop.entity.output": '{"b": 2}'}, {}),
        ({**TOOL, "gen_ai.tool.name": "t", "tool_arguments": '{"a": 1}', "tool_response": '{"b": 2}'}, {}),
        ({"langfuse.observation.type": "tool", "langfuse.observation.input": '{"args": [], "kwargs": {"a": 1}}', "langfuse.observation.output": '{"b": 2}'}, {"name": "t"}),
        ({"openinference.span.kind": "TOOL", "tool.name": "t", "input.value": '{"args": [], "sanitize_inputs_outputs": true, "kwargs": {"a": 1}}', "output.value": '{"b": 2}'}, {}),
        ({"mlflow.spanType": '"TOOL"', "mlflow.spanInputs": '{"a": 1}', "mlflow.spanOutputs": '{"b": 2}'}, {"name": "t"}),
        ({"langsmith.span.kind": "tool", "gen_ai.tool.name": "t", "gen_ai.prompt": '{"a": 1}', "gen_ai.completion": '{"output": {"b": 2}}'}, {}),
        ({"langsmith.span.kind": "tool", "gen_ai.tool.name": "t", "gen_ai.prompt": '{"input": "{\'a\': 1}"}', "gen_ai.completion": '{"output": {"b": 2}}'}, {}),
        ({**TOOL, "gen_ai.tool.name": "t", "gcp.vertex.agent.tool_call_args": '{"a": 1}', "gcp.vertex.agent.tool_response": '{"b": 2}'}, {}),
        ({**TOOL, "gen_ai.tool.name": "t", "gen_ai.tool.args": '{"a": 1}', "gen_ai.tool.output": '{"b": 2}'}, {}),
        ({"span.type": "tool", "tool_name": "t", "tool_input": '{"a": 1}'}, {"events": [("tool.output", {"output": '{"b": 2}'})]}),
        ({"gen_ai.tool.name": "t"}, {"events": [("gen_ai.tool.message", {"role": "tool", "content": '{"a": 1}', "id": "c"}), ("gen_ai.choice", {"message": '[{"text": "{\\"b\\": 2}"}]', "id": "c"})]}),
        ({"mcp.method.name": "tools/call", "gen_ai.tool.call.arguments": '{"a": 1}', "gen_ai.tool.call.result": '{"isError": false, "content": [{"type": "text", "text": "{\\"b\\": 2}"}]}'}, {"name": "tools/call t"}),
        ({"langwatch.span.type": "tool", "langwatch.input": '{"type": "json", "value": {"a": 1}}', "langwatch.output": '{"type": "json", "value": {"b": 2}}'}, {"name": "t"}),
    ],
)  # fmt: skip
def test_a_tool_execution_is_read_in_every_convention(attributes: Attributes, more: dict[str, Any]) -> None:
    (tool,) = view(span(attributes, **more)).tool_calls
    assert (tool.name, tool.arguments, tool.result, tool.error) == ("t", {"a": 1}, {"b": 2}, None)


@pytest.mark.parametrize(
    ("attributes", "events"),
    [
        ({"openinference.span.kind": "RETRIEVER", "retrieval.documents.0.document.content": "A", "retrieval.documents.0.document.id": "1", "retrieval.documents.0.document.score": 0.5}, ()),
        ({"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": '[{"id": "1", "score": 0.5, "content": "A"}]'}, ()),
        ({"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": [{"id": "1", "score": 0.5, "text": "A"}]}, ()),
        ({"gen_ai.operation.name": "search_memory", "gen_ai.memory.records": '[{"id": "1", "score": 0.5, "content": "A"}]'}, ()),
        ({"langfuse.observation.type": "retriever", "langfuse.observation.output": '[{"page_content": "A", "id": "1", "score": 0.5}]'}, ()),
        ({"mlflow.spanType": '"RETRIEVER"', "mlflow.spanOutputs": '[{"page_content": "A", "id": "1", "score": 0.5}]'}, ()),
        ({"langsmith.span.kind": "retriever", "gen_ai.completion": '{"output": [{"page_content": "A", "id": "1", "score": 0.5}]}'}, ()),
        ({"openinference.span.kind": "RETRIEVER", "output.value": '{"documents": [{"text": "A", "id": "1", "score": 0.5}]}'}, ()),
        ({"openinference.span.kind": "RETRIEVER", "output.value": '[{"node": {"text": "A", "id_": "1"}, "score": 0.5}]'}, ()),
        ({"openinference.span.kind": "RETRIEVER", "output.value": '[[{"page_content": "A", "id": "1"}, 0.5]]'}, ()),
        ({"langwatch.span.type": "rag", "langwatch.rag.contexts": '[{"document_id": "1", "content": "A", "score": 0.5}]'}, ()),
        ({"haystack.component.type": "InMemoryBM25Retriever", "haystack.component.output": '{"documents": [{"id": "1", "content": "A", "score": 0.5}]}'}, ()),
        ({"db.system": "chroma"}, [("db.query.result", {"db.query.result.id": "1", "db.query.result.document": "A", "db.query.result.score": 0.5})]),
        ({"db.system": "milvus"}, [("db.search.result", {"db.search.result.id": "1", "db.search.result.document": "A", "db.search.result.score": "0.5"})]),
    ],
)  # fmt: skip
def test_a_retrieved_document_is_read_in_every_convention(attributes: Attributes, events: Any) -> None:
    (document,) = view(span(attributes, events=events)).retrieved_documents
    assert (document.content, document.id, document.score) == ("A", "1", 0.5)


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.tool.definitions": '[{"type": "function", "name": "t", "description": "d", "parameters": {"type": "object"}}]'},
        {"gen_ai.tool.definitions": '[{"name": "t", "description": "d", "input_schema": {"type": "object"}}]'},
        {"gen_ai.tool.definitions": [{"type": "function", "name": "t", "description": "d", "inputSchema": {"type": "object"}}]},
        {"llm.tools.0.tool.json_schema": '{"type": "function", "function": {"name": "t", "description": "d", "parameters": {"type": "object"}}}'},
        {"llm.request.functions.0.name": "t", "llm.request.functions.0.description": "d", "llm.request.functions.0.parameters": '{"type": "object"}'},
        {"ai.prompt.tools": ['{"type":"function","name":"t","description":"d","inputSchema":{"type": "object"}}']},
        {"mlflow.chat.tools": '[{"type": "function", "function": {"name": "t", "description": "d", "parameters": {"type": "object"}}}]'},
    ],
)  # fmt: skip
def test_tool_definitions_are_read_in_every_convention(attributes: Attributes) -> None:
    (tool,) = call({**MODEL, **attributes}).tool_definitions
    assert (tool.name, tool.description) == ("t", "d")
    assert tool.parameters in ({"type": "object"}, '{"type": "object"}')
