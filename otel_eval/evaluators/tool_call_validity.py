"""Whether a model called its tools as they are declared."""

from otel_eval.config.models import Fraction
from otel_eval.config.section import Section
from otel_eval.evaluators.by_code import ByCode
from otel_eval.evaluators.evaluator import NotApplicable, Result, Subject
from otel_eval.evaluators.json_schemas import UncheckedError, fault
from otel_eval.evaluators.texts import client_requests
from otel_eval.evaluators.told import OUTPUT_TOOLS
from otel_eval.traces.records import ToolCall, ToolDefinition
from otel_eval.traces.values import structured
from otel_eval.traces.view import TraceView


class ToolCallValidityConfig(Section, frozen=True):
    """Passes from a share of `threshold` on."""

    threshold: Fraction = 1.0


class ToolCallValidity(ByCode):
    """Share of the models' tool calls that name a tool that was offered, with arguments that fit its schema, 0 to 1.

    Schemas come from the trace and are not trusted: see `json_schemas` for what of them is checked (no `pattern`). A tool
    that was not offered but ran all the same is known to somebody, and counts as valid. Calls whose model call does not
    say what it was offered are left out, and those to tools that the provider ran itself.

    >>> from otel_eval.evaluators import example
    >>> evaluator = ToolCallValidity("tool_call_validity", ToolCallValidityConfig())
    >>> example.judged(evaluator, example.trace('''
    ... user: What is the weather in Paris?
    ... offers get_weather {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    ... tool get_weather {"town": "Paris"}'''))
    "0 fail: get_weather: 'city' is a required property (0 of 1 calls valid)"
    """

    Config = ToolCallValidityConfig
    revision = 2
    config: ToolCallValidityConfig

    def judge(self, subject: Subject) -> Result | NotApplicable:
        """Each request of each model call."""
        view = subject.view
        ran = {tool.name for tool in view.tool_calls if tool.span_id is not None and tool.error is None}
        valid, faults, unchecked = 0, [], ""
        for call in view.model_calls:
            offered = {tool.name: tool for tool in call.tool_definitions}
            for request in client_requests(call) if offered else ():
                if request.name in OUTPUT_TOOLS:
                    continue
                try:
                    wrong = _wrong(request, offered, ran)
                except UncheckedError as error:
                    unchecked = f"{request.name[:100]}: {error}"
                    continue
                valid += wrong is None
                if wrong is not None:
                    faults.append((f"{request.name[:100]}: {wrong}", call.span_id))
        total = valid + len(faults)
        if not total:
            return NotApplicable(unchecked or _missing(view))
        if not faults:
            return self.result(1.0, True, f"all {total} tool calls are valid")
        value = valid / total
        said = f"{faults[0][0]} ({valid} of {total} calls valid)"
        return self.result(value, value >= self.config.threshold, said, faults[0][1])


def _wrong(request: ToolCall, offered: dict[str, ToolDefinition], ran: set[str]) -> str | None:
    tool = offered.get(request.name)
    if tool is None:
        return None if request.name in ran else "no such tool was offered"
    if tool.parameters is None or request.arguments is None:
        return None
    if isinstance(request.arguments, str):
        return "the arguments are no JSON"
    return fault(structured(tool.parameters), request.arguments)


def _missing(view: TraceView) -> str:
    if not any(client_requests(call) for call in view.model_calls):
        return "no model asked for a tool"
    return "the trace does not say which tools were offered"
