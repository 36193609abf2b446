"""Mastra: GenAI attributes, with the kind and the metadata under names of its own; `generic` reads input and output."""

from otel_eval.traces.fields.places import Fields, at, texts
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind

_KINDS = kind_words(
    {
        "agent_run": SpanKind.AGENT,
        **dict.fromkeys(("model_generation", "llm_generation"), SpanKind.MODEL),
        **dict.fromkeys(("model_step", "model_chunk", "llm_step", "llm_chunk"), SpanKind.OTHER),
        **dict.fromkeys(("tool_call", "mcp_tool_call"), SpanKind.TOOL),
        **dict.fromkeys(("workflow_run", "workflow_step", "workflow_parallel", "workflow_loop", "generic"), SpanKind.CHAIN),
    }
)
_METADATA = ("mastra.metadata", "mastra")

FIELDS: Fields = {
    "kind": [at("mastra.span.type", _KINDS)],
    "session_id": texts(*(f"{prefix}.{key}" for prefix in _METADATA for key in ("sessionId", "threadId", "thread_id"))),
    "user_id": texts(*(f"{prefix}.{key}" for prefix in _METADATA for key in ("userId", "resourceId"))),
    "agent_name": texts("mastra.agent.name"),
}
