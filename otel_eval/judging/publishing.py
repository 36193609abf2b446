"""Writing down what came of a job, once, and sending the scores on their way."""

import time
from collections.abc import Collection, Sequence
from typing import Final

from msgspec.structs import replace

from otel_eval.evaluators.evaluator import Scope
from otel_eval.holding import HeldSpans
from otel_eval.journal import Journal
from otel_eval.judging import emit, scores
from otel_eval.judging.queue import Claim, Job
from otel_eval.judging.scores import Judgement, Result, Score, State
from otel_eval.records import Kind, OwnKind
from otel_eval.sampling.facts import Facts
from otel_eval.sampling.ledger import Decided
from otel_eval.telemetry import Metrics
from otel_eval.traces.view import TraceView

_READ_BYTES: Final = 1 << 20
_LOOK_BACK_BYTES: Final = 64 << 20
"""A job that was written down and not acknowledged before a crash is among the last ones: so far back is looked for it."""

_KEEP_SHARE: Final = 20
_NOWHERE: Final = -1


def judgement_of(
    claim: Claim,
    decided: Decided | None,
    state: State,
    *,
    reason: str = "",
    results: Sequence[Result] = (),
    scores: Sequence[Score] = (),
    view: TraceView | None = None,
) -> Judgement:
    """The record of a job; `decided` is None when the job could not be read, `view` when the trace was not looked at."""
    job = claim.job
    made = Judgement(
        job=job.id,
        trace_id=job.trace_id,
        revision=0,
        state=state,
        reason=reason,
        time_ns=time.time_ns(),
        expires_at_ns=job.expires_at_ns,
        results=tuple(results),
        scores=tuple(scores),
        tries=claim.tries,
    )
    return _with_origin(made, decided, view)


def not_queued(decided: Decided, job_id: str, state: State, reason: str) -> Judgement:
    """The record of a chosen trace that no job could be made of."""
    now = time.time_ns()
    made = Judgement(job=job_id, trace_id=decided.trace_id.hex(), revision=0, state=state, reason=reason, time_ns=now, tries=0)
    return _with_origin(made, decided, None)


def _with_origin(made: Judgement, decided: Decided | None, view: TraceView | None) -> Judgement:
    if decided is None:
        return replace(made, pi=0.0)
    facts = Facts(view or TraceView(()), {})  # for sessions, and what was asked for: nobody has counted those
    return replace(
        made,
        revision=decided.revision,
        pi=decided.pi,
        r=decided.r,
        policy=decided.policy,
        reasons=tuple(decided.rates),
        signals=tuple(decided.signals),
        stratum=decided.stratum,
        service=decided.service or (facts.view.service_name or "")[:100],
        service_version=decided.service_version or facts.attribute("service.version"),
        model=decided.model or facts.model,
        prompt_version=decided.prompt_version or facts.prompt_version,
        session_id=facts.view.session_id or "",
        resource=facts.view.resource,
        minute=decided.minute,
        signal_class=decided.signal_class,
    )


class Publisher:
    """Appends records to the log `evaluations` of the journal, and what is made of them to `traces` and `logs`.

    What a job has come to is written down once, however often it is published before it is off the queue: the first
    record counts. A dead letter that somebody lets wait again (with another deadline) gets another record. The record says
    where `traces` and `logs` ended before it: there the scores are looked for when the job comes again after a crash, so that
    they are not emitted twice.

    A root that is held back goes on with the scores of its trace; these have no evaluation spans then, but all else.
    """

    def __init__(self, journal: Journal, metrics: Metrics, held: HeldSpans | None = None) -> None:
        self._journal = journal
        self._metrics = metrics
        self._held = held
        self._log = journal.logs[OwnKind.EVALUATIONS]
        keep = journal.budget.limit // _KEEP_SHARE
        self._log.holders.append(lambda: max(0, self._log.end - keep))
        self._written = self._read_back()

    def found(self, job: Job) -> Judgement | None:
        """What is written down of a job that has not left the queue for it."""
        deadline_ns, position = self._written.get(job.id, (None, 0))
        if deadline_ns != job.expires_at_ns:
            return None
        return self._read(position)

    async def publish(self, judgement: Judgement) -> Judgement:
        """Write it down, unless that was done before, and emit the scores of what is written down, which is returned.

        Raises RetryableError while the journal has no room; then it is to be called again.
        """
        deadline_ns, position = self._written.get(judgement.job, (None, 0))
        again = deadline_ns == judgement.expires_at_ns
        written = self._read(position) if again else self._write(judgement)
        judgement = written or judgement
        gone = self._release(judgement)
        if len(gone) < len(judgement.scores):
            body = emit.spans(judgement, gone)
            self._emit(Kind.TRACES, body, len(judgement.scores) - len(gone), judgement.spans_at if again else _NOWHERE)
        if judgement.scores:
            events = emit.events(judgement)
            self._emit(Kind.LOGS, events, len(judgement.scores), judgement.events_at if again else _NOWHERE)
        await self._journal.durable()
        return judgement

    def _write(self, judgement: Judgement) -> Judgement | None:
        """Write it down; gives it with numbers and texts as they are read back."""
        logs = self._journal.logs
        body = scores.encode(replace(judgement, spans_at=logs[Kind.TRACES].end, events_at=logs[Kind.LOGS].end))
        record = self._journal.append(OwnKind.EVALUATIONS, body, max(1, len(judgement.scores)))
        self._written[judgement.job] = (judgement.expires_at_ns, record.position)
        self._count(judgement)
        return scores.decode(body)

    def _read(self, position: int) -> Judgement | None:
        records = self._log.read(position, 1).records
        return scores.decode(records[0].body) if records else None

    def _emit(self, kind: Kind, body: bytes, items: int, maybe_at: int) -> None:
        """Append it, unless it stands already at or closely behind the place where it was to stand."""
        log = self._journal.logs[kind]
        is_inside = log.start <= maybe_at < log.end  # a power failure may have cut the log
        there = log.read(maybe_at, _READ_BYTES).records if is_inside else ()
        if all(record.body != body for record in there):
            self._journal.append(kind, body, items)

    def forget(self, job: str) -> None:
        """The job has left the queue."""
        self._written.pop(job, None)

    def _release(self, judgement: Judgement) -> Collection[int]:
        """Let the roots of the trace go on that wait for this; gives the places of the scores that went with them."""
        trace_id = bytes.fromhex(judgement.trace_id)
        roots = self._held.roots(trace_id) if self._held is not None else ()
        if self._held is None or not roots or f":{Scope.SESSION}:" in judgement.job:
            return ()
        carriers = emit.carriers(judgement, roots)

        def change(span_id: bytes, raw: bytes) -> bytes:
            mine = (score for score, carrier in zip(judgement.scores, carriers, strict=True) if carrier == span_id)
            return emit.scored(raw, mine)

        gone = self._held.release(trace_id, "scored" if judgement.scores else "unscored", change)
        return {at for at, carrier in enumerate(carriers) if carrier in gone}

    def _count(self, judgement: Judgement) -> None:
        self._metrics.counter("judging_traces", state=judgement.state).add()
        for result in judgement.results:
            self._metrics.counter("judging_results", evaluator=result.evaluator, state=result.state).add()
        for score in judgement.scores:
            use = score.judge
            if use is not None and not score.cached:
                cost = round((use.cost_usd or 0.0) * 1e6)
                self._metrics.counter("judging_cost_microdollars", evaluator=score.evaluator, model=use.model).add(cost)

    def _read_back(self) -> dict[str, tuple[int, int]]:
        """The deadlines of the jobs whose records are the last ones, and where these stand."""
        position = self._log.record_before(self._log.end - _LOOK_BACK_BYTES)
        found = {}
        while (chunk := self._log.read(position, _READ_BYTES)).end > position:
            position = chunk.end
            for record in chunk.records:
                judgement = scores.decode(record.body)
                if judgement is not None:
                    found[judgement.job] = (judgement.expires_at_ns, record.position)
        return found
