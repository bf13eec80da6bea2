//! Telemetry records: the daemon's own statistics for X-Ray, once a minute.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::counters::SegmentCounts;
use super::metrics::RequestOutcome;

/// Time between two records.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// Records in one call, as the official daemon sends them.
const MAX_IN_CALL: usize = 10;

/// Records kept while X-Ray does not take them: half an hour.
const MAX_KEPT: usize = 30;

/// Who sends the records. Empty where unknown, as the official daemon sends it.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// EC2 instance id, at most 20 characters.
    pub(crate) instance_id: String,
    /// Host name, at most 255 characters.
    pub hostname: String,
    /// ARN given by `-a`, at most 500 characters.
    pub(crate) resource_arn: String,
}

/// Failed requests of one minute, by kind.
#[derive(Debug, Clone, Copy, Default)]
struct Errors {
    timeout: u64,
    refused: u64,
    status_4xx: u64,
    status_5xx: u64,
    unknown_host: u64,
    other: u64,
}

/// Records that wait for delivery, and the minute under way.
#[derive(Debug, Default)]
pub(super) struct Telemetry {
    identity: Identity,
    reported: SegmentCounts,
    errors: Errors,
    records: VecDeque<Value>,
    in_flight: usize,
}

impl Telemetry {
    /// With nothing to tell yet.
    pub(super) fn new(identity: Identity) -> Self {
        Telemetry {
            identity,
            ..Telemetry::default()
        }
    }

    /// Sets the instance id and the host name, once the metadata service has answered.
    pub(super) fn set_host(&mut self, instance_id: String, hostname: String) {
        self.identity.instance_id = instance_id;
        self.identity.hostname = hostname;
    }

    /// Counts a request that X-Ray did not take.
    pub(super) fn failed(&mut self, outcome: RequestOutcome) {
        let errors = &mut self.errors;
        let count = match outcome {
            RequestOutcome::Throttled | RequestOutcome::ClientError => &mut errors.status_4xx,
            RequestOutcome::ServerError => &mut errors.status_5xx,
            RequestOutcome::Timeout => &mut errors.timeout,
            RequestOutcome::Refused => &mut errors.refused,
            RequestOutcome::UnknownHost => &mut errors.unknown_host,
            RequestOutcome::Success | RequestOutcome::Other => &mut errors.other,
        };
        *count += 1;
    }

    /// Closes the minute: one record of what happened since the last one.
    pub(super) fn record(&mut self, now: SystemTime, counts: SegmentCounts) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let errors = std::mem::take(&mut self.errors);
        let before = std::mem::replace(&mut self.reported, counts);
        self.records.push_back(json!({
            "Timestamp": since.as_millis() as f64 / 1e3,
            "SegmentsReceivedCount": counts.received - before.received,
            "SegmentsSentCount": counts.sent - before.sent,
            "SegmentsSpilloverCount": counts.spilled - before.spilled,
            "SegmentsRejectedCount": counts.rejected - before.rejected,
            "BackendConnectionErrors": {
                "TimeoutCount": errors.timeout,
                "ConnectionRefusedCount": errors.refused,
                "HTTPCode4XXCount": errors.status_4xx,
                "HTTPCode5XXCount": errors.status_5xx,
                "UnknownHostCount": errors.unknown_host,
                "OtherCount": errors.other,
            },
        }));
        if self.records.len() > MAX_KEPT {
            self.records.pop_front();
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// The body of the next call, unless one is under way or there is nothing to tell.
    pub(super) fn next_call(&mut self) -> Option<String> {
        if self.in_flight > 0 || self.records.is_empty() {
            return None;
        }
        self.in_flight = self.records.len().min(MAX_IN_CALL);
        let records: Vec<&Value> = self.records.iter().take(self.in_flight).collect();
        let body = json!({
            "EC2InstanceId": cut(&self.identity.instance_id, 20),
            "Hostname": cut(&self.identity.hostname, 255),
            "ResourceARN": cut(&self.identity.resource_arn, 500),
            "TelemetryRecords": records,
        });
        Some(body.to_string())
    }

    /// The call under way has ended.
    pub(super) fn answered(&mut self, delivered: bool) {
        if delivered {
            self.records.drain(..self.in_flight);
        }
        self.in_flight = 0;
    }
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::TransportErrorKind;

    fn totals(received: u64, sent: u64) -> SegmentCounts {
        SegmentCounts {
            received,
            sent,
            ..SegmentCounts::default()
        }
    }

    fn records(body: &str) -> Vec<Value> {
        let body: Value = serde_json::from_str(body).unwrap();
        body["TelemetryRecords"].as_array().unwrap().clone()
    }

    #[test]
    fn a_record_tells_what_happened_since_the_last() {
        let mut telemetry = Telemetry::new(Identity::default());
        assert_eq!(telemetry.next_call(), None);
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        telemetry.record(at, totals(10, 4));
        telemetry.failed(RequestOutcome::Timeout);
        telemetry.failed(RequestOutcome::of_status(503));
        telemetry.record(at, totals(11, 11));
        let body = telemetry.next_call().unwrap();
        assert!(body.contains(r#""EC2InstanceId":"""#), "{body}");
        let records = records(&body);
        assert_eq!(records[0]["Timestamp"], 1_700_000_000.123);
        let counts = |i: usize, key: &str| records[i][key].as_u64().unwrap();
        assert_eq!(
            (
                counts(0, "SegmentsReceivedCount"),
                counts(0, "SegmentsSentCount")
            ),
            (10, 4)
        );
        assert_eq!(
            (
                counts(1, "SegmentsReceivedCount"),
                counts(1, "SegmentsSentCount")
            ),
            (1, 7)
        );
        let errors = &records[1]["BackendConnectionErrors"];
        assert_eq!(errors["TimeoutCount"], 1);
        assert_eq!(errors["HTTPCode5XXCount"], 1);
        assert_eq!(records[0]["BackendConnectionErrors"]["TimeoutCount"], 0);
    }

    #[test]
    fn every_kind_of_failure_has_its_counter() {
        let status = RequestOutcome::of_status;
        let failed = RequestOutcome::of_error;
        for (outcome, key) in [
            (failed(TransportErrorKind::Timeout), "TimeoutCount"),
            (
                failed(TransportErrorKind::Refused),
                "ConnectionRefusedCount",
            ),
            (failed(TransportErrorKind::UnknownHost), "UnknownHostCount"),
            (failed(TransportErrorKind::Other), "OtherCount"),
            (status(429), "HTTPCode4XXCount"),
            (status(500), "HTTPCode5XXCount"),
            (status(302), "OtherCount"),
        ] {
            let mut telemetry = Telemetry::default();
            telemetry.failed(outcome);
            telemetry.record(UNIX_EPOCH, totals(0, 0));
            let records = records(&telemetry.next_call().unwrap());
            let errors = records[0]["BackendConnectionErrors"].as_object().unwrap();
            assert_eq!(errors.values().map(|v| v.as_u64().unwrap()).sum::<u64>(), 1);
            assert_eq!(errors[key], 1, "{key}");
        }
    }

    #[test]
    fn ten_records_a_call_and_thirty_kept() {
        let mut telemetry = Telemetry::default();
        for minute in 1..=40 {
            telemetry.record(UNIX_EPOCH, totals(minute * minute, 0));
        }
        let first = |body: &str| records(body)[0]["SegmentsReceivedCount"].as_u64().unwrap();
        let body = telemetry.next_call().unwrap();
        assert_eq!((records(&body).len(), first(&body)), (10, 21));
        assert_eq!(telemetry.next_call(), None, "one call at a time");
        telemetry.answered(false);
        assert_eq!(telemetry.next_call(), Some(body));
        telemetry.answered(true);
        assert_eq!(first(&telemetry.next_call().unwrap()), 41);
        // The record in flight that had to make room is not delivered twice or taken from others.
        for _ in 0..30 {
            telemetry.record(UNIX_EPOCH, totals(5000, 0));
        }
        telemetry.answered(true);
        assert_eq!(first(&telemetry.next_call().unwrap()), 5000 - 1600);
    }
}
