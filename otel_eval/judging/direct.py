"""Judging that somebody waits for: a trace of the hop, OTLP, or plain input and output; for one critical step, or for CI.

Nothing is sampled, queued or emitted: the answer goes to whoever asked. Budget and limits hold as for everything else.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
import structlog
from msgspec import Meta, Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_eval.errors import PermanentError
from otel_eval.evaluators.evaluator import Scope, Subject
from otel_eval.judging.examining import Examiner, state_of
from otel_eval.judging.job import payload_of
from otel_eval.judging.llm import Failure, JudgeError
from otel_eval.judging.scores import Result, Score, State
from otel_eval.records import Kind
from otel_eval.sampling.ledger import Decided
from otel_eval.scrub.config import ScrubConfig
from otel_eval.scrub.scrubber import Scrubber
from otel_eval.traces.entry import Trigger
from otel_eval.traces.joining import read_traces
from otel_eval.traces.retrieval import Stored
from otel_eval.traces.view import TraceView
from otel_eval.wire import lens, otlp_json

_log = structlog.get_logger(__name__)

MAX_TEXTS: Final = 1000
_STATES: Final = {
    Failure.SPEND_LIMIT: State.DROPPED_BUDGET,
    Failure.BLOCKED: State.BLOCKED_EVALUATOR,
    Failure.TOO_LARGE: State.TOO_LARGE,
    Failure.BAD_REQUEST: State.DEAD_LETTER,
}
_HEX: Final = r"^[0-9a-fA-F]{32}$"


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """A question: one of `trace_id`, `otlp` (a traces request as OTLP/JSON), or `output` with what belongs to it.

    `expected` is the right answer, or another one to be compared with. `evaluators` are names of configured ones, all when
    it is empty; `timeout_s` is how long the whole answer may take.
    """

    trace_id: Annotated[str, Meta(pattern=_HEX)] | None = None
    otlp: dict[str, Any] | None = None
    input: str | None = None
    output: str | None = None
    context: Annotated[list[str], Meta(max_length=MAX_TEXTS)] = []
    expected: Any = None
    evaluators: Annotated[list[str], Meta(max_length=MAX_TEXTS)] = []
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30.0


class Answered(Struct, frozen=True):
    """What came out: the state of the whole, of each evaluator, and the scores."""

    trace_id: str
    state: State
    results: Sequence[Result]
    scores: Sequence[Score]


class Direct:
    """`find` gives the trace with that id out of the hop, None when it is not there."""

    def __init__(self, examiner: Examiner, scrub: ScrubConfig, find: Callable[[bytes], Awaitable[Stored | None]]) -> None:
        self._examiner = examiner
        self._scrub = scrub
        self._find = find

    async def answer(self, body: bytes) -> bytes:
        """Answer a question in JSON. Raises PermanentError for one that cannot be answered."""
        try:
            asked = msgspec.json.decode(body, type=Asked)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PermanentError(f"expected JSON with trace_id, otlp or output: {str(error)[:200]}") from None
        stored = None
        if asked.trace_id is not None:
            stored = await self._find(bytes.fromhex(asked.trace_id))
        views = await asyncio.to_thread(self._views, asked, stored)
        until = time.monotonic() + asked.timeout_s
        answers = [await self.judge(view, asked.expected, asked.evaluators, max(0.0, until - time.monotonic())) for view in views]
        return msgspec.json.encode(answers[0] if len(answers) == 1 else answers)

    async def judge(self, view: TraceView, expected: Any, names: Sequence[str], timeout_s: float) -> Answered:
        """Judge one trace by these evaluators (none: all that apply), scrubbed, as is what is `expected` of it.

        Raises PermanentError for an unknown name.
        """
        known = [one.name for one in self._examiner.evaluators]
        if unknown := [name for name in names if name not in known]:
            raise PermanentError(f"evaluators: {unknown[0]!r:.100} is not configured (configured: {', '.join(known)})")
        view, expected = await asyncio.to_thread(self._scrubbed, view, expected)
        subject = Subject(view=view, session=(view,), expected=expected)
        decided = _asked_for(view)
        chosen = dict.fromkeys(names) or [
            one.name for one in self._examiner.evaluators if one.applies(Scope.TRACE, subject, decided)
        ]
        tasks = {
            name: asyncio.create_task(self._examiner.examine(subject, decided, Scope.TRACE, _state_of, {name})) for name in chosen
        }
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=timeout_s)
        finally:  # also when the hop stops
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        results: list[Result] = []
        scores: list[Score] = []
        for name, task in tasks.items():
            if task.cancelled():
                results.append(Result(evaluator=name, state=State.EXPIRED, reason=f"no answer within {timeout_s:.3g} s"))
            elif (error := task.exception()) is not None:  # evaluators may be strangers' code
                _log.error("an evaluator failed unexpectedly", evaluator=name, exc_info=error)
                reason = f"{type(error).__name__} in an evaluator"
                results.append(Result(evaluator=name, state=State.DEAD_LETTER, reason=reason))
            else:
                results += task.result().results
                scores += task.result().scores
        return Answered(view.trace_id, state_of(results), results, scores)

    def _views(self, asked: Asked, stored: Stored | None) -> list[TraceView]:
        given = [name for name in ("trace_id", "otlp", "output") if getattr(asked, name) is not None]
        if len(given) != 1:
            raise PermanentError("expected exactly one of trace_id, otlp and output")
        if asked.trace_id is not None:
            if stored is None:
                raise PermanentError(f"trace_id: {asked.trace_id} is not here: it has not come, or its late window has ended")
            return [TraceView(stored.spans, stored.logs)]
        if asked.otlp is not None:
            request = otlp_json.to_protobuf(Kind.TRACES, msgspec.json.encode(asked.otlp))
        else:
            request = _request(asked.input or "", asked.output or "", asked.context)
        views = read_traces(lens.groups(request))
        if not views:
            raise PermanentError("otlp: there is no trace in it")
        return views

    def _scrubbed(self, view: TraceView, expected: Any) -> tuple[TraceView, Any]:
        scrubber = Scrubber(self._scrub)
        return payload_of(Stored(*view.groups, whole=True), scrubber).view(), scrubber.value(expected)


def _state_of(error: JudgeError) -> State:
    """Nobody tries again: what could be tried again has expired."""
    return _STATES.get(error.failure, State.EXPIRED)


def _asked_for(view: TraceView) -> Decided:
    """Judged because somebody asked, so with probability 1."""
    return Decided(
        trace_id=bytes.fromhex(view.trace_id) if view.trace_id else b"",
        time_ns=view.end_ns,
        revision=0,
        trigger=Trigger.ROOT,
        pi=1.0,
        own_pi=1.0,
        wanted=1.0,
        r=0,
        r_source="asked",
        chosen=True,
        policy="asked",
        rates={"asked": 1.0},
        service=view.service_name or "",
        spans=view.span_count,
    )


def _request(asked: str, answered: str, context: Sequence[str]) -> bytes:
    """A trace of one model call, in GenAI attributes."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    call = spans.add(name="chat", trace_id=bytes(15) + b"\1", span_id=bytes(7) + b"\1", kind=Span.SPAN_KIND_CLIENT)
    call.start_time_unix_nano, call.end_time_unix_nano = 1, 2
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": asked}]}]),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": answered}]}]),
    }
    if context:
        found = spans.add(name="retrieval", trace_id=call.trace_id, span_id=bytes(7) + b"\2", parent_span_id=call.span_id)
        found.start_time_unix_nano, found.end_time_unix_nano = 1, 2
        documents = json.dumps([{"id": str(number), "content": text} for number, text in enumerate(context, 1)])
        found.attributes.add(key="gen_ai.operation.name").value.string_value = "retrieval"
        found.attributes.add(key="gen_ai.retrieval.documents").value.string_value = documents
    for key, text in said.items():
        call.attributes.add(key=key).value.string_value = text
    return request.SerializeToString()
