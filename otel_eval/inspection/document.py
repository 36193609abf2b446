"""Traces as JSON."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from otel_eval.inspection.plain_text import escaped
from otel_eval.sampling.sessions import SessionMemory
from otel_eval.sampling.signals import Signal, detect
from otel_eval.traces.records import ModelCall
from otel_eval.traces.view import TraceView


def detected(views: Sequence[TraceView]) -> list[tuple[TraceView, dict[str, Signal]]]:
    """Each trace with its signals; traces of one session are compared in order of time."""
    memory = SessionMemory()
    found = []
    for view in views:
        found.append((view, detect(view, memory.earlier(view))))
        memory.remember(view)
    return found


def to_json(views: Sequence[TraceView]) -> str:
    """The document of `otel-eval inspect --json`."""
    traces = [_trace(view, signals) for view, signals in detected(views)]
    return escaped(json.dumps({"traces": traces}, ensure_ascii=False, indent=2))


def _trace(view: TraceView, signals: dict[str, Signal]) -> dict[str, Any]:
    return {
        "trace_id": view.trace_id,
        "service_name": view.service_name,
        "session_id": view.session_id,
        "user_id": view.user_id,
        "user_input": view.user_input,
        "final_output": view.final_output,
        "system_prompt": view.system_prompt,
        "model_calls": [_model_call(call) for call in view.model_calls],
        "tool_calls": msgspec.to_builtins([_with_duration(tool, tool.duration_s) for tool in view.tool_calls]),
        "retrieved_documents": msgspec.to_builtins(view.retrieved_documents),
        "steps": msgspec.to_builtins(view.steps),
        "signals": list(signals),
        "signal_details": msgspec.to_builtins(signals),
        "feedback": msgspec.to_builtins(view.feedback),
        "evaluations": msgspec.to_builtins(view.evaluations),
        "guardrails": msgspec.to_builtins(view.guardrails),
        "errors": msgspec.to_builtins(view.errors),
        "usage": msgspec.to_builtins(view.usage),
        "cost_usd": view.cost_usd,
        "duration_s": view.duration_s,
        "spans": view.span_count,
    }


def _model_call(call: ModelCall) -> dict[str, Any]:
    return {**_with_duration(call, call.duration_s), "output_text": call.output_text}


def _with_duration(record: msgspec.Struct, duration_s: float | None) -> dict[str, Any]:
    return {**msgspec.to_builtins(record), "duration_s": duration_s}
