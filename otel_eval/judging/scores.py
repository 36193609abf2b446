"""What judging leaves behind: a record for each job, in the journal's log `evaluations`.

A record is one MessagePack `Judgement` (msgspec): the terminal state of the trace, what each evaluator came to, and the
scores. It is appended whole or not at all, and from it alone the evaluation spans and log events are made, so that doing
that twice gives the same bytes. A job has one record; only a dead letter that a person lets wait again gets another one,
and then the last one counts.
"""

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from otel_eval.evaluators.evaluator import JudgeUse, Scope


class State(StrEnum):
    """What became of a chosen trace, exactly one of these, and likewise of each evaluator for it."""

    SCORED = "scored"
    CACHED = "cached"
    """Scored, with nothing but verdicts that had been given before on the same content."""
    NO_CONTENT = "no_content"
    """Nothing in the trace that any evaluator could look at."""
    UNSCORED_INVALID_OUTPUT = "unscored_invalid_output"
    JUDGE_REFUSED = "judge_refused"
    EXPIRED = "expired"
    DROPPED_BUDGET = "dropped_budget"
    DROPPED_BACKPRESSURE = "dropped_backpressure"
    """There was no room in the queue until nobody remembered the trace."""
    BLOCKED_EVALUATOR = "blocked_evaluator"
    DEAD_LETTER = "dead_letter"
    TOO_LARGE = "too_large"


class Score(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One score; `value` and `label` as in `gen_ai.evaluation.score.*`.

    `span_id` (hexadecimal), `span_name` and `span_start_ns` are those of the target span.
    """

    name: str
    evaluator: str
    kind: str
    version: str
    scope: Scope
    span_id: str
    value: float | None = None
    label: str | None = None
    passed: bool | None = None
    explanation: str = ""
    evidence: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    judge: JudgeUse | None = None
    cached: bool = False
    start_ns: int = 0
    end_ns: int = 0
    span_name: str = ""
    span_start_ns: int = 0


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one evaluator came to for the trace. `reason` says why there is no score."""

    evaluator: str
    state: State
    reason: str = ""


class Rejudged(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A second verdict on the same content by the same version of an evaluator, beside the first one. It is no score."""

    name: str
    evaluator: str
    version: str
    span_id: str
    first_value: float | None = None
    first_label: str | None = None
    value: float | None = None
    label: str | None = None
    judge: JudgeUse | None = None
    """What the second verdict took."""

    @property
    def agrees(self) -> bool:
        """Whether both say the same: by their labels, without labels by their values."""
        if self.label is None and self.first_label is None:
            return self.value == self.first_value
        return self.label == self.first_label

    @property
    def difference(self) -> float | None:
        """How far the values are apart, None when one of them has none."""
        if self.value is None or self.first_value is None:
            return None
        return abs(self.value - self.first_value)


class Judgement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything about one judged trace. Ids are hexadecimal, times ns since 1970.

    `reason` says why the trace was not looked at; `expires_at_ns` is the deadline of the job.
    `pi` and what follows is the decision that chose it, and the cell in which the trace is counted (see the ledger).
    `resource` is the encoded Resource of the target, with the field around it, as OTLP groups have it.
    `spans_at` and `events_at` are where the logs `traces` and `logs` of the journal ended when it was written down.
    """

    job: str
    trace_id: str
    revision: int
    state: State
    time_ns: int
    reason: str = ""
    expires_at_ns: int = 0
    results: tuple[Result, ...] = ()
    scores: tuple[Score, ...] = ()
    pi: float = 1.0
    r: int = 0
    policy: str = ""
    reasons: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    stratum: str = ""
    service: str = ""
    service_version: str = ""
    model: str = ""
    prompt_version: str = ""
    session_id: str = ""
    tries: int = 1
    resource: bytes = b""
    minute: int = 0
    signal_class: str = ""
    rejudged: tuple[Rejudged, ...] = ()
    spans_at: int = 0
    events_at: int = 0


_decoder = msgspec.msgpack.Decoder(Judgement)


def encode(judgement: Judgement) -> bytes:
    """The body of a record. What UTF-8 or 64 bits cannot hold is replaced: traces and gateways may say anything."""
    try:
        return msgspec.msgpack.encode(judgement)
    except (UnicodeEncodeError, OverflowError):
        return msgspec.msgpack.encode(_storable(msgspec.to_builtins(judgement, builtin_types=(bytes,))))


def _storable(value: Any) -> Any:
    match value:
        case dict():
            return {_storable(key): _storable(one) for key, one in value.items()}
        case list() | tuple():
            return [_storable(one) for one in value]
        case str():
            return value.encode(errors="replace").decode()
        case int() if not -(2**63) <= value < 2**63:
            return None
    return value


def decode(body: bytes | memoryview) -> Judgement | None:
    """The record, None when it is of a version that is not known here."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError:
        return None
