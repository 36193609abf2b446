// An agent with the SDK's stock exporter: where it sends is up to its environment.
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';

const provider = new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })] });
const messages = [{ role: 'assistant', parts: [{ type: 'text', content: 'Yes.' }] }];
provider.getTracer('agent').startSpan('chat model', {
  attributes: {
    'gen_ai.operation.name': 'chat',
    'gen_ai.request.model': 'model',
    'gen_ai.output.messages': JSON.stringify(messages),
  },
}).end();
await provider.shutdown();
