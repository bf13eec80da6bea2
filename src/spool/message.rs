//! What the spool is told and what it answers.

use std::fmt;
use std::ops::AddAssign;
use std::time::SystemTime;

use super::{SpoolIdentity, SpoolItem, StoreError, XRayApi};

/// Where a record stands. It means something to the spool that gave it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordId {
    pub(super) file: u64,
    pub(super) offset: u64,
}

#[cfg(test)]
impl RecordId {
    /// For a spool that only stands in for this one.
    pub(crate) fn for_test(number: u64) -> Self {
        RecordId {
            file: number,
            offset: 0,
        }
    }
}

/// How much several records hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub records: u64,
    /// Documents or spans.
    pub documents: u64,
    /// Bytes of the bodies when they are opened.
    pub bytes: u64,
}

impl Amount {
    /// One record.
    pub(crate) fn of(documents: usize, bytes: usize) -> Self {
        Amount {
            records: 1,
            documents: documents as u64,
            bytes: bytes as u64,
        }
    }

    pub(crate) fn of_item(item: &SpoolItem) -> Self {
        Self::of(item.body.count(), item.body.body_len())
    }

    pub(crate) fn saturating_sub(self, other: Amount) -> Amount {
        Amount {
            records: self.records.saturating_sub(other.records),
            documents: self.documents.saturating_sub(other.documents),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.records += other.records;
        self.documents += other.documents;
        self.bytes += other.bytes;
    }
}

/// What the spool is told.
#[derive(Debug)]
pub(crate) enum SpoolMessage {
    /// Region, endpoint and role are known, and with them whose files are to be read. Comes once;
    /// until then nothing can be stored.
    Open(SpoolIdentity),
    /// Write this. Answered with `Stored` or `StoreFailed`.
    Store { id: u64, item: SpoolItem },
    /// Read the oldest records that were not read yet, at least one, then until `max_bytes` of
    /// compressed bodies. Answered with `Restored` for each, then `ReadFinished`. What was received
    /// before `not_before` is dropped instead.
    Read {
        destination: XRayApi,
        max_bytes: usize,
        not_before: SystemTime,
    },
    /// X-Ray has decided on the whole record: it may go, whether it was read or only stored.
    Settled(RecordId),
    /// Whoever has the item of the record does not keep it: it is to be read again, or, where it was
    /// only stored, for the first time. Answered with `Released`.
    Release(RecordId),
    /// Synchronise all that was stored. Answered with `Flushed`; since a disk may hang, whoever
    /// waits for the answer waits with a deadline of its own.
    Flush,
}

/// What the spool has done.
#[derive(Debug, PartialEq)]
pub(crate) enum SpoolEvent {
    /// So much of earlier processes is there to be read.
    Found {
        destination: XRayApi,
        amount: Amount,
    },
    /// The item is on disk.
    Stored { id: u64, record: RecordId },
    /// The item is not on disk; the sender keeps it.
    StoreFailed {
        id: u64,
        item: SpoolItem,
        error: StoreError,
    },
    /// A record was read. It stays on disk until it is `Settled`.
    Restored { record: RecordId, item: SpoolItem },
    /// The end of one `Read`. With `more` there are further records that could be read at once.
    ReadFinished { destination: XRayApi, more: bool },
    /// The answer to `Release`. Where the record is not `kept`, its file is gone, and the item must
    /// be stored again to be on disk.
    Released { record: RecordId, kept: bool },
    /// What was on disk unread, stored or found, and will not be read.
    Lost {
        destination: XRayApi,
        amount: Amount,
        reason: LossReason,
    },
    /// So many places were found that hold no record, in none of the amounts.
    Damaged { places: u64 },
    /// How much is on disk, after a change of it.
    Usage(Usage),
    /// The spool does not work; what cannot be stored stays in memory. The log has it already.
    Problem(String),
    /// It works again.
    Recovered,
    /// The answer to `Flush`: whether all that was stored survives the end of the host.
    Flushed { synchronised: bool },
}

/// How much is on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub bytes: u64,
    /// When the oldest document was received of the files that are there.
    pub oldest: Option<SystemTime>,
}

/// Why documents on disk will not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LossReason {
    /// The oldest file went, because the limit was reached.
    Limit,
    /// X-Ray does not take what is so old.
    TooOld,
    /// The bytes are not those that were written.
    Damaged,
    /// Somebody else has removed the file.
    Vanished,
    /// The file cannot be read, or may no longer be read. It is left for the next start.
    Unreadable,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossReason::Limit => "the spool reached its size limit",
            LossReason::TooOld => "X-Ray takes nothing that old",
            LossReason::Damaged => "the record is damaged",
            LossReason::Vanished => "the file was removed by somebody else",
            LossReason::Unreadable => "the file cannot be read; it is left for the next start",
        })
    }
}
