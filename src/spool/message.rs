//! The messages to the spool and its answers.

use std::fmt;
use std::ops::{AddAssign, Range};
use std::time::SystemTime;

use super::{SpoolIdentity, SpoolItem, StoreError, XRayApi};

/// The place of a record. Only the spool that has returned it can use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordId {
    pub(super) file: u64,
    pub(super) offset: u64,
}

/// Places in a file of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordRange {
    pub(super) file: u64,
    pub(super) offsets: Range<u64>,
}

impl RecordRange {
    pub(crate) fn only(record: RecordId) -> Self {
        let RecordId { file, offset } = record;
        let offsets = offset..offset + 1;
        RecordRange { file, offsets }
    }

    pub(super) fn whole(file: u64) -> Self {
        let offsets = 0..u64::MAX;
        RecordRange { file, offsets }
    }

    pub(crate) fn contains(&self, record: RecordId) -> bool {
        self.file == record.file && self.offsets.contains(&record.offset)
    }
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
pub(crate) struct RecordAmount {
    pub records: u64,
    /// Documents or spans.
    pub documents: u64,
    /// Bytes of the bodies when they are opened.
    pub bytes: u64,
}

impl RecordAmount {
    /// One record.
    pub(crate) fn of(documents: usize, bytes: usize) -> Self {
        RecordAmount {
            records: 1,
            documents: documents as u64,
            bytes: bytes as u64,
        }
    }

    pub(crate) fn of_item(item: &SpoolItem) -> Self {
        Self::of(item.body.count(), item.body.body_len())
    }

    pub(crate) fn saturating_sub(self, other: RecordAmount) -> RecordAmount {
        RecordAmount {
            records: self.records.saturating_sub(other.records),
            documents: self.documents.saturating_sub(other.documents),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl AddAssign for RecordAmount {
    fn add_assign(&mut self, other: RecordAmount) {
        self.records += other.records;
        self.documents += other.documents;
        self.bytes += other.bytes;
    }
}

/// A message to the spool.
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
    /// X-Ray has answered for the whole record: it can be removed, whether it was read or only
    /// stored.
    Settled(RecordId),
    /// The item of the record leaves the uploader's memory: the record is to be read again, or, if
    /// it was only stored, for the first time. Answered with `Released`.
    Release(RecordId),
    /// Synchronise everything that was stored. Answered with `Flushed`. A disk may hang, so wait
    /// for the answer with a deadline.
    Flush,
}

/// What the spool has done.
#[derive(Debug, PartialEq)]
pub(crate) enum SpoolEvent {
    /// This much was left by earlier processes and can be read.
    Found {
        destination: XRayApi,
        amount: RecordAmount,
    },
    /// The item is on disk.
    Stored { id: u64, record: RecordId },
    /// The item is not on disk; the uploader keeps it.
    StoreFailed {
        id: u64,
        destination: XRayApi,
        error: StoreError,
    },
    /// A record was read. It stays on disk until it is `Settled`.
    Restored { record: RecordId, item: SpoolItem },
    /// The end of one `Read`. With `more` there are further records that could be read at once.
    ReadFinished { destination: XRayApi, more: bool },
    /// The answer to `Release`. Where the record is not `kept`, its file is gone, and the item must
    /// be stored again to be on disk.
    Released { record: RecordId, kept: bool },
    /// Records on disk that have not been read, and never will be.
    Lost {
        destination: XRayApi,
        amount: RecordAmount,
        reason: LossReason,
        /// Where they stood. `None`: in files that no record of this process was in.
        range: Option<RecordRange>,
    },
    /// The number of damaged places that were found. They are in no other count.
    Damaged { places: u64 },
    /// How much is on disk, after a change of it.
    Usage(Usage),
    /// The spool does not work; items that cannot be stored stay in memory. This is logged already.
    Problem(String),
    /// It works again.
    Recovered,
    /// The answer to `Flush`. Where something could not be synchronised, a `Problem` came before.
    Flushed,
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
    /// The oldest file was removed, because the limit was reached.
    Limit,
    /// X-Ray does not accept documents of this age.
    TooOld,
    /// The bytes are not those that were written.
    Damaged,
    /// Another program has removed the file.
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
