//! What the uploader counts besides segments, and the snapshot that operators see.

use std::time::Duration;

use super::counters::SegmentCounts;
use super::response::XRayResponse;
use super::sender::{TransportError, TransportErrorKind};
use crate::credentials::CredentialStatus;

/// Upper bounds of the latency histogram, seconds. X-Ray answers in tens of milliseconds; a
/// request ends after ten seconds.
pub const LATENCY_BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How a request ended, as far as statistics tell requests apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// An answer with this status.
    Status(u16),
    /// No answer.
    Failed(TransportErrorKind),
}

impl RequestOutcome {
    pub(super) fn of(result: &Result<XRayResponse, TransportError>) -> Self {
        match result {
            Ok(response) => RequestOutcome::Status(response.status),
            Err(error) => RequestOutcome::Failed(error.kind),
        }
    }

    /// The value of the label `outcome`.
    pub fn label(self) -> &'static str {
        match self {
            RequestOutcome::Status(200..=299) => "2xx",
            RequestOutcome::Status(429) => "429",
            RequestOutcome::Status(400..=499) => "4xx",
            RequestOutcome::Status(500..=599) => "5xx",
            RequestOutcome::Status(_) => "other",
            RequestOutcome::Failed(TransportErrorKind::Timeout) => "timeout",
            RequestOutcome::Failed(TransportErrorKind::Refused) => "refused",
            RequestOutcome::Failed(TransportErrorKind::UnknownHost) => "unknown_host",
            RequestOutcome::Failed(TransportErrorKind::Other) => "other",
        }
    }
}

/// The labels of [`RequestOutcome`].
pub const OUTCOME_LABELS: [&str; 8] = [
    "2xx",
    "429",
    "4xx",
    "5xx",
    "timeout",
    "refused",
    "unknown_host",
    "other",
];

/// Requests by outcome and their latency.
#[derive(Debug, Clone, Default)]
pub struct UploadMetrics {
    /// In the order of [`OUTCOME_LABELS`].
    pub outcomes: [u64; OUTCOME_LABELS.len()],
    /// Requests that took at most as long as the bound of the same index and longer than the one
    /// before it.
    pub buckets: [u64; LATENCY_BUCKETS.len()],
    /// Time of all requests together.
    pub duration: Duration,
}

impl UploadMetrics {
    pub(super) fn record(&mut self, outcome: RequestOutcome, took: Duration) {
        let label = outcome.label();
        if let Some(index) = OUTCOME_LABELS.iter().position(|known| *known == label) {
            self.outcomes[index] += 1;
        }
        let seconds = took.as_secs_f64();
        if let Some(index) = LATENCY_BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.buckets[index] += 1;
        }
        self.duration += took;
    }
}

/// All that the uploader knows, of one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Segments by fate.
    pub segments: SegmentCounts,
    /// Requests.
    pub metrics: UploadMetrics,
    /// Sender threads.
    pub senders: usize,
    /// Bytes of documents in the channel, waiting and in flight.
    pub buffer_used: usize,
    /// Most bytes of documents that are held.
    pub buffer_limit: usize,
    /// Where credentials come from and until when they are used.
    pub credentials: CredentialStatus,
    /// How long nothing could be delivered although segments wait. `None` while all is well.
    pub outage: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_counter() {
        use TransportErrorKind::{Other, Refused, Timeout, UnknownHost};
        let outcomes = [200, 429, 400, 503, 302]
            .map(RequestOutcome::Status)
            .into_iter()
            .chain([Timeout, Refused, UnknownHost, Other].map(RequestOutcome::Failed));
        let mut metrics = UploadMetrics::default();
        for outcome in outcomes {
            assert!(OUTCOME_LABELS.contains(&outcome.label()), "{outcome:?}");
            metrics.record(outcome, Duration::from_millis(20));
        }
        assert_eq!(metrics.outcomes, [1, 1, 1, 1, 1, 1, 1, 2]);
        assert_eq!(metrics.buckets[1], 9);
        metrics.record(RequestOutcome::Status(200), Duration::from_secs(60));
        assert_eq!(metrics.buckets.iter().sum::<u64>(), 9, "above every bound");
    }
}
