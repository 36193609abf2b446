"""What is asked of a judge model, what comes back, and how it can fail: the same for every provider."""

from enum import StrEnum
from typing import Any, Literal, Protocol

from msgspec import Struct

from otel_eval.errors import OtelEvalError
from otel_eval.evaluators.evaluator import JudgeUse


class Ask(Struct, frozen=True, kw_only=True):
    """One question to a judge model.

    `instructions` (rules and rubric) go into the system prompt; `material` is what is judged, already fenced, and is the
    part that several questions about one trace share, so it is cached when `cache_material`; `question` stands behind it.
    The answer must be JSON by `schema`. There is no temperature: the API takes none.
    """

    model: str
    instructions: str
    material: str
    question: str
    schema: dict[str, Any]
    max_tokens: int = 1024
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    thinking: Literal["adaptive", "disabled"] | None = None
    cache_instructions: bool = True
    cache_material: bool = False
    follows: bool = False
    """Asked because of the answer to another question: it does not wait for a batch."""


class RateLimit(Struct, frozen=True):
    """One of the provider's limits, as the last answer reported it; `reset_s` from now."""

    limit: int
    remaining: int
    reset_s: float


class Answer(Struct, frozen=True, kw_only=True):
    """What the model said. `text` is the raw text of the answer, empty when there was none."""

    text: str
    stop_reason: str
    refusal: str | None = None
    """The category of the provider's refusal, None when it did not refuse."""
    use: JudgeUse
    limits: dict[str, RateLimit] = {}
    """By name: requests, input_tokens, output_tokens."""


class Failure(StrEnum):
    """What a failed call means for whoever asks."""

    RATE_LIMITED = "rate_limited"
    RAMP_LIMITED = "ramp_limited"
    SPEND_LIMIT = "spend_limit"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    BLOCKED = "blocked"
    """Wrong key, no permission, no such model: a person must do something."""
    IN_BATCH = "in_batch"
    """Not failed: it waits for a batch, and is to be asked again later."""


class JudgeError(OtelEvalError):
    """A call that gave no answer. The text is for people and holds neither keys nor judged material."""

    def __init__(
        self,
        failure: Failure,
        message: str,
        *,
        retry_after_s: float | None = None,
        request_id: str | None = None,
        limits: dict[str, RateLimit] | None = None,
        may_be_billed: bool = False,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.limits = limits or {}
        self.may_be_billed = may_be_billed


class Judge(Protocol):
    """Something that answers: a provider's client, or the pool's gate before one (limits, budget, cache)."""

    async def ask(self, ask: Ask) -> Answer:
        """Ask and wait for the answer; raises JudgeError."""
        ...
