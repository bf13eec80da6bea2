//! The metrics as Prometheus text.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::{proxy_metrics, span_metrics, spool_metrics};
use crate::admin::process::ProcessStatus;
use crate::admin::request_counts::RequestCounts;
use crate::aws::clock::Skew;
use crate::upload::metrics::{LATENCY_BUCKETS, OUTCOMES, Snapshot, UploadMetrics};

/// What the text is made from.
pub(crate) struct MetricsSnapshot<'a> {
    /// What the uploader knows.
    pub upload: &'a Snapshot,
    /// What clients asked by TCP.
    pub calls: &'a RequestCounts,
    /// How far the service's clock is ahead of this host's.
    pub clock_skew: Skew,
    /// What the kernel says of the process.
    pub process: ProcessStatus,
}

/// The answer to `GET /metrics`, in Prometheus' text format 0.0.4.
pub(crate) fn render(snapshot: &MetricsSnapshot<'_>) -> String {
    let mut text = String::with_capacity(4096);
    let (upload, segments) = (snapshot.upload, &snapshot.upload.segments);
    let outage = upload.outage.map_or(0, |outage| outage.as_secs());
    let values = [
        (
            "segments_received_total",
            "counter",
            "Datagrams read, malformed ones included, empty ones not.",
            segments.received,
        ),
        (
            "segments_sent_total",
            "counter",
            "Segments that X-Ray took.",
            segments.sent,
        ),
        (
            "segments_shown_total",
            "counter",
            "Segments shown here instead of being sent (--exporter console, json).",
            segments.shown,
        ),
        (
            "segments_rejected_total",
            "counter",
            "Malformed datagrams, and segments that X-Ray refused.",
            segments.rejected,
        ),
        (
            "segments_spilled_total",
            "counter",
            "Segments dropped because the buffer was full or the time of the shutdown was over, or lost from the spool.",
            segments.spilled,
        ),
        (
            "segments_held",
            "gauge",
            "Segments in open batches, waiting or in flight.",
            segments.held,
        ),
        (
            "segments_restored_total",
            "counter",
            "Segments of earlier runs that were found in the spool.",
            segments.restored,
        ),
        (
            "segments_spooled",
            "gauge",
            "Segments that are in the spool only.",
            segments.spooled,
        ),
        (
            "empty_datagrams_total",
            "counter",
            "Empty datagrams, which are ignored.",
            segments.empty,
        ),
        (
            "kernel_drops_total",
            "counter",
            "Datagrams the kernel dropped before they were read.",
            segments.kernel_drops,
        ),
        (
            "buffer_used_bytes",
            "gauge",
            "Bytes of memory of the segments and spans that are held.",
            upload.buffer_used as u64,
        ),
        (
            "buffer_limit_bytes",
            "gauge",
            "Most bytes of memory of the segments and spans that are held.",
            upload.buffer_limit as u64,
        ),
        (
            "upload_senders",
            "gauge",
            "Threads that upload.",
            upload.senders as u64,
        ),
        (
            "upload_outage_seconds",
            "gauge",
            "Seconds since uploads began to fail; 0 while they succeed.",
            outage,
        ),
    ];
    plain(&mut text, &values);
    span_metrics::render(&mut text, &upload.spans);
    spool_metrics::render(&mut text, upload.spool.as_ref());
    requests(&mut text, &upload.metrics);
    proxy_metrics::render(&mut text, snapshot.calls);
    credentials(&mut text, upload);
    head(
        &mut text,
        "clock_skew_seconds",
        "gauge",
        "How far X-Ray's clock is ahead of the clock of this host.",
    );
    let skew = snapshot.clock_skew.0 as f64 / 1e3;
    let _ = writeln!(text, "xray_clock_skew_seconds {skew}");
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
    snapshot.process.render(&mut text);
    text
}

fn credentials(text: &mut String, upload: &Snapshot) {
    let status = &upload.credentials;
    let source = label(&status.source);
    head(
        text,
        "credentials_available",
        "gauge",
        "1 while there are credentials to sign with.",
    );
    let available = u8::from(status.available);
    let _ = writeln!(
        text,
        "xray_credentials_available{{source=\"{source}\"}} {available}"
    );
    if let Some(since) = status
        .expires
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
    {
        head(
            text,
            "credentials_expiry_timestamp_seconds",
            "gauge",
            "When the credentials expire, in seconds since 1970.",
        );
        let _ = writeln!(
            text,
            "xray_credentials_expiry_timestamp_seconds{{source=\"{source}\"}} {}",
            since.as_secs()
        );
    }
}

fn requests(text: &mut String, metrics: &UploadMetrics) {
    head(
        text,
        "upload_requests_total",
        "counter",
        "Requests to X-Ray by outcome.",
    );
    for ((_, outcome), count) in OUTCOMES.iter().zip(&metrics.outcomes) {
        let _ = writeln!(
            text,
            "xray_upload_requests_total{{outcome=\"{outcome}\"}} {count}"
        );
    }
    let name = "upload_request_duration_seconds";
    head(
        text,
        name,
        "histogram",
        "Time from a request to the end of its answer.",
    );
    let mut below = 0;
    for (bound, count) in LATENCY_BUCKETS.iter().zip(&metrics.buckets) {
        below += count;
        let _ = writeln!(text, "xray_{name}_bucket{{le=\"{bound}\"}} {below}");
    }
    let all: u64 = metrics.outcomes.iter().sum();
    let _ = writeln!(text, "xray_{name}_bucket{{le=\"+Inf\"}} {all}");
    let sum = metrics.duration.as_secs_f64();
    let _ = writeln!(text, "xray_{name}_sum {sum}\nxray_{name}_count {all}");
}

/// Metrics without a label: name, kind, help and value of each.
pub(super) fn plain(text: &mut String, metrics: &[(&str, &str, &str, u64)]) {
    for (name, kind, help, value) in metrics {
        head(text, name, kind, help);
        // Writing to a String cannot fail, here and elsewhere in this file.
        let _ = writeln!(text, "xray_{name} {value}");
    }
}

pub(super) fn head(text: &mut String, name: &str, kind: &str, help: &str) {
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
    use crate::admin::request_counts::AnsweredCount;
    use crate::credentials::CredentialStatus;
    use crate::upload::counters::SegmentCounts;
    use crate::upload::metrics::SpoolMetrics;
    use crate::upload::spans::{Fates, SpanCounts};
    use std::time::Duration;

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_the_histogram_adds_up() {
        let upload = Snapshot {
            segments: SegmentCounts {
                received: 7,
                sent: 4,
                held: 3,
                restored: 2,
                spooled: 2,
                ..SegmentCounts::default()
            },
            metrics: UploadMetrics {
                outcomes: [2, 0, 0, 0, 0, 1, 0, 0],
                buckets: [1, 1, 0, 0, 0, 0, 0, 0, 0],
                duration: Duration::from_millis(1500),
            },
            spans: SpanCounts {
                spans: Fates {
                    accepted: 9,
                    refused: 2,
                    held: 7,
                    ..Fates::default()
                },
                ..SpanCounts::default()
            },
            senders: 3,
            buffer_limit: 1 << 24,
            credentials: CredentialStatus {
                source: "a \"quoted\"\nsource".to_owned(),
                available: true,
                expires: Some(UNIX_EPOCH + Duration::from_secs(60)),
                ..CredentialStatus::default()
            },
            outage: Some(Duration::from_secs(5)),
            spool: Some(SpoolMetrics {
                lost: 8,
                works: true,
                ..SpoolMetrics::default()
            }),
            ..Snapshot::default()
        };
        let text = render(&MetricsSnapshot {
            upload: &upload,
            calls: &RequestCounts {
                answered: vec![AnsweredCount {
                    action: "GetSamplingRules",
                    outcome: "429",
                    count: 2,
                }],
                connections: vec![("idle", 1)],
                ..RequestCounts::default()
            },
            clock_skew: Skew(-1500),
            process: ProcessStatus::read(),
        });
        for line in [
            "xray_segments_received_total 7",
            "xray_segments_held 3",
            "xray_spans_accepted_total 9",
            "xray_spans_refused_total 2",
            "xray_spans_held 7",
            "xray_span_requests_delivered_total 0",
            "xray_segments_restored_total 2",
            "xray_segments_spooled 2",
            "xray_spool_up 1",
            "xray_spool_oldest_age_seconds 0",
            "xray_spool_lost_segments_total 8",
            "xray_upload_senders 3",
            "xray_upload_outage_seconds 5",
            "xray_clock_skew_seconds -1.5",
            "xray_upload_requests_total{outcome=\"2xx\"} 2",
            "xray_upload_requests_total{outcome=\"refused\"} 1",
            "xray_upload_request_duration_seconds_bucket{le=\"0.01\"} 1",
            "xray_upload_request_duration_seconds_bucket{le=\"0.025\"} 2",
            "xray_upload_request_duration_seconds_bucket{le=\"10\"} 2",
            "xray_upload_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "xray_upload_request_duration_seconds_sum 1.5",
            "xray_upload_request_duration_seconds_count 3",
            "xray_proxy_requests_total{action=\"GetSamplingRules\",outcome=\"429\"} 2",
            "xray_proxy_connections{state=\"idle\"} 1",
            "xray_credentials_expiry_timestamp_seconds{source=\"a \\\"quoted\\\"\\nsource\"} 60",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        for line in text.lines() {
            assert!(
                ["# ", "xray_", "process_"]
                    .iter()
                    .any(|start| line.starts_with(start)),
                "{line}"
            );
        }
    }
}
