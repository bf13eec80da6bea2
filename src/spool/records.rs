//! Storing, reading and settling records across the files of the spool.

use std::io;
use std::time::{Instant, SystemTime};

use ring::rand::{SecureRandom, SystemRandom};

use super::error::StoreError;
use super::file::{NextRecord, SpoolFile};
use super::format::{FileHeader, MARKER, MAX_FILE_HEADER, SyncMarker, encode_record, record_len};
use super::state::Spool;
use super::{
    LossReason, RecordAmount, RecordId, RecordRange, SYNC_INTERVAL, SpoolEvent, SpoolItem, XRayApi,
};
use crate::batch::compressed::MAX_BODY;

/// A file takes no further record at this size, so that disk space comes back in small steps.
const FULL_FILE: u64 = 4 * 1024 * 1024;

impl Spool {
    pub(super) fn store(&mut self, item: &SpoolItem, now: Instant) -> Result<RecordId, StoreError> {
        if self.retry_at.is_some_and(|at| now < at) {
            return Err(StoreError::Unavailable);
        }
        self.retry_at = None;
        self.open(now);
        if self.directory.is_none() {
            return Err(StoreError::Unavailable);
        }
        if item.body.body_len() > MAX_BODY {
            return Err(StoreError::TooLong);
        }
        self.make_room(item, now)?;
        match self.append(item) {
            Ok(record) => {
                self.report.recovered();
                self.synchronise_at.get_or_insert(now + SYNC_INTERVAL);
                Ok(record)
            }
            Err(error) => {
                self.unwritten = record_len(item);
                self.fail_to("cannot write to it", error, now);
                Err(StoreError::Unavailable)
            }
        }
    }

    /// Drops the oldest segments if the item would not fit otherwise. Spans were acknowledged to
    /// their sender, so they are never dropped for others; for this reason they may take only half
    /// of the limit.
    fn make_room(&mut self, item: &SpoolItem, now: Instant) -> Result<(), StoreError> {
        let limit = self.settings.limit;
        let needed = (record_len(item) + MAX_FILE_HEADER) as u64;
        let fits = |used: u64, limit: u64| used.saturating_add(needed) <= limit;
        if item.kind.destination() == XRayApi::Otlp {
            let spans = self.bytes(Some(XRayApi::Otlp));
            let is_room = fits(spans, limit / 2) && fits(self.bytes(None), limit);
            return if is_room { Ok(()) } else { Err(self.full(now)) };
        }
        while !fits(self.bytes(None), limit) {
            let mut files = self.files.iter();
            let oldest = files
                .find(|(_, file)| file.destination == XRayApi::Segments && !file.is_outstanding());
            let Some((&number, _)) = oldest.filter(|_| fits(0, limit)) else {
                return Err(self.full(now));
            };
            self.remove(number, LossReason::Limit, now)
                .map_err(|()| StoreError::Unavailable)?;
        }
        Ok(())
    }

    fn full(&mut self, now: Instant) -> StoreError {
        self.report.full(self.settings.limit, now);
        StoreError::NoRoom
    }

    /// Writes the item behind the others.
    pub(super) fn append(&mut self, item: &SpoolItem) -> io::Result<RecordId> {
        let destination = item.kind.destination();
        let full = FULL_FILE.min(self.settings.limit / 8);
        let mut files = self.files.iter_mut().rev();
        let last = files.find(|(_, file)| file.destination == destination);
        let number = match last {
            Some((&number, file)) if file.has_room(record_len(item), full) => number,
            Some((_, file)) => {
                file.synchronise()?;
                file.seal();
                self.create(destination)?
            }
            None => self.create(destination)?,
        };
        let missing = io::ErrorKind::NotFound;
        let file = self.files.get_mut(&number).ok_or(missing)?;
        let record = encode_record(&file.marker, item).ok_or(io::ErrorKind::InvalidInput)?;
        let offset = file.append(&record, item)?;
        Ok(RecordId {
            file: number,
            offset,
        })
    }

    /// Begins a new file. Returns its number.
    fn create(&mut self, destination: XRayApi) -> io::Result<u64> {
        let missing = io::ErrorKind::NotFound;
        let directory = self.directory.as_ref().ok_or(missing)?;
        let mut random = [0; MARKER];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let header = FileHeader {
            marker: SyncMarker::new(random),
            destination,
            identity: self.identity.clone().ok_or(missing)?,
        };
        let mut number = self.next_number;
        let file = loop {
            match SpoolFile::create(directory, number, &header) {
                // The file belongs to another program.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    number = number.checked_add(1).ok_or(error)?;
                }
                created => break created?,
            }
        };
        self.next_number = number.saturating_add(1);
        self.files.insert(number, file);
        Ok(number)
    }

    /// Reads records, oldest first. Returns whether more could be read at once.
    pub(super) fn read(
        &mut self,
        destination: XRayApi,
        max_bytes: usize,
        not_before: SystemTime,
        now: Instant,
    ) -> bool {
        if self.directory.is_none() {
            return false;
        }
        let mut bytes = 0;
        while bytes < max_bytes.max(1) {
            let mut files = self.files.iter();
            let next = files.find(|(_, f)| f.destination == destination && f.is_readable());
            let Some((&number, _)) = next else {
                return false;
            };
            match self.read_record(number, not_before, now) {
                Ok(read) => bytes += read,
                Err(error) => {
                    self.fail_to("cannot read a file in it", error, now);
                    return false;
                }
            }
        }
        let mut files = self.files.values();
        files.any(|file| file.destination == destination && file.is_readable())
    }

    /// Reads one record of a file. Returns how many bytes of it were handed out.
    fn read_record(
        &mut self,
        number: u64,
        not_before: SystemTime,
        now: Instant,
    ) -> io::Result<usize> {
        let missing = io::ErrorKind::NotFound;
        let directory = self.directory.as_ref().ok_or(missing)?;
        let file = self.files.get_mut(&number).ok_or(missing)?;
        file.seal();
        let destination = file.destination;
        let mut bytes = 0;
        match file.read_next(directory, number)? {
            NextRecord::Read { offset, item } if item.received_at < not_before => {
                let settled = file.settle(Some(directory), number, offset);
                let amount = RecordAmount::of_item(&item);
                let record = RecordId {
                    file: number,
                    offset,
                };
                let range = Some(RecordRange::only(record));
                self.report
                    .lost(destination, amount, LossReason::TooOld, range, now);
                settled?;
            }
            NextRecord::Read { offset, item } => {
                bytes = item.body.bytes().len();
                let record = RecordId {
                    file: number,
                    offset,
                };
                self.report.push(SpoolEvent::Restored { record, item });
            }
            NextRecord::Lost {
                amount,
                reason,
                offsets,
            } => {
                let range = Some(RecordRange {
                    file: number,
                    offsets,
                });
                self.report.lost(destination, amount, reason, range, now);
            }
            NextRecord::Nothing => {}
        }
        self.remove_if_finished(number, now);
        Ok(bytes)
    }

    pub(super) fn settle(&mut self, record: RecordId, now: Instant) {
        let directory = self.directory.as_ref();
        let file = self.files.get_mut(&record.file);
        let settled = file.map(|file| file.settle(directory, record.file, record.offset));
        if let Some(Err(error)) = settled {
            self.fail_to("cannot mark what was sent", error, now);
        }
        self.remove_if_finished(record.file, now);
    }

    pub(super) fn release(&mut self, record: RecordId, now: Instant) {
        let file = self.files.get_mut(&record.file);
        let kept = file.is_some_and(|file| file.release(record.offset));
        self.report.push(SpoolEvent::Released { record, kept });
        self.remove_if_finished(record.file, now);
    }

    pub(super) fn remove_finished(&mut self, now: Instant) {
        let numbers: Vec<u64> = self.files.keys().copied().collect();
        for number in numbers {
            self.remove_if_finished(number, now);
        }
    }

    fn remove_if_finished(&mut self, number: u64, now: Instant) {
        if self.files.get(&number).is_some_and(SpoolFile::is_finished) {
            // Records that were counted in it and not found later.
            let _ = self.remove(number, LossReason::Damaged, now);
        }
    }

    /// Removes a file; the documents in it that were not read are lost for this reason.
    fn remove(&mut self, number: u64, reason: LossReason, now: Instant) -> Result<(), ()> {
        let Some(file) = self.files.get(&number) else {
            return Ok(());
        };
        if file.is_to_be_removed() {
            let removed = match &self.directory {
                Some(directory) => directory.remove_file(number),
                None => return Err(()),
            };
            if let Err(error) = removed {
                self.fail_to("cannot remove a file in it", error, now);
                return Err(());
            }
        }
        if let Some(file) = self.files.remove(&number) {
            let range = Some(RecordRange::whole(number));
            self.report
                .lost(file.destination, file.unread, reason, range, now);
        }
        Ok(())
    }
}
