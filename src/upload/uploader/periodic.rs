//! What is due once a minute: telemetry records, and the summary of losses.

use std::time::Instant;

use super::{Now, Uploader};
use crate::upload::outage_log::SUMMARY_INTERVAL;
use crate::upload::telemetry;

impl Uploader {
    pub(super) fn telemetry_tick(&mut self, now: Now) {
        if self.shutdown.is_some() {
            self.telemetry_due = None;
            self.last_record(now);
            return;
        }
        let due = *self
            .telemetry_due
            .get_or_insert(now.instant + telemetry::INTERVAL);
        if now.instant >= due {
            self.telemetry_due = Some(now.instant + telemetry::INTERVAL);
            self.record_telemetry(now);
        }
    }

    /// The last telemetry record is sent after everything else has been delivered.
    fn last_record(&mut self, now: Now) {
        let is_drained = self.is_drained();
        if let Some(shutdown) = &mut self.shutdown
            && shutdown.readers_ended
            && is_drained
            && !std::mem::replace(&mut shutdown.last_record, true)
        {
            self.record_telemetry(now);
        }
    }

    fn record_telemetry(&mut self, now: Now) {
        let counts = self.counts();
        self.telemetry.record(now.wall, counts);
        // A record is prepared only if it can be sent at once, because the shutdown waits for it.
        if self.destinations.segments.back_off.is_healthy()
            && self.telemetry_body.is_none()
            && self.usable_credentials().is_some()
        {
            self.telemetry_body = self.telemetry.next_call();
        }
    }

    /// Telemetry does not wait for the end of an outage.
    pub(super) fn forget_telemetry(&mut self) {
        if self.telemetry_body.take().is_some() {
            self.telemetry.answered(false);
        }
    }

    pub(super) fn summary_tick(&mut self, now: Instant) {
        let due = *self.summary_due.get_or_insert(now + SUMMARY_INTERVAL);
        if now >= due {
            self.summary_due = Some(now + SUMMARY_INTERVAL);
            let counts = self.counts();
            self.destinations.segments.outage.summary(counts);
        }
    }
}
