//! What reaches the part that delivers, whichever it is: the uploader or the printer.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use crate::batch::Batch;
use crate::credentials::target::Target;

/// Takes an event, on the thread that has it.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// All that it acts on.
pub enum Event {
    /// The open batch has its first document, and nobody watches it yet.
    Opened,
    /// A full batch.
    Batch(Batch),
    /// Region, endpoint and credential source are known.
    Target(Arc<Target>),
    /// What the metadata service says of this host: instance id, host name.
    Host(String, String),
    /// Credentials have come or changed.
    Credentials,
    /// Whoever asks wants to know that the thread lives.
    Ping(SyncSender<()>),
    /// All readers have ended: deliver what is held, at the latest until then.
    Stop(Instant),
}
