"""An agent with the SDK's stock exporter: where it sends is up to its environment."""

import json

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
with trace.get_tracer("agent").start_as_current_span("chat model") as span:
    span.set_attribute("gen_ai.operation.name", "chat")
    span.set_attribute("gen_ai.request.model", "model")
    span.set_attribute(
        "gen_ai.output.messages", json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Yes."}]}])
    )
provider.shutdown()
