//! What is said when segments cannot be delivered.

use std::time::{Duration, Instant};

use super::outcome::explain;
use crate::credentials::CredentialStatus;
use crate::upload::counters::Totals;
use crate::upload::response::{Answer, Failure};

/// Trouble is said once when it begins, once a minute while it lasts, and once when it is over.
#[derive(Default)]
pub(super) struct Trouble {
    since: Option<Instant>,
    said: Option<Instant>,
    held_back: u64,
    reason: String,
    spilled: usize,
    told: Totals,
}

/// The same reason again, and another reason: services put times and ids into their words.
const AGAIN: Duration = Duration::from_secs(60);
const ANOTHER: Duration = Duration::from_secs(10);

impl Trouble {
    pub(super) fn failed(&mut self, result: &Result<Answer, (Failure, String)>, now: Instant) {
        if !self.begin(
            format!("X-Ray does not take them: {}", explain(result)),
            now,
        ) {
            self.held_back += 1;
        }
    }

    /// There are documents, but nothing to sign them with.
    pub(super) fn no_credentials(&mut self, status: &CredentialStatus, now: Instant) {
        // The first attempt is still under way: no trouble yet.
        if let Some(why) = &status.error {
            self.begin(format!("nothing can sign them: {why}"), now);
        }
    }

    /// Says it, unless it was said lately; answers whether it did.
    fn begin(&mut self, reason: String, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let pause = if reason == self.reason {
            AGAIN
        } else {
            ANOTHER
        };
        if self.said.is_some_and(|said| now - said < pause) {
            return false;
        }
        let again = match self.held_back {
            0 => String::new(),
            n => format!(" ({n} more tries failed since the last such line)"),
        };
        log::error!("segments are held, {reason}{again}");
        *self = Trouble {
            since: self.since,
            said: Some(now),
            reason,
            spilled: self.spilled,
            told: self.told,
            held_back: 0,
        };
        true
    }

    pub(super) fn over(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            log::info!(
                "X-Ray takes segments again, after {:.1} s",
                (now - since).as_secs_f64()
            );
            self.said = None;
            self.held_back = 0;
            self.reason.clear();
        }
    }

    /// Documents were dropped because the buffer was full.
    pub(super) fn spilled(&mut self, documents: usize) {
        if self.spilled == 0 {
            log::warn!(
                "the buffer is full: the oldest segments are dropped; raise -m, or see why X-Ray does not take them"
            );
        }
        self.spilled += documents;
    }

    /// One line a minute, if anything was lost in it or is held.
    pub(super) fn summary(&mut self, totals: Totals) {
        let lost = totals.lost() - self.told.lost();
        if lost > 0 {
            let reason = match self.reason.as_str() {
                "" => String::new(),
                reason => format!("; {reason}"),
            };
            log::warn!("{lost} segments were lost in the last minute: {totals}{reason}");
        } else if totals.held() > 0 && self.since.is_some() {
            // Why, the line about the trouble says.
            log::warn!("no segment was lost in the last minute, some are held: {totals}");
        }
        self.spilled = 0;
        self.told = totals;
    }
}
