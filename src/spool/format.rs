//! The bytes of a spool file.
//!
//! A file is a header and then records, one behind the other. All numbers are little-endian.
//!
//! | header | bytes |
//! |---|---|
//! | `XRAYSPL` and the version | 8 |
//! | sync marker, random for each file | 16 |
//! | destination | 1 |
//! | region, endpoint, role, each with its length before it | 2 + n each |
//! | checksum of the header | 8 |
//!
//! | record | bytes |
//! |---|---|
//! | sync marker; all its bits inverted once the record is settled | 16 |
//! | length of the stored body, length of the opened body, number of documents | 4 each |
//! | time received, milliseconds since 1970 | 8 |
//! | attempts | 2 |
//! | kind, encoding | 1 each |
//! | checksum of the stored body | 8 |
//! | checksum of the record up to here | 8 |
//! | stored body | n |
//!
//! After damage the next record is found by the sync marker. A client cannot know it, so no
//! document can pretend to be a record, and the checksums cover it, so no record of another file is
//! taken for one of this file. A checksum is the beginning of a SHA-256, which the daemon has for
//! signing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::{BodyKind, MAX_TEXT, SpoolIdentity, SpoolItem, XRayApi};
use crate::batch::compressed::{BodyEncoding, CompressedBody, MAX_BODY};

/// Version of this format.
pub const VERSION: u8 = 1;

/// Bytes of a record before its body.
pub(crate) const RECORD_HEADER: usize = 56;

/// Most bytes of a file header.
pub(crate) const MAX_FILE_HEADER: usize = 8 + MARKER + 1 + 3 * (2 + MAX_TEXT) + CHECKSUM;

pub(crate) const MARKER: usize = 16;
const CHECKSUM: usize = 8;
const MAGIC: &[u8; 7] = b"XRAYSPL";

/// The bytes in front of each record of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncMarker([u8; MARKER]);

impl SyncMarker {
    /// A marker of these bytes, which must be random.
    pub fn new(random: [u8; MARKER]) -> Self {
        SyncMarker(random)
    }

    /// In front of a record that is to be read.
    pub(crate) fn pending(&self) -> [u8; MARKER] {
        self.0
    }

    /// In front of a record that is settled. If only a part of it is written, the record becomes
    /// unreadable, which has the same effect.
    pub(crate) fn settled(&self) -> [u8; MARKER] {
        self.0.map(|byte| !byte)
    }

    fn checksum(&self, bytes: &[u8]) -> [u8; CHECKSUM] {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(self.0)
            .chain_update(bytes)
            .finalize()
            .into();
        first(&digest)
    }
}

/// The header of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// Before each record.
    pub marker: SyncMarker,
    /// Where its bodies are to be sent.
    pub(crate) destination: XRayApi,
    /// The identity that its bodies belong to.
    pub(crate) identity: SpoolIdentity,
}

/// Why the beginning of a file is not the header of a spool file that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// Another version of the format.
    Version(u8),
    /// Not a header, or a damaged one.
    Damaged,
}

impl FileHeader {
    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend(self.marker.0);
        bytes.push(match self.destination {
            XRayApi::Segments => 0,
            XRayApi::Otlp => 1,
        });
        let SpoolIdentity {
            region,
            endpoint,
            role,
        } = &self.identity;
        for text in [region, endpoint, role] {
            let length = u16::try_from(text.len()).expect("SpoolIdentity::new has bounded it");
            bytes.extend(length.to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        let checksum = self.marker.checksum(&bytes);
        bytes.extend(checksum);
        bytes
    }

    /// The header at the beginning of `bytes`, and its length.
    ///
    /// # Errors
    /// [`HeaderError`]
    pub fn decode(bytes: &[u8]) -> Result<(FileHeader, usize), HeaderError> {
        let mut fields = ByteReader(bytes);
        if fields.array() != Some(*MAGIC) {
            return Err(HeaderError::Damaged);
        }
        match fields.array() {
            Some([VERSION]) => Self::fields(bytes, fields).ok_or(HeaderError::Damaged),
            Some([version]) => Err(HeaderError::Version(version)),
            None => Err(HeaderError::Damaged),
        }
    }

    fn fields(bytes: &[u8], mut fields: ByteReader<'_>) -> Option<(FileHeader, usize)> {
        let marker = SyncMarker(fields.array()?);
        let destination = match fields.array()? {
            [0] => XRayApi::Segments,
            [1] => XRayApi::Otlp,
            _ => return None,
        };
        let identity = SpoolIdentity {
            region: fields.text()?,
            endpoint: fields.text()?,
            role: fields.text()?,
        };
        let end = bytes.len() - fields.0.len();
        if fields.array() != Some(marker.checksum(&bytes[..end])) {
            return None;
        }
        let header = FileHeader {
            marker,
            destination,
            identity,
        };
        Some((header, end + CHECKSUM))
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    stored: usize,
    pub(crate) opened: usize,
    pub count: usize,
    pub received_at: SystemTime,
    attempts: u16,
    kind: BodyKind,
    encoding: BodyEncoding,
    body_checksum: [u8; CHECKSUM],
    pub(crate) settled: bool,
}

impl RecordHeader {
    /// Bytes of the stored body.
    pub(crate) fn body_len(&self) -> usize {
        self.stored
    }

    /// The header at the beginning of `bytes`, if it is one.
    pub(crate) fn decode(marker: &SyncMarker, bytes: &[u8; RECORD_HEADER]) -> Option<RecordHeader> {
        let (before, rest) = bytes.split_at(MARKER);
        let settled = before == marker.settled();
        if !settled && before != marker.pending() {
            return None;
        }
        let (covered, checksum) = rest.split_at(rest.len() - CHECKSUM);
        if checksum != marker.checksum(covered) {
            return None;
        }
        let mut fields = ByteReader(covered);
        let (stored, opened, count) = (fields.length()?, fields.length()?, fields.length()?);
        let received = Duration::from_millis(u64::from_le_bytes(fields.array()?));
        let header = RecordHeader {
            stored,
            opened,
            count,
            received_at: UNIX_EPOCH.checked_add(received)?,
            attempts: u16::from_le_bytes(fields.array()?),
            kind: match fields.array()? {
                [0] => BodyKind::Segments,
                [bits @ (1 | 3 | 5 | 7)] => BodyKind::Otlp {
                    json: bits & 2 != 0,
                    gzip: bits & 4 != 0,
                },
                _ => return None,
            },
            encoding: match fields.array()? {
                [0] => BodyEncoding::Plain,
                [1] => BodyEncoding::Lz4,
                _ => return None,
            },
            body_checksum: fields.array()?,
            settled,
        };
        (stored <= opened && opened <= MAX_BODY).then_some(header)
    }

    /// The item, if `body` is the one that was written.
    pub(crate) fn item(&self, marker: &SyncMarker, body: Vec<u8>) -> Option<SpoolItem> {
        if marker.checksum(&body) != self.body_checksum {
            return None;
        }
        let body = CompressedBody::from_stored(body, self.encoding, self.opened, self.count);
        Some(SpoolItem {
            body: body.ok()?.into(),
            kind: self.kind,
            received_at: self.received_at,
            attempts: self.attempts,
        })
    }
}

/// Bytes that [`encode_record`] makes of `item`.
pub(crate) fn record_len(item: &SpoolItem) -> usize {
    RECORD_HEADER + item.body.bytes().len()
}

/// The bytes of a record. `None` if its body is too long to be opened again.
pub fn encode_record(marker: &SyncMarker, item: &SpoolItem) -> Option<Vec<u8>> {
    let body = &item.body;
    if body.body_len() > MAX_BODY {
        return None;
    }
    let received = item.received_at.duration_since(UNIX_EPOCH);
    let received = received.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    });
    let mut bytes = Vec::with_capacity(record_len(item));
    bytes.extend(marker.pending());
    for length in [body.bytes().len(), body.body_len(), body.count()] {
        bytes.extend(u32::try_from(length).ok()?.to_le_bytes());
    }
    bytes.extend(received.to_le_bytes());
    bytes.extend(item.attempts.to_le_bytes());
    bytes.push(match item.kind {
        BodyKind::Segments => 0,
        BodyKind::Otlp { json, gzip } => 1 | u8::from(json) << 1 | u8::from(gzip) << 2,
    });
    bytes.push(match body.encoding() {
        BodyEncoding::Plain => 0,
        BodyEncoding::Lz4 => 1,
    });
    bytes.extend(marker.checksum(body.bytes()));
    let checksum = marker.checksum(&bytes[MARKER..]);
    bytes.extend(checksum);
    bytes.extend(body.bytes());
    Some(bytes)
}

/// Reads fields from the front of bytes.
struct ByteReader<'a>(&'a [u8]);

impl ByteReader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (length <= MAX_TEXT)
            .then(|| String::from_utf8(text.to_vec()).ok())
            .flatten()
    }
}

fn first<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    *bytes
        .first_chunk()
        .expect("a checksum is shorter than a digest")
}
