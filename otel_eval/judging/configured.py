"""The evaluators of a configuration: each with what it applies to, made once for the baseline's calls and once for others."""

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from otel_eval.config.document import Document
from otel_eval.config.load import convert, suggest
from otel_eval.config.models import Config
from otel_eval.config.section import Section
from otel_eval.errors import ConfigError
from otel_eval.evaluators.evaluator import Evaluator, Scope, Subject
from otel_eval.evaluators.loading import evaluator as code_evaluator
from otel_eval.evaluators.loading import evaluator_types
from otel_eval.evaluators.rubric import load_all
from otel_eval.judging.freshness import NOW, Freshness
from otel_eval.judging.llm import Judge
from otel_eval.sampling.facts import Facts
from otel_eval.sampling.ledger import Decided
from otel_eval.sampling.sessions import WINDOW_S
from otel_eval.sampling.signals import SIGNALS

DEFAULT_RUBRIC: Final = "quality_4d"
_NEED_SETTINGS: Final = frozenset({"contains", "exact_match", "python", "regex"})
_KEY: Final = "judging.evaluators"
_JUDGED: Final = frozenset({"rubric", "panel", "pairwise"})
_NO_POLICIES: Final = ("asked", "session")
"""What chooses traces beside the policies of the sampler: somebody who asks, and a session that has gone quiet."""

JudgeFor = Callable[[bool], Judge]
"""Gives the judge for the calls of the baseline sample (True), or for all others."""

WaitingJudgeFor = Callable[[Freshness, bool], Judge]
"""Likewise for calls that may wait so long."""


class _Wanted(Section, frozen=True):
    """How soon an evaluator's verdicts are wanted."""

    freshness: Freshness | None = None


class Selector(Section, frozen=True):
    """What an evaluator applies to: traces with one of each list's values, where `*` stands for anything."""

    services: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = next((pattern for pattern in self.signals if not fnmatch.filter(SIGNALS, pattern)), None)
        if unknown is not None:
            raise ValueError(f"signals: no signal is called {unknown!r:.100}{suggest(unknown, SIGNALS)}")

    @property
    def knows_sessions(self) -> bool:
        """Whether it may select a session: that has no signals, and no policy of the sampler chose it."""
        return not self.signals and (not self.policies or _any_match(self.policies, _NO_POLICIES))

    def selects(self, subject: Subject, decided: Decided) -> bool:
        """Whether every list that is not empty names something of the trace. The decision about a session names no service."""
        view = subject.view
        found: tuple[tuple[tuple[str, ...], Callable[[], Iterable[str]]], ...] = (
            (self.services, lambda: [decided.service or view.service_name or ""]),
            (self.agents, lambda: [agent.name for agent in view.agents]),
            (self.models, lambda: [Facts(view, {}).model]),
            (self.signals, lambda: decided.signals),
            (self.policies, lambda: [decided.policy]),
        )
        return all(not patterns or _any_match(patterns, values()) for patterns, values in found)


def _any_match(patterns: Iterable[str], values: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for value in values for pattern in patterns)


class Configured:
    """One evaluator of the configuration.

    `waiting` are the ones, for other calls and for the baseline's, that ask in batches.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        baseline: Evaluator,
        selector: Selector,
        freshness: Freshness = NOW,
        waiting: tuple[Evaluator, Evaluator] | None = None,
    ) -> None:
        self.freshness = freshness
        self.name = evaluator.name
        self.kind = evaluator.kind
        self.scope: Scope = evaluator.scope
        self.selector = selector
        self._evaluator = evaluator
        self._baseline = baseline
        self._waiting = waiting

    def applies(self, scope: Scope, subject: Subject | None, decided: Decided) -> bool:
        """Whether it has a say in a job of this scope; what looks at spans looks at those of a trace.

        Without a subject its scope alone counts.
        """
        own = Scope.TRACE if self.scope is Scope.SPAN else self.scope
        return own is scope and (subject is None or self.selector.selects(subject, decided))

    def of(self, *, baseline: bool, in_batch: bool = False) -> Evaluator:
        """The one whose calls are booked for the baseline, or for the rest, and are made at once or `in_batch`."""
        if in_batch and self._waiting is not None:
            return self._waiting[baseline]
        return self._baseline if baseline else self._evaluator


def build(
    config: Config, source: str, judge: JudgeFor, *, has_key: bool, waiting: WaitingJudgeFor | None = None
) -> list[Configured]:
    """The configured evaluators, code evaluators first; raises ConfigError for what cannot work.

    Where none are configured, it is every code evaluator that needs no settings, and the four dimensions by judge when there
    is a key. Without `waiting` nobody can wait.
    """
    entries = config.judging.evaluators
    if entries is None:
        names: tuple[str | dict[str, Any], ...] = tuple(name for name in sorted(evaluator_types()) if name not in _NEED_SETTINGS)
        entries = (*names, {"rubric": DEFAULT_RUBRIC}) if has_key else names
    doc = Document(source)
    by_judge = _ByJudge(judge, waiting, config.judging.freshness)
    policies = [*config.sampling.policy_names, *_NO_POLICIES]
    found = [_configured(doc, index, entry, by_judge, policies) for index, entry in enumerate(entries)]
    seen: set[str] = set()
    for one in found:
        if one.name in seen:
            by_code = one.kind == "code"
            way = "give one of them a name, as in latency/slow" if by_code else "copy the rubric under another id for one of them"
            raise ConfigError(f"{source}: {_KEY}: {one.name} is there twice; {way}")
        seen.add(one.name)
        if one.scope is Scope.SESSION:
            _check_sessions(one, config, source)
    return sorted(found, key=lambda one: one.kind)


def _check_sessions(one: Configured, config: Config, source: str) -> None:
    """Raise ConfigError where no session would ever be judged."""
    if not one.selector.knows_sessions:
        why = "a session has no signals, and no policy but session: it would judge none"
        raise ConfigError(f"{source}: {_KEY}: {one.name}: only: {why}")
    if config.traces.late_window < WINDOW_S + 60:  # each minute it is seen which have gone quiet
        why = f"{one.name} judges a session after {WINDOW_S / 60:g} quiet minutes, and its turns must be known then"
        raise ConfigError(f"{source}: traces.late_window: expected at least 11m: {why}")


class _ByJudge(NamedTuple):
    """What evaluators by judge are made with."""

    judge: JudgeFor
    waiting: WaitingJudgeFor | None
    freshness: Freshness

    def configured(self, make: Callable[[Judge], Evaluator], selector: Selector, wanted: Freshness | None) -> Configured:
        """One of them."""
        freshness = wanted or self.freshness
        pair = None
        if self.waiting is not None:  # also where it is wanted now: what was asked when it could wait is not asked again
            pair = make(self.waiting(freshness, False)), make(self.waiting(freshness, True))
        return Configured(make(self.judge(False)), make(self.judge(True)), selector, freshness, pair)


def _configured(
    doc: Document, index: int, entry: str | dict[str, Any], by_judge: _ByJudge, policies: Sequence[str]
) -> Configured:
    path = ("judging", "evaluators", f"[{index}]")
    settings: dict[str, Any] = {entry: {}} if isinstance(entry, str) else dict(entry)
    if isinstance(entry, str) and entry not in evaluator_types() and "/" not in entry:
        if entry not in (rubrics := load_all()):
            known = suggest(entry, [*evaluator_types(), *rubrics])
            raise ConfigError(f"{doc.place(path)}: no evaluator and no rubric is called {entry!r:.100}{known}")
        settings = {"rubric": entry}
    only = settings.pop("only", {})
    selector: Selector = convert(doc, Selector, only, (*path, "only"))
    unknown = next((pattern for pattern in selector.policies if not fnmatch.filter(policies, pattern)), None)
    if unknown is not None:
        place = doc.place((*path, "only", "policies"))
        raise ConfigError(f"{place}: no policy of sampling is called {unknown!r:.100}{suggest(unknown, policies)}")
    wanted = convert(doc, _Wanted, {"freshness": settings.pop("freshness", None)}, path).freshness
    if not _JUDGED.isdisjoint(settings):
        make = _judged(doc, path, settings)
        try:
            return by_judge.configured(make, selector, wanted)
        except ConfigError as error:
            raise ConfigError(f"{doc.place(path)}: {error}") from None
    if wanted is not None:
        raise ConfigError(f"{doc.place((*path, 'freshness'))}: only evaluators that ask a judge can wait; this one costs nothing")
    if len(settings) != 1:
        raise ConfigError(f"{doc.place(path)}: expected a name, a name with its settings, rubric, panel or pairwise")
    ((name, own),) = settings.items()
    made = code_evaluator(doc, (*path, name), name, own)
    return Configured(made, made, selector)


def _judged(doc: Document, path: tuple[str, ...], settings: Mapping[str, Any]) -> Callable[[Judge], Evaluator]:
    from otel_eval.evaluators.judged import RubricEvaluator
    from otel_eval.evaluators.pairwise import PairwiseEvaluator
    from otel_eval.evaluators.panel import PanelEvaluator

    if "rubric" not in settings and len(settings) != 1:
        raise ConfigError(f"{doc.place(path)}: expected one of rubric, panel and pairwise")
    if "panel" in settings:
        panel = convert(doc, PanelEvaluator.Config, settings["panel"], (*path, "panel"))
        return lambda judge: PanelEvaluator(panel, judge)
    if "pairwise" in settings:
        pairwise = convert(doc, PairwiseEvaluator.Config, settings["pairwise"], (*path, "pairwise"))
        return lambda judge: PairwiseEvaluator(pairwise, judge)
    rubric = convert(doc, RubricEvaluator.Config, dict(settings), path)
    return lambda judge: RubricEvaluator(rubric, judge)
