"""Haystack: components and pipelines; the kind is in the component's class name."""

from otel_eval.traces.fields.places import Fields, answered, asked, at, member, texts, values
from otel_eval.traces.records import Message, SpanKind
from otel_eval.traces.values import Plain, literal

_CLASSES = (
    ("Retriever", SpanKind.RETRIEVER),
    ("Generator", SpanKind.MODEL),
    ("Embedder", SpanKind.EMBEDDING),
    ("Ranker", SpanKind.RERANKER),
    ("ToolInvoker", SpanKind.TOOL),
    ("Agent", SpanKind.AGENT),
    ("PromptBuilder", SpanKind.PROMPT),
)

_ASKED = ("messages", "query", "question", "text", "prompt", "input")


def _kind(value: Plain) -> SpanKind:
    return next((kind for word, kind in _CLASSES if word in str(value)), SpanKind.CHAIN)


def _pipeline_input(value: Plain) -> tuple[Message, ...]:
    """Inputs by component: what was asked is the same text under one of a few names, whatever the components are called."""
    components = literal(value)
    if not isinstance(components, dict):
        return asked(value)
    given = [component for component in components.values() if isinstance(component, dict)]
    said = next((text for name in _ASKED for component in given if (text := component.get(name))), None)
    return asked(value if said is None else said)


def _pipeline_output(value: Plain) -> tuple[Message, ...]:
    components = literal(value)
    given = (
        [component for component in components.values() if isinstance(component, dict)] if isinstance(components, dict) else ()
    )
    said = next((text for name in ("replies", "answers", "messages") for one in given if (text := one.get(name))), None)
    return answered(value if said is None else said)


FIELDS: Fields = {
    "kind": [at("haystack.component.type", _kind), at("haystack.pipeline.input_data", lambda value: SpanKind.CHAIN)],
    "input_messages": [at("haystack.component.input", asked), at("haystack.pipeline.input_data", _pipeline_input)],
    "output_messages": [at("haystack.component.output", answered), at("haystack.pipeline.output_data", _pipeline_output)],
    "tool_name": texts("haystack.tool.name"),
    "tool_arguments": [*values("haystack.tool.input"), at("haystack.component.input", member("tool_calls", read=lambda v: v))],
    "tool_result": values("haystack.tool.output", "haystack.component.output"),
    "documents": values("haystack.component.output"),
}
