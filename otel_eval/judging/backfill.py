"""Judging history: recorded traces through the sampler and the evaluators, without a hop.

`planning` decides about the traces, as the configured policies do, and makes a job of each chosen one, scrubbed; `estimate`
says what judging them may cost; `Backfill` judges them and sends on what comes of it.

What holds
- At least once. Ids of evaluation spans are those that a hop gives to the first decision about a trace: whoever backfills
  twice, or what a hop has judged already, sends the same spans again, and a backend that knows the ids of messages takes
  them once. Verdicts are kept, and are not paid for twice. The record of a judgement goes last, and only when everybody
  has taken the scores: what has a record is done.
- The budget is the hop's, which may run beside it. The share that is kept for the baseline is not touched, whatever policy
  has chosen a trace: history must not use it up.
- Every chosen trace ends in one state. A judge that is rate limited or not available is asked again after the wait that it
  asks for; a trace that fails `MAX_TRIES` times, or would have to wait too long, is a dead letter and has no scores.

Limits
- Traces are judged, not sessions. Nothing is written to the journal: estimates that a hop makes from it know nothing of it.
- All traces of files are in memory while they are decided; the chosen ones, compressed, wait in a file.
"""

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any, Final

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from otel_eval.config.models import Config
from otel_eval.evaluators.evaluator import JudgeUse, Scope
from otel_eval.judging import configured, emit, prompt, scores
from otel_eval.judging import job as jobs
from otel_eval.judging.earlier_answers import EarlierAnswers
from otel_eval.judging.examining import Examiner
from otel_eval.judging.llm import Answer, Ask, Failure, JudgeError
from otel_eval.judging.prices import InputEstimate, PriceTable, Tokens
from otel_eval.judging.publishing import judgement_of
from otel_eval.judging.queue import Claim, Job
from otel_eval.judging.scores import Judgement, Result, State
from otel_eval.judging.verdict import InvalidVerdict
from otel_eval.records import Kind, OwnKind

_log = structlog.get_logger(__name__)

MAX_TRIES: Final = 5
_BACKOFF_S: Final = 1.0
_LONGEST_WAIT_S: Final = 600.0
_USUAL_ANSWER: Final = 3
"""An answer usually has a third of the tokens that it may have."""

_POLICY: Final = "backfill"
_PASSING: Final = frozenset(
    {
        Failure.RATE_LIMITED,
        Failure.RAMP_LIMITED,
        Failure.OVERLOADED,
        Failure.SERVER_ERROR,
        Failure.TIMEOUT,
        Failure.CONNECTION,
    }
)
_NO_FAILURE: Final = (State.SCORED, State.CACHED, State.NO_CONTENT)
_OF_ONE_EVALUATOR: Final = {
    Failure.SPEND_LIMIT: State.DROPPED_BUDGET,
    Failure.BLOCKED: State.BLOCKED_EVALUATOR,
    Failure.TOO_LARGE: State.TOO_LARGE,
}

Send = Callable[[Kind | OwnKind, bytes, str], Awaitable[Collection[str]]]
"""Sends a request to everybody who takes that kind; returns why some have not taken it.

The text tells it from other requests, and is the same whenever it is made again.
"""


class Estimate(Struct):
    """What judging may cost in USD, by the prices that are known; `unpriced` are the models without one.

    Expected: each question is asked once, and the answer has a third of its greatest length. Worst: every answer has all of
    it, needs a repair, and is asked for anew, and prompts have as many tokens as can be. Nothing is read from a cache.
    `left_out` are the evaluators of whole sessions.
    """

    questions: int = 0
    most_questions: int = 0
    input_tokens: int = 0
    expected_usd: float = 0.0
    worst_usd: float = 0.0
    unpriced: set[str] = field(default_factory=set)
    left_out: Sequence[str] = ()


async def estimate(config: Config, source: str, made: Sequence[Job], *, has_key: bool) -> Estimate:
    """What judging these jobs may cost; nothing is asked. Raises ConfigError for evaluators that cannot work."""
    judge = _Estimating()
    evaluators = configured.build(config, source, lambda _: judge, has_key=has_key)
    judge.found.left_out = [one.name for one in evaluators if one.scope is Scope.SESSION]
    judged = [one for one in evaluators if one.kind == "llm"]
    for job in made if judged and has_key else ():
        work = jobs.read(job)
        subject = work.subject()
        judge.times.clear()
        for one in judged:
            if one.applies(work.scope, subject, work.decided):
                try:
                    await one.of(baseline=False).evaluate(subject)
                except InvalidVerdict as error:
                    _log.debug("an evaluator has no use for a made-up answer", evaluator=one.name, reason=str(error))
    return judge.found


class _Estimating:
    """A judge that adds up what asking would cost, and answers so that all is asked that can be asked of one trace.

    The first answer is none, the repaired one proves nothing, so that the judge is asked anew, and so on.
    """

    def __init__(self) -> None:
        self.found = Estimate()
        self.times: Counter[tuple[str, str, str]] = Counter()
        self._prices = PriceTable.load()
        self._tokens = InputEstimate()

    async def ask(self, ask: Ask) -> Answer:
        """See Judge."""
        place = (ask.model, ask.instructions, ask.material)
        self.times[place] += 1
        self._add(ask, first=self.times[place] == 1)
        text = json.dumps(_fitting(ask.schema)) if self.times[place] == 2 else ""
        return Answer(text=text, stop_reason="end_turn", use=JudgeUse(model=ask.model))

    def _add(self, ask: Ask, *, first: bool) -> None:
        texts = (ask.instructions, ask.material, ask.question, json.dumps(ask.schema))
        worst = self._prices.worst_case(ask, sum(map(prompt.tokens, texts)))
        if worst is None:
            self.found.unpriced.add(ask.model)
        self.found.most_questions += 1
        self.found.worst_usd += worst or 0.0
        if first:
            tokens = Tokens(input=self._tokens.tokens(ask), output=ask.max_tokens // _USUAL_ANSWER)
            self.found.questions += 1
            self.found.input_tokens += tokens.input
            self.found.expected_usd += self._prices.cost(ask.model, tokens).usd or 0.0


def _fitting(schema: dict[str, Any]) -> Any:
    """The least that fits a verdict's schema."""
    if schema["type"] == "object":
        return {name: _fitting(inner) for name, inner in schema["properties"].items()}
    least: dict[str, Any] = {"array": [], "boolean": False, "string": ""}
    return schema["enum"][0] if "enum" in schema else least[schema["type"]]


class Tally(Struct):
    """What has come of the traces so far, by state, and of the evaluators that failed to score them, by name and state.

    `reasons` are the first ones for those. `usd` is what new verdicts have cost, as far as it is known. `unsent` are the
    reasons for requests that were not taken.
    """

    states: Counter[State] = field(default_factory=Counter)
    failed: Counter[tuple[str, State]] = field(default_factory=Counter)
    reasons: dict[tuple[str, State], str] = field(default_factory=dict)
    scores: int = 0
    usd: float = 0.0
    unsent: Counter[str] = field(default_factory=Counter)

    def add(self, judgement: Judgement) -> None:
        """Count a trace."""
        self.states[judgement.state] += 1
        self.scores += len(judgement.scores)
        for result in judgement.results:
            if result.state not in _NO_FAILURE:
                self.failed[result.evaluator, result.state] += 1
                self.reasons.setdefault((result.evaluator, result.state), result.reason)
        self.usd += sum(score.judge.cost_usd or 0.0 for score in judgement.scores if score.judge and not score.cached)


class _Again(Exception):
    """The trace is to be tried again after `delay_s`."""

    def __init__(self, delay_s: float) -> None:
        super().__init__()
        self.delay_s = delay_s


class _Hopeless(Exception):
    """The trace cannot be judged."""


class Backfill:
    """Judges jobs and sends the scores; of each trace that is done `tally` and `advance` are told."""

    def __init__(self, examiner: Examiner, send: Send, tally: Tally, advance: Callable[[], object]) -> None:
        self._examiner = examiner
        self._send = send
        self._tally = tally
        self._advance = advance
        self._earlier_answers = EarlierAnswers()

    async def run(self, made: Sequence[Job], concurrency: int) -> None:
        """Judge them, so many at once. When it is cancelled, what is under way is given up."""
        waiting = iter(made)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(made))):
                group.create_task(self._work(waiting))

    async def _work(self, waiting: Iterator[Job]) -> None:
        for job in waiting:
            judgement = await self._judgement(job)
            await self._publish(judgement)
            self._tally.add(judgement)
            self._advance()

    async def _publish(self, judgement: Judgement) -> None:
        unsent: list[str] = []
        if judgement.scores:
            identity = hashlib.sha256(b"".join([judgement.job.encode(), *emit.span_ids(judgement)])).hexdigest()
            unsent += await self._send(Kind.TRACES, emit.spans(judgement), identity)
            unsent += await self._send(Kind.LOGS, emit.events(judgement), identity)
        if not unsent:
            record = scores.encode(judgement)
            unsent += await self._send(OwnKind.EVALUATIONS, record, hashlib.sha256(record).hexdigest())
        self._tally.unsent.update(unsent)

    async def _judgement(self, job: Job) -> Judgement:
        work = jobs.read(job)
        claim = Claim(job, 1, token="")
        while True:
            try:
                with self._earlier_answers.of(job.id):
                    return await self._judge(claim, work)
            except _Again as again:
                await asyncio.sleep(again.delay_s)
                claim = replace(claim, tries=claim.tries + 1)
            except _Hopeless as error:
                return self._dead_letter(claim, work, str(error))
            except Exception as error:  # noqa: BLE001 - a defect in one trace must not stop the others
                _log.error("an evaluator failed unexpectedly", trace_id=job.trace_id, exc_info=error)
                return self._dead_letter(claim, work, f"{type(error).__name__} in an evaluator")

    def _dead_letter(self, claim: Claim, work: jobs.Work, reason: str) -> Judgement:
        names = self._examiner.applying(work.scope, None, work.decided)
        results = [Result(evaluator=name, state=State.DEAD_LETTER, reason=reason) for name in names]
        return judgement_of(claim, work.decided, State.DEAD_LETTER, reason=reason, results=results)

    async def _judge(self, claim: Claim, work: jobs.Work) -> Judgement:
        subject = await asyncio.to_thread(work.subject)
        booked = replace(work.decided, policy=_POLICY)
        examined = await self._examiner.examine(subject, booked, work.scope, lambda error: _state_of(error, claim.tries))
        results, given = examined.results, examined.scores
        return judgement_of(claim, work.decided, examined.state, results=results, scores=given, view=subject.view)


def _state_of(error: JudgeError, tries: int) -> State:
    """What a failed call means for the evaluator; raises _Again or _Hopeless when it means something for the trace."""
    if error.failure in _OF_ONE_EVALUATOR:
        return _OF_ONE_EVALUATOR[error.failure]
    if error.failure not in _PASSING:
        raise _Hopeless(str(error))
    wait_s = error.retry_after_s or _BACKOFF_S * 2.0**tries * random.uniform(0.5, 1.0)  # noqa: S311 - only spreads
    if tries >= MAX_TRIES:
        raise _Hopeless(f"{tries} tries failed: {error}")
    if wait_s > _LONGEST_WAIT_S:
        raise _Hopeless(f"there is no judge for {wait_s:.0f} s: {error}")
    raise _Again(wait_s)
