"""What can be configured of assembly and sampling. The text under a field is its documentation."""

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from otel_eval.config.section import Section
from otel_eval.config.values import PositiveDuration

Rate = Annotated[float, Meta(ge=0, le=1)]
PositiveRate = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=1)]


class EndSignal(Section, frozen=True):
    """A span that says that its trace is over: one with this name, or with this attribute."""

    span_name: str | None = None
    attribute: str | None = None

    def __post_init__(self) -> None:
        if self.span_name is None and self.attribute is None:
            raise ValueError("expected span_name, attribute or both")


class Traces(Section, frozen=True):
    """When a trace is taken to be finished, and for how long something may still come for it."""

    end_signal: EndSignal | None = None
    quiet_period: PositiveDuration = PositiveDuration(2)
    idle_timeout: PositiveDuration = PositiveDuration(120)
    max_age: PositiveDuration = PositiveDuration(1800)
    late_window: PositiveDuration = PositiveDuration(900)
    max_open: Count = 50_000
    max_decided: Count = 200_000
    max_revisions: Count = 3


class Baseline(Section, frozen=True):
    """A simple random sample of all agent traces. It is what an estimate of everything rests on, so it cannot be 0."""

    rate: PositiveRate = 0.02


OTHER_STRATUM: Final = "other"
"""What is over `max_strata`."""


class Strata(Section, frozen=True):
    """Rates by stratum: the values of `by` (attributes, or the names in README), joined by `/`.

    Either `rates` by stratum, where `*` stands for anything and the first that fits counts, or `target_per_day` for each
    stratum, from which the rates are learned.
    """

    by: Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)]
    rates: dict[str, Rate] = field(default_factory=dict)
    target_per_day: Count | None = None
    max_strata: Annotated[int, Meta(ge=1, le=100_000)] = 1000

    def __post_init__(self) -> None:
        if bool(self.rates) and self.target_per_day is not None:
            raise ValueError("expected either rates or target_per_day")
        for stratum in self.rates:
            if stratum != OTHER_STRATUM and stratum.count("/") != len(self.by) - 1 and not set(stratum) & set("*?["):
                raise ValueError(f"rates: {stratum!r:.100} is no stratum: expected values of {', '.join(self.by)}, joined by /")


class Uncertainty(Section, frozen=True):
    """More of the traces whose outcome is least certain: `rate` in the mean, never below `min_rate`.

    `mix` is the share of the rate that does not depend on the confidence.
    """

    rate: PositiveRate
    min_rate: PositiveRate = 0.005
    mix: Annotated[float, Meta(ge=0.2, le=1)] = 0.2

    def __post_init__(self) -> None:
        if self.min_rate > self.rate:
            raise ValueError("expected a min_rate that is not above rate")


class LatencyCondition(Section, frozen=True):
    """The trace took longer than `threshold_ms`, and at most `upper_threshold_ms` if that is given."""

    threshold_ms: Annotated[float, Meta(ge=0)]
    upper_threshold_ms: Annotated[float, Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        if self.upper_threshold_ms is not None and self.upper_threshold_ms <= self.threshold_ms:
            raise ValueError("expected an upper_threshold_ms above threshold_ms")


class StatusCodeCondition(Section, frozen=True):
    """Any span has one of these status codes."""

    status_codes: Annotated[tuple[Literal["OK", "ERROR", "UNSET"], ...], Meta(min_length=1)] = ("ERROR",)


class NumericAttributeCondition(Section, frozen=True):
    """A number under `key`, on any span or its resource, from `min_value` to `max_value`."""

    key: str
    min_value: float | None = None
    max_value: float | None = None
    invert_match: bool = False

    def __post_init__(self) -> None:
        if self.min_value is not None and self.max_value is not None and self.max_value < self.min_value:
            raise ValueError("expected a max_value that is not below min_value")


class StringAttributeCondition(Section, frozen=True):
    """A text under `key`, on any span or its resource, is one of `values`, or matches one of them as a whole.

    Of a text that is matched the first 1000 characters count.
    """

    key: str
    values: Annotated[tuple[str, ...], Meta(min_length=1)]
    enabled_regex_matching: bool = False
    invert_match: bool = False


class BooleanAttributeCondition(Section, frozen=True):
    """A truth value under `key`, on any span or its resource."""

    key: str
    value: bool
    invert_match: bool = False


class SpanCountCondition(Section, frozen=True):
    """The number of spans, both ends included."""

    min_spans: Annotated[int, Meta(ge=0)] = 0
    max_spans: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.max_spans is not None and self.max_spans < self.min_spans:
            raise ValueError("expected a max_spans that is not below min_spans")


class Policy(Section, frozen=True):
    """A rate for the traces that meet a condition; names and conditions are those of the Collector's tail sampling."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    type: Literal[
        "always_sample", "latency", "status_code", "numeric_attribute", "string_attribute", "boolean_attribute", "span_count"
    ]
    rate: Rate = 1.0
    latency: LatencyCondition | None = None
    status_code: StatusCodeCondition | None = None
    numeric_attribute: NumericAttributeCondition | None = None
    string_attribute: StringAttributeCondition | None = None
    boolean_attribute: BooleanAttributeCondition | None = None
    span_count: SpanCountCondition | None = None

    def __post_init__(self) -> None:
        given = [name for name in _CONDITIONS if getattr(self, name) is not None]
        if self.type in ("always_sample", "status_code") and not given:
            return
        if given != [self.type]:
            raise ValueError(f"expected the settings of the condition under {self.type}, and of no other")


_CONDITIONS = ("latency", "status_code", "numeric_attribute", "string_attribute", "boolean_attribute", "span_count")


class Cap(Section, frozen=True):
    """At most so many traces are chosen, in each of the periods that are given.

    What is chosen is known at the end of each `window`. `baseline_share` of the room is kept for the baseline.
    """

    per_minute: Count | None = None
    per_hour: Count | None = None
    per_day: Count | None = None
    window: PositiveDuration = PositiveDuration(60)
    baseline_share: Annotated[float, Meta(ge=0, le=1)] = 0.3

    def __post_init__(self) -> None:
        if self.per_minute is None and self.per_hour is None and self.per_day is None:
            raise ValueError("expected per_minute, per_hour or per_day")
        if self.window > 60 or 60 % self.window:
            raise ValueError("expected a window that divides a minute")


FAILURE_SIGNALS = (
    "model_error", "tool_error", "schema_failure", "refusal", "truncated", "low_confidence", "thumbs_down", "regeneration",
    "rephrase", "edit", "abandonment", "escalation", "guardrail", "tool_loop", "outcome_failure",
)  # fmt: skip


class Sampling(Section, frozen=True):
    """Which traces are judged. Each has the largest of the rates that the policies give it, and one random number.

    `signals` maps signals to rates. Hops with the same `seed` decide the same where trace ids are not random.
    """

    enabled: bool = True
    baseline: Baseline = field(default_factory=Baseline)
    signals: dict[str, Rate] = field(default_factory=lambda: dict.fromkeys(FAILURE_SIGNALS, 1.0))
    strata: Strata | None = None
    uncertainty: Uncertainty | None = None
    policies: tuple[Policy, ...] = ()
    cap: Cap | None = None
    seed: Annotated[str, Meta(min_length=1, max_length=64)] = "otel-eval"

    @property
    def policy_names(self) -> list[str]:
        """The names of the built-in policies and of one's own."""
        return ["baseline", "signals", "strata", "uncertainty", *(policy.name for policy in self.policies)]

    def __post_init__(self) -> None:
        names = self.policy_names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected policies with a name of their own; not so: {', '.join(twice)}")
