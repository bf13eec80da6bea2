//! The metrics of OpenTelemetry's spans:
//! `accepted + restored = delivered + shown + refused + dropped + held + spooled`, for spans, for the requests
//! that they came in, and for their bytes.

use super::metrics::plain;
use crate::upload::spans::SpanCounts;

pub(super) fn render(text: &mut String, counts: &SpanCounts) {
    let values = [
        (
            "spans_accepted_total",
            "counter",
            "Spans taken from clients.",
            counts.spans.accepted,
        ),
        (
            "spans_delivered_total",
            "counter",
            "Spans that X-Ray took.",
            counts.spans.delivered,
        ),
        (
            "spans_shown_total",
            "counter",
            "Spans shown here instead of being sent (--exporter console, json).",
            counts.spans.shown,
        ),
        (
            "spans_refused_total",
            "counter",
            "Spans that X-Ray refused.",
            counts.spans.refused,
        ),
        (
            "spans_dropped_total",
            "counter",
            "Spans lost because the time of the shutdown was over, or lost from the spool.",
            counts.spans.dropped,
        ),
        (
            "spans_held",
            "gauge",
            "Spans waiting or in flight.",
            counts.spans.held,
        ),
        (
            "spans_restored_total",
            "counter",
            "Spans of earlier runs that were found in the spool.",
            counts.spans.restored,
        ),
        (
            "spans_spooled",
            "gauge",
            "Spans that are in the spool only.",
            counts.spans.spooled,
        ),
        (
            "span_requests_accepted_total",
            "counter",
            "Requests with spans taken from clients.",
            counts.requests.accepted,
        ),
        (
            "span_requests_delivered_total",
            "counter",
            "Requests with spans that X-Ray took.",
            counts.requests.delivered,
        ),
        (
            "span_requests_shown_total",
            "counter",
            "Requests with spans shown here instead of being sent (--exporter console, json).",
            counts.requests.shown,
        ),
        (
            "span_requests_refused_total",
            "counter",
            "Requests with spans that X-Ray refused.",
            counts.requests.refused,
        ),
        (
            "span_requests_dropped_total",
            "counter",
            "Requests with spans lost because the time of the shutdown was over, or lost from the spool.",
            counts.requests.dropped,
        ),
        (
            "span_requests_held",
            "gauge",
            "Requests with spans waiting or in flight.",
            counts.requests.held,
        ),
        (
            "span_requests_restored_total",
            "counter",
            "Requests with spans of earlier runs that were found in the spool.",
            counts.requests.restored,
        ),
        (
            "span_requests_spooled",
            "gauge",
            "Requests with spans that are in the spool only.",
            counts.requests.spooled,
        ),
        (
            "span_bytes_accepted_total",
            "counter",
            "Bytes of requests with spans taken from clients.",
            counts.bytes.accepted,
        ),
        (
            "span_bytes_delivered_total",
            "counter",
            "Bytes of requests with spans that X-Ray took.",
            counts.bytes.delivered,
        ),
        (
            "span_bytes_shown_total",
            "counter",
            "Bytes of requests with spans shown here instead of being sent (--exporter console, json).",
            counts.bytes.shown,
        ),
        (
            "span_bytes_refused_total",
            "counter",
            "Bytes of requests with spans that X-Ray refused.",
            counts.bytes.refused,
        ),
        (
            "span_bytes_dropped_total",
            "counter",
            "Bytes of requests with spans lost because the time of the shutdown was over, or lost from the spool.",
            counts.bytes.dropped,
        ),
        (
            "span_bytes_held",
            "gauge",
            "Bytes of requests with spans waiting or in flight.",
            counts.bytes.held,
        ),
        (
            "span_bytes_restored_total",
            "counter",
            "Bytes of requests with spans of earlier runs that were found in the spool.",
            counts.bytes.restored,
        ),
        (
            "span_bytes_spooled",
            "gauge",
            "Bytes of requests with spans that are in the spool only.",
            counts.bytes.spooled,
        ),
    ];
    plain(text, &values);
}
