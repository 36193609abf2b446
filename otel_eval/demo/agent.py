"""The agent of the demo: turns of the story as traces, made by the OpenTelemetry SDK by the GenAI conventions.

Spans have times of their own, so a trace of two seconds takes no two seconds to make; it ends now. What a customer's thumb
says follows as a log event, or goes to the hop's API, as a web page without an SDK would send it.
"""

import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

from otel_eval.demo import shop
from otel_eval.demo.story import ToolUse, Turn

SERVICE: Final = "support-agent"
MODEL: Final = "demo-model-1"
_INSTRUCTIONS: Final = {
    "v1": "You are the support agent of an online shop. Answer from the handbook and from what the tools say. Be brief.",
    "v2": "You are the support agent of an online shop. Answer from the handbook and from what the tools say. Be brief. "
    "State no figure that you have not read. Read the description of each tool before you call it.",
}
_RESOURCE: Final = {"service.name": SERVICE, "service.version": "2.3.0", "deployment.environment.name": "demo"}
_USD_A_TOKEN: Final = (0.4e-6, 2e-6)
_QUEUE: Final = 20_000
_DELAY_MS: Final = 200


class Ids(IdGenerator):
    """Random ids, the same for the same question: which traces are chosen depends on them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311

    def begin(self, turn: Turn) -> None:
        """The next ids are for this turn."""
        self._random.seed(f"{self._seed} {turn.session} {len(turn.history)}")

    def generate_span_id(self) -> int:
        """See IdGenerator."""
        return self._random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """See IdGenerator."""
        return self._random.getrandbits(128) or 1

    def is_trace_id_random(self) -> bool:
        """See IdGenerator."""
        return True


class Agent:
    """Sends what it makes to these exporters; `spans` counts it."""

    def __init__(self, seed: int, spans: SpanExporter, logs: LogRecordExporter) -> None:
        self.spans = 0
        resource = Resource(_RESOURCE)
        self._ids = Ids(seed)
        self._traces = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(spans, _QUEUE, _DELAY_MS, max_export_batch_size=256))
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(logs, _DELAY_MS, max_queue_size=_QUEUE))
        self._tracer = self._traces.get_tracer("shop.agent", "2.3.0")
        self._logger = self._logs.get_logger("shop.web")

    def answer(self, turn: Turn, end_ns: int | None = None) -> trace.SpanContext:
        """Make the trace of one turn, which ends now unless told otherwise; gives its root."""
        self._ids.begin(turn)
        clock = _Clock((end_ns or time.time_ns()) - int(sum(turn.seconds[: 2 + 2 * len(turn.uses)]) * 1e9), turn.seconds)
        about = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": SERVICE,
            "gen_ai.conversation.id": turn.session,
            "gen_ai.prompt.name": "support",
            "gen_ai.prompt.version": turn.prompt_version,
            "user.id": turn.user,
            "shop.day": f"day {turn.day}",
            "shop.intent": turn.intent,
        }
        with self._span(f"invoke_agent {SERVICE}", clock, about) as root:
            self._retrieve(turn, clock)
            messages = [_said(role, text) for role, text in (*turn.history, ("user", turn.asked))]
            for number, use in enumerate(turn.uses):
                called = _calls(use, f"call_{number}")
                self._chat(turn, clock, messages, called, "tool_call")
                self._use(use, f"call_{number}", clock)
                messages += [called, _answered(use, f"call_{number}")]
            self._chat(turn, clock, messages, _said("assistant", turn.answer), "stop")
        return root.get_span_context()

    def thumb(self, root: trace.SpanContext, opinion: bool, comment: str) -> None:
        """A thumb for the answer below that root, as a log event."""
        attributes: dict[str, str | float] = {
            "otel_eval.feedback.kind": "thumbs",
            "otel_eval.feedback.value": float(opinion),
            "otel_eval.feedback.source": "end_user",
        }
        if comment:
            attributes["otel_eval.feedback.comment"] = comment
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=trace.set_span_in_context(trace.NonRecordingSpan(root)),
                event_name="otel_eval.feedback",
                attributes=attributes,
            )
        )

    def flush(self) -> None:
        """Send what waits to be sent."""
        for provider in (self._traces, self._logs):
            provider.force_flush(30_000)

    def finish(self) -> None:
        """The same, for the last time."""
        self.flush()
        for provider in (self._traces, self._logs):
            provider.shutdown()

    @contextmanager
    def _span(self, name: str, clock: "_Clock", attributes: Mapping[str, Any]) -> Iterator[trace.Span]:
        span = self._tracer.start_span(name, start_time=clock.now_ns, attributes=attributes)
        self.spans += 1
        with trace.use_span(span):
            yield span
        span.end(clock.now_ns)

    def _retrieve(self, turn: Turn, clock: "_Clock") -> None:
        pages = [shop.HANDBOOK[page] for page in turn.pages]
        found = [{"id": page.id, "content": page.text, "score": round(0.91 - 0.23 * at, 2)} for at, page in enumerate(pages)]
        about = {"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "handbook"}
        asked = {"gen_ai.retrieval.query.text": turn.asked, "gen_ai.retrieval.documents": json.dumps(found)}
        with self._span("retrieval handbook", clock, {**about, **asked}):
            clock.pass_step()

    def _chat(
        self, turn: Turn, clock: "_Clock", messages: Sequence[dict[str, Any]], said: dict[str, Any], finish_reason: str
    ) -> None:
        """One model call."""
        offered = json.dumps(shop.tools(turn.day))
        read, wrote = json.dumps(messages), json.dumps([{**said, "finish_reason": finish_reason}])
        tokens = (math.ceil((len(read) + len(offered)) / 4), math.ceil(len(wrote) / 4))
        about = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "simulated",
            "gen_ai.request.model": MODEL,
            "gen_ai.response.model": MODEL,
            "gen_ai.response.finish_reasons": [finish_reason],
            "gen_ai.system_instructions": json.dumps([{"type": "text", "content": _INSTRUCTIONS[turn.prompt_version]}]),
            "gen_ai.tool.definitions": offered,
            "gen_ai.input.messages": read,
            "gen_ai.output.messages": wrote,
            "gen_ai.usage.input_tokens": tokens[0],
            "gen_ai.usage.output_tokens": tokens[1],
            "gen_ai.usage.cost": tokens[0] * _USD_A_TOKEN[0] + tokens[1] * _USD_A_TOKEN[1],
        }
        with self._span(f"chat {MODEL}", clock, about):
            clock.pass_step()

    def _use(self, use: ToolUse, call_id: str, clock: "_Clock") -> None:
        """One call of a tool."""
        about = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": use.name,
            "gen_ai.tool.call.id": call_id,
            "gen_ai.tool.call.arguments": json.dumps(use.arguments),
        }
        with self._span(f"execute_tool {use.name}", clock, about) as span:
            clock.pass_step()
            if use.error is None:
                span.set_attribute("gen_ai.tool.call.result", json.dumps(use.result))
            else:
                span.set_attribute("error.type", "422")
                span.set_status(trace.StatusCode.ERROR, use.error)


class _Clock:
    """The time within a trace, in ns since 1970; each step takes its seconds."""

    def __init__(self, start_ns: int, seconds: Sequence[float]) -> None:
        self.now_ns = start_ns
        self._seconds = iter(seconds)

    def pass_step(self) -> None:
        self.now_ns += int(next(self._seconds) * 1e9)


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _calls(use: ToolUse, call_id: str) -> dict[str, Any]:
    part = {"type": "tool_call", "id": call_id, "name": use.name, "arguments": use.arguments}
    return {"role": "assistant", "parts": [part]}


def _answered(use: ToolUse, call_id: str) -> dict[str, Any]:
    said = use.result if use.error is None else f"Error: 422 {use.error}"
    return {"role": "tool", "parts": [{"type": "tool_call_response", "id": call_id, "response": said}]}
