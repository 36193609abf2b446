"""What it costs to read a trace: every field of a TraceView, and all signals."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from otel_eval.sampling.sessions import SessionMemory
from otel_eval.sampling.signals import detect
from otel_eval.traces.view import TraceView
from otel_eval.wire import lens

_WORDS = "the weather in Paris is rainy today and the forecast for tomorrow says that it clears up before noon "
_FIELDS = (
    "trace_id", "duration_s", "service_name", "model_calls", "tool_calls", "retrieved_documents", "steps", "session_id",
    "user_id", "user_input", "final_output", "system_prompt", "errors", "feedback", "evaluations", "guardrails", "usage",
    "cost_usd",
)  # fmt: skip
_LIMIT_MS = 2.0
ROUNDS = 500


def trace(turns: int, text: int, *, flattened: bool) -> list[lens.Group]:
    """An agent of `turns` rounds of a model call and a tool call, with `text` characters in each message."""
    group = ResourceSpans()
    attribute = group.resource.attributes.add(key="service.name")
    attribute.value.string_value = "bench"
    scope = group.scope_spans.add()
    scope.scope.name = "bench"
    said = (_WORDS * (text // len(_WORDS) + 1))[:text]
    root = _span(
        scope.spans.add(), 0, 0, {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "c", "user.id": "u"}
    )
    root.name = "invoke_agent"
    for turn in range(turns):
        call = (_openinference if flattened else _genai)(turn, said)
        _span(scope.spans.add(), 2 * turn + 1, 1, call)
        tool = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "get_weather",
            "gen_ai.tool.call.id": f"call{turn}",
            "gen_ai.tool.call.arguments": json.dumps({"city": "Paris", "turn": turn}),
            "gen_ai.tool.call.result": json.dumps({"text": said}),
        }
        _span(scope.spans.add(), 2 * turn + 2, 1, tool)
    return list(lens.groups(TracesData(resource_spans=[group]).SerializeToString()))


def _span(span: Span, number: int, parent: int, attributes: Mapping[str, object]) -> Span:
    span.trace_id, span.span_id = b"t" * 16, (number + 1).to_bytes(8, "big")
    span.parent_span_id = parent.to_bytes(8, "big") if parent else b""
    span.name = f"step {number}"
    span.start_time_unix_nano = 1_000_000_000 + number
    span.end_time_unix_nano = 2_000_000_000 + number
    for key, value in attributes.items():
        holder = span.attributes.add(key=key).value
        if isinstance(value, int):
            holder.int_value = value
        else:
            holder.string_value = str(value)
    return span


def _genai(turn: int, said: str) -> dict[str, object]:
    asked = [
        {"role": "user", "parts": [{"type": "text", "content": said}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": f"call{turn - 1}", "name": "get_weather", "arguments": {}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": f"call{turn - 1}", "response": said}]},
    ]
    parts = [
        {"type": "text", "content": said},
        {"type": "tool_call", "id": f"call{turn}", "name": "get_weather", "arguments": {"city": "Paris", "turn": turn}},
    ]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.id": f"response{turn}",
        "gen_ai.request.temperature": "0.1",
        "gen_ai.usage.input_tokens": 31,
        "gen_ai.usage.output_tokens": 14,
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Answer."}]),
        "gen_ai.input.messages": json.dumps(asked),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": parts, "finish_reason": "tool_call"}]),
    }


def _openinference(turn: int, said: str) -> dict[str, object]:
    call = {"id": f"call{turn}", "type": "function", "function": {"name": "get_weather", "arguments": f'{{"turn": {turn}}}'}}
    answer = {
        "finish_reason": "tool_calls",
        "logprobs": None,
        "message": {"role": "assistant", "content": said, "tool_calls": [call]},
    }
    outside = "llm.output_messages.0.message"
    return {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o-mini",
        "llm.token_count.prompt": 31,
        "llm.token_count.completion": 14,
        "llm.invocation_parameters": json.dumps({"temperature": 0.1}),
        "input.value": json.dumps({"messages": [{"role": "user", "content": said}]}),
        "output.value": json.dumps({"id": f"response{turn}", "choices": [answer]}),
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": said,
        "llm.input_messages.1.message.role": "assistant",
        "llm.input_messages.1.message.tool_calls.0.tool_call.id": f"call{turn - 1}",
        "llm.input_messages.1.message.tool_calls.0.tool_call.function.name": "get_weather",
        "llm.input_messages.2.message.role": "tool",
        "llm.input_messages.2.message.tool_call_id": f"call{turn - 1}",
        "llm.input_messages.2.message.content": said[:100],
        f"{outside}.role": "assistant",
        f"{outside}.content": said,
        f"{outside}.tool_calls.0.tool_call.id": f"call{turn}",
        f"{outside}.tool_calls.0.tool_call.function.name": "get_weather",
        f"{outside}.tool_calls.0.tool_call.function.arguments": f'{{"turn": {turn}}}',
    }


def read_all(groups: list[lens.Group]) -> None:
    """Every field of a view, and the signals."""
    view = TraceView(groups)
    for field in _FIELDS:
        getattr(view, field)
    memory = SessionMemory()
    detect(view, memory.earlier(view))
    memory.remember(view)


def measured(work: Callable[[], None], rounds: int = ROUNDS) -> float:
    """CPU milliseconds of one round: the best of many runs, since the machine has other work."""
    best = float("inf")
    for _ in range(rounds // 5):
        start = time.process_time()
        for _ in range(5):
            work()
        best = min(best, (time.process_time() - start) / 5)
    return best * 1e3


def costs() -> Iterator[str]:
    """A row for each convention: the messages as JSON, and flattened into attributes."""
    yield f"{'convention':>24} {'spans':>6} {'kB':>6} {'ms CPU':>7} {'limit':>6}"
    for name, flattened, text in (("GenAI, JSON", False, 1600), ("OpenInference, flattened", True, 1250)):
        groups = trace(10, text, flattened=flattened)
        size = sum(len(item) for group in groups for item in group.items)
        spans = sum(len(group.items) for group in groups)
        yield f"{name:>24} {spans:>6} {size / 1000:>6.1f} {measured(partial(read_all, groups)):>7.2f} {_LIMIT_MS:>6.1f}"
