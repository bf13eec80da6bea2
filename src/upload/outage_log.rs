//! The log lines of an outage: one when it begins, one a minute while it lasts, one when it is over.

use std::time::{Duration, Instant};

use super::counters::SegmentCounts;
use crate::spool::XRayApi;

/// Pause before the same reason is logged again, and before another reason is logged: services put
/// times and ids into their messages. A summary of what was lost or waits, at most this often.
pub(super) const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

const SAME_REASON: Duration = Duration::from_secs(60);
const OTHER_REASON: Duration = Duration::from_secs(10);

/// What was already logged of the current outage.
#[derive(Debug)]
pub(super) struct OutageLog {
    api: XRayApi,
    since: Option<Instant>,
    logged_at: Option<Instant>,
    not_logged: u64,
    reason: String,
    /// Whether documents were dropped since the last summary.
    is_spilling: bool,
    summarised: SegmentCounts,
}

impl OutageLog {
    pub(super) fn new(api: XRayApi) -> Self {
        OutageLog {
            api,
            since: None,
            logged_at: None,
            not_logged: 0,
            reason: String::new(),
            is_spilling: false,
            summarised: SegmentCounts::default(),
        }
    }

    /// An upload failed. `held` is how many segments or spans wait.
    pub(super) fn failed(&mut self, reason: String, held: u64, now: Instant) {
        if !self.cannot_upload(reason, held, now) {
            self.not_logged += 1;
        }
    }

    /// No upload can succeed now, or even be tried. Returns whether that was logged.
    pub(super) fn cannot_upload(&mut self, reason: String, held: u64, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let pause = if reason == self.reason {
            SAME_REASON
        } else {
            OTHER_REASON
        };
        if self.logged_at.is_some_and(|at| now < at + pause) {
            return false;
        }
        let others = match self.not_logged {
            0 => String::new(),
            n => format!(" ({n} more attempts failed since the last such line)"),
        };
        let (what, held_ones) = self.nouns();
        log::error!("cannot upload{what}: {reason}; {held} {held_ones} buffered{others}");
        self.logged_at = Some(now);
        self.not_logged = 0;
        self.reason = reason;
        true
    }

    /// An upload succeeded.
    pub(super) fn over(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            log::info!(
                "uploading{} again after {:.1} s without success",
                self.nouns().0,
                (now - since).as_secs_f64()
            );
            self.logged_at = None;
            self.not_logged = 0;
            self.reason.clear();
        }
    }

    /// The words for what cannot be uploaded, if it is not segments, and for what is held.
    fn nouns(&self) -> (&'static str, &'static str) {
        match self.api {
            XRayApi::Segments => ("", "segments"),
            XRayApi::Otlp => (" spans", "spans"),
        }
    }

    /// Documents were dropped because the buffer was full.
    pub(super) fn spilled(&mut self) {
        if !std::mem::replace(&mut self.is_spilling, true) {
            log::warn!(
                "the buffer is full: the oldest segments are dropped; raise the buffer memory (-m), or see why segments cannot be uploaded"
            );
        }
    }

    /// One line a minute, if anything was lost in it or waits in an outage.
    pub(super) fn summary(&mut self, counts: SegmentCounts) {
        let lost = counts.lost() - self.summarised.lost();
        if lost > 0 {
            let reason = match self.reason.as_str() {
                "" => String::new(),
                reason => format!("; {reason}"),
            };
            log::warn!("{lost} segments were lost in the last minute: {counts}{reason}");
        } else if counts.held > 0 && self.since.is_some() {
            log::warn!("no segment was lost in the last minute, some are buffered: {counts}");
        }
        self.is_spilling = false;
        self.summarised = counts;
    }

    /// When the outage began.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// What an operator should know of an outage under way.
    pub(super) fn note(&self, now: Instant) -> Option<String> {
        let seconds = (now - self.since?).as_secs_f64();
        let what = self.nouns().0;
        let reason = &self.reason;
        Some(format!("cannot upload{what} for {seconds:.0} s: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_tried_is_no_attempt_that_failed() {
        let mut outage = OutageLog::new(XRayApi::Segments);
        let now = Instant::now();
        assert!(outage.cannot_upload("no AWS credentials".to_owned(), 1, now));
        for _ in 0..9 {
            assert!(!outage.cannot_upload("no AWS credentials".to_owned(), 1, now));
        }
        assert_eq!(outage.not_logged, 0);
        outage.failed("HTTP 503".to_owned(), 1, now);
        assert_eq!(outage.not_logged, 1);
    }
}
