//! The messages of other threads to the uploader.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use super::health::Health;
use super::metrics::Snapshot;
use super::sender::Finished;
use super::spans::{SpanOffer, SpanRequest};
use crate::batch::Batch;
use crate::credentials::CredentialSnapshot;
use crate::credentials::target::Target;
use crate::spool::SpoolEvent;

/// One message on the uploader's channel.
pub enum Message {
    /// Something has happened.
    Event(Event),
    /// Whether uploads go on. If there is no answer at once, the uploader does not work.
    AskHealth(SyncSender<Health>),
    /// All counters of one moment.
    AskSnapshot(SyncSender<Box<Snapshot>>),
}

/// What changes the uploader's state.
pub enum Event {
    /// From a reader: documents, and what else it has counted.
    Batch(HandOver),
    /// A client offers spans, and waits for the answer.
    Spans(SpanOffer),
    /// A client has handed spans over for which there was credit, and was told that they were taken.
    SpansOnCredit(SpanRequest),
    /// Region, endpoint and credential source are known.
    Target(Arc<Target>),
    /// The instance id and the host name, from the metadata service.
    Host(String, String),
    /// The credentials have changed, or an attempt to fetch them has failed.
    Credentials(Box<CredentialSnapshot>),
    /// The spool has done something.
    Spool(SpoolAnswer),
    /// A sender has ended its request.
    Finished(Box<Finished>),
    /// Deliver what is held until this time. More batches may follow.
    BeginShutdown(Instant),
    /// Send nothing more, and let the spool keep what is held.
    StopSending,
    /// The readers have ended: no further batch will come.
    ReadersEnded,
}

/// What a reader hands over.
#[derive(Default)]
pub struct HandOver {
    /// Which reader: 0 for `udp-1`, 1 for `udp-2`.
    pub reader: usize,
    /// The documents; there may be none.
    pub batch: Batch,
    /// Malformed datagrams since the last hand-over.
    pub malformed: u16,
    /// Empty datagrams since the last hand-over.
    pub empty: u16,
}

/// What the spool has done.
pub struct SpoolAnswer(pub(crate) SpoolEvent);
