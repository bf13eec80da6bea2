//! The uploader's rounds: what has its time, and the end.

use std::io;
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::desk::{Desk, LINGER};
use crate::upload::back_off;
use crate::upload::queue::Pending;
use crate::upload::response::Failure;
use crate::upload::telemetry;

/// A line about what is lost or held, at most this often.
const SUMMARY: Duration = Duration::from_secs(60);

/// What the thread `uploader` is to do after a round.
pub(super) enum Next {
    /// Start the lane of this number.
    StartLane(usize),
    /// Sleep until woken, at most so long.
    Sleep(Option<Duration>),
    /// Everything is delivered, or time is up.
    End,
}

impl Desk {
    /// Does what has its time.
    pub(super) fn round(&mut self, uploader: &Thread, now: Instant) -> Next {
        self.sleeper = None;
        for ping in self.pings.drain(..) {
            let _ = ping.try_send(());
        }
        if self.due.is_some_and(|due| due <= now) {
            self.take_open_batch(now);
        }
        // A daemon that nobody has sent anything to has nothing to tell.
        if self.parts.books.any_received() {
            self.telemetry(now);
            self.summary(now);
        }
        self.see_to_it(now);
        if self.stop.is_some_and(|end| now >= end || self.is_done()) {
            self.leave();
            return Next::End;
        }
        let request = self.next_request(now);
        if request.is_some_and(|at| at <= now) && self.wants_lane(now) {
            return Next::StartLane(self.lanes.admit());
        }
        self.sleeper = Some(uploader.clone());
        self.wakes = [
            // What could go now waits for a lane to come back.
            request.filter(|at| *at > now),
            self.due,
            self.telemetry_due,
            self.summary_due,
            self.stop,
        ]
        .into_iter()
        .flatten()
        .min();
        Next::Sleep(self.wakes.map(|at| at.saturating_duration_since(now)))
    }

    /// The lane could not be started.
    pub(super) fn no_lane(&mut self, error: &io::Error, now: Instant) {
        self.lanes.dismiss(now);
        let words = format!("no thread for a lane: {error}");
        if self.lanes.count() > 0 {
            // The others go on, and X-Ray has refused nothing.
            log::debug!("{words}");
        } else {
            self.back_off
                .failed(self.back_off.epoch(), now, None, back_off::jitter());
            self.trouble.failed(&Err((Failure::Other, words)), now);
            self.forget_telemetry();
        }
        self.see_to_it(now);
    }

    /// Takes the open batch, if a second has passed since its first document.
    fn take_open_batch(&mut self, now: Instant) {
        self.due = match self.parts.intake.open_since() {
            // The batch that was watched filled up; this is a younger one.
            Some(since) if since + LINGER > now => Some(since + LINGER),
            Some(_) => {
                self.pending.push(self.parts.intake.take());
                Some(now + LINGER)
            }
            None => {
                self.parts.intake.rest();
                None
            }
        };
    }

    fn telemetry(&mut self, now: Instant) {
        if self.stop.is_some() {
            // A time that nobody minds any more would keep the uploader awake once it is past.
            self.telemetry_due = None;
            if self.is_done() && !self.final_record {
                self.final_record = true;
                self.record_telemetry(now);
            }
            return;
        }
        let due = *self.telemetry_due.get_or_insert(now + telemetry::INTERVAL);
        if now >= due {
            self.telemetry_due = Some(now + telemetry::INTERVAL);
            self.record_telemetry(now);
        }
    }

    fn record_telemetry(&mut self, now: Instant) {
        let totals = self.parts.books.totals();
        self.parts.telemetry.record(self.parts.clock.now(), totals);
        // Only what can go at once is laid out: the end waits for it.
        if self.back_off.is_healthy() && self.outbox.is_none() && self.credentials(now).is_some() {
            self.outbox = self.parts.telemetry.next_call();
        }
    }

    /// Telemetry does not wait for the end of trouble.
    pub(super) fn forget_telemetry(&mut self) {
        if self.outbox.take().is_some() {
            self.parts.telemetry.answered(false);
        }
    }

    fn summary(&mut self, now: Instant) {
        let due = *self.summary_due.get_or_insert(now + SUMMARY);
        if now >= due {
            self.summary_due = Some(now + SUMMARY);
            self.trouble.summary(self.parts.books.totals());
        }
    }

    fn is_delivered(&self) -> bool {
        self.pending.is_empty() && self.in_flight_bytes == 0
    }

    /// Whether nothing is left to deliver, the last telemetry included.
    fn is_done(&self) -> bool {
        self.is_delivered() && self.lanes.in_flight() == 0 && self.outbox.is_none()
    }

    /// The end: what is still held is lost, and said to be.
    fn leave(&mut self) {
        self.closed = true;
        // Lanes that come back find nothing more to carry.
        self.pending = Pending::new(0);
        self.outbox = None;
        let left = self.parts.books.totals().held();
        if left > 0 {
            self.parts
                .books
                .spilled(usize::try_from(left).unwrap_or(usize::MAX));
            log::error!("{left} segments could not be delivered before the daemon had to stop");
        }
    }
}
