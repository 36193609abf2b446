"""What several traces say about one thing: model calls reported in two traces, feedback on a trace of its own."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from otel_eval.errors import PermanentError
from otel_eval.traces.records import Feedback, ModelCall
from otel_eval.traces.view import SESSION_KEYS, TraceView
from otel_eval.wire import lens

_MAX_NEAR: Final = 100
"""So many calls that started last before a shadow are looked at."""


def read_traces(spans: Iterable[lens.Group], logs: Iterable[lens.Group] = ()) -> list[TraceView]:
    """The traces in these groups in order of start, joined.

    Log records of a trace without spans are a trace when they tell of an agent; those without a trace id belong to
    the trace of their session. Other log records are left out.
    """
    logs = list(logs)
    span_items = _grouped(spans, lambda raw: lens.span(raw).trace_id)
    log_items = _grouped(logs, lambda raw: lens.log_record(raw).trace_id)
    sessions = _grouped(log_items.pop(b"", ()), _session)
    sessions.pop(b"", None)
    views = [TraceView(groups, log_items.pop(trace_id, ())) for trace_id, groups in span_items.items()]
    views += [TraceView((), groups) for groups in (*log_items.values(), *sessions.values())]
    views = sorted((view for view in views if view.spans), key=lambda view: (view.start_ns, view.trace_id))
    join([view for view in views if view.trace_id])
    return views


def _session(raw: bytes) -> bytes:
    """A log record's session id, encoded as it is; empty when it has none."""
    attributes = lens.log_record(raw).attributes
    return next((attributes[key] for key in SESSION_KEYS if key in attributes), b"")


def _grouped(groups: Iterable[lens.Group], key: Callable[[bytes], bytes]) -> dict[bytes, list[lens.Group]]:
    found: dict[bytes, list[lens.Group]] = {}
    for group in groups:
        items: dict[bytes, list[bytes]] = {}
        for raw in group.items:
            try:
                items.setdefault(key(raw), []).append(raw)
            except PermanentError:
                continue
        for identity, own in items.items():
            found.setdefault(identity, []).append(group._replace(items=own))
    return found


def join(views: Sequence[TraceView]) -> None:
    """Count a call that two of these traces report once, and give feedback to the trace that it is about.

    The views must not have been read yet, and are taken to be all that there are: a shadow call that is in none of the
    others is a call of its own.
    """
    _join_calls(views)
    _join_feedback(views)


def _join_calls(views: Sequence[TraceView]) -> None:
    calls = {view.trace_id: view.model_calls for view in views}
    full = [(call, view.trace_id) for view in views for call in view.model_calls if call.has_content]
    by_id = {call.response_id: (call, trace_id) for call, trace_id in full if call.response_id}
    failed = sorted(((call, trace_id) for call, trace_id in full if call.error), key=lambda entry: entry[0].start_ns)
    starts = [call.start_ns for call, _ in failed]
    lent: dict[tuple[str, str], list[ModelCall]] = {}
    changed: dict[str, list[ModelCall]] = {}
    for view in views:
        kept = []
        for call in calls[view.trace_id]:
            found = None if call.has_content else by_id.get(call.response_id or "")
            if found is None and call.is_shadow:
                near = failed[: bisect_right(starts, call.start_ns)][-_MAX_NEAR:]
                found = next((entry for entry in reversed(near) if _is_shadow_of(call, entry[0])), None)
            if found is None or found[1] == view.trace_id:
                kept.append(replace(call, is_shadow=False) if call.is_shadow else call)
            else:
                lent.setdefault((found[1], found[0].span_id), []).append(call)
        changed[view.trace_id] = kept
    for view in views:
        view.model_calls = tuple(_borrowed(call, lent.get((view.trace_id, call.span_id), ())) for call in changed[view.trace_id])


def _is_shadow_of(shadow: ModelCall, call: ModelCall) -> bool:
    return call.end_ns >= shadow.end_ns and call.request_model == shadow.request_model


def _borrowed(call: ModelCall, others: Iterable[ModelCall]) -> ModelCall:
    """The call with what it lacks taken from what others reported of it."""
    for other in others:
        call = replace(
            call,
            provider=call.provider or other.provider,
            response_model=call.response_model or other.response_model,
            finish_reasons=call.finish_reasons or other.finish_reasons,
            usage=call.usage | other.usage,
            cost_usd=other.cost_usd if call.cost_usd is None else call.cost_usd,
            time_to_first_token_s=other.time_to_first_token_s
            if call.time_to_first_token_s is None
            else call.time_to_first_token_s,
            duplicate_span_ids=(*call.duplicate_span_ids, other.span_id, *other.duplicate_span_ids),
        )
    return call


def _join_feedback(views: Sequence[TraceView]) -> None:
    here = {view.trace_id for view in views}
    moved: dict[str, list[Feedback]] = {}
    for view in views:
        own = []
        for opinion in view.feedback:
            target = opinion.target_trace_id
            if target is None or target == view.trace_id or target not in here:
                own.append(opinion)
            else:
                moved.setdefault(target, []).append(opinion)
        view.feedback = tuple(own)
    for view in views:
        view.feedback += tuple(moved.get(view.trace_id, ()))
