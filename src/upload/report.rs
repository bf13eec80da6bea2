//! What the log says of documents that were delivered or refused.

use std::time::{Duration, Instant};

use super::response::{HoldReason, Meaning, Unprocessed, XRayResponse};
use super::sender::Payload;
use crate::batch::{Batch, DocumentIds, ids};
use crate::http::error::TransportError;
use crate::logging::{self, RateLimit};
use crate::spool::XRayApi;

/// Delivered batches are logged at most once a second, with the count of those between.
static DELIVERED: RateLimit = RateLimit::new(1, Duration::from_secs(1));

/// Refused documents, each in a line of its own, up to so many a minute.
static REFUSED: RateLimit = RateLimit::new(100, Duration::from_secs(60));

/// Refused requests with spans: apart, so that segments are said to be refused whatever becomes of spans.
static SPANS_REFUSED: RateLimit = RateLimit::new(100, Duration::from_secs(60));

/// What X-Ray says of spans that it has taken.
static SPANS_WARNED: RateLimit = RateLimit::new(1, Duration::from_secs(60));

/// Entries about documents that were not sent.
static STRANGERS: RateLimit = RateLimit::new(1, Duration::from_secs(60));

/// Longest text of the service in a line of the log, in bytes.
const MAX_TEXT: usize = 300;

/// A request has ended, however it did.
pub(super) fn request(
    payload: &Payload,
    result: &Result<XRayResponse, TransportError>,
    took: Duration,
) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let what = match payload {
        Payload::Segments(batch) => format!("PutTraceSegments with {} segments", batch.len()),
        Payload::Otlp(request) => format!("a request with {} spans", request.spans),
        Payload::Telemetry(_) => "PutTelemetryRecords".to_owned(),
    };
    log::debug!(
        "{what}, {} bytes: {} after {:.3} seconds",
        payload.body().len(),
        explain(payload.api().unwrap_or(XRayApi::Segments), result),
        took.as_secs_f64()
    );
}

/// A request of which X-Ray took all documents, or all but `unprocessed`. The words are those of the
/// official daemon.
pub(super) fn delivered(documents: usize, unprocessed: usize, took: Duration) {
    let Some(held_back) = DELIVERED.allow(Instant::now()) else {
        return;
    };
    if unprocessed == 0 {
        log::info!(
            "Successfully sent batch of {documents} segments ({:.3} seconds){held_back}",
            took.as_secs_f64()
        );
    } else {
        log::warn!(
            "Sent batch of {documents} segments but had {unprocessed} Unprocessed segments{held_back}"
        );
    }
}

/// Why X-Ray took no document of a request, in its words: the first that may pass.
pub(super) fn takes_nothing(entries: &[Unprocessed]) -> String {
    let first = entries.iter().find(|entry| entry.is_transient());
    let text = |text: fn(&Unprocessed) -> &str| shown(first.map(text));
    format!(
        "X-Ray takes none of the segments: {}: {}",
        text(|entry| &entry.code),
        text(|entry| &entry.message)
    )
}

/// X-Ray did not take one document of a request.
pub(super) fn unprocessed(ids: Option<&DocumentIds>, entry: &Unprocessed) {
    let Some(held_back) = REFUSED.allow(Instant::now()) else {
        return;
    };
    log::error!(
        "X-Ray did not take a segment: trace id {}, id {}, {}: {}{held_back}",
        shown(ids.and_then(|ids| ids.trace_id.as_deref())),
        shown(entry.id.as_deref()),
        shown(Some(&entry.code)),
        shown(Some(&entry.message)),
    );
}

/// X-Ray named a document that the request did not hold.
pub(super) fn stranger(entry: &Unprocessed) {
    if let Some(held_back) = STRANGERS.allow(Instant::now()) {
        log::warn!(
            "X-Ray named a segment that was not in the request: id {}, {}: {}{held_back}",
            shown(entry.id.as_deref()),
            shown(Some(&entry.code)),
            shown(Some(&entry.message)),
        );
    }
}

/// A document that stood alone in its request will never be taken.
pub(super) fn refused(batch: &Batch, result: &Result<XRayResponse, TransportError>) {
    if let Some(held_back) = REFUSED.allow(Instant::now()) {
        let document = batch.documents().next().unwrap_or_default();
        let ids = ids(&document);
        log::error!(
            "X-Ray refused a segment: trace id {}, id {}, {} bytes: {}{held_back}",
            shown(ids.trace_id.as_deref()),
            shown(ids.id.as_deref()),
            document.len(),
            explain(XRayApi::Segments, result),
        );
    }
}

/// X-Ray has taken a request with spans, but for `refused` of them.
pub(super) fn spans_delivered(spans: usize, refused: usize, message: &str, took: Duration) {
    if refused > 0 {
        if let Some(held_back) = SPANS_REFUSED.allow(Instant::now()) {
            log::error!(
                "X-Ray refused {refused} of {spans} spans: {}{held_back}",
                shown(Some(message))
            );
        }
        return;
    }
    if !message.is_empty()
        && let Some(held_back) = SPANS_WARNED.allow(Instant::now())
    {
        log::warn!(
            "X-Ray took {spans} spans and says: {}{held_back}",
            shown(Some(message))
        );
    }
    if let Some(held_back) = DELIVERED.allow(Instant::now()) {
        log::info!(
            "Successfully sent {spans} spans ({:.3} seconds){held_back}",
            took.as_secs_f64()
        );
    }
}

/// X-Ray will never take a request with spans.
pub(super) fn spans_refused(spans: usize, result: &Result<XRayResponse, TransportError>) {
    if let Some(held_back) = SPANS_REFUSED.allow(Instant::now()) {
        log::error!(
            "X-Ray refused a request with {spans} spans: {}{held_back}",
            explain(XRayApi::Otlp, result)
        );
    }
}

/// What an answer of this API means.
pub(super) fn meaning(api: XRayApi, response: &XRayResponse) -> Meaning<'_> {
    match api {
        XRayApi::Segments => response.meaning(),
        XRayApi::Otlp => response.meaning_for_spans(),
    }
}

fn shown(text: Option<&str>) -> String {
    match text {
        None | Some("") => "unknown".to_owned(),
        Some(text) => logging::escape(text.as_bytes(), MAX_TEXT),
    }
}

/// One line of what went wrong, and where it is known, what to do.
pub(crate) fn explain(api: XRayApi, result: &Result<XRayResponse, TransportError>) -> String {
    let response = match result {
        Err(error) => return shown(Some(&error.to_string())),
        Ok(response) => response,
    };
    if let Meaning::Hold(HoldReason::NotXRay(missing)) = meaning(api, response) {
        return format!(
            "HTTP {}, but the answer is not X-Ray's ({missing}); is a proxy, a portal or an \
             emulator in between?",
            response.status
        );
    }
    let mut text = format!("HTTP {}", response.status);
    for part in [&response.code, &response.message].into_iter().flatten() {
        text.push_str(": ");
        text.push_str(&shown(Some(part)));
    }
    if api == XRayApi::Otlp {
        text.push_str(response.advice_for_spans());
        return text;
    }
    let code = response.code.as_deref();
    if code.is_some_and(|code| code.starts_with("AccessDenied")) {
        text.push_str(
            "; give the role of this daemon (the task role on ECS) the policy AWSXRayDaemonWriteAccess",
        );
    }
    text
}
