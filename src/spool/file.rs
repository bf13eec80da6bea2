//! One file of the spool: appending, reading and settling records.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::SystemTime;

use super::directory::SpoolDirectory;
use super::format::{FileHeader, SyncMarker};
use super::reader::{HeaderStep, ReaderStep, RecordReader};
use super::{LossReason, RecordAmount, SpoolItem, XRayApi};

/// A file that cannot be read so many times in a row is given up until the next start.
const MAX_FAILED_READS: u32 = 3;

/// A file whose records this daemon has written, or may read.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    pub destination: XRayApi,
    pub marker: SyncMarker,
    /// When the oldest document that was not settled at the last count was received.
    pub oldest: Option<SystemTime>,
    /// The records that are to be read.
    pub(crate) unread: RecordAmount,
    /// Where the first record begins.
    pub(super) start: u64,
    /// End of the last whole record.
    pub size: u64,
    /// Bytes behind that.
    pub(crate) torn: u64,
    /// Whether records may be appended.
    is_open_for_writing: bool,
    /// Whether something was written that a crash of the host could lose.
    is_unsynchronised: bool,
    /// Whether the file is kept when all of its records are settled.
    is_given_up: bool,
    /// Open from the first read or write until all is settled.
    pub(super) handle: Option<File>,
    /// Where to go on reading.
    cursor: u64,
    /// Records that were read and are not settled, with what they hold.
    outstanding: BTreeMap<u64, RecordAmount>,
    /// Records that were read and are to be read again.
    released: BTreeSet<u64>,
    failed_reads: u32,
}

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum NextRecord {
    Read {
        offset: u64,
        item: SpoolItem,
    },
    Lost {
        amount: RecordAmount,
        reason: LossReason,
        /// Where they stood in the file.
        offsets: Range<u64>,
    },
    Nothing,
}

impl SpoolFile {
    /// Creates a file with this header.
    pub(super) fn create(
        directory: &SpoolDirectory,
        number: u64,
        header: &FileHeader,
    ) -> io::Result<Self> {
        let handle = directory.create_file(number)?;
        let bytes = header.encode();
        if let Err(error) = handle.write_all_at(&bytes, 0) {
            let _ = directory.remove_file(number);
            return Err(error);
        }
        Ok(SpoolFile {
            is_open_for_writing: true,
            is_unsynchronised: true,
            handle: Some(handle),
            ..Self::existing(header, bytes.len() as u64)
        })
    }

    /// A file whose first record is to begin at `start`.
    pub(super) fn existing(header: &FileHeader, start: u64) -> Self {
        SpoolFile {
            destination: header.destination,
            marker: header.marker,
            oldest: None,
            unread: RecordAmount::default(),
            start,
            size: start,
            torn: 0,
            is_open_for_writing: false,
            is_unsynchronised: false,
            is_given_up: false,
            handle: None,
            cursor: start,
            outstanding: BTreeMap::new(),
            released: BTreeSet::new(),
            failed_reads: 0,
        }
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.size + self.torn
    }

    /// Counts a record that is to be read.
    pub(super) fn add(&mut self, amount: RecordAmount, received_at: SystemTime) {
        self.unread += amount;
        let oldest = self.oldest.map_or(received_at, |at| at.min(received_at));
        self.oldest = Some(oldest);
    }

    /// Appends the bytes of a record, all or nothing. Returns where it stands.
    pub(super) fn append(&mut self, record: &[u8], item: &SpoolItem) -> io::Result<u64> {
        let handle = self.handle.as_ref().ok_or(io::ErrorKind::NotFound)?;
        if handle.metadata()?.nlink() == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let Err(error) = handle.write_all_at(record, self.size) {
            // A part of it may have been written. If that cannot be cut off, it stays as a torn
            // tail.
            self.is_open_for_writing = handle.set_len(self.size).is_ok();
            return Err(error);
        }
        let offset = self.size;
        self.size += record.len() as u64;
        self.is_unsynchronised = true;
        self.add(RecordAmount::of_item(item), item.received_at);
        Ok(offset)
    }

    /// Whether records may be appended until the file has `size` bytes.
    pub(super) fn has_room(&self, record: usize, size: u64) -> bool {
        self.is_open_for_writing && self.size + record as u64 <= size
    }

    /// Synchronises the file, so that it survives a crash of the host.
    pub(super) fn synchronise(&mut self) -> io::Result<()> {
        if self.is_unsynchronised
            && let Some(handle) = &self.handle
        {
            handle.sync_data()?;
            self.is_unsynchronised = false;
            self.close();
        }
        Ok(())
    }

    /// Nothing will be appended any more.
    pub(super) fn seal(&mut self) {
        self.is_open_for_writing = false;
        self.close();
    }

    /// Closes the file if it can be opened again and is not needed now.
    fn close(&mut self) {
        let busy = self.is_open_for_writing || self.is_unsynchronised || self.is_outstanding();
        if !busy && self.is_linked() {
            self.handle = None;
        }
    }

    /// Whether the open file still has its name.
    fn is_linked(&self) -> bool {
        let metadata = self.handle.as_ref().map(File::metadata);
        metadata.is_some_and(|metadata| metadata.is_ok_and(|metadata| metadata.nlink() > 0))
    }

    /// Whether it is open and has lost its name.
    pub(super) fn is_unlinked(&self) -> bool {
        self.is_open() && !self.is_linked()
    }

    /// Whether the next process will find it in this directory.
    pub(super) fn is_in(&self, directory: &SpoolDirectory, number: u64) -> bool {
        match (&self.handle, directory.inode(number)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(handle), Some(inode)) => handle.metadata().is_ok_and(|one| one.ino() == inode),
        }
    }

    /// Whether it can be read although its name was removed.
    pub(super) fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// Whether a record was read that is not settled.
    pub(super) fn is_outstanding(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Whether there is something to be read.
    pub(super) fn is_readable(&self) -> bool {
        self.cursor < self.size || !self.released.is_empty()
    }

    /// Whether all of its records are settled.
    pub(super) fn is_finished(&self) -> bool {
        !self.is_open_for_writing && !self.is_readable() && !self.is_outstanding()
    }

    /// Whether the file is to be removed from the disk when it is finished.
    pub(super) fn is_to_be_removed(&self) -> bool {
        !self.is_given_up
    }

    /// Reads the next record.
    ///
    /// # Errors
    /// What the system says. The same record is tried again by the next call.
    pub(super) fn read_next(
        &mut self,
        directory: &SpoolDirectory,
        number: u64,
    ) -> io::Result<NextRecord> {
        while self.is_readable() {
            if self.handle.is_none() {
                match directory.open_file(number) {
                    Ok(handle) => self.handle = Some(handle),
                    Err(error) => {
                        let reason = match error.kind() {
                            io::ErrorKind::NotFound => LossReason::Vanished,
                            io::ErrorKind::InvalidData => LossReason::Unreadable,
                            // There may be no free descriptor at this moment.
                            _ => return Err(error),
                        };
                        return Ok(self.lose_rest(reason));
                    }
                }
            }
            match self.try_read_next() {
                Ok(next) => {
                    self.failed_reads = 0;
                    if let Some(next) = next {
                        return Ok(next);
                    }
                }
                Err(error) => {
                    self.failed_reads += 1;
                    if self.failed_reads < MAX_FAILED_READS {
                        return Err(error);
                    }
                    return Ok(self.lose_rest(LossReason::Unreadable));
                }
            }
        }
        Ok(NextRecord::Nothing)
    }

    fn try_read_next(&mut self) -> io::Result<Option<NextRecord>> {
        let handle = self.handle.as_ref().ok_or(io::ErrorKind::NotFound)?;
        // Another program may have truncated it.
        self.size = self.size.min(handle.metadata()?.len());
        let released = self.released.first().copied();
        let start = released.unwrap_or(self.cursor);
        let mut reader = RecordReader::new(handle, self.marker, start, self.size);
        let step = reader.read_next()?;
        match released {
            Some(offset) => {
                self.released.remove(&offset);
            }
            None => self.cursor = reader.offset(),
        }
        Ok(match step {
            ReaderStep::Record { offset, item } if released.is_none_or(|at| at == offset) => {
                let amount = RecordAmount::of_item(&item);
                self.unread = self.unread.saturating_sub(amount);
                self.outstanding.insert(offset, amount);
                Some(NextRecord::Read { offset, item })
            }
            ReaderStep::Damaged { documents, bytes } => {
                let offsets = start..reader.offset();
                let amount = RecordAmount::of(documents, bytes);
                self.unread = self.unread.saturating_sub(amount);
                Some(NextRecord::Lost {
                    amount,
                    reason: LossReason::Damaged,
                    offsets,
                })
            }
            // Records that were counted and are missing now are reported when the file is finished.
            ReaderStep::Record { .. }
            | ReaderStep::Gap
            | ReaderStep::TornTail
            | ReaderStep::End => None,
        })
    }

    fn lose_rest(&mut self, reason: LossReason) -> NextRecord {
        NextRecord::Lost {
            amount: self.give_up(),
            reason,
            offsets: 0..u64::MAX,
        }
    }

    /// This process reads nothing more from this file. Returns what was still to be read.
    pub(super) fn give_up(&mut self) -> RecordAmount {
        self.is_given_up = true;
        self.is_open_for_writing = false;
        self.cursor = self.size;
        self.released.clear();
        std::mem::take(&mut self.unread)
    }

    /// The record is settled. It is marked, so that the next process does not send it again. If it
    /// has not been read since it was stored, it will not be read any more.
    pub(super) fn settle(
        &mut self,
        directory: Option<&SpoolDirectory>,
        number: u64,
        offset: u64,
    ) -> io::Result<()> {
        let was_read = self.outstanding.remove(&offset).is_some();
        let unread = match was_read {
            true => Some(RecordAmount::default()),
            false => self.unread_record(directory, number, offset)?,
        };
        let Some(unread) = unread else {
            return Ok(());
        };
        // The last record too: the file may be one that cannot be removed.
        let marked = match &self.handle {
            Some(handle) if offset < self.size => {
                handle.write_all_at(&self.marker.settled(), offset)
            }
            _ => Ok(()),
        };
        // A record that was not read, and has no mark, will be read.
        if was_read || marked.is_ok() {
            self.released.remove(&offset);
            self.unread = self.unread.saturating_sub(unread);
            self.finish_if_settled();
        }
        marked
    }

    /// If all records are settled, nothing more is read or written.
    pub(super) fn finish_if_settled(&mut self) {
        let is_unread = self.unread != RecordAmount::default() || !self.released.is_empty();
        if !is_unread && !self.is_outstanding() {
            self.cursor = self.size;
            self.seal();
        }
    }

    /// Whether the record that was written here is still to be read.
    pub(super) fn is_unread(&self, offset: u64) -> bool {
        (self.cursor..self.size).contains(&offset) || self.released.contains(&offset)
    }

    /// What a record holds that is still to be read. `None`: it is not to be read.
    fn unread_record(
        &mut self,
        directory: Option<&SpoolDirectory>,
        number: u64,
        offset: u64,
    ) -> io::Result<Option<RecordAmount>> {
        if !self.is_unread(offset) {
            return Ok(None);
        }
        let missing = io::ErrorKind::NotFound;
        let handle = match &mut self.handle {
            Some(handle) => handle,
            none => none.insert(directory.ok_or(missing)?.open_file(number)?),
        };
        let mut reader = RecordReader::new(handle, self.marker, offset, self.size);
        Ok(match reader.next_header()? {
            HeaderStep::Header(at, header) if at == offset && !header.settled => {
                Some(RecordAmount::of(header.count, header.opened))
            }
            _ => None,
        })
    }

    /// The record is to be read again, or for the first time. Returns whether it can be.
    pub(super) fn release(&mut self, offset: u64) -> bool {
        let Some(amount) = self.outstanding.remove(&offset) else {
            return self.is_unread(offset) && !self.is_given_up;
        };
        let is_kept = self.is_linked() && !self.is_given_up;
        if is_kept {
            self.released.insert(offset);
            self.unread += amount;
        }
        is_kept
    }
}
