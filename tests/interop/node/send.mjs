// node send.mjs grpc|http|proto URL: sends ten spans and prints the id of each.
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';

const [kind, url] = process.argv.slice(2);
const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${kind}`);
const provider = new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url }) })] });
const tracer = provider.getTracer('interop');
const ids = [];
for (let index = 0; index < 10; index += 1) {
  const span = tracer.startSpan(`chat ${index}`, { attributes: { 'gen_ai.request.model': 'größe 🙂', index } });
  span.addEvent('token');
  span.end();
  ids.push(span.spanContext().spanId);
}
await provider.shutdown();
console.log(JSON.stringify(ids));
