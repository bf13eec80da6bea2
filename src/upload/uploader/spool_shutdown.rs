//! The end of the daemon, where there is a spool: what is unsent is kept for the next start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::spooling::{Flush, Spooling};
use super::{Action, Now, Shutdown, Uploader};
use crate::batch::compressed::CompressedBody;
use crate::spool::{Amount, BodyKind, SpoolItem, SpoolMessage, XRayApi};
use crate::upload::copies::CopyRef;
use crate::upload::destination::Destination;
use crate::upload::item::Item;
use crate::upload::sender_pool::Load;
use crate::upload::spans;

/// This long before the deadline of the shutdown all that is unsent goes to the spool, with copies of
/// what is in flight; half of the time where that is less.
const LAST_PHASE: Duration = Duration::from_secs(2);

/// How long the shutdown waits, beyond its deadline, until the spool has what is unsent, and how long
/// until that is synchronised. A disk may hang.
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

    /// In the last seconds of the shutdown: what is in flight may never be answered, so a copy of it
    /// is stored.
    pub(super) fn copy_in_flight(&mut self, now: Now) {
        if !self.is_last_phase(now.instant) {
            return;
        }
        let Some(spooling) = &mut self.spooling else {
            return;
        };
        if !spooling.may_store(now.instant) {
            return;
        }
        for one in self.senders.in_flight_mut() {
            let Load::Documents {
                queued_at,
                history,
                received_at,
                copy,
            } = &mut one.load
            else {
                continue;
            };
            let Some(kind) = one.payload.kind().filter(|_| copy.is_none()) else {
                continue;
            };
            let documents = one.payload.documents();
            let body = match kind {
                BodyKind::Otlp { gzip: true, .. } => {
                    CompressedBody::uncompressed(one.payload.body().into(), documents)
                }
                _ => {
                    let compressor = self.compressor.get_or_insert_default();
                    compressor.compress(one.payload.body(), documents)
                }
            };
            let body = Arc::new(body);
            let bytes = body.bytes().len();
            if !spooling.copies.has_room(bytes) {
                return;
            }
            let (id, reference) = spooling.copies.store_copy(bytes, documents, now.instant);
            *copy = Some(reference);
            let waited = now.instant.saturating_duration_since(*queued_at);
            let attempts = history.map_or(0, |history| history.attempts);
            let item = SpoolItem {
                body,
                kind,
                received_at: received_at.unwrap_or(now.wall - waited),
                attempts: u16::try_from(attempts).unwrap_or(u16::MAX),
            };
            self.actions
                .push(Action::Spool(SpoolMessage::Store { id, item }));
        }
    }

    /// At the end, asks the spool once to synchronise what it has.
    pub(super) fn flush_spool(&mut self, now: Instant) {
        let Some(shutdown) = self.shutdown.filter(|one| one.readers_ended) else {
            return;
        };
        let is_time = self.is_drained() || now >= shutdown.deadline;
        if is_time
            && self.is_put_away()
            && let Some(spooling) = &mut self.spooling
            && spooling.has_written
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

    /// Whether the shutdown need not wait for the spool any longer.
    pub(super) fn is_spool_done(&self, shutdown: Shutdown, now: Instant) -> bool {
        let Some(spooling) = &self.spooling else {
            return true;
        };
        let is_usable = spooling.is_open && spooling.problem.is_none();
        let is_flushed = match spooling.flush {
            Flush::NotAsked => !spooling.has_written && self.is_put_away(),
            Flush::Asked(at) => now >= at + SPOOL_WAIT,
            Flush::Done => true,
        };
        !is_usable || is_flushed || now >= shutdown.deadline + SPOOL_WAIT
    }

    /// How much of the held items the spool has too: it is kept for the next start.
    pub(super) fn kept_at_the_end(&mut self) -> Kept {
        let mut held: Vec<(XRayApi, Option<CopyRef>, Amount)> = Vec::new();
        for one in self.senders.in_flight() {
            if let (Load::Documents { copy, .. }, Some(api)) = (&one.load, one.payload.api()) {
                let payload = &one.payload;
                let amount = Amount::of(payload.documents(), payload.document_bytes());
                held.push((api, copy.clone(), amount));
            }
        }
        for destination in self.destinations.iter_mut() {
            while let Some(item) = destination.pop_any() {
                held.push((item.body.api(), item.copy.clone(), amount(&item)));
            }
        }
        let mut kept = Kept::default();
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

fn amount(item: &Item) -> Amount {
    Amount::of(item.documents(), item.body.opened_bytes())
}

/// What is kept for the next start although it was held.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub segments: u64,
    pub spans: spans::Amount,
}

impl Kept {
    fn add(&mut self, api: XRayApi, amount: Amount) {
        match api {
            XRayApi::Segments => self.segments += amount.documents,
            XRayApi::Otlp => self.spans += amount.into(),
        }
    }
}
