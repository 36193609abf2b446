"""traceAI (Future AGI): OpenInference's shapes under `gen_ai.`.

Its `input.value` on a model span may be the system prompt; messages come before it here, and
`conversation.user_input` does not take a system prompt for a question.
"""

from otel_eval.traces.fields.openinference import WORDS, documents
from otel_eval.traces.fields.places import Fields, answered, asked, at, counts, flat, json_object, numbers
from otel_eval.traces.fields.places import kinds as kind_words
from otel_eval.traces.records import SpanKind

_KINDS = kind_words({**WORDS, "conversation": SpanKind.CHAIN, "vector_db": SpanKind.RETRIEVER})

FIELDS: Fields = {
    "kind": [at("gen_ai.span.kind", _KINDS), at("fi.span.kind", _KINDS)],
    "input_messages": [flat("gen_ai.input.messages", asked)],
    "output_messages": [flat("gen_ai.output.messages", answered)],
    "documents": [flat("gen_ai.retrieval.documents", documents)],
    "parameters": [at("gen_ai.request.parameters", json_object)],
    "cache_read_input_tokens": counts("gen_ai.usage.cache_read_tokens"),
    "cache_creation_input_tokens": counts("gen_ai.usage.cache_write_tokens"),
    "cost_usd": numbers("gen_ai.cost.total_cost", "gen_ai.cost.total"),
}
