//! Reads the records of a spool file, which may be damaged.

use std::io::{self, Read, Seek, SeekFrom};

use super::SpoolItem;
use super::format::{MARKER, RECORD_HEADER, RecordHeader, SyncMarker};

/// Bytes that are searched at a time for the next record behind damage.
const SEARCH: usize = 64 * 1024;

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum ReaderStep {
    /// A record that is not settled.
    Record {
        /// Where it stands.
        offset: u64,
        /// What it holds.
        item: SpoolItem,
    },
    /// A record with a damaged body.
    Damaged {
        /// How many documents it had.
        documents: usize,
        /// Bytes of the opened body.
        bytes: usize,
    },
    /// Damaged bytes in front of a record, or in the place of the last one.
    Gap,
    /// The last record is incomplete, because its write was interrupted.
    TornTail,
    /// All is read.
    End,
}

/// A header, or why there is none.
#[derive(Debug)]
pub(crate) enum HeaderStep {
    Header(u64, RecordHeader),
    Gap,
    TornTail,
    End,
}

/// Reads records one after the other. Errors are those of the disk; damaged bytes are not an error.
#[derive(Debug)]
pub struct RecordReader<R> {
    source: R,
    marker: SyncMarker,
    offset: u64,
    end: u64,
}

impl<R: Read + Seek> RecordReader<R> {
    /// Reads from `offset`, where a record begins, to `end`.
    pub fn new(source: R, marker: SyncMarker, offset: u64, end: u64) -> Self {
        RecordReader {
            source,
            marker,
            offset,
            end,
        }
    }

    /// Where the next record is looked for.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record that is not settled, or a description of the damage.
    ///
    /// # Errors
    /// What the system says. The same place is read again by the next call.
    pub fn read_next(&mut self) -> io::Result<ReaderStep> {
        loop {
            let start = self.offset;
            let (offset, header) = match self.next_header()? {
                HeaderStep::Header(_, header) if header.settled => continue,
                HeaderStep::Header(offset, header) => (offset, header),
                HeaderStep::Gap => return Ok(ReaderStep::Gap),
                HeaderStep::TornTail => return Ok(ReaderStep::TornTail),
                HeaderStep::End => return Ok(ReaderStep::End),
            };
            let body = self.body(offset, &header);
            if body.is_err() {
                self.offset = start;
            }
            return Ok(match header.item(&self.marker, body?) {
                Some(item) => ReaderStep::Record { offset, item },
                None => ReaderStep::Damaged {
                    documents: header.count,
                    bytes: header.opened,
                },
            });
        }
    }

    /// The next header of a whole record, settled or not; its body is passed over.
    pub(crate) fn next_header(&mut self) -> io::Result<HeaderStep> {
        let rest = self.end.saturating_sub(self.offset);
        if rest == 0 {
            return Ok(HeaderStep::End);
        }
        let Some(header) = self.header_at(self.offset)? else {
            return self.skip_damage();
        };
        let length = record_bytes(&header);
        if length > rest {
            self.offset = self.end;
            return Ok(HeaderStep::TornTail);
        }
        let offset = self.offset;
        self.offset += length;
        Ok(HeaderStep::Header(offset, header))
    }

    /// Moves to the next header after damaged bytes.
    fn skip_damage(&mut self) -> io::Result<HeaderStep> {
        let (pending, settled) = (self.marker.pending(), self.marker.settled());
        // An interrupted write leaves a whole header or only a part of one.
        let is_torn = self.end - self.offset < RECORD_HEADER as u64;
        let mut from = self.offset + 1;
        while self.end.saturating_sub(from) >= RECORD_HEADER as u64 {
            let length = usize::try_from(self.end - from).map_or(SEARCH, |rest| rest.min(SEARCH));
            let bytes = self.read_at(from, length)?;
            let found = bytes
                .windows(MARKER)
                .position(|window| window == pending || window == settled);
            // A marker may lie across the end of these bytes.
            let Some(found) = found else {
                from += (length - MARKER + 1) as u64;
                continue;
            };
            from += found as u64;
            if self.header_at(from)?.is_some() {
                self.offset = from;
                return Ok(HeaderStep::Gap);
            }
            from += 1;
        }
        self.offset = self.end;
        Ok(match is_torn {
            true => HeaderStep::TornTail,
            false => HeaderStep::Gap,
        })
    }

    fn header_at(&mut self, offset: u64) -> io::Result<Option<RecordHeader>> {
        if self.end.saturating_sub(offset) < RECORD_HEADER as u64 {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_HEADER];
        self.source.seek(SeekFrom::Start(offset))?;
        self.source.read_exact(&mut bytes)?;
        Ok(RecordHeader::decode(&self.marker, &bytes))
    }

    fn body(&mut self, offset: u64, header: &RecordHeader) -> io::Result<Vec<u8>> {
        self.read_at(offset + RECORD_HEADER as u64, header.body_len())
    }

    fn read_at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.source.seek(SeekFrom::Start(offset))?;
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn record_bytes(header: &RecordHeader) -> u64 {
    (RECORD_HEADER + header.body_len()) as u64
}
