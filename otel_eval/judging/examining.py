"""Running the evaluators over one trace."""

import asyncio
import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from otel_eval.evaluators.evaluator import Evaluator, JudgeUse, NotApplicable, Scope, Subject
from otel_eval.evaluators.evaluator import Result as Scored
from otel_eval.judging.cache import VerdictCache, verdict_key
from otel_eval.judging.configured import Configured
from otel_eval.judging.llm import Failure, JudgeError
from otel_eval.judging.scores import Result, Score, State
from otel_eval.judging.verdict import InvalidVerdict, JudgeRefused
from otel_eval.sampling.ledger import Decided
from otel_eval.sampling.policies.baseline import Baseline

_ORDER: Final = (
    State.SCORED, State.CACHED, State.DEAD_LETTER, State.EXPIRED, State.BLOCKED_EVALUATOR, State.DROPPED_BUDGET,
    State.JUDGE_REFUSED, State.UNSCORED_INVALID_OUTPUT, State.TOO_LARGE, State.NO_CONTENT,
)  # fmt: skip
_NO_SPAN: Final = "0" * 16
_SPAN_ID: Final = re.compile("[0-9a-f]{16}")
_MAX_NAME: Final = 200
_MAX_TEXT: Final = 4000
_MAX_TEXTS: Final = 20
_TURN_S: Final = 0.002
"""After so long others get a turn between two evaluators."""


_Verdicts = list[tuple[bytes, tuple[Scored, ...]]]

OnError = Callable[[JudgeError], State]
"""Says what a failed call means for the evaluator, or raises when it means something for all of them."""


class Examined(NamedTuple):
    """What came out; the state is the trace's."""

    state: State
    results: Sequence[Result]
    scores: Sequence[Score]


class Examiner:
    """The configured evaluators; verdicts that were given before on the same content are not asked for again."""

    def __init__(self, evaluators: Sequence[Configured], cache: VerdictCache) -> None:
        self.evaluators = evaluators
        self._cache = cache

    def applying(self, scope: Scope, subject: Subject | None, decided: Decided, only: Collection[str] | None = None) -> list[str]:
        """The names of the evaluators that have a say; of all of that scope when the trace cannot be looked at.

        With `only` of those names.
        """
        named = [one for one in self.evaluators if only is None or one.name in only]
        return [one.name for one in named if one.applies(scope, subject, decided)]

    async def examine(
        self,
        subject: Subject,
        decided: Decided,
        scope: Scope,
        on_error: OnError,
        only: Collection[str] | None = None,
        *,
        in_batch: bool = False,
    ) -> Examined:
        """Run every evaluator of that scope that applies, or those named; what `on_error` raises goes through.

        With `in_batch`, those that may wait ask in batches: what waits is told to `on_error` when all have asked.
        """
        results: list[Result] = []
        scores: list[Score] = []
        verdicts: _Verdicts = []
        waits: JudgeError | None = None
        turn = time.monotonic()
        for configured in self.evaluators:
            wanted = configured.applies(scope, subject, decided) if only is None else configured.name in only
            if wanted:
                try:
                    result, given = await self._result(configured, subject, decided, on_error, verdicts if in_batch else None)
                except JudgeError as error:
                    waits = error
                    continue
                results.append(result)
                scores += given
                if time.monotonic() - turn > _TURN_S:
                    await asyncio.sleep(0)
                    turn = time.monotonic()
        if waits is not None:
            on_error(waits)
        for key, found in verdicts:
            await self._cache.put(key, found)
        return Examined(state_of(results), results, scores)

    async def _result(
        self,
        configured: Configured,
        subject: Subject,
        decided: Decided,
        on_error: OnError,
        verdicts: _Verdicts | None,
    ) -> tuple[Result, Sequence[Score]]:
        """What one evaluator came to; raises JudgeError when it waits for a batch."""
        name = configured.name
        try:
            return await self._score(configured, subject, decided, verdicts)
        except JudgeRefused as error:
            return Result(evaluator=name, state=State.JUDGE_REFUSED, reason=str(error)), ()
        except InvalidVerdict as error:
            return Result(evaluator=name, state=State.UNSCORED_INVALID_OUTPUT, reason=str(error)), ()
        except JudgeError as error:
            if error.failure is Failure.IN_BATCH:
                raise
            return Result(evaluator=name, state=on_error(error), reason=str(error)), ()

    async def _score(
        self,
        configured: Configured,
        subject: Subject,
        decided: Decided,
        verdicts: _Verdicts | None,
    ) -> tuple[Result, Sequence[Score]]:
        """The verdict, out of the cache or new; new ones of a job in batches are kept only when all of them are there."""
        evaluator = configured.of(baseline=decided.policy == Baseline.name, in_batch=verdicts is not None)
        key = _key(evaluator, subject)
        started = time.time_ns()
        known = _moved(await self._cache.get(key), evaluator, subject) if key is not None else None
        if known is not None:
            found, cached = known, True
        else:
            answer = await evaluator.evaluate(subject)
            if isinstance(answer, NotApplicable):
                return Result(evaluator=configured.name, state=State.NO_CONTENT, reason=_text(answer.reason, _MAX_TEXT)), ()
            found, cached = tuple(map(sound, answer)), False
            if key is not None and verdicts is not None:
                verdicts.append((key, found))
            elif key is not None:
                await self._cache.put(key, found)
        tree, ended = subject.view.tree, time.time_ns()
        root = tree.roots[0].span_id if tree.roots else _NO_SPAN
        scores = [
            Score(
                name=one.name,
                evaluator=configured.name,
                kind=evaluator.kind,
                version=evaluator.version,
                scope=evaluator.scope,
                span_id=one.span_id or root,
                value=one.value,
                label=one.label,
                passed=one.passed,
                explanation=one.explanation,
                evidence=one.evidence,
                warnings=(*one.warnings, *_turns_missing(evaluator, subject)),
                judge=one.judge,
                cached=cached,
                start_ns=started,
                end_ns=ended,
                span_name=target.name if target is not None else "",
                span_start_ns=target.start_ns if target is not None else 0,
            )
            for one, target in ((one, tree.by_id.get(one.span_id or root)) for one in found)
        ]
        return Result(evaluator=configured.name, state=State.CACHED if cached else State.SCORED), scores


def _turns_missing(evaluator: Evaluator, subject: Subject) -> tuple[str, ...]:
    """What a reader must know of a session that had turns which were forgotten before it went quiet."""
    missing = sum(not view.spans for view in subject.session) if evaluator.scope is Scope.SESSION else 0
    if not missing:
        return ()
    return (f"turns_missing: {missing} of {len(subject.session)} turns were older than traces.late_window when it went quiet",)


def state_of(results: Iterable[Result]) -> State:
    """The state of a trace for which evaluators came to these results: the best one counts."""
    return min((result.state for result in results), key=_ORDER.index, default=State.NO_CONTENT)


def sound(result: Scored) -> Scored:
    """The result as it can be written down and sent: a stranger's evaluator, or text out of a trace, may be anything."""
    return replace(
        result,
        name=_text(result.name, _MAX_NAME) or "score",
        value=_number(result.value),
        label=None if result.label is None else _text(result.label, _MAX_NAME),
        passed=_truth(result.passed),
        explanation=_text(result.explanation, _MAX_TEXT),
        span_id=result.span_id if isinstance(result.span_id, str) and _SPAN_ID.fullmatch(result.span_id) else None,
        evidence=_texts(result.evidence),
        warnings=_texts(result.warnings),
        judge=_use(result.judge),
    )


def _text(value: object, most: int) -> str:
    return str(value)[:most].encode(errors="replace").decode()


def _texts(value: object) -> tuple[str, ...]:
    given = value if isinstance(value, list | tuple) else () if value is None else (value,)
    return tuple(_text(text, _MAX_TEXT) for text in given[:_MAX_TEXTS])


def _truth(value: object) -> bool | None:
    try:
        return None if value is None else bool(value)
    except (TypeError, ValueError):  # an array, say
        return None


def _use(value: object) -> JudgeUse | None:
    try:
        use = msgspec.convert(msgspec.to_builtins(value), JudgeUse | None)
    except (TypeError, ValueError, RecursionError):
        return None
    return use and replace(use, cost_usd=_number(use.cost_usd), latency_s=_number(use.latency_s) or 0.0)


def _number(value: object) -> float | None:
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _moved(known: tuple[Scored, ...] | None, evaluator: Evaluator, subject: Subject) -> tuple[Scored, ...] | None:
    """A verdict that was given on another trace with the same content, on the spans of this one; None where that fails."""
    there = list(dict.fromkeys(one.span_id for one in known or () if one.span_id is not None))
    if known is None or not there:
        return known
    spans = getattr(evaluator, "judged_spans", None)
    here = list(dict.fromkeys(filter(_SPAN_ID.fullmatch, spans(subject) if spans is not None else ())))
    if len(here) != len(there):
        return None
    moved = dict(zip(there, here, strict=True))
    return tuple(one if one.span_id is None else replace(one, span_id=moved[one.span_id]) for one in known)


def _key(evaluator: Evaluator, subject: Subject) -> bytes | None:
    """Under which a verdict of a judge may be used again; None for evaluators by code, which cost nothing."""
    fingerprint = getattr(evaluator, "fingerprint", None)
    content = fingerprint(subject) if fingerprint is not None else None
    return verdict_key(evaluator.version, content) if content is not None else None
