"""Scores as any OTLP backend takes them: an evaluation span below the target, and an event `gen_ai.evaluation.result`.

A root that was held back takes the scores of its trace along, as attributes and span events, in place of the evaluation
spans; scores of other spans stand below these as ever.

The span has a deterministic id, one link to its target, and the target's resource; OpenInference and Langfuse find their
own kinds on it. What the judge took stands under `otel_eval.judge.*`, never under `gen_ai.usage.*`, where backends would
add it to the user's cost. The event has the shape that pydantic-evals gives it, on the ids of the target.

The names are those of semantic-conventions-genai (status: development), and ours under `otel_eval.`.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from otel_eval import __version__
from otel_eval.evaluators.evaluator import Scope
from otel_eval.judging.scores import Judgement, Score
from otel_eval.wire import edit
from otel_eval.wire.check import OWN_SCOPE

EVENT: Final = "gen_ai.evaluation.result"
_PREFIX: Final = {Scope.SPAN: "", Scope.TRACE: "trace.", Scope.SESSION: "session."}
_MAX_EVIDENCE: Final = 10


def spans(judgement: Judgement, besides: Collection[int] = ()) -> bytes:
    """An OTLP traces request with an evaluation span for each score, but for those at some places; empty without any."""
    given = enumerate(zip(judgement.scores, span_ids(judgement), strict=True))
    wanted = [one for at, one in given if at not in besides]
    if not wanted:
        return b""
    group = ResourceSpans.FromString(judgement.resource)
    scope = group.scope_spans.add()
    scope.scope.name, scope.scope.version = OWN_SCOPE.decode(), __version__
    of_all = Span()
    _put(of_all.attributes, _of_all(judgement))
    for score, own_id in wanted:
        span = scope.spans.add()
        _span(span, judgement, score, own_id)
        span.MergeFrom(of_all)
    return ExportTraceServiceRequest(resource_spans=[group]).SerializeToString()


def events(judgement: Judgement) -> bytes:
    """An OTLP logs request with an event for each score; empty without scores."""
    if not judgement.scores:
        return b""
    group = ResourceLogs.FromString(judgement.resource)
    scope = group.scope_logs.add()
    scope.scope.name, scope.scope.version = OWN_SCOPE.decode(), __version__
    of_all = LogRecord()
    _put(of_all.attributes, _of_all(judgement))
    for score in judgement.scores:
        record = scope.log_records.add()
        _event(record, judgement, score)
        record.MergeFrom(of_all)
    return ExportLogsServiceRequest(resource_logs=[group]).SerializeToString()


def carriers(judgement: Judgement, roots: Sequence[bytes]) -> list[bytes | None]:
    """Which of the roots that were held takes each score along: its target, or for one of the trace the last that came."""
    last = roots[-1] if roots else None
    ids = {root.hex(): root for root in roots}
    return [ids.get(score.span_id, last if score.scope is Scope.TRACE else None) for score in judgement.scores]


def scored(span: bytes, scores: Iterable[Score]) -> bytes:
    """The encoded span with scores behind its own attributes and events; of two with one name the first is an attribute."""
    values: dict[str, float | str] = {}
    given = list(scores)
    for score in given:
        if score.value is not None:
            values.setdefault(f"otel_eval.score.{score.name}", float(score.value))
        if score.label:
            values.setdefault(f"otel_eval.label.{score.name}", score.label)
    span = edit.append_attributes(span, values)
    for score in given:
        said = {name: value for name, value in _result(score).items() if value not in (None, "")}
        span = edit.append_event(span, EVENT, score.end_ns, said)
    return span


def span_ids(judgement: Judgement) -> list[bytes]:
    """The ids of the evaluation spans: the same whenever the same scores are emitted, and each another one."""
    found: list[bytes] = []
    times: Counter[tuple[str, ...]] = Counter()
    for score in judgement.scores:
        identity = (judgement.trace_id, score.span_id, score.scope, score.name, score.version, str(judgement.revision))
        again = (str(times[identity]),) if times[identity] else ()
        times[identity] += 1
        found.append(hashlib.sha256("\0".join((*identity, *again)).encode(errors="replace")).digest()[:8])
    return found


def _span(span: Span, judgement: Judgement, score: Score, own_id: bytes) -> None:
    target = bytes.fromhex(score.span_id)
    span.name, span.kind = f"evaluation {score.name}", Span.SPAN_KIND_INTERNAL
    span.trace_id, span.span_id, span.parent_span_id = bytes.fromhex(judgement.trace_id), own_id, target
    span.start_time_unix_nano, span.end_time_unix_nano = score.start_ns, score.end_ns
    span.status.code = Status.STATUS_CODE_UNSET
    span.links.add(trace_id=span.trace_id, span_id=target)
    result = _result(score)
    prefix = f"{_PREFIX[score.scope]}evaluations.0.evaluation."
    _put(
        span.attributes,
        {
            "gen_ai.operation.name": "evaluation",
            "openinference.span.kind": "EVALUATOR",
            "langfuse.observation.type": "evaluator",
            **result,
            f"{prefix}name": score.name,
            f"{prefix}score": score.value,
            f"{prefix}label": score.label,
            f"{prefix}explanation": score.explanation,
            f"{prefix}annotator_kind": score.kind.upper(),
            f"{prefix}identifier": score.version[:16],
            "session.id": judgement.session_id,
            "gen_ai.conversation.id": judgement.session_id,
            **_own(score),
        },
    )
    _put(span.events.add(name=EVENT, time_unix_nano=score.end_ns).attributes, result)


def _event(record: LogRecord, judgement: Judgement, score: Score) -> None:
    shown = score.label if score.value is None else f"{score.value:g}"
    record.event_name = EVENT
    record.body.string_value = f"evaluation: {score.name}={shown}"
    record.trace_id, record.span_id = bytes.fromhex(judgement.trace_id), bytes.fromhex(score.span_id)
    record.time_unix_nano = record.observed_time_unix_nano = score.end_ns
    record.flags = 1
    _put(record.attributes, {**_result(score), **_own(score)})


def _result(score: Score) -> dict[str, Any]:
    return {
        "gen_ai.evaluation.name": score.name,
        "gen_ai.evaluation.score.value": score.value,
        "gen_ai.evaluation.score.label": score.label,
        "gen_ai.evaluation.explanation": score.explanation,
    }


def _of_all(judgement: Judgement) -> dict[str, Any]:
    """What a reader needs to weigh any score of the trace, under our own names."""
    return {
        "otel_eval.sampling.probability": judgement.pi,
        "otel_eval.sampling.policy": judgement.policy,
        "otel_eval.sampling.reason": judgement.reasons,
        "otel_eval.sampling.r": f"{judgement.r:014x}",
        "otel_eval.sampling.stratum": judgement.stratum,
        "otel_eval.signals": judgement.signals,
        "otel_eval.revision": judgement.revision,
    }


def _own(score: Score) -> dict[str, Any]:
    """What a reader needs to weigh this score, under our own names."""
    use = score.judge
    judge: dict[str, Any] = {}
    if use is not None:
        judge = {
            "otel_eval.judge.model": use.model,
            "otel_eval.judge.response_model": use.answered_by,
            "otel_eval.simulated": use.simulated or None,
        }
    if use is not None and not score.cached:  # what was paid before is not paid again
        judge |= {
            "otel_eval.judge.usage.input_tokens": use.input_tokens,
            "otel_eval.judge.usage.output_tokens": use.output_tokens,
            "otel_eval.judge.usage.cache_read_tokens": use.cache_read_tokens,
            "otel_eval.judge.cost_usd": use.cost_usd,
            "otel_eval.judge.price_date": use.price_date,
            "otel_eval.judge.latency_s": use.latency_s,
            "otel_eval.judge.request_id": use.request_id,
        }
    return {
        "otel_eval.target.scope": str(score.scope),
        "otel_eval.evaluator.name": score.evaluator,
        "otel_eval.evaluator.kind": score.kind,
        "otel_eval.evaluator.version": score.version,
        "otel_eval.passed": score.passed,
        "otel_eval.evidence": score.evidence[:_MAX_EVIDENCE],
        "otel_eval.warnings": score.warnings,
        "otel_eval.cached": score.cached or None,
        **judge,
    }


def _put(target: Any, attributes: Mapping[str, Any]) -> None:
    """Add the attributes that say something. To fill what is there takes half the time of making messages to be copied."""
    for name, value in attributes.items():
        if value is not None and value not in ("", ()):
            _fill(target.add(key=name).value, value)


def _fill(target: AnyValue, value: Any) -> None:
    if isinstance(value, str):
        target.string_value = value if value.isascii() else value.encode(errors="replace").decode()
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        target.int_value = value
    elif isinstance(value, int | float):
        target.double_value = value
    else:
        target.array_value.SetInParent()  # also when it is empty
        for item in value:
            if item != "":
                _fill(target.array_value.values.add(), item)
