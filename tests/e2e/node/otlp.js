// Sends spans by OpenTelemetry's own exporter, `argv[2]` of them, in the encoding `argv[3]`.
const { BatchSpanProcessor, NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');
const { CompressionAlgorithm } = require('@opentelemetry/otlp-exporter-base');
const encoding = process.argv[3];
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${encoding}`);

// The endpoint is that of OTEL_EXPORTER_OTLP_ENDPOINT.
const exporter = new OTLPTraceExporter({ compression: CompressionAlgorithm.GZIP });
const provider = new NodeTracerProvider({
  spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 100 })],
});
const tracer = provider.getTracer('e2e');
for (let n = 0; n < Number(process.argv[2]); n += 1) {
  const span = tracer.startSpan('request');
  console.log(span.spanContext().spanId);
  span.end();
}
provider.shutdown();
