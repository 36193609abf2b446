"""An agent on the OpenTelemetry SDK with its stock exporter: where its spans go is up to its environment alone.

OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 OTEL_SERVICE_NAME=shop python agent.py
"""

import json

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

CONVERSATIONS = 3


def message(role: str, kind: str, **content: str) -> str:
    """One message, as the GenAI conventions have it in an attribute."""
    return json.dumps([{"role": role, "parts": [{"type": kind, **content}]}])


def main() -> None:
    """Answer some questions."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("agent")
    for number in range(CONVERSATIONS):
        asked, says = f"Where is my order {number}?", f"Order {number} arrives on Friday."
        with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
            with tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}) as call:
                call.set_attribute("gen_ai.request.model", "model-1")
                call.set_attribute("gen_ai.input.messages", message("user", "text", content=asked))
                call.set_attribute("gen_ai.output.messages", message("assistant", "text", content=says))
            attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find_order"}
            with tracer.start_as_current_span("execute_tool find_order", attributes=attributes):
                pass
    provider.shutdown()


if __name__ == "__main__":
    main()
