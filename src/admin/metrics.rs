//! What operators see: the books and the requests, as Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::admin::request_counts::{AnsweredCount, RequestCounts};
use crate::upload::counters::Totals;
use crate::upload::response::{Answer, Failure};

/// Upper bounds of the latency histogram, seconds. X-Ray answers in tens of milliseconds; a
/// request ends after ten seconds.
const BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Outcomes of a request, as the label says them.
const OUTCOMES: [&str; 7] = [
    "2xx",
    "4xx",
    "5xx",
    "timeout",
    "refused",
    "unknown_host",
    "other",
];

/// Counters and gauges beside the books.
#[derive(Debug, Default)]
pub struct Gauges {
    lanes: AtomicUsize,
    outcomes: [AtomicU64; OUTCOMES.len()],
    buckets: [AtomicU64; BUCKETS.len()],
    took_micros: AtomicU64,
}

impl Gauges {
    /// Sets the number of lanes that exist.
    pub fn set_lanes(&self, lanes: usize) {
        self.lanes.store(lanes, Relaxed);
    }

    /// The number of lanes that exist.
    pub fn lanes(&self) -> usize {
        self.lanes.load(Relaxed)
    }

    /// Counts a request that has ended.
    pub fn request(&self, result: &Result<Answer, (Failure, String)>, took: Duration) {
        let outcome = match result {
            Ok(answer) => match answer.status {
                200..=299 => 0,
                400..=499 => 1,
                500..=599 => 2,
                _ => 6,
            },
            Err((Failure::Timeout, _)) => 3,
            Err((Failure::Refused, _)) => 4,
            Err((Failure::UnknownHost, _)) => 5,
            Err((Failure::Other, _)) => 6,
        };
        self.outcomes[outcome].fetch_add(1, Relaxed);
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket].fetch_add(1, Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.took_micros.fetch_add(micros, Relaxed);
    }
}

/// What the text is made from.
pub struct Shown<'a> {
    /// The books.
    pub totals: Totals,
    /// Most bytes of documents that may be held.
    pub limit: usize,
    /// Requests and lanes.
    pub gauges: &'a Gauges,
    /// What clients asked by TCP.
    pub calls: &'a RequestCounts,
    /// Where the credentials come from. Never the credentials.
    pub credentials: &'a str,
    /// Whether there are any.
    pub available: bool,
    /// Seconds until they expire; `None` where they do not.
    pub expires_in: Option<f64>,
}

/// The answer to `GET /metrics`, in Prometheus' text format 0.0.4.
pub fn render(shown: &Shown<'_>) -> String {
    let mut text = String::with_capacity(4096);
    let totals = &shown.totals;
    for (name, kind, help, value) in [
        (
            "segments_received_total",
            "counter",
            "Datagrams read, malformed ones included.",
            totals.received,
        ),
        (
            "segments_sent_total",
            "counter",
            "Segments that X-Ray took.",
            totals.sent,
        ),
        (
            "segments_rejected_total",
            "counter",
            "Malformed datagrams, and segments that X-Ray refused.",
            totals.rejected,
        ),
        (
            "segments_spilled_total",
            "counter",
            "Segments dropped because the buffer was full.",
            totals.spilled,
        ),
        (
            "kernel_drops_total",
            "counter",
            "Datagrams the kernel dropped before they were read.",
            totals.kernel_drops,
        ),
        (
            "segments_held",
            "gauge",
            "Segments waiting or in flight.",
            totals.held(),
        ),
        (
            "held_bytes",
            "gauge",
            "Bytes of the segments waiting or in flight.",
            totals.held_bytes,
        ),
        (
            "buffer_limit_bytes",
            "gauge",
            "Most bytes of segments that are held.",
            shown.limit as u64,
        ),
        (
            "lanes",
            "gauge",
            "Connections that upload.",
            shown.gauges.lanes() as u64,
        ),
    ] {
        head(&mut text, name, kind, help);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "xray_{name} {value}");
    }
    requests(&mut text, shown.gauges);
    calls(&mut text, shown.calls);
    let source = label(shown.credentials);
    head(
        &mut text,
        "credentials_available",
        "gauge",
        "1 while there are credentials to sign with.",
    );
    let available = u8::from(shown.available);
    let _ = writeln!(
        text,
        "xray_credentials_available{{source=\"{source}\"}} {available}"
    );
    if let Some(seconds) = shown.expires_in {
        head(
            &mut text,
            "credentials_expiry_seconds",
            "gauge",
            "Seconds until the credentials expire.",
        );
        let _ = writeln!(
            text,
            "xray_credentials_expiry_seconds{{source=\"{source}\"}} {seconds:.0}"
        );
    }
    head(
        &mut text,
        "build_info",
        "gauge",
        "The version of the daemon.",
    );
    let _ = writeln!(
        text,
        "xray_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    text
}

fn calls(text: &mut String, calls: &RequestCounts) {
    head(
        text,
        "proxy_requests_total",
        "counter",
        "Requests by TCP, by action and by how they were answered.",
    );
    for AnsweredCount {
        action,
        outcome,
        count,
    } in &calls.answered
    {
        let _ = writeln!(
            text,
            "xray_proxy_requests_total{{action=\"{action}\",outcome=\"{outcome}\"}} {count}"
        );
    }
    labelled(
        text,
        ("proxy_refused_total", "counter", "reason"),
        "Requests by TCP that were not served.",
        &calls.refused,
    );
    labelled(
        text,
        ("proxy_connections", "gauge", "state"),
        "Connections by TCP.",
        &calls.connections,
    );
    for (name, kind, help, value) in [
        (
            "proxy_connections_shed_total",
            "counter",
            "Connections by TCP closed to make room.",
            calls.shed,
        ),
        (
            "proxy_sent_again_total",
            "counter",
            "Requests by TCP sent again, because X-Ray had closed the kept connection.",
            calls.sent_again,
        ),
        (
            "proxy_memory_bytes",
            "gauge",
            "Memory that clients on TCP take.",
            calls.memory_used,
        ),
        (
            "proxy_memory_limit_bytes",
            "gauge",
            "Most memory that clients on TCP may take.",
            calls.memory_limit,
        ),
    ] {
        head(text, name, kind, help);
        let _ = writeln!(text, "xray_{name} {value}");
    }
}

/// A metric with one label.
fn labelled(
    text: &mut String,
    (name, kind, label): (&str, &str, &str),
    help: &str,
    values: &[(&'static str, u64)],
) {
    head(text, name, kind, help);
    for (word, count) in values {
        let _ = writeln!(text, "xray_{name}{{{label}=\"{word}\"}} {count}");
    }
}

fn requests(text: &mut String, gauges: &Gauges) {
    head(
        text,
        "requests_total",
        "counter",
        "Requests to X-Ray by outcome.",
    );
    let mut all = 0;
    for (outcome, count) in OUTCOMES.iter().zip(&gauges.outcomes) {
        let count = count.load(Relaxed);
        all += count;
        let _ = writeln!(text, "xray_requests_total{{outcome=\"{outcome}\"}} {count}");
    }
    let name = "request_duration_seconds";
    head(
        text,
        name,
        "histogram",
        "Time from a request to the end of its answer.",
    );
    let mut below = 0;
    for (bound, count) in BUCKETS.iter().zip(&gauges.buckets) {
        below += count.load(Relaxed);
        let _ = writeln!(text, "xray_{name}_bucket{{le=\"{bound}\"}} {below}");
    }
    // Read a moment later than the buckets, and never below them.
    let all = all.max(below);
    let _ = writeln!(text, "xray_{name}_bucket{{le=\"+Inf\"}} {all}");
    let sum = gauges.took_micros.load(Relaxed) as f64 / 1e6;
    let _ = writeln!(text, "xray_{name}_sum {sum}\nxray_{name}_count {all}");
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP xray_{name} {help}\n# TYPE xray_{name} {kind}");
}

/// Escapes a label value as the text format asks.
fn label(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_the_histogram_adds_up() {
        let gauges = Gauges::default();
        let ok = || {
            Ok(Answer {
                status: 200,
                ..Answer::default()
            })
        };
        gauges.request(&ok(), Duration::from_millis(20));
        gauges.request(&ok(), Duration::from_secs(60));
        gauges.request(
            &Err((Failure::Refused, String::new())),
            Duration::from_micros(10),
        );
        gauges.set_lanes(3);
        let text = render(&Shown {
            totals: Totals {
                received: 7,
                sent: 4,
                ..Totals::default()
            },
            limit: 1 << 24,
            gauges: &gauges,
            calls: &RequestCounts {
                answered: vec![AnsweredCount {
                    action: "GetSamplingRules",
                    outcome: "429",
                    count: 2,
                }],
                connections: vec![("idle", 1)],
                ..RequestCounts::default()
            },
            credentials: "a \"quoted\"\nsource",
            available: true,
            expires_in: Some(59.6),
        });
        for line in [
            "xray_segments_received_total 7",
            "xray_segments_held 3",
            "xray_lanes 3",
            "xray_requests_total{outcome=\"2xx\"} 2",
            "xray_requests_total{outcome=\"refused\"} 1",
            "xray_request_duration_seconds_bucket{le=\"0.01\"} 1",
            "xray_request_duration_seconds_bucket{le=\"0.025\"} 2",
            "xray_request_duration_seconds_bucket{le=\"10\"} 2",
            "xray_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "xray_request_duration_seconds_count 3",
            "xray_proxy_requests_total{action=\"GetSamplingRules\",outcome=\"429\"} 2",
            "xray_proxy_connections{state=\"idle\"} 1",
            "xray_credentials_expiry_seconds{source=\"a \\\"quoted\\\"\\nsource\"} 60",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        for line in text.lines() {
            assert!(
                line.starts_with("# ") || line.starts_with("xray_"),
                "{line}"
            );
        }
    }
}
