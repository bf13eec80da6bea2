//! What reaches the thread that delivers, whichever it is: the uploader or the printer.

use std::sync::mpsc::SyncSender;
use std::time::Instant;

use crate::batch::Batch;
use crate::lane::Done;
use crate::target::Target;

/// All that it acts on, on one channel.
pub enum Event {
    /// The open batch has its first document, and nobody watches it yet.
    Opened,
    /// A full batch.
    Batch(Batch),
    /// A lane is back.
    Done(Box<Done>),
    /// Region, endpoint and credential source are known.
    Target(Box<Target>),
    /// What the metadata service says of this host: instance id, host name.
    Host(String, String),
    /// Credentials have come or changed.
    Credentials,
    /// Whoever asks wants to know that the thread lives.
    Ping(SyncSender<()>),
    /// All readers have ended: deliver what is held, at the latest until then.
    Stop(Instant),
}
