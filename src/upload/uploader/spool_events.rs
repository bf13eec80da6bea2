//! What the spool's answers mean for the items and for the counts.

use std::time::{Duration, Instant};

use super::spooling::{Flush, Spooling};
use super::{Now, Uploader};
use crate::batch::Batch;
use crate::logging::RateLimit;
use crate::spool::{RecordId, SpoolEvent, SpoolItem, SpoolMessage, XRayApi};
use crate::upload::copies::Stored;
use crate::upload::item::{Body, History, Item, RetryCause};

/// After the spool has not stored something, nothing is stored for so long.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// When nothing was left to be read, the spool is asked again after so long.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// Records whose body is none of this daemon's.
static NO_BATCH: RateLimit = RateLimit::new(1, Duration::from_secs(60));

impl Uploader {
    /// The spool has done something.
    pub(super) fn spool_event(&mut self, event: SpoolEvent, now: Now) {
        let Some(spooling) = &mut self.spooling else {
            return;
        };
        match event {
            SpoolEvent::Found {
                destination: XRayApi::Segments,
                amount,
            } => {
                self.counts.restored += amount.documents;
                self.counts.spooled += amount.documents;
            }
            SpoolEvent::Stored { id, record } => {
                spooling.has_written = true;
                match spooling.copies.stored(id, record) {
                    Stored::Moved(item) => {
                        self.counts.spooled += item.documents() as u64;
                        self.end_copy(item.copy);
                    }
                    Stored::Copied => {}
                    Stored::Superfluous => self.tell_spool(SpoolMessage::Settled(record)),
                }
            }
            SpoolEvent::StoreFailed { id, error, .. } => {
                log::debug!("not stored: {error}");
                spooling.store_at = Some(now.instant + STORE_PAUSE);
                if let Some(item) = spooling.copies.failed(id) {
                    self.destinations.of_mut(item.body.api()).put_back(item);
                }
            }
            SpoolEvent::Restored { record, item } => self.restored(record, item, now.instant),
            SpoolEvent::ReadFinished { more, .. } => {
                spooling.is_reading = false;
                spooling.copies.read_finished();
                spooling.read_at = (!more).then(|| now.instant + READ_PAUSE);
            }
            SpoolEvent::Released { record, kept } => {
                if let Some(item) = spooling.releasing.remove(&record) {
                    self.released(item, kept);
                }
            }
            SpoolEvent::Lost {
                destination: XRayApi::Segments,
                amount,
                ..
            } => {
                let lost = amount.documents.min(self.counts.spooled);
                self.counts.spooled -= lost;
                self.counts.spilled += lost;
                spooling.metrics.lost += lost;
            }
            // Spans are neither stored nor read yet.
            SpoolEvent::Found { .. } | SpoolEvent::Lost { .. } => {}
            SpoolEvent::Damaged { places } => spooling.metrics.damaged += places,
            SpoolEvent::Usage(usage) => spooling.metrics.usage = usage,
            SpoolEvent::Problem(problem) => spooling.problem = Some(problem),
            SpoolEvent::Recovered => {
                spooling.problem = None;
                spooling.store_at = None;
            }
            SpoolEvent::Flushed { .. } => spooling.flush = Flush::Done,
        }
    }

    /// A record was read. It stays in its file until it is settled.
    fn restored(&mut self, record: RecordId, item: SpoolItem, now: Instant) {
        let documents = item.body.count();
        // What was read after all before the spool was told to release it: it will be.
        let is_kept = |spooling: &&mut Spooling| !spooling.releasing.contains_key(&record);
        let spooling = self.spooling.as_mut().filter(is_kept);
        let copies = spooling.map(|spooling| &mut spooling.copies);
        let Some(copy) = copies.and_then(|copies| copies.read(record, documents)) else {
            return;
        };
        let is_batch = Batch::from_compressed(&item.body).is_some();
        let counted = (documents as u64).min(self.counts.spooled);
        self.counts.spooled -= counted;
        // What was in no count, because an item was sent while it was being stored.
        self.counts.restored += documents as u64 - counted;
        if !is_batch {
            self.counts.spilled += documents as u64;
            if let Some(held_back) = NO_BATCH.allow(now) {
                log::warn!(
                    "A record of the spool is whole, but holds no request of this daemon: \
                     {documents} segments are lost{held_back}"
                );
            }
            return self.end_copy(Some(copy));
        }
        let attempts = u32::from(item.attempts);
        let history = (attempts > 0).then(|| History {
            attempts,
            ..History::new(RetryCause::Suspected, 0, now)
        });
        let item = Item {
            body: Body::Compressed {
                body: item.body,
                kind: item.kind,
            },
            queued_at: now,
            history,
            received_at: Some(item.received_at),
            copy: Some(copy),
        };
        self.destinations.of_mut(item.body.api()).restore(item);
    }

    /// The spool has a record again that was read, or has lost its file meanwhile.
    fn released(&mut self, item: Item, kept: bool) {
        if kept {
            self.counts.spooled += item.documents() as u64;
        } else {
            let item = Item { copy: None, ..item };
            self.destinations.of_mut(item.body.api()).put_back(item);
        }
    }
}
