//! The metrics of the requests that clients make by TCP.

use std::fmt::Write;

use super::metrics::{head, plain};
use super::request_counts::{AnsweredCount, RequestCounts};

pub(super) fn render(text: &mut String, calls: &RequestCounts) {
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
        "Connections by TCP. Those that are being closed count as idle.",
        &calls.connections,
    );
    let values = [
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
    ];
    plain(text, &values);
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
