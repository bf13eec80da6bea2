// Sends spans by OpenTelemetry's own exporter: `argv[2]` of them, in the encoding `argv[3]`, one every
// `argv[4]` milliseconds.
const { BatchSpanProcessor, NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');
const { CompressionAlgorithm } = require('@opentelemetry/otlp-exporter-base');

const [count, encoding, pause] = process.argv.slice(2);
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${encoding}`);

// The endpoint is that of OTEL_EXPORTER_OTLP_ENDPOINT.
const exporter = new OTLPTraceExporter({ compression: CompressionAlgorithm.GZIP });
const provider = new NodeTracerProvider({
  spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 100 })],
});
const tracer = provider.getTracer('e2e');

function send(left) {
  if (left === 0) {
    provider.shutdown();
    return;
  }
  const span = tracer.startSpan('request');
  console.log(span.spanContext().spanId);
  span.end();
  setTimeout(send, Number(pause), left - 1);
}

send(Number(count));
