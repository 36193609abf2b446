"""An agent for compose.yaml's profile `demo`: answers a question every second and reports it by the GenAI conventions.

It calls no model; what it says comes from a table, so what is wrong is known: every ninth tool call fails, and every seventh
answer names a sum that no tool gave. Send it SIGTERM to stop it. Address and protocol are those of OTEL_EXPORTER_OTLP_*.
"""

import itertools
import json
import os
import signal
import threading

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode, Tracer

QUESTIONS = ("Where is my parcel?", "When do I get my refund?", "Can I change the address?", "Why was I charged twice?")


def message(role: str, text: str) -> str:
    """One message as the conventions write it."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def look_up(tracer: Tracer, number: int) -> int | None:
    """The tool: what an order cost; None when the shop's API has failed."""
    with tracer.start_as_current_span("execute_tool get_order", set_status_on_exception=False) as span:
        arguments = json.dumps({"order": number})
        span.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_order"})
        span.set_attribute("gen_ai.tool.call.arguments", arguments)
        if number % 9 == 0:
            span.set_attribute("error.type", "TimeoutError")
            span.set_status(Status(StatusCode.ERROR, "the shop's API timed out"))
            return None
        total = 20 + number % 50
        span.set_attribute("gen_ai.tool.call.result", json.dumps({"order": number, "total": total}))
        return total


def answer(tracer: Tracer, number: int) -> None:
    """One trace: an agent's turn with a tool call and a model call."""
    question = message("user", f"{QUESTIONS[number % len(QUESTIONS)]} My order is {number}.")
    with tracer.start_as_current_span("invoke_agent support") as agent:
        agent.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"})
        total = look_up(tracer, number)
        said = total if total is None or number % 7 else total + 100
        text = "I cannot see your order now." if said is None else f"Order {number} cost {said} euros and is on its way."
        with tracer.start_as_current_span("chat demo-model") as chat:
            chat.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "demo"})
            chat.set_attributes({"gen_ai.request.model": "demo-model", "gen_ai.usage.input_tokens": 120})
            chat.set_attributes({"gen_ai.input.messages": question, "gen_ai.output.messages": message("assistant", text)})
        agent.set_attributes({"gen_ai.input.messages": question, "gen_ai.output.messages": message("assistant", text)})


def main() -> None:
    """Answer until SIGTERM; DEMO_INTERVAL_S is the time between questions."""
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    provider = TracerProvider(resource=Resource.create({"service.name": "demo-support"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("demo_agent")
    for number in itertools.count(1000):
        answer(tracer, number)
        if stop.wait(float(os.environ.get("DEMO_INTERVAL_S", "1"))):
            break
    provider.shutdown()


if __name__ == "__main__":
    main()
