// An agent on the Node SDK with its stock exporter: where its spans go, and what it is called, is up to its environment.
import { detectResources, envDetector } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { context, trace } from '@opentelemetry/api';

const resource = detectResources({ detectors: [envDetector] });
const provider = new TracerProvider({ resource, spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })] });
const tracer = provider.getTracer('agent');
const message = (role, content) => JSON.stringify([{ role, parts: [{ type: 'text', content }] }]);
for (let number = 0; number < 3; number += 1) {
  const agent = tracer.startSpan('invoke_agent', { attributes: { 'gen_ai.operation.name': 'invoke_agent' } });
  const inside = trace.setSpan(context.active(), agent);
  tracer.startSpan('chat', {
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.request.model': 'model-1',
      'gen_ai.input.messages': message('user', `Where is my order ${number}?`),
      'gen_ai.output.messages': message('assistant', `Order ${number} arrives on Friday.`),
    },
  }, inside).end();
  const tool = { 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': 'find_order' };
  tracer.startSpan('execute_tool find_order', { attributes: tool }, inside).end();
  agent.end();
}
await provider.shutdown();
