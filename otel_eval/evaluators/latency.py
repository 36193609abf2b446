"""How long the whole trace took."""

from otel_eval.config.section import Section
from otel_eval.config.values import PositiveDuration
from otel_eval.evaluators.by_code import ByCode
from otel_eval.evaluators.evaluator import NotApplicable, Result, Subject
from otel_eval.traces.records import ModelCall, ToolExecution
from otel_eval.traces.view import TraceView


class LatencyConfig(Section, frozen=True):
    """A trace that takes longer than `max` does not pass."""

    max: PositiveDuration = PositiveDuration(30)


class Latency(ByCode):
    """Seconds from the first start to the last end; passes up to `max`. The explanation names the slowest step.

    >>> from otel_eval.evaluators import example
    >>> evaluator = Latency("latency", LatencyConfig(max=PositiveDuration(5)))
    >>> example.judged(evaluator, example.trace('''
    ... user: Hi
    ... assistant: Hello
    ... took: 12'''))
    '12 fail: 12.0 s, over 5 s; slowest: chat 6.0 s'
    """

    Config = LatencyConfig
    config: LatencyConfig

    def judge(self, subject: Subject) -> Result | NotApplicable:
        """Log records alone have no durations."""
        view, limit = subject.view, self.config.max
        if not view.span_count:
            return NotApplicable("there are no spans")
        seconds = view.duration_s
        slowest = _slowest(view)
        passed = seconds <= limit
        said = f"{seconds:.1f} s" if passed else f"{seconds:.1f} s, over {limit:g} s"
        if slowest is None:
            return self.result(seconds, passed, said)
        length, name, span_id = slowest
        return self.result(seconds, passed, f"{said}; slowest: {name} {length:.1f} s", span_id)


def _slowest(view: TraceView) -> tuple[float, str, str | None] | None:
    """The model call or tool that took longest."""
    slowest: tuple[float, str, str | None] | None = None
    steps: tuple[ModelCall | ToolExecution, ...] = (*view.model_calls, *view.tool_calls)
    for step in steps:
        length = step.duration_s
        if length is not None and (slowest is None or length > slowest[0]):
            slowest = length, step.name, step.span_id
    return slowest
