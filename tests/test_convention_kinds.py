"""What a span is: each row of the tables, in every convention."""

import pytest

from otel_eval.traces.records import SpanKind
from tests.spans import Attributes, span, view


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        *(
            ({"openinference.span.kind": kind.upper()}, kind)
            for kind in ("embedding", "chain", "retriever", "tool", "agent", "guardrail")
        ),
        ({"openinference.span.kind": "LLM"}, "model"),
        ({"openinference.span.kind": "RERANKER"}, "reranker"),
        ({"openinference.span.kind": "EVALUATOR"}, "evaluator"),
        ({"openinference.span.kind": "PROMPT"}, "prompt"),
        ({"openinference.span.kind": "UNKNOWN", "gen_ai.operation.name": "chat"}, "model"),
        ({"gen_ai.span.kind": "LLM"}, "model"),
        ({"gen_ai.span.kind": "CONVERSATION"}, "chain"),
        ({"gen_ai.span.kind": "VECTOR_DB"}, "retriever"),
        ({"fi.span.kind": "TOOL"}, "tool"),
        ({"langfuse.observation.type": "generation"}, "model"),
        ({"langfuse.observation.type": "retriever"}, "retriever"),
        ({"langfuse.observation.type": "span", "gen_ai.operation.name": "invoke_agent"}, "agent"),
        ({"langsmith.span.kind": "llm"}, "model"),
        ({"langsmith.span.kind": "retriever", "gen_ai.operation.name": "embeddings"}, "retriever"),
        ({"langsmith.span.kind": "parser"}, "parser"),
        ({"mlflow.spanType": '"CHAT_MODEL"'}, "model"),
        ({"mlflow.spanType": '"LLM"'}, "model"),
        ({"mlflow.spanType": "TOOL"}, "tool"),
        ({"traceloop.span.kind": "workflow"}, "chain"),
        ({"traceloop.span.kind": "task"}, "chain"),
        ({"traceloop.span.kind": "agent"}, "agent"),
        ({"traceloop.span.kind": "tool"}, "tool"),
        ({"span.type": "llm_request"}, "model"),
        ({"span.type": "tool"}, "tool"),
        ({"span.type": "tool.execution"}, "other"),
        *(({"gen_ai.operation.name": name}, "model") for name in ("chat", "generate_content", "text_completion")),
        ({"gen_ai.operation.name": "embeddings"}, "embedding"),
        ({"gen_ai.operation.name": "retrieval"}, "retriever"),
        ({"gen_ai.operation.name": "execute_tool"}, "tool"),
        *(({"gen_ai.operation.name": name}, "agent") for name in ("invoke_agent", "create_agent")),
        *(
            ({"gen_ai.operation.name": name}, "chain")
            for name in ("invoke_workflow", "agent_step", "plan", "execute_event_loop_cycle")
        ),
        ({"mcp.method.name": "tools/call", "gen_ai.tool.name": "t"}, "tool"),
        ({"ai.operationId": "ai.generateText.doGenerate"}, "model"),
        ({"ai.operationId": "ai.streamObject.doStream"}, "model"),
        ({"ai.operationId": "ai.toolCall"}, "tool"),
        ({"ai.operationId": "ai.generateText"}, "chain"),
        ({"ai.operationId": "ai.embed.doEmbed"}, "embedding"),
        ({"langwatch.span.type": "rag"}, "retriever"),
        ({"haystack.component.type": "OpenAIChatGenerator"}, "model"),
        ({"haystack.component.type": "InMemoryBM25Retriever"}, "retriever"),
        ({"gen_ai.tool.name": "t"}, "tool"),
        ({"gen_ai.request.model": "m"}, "model"),
        ({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "x"}, "model"),
        ({"http.request.method": "GET"}, "other"),
    ],
)
def test_a_span_kind_is_known_from_any_convention(attributes: Attributes, kind: str) -> None:
    tree = view(span(attributes)).tree
    assert tree.kinds[tree.spans[0].span_id] == SpanKind(kind)
