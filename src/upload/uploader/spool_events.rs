//! What the spool's answers mean for the items and for the counts.

use std::time::{Duration, Instant};

use super::spooling::{Flush, Spooling};
use super::{Now, Uploader};
use crate::batch::Batch;
use crate::logging::RateLimit;
use crate::spool::{
    LossReason, RecordAmount, RecordId, SpoolEvent, SpoolItem, SpoolMessage, XRayApi,
};
use crate::upload::copies::{CopyRef, Stored};
use crate::upload::item::{History, Item, ItemBody, RetryCause};

/// After the spool has failed to store something, nothing is stored for the same API for this long. It may
/// have no room for spans, and still some for segments.
const STORE_PAUSE: Duration = Duration::from_secs(2);

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
                destination,
                amount,
            } => self.count_found(destination, amount),
            SpoolEvent::Stored { id, record } => {
                spooling.has_written = true;
                match spooling.copies.stored(id, record) {
                    Stored::Moved(item) => {
                        self.count_spooled(&item);
                        self.end_copy(item.copy);
                    }
                    Stored::Copied => {}
                    Stored::Superfluous => self.tell_spool(SpoolMessage::Settled(record)),
                }
            }
            SpoolEvent::StoreFailed {
                id,
                destination,
                error,
            } => {
                log::debug!("not stored: {error}");
                let until = now.instant + STORE_PAUSE;
                spooling.store_at.insert(destination, until);
                if let Some(item) = spooling.copies.failed(id) {
                    self.destinations.of_mut(item.body.api()).put_back(item);
                }
            }
            SpoolEvent::Restored { record, item } => self.restored(record, item, now.instant),
            SpoolEvent::ReadFinished { destination, more } => {
                spooling.copies.read_finished();
                if !more {
                    spooling.pause_reads(destination, now.instant);
                }
            }
            SpoolEvent::Released { record, kept } => {
                if let Some(item) = spooling.releasing.remove(&record) {
                    self.released(item, kept);
                } else if let Some(amount) = spooling.returning.remove(&record)
                    && !kept
                {
                    self.count_lost(XRayApi::Otlp, amount);
                }
            }
            SpoolEvent::Lost {
                destination,
                amount,
                reason,
                range,
            } => {
                let copied = range.map(|range| spooling.copies.lost(&range));
                let amount = amount.saturating_sub(copied.unwrap_or_default());
                if reason == LossReason::Damaged {
                    spooling.metrics.damaged += amount.records;
                }
                self.count_lost(destination, amount);
            }
            SpoolEvent::Damaged { places } => spooling.metrics.damaged += places,
            SpoolEvent::Usage(usage) => spooling.metrics.usage = usage,
            SpoolEvent::Problem(problem) => spooling.problem = Some(problem),
            SpoolEvent::Recovered => {
                spooling.problem = None;
                spooling.store_at.clear();
            }
            SpoolEvent::Flushed => spooling.flush = Flush::Done,
        }
    }

    /// A record was read. It stays in its file until it is settled.
    fn restored(&mut self, record: RecordId, item: SpoolItem, now: Instant) {
        let documents = item.body.count();
        let api = item.kind.destination();
        // This record was read before the spool got the message to release it. It will be released.
        let is_kept = |spooling: &&mut Spooling| !spooling.releasing.contains_key(&record);
        let spooling = self.spooling.as_mut().filter(is_kept);
        let copies = spooling.map(|spooling| &mut spooling.copies);
        let Some(copy) = copies.and_then(|copies| copies.read(record, documents)) else {
            return;
        };
        if api == XRayApi::Otlp && !self.can_take_back(item.body.body_len()) {
            return self.give_back(record, copy, &item, now);
        }
        self.count_read(api, RecordAmount::of_item(&item));
        if api == XRayApi::Segments && Batch::from_compressed(&item.body).is_none() {
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
            body: ItemBody::Compressed {
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

    /// Whether a request with spans that was read may stay. It may be longer than this daemon would take
    /// from a client, where an earlier one had more memory: then it goes out alone.
    fn can_take_back(&self, bytes: usize) -> bool {
        let is_alone = bytes > self.longest_span_request() && self.memory_of(XRayApi::Otlp) == 0;
        is_alone || self.has_room_for_spans(bytes)
    }

    /// The memory has become full since the `Read` was sent, so the record stays in the spool.
    fn give_back(&mut self, record: RecordId, copy: CopyRef, item: &SpoolItem, now: Instant) {
        if let Some(spooling) = &mut self.spooling {
            spooling.copies.ended(Some(copy));
            let amount = RecordAmount::of_item(item);
            spooling.returning.insert(record, amount);
            spooling.pause_reads(XRayApi::Otlp, now);
            self.tell_spool(SpoolMessage::Release(record));
        }
    }

    /// The spool has a record again that was read, or has lost its file meanwhile.
    fn released(&mut self, item: Item, kept: bool) {
        if kept {
            self.count_spooled(&item);
        } else {
            let item = Item { copy: None, ..item };
            self.destinations.of_mut(item.body.api()).put_back(item);
        }
    }
}
