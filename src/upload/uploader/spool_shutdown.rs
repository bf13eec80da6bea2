//! The shutdown with a spool: unsent items are kept for the next start.

use std::time::{Duration, Instant};

use super::spooling::{Flush, Spooling};
use super::{Shutdown, Uploader};
use crate::spool::{RecordAmount, SpoolMessage, XRayApi};
use crate::upload::copies::CopyRef;
use crate::upload::destination::Destination;
use crate::upload::item::Item;
use crate::upload::sender_pool::Load;
use crate::upload::spans;

/// This long before the deadline of the shutdown all that is unsent goes to the spool, with copies of
/// what is in flight; half of the time where that is less.
const LAST_PHASE: Duration = Duration::from_secs(2);

/// How long the shutdown waits beyond its deadline for the spool to store unsent items, and to
/// synchronise them. A disk may hang.
pub(super) const SPOOL_WAIT: Duration = Duration::from_secs(2);

impl Shutdown {
    pub(super) fn new(deadline: Instant, now: Instant) -> Self {
        let time = deadline.saturating_duration_since(now);
        Shutdown {
            deadline,
            last_phase: now + time.saturating_sub(LAST_PHASE).max(time / 2),
            readers_ended: false,
            drained_reported: false,
            last_record: false,
        }
    }
}

impl Uploader {
    /// Whether the last seconds of the shutdown have begun.
    pub(super) fn is_last_phase(&self, now: Instant) -> bool {
        self.shutdown.is_some_and(|one| now >= one.last_phase)
    }

    /// At the end, asks the spool once to synchronise what it has.
    pub(super) fn flush_spool(&mut self, now: Instant) {
        let Some(shutdown) = self.shutdown.filter(|one| one.readers_ended) else {
            return;
        };
        let is_time = self.is_drained() || now >= shutdown.deadline;
        let has_something = self.has_something_on_disk();
        // A spool that does not work stores nothing more.
        let is_broken = |spooling: &Spooling| spooling.problem.is_some();
        let is_last = self.is_put_away() || self.spooling.as_ref().is_some_and(is_broken);
        if is_time
            && is_last
            && has_something
            && let Some(spooling) = &mut self.spooling
            && spooling.flush == Flush::NotAsked
        {
            spooling.flush = Flush::Asked(now);
            self.tell_spool(SpoolMessage::Flush);
        }
    }

    /// Whether nothing waits in memory, nor for an answer of the spool.
    fn is_put_away(&self) -> bool {
        let is_idle =
            |spooling: &Spooling| spooling.copies.is_idle() && spooling.releasing.is_empty();
        self.channel.waiting() == 0
            && self.destinations.iter().all(Destination::is_empty)
            && self.spooling.as_ref().is_none_or(is_idle)
    }

    /// Whether the spool should synchronise its files for the next start.
    fn has_something_on_disk(&self) -> bool {
        let has_written = |spooling: &Spooling| spooling.has_written;
        XRayApi::ALL.into_iter().any(|api| self.is_any_spooled(api))
            || self.spooling.as_ref().is_some_and(has_written)
    }

    /// Whether the shutdown need not wait for the spool any longer.
    pub(super) fn is_spool_done(&self, shutdown: Shutdown, now: Instant) -> bool {
        let Some(spooling) = &self.spooling else {
            return true;
        };
        let is_broken = spooling.problem.is_some();
        let is_flushed = match spooling.flush {
            Flush::NotAsked => !self.has_something_on_disk() && (is_broken || self.is_put_away()),
            Flush::Asked(at) => now >= at + SPOOL_WAIT,
            Flush::Done => true,
        };
        !spooling.is_open || is_flushed || now >= shutdown.deadline + SPOOL_WAIT
    }

    /// How much of the held items the spool has too: it is kept for the next start.
    pub(super) fn kept_at_the_end(&mut self) -> KeptAtEnd {
        let mut held: Vec<(XRayApi, Option<CopyRef>, RecordAmount)> = Vec::new();
        for one in self.senders.in_flight() {
            if let (Load::Documents { item, .. }, Some(api)) = (&one.load, one.payload.api()) {
                let payload = &one.payload;
                let amount = RecordAmount::of(payload.documents(), payload.document_bytes());
                held.push((api, item.copy.clone(), amount));
            }
        }
        for destination in self.destinations.iter_mut() {
            while let Some(item) = destination.pop_any() {
                held.push((item.body.api(), item.copy.clone(), amount(&item)));
            }
        }
        let mut kept = KeptAtEnd::default();
        let Some(spooling) = &self.spooling else {
            return kept;
        };
        for item in spooling.copies.waiting() {
            held.push((item.body.api(), item.copy.clone(), amount(item)));
        }
        for (api, copy, amount) in held {
            if copy.is_some_and(|copy| spooling.copies.is_stored(&copy)) {
                kept.add(api, amount);
            }
        }
        // A record that was read stays in its file until it is settled.
        for item in spooling.releasing.values() {
            kept.add(item.body.api(), amount(item));
        }
        kept
    }
}

fn amount(item: &Item) -> RecordAmount {
    RecordAmount::of(item.documents(), item.body.opened_bytes())
}

/// Held items that are kept for the next start.
#[derive(Debug, Default)]
pub(super) struct KeptAtEnd {
    pub segments: u64,
    pub spans: spans::SpanAmount,
}

impl KeptAtEnd {
    fn add(&mut self, api: XRayApi, amount: RecordAmount) {
        match api {
            XRayApi::Segments => self.segments += amount.documents,
            XRayApi::Otlp => self.spans += amount.into(),
        }
    }
}
