"""Whether an answer has the form that was asked for."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from otel_eval.config.models import Fraction
from otel_eval.config.section import Section
from otel_eval.evaluators import json_schemas
from otel_eval.evaluators.by_code import ByCode
from otel_eval.evaluators.evaluator import NotApplicable, Result, Subject
from otel_eval.evaluators.json_schemas import UncheckedError
from otel_eval.evaluators.texts import answering_span
from otel_eval.evaluators.told import OUTPUT_TOOLS
from otel_eval.traces.records import ModelCall
from otel_eval.traces.values import MAX_TEXT, Plain, first, structured, unfenced
from otel_eval.traces.view import TraceView

_FORMS: Final = ("response_format", "text", "output_config", "output_format", "generation_config", "format", "config")
_SCHEMAS: Final = ("schema", "response_schema", "responseSchema", "response_json_schema", "responseJsonSchema")
_MAX_LEVELS: Final = 3


class FormatComplianceConfig(Section, frozen=True):
    """With `schema` (a JSON schema; `{}` is any JSON) the final answer is checked against it, whatever the trace declares.

    Without, each answer is checked of which the trace says that JSON was asked for. JSON in a code fence counts as JSON
    unless `fences` is false. Passes from a share of `threshold` on.
    """

    schema: dict[str, Any] | None = None
    fences: bool = True
    threshold: Fraction = 1.0

    def __post_init__(self) -> None:
        if self.schema:
            json_schemas.refuse(self.schema)


class FormatCompliance(ByCode):
    """Share of the answers that have the declared form, 0 to 1.

    Declared is a configured schema; else, of each model call, the output type JSON, a response schema in its parameters,
    or a tool for the structured answer. Refusals, errors and requests for other tools are left out. See `json_schemas`
    for what of a schema is checked; of one from a trace, not `pattern`.

    >>> from otel_eval.evaluators import example
    >>> settings = FormatComplianceConfig(schema={"type": "object", "properties": {"temp_c": {"type": "integer"}}})
    >>> example.judged(FormatCompliance("format_compliance", settings), example.trace('''
    ... user: What is the weather in Paris, as JSON?
    ... assistant: {"temp_c": "warm"}'''))
    "0 fail: temp_c: 'warm' is not of type 'integer' (0 of 1 answers have the form)"
    """

    Config = FormatComplianceConfig
    config: FormatComplianceConfig

    def judge(self, subject: Subject) -> Result | NotApplicable:
        """Check each answer."""
        wrongs: list[tuple[str | None, str | None]] = []
        unchecked = "no model was asked for a form that can be checked"
        for given in self._answers(subject.view):
            try:
                wrongs.append((self._wrong(given), given.span_id))
            except UncheckedError as error:
                unchecked = str(error)
        if not wrongs:
            return NotApplicable(unchecked)
        faults = [(wrong, span_id) for wrong, span_id in wrongs if wrong is not None]
        if not faults:
            return self.result(1.0, True, f"all {len(wrongs)} answers have the form")
        value = (len(wrongs) - len(faults)) / len(wrongs)
        said = f"{faults[0][0]} ({len(wrongs) - len(faults)} of {len(wrongs)} answers have the form)"
        return self.result(value, value >= self.config.threshold, said, faults[0][1])

    def _answers(self, view: TraceView) -> Iterator["_Given"]:
        if self.config.schema is None:
            for call in view.model_calls:
                if call.error is None and not call.cancelled and {"refusal", "content_filter"}.isdisjoint(call.finish_reasons):
                    yield from _declared(view, call)
        elif view.final_output:
            yield _Given(view.final_output, self.config.schema, answering_span(view))

    def _wrong(self, given: "_Given") -> str | None:
        value = given.value
        if isinstance(value, str):
            if len(value) >= MAX_TEXT:
                raise UncheckedError("the answer is too long")
            try:
                value = msgspec.json.decode(unfenced(value) if self.config.fences else value)
            except (ValueError, RecursionError):
                return "the answer is no JSON"
        if not given.schema:
            return None
        check = json_schemas.fault if self.config.schema is None else json_schemas.trusted_fault
        return check(given.schema, value)


class _Given(NamedTuple):
    """An answer: a text, or the arguments of the tool for it; `schema` is what it must fit, None for any JSON."""

    value: Plain
    schema: Plain
    span_id: str | None


def _declared(view: TraceView, call: ModelCall) -> Iterator[_Given]:
    requests = call.tool_calls
    for request in requests:
        if request.name in OUTPUT_TOOLS and request.arguments is not None:
            schema = next((tool.parameters for tool in call.tool_definitions if tool.name == request.name), None)
            yield _Given(request.arguments, structured(schema), call.span_id)
    text = "" if requests else call.output_text
    if text.strip():
        schema = _schema(call.parameters, 0) or _vercel_schema(view, call)
        if call.output_type == "json" or schema is not None:
            yield _Given(text, schema, call.span_id)


def _schema(parameters: Plain, level: int) -> dict[str, Any] | None:
    """The response schema in a request's parameters, as OpenAI, Anthropic, Gemini and Ollama write it."""
    found = structured(first(parameters, *_SCHEMAS))
    if isinstance(found, dict):
        return found
    if level < _MAX_LEVELS and isinstance(parameters, dict):
        for key in (*_FORMS, "json_schema"):
            inner = structured(parameters.get(key))
            if isinstance(inner, dict):
                found = inner if key == "format" and isinstance(inner.get("properties"), dict) else _schema(inner, level + 1)
                if found is not None:
                    return found
    return None


def _vercel_schema(view: TraceView, call: ModelCall) -> dict[str, Any] | None:
    """Vercel's AI SDK says it on the span around the call."""
    span = view.tree.by_id.get(call.span_id)
    parent = span.parent if span is not None else None
    schema = structured(parent.get("ai.schema")) if parent is not None else None
    return schema if isinstance(schema, dict) else None
