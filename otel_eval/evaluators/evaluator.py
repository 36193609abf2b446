"""The contract of an evaluator: what it is given, what it answers.

An evaluator is a class with a `Config` (a msgspec Struct, its settings) that is made once from its settings and holds no
state between calls. It is registered by one line, the entry point group `otel_eval.evaluators`.
"""

from collections.abc import Callable, Hashable, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from msgspec import Struct, field

from otel_eval.traces.view import TraceView

_T = TypeVar("_T")


class Scope(StrEnum):
    """What one score is about."""

    TRACE = "trace"
    SPAN = "span"
    SESSION = "session"


class Subject(Struct, frozen=True, kw_only=True):
    """What is to be judged: a trace; with `session`, the traces of its session in order of start, this one last.

    `expected` is the right answer where somebody gave one (a regression case); most traces have none.
    """

    view: TraceView
    session: Sequence[TraceView] = ()
    expected: Any = None
    _made: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, what: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` gives, made when it is first asked for: evaluators share what they need of a subject."""
        if what not in self._made:
            self._made[what] = make()
        found: _T = self._made[what]
        return found


class JudgeUse(Struct, frozen=True, kw_only=True):
    """What a judge's answer took. `cost_usd` is None when the model's price is not known; it is never guessed."""

    model: str
    """The model that was asked for."""
    answered_by: str | None = None
    """The model that the API says has answered."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    thinking_tokens: int | None = None
    cost_usd: float | None = None
    price_date: str | None = None
    """The `effective_from` of the prices that the cost was computed with."""
    latency_s: float = 0.0
    request_id: str | None = None
    simulated: bool = False
    """Answered by the stand-in API, not by a model."""


class Result(Struct, frozen=True, kw_only=True):
    """One score. `value` and `label` follow `gen_ai.evaluation.score.*`; at least one of them is given.

    `passed` says whether it is good enough, None where the score has no such line. `span_id` is the span that the
    score is about, None for the trace or session as a whole. `explanation` is plain text, from a model untrusted.
    """

    name: str
    value: float | None = None
    label: str | None = None
    passed: bool | None = None
    explanation: str = ""
    span_id: str | None = None
    evidence: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What a reader of the score must know: judge weaker than the judged model, evidence not found, injection suspected."""
    judge: JudgeUse | None = None


class NotApplicable(Struct, frozen=True):
    """This evaluator has nothing to say about this subject, and why: a guess would be worse."""

    reason: str


@runtime_checkable
class Evaluator(Protocol):
    """See the module docstring."""

    name: str
    """As in `gen_ai.evaluation.name`; a rubric that scores several dimensions names each result itself."""
    kind: ClassVar[str]
    """`code` or `llm`."""
    scope: Scope
    version: str
    """Hexadecimal hash over everything that changes a verdict: code version, settings, rubric, schema, model."""

    async def evaluate(self, subject: Subject) -> Sequence[Result] | NotApplicable:
        """Judge. Raises nothing for any content of a trace; what is missing is NotApplicable."""
        ...
