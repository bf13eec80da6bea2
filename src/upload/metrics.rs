//! What the uploader counts besides segments, and the snapshot that operators see.

use std::time::Duration;

use super::counters::SegmentCounts;
use super::response::XRayResponse;
use super::spans::SpanCounts;

use crate::credentials::CredentialStatus;
use crate::http::error::{TransportError, TransportErrorKind};
use crate::spool::Usage;

/// Upper bounds of the latency histogram, seconds. X-Ray answers in tens of milliseconds; a
/// request ends after ten seconds.
pub(crate) const LATENCY_BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How a request ended, as far as statistics tell requests apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// A status of 200 to 299.
    Success,
    /// The status 429.
    Throttled,
    /// Another status of 400 to 499.
    ClientError,
    /// A status of 500 to 599.
    ServerError,
    /// No connection, or no answer, in time.
    Timeout,
    /// The connection was refused.
    Refused,
    /// The name has no address.
    UnknownHost,
    /// Another status, or another reason for no answer.
    Other,
}

/// Every outcome with the value of its label `outcome`.
pub(crate) const OUTCOMES: [(RequestOutcome, &str); 8] = [
    (RequestOutcome::Success, "2xx"),
    (RequestOutcome::Throttled, "429"),
    (RequestOutcome::ClientError, "4xx"),
    (RequestOutcome::ServerError, "5xx"),
    (RequestOutcome::Timeout, "timeout"),
    (RequestOutcome::Refused, "refused"),
    (RequestOutcome::UnknownHost, "unknown_host"),
    (RequestOutcome::Other, "other"),
];

impl RequestOutcome {
    pub(super) fn of(result: &Result<XRayResponse, TransportError>) -> Self {
        match result {
            Ok(response) => Self::of_status(response.status),
            Err(error) => Self::of_error(error.kind),
        }
    }

    pub(super) fn of_status(status: u16) -> Self {
        match status {
            200..=299 => RequestOutcome::Success,
            429 => RequestOutcome::Throttled,
            400..=499 => RequestOutcome::ClientError,
            500..=599 => RequestOutcome::ServerError,
            _ => RequestOutcome::Other,
        }
    }

    pub(super) fn of_error(kind: TransportErrorKind) -> Self {
        match kind {
            TransportErrorKind::Timeout | TransportErrorKind::ConnectTimeout => {
                RequestOutcome::Timeout
            }
            TransportErrorKind::Refused => RequestOutcome::Refused,
            TransportErrorKind::UnknownHost => RequestOutcome::UnknownHost,
            _ => RequestOutcome::Other,
        }
    }
}

/// Requests by outcome and their latency.
#[derive(Debug, Clone, Default)]
pub struct UploadMetrics {
    /// In the order of [`OUTCOMES`].
    pub outcomes: [u64; OUTCOMES.len()],
    /// Requests that took at most as long as the bound of the same index and longer than the one
    /// before it.
    pub(crate) buckets: [u64; LATENCY_BUCKETS.len()],
    /// Time of all requests together.
    pub duration: Duration,
}

impl UploadMetrics {
    pub(super) fn record(&mut self, outcome: RequestOutcome, took: Duration) {
        for ((known, _), count) in OUTCOMES.iter().zip(&mut self.outcomes) {
            *count += u64::from(*known == outcome);
        }
        let seconds = took.as_secs_f64();
        if let Some(index) = LATENCY_BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.buckets[index] += 1;
        }
        self.duration += took;
    }
}

/// The metrics of the spool.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpoolMetrics {
    /// What its files take.
    pub(crate) usage: Usage,
    /// Segments that were lost in it. Lost spans are counted as dropped.
    pub lost: u64,
    /// Places in files of earlier processes that are no record.
    pub damaged: u64,
    /// Whether it works.
    pub works: bool,
}

/// The uploader's counts and metrics at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Segments by fate.
    pub segments: SegmentCounts,
    /// Spans by fate.
    pub spans: SpanCounts,
    /// Requests.
    pub metrics: UploadMetrics,
    /// Sender threads.
    pub senders: usize,
    /// Bytes of memory of segments and spans in the channel, waiting and in flight.
    pub(crate) buffer_used: usize,
    /// Most bytes of memory of segments and spans that are held.
    pub(crate) buffer_limit: usize,
    /// Where credentials come from and until when they are used.
    pub(crate) credentials: CredentialStatus,
    /// How long nothing could be delivered although segments wait. `None` while all is well.
    pub outage: Option<Duration>,
    /// `None` without a spool.
    pub spool: Option<SpoolMetrics>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_counter() {
        use TransportErrorKind::{Other, Refused, Timeout, UnknownHost};
        let outcomes = [200, 429, 400, 503, 302]
            .map(RequestOutcome::of_status)
            .into_iter()
            .chain([Timeout, Refused, UnknownHost, Other].map(RequestOutcome::of_error));
        let mut metrics = UploadMetrics::default();
        for outcome in outcomes {
            let is_listed = OUTCOMES.iter().any(|(known, _)| *known == outcome);
            assert!(is_listed, "{outcome:?}");
            metrics.record(outcome, Duration::from_millis(20));
        }
        assert_eq!(metrics.outcomes, [1, 1, 1, 1, 1, 1, 1, 2]);
        assert_eq!(metrics.buckets[1], 9);
        metrics.record(RequestOutcome::of_status(200), Duration::from_secs(60));
        assert_eq!(metrics.buckets.iter().sum::<u64>(), 9, "above every bound");
    }
}
