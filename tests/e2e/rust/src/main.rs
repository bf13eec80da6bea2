//! Sends spans by OpenTelemetry's own exporter for as many seconds as the first argument says, so many
//! a second as the second says, and prints the id of each.
//!
//! Where to and how compressed: OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_COMPRESSION.

use std::env;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = env::args().skip(1).map(|argument| argument.parse::<u32>());
    let (Some(seconds), Some(rate)) = (numbers.next(), numbers.next()) else {
        return Err("usage: xray-e2e-rust SECONDS RATE".into());
    };
    let (seconds, rate) = (seconds?, rate?);
    let exporter = SpanExporter::builder().with_http().build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    let tracer = provider.tracer("e2e");
    let end = Instant::now() + Duration::from_secs(seconds.into());
    while Instant::now() < end {
        let mut span = tracer.start("request");
        println!("{}", span.span_context().span_id());
        span.end();
        thread::sleep(Duration::from_secs(1) / rate);
    }
    // It fails when the last export does.
    provider.shutdown()?;
    Ok(())
}
