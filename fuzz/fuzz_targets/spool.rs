//! The spool: whatever bytes stand in a file, only records are read that were written to it, each
//! once and in order; and compressed bodies open to what they were, or to nothing.
#![no_main]

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use xray::batch::compressed::{BodyEncoding, CompressedBody, Compressor};
use xray::spool::format::{FileHeader, SyncMarker, encode_record};
use xray::spool::reader::{ReaderStep, RecordReader};
use xray::spool::{BodyKind, SpoolItem};

const OURS: [u8; 16] = *b"a random marker!";
const THEIRS: [u8; 16] = *b"of another file.";

/// An item made of some bytes.
fn item(bytes: &[u8]) -> SpoolItem {
    let count = bytes.len() % 51;
    let kind = match count % 3 {
        0 => BodyKind::Segments,
        rest => BodyKind::Otlp {
            json: rest == 1,
            gzip: bytes.len() % 2 == 0,
        },
    };
    SpoolItem {
        body: Arc::new(Compressor::default().compress(bytes, count)),
        kind,
        received_at: UNIX_EPOCH + Duration::from_millis(bytes.len() as u64 * 999),
        attempts: bytes.first().copied().unwrap_or(0).into(),
    }
}

fn encode(marker: [u8; 16], item: &SpoolItem) -> Vec<u8> {
    encode_record(&SyncMarker::new(marker), item).expect("it is short")
}

/// All that can be read, and how many places are no record.
fn read(bytes: &[u8]) -> (Vec<SpoolItem>, usize) {
    let end = bytes.len() as u64;
    let mut reader = RecordReader::new(Cursor::new(bytes), SyncMarker::new(OURS), 0, end);
    let (mut items, mut damaged) = (Vec::new(), 0);
    loop {
        match reader.read_next().expect("memory can be read") {
            ReaderStep::Record { offset, item } => {
                assert!(offset < end);
                items.push(item);
            }
            ReaderStep::End => return (items, damaged),
            ReaderStep::Damaged { .. } | ReaderStep::Gap | ReaderStep::TornTail => damaged += 1,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    // As they are.
    if let Ok((header, length)) = FileHeader::decode(data) {
        assert_eq!(header.encode(), data[..length]);
    }
    assert_eq!(read(data).0, []);

    // As the body of a request, and as what claims to be compressed.
    let body = Compressor::default().compress(data, 1);
    assert!(body.bytes().len() <= data.len());
    assert_eq!(body.open(), data);
    let Some((length, rest)) = data.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes(*length));
    if let Ok(body) = CompressedBody::from_stored(rest.to_vec(), BodyEncoding::Lz4, length, 1) {
        assert_eq!(body.open().len(), length);
    }

    // As the bodies of records, which are then damaged.
    let mut parts = rest.split(|&byte| byte == b'|');
    let damage = parts.next().unwrap_or_default();
    let items: Vec<SpoolItem> = parts.map(item).collect();
    let mut bytes: Vec<u8> = items.iter().flat_map(|item| encode(OURS, item)).collect();
    assert_eq!(read(&bytes), (items.clone(), 0));
    for edit in damage.chunks_exact(5) {
        let place = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % (bytes.len() + 1);
        let end = (place + usize::from(edit[2])).min(bytes.len());
        let (range, new) = match edit[3] % 5 {
            0 => (place..bytes.len(), Vec::new()),
            1 => (place..end, Vec::new()),
            2 => (place..end, vec![edit[4]; end - place]),
            3 => (place..place, OURS.to_vec()),
            _ => (place..place, encode(THEIRS, &item(edit))),
        };
        bytes.splice(range, new);
    }
    let (found, _) = read(&bytes);
    let mut rest = items.iter();
    for item in found {
        assert!(
            rest.any(|written| *written == item),
            "a record that was never written"
        );
    }
});
