"""From a finished trace to its decision: view, signals, rates, random number."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from otel_eval.config.sampling import Sampling
from otel_eval.holding import First
from otel_eval.sampling import policies
from otel_eval.sampling.cap import Candidate
from otel_eval.sampling.facts import Facts
from otel_eval.sampling.hearing import brief, keys_of
from otel_eval.sampling.ledger import MINUTE_NS, Decided, Traffic, row_of
from otel_eval.sampling.policies.baseline import Baseline
from otel_eval.sampling.policies.strata import OTHER, Strata
from otel_eval.sampling.randomness import IdCheck, Randomness, Source, TraceState, probability, randomness, read_tracestate
from otel_eval.sampling.sessions import SessionMemory, Turn
from otel_eval.sampling.signals import detect
from otel_eval.traces.entry import Entry
from otel_eval.traces.joining import join
from otel_eval.traces.records import Feedback
from otel_eval.traces.retrieval import Stored
from otel_eval.traces.view import TraceView

_MAX_SIGNAL_DETAIL: Final = 200
_PRESSURE: Final = ((90, (0.5, 0.05)), (80, (1.0, 0.25)), (0, (1.0, 1.0)))
"""By level of the judges' budget or room: the share of the rate that the baseline and all other policies keep."""


class Draft(Struct, kw_only=True):
    """A decision that lacks only what the cap leaves of the wanted rate.

    `before` is our own probability by earlier decisions, `chosen` whether one of them chose the trace, and `counted` how
    it is counted by them: the table may have forgotten it when the cap's window ends.
    """

    decided: Decided
    row: Traffic
    u: float
    baseline: float
    before: float
    chosen: bool
    counted: bytes

    @property
    def candidate(self) -> Candidate:
        """For the cap."""
        return Candidate(self.u, self.decided.wanted, min(self.baseline, self.decided.wanted), self.chosen)

    def final(self, own_pi: float, *, chosen: bool) -> Decided:
        """The decision; a probability only grows."""
        own_pi = max(own_pi, self.before)
        decided = self.decided
        return replace(
            decided,
            own_pi=own_pi,
            pi=_total(own_pi, decided.upstream_pi, decided.r_source),
            chosen=chosen or self.chosen,
            capped=own_pi < decided.wanted,
        )


class Finished(NamedTuple):
    """What was found when a trace was looked at. `keys` are by what it may be named; `echoes` are for other traces."""

    draft: Draft
    keys: Sequence[bytes]
    echoes: Sequence[tuple[bytes, Feedback]]


def under_pressure(rate: float, policy: str, level: int) -> float:
    """What is left of a rate when so much of the judges' budget or room is used; the baseline is the last to give way."""
    baseline, others = next(shares for reached, shares in _PRESSURE if level >= reached)
    return rate * (baseline if policy == Baseline.name else others)


def _total(own_pi: float, upstream_pi: float | None, source: str) -> float:
    """With one random number for both, the smaller of the two; with different ones, the product."""
    if upstream_pi is None:
        return own_pi
    return own_pi * upstream_pi if source == Source.HASH else min(own_pi, upstream_pi)


class Decider:
    """Decides trace by trace, in the order in which they fell due; what it has learned is its state."""

    def __init__(self, config: Sampling, states: Mapping[str, Any], sessions: SessionMemory, ids: IdCheck) -> None:
        self._seed = config.seed
        self.policies = policies.build(config, states)
        self._learning: list[Any] = [policy for policy in self.policies if hasattr(policy, "learn")]
        self._strata = next((policy for policy in self.policies if isinstance(policy, Strata)), None)
        self._pressure = 0
        self.sessions = sessions
        self.ids = ids

    @property
    def states(self) -> dict[str, Any]:
        """What the policies have learned, by name."""
        return {policy.name: policy.state for policy in self._learning}

    def roll(self, minute: int, pressure: int = 0) -> None:
        """A new minute has begun: rates may change now; `pressure` is the level of the judges' budget or room."""
        self._pressure = pressure
        for policy in self._learning:
            policy.roll(minute)

    def finish(self, trace_id: bytes, entry: Entry, stored: Stored) -> Finished | None:
        """Decide about a trace; None when there is nothing in it that is one."""
        view = TraceView(stored.spans, stored.logs)
        if not view.spans:
            return None
        join([view])  # alone: what another instrumentation may have told in another trace counts as this one's
        return self.look(trace_id, entry, view, whole=stored.whole)

    def look(self, trace_id: bytes, entry: Entry, view: TraceView, *, whole: bool) -> Finished | None:
        """The same with a view that is not empty and has been joined."""
        elsewhere = [said for said in view.feedback if said.target_trace_id not in (None, view.trace_id)]
        echoes = [(bytes.fromhex(said.target_trace_id or ""), brief(said)) for said in elsewhere]
        earlier = self.sessions.earlier(view)
        facts = _facts(view, earlier, entry.heard)
        if not entry.decided_ns:
            self.sessions.remember(view)
        if earlier and not {"regeneration", "rephrase"}.isdisjoint(facts.signals):
            asked_again = Feedback("regenerate", "asked again", positive=False)
            echoes.append((bytes.fromhex(earlier[-1].trace_id), asked_again))
        if facts.is_feedback_only:
            return None if not echoes else Finished(self._not_eligible(trace_id, entry, whole, facts), (), echoes)
        return Finished(self._draft(trace_id, entry, whole, facts), keys_of(view), echoes)

    def first(self, trace_id: bytes, stored: Stored, heard: Sequence[Feedback]) -> First:
        """What a trace would be decided by what has come of it; nothing is learned."""
        view = TraceView(stored.spans, stored.logs)
        join([view])
        facts = _facts(view, self.sessions.earlier(view), heard)
        rate = max(self._rates(facts)[1].values(), default=0.0) if facts.is_agent else 0.0
        number = self._number(trace_id, *_root_state(view))
        chosen = number.u <= rate
        return First(trace_id, rate, number.r, number.source, chosen=chosen, holds=chosen)

    def unread(self, trace_id: bytes, entry: Entry) -> Draft:
        """Decide about a trace that there is no time to look at, or nothing left of: the baseline asks for no facts."""
        facts = Facts(TraceView(()), {})
        baseline = self.policies[0]
        rates = {baseline.name: under_pressure(baseline.rate(facts, ""), baseline.name, self._pressure)}
        draft = self._make(trace_id, entry, False, facts, rates, OTHER if self._strata is not None else "")
        draft.decided = replace(draft.decided, unread=True, eligible=True, spans=entry.spans)
        draft.row.eligible, draft.row.spans = True, entry.spans
        return draft

    def _draft(self, trace_id: bytes, entry: Entry, whole: bool, facts: Facts) -> Draft:
        if not facts.is_agent:
            return self._not_eligible(trace_id, entry, whole, facts)
        stratum, rates = self._rates(facts)
        if not entry.decided_ns:
            for policy in self._learning:
                policy.learn(facts, stratum)
        return self._make(trace_id, entry, whole, facts, rates, stratum)

    def _rates(self, facts: Facts) -> tuple[str, dict[str, float]]:
        """The stratum, and the rate of each policy that wants the trace."""
        stratum = self._strata.stratum(facts) if self._strata is not None else ""
        asked = {policy.name: policy.rate(facts, stratum) for policy in self.policies}
        return stratum, {name: under_pressure(rate, name, self._pressure) for name, rate in asked.items() if rate > 0}

    def _number(self, trace_id: bytes, state: TraceState, has_random_id: bool) -> Randomness:
        return randomness(trace_id, state, ids_are_random=has_random_id or self.ids.random, seed=self._seed)

    def _not_eligible(self, trace_id: bytes, entry: Entry, whole: bool, facts: Facts) -> Draft:
        return self._make(trace_id, entry, whole, facts, {}, "")

    def _make(self, trace_id: bytes, entry: Entry, whole: bool, facts: Facts, rates: dict[str, float], stratum: str) -> Draft:
        state, has_random_id = _root_state(facts.view)
        upstream = state.threshold or 0
        if not entry.decided_ns and facts.view.spans and state.randomness is None and not has_random_id:
            self.ids.add(trace_id, upstream)
        if entry.decided_ns or entry.first:  # a second number would be a second chance
            number = Randomness(entry.r, Source(entry.r_source))
        else:
            number = self._number(trace_id, state, has_random_id)
            entry.r, entry.r_source = number.r, number.source
        if number.source is not Source.HASH and number.r < upstream:  # a sampler with this threshold had not let it through
            state, upstream = TraceState(), 0
        policy = max(rates, key=rates.__getitem__, default="")
        minute = (entry.decided_ns or entry.due_ns) // MINUTE_NS
        row = row_of(facts, minute=minute, stratum=stratum, policy=policy, chosen=False)
        decided = Decided(
            trace_id=trace_id,
            time_ns=entry.due_ns,
            revision=entry.revision,
            trigger=entry.trigger,
            pi=0.0,
            own_pi=0.0,
            wanted=rates.get(policy, 0.0),
            r=number.r,
            r_source=number.source,
            chosen=entry.chosen,
            upstream_pi=None if state.threshold is None else probability(upstream),
            rates=rates,
            policy=policy,
            signals={name: signal.detail[:_MAX_SIGNAL_DETAIL] for name, signal in facts.signals.items()},
            stratum=stratum,
            service=row.service,
            spans=row.spans,
            complete=entry.complete,
            whole=whole,
            eligible=row.eligible,
            pressure=self._pressure,
            minute=minute,
            signal_class=row.signal_class,
            service_version=row.service_version,
            model=row.model,
            prompt_version=row.prompt_version,
            start_ns=facts.view.start_ns,
            duration_ns=max(0, facts.view.end_ns - facts.view.start_ns),
        )
        baseline = rates.get(self.policies[0].name, 0.0)
        return Draft(
            decided=decided,
            row=row,
            u=number.u,
            baseline=baseline,
            before=entry.pi,
            chosen=entry.chosen,
            counted=entry.counted,
        )


def _facts(view: TraceView, earlier: Sequence[Turn], heard: Sequence[Feedback]) -> Facts:
    """What is known of a trace, with the feedback that is in it or was `heard`."""
    here = [said for said in view.feedback if said.target_trace_id in (None, view.trace_id)]
    view.feedback = (*here, *heard)
    return Facts(view, detect(view, earlier))


def _root_state(view: TraceView) -> tuple[TraceState, bool]:
    """The tracestate of the first root, and whether its sender says that the id is random."""
    roots: Iterable[Any] = view.tree.roots[:1]
    for root in roots:
        return read_tracestate(root.trace_state) if root.trace_state else TraceState(), root.has_random_id
    return TraceState(), False
