//! The metrics of OpenTelemetry's spans:
//! `accepted + restored = delivered + shown + refused + dropped + held + spooled`, for spans, for the requests
//! that they came in, and for their bytes.

use super::metrics::plain;
use crate::upload::spans::{Fates, SpanCounts};

pub(super) fn render(text: &mut String, counts: &SpanCounts) {
    for (name, noun, fates) in [
        ("spans", "Spans", counts.spans),
        ("span_requests", "Requests with spans", counts.requests),
        ("span_bytes", "Bytes of requests with spans", counts.bytes),
    ] {
        for (fate, kind, help, value) in rows(fates) {
            let (name, help) = (format!("{name}_{fate}"), format!("{noun} {help}."));
            plain(text, &[(&name, kind, &help, value)]);
        }
    }
}

/// The end of the name, the kind, the end of the help, and the value of each.
fn rows(fates: Fates) -> [(&'static str, &'static str, &'static str, u64); 8] {
    [
        (
            "accepted_total",
            "counter",
            "taken from clients",
            fates.accepted,
        ),
        (
            "delivered_total",
            "counter",
            "that X-Ray took",
            fates.delivered,
        ),
        (
            "shown_total",
            "counter",
            "shown here instead of being sent (--exporter console, json)",
            fates.shown,
        ),
        (
            "refused_total",
            "counter",
            "that X-Ray refused",
            fates.refused,
        ),
        (
            "dropped_total",
            "counter",
            "lost because the time of the shutdown was over, or lost from the spool",
            fates.dropped,
        ),
        ("held", "gauge", "waiting or in flight", fates.held),
        (
            "restored_total",
            "counter",
            "of earlier runs that were found in the spool",
            fates.restored,
        ),
        (
            "spooled",
            "gauge",
            "that are in the spool only",
            fates.spooled,
        ),
    ]
}
