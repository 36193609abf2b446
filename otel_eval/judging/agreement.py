"""How repeatable judges are: a small share of the verdicts is asked for once more, and compared with the first ones.

There is no temperature to set, so the same judge may say another thing of the same content; a change that is smaller than
this is none. The second verdict is no score: it stands in the record of its job, and its cost is counted. It comes neither
out of the cache nor into it, is asked for directly, and is not asked for when 70 % of the budget is used. Which traces it is
for depends on their ids alone. The figures are over the last thousand pairs of each evaluator since the start.
"""

from collections import deque
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Final, NamedTuple

import structlog
import xxhash

from otel_eval.evaluators.evaluator import NotApplicable, Subject
from otel_eval.evaluators.evaluator import Result as Scored
from otel_eval.judging.configured import Configured
from otel_eval.judging.earlier_answers import no_earlier_ones
from otel_eval.judging.examining import Examined, sound
from otel_eval.judging.llm import JudgeError
from otel_eval.judging.scores import Rejudged, Score
from otel_eval.judging.verdict import InvalidVerdict, JudgeRefused
from otel_eval.sampling.ledger import Decided
from otel_eval.sampling.policies.baseline import Baseline
from otel_eval.telemetry import Metrics

_log = structlog.get_logger(__name__)

_KEPT: Final = 1000


class _Pair(NamedTuple):
    """Whether two verdicts say the same, and how far their values are apart, None when one has no value."""

    agree: bool
    difference: float | None


class Rejudging:
    """See the module docstring. `pressure` is how much of the budget is used, as a level."""

    def __init__(self, evaluators: Sequence[Configured], rate: float, pressure: Callable[[], int], metrics: Metrics) -> None:
        self._judges = [one for one in evaluators if one.kind == "llm"]
        self._rate = rate
        self._pressure = pressure
        self._metrics = metrics
        self._pairs: dict[str, deque[_Pair]] = {}

    async def again(self, subject: Subject, decided: Decided, examined: Examined) -> tuple[Rejudged, ...]:
        """The second verdicts of those that were asked once more about this trace."""
        found: list[Rejudged] = []
        for configured in self._judges:
            first = [score for score in examined.scores if score.evaluator == configured.name]
            if first and self._is_chosen(configured.name, decided) and not self._pressure():
                found += await self._second(configured, subject, decided, first)
        return tuple(found)

    def _is_chosen(self, name: str, decided: Decided) -> bool:
        return xxhash.xxh3_64_intdigest(decided.trace_id + name.encode()) < self._rate * 2**64

    async def _second(self, configured: Configured, subject: Subject, decided: Decided, first: Sequence[Score]) -> list[Rejudged]:
        evaluator = configured.of(baseline=decided.policy == Baseline.name)
        try:
            with no_earlier_ones():
                answer = await evaluator.evaluate(subject)
        except (JudgeError, JudgeRefused, InvalidVerdict) as error:
            _log.debug("there is no second verdict to compare", evaluator=configured.name, reason=str(error))
            return []
        if isinstance(answer, NotApplicable):
            return []
        pairs = _paired(first, [sound(one) for one in answer])
        found = [_rejudged(score, second) for score, second in pairs]
        self._tell(configured.name, found)
        return found

    def _tell(self, name: str, found: Sequence[Rejudged]) -> None:
        pairs = self._pairs.setdefault(name, deque(maxlen=_KEPT))
        pairs.extend(_Pair(one.agrees, one.difference) for one in found)
        self._metrics.counter("judging_rejudged", evaluator=name).add(len(found))
        if pairs:
            self._metrics.gauge("judging_agreement", lambda: fmean(pair.agree for pair in pairs), evaluator=name)
        if any(pair.difference is not None for pair in pairs):
            self._metrics.gauge("judging_difference", lambda: _mean_difference(pairs), evaluator=name)
        for one in found:
            if one.judge is not None:
                cost = round((one.judge.cost_usd or 0.0) * 1e6)
                self._metrics.counter("judging_cost_microdollars", evaluator=name, model=one.judge.model).add(cost)


def _mean_difference(pairs: deque[_Pair]) -> float:
    return fmean(pair.difference for pair in pairs if pair.difference is not None)


def _paired(first: Sequence[Score], second: Sequence[Scored]) -> list[tuple[Score, Scored]]:
    """Each first verdict with the second one of the same name on the same span."""
    left = list(second)
    pairs = []
    for score in first:
        same = next((one for one in left if one.name == score.name and one.span_id in (None, score.span_id)), None)
        if same is not None:
            left.remove(same)
            pairs.append((score, same))
    return pairs


def _rejudged(score: Score, second: Scored) -> Rejudged:
    return Rejudged(
        name=score.name,
        evaluator=score.evaluator,
        version=score.version,
        span_id=score.span_id,
        first_value=score.value,
        first_label=score.label,
        value=second.value,
        label=second.label,
        judge=second.judge,
    )
