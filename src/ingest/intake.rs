//! From the datagram into the open batch.
//!
//! A wake-up of the uploader costs more than all else that is done for a segment, so readers do
//! not send it one message a segment. They escape documents straight into one shared batch and
//! hand that over when it is full; the uploader takes what is in it a second after its first
//! document.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::ingest::header;
use crate::logging::{self, RateLimit};
use crate::upload::counters::Books;
use crate::upload::message::Event;

/// Malformed datagrams are logged at most this often; their count is logged with the next.
static MALFORMED: RateLimit = RateLimit::new(10, Duration::from_secs(60));

/// The batch under construction, between the readers and the uploader.
pub struct Intake {
    open: Mutex<Open>,
    books: Arc<Books>,
}

struct Open {
    batch: Batch,
    /// Memory of batches that were delivered, for the next ones.
    spares: Vec<Batch>,
    /// When its first document came.
    since: Option<Instant>,
    /// Whether the uploader knows that documents wait here.
    watched: bool,
}

impl Intake {
    /// An empty intake.
    pub fn new(books: Arc<Books>) -> Self {
        Intake {
            open: Mutex::new(Open {
                batch: Batch::new(),
                spares: Vec::new(),
                since: None,
                watched: false,
            }),
            books,
        }
    }

    /// Counts one datagram and puts its document into the open batch. Answers what the part that
    /// delivers must hear.
    #[must_use]
    pub fn datagram(&self, datagram: &[u8]) -> Option<Event> {
        self.books.received();
        match header::document(datagram) {
            Ok(document) => self.add(document),
            Err(malformed) => {
                self.books.rejected(1);
                if let Some(held_back) = MALFORMED.allow(Instant::now()) {
                    let excerpt = logging::escape(datagram, 64);
                    log::warn!(
                        "{malformed}: {} bytes from a client{held_back}",
                        datagram.len()
                    );
                    log::debug!("the datagram began with {excerpt}");
                }
                None
            }
        }
    }

    fn add(&self, document: &[u8]) -> Option<Event> {
        let mut open = self.lock();
        if open.batch.is_empty() {
            open.since = Some(Instant::now());
        }
        open.batch.push(document);
        if open.batch.is_full() {
            return Some(Event::Batch(open.take()));
        }
        let announced = std::mem::replace(&mut open.watched, true);
        (!announced).then_some(Event::Opened)
    }

    /// When the first document of the open batch came. `None`: it is empty, and the next document
    /// will be announced by [`Event::Opened`].
    pub fn open_since(&self) -> Option<Instant> {
        let mut open = self.lock();
        open.watched = open.since.is_some();
        open.since
    }

    /// Takes what the open batch holds.
    pub fn take(&self) -> Batch {
        self.lock().take()
    }

    /// Takes back the memory of a batch that was delivered.
    pub fn recycle(&self, batch: Batch) {
        if batch.capacity() <= SPARE_BYTES {
            let batch = batch.clear();
            let mut open = self.lock();
            if open.spares.len() < SPARES {
                open.spares.push(batch);
            }
        }
    }

    /// Gives up the memory that is kept for batches to come.
    pub fn rest(&self) {
        self.lock().spares = Vec::new();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A panic ends the process (panic=abort); in tests the state is whole between calls.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The documents so far. A batch that nearly fills its memory goes with it; one of few
    /// documents, which may wait for long, takes only what it needs.
    fn take(&mut self) -> Batch {
        self.since = None;
        let next = self.spares.pop().unwrap_or_default();
        let mut taken = std::mem::replace(&mut self.batch, next);
        if taken.body().len() < taken.capacity() / 2 {
            taken.shrink();
        }
        taken
    }
}

/// Spare batches are kept up to this number and size: enough that at full speed no memory is
/// asked of the system, half a megabyte in all.
const SPARES: usize = 4;
const SPARE_BYTES: usize = 128 * 1024;
