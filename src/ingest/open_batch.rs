//! The batch that a reader fills.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::header;
use crate::batch::Batch;
use crate::logging::{self, RateLimit};
use crate::upload::counters::{ReaderCounts, Unreported};
use crate::upload::message::HandOver;

/// Malformed datagrams are logged at most this often; their count is logged with the next.
static MALFORMED: RateLimit = RateLimit::new(10, Duration::from_secs(60));

/// Counts are handed over when so many have come without a document, so that they fit their type.
const MAX_UNREPORTED: u16 = 10_000;

/// The documents that one reader has taken since it last handed over a batch, and what else it has
/// counted.
pub struct OpenBatch {
    reader: usize,
    batch: Batch,
    /// When the first datagram came that is in these counts and not empty.
    since: Option<Instant>,
    unreported: Unreported,
    published: Arc<ReaderCounts>,
    /// Memory of delivered batches, for new ones. Only the first reader has any.
    recycled: Option<Receiver<Batch>>,
}

impl OpenBatch {
    /// For the reader of this number. `published` is what the uploader reads.
    pub fn new(
        reader: usize,
        published: Arc<ReaderCounts>,
        recycled: Option<Receiver<Batch>>,
    ) -> Self {
        OpenBatch {
            reader,
            batch: Batch::new(),
            since: None,
            // Another thread may have read for this number before.
            unreported: published.read(),
            published,
            recycled,
        }
    }

    /// Takes one datagram. Returns whether the batch must be handed over now.
    pub fn push(&mut self, datagram: &[u8], now: impl FnOnce() -> Instant) -> bool {
        if datagram.is_empty() {
            self.unreported.empty += 1;
        } else {
            // Malformed ones are handed over in time, too: telemetry and the log tell of them.
            if self.since.is_none() {
                self.since = Some(now());
            }
            match header::document(datagram) {
                Ok(document) => {
                    self.batch.push(document);
                    self.unreported.documents += 1;
                }
                Err(malformed) => {
                    self.unreported.malformed += 1;
                    log_malformed(malformed, datagram);
                }
            }
        }
        self.published.publish(self.unreported);
        let others = self.unreported.malformed.max(self.unreported.empty);
        self.batch.is_full() || others >= MAX_UNREPORTED
    }

    /// When the first datagram came, malformed ones included and empty ones not. `None` without any.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Passes the batch to `hand_over` and begins a new one. The published counts change only
    /// afterwards, so that the uploader can see that a batch is on its way.
    pub fn hand_over(&mut self, hand_over: impl FnOnce(HandOver)) {
        let next = self
            .recycled
            .as_ref()
            .and_then(|spare| spare.try_recv().ok());
        let mut batch = std::mem::replace(&mut self.batch, next.unwrap_or_default());
        // A batch of few documents may wait for long: it takes only the memory that it needs.
        if batch.body().len() < batch.capacity() / 2 {
            batch.shrink();
        }
        let unreported = std::mem::take(&mut self.unreported);
        self.since = None;
        self.unreported.hand_overs = unreported.hand_overs.wrapping_add(1);
        hand_over(HandOver {
            reader: self.reader,
            batch,
            malformed: unreported.malformed,
            empty: unreported.empty,
        });
        self.published.publish(self.unreported);
    }

    /// Whether there is anything to hand over.
    pub fn is_empty(&self) -> bool {
        let Unreported {
            documents,
            malformed,
            empty,
            ..
        } = self.unreported;
        documents == 0 && malformed == 0 && empty == 0
    }

    /// Frees the memory that is kept for batches to come.
    pub(crate) fn free_spares(&self) {
        if let Some(recycled) = &self.recycled {
            while recycled.try_recv().is_ok() {}
        }
    }
}

fn log_malformed(malformed: header::MalformedDatagram, datagram: &[u8]) {
    if let Some(held_back) = MALFORMED.allow(Instant::now()) {
        let excerpt = logging::escape(datagram, 64);
        log::warn!(
            "{malformed}: {} bytes from a client{held_back}",
            datagram.len()
        );
        log::debug!("the datagram began with {excerpt}");
    }
}
