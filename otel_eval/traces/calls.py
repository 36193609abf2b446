"""Model calls: what one or several spans say about one call, as one record.

Two spans stand for one call when the inner one is nested in the outer one with nothing but plumbing between, when they
have the same response id (which may be hidden in the JSON of the output), or when a vendor's SDK reported a call
without content beside an instrumentation that reported it with content, at the same time below the same parent.
The span with the content counts; the others lend what it lacks.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final

from otel_eval.traces import fields
from otel_eval.traces.errors import error_of, was_cancelled
from otel_eval.traces.records import Message, ModelCall, SpanKind, ToolDefinition, Usage
from otel_eval.traces.span import SpanReader
from otel_eval.traces.tree import SpanTree
from otel_eval.traces.values import MAX_ITEMS, Plain, bounded, first, number, text_or_none

VENDOR_SCOPES: Final = ("com.anthropic.sdk", "com.openai.sdk", "com.google.genai")
"""Scopes (their beginnings) of SDKs that report their own calls, without content."""

_MAX_BESIDE: Final = 100

_REASONS: Final = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "completed", "eos_token", "end"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length", "incomplete"), "length"),
    **dict.fromkeys(("tool_call", "tool_calls", "tool_use", "function_call"), "tool_call"),
    **dict.fromkeys(("content_filter", "content_filtered", "safety", "guardrail_intervened", "blocklist"), "content_filter"),
    **dict.fromkeys(("prohibited_content", "recitation", "spii"), "content_filter"),
    "refusal": "refusal",
    **dict.fromkeys(("error", "failed"), "error"),
}  # fmt: skip
_PROVIDER_SUFFIXES: Final = frozenset(
    {"chat", "responses", "completion", "completions", "messages", "generative-ai", "embedding", "image", "generateText"}
)
_PROVIDERS: Final = ("anthropic", "openai", "bedrock", "vertex", "google", "mistral", "cohere", "groq", "ollama", "deepseek")
_LOGPROB_MARKS: Final = (b'logprob"', b"logprob\\", b"avg_logprobs", b"avgLogprobs", b"token_logprobs")
_RAW_KEYS: Final = (
    "output.value", "mlflow.spanOutputs", "gen_ai.completion", "langfuse.observation.output", "gcp.vertex.agent.llm_response",
)  # fmt: skip


def canonical_reason(reason: str) -> str:
    """A finish reason in the one spelling; what is not known stays, in lower case."""
    word = reason.lower().replace("-", "_").removeprefix("finishreason.")
    return _REASONS.get(word, word[:100])


def model_calls(tree: SpanTree) -> tuple[ModelCall, ...]:
    """All model calls of a trace, in order of start."""
    groups = _grouped(tree, tree.of_kind(SpanKind.MODEL))
    calls = [_call(tree, group) for group in groups]
    return tuple(sorted(calls, key=lambda call: call.start_ns))


def _grouped(tree: SpanTree, spans: Sequence[SpanReader]) -> list[list[SpanReader]]:
    """Which spans stand for the same call; outer spans before inner ones."""
    groups: dict[str, list[SpanReader]] = {}
    owner: dict[str, str] = {}
    tasks = _tasks(tree, spans)
    for span in sorted(spans, key=lambda span: tree.depth[span.span_id]):
        if span.span_id in tasks:
            continue
        around = tree.enclosing[span.span_id]
        key = owner.get(around.span_id) if around is not None else None
        key = span.span_id if key is None else key
        owner[span.span_id] = key
        groups.setdefault(key, []).append(span)
    return _joined_beside(tree, _joined_by_id(list(groups.values())))


def _tasks(tree: SpanTree, spans: Sequence[SpanReader]) -> set[str]:
    """Model spans that hold several calls: they are tasks, and their children are the calls."""
    inner: dict[str, list[SpanReader]] = {}
    for span in spans:
        around = tree.enclosing[span.span_id]
        if around is not None and tree.kinds[around.span_id] is SpanKind.MODEL:
            inner.setdefault(around.span_id, []).append(span)
    return {
        identity
        for identity, below in inner.items()
        if len(below) > 1 and (sum(map(_answered, below)) > 1 or _is_vague(tree, identity))
    }


def _is_vague(tree: SpanTree, identity: str) -> bool:
    """A span that only looks like a call, and has no content of its own."""
    return identity not in tree.named and not has_content(tree.by_id[identity])


def _answered(span: SpanReader) -> bool:
    return bool(fields.read(span, "output_messages")) and not span.failed


def _joined_by_id(groups: list[list[SpanReader]]) -> list[list[SpanReader]]:
    by_id: dict[str, list[SpanReader]] = {}
    joined: list[list[SpanReader]] = []
    for group in groups:
        ids = {identity for span in group if (identity := response_id(span)) is not None}
        known = next((by_id[identity] for identity in ids if identity in by_id), None)
        if known is None:
            joined.append(group)
            known = group
        else:
            known += group
        by_id.update(dict.fromkeys(ids, known))
    return joined


def _joined_beside(tree: SpanTree, groups: list[list[SpanReader]]) -> list[list[SpanReader]]:
    """Give a vendor SDK's failed or cut-off calls to the call with content beside them."""
    lone = [group for group in groups if len(group) == 1 and is_bare(group[0])]
    if not lone:
        return groups
    kept = [group for group in groups if len(group) > 1 or not is_bare(group[0])]
    beside: dict[str, list[list[SpanReader]]] = {}
    for group in kept:
        beside.setdefault(group[0].parent_span_id, []).append(group)
    for group in lone:
        span = group[0]
        near = beside.get(span.parent_span_id, [])[:_MAX_BESIDE] if span.parent_span_id else []
        around = next((other for other in near if _holds(other[0], span)), None)
        if around is None:
            kept.append(group)
        else:
            around.append(span)
    return kept


def is_bare(span: SpanReader) -> bool:
    """A vendor SDK's call that has neither content nor a response id."""
    if not span.scope.startswith(VENDOR_SCOPES) or fields.read(span, "response_id"):
        return False
    return not has_content(span)


def _holds(outer: SpanReader, inner: SpanReader) -> bool:
    return outer.start_ns <= inner.start_ns and inner.end_ns <= outer.end_ns and outer.failed == inner.failed


def has_content(span: SpanReader) -> bool:
    """Whether the span carries any messages."""
    return bool(fields.read(span, "input_messages") or fields.read(span, "output_messages"))


def response_id(span: SpanReader) -> str | None:
    """The response id; OpenInference has it only inside the output's JSON."""
    own = fields.read(span, "response_id")
    if own is not None:
        return str(own)
    output = fields.read(span, "raw_output")
    if not isinstance(output, dict):
        return None
    metadata = first(_generation_message(output), "response_metadata")
    return text_or_none(output.get("id") or first(metadata, "id"))


def _generation_message(output: dict[str, Any]) -> Plain:
    """LangChain's message in the raw output."""
    generation = output.get("generations")
    while isinstance(generation, list) and generation:
        generation = generation[0]
    return first(first(generation, "message"), "kwargs")


def _call(tree: SpanTree, group: list[SpanReader]) -> ModelCall:
    if len(group) > 1:
        group = sorted(group, key=lambda span: (not has_content(span), span.span_id not in tree.named))
    base = group[0]

    def say(field: str) -> Any:
        for span in group:
            value = fields.read(span, field)
            if value is not None:
                return value
        return None

    asked: tuple[Message, ...] = say("input_messages") or ()
    answered: tuple[Message, ...] = say("output_messages") or ()
    system = say("system_prompt") or _system(asked)
    errors = [error for span in group if (error := error_of(span, SpanKind.MODEL)) is not None]
    error = errors[0] if errors and (base.failed or not answered or errors[0].span_id == base.span_id) else None
    bare = len(group) == 1 and is_bare(base)
    return ModelCall(
        span_id=base.span_id,
        name=base.name,
        start_ns=base.start_ns,
        end_ns=base.end_ns,
        input_messages=tuple(message for message in asked if message.role != "system"),
        output_messages=answered,
        system_prompt=system,
        tool_definitions=_definitions(say("tool_definitions")),
        provider=_provider(say("provider"), base.scope),
        request_model=say("request_model"),
        response_model=say("response_model"),
        response_id=next((identity for span in group if (identity := response_id(span)) is not None), None),
        parameters=say("parameters") or {},
        output_type=say("output_type") or _asked_for_json(base),
        finish_reasons=_reasons(group, answered),
        usage=_usage(group),
        cost_usd=say("cost_usd"),
        time_to_first_token_s=_first_token(group),
        mean_logprob=next((mean for span in group if (mean := mean_logprob(span)) is not None), None),
        cancelled=any(was_cancelled(span, error) for span in group),
        error=error,
        is_shadow=bare and error is not None and not base.parent_span_id and len(tree.spans) == 1,
        duplicate_span_ids=tuple(span.span_id for span in group[1:]),
    )


def _system(asked: Iterable[Message]) -> str | None:
    """The system messages, each once."""
    found = dict.fromkeys(message.text for message in asked if message.role == "system" and message.text)
    return "\n".join(found) or None


def _asked_for_json(span: SpanReader) -> str | None:
    """Vercel says on the outer span that an object was asked for."""
    return "json" if span.parent is not None and "ai.schema" in span.parent.attributes else None


def _definitions(value: Plain) -> tuple[ToolDefinition, ...]:
    found = []
    for item in value[:MAX_ITEMS] if isinstance(value, list) else ():
        inner = first(item, "function", "toolSpec")
        tool = {**item, **inner} if isinstance(inner, dict) else item
        name = text_or_none(tool if isinstance(tool, str) else first(tool, "name"))
        if name is not None:
            schema = first(tool, "parameters", "input_schema", "inputSchema", "parametersJsonSchema")
            found.append(ToolDefinition(name, text_or_none(first(tool, "description")), bounded(schema)))
    return tuple(found)


def _provider(name: Any, scope: str) -> str | None:
    """Lower-case, without the API behind the last dot (openai.chat); else the one that the scope names."""
    if isinstance(name, str):
        head, _, tail = name.lower().rpartition(".")
        return head if head and tail in _PROVIDER_SUFFIXES else name.lower()
    return next((provider for provider in _PROVIDERS if provider in scope.lower()), None)


def _reasons(group: list[SpanReader], answered: tuple[Message, ...]) -> tuple[str, ...]:
    said = next((reasons for span in group if (reasons := fields.read(span, "finish_reasons"))), ())
    written = [message.finish_reason for message in answered if message.finish_reason]
    status = [fields.read(span, "response_status") for span in group] if not said and not written else []
    reasons = [*said, *written, *(one for one in status if one in {"incomplete", "failed"})]
    return tuple(dict.fromkeys(canonical_reason(reason) for reason in reasons))


def _usage(group: list[SpanReader]) -> Usage:
    usages = [Usage(*[fields.read(span, field) for field in Usage.__struct_fields__]) for span in group]
    return reduce(or_, usages)


def _first_token(group: list[SpanReader]) -> float | None:
    """Larger than the span cannot be: then the unit is unknown."""
    for span in group:
        value = number(fields.read(span, "time_to_first_token_s"))
        if value is not None and 0 <= value <= span.duration_s + 0.001:
            return value
    return None


def mean_logprob(span: SpanReader) -> float | None:
    """The mean log-probability of the answer's tokens, which only the raw response holds."""
    for key in _RAW_KEYS:
        raw = span.attributes.get(key)
        if raw is not None and any(mark in raw for mark in _LOGPROB_MARKS):
            found = _logprobs(fields.read(span, "raw_output"), 0)
            return sum(found) / len(found) if found else None
    return None


def _logprobs(value: Plain, depth: int) -> list[float]:
    """The averages or single values of the answer's tokens, without those of the alternatives."""
    if depth > 10:
        return []
    if isinstance(value, list):
        return [found for item in value for found in _logprobs(item, depth + 1)]
    if not isinstance(value, dict):
        return []
    for key in ("avg_logprobs", "avgLogprobs", "logprob"):
        single = number(value.get(key))
        if single is not None:
            return [single]
    if isinstance(value.get("token_logprobs"), list):
        return [found for item in value["token_logprobs"] if (found := number(item)) is not None]
    return [found for key, item in value.items() if key != "top_logprobs" for found in _logprobs(item, depth + 1)]
