//! `--spool DIR`: keeps request bodies in files, so that nothing is lost when an outage of X-Ray is
//! longer than the memory suffices, or when the daemon is restarted during it.
//!
//! One thread does all the disk I/O. It gets `SpoolMessage`s on a channel and answers with
//! `SpoolEvent`s, so that a disk that hangs blocks no other thread. The sender of a
//! `SpoolMessage::Store` keeps the item until `SpoolEvent::Stored` comes.
//!
//! # What survives what
//!
//! * The end of the process, `kill -9` and a crash included: every item that was answered with
//!   `Stored`. The operating system has it then.
//! * The end of the host, power included: what was `Stored` more than `SYNC_INTERVAL` before, and
//!   everything up to a `SpoolEvent::Flushed`, unless the log says that the directory cannot be
//!   synchronised. A file is also synchronised when it is full.
//! * A torn tail (the record that was being written) costs that record alone, and it was not yet
//!   answered with `Stored`. A damaged record costs itself alone.
//!
//! # Duplicates
//!
//! A record leaves the disk only after it is `Settled`. What had been sent, but was not settled when
//! the process ended, is sent again by the next one. A settled record is marked as such in its file;
//! the mark is not synchronised by itself, so after a crash of the host the records that were settled
//! in the last seconds may be sent again too.
//!
//! # Whose files
//!
//! One daemon uses a directory at a time; a lock on a file in it sees to that. Files that were
//! written for another region, endpoint or role, or by another version, are left alone and named in
//! the log. The module `directory` says what a directory must look like.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::batch::compressed::CompressedBody;

mod directory;
mod error;
mod file;
pub mod format;
mod index;
mod lock;
mod message;
pub mod reader;
mod records;
mod report;
mod rescue;
mod state;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use directory::examine;
pub(crate) use error::StoreError;
pub(crate) use message::{
    LossReason, RecordAmount, RecordId, RecordRange, SpoolEvent, SpoolMessage, Usage,
};
pub(crate) use thread::run;

/// Written items are synchronised to the device at least this often.
pub(crate) const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// Most bytes that should be on their way to the spool at one moment: items in the channel can be
/// neither sent nor dropped, so this limits the memory that a hanging disk can take.
pub(crate) const STORE_WINDOW: usize = 1024 * 1024;

/// The API that a body is for. Each has its own files, so that one can be read while the other
/// waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum XRayApi {
    /// X-Ray's `PutTraceSegments`.
    Segments,
    /// X-Ray's OTLP endpoint.
    Otlp,
}

impl XRayApi {
    pub(crate) const ALL: [XRayApi; 2] = [XRayApi::Segments, XRayApi::Otlp];

    /// The age from which on X-Ray certainly takes such a body no more: AWS documents 14 days for
    /// OTLP. For segments it says 7 days in one place and keeps traces for 30 days, so those between
    /// are sent, and X-Ray decides.
    pub(crate) fn max_age(self) -> Duration {
        const DAY: u64 = 24 * 60 * 60;
        Duration::from_secs(match self {
            XRayApi::Segments => 30 * DAY,
            XRayApi::Otlp => 14 * DAY,
        })
    }
}

impl fmt::Display for XRayApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            XRayApi::Segments => "segments",
            XRayApi::Otlp => "spans",
        })
    }
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// The body of a `PutTraceSegments` request.
    Segments,
    /// An OTLP request, byte for byte as it was received.
    Otlp {
        /// `application/json` rather than `application/x-protobuf`.
        json: bool,
        /// Whether it came with `Content-Encoding: gzip`.
        gzip: bool,
    },
}

impl BodyKind {
    /// Where such a body is to be sent.
    pub(crate) fn destination(self) -> XRayApi {
        match self {
            BodyKind::Segments => XRayApi::Segments,
            BodyKind::Otlp { .. } => XRayApi::Otlp,
        }
    }
}

/// One body with what must be known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolItem {
    /// The body, and how many documents or spans it holds.
    pub body: Arc<CompressedBody>,
    /// What it is.
    pub kind: BodyKind,
    /// When its first document was received.
    pub received_at: SystemTime,
    /// How often it was sent without success.
    pub attempts: u16,
}

/// The identity that files belong to. Only files with the same identity are read: bodies that were
/// received for one account must not be sent to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpoolIdentity {
    region: String,
    endpoint: String,
    role: String,
}

/// Longest text in a [`SpoolIdentity`]: more than the longest role ARN and the longest host name.
const MAX_TEXT: usize = 2048;

impl SpoolIdentity {
    /// The region, the URL of X-Ray and the role that is assumed, empty where there is none.
    pub(crate) fn new(region: &str, endpoint: &str, role: &str) -> Self {
        let bounded = |text: &str| text[..text.floor_char_boundary(MAX_TEXT)].to_owned();
        SpoolIdentity {
            region: bounded(region),
            endpoint: bounded(endpoint),
            role: bounded(role),
        }
    }
}

impl fmt::Display for SpoolIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "region {:?}, endpoint {:?}", self.region, self.endpoint)?;
        match self.role.as_str() {
            "" => Ok(()),
            role => write!(f, ", role {role:?}"),
        }
    }
}

/// The settings of the spool.
#[derive(Debug, Clone)]
pub(crate) struct SpoolSettings {
    pub directory: PathBuf,
    /// Bytes that the files of this daemon may take.
    pub limit: u64,
}
