"""What a job of the queue carries: a chosen trace, scrubbed, and the decision that chose it."""

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from otel_eval.evaluators.evaluator import Scope, Subject
from otel_eval.judging.freshness import NOW
from otel_eval.judging.queue import Job, Priority
from otel_eval.records import Kind
from otel_eval.sampling.ledger import Decided
from otel_eval.scrub.config import ScrubConfig
from otel_eval.scrub.request import scrub_request
from otel_eval.scrub.scrubber import Scrubber
from otel_eval.traces.retrieval import Stored
from otel_eval.traces.view import TraceView
from otel_eval.wire import edit, lens

_LEVEL: Final = 1


class Payload(Struct, frozen=True):
    """The spans and log records of one trace, as two OTLP request bodies."""

    spans: bytes
    logs: bytes

    def view(self) -> TraceView:
        """The trace, to be read."""
        return TraceView(list(lens.groups(self.spans)), list(lens.groups(self.logs)))


class Work(Struct, frozen=True, kw_only=True):
    """A job's content. For the scope session, `earlier` are the traces of the session before this one.

    `evaluators` are the names of those that it is for, None for all: those that may wait have jobs of their own.
    """

    decided: Decided
    scope: Scope
    payload: Payload
    earlier: tuple[Payload, ...] = ()
    evaluators: tuple[str, ...] | None = None

    def subject(self) -> Subject:
        """What evaluators are given."""
        view = self.payload.view()
        session = [*(payload.view() for payload in self.earlier), view] if self.scope is Scope.SESSION else ()
        return Subject(view=view, session=session)


_decoder = msgspec.msgpack.Decoder(Work)


def payload_of(stored: Stored, scrubber: Scrubber) -> Payload:
    """A trace out of the journal, scrubbed."""
    spans, logs = edit.assemble(stored.spans), edit.assemble(stored.logs)
    return Payload(scrub_request(Kind.TRACES, spans, scrubber), scrub_request(Kind.LOGS, logs, scrubber))


def make(decided: Decided, traces: Sequence[Stored], scope: Scope, scrub: ScrubConfig, now_ns: int, deadline_ns: int) -> Job:
    """The job for a decision: the last of `traces` is judged. Takes milliseconds; may run in a thread."""
    return job_of(work_of(decided, traces, scope, scrub), now_ns, deadline_ns)


def work_of(decided: Decided, traces: Sequence[Stored], scope: Scope, scrub: ScrubConfig) -> Work:
    """What is to be judged for a decision, scrubbed."""
    scrubber = Scrubber(scrub)
    *earlier, payload = (payload_of(stored, scrubber) for stored in traces)
    return Work(decided=decided, scope=scope, payload=payload, earlier=tuple(earlier))


def job_of(work: Work, now_ns: int, deadline_ns: int, freshness: str = NOW) -> Job:
    """The job that carries this work, for evaluators that are wanted so soon."""
    decided = work.decided
    baseline = decided.policy == "baseline"
    return Job(
        id=job_id(decided, work.scope, freshness),
        priority=Priority.BASELINE if baseline else Priority.TRIGGERED,
        body=zlib.compress(msgspec.msgpack.encode(work), _LEVEL),
        trace_id=decided.trace_id.hex(),
        created_ns=now_ns,
        due_ns=now_ns,
        expires_at_ns=now_ns + deadline_ns,
    )


def job_id(decided: Decided, scope: Scope, freshness: str = NOW) -> str:
    """The same for the same decision, whenever it is made again."""
    own = "" if freshness == NOW else f":{freshness}"
    return f"{decided.trace_id.hex()}:{scope}:{decided.revision}{own}"


def may_wait(job: Job) -> bool:
    """Whether it is for evaluators that may wait."""
    return job.id.count(":") > 2


def read(job: Job) -> Work:
    """The job's content. Raises ValueError when it is not one."""
    try:
        return _decoder.decode(zlib.decompress(job.body))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"not a job: {error}") from None
