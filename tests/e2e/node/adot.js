// Under AWS' distribution of OpenTelemetry for Node (`node --require …/register`): makes spans until
// its sampler takes them all, and prints the id of the last one.
const { trace } = require('@opentelemetry/api');

const tracer = trace.getTracer('e2e');

function whenAllAreSampled(inARow, then) {
  const span = tracer.startSpan('checkout');
  span.end();
  const { spanId, traceFlags } = span.spanContext();
  if (inARow === 50) {
    then(spanId);
  } else {
    setTimeout(whenAllAreSampled, 10, traceFlags & 1 ? inARow + 1 : 0, then);
  }
}

whenAllAreSampled(0, (spanId) => console.log('span', spanId));

// The pollers do not keep the process alive: whoever started it ends it.
process.stdin.resume();
