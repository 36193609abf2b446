"""MLflow: every `mlflow.*` value is JSON, texts too."""

from otel_eval.traces.fields.places import Fields, answered, asked, at, json_text, member, values
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind
from otel_eval.traces.values import Plain, count, first, number, structured, text_or_none

_KINDS = kind_words(
    {
        "llm": SpanKind.MODEL,
        "chat_model": SpanKind.MODEL,
        "chain": SpanKind.CHAIN,
        "workflow": SpanKind.CHAIN,
        "task": SpanKind.CHAIN,
        "agent": SpanKind.AGENT,
        "tool": SpanKind.TOOL,
        "retriever": SpanKind.RETRIEVER,
        "embedding": SpanKind.EMBEDDING,
        "reranker": SpanKind.RERANKER,
        "parser": SpanKind.PARSER,
        "guardrail": SpanKind.GUARDRAIL,
        "evaluator": SpanKind.EVALUATOR,
    }
)
_USAGE = "mlflow.chat.tokenUsage"


def _cost(value: Plain) -> float | None:
    cost = structured(value)
    return number(first(cost, "total_cost", "total") if isinstance(cost, dict) else cost)


FIELDS: Fields = {
    "kind": [at("mlflow.spanType", _KINDS)],
    "input_messages": [at("mlflow.spanInputs", asked)],
    "output_messages": [at("mlflow.spanOutputs", answered)],
    "tool_definitions": values("mlflow.chat.tools"),
    "request_model": [at("mlflow.spanInputs", member("model", read=text_or_none)), at("mlflow.llm.model", json_text)],
    "response_model": [at("mlflow.llm.model", json_text)],
    "provider": [at("mlflow.llm.provider", json_text)],
    "input_tokens": [at(_USAGE, member("input_tokens", "prompt_tokens", read=count))],
    "output_tokens": [at(_USAGE, member("output_tokens", "completion_tokens", read=count))],
    "cache_read_input_tokens": [at(_USAGE, member("cache_read_input_tokens", read=count))],
    "cache_creation_input_tokens": [at(_USAGE, member("cache_creation_input_tokens", read=count))],
    "cost_usd": [at("mlflow.llm.cost", _cost)],
    "session_id": [at("mlflow.trace.session", json_text)],
    "user_id": [at("mlflow.trace.user", json_text)],
    "tool_arguments": values("mlflow.spanInputs"),
    "tool_result": values("mlflow.spanOutputs"),
    "documents": values("mlflow.spanOutputs"),
    "raw_output": [at("mlflow.spanOutputs", structured)],
}
