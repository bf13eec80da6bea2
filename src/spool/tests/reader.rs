use std::io::{self, Cursor, Read, Seek, SeekFrom};

use proptest::prelude::*;

use super::*;
use crate::spool::format::{RECORD_HEADER, SyncMarker, encode_record};
use crate::spool::reader::{ReaderStep, RecordReader};

const OURS: [u8; 16] = *b"a random marker!";
const THEIRS: [u8; 16] = *b"of another file.";

/// The records of a file, without its header, and where each begins.
fn written(items: &[SpoolItem], marker: [u8; 16]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    for item in items {
        starts.push(bytes.len());
        bytes.extend(encode_record(&SyncMarker::new(marker), item).unwrap());
    }
    (bytes, starts)
}

fn steps(bytes: &[u8]) -> Vec<ReaderStep> {
    let end = bytes.len() as u64;
    let mut reader = RecordReader::new(Cursor::new(bytes), SyncMarker::new(OURS), 0, end);
    let mut steps = Vec::new();
    loop {
        match reader.read_next().unwrap() {
            ReaderStep::End => return steps,
            step => steps.push(step),
        }
    }
}

fn items_of(steps: &[ReaderStep]) -> Vec<SpoolItem> {
    let records = steps.iter().filter_map(|step| match step {
        ReaderStep::Record { item, .. } => Some(item.clone()),
        _ => None,
    });
    records.collect()
}

fn kind() -> impl Strategy<Value = BodyKind> {
    let otlp =
        (any::<bool>(), any::<bool>()).prop_map(|(json, gzip)| BodyKind::Otlp { json, gzip });
    prop_oneof![Just(BodyKind::Segments), otlp]
}

fn items() -> impl Strategy<Value = Vec<SpoolItem>> {
    // Bodies that hold markers and whole records of another file too: a document may hold anything.
    let theirs = written(&[item(9)], THEIRS).0;
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        (prop::collection::vec(any::<u8>(), 1..9), 1usize..40).prop_map(|(b, n)| b.repeat(n)),
        Just(THEIRS.to_vec()),
        Just(theirs),
    ];
    let item = (body, any::<u16>(), kind(), 0u64..1 << 40, any::<u16>()).prop_map(
        |(body, count, kind, ms, attempts)| SpoolItem {
            received_at: UNIX_EPOCH + Duration::from_millis(ms),
            attempts,
            ..item_of(&body, count.into(), kind, UNIX_EPOCH)
        },
    );
    prop::collection::vec(item, 1..6)
}

/// Whether `some` are some of `all`, in order.
fn are_among(some: &[SpoolItem], all: &[SpoolItem]) -> bool {
    let mut rest = all.iter();
    some.iter().all(|item| rest.any(|other| other == item))
}

proptest! {
    // One of them reads each file as often as it has bytes.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

    #[test]
    fn records_are_read_as_they_were_written(items in items()) {
        let (bytes, starts) = written(&items, OURS);
        let expected = items.into_iter().zip(starts).map(|(item, start)| ReaderStep::Record {
            offset: start as u64,
            item,
        });
        prop_assert_eq!(steps(&bytes), expected.collect::<Vec<_>>());
    }

    /// At every place, not at some: a torn tail costs the record that it is in.
    #[test]
    fn a_file_cut_anywhere_gives_the_whole_records_before(items in items()) {
        let (bytes, starts) = written(&items, OURS);
        for end in 0..bytes.len() {
            let whole = starts.iter().filter(|&&start| start <= end).count() - 1;
            let steps = steps(&bytes[..end]);
            prop_assert_eq!(items_of(&steps), &items[..whole]);
            let torn: &[ReaderStep] = if starts.contains(&end) { &[] } else { &[ReaderStep::TornTail] };
            prop_assert_eq!(&steps[whole..], torn);
        }
    }

    #[test]
    fn one_damaged_byte_costs_one_record(
        items in items(),
        place in any::<prop::sample::Index>(),
        bits in 1u8..,
    ) {
        let (mut bytes, starts) = written(&items, OURS);
        let place = place.index(bytes.len());
        bytes[place] ^= bits;
        let hit = starts.iter().filter(|&&start| start <= place).count() - 1;
        let mut expected = items.clone();
        let lost = expected.remove(hit).body;
        let steps = steps(&bytes);
        prop_assert_eq!(items_of(&steps), expected);
        let damage = match place - starts[hit] {
            0..RECORD_HEADER => ReaderStep::Gap,
            _ => ReaderStep::Damaged { documents: lost.count(), bytes: lost.body_len() },
        };
        prop_assert_eq!(&steps[hit], &damage);
    }

    /// Overwritten, cut out and put in, several times.
    #[test]
    fn whatever_happens_only_what_was_written_is_read(
        items in items(),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0usize..90, prop::collection::vec(any::<u8>(), 0..90)),
            1..4,
        ),
        theirs in any::<bool>(),
    ) {
        let (mut bytes, _) = written(&items, OURS);
        for (place, length, mut new) in edits {
            if theirs {
                new = written(&[item(1)], THEIRS).0;
            }
            let start = place.index(bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, new);
        }
        prop_assert!(are_among(&items_of(&steps(&bytes)), &items));
    }

    #[test]
    fn random_bytes_hold_no_record(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        markers in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut bytes = bytes;
        for place in markers {
            let place = place.index(bytes.len() + 1);
            bytes.splice(place..place, OURS);
        }
        prop_assert_eq!(items_of(&steps(&bytes)), []);
    }

    #[test]
    fn a_settled_record_is_passed_over(items in items(), settled in any::<prop::sample::Index>()) {
        let (mut bytes, starts) = written(&items, OURS);
        let settled = settled.index(items.len());
        let mark = SyncMarker::new(OURS).settled();
        bytes[starts[settled]..][..mark.len()].copy_from_slice(&mark);
        let mut expected = items;
        expected.remove(settled);
        let steps = steps(&bytes);
        prop_assert_eq!(steps.len(), expected.len());
        prop_assert_eq!(items_of(&steps), expected);
    }
}

/// The checksums cover the marker of the file.
#[test]
fn the_rest_of_a_record_of_another_file_is_none_behind_our_marker() {
    let (theirs, _) = written(&[item(1)], THEIRS);
    let (ours, _) = written(&[item(2)], OURS);
    let forged = [&OURS[..], &theirs[OURS.len()..]].concat();
    assert_eq!(items_of(&steps(&forged)), []);
    assert_eq!(items_of(&steps(&[forged, ours].concat())), [item(2)]);
}

/// The search behind damage goes in steps; the next marker may lie across two of them.
#[test]
fn the_next_record_is_found_wherever_it_begins() {
    let (record, _) = written(&[item(1)], OURS);
    for length in (65_500..65_560).chain(131_040..131_080) {
        let mut bytes = vec![0xa5; length];
        bytes.extend(&record);
        let expected = [
            ReaderStep::Gap,
            ReaderStep::Record {
                offset: length as u64,
                item: item(1),
            },
        ];
        assert_eq!(steps(&bytes), expected, "{length}");
    }
}

/// A disk that fails at one read.
struct Failing {
    bytes: Cursor<Vec<u8>>,
    reads_until: usize,
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.reads_until == 0 {
            self.reads_until = usize::MAX;
            return Err(io::Error::other("the disk fails"));
        }
        self.reads_until -= 1;
        self.bytes.read(buffer)
    }
}

impl Seek for Failing {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(position)
    }
}

#[test]
fn after_an_error_of_the_disk_the_same_record_is_read_again() {
    let items = [item(1), item(2)];
    let (bytes, _) = written(&items, OURS);
    for reads_until in 0..4 {
        let source = Failing {
            bytes: Cursor::new(bytes.clone()),
            reads_until,
        };
        let end = bytes.len() as u64;
        let mut reader = RecordReader::new(source, SyncMarker::new(OURS), 0, end);
        let mut results: Vec<io::Result<ReaderStep>> = (0..4).map(|_| reader.read_next()).collect();
        results.retain(|result| result.is_ok());
        let steps: Vec<ReaderStep> = results.into_iter().map(io::Result::unwrap).collect();
        assert_eq!(items_of(&steps), items, "{reads_until}");
        assert_eq!(steps.len(), 3, "one error and the end");
    }
}
