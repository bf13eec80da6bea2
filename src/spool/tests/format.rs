use proptest::prelude::*;

use super::*;
use crate::spool::format::{FileHeader, HeaderError, MAX_FILE_HEADER, SyncMarker, VERSION};

fn header() -> FileHeader {
    FileHeader {
        marker: SyncMarker::new(*b"0123456789abcdef"),
        destination: XRayApi::Otlp,
        identity: SpoolIdentity::new(
            "eu-west-1",
            "https://xray.eu-west-1.amazonaws.com",
            "arn:aws:iam::1:role/x",
        ),
    }
}

#[test]
fn a_header_is_read_as_it_was_written() {
    let mut bytes = header().encode();
    let length = bytes.len();
    bytes.extend(b"the first record");
    assert_eq!(FileHeader::decode(&bytes), Ok((header(), length)));
}

#[test]
fn the_longest_header_is_within_what_is_read_of_a_file() {
    let long = "é".repeat(100_000);
    let longest = FileHeader {
        identity: SpoolIdentity::new(&long, &long, &long),
        ..header()
    };
    let bytes = longest.encode();
    assert_eq!(bytes.len(), MAX_FILE_HEADER);
    assert_eq!(FileHeader::decode(&bytes), Ok((longest, MAX_FILE_HEADER)));
}

#[test]
fn another_version_is_told_from_damage() {
    let mut bytes = header().encode();
    bytes[7] = VERSION + 1;
    let newer = HeaderError::Version(VERSION + 1);
    assert_eq!(FileHeader::decode(&bytes), Err(newer));
    // Whatever else a newer version may have changed.
    assert_eq!(FileHeader::decode(&bytes[..8]), Err(newer));
    assert_eq!(FileHeader::decode(b""), Err(HeaderError::Damaged));
    assert_eq!(FileHeader::decode(b"XRAYSPL"), Err(HeaderError::Damaged));
}

#[test]
fn a_header_is_whole_or_damaged() {
    let bytes = header().encode();
    for end in 0..bytes.len() {
        let cut = FileHeader::decode(&bytes[..end]);
        assert_eq!(cut, Err(HeaderError::Damaged), "{end}");
    }
    for place in (0..bytes.len()).filter(|&place| place != 7) {
        let mut bytes = bytes.clone();
        bytes[place] ^= 0x10;
        let damaged = FileHeader::decode(&bytes);
        assert_eq!(damaged, Err(HeaderError::Damaged), "{place}");
    }
}

proptest! {
    #[test]
    fn random_bytes_are_no_header(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if text {
            bytes.splice(..0, *b"XRAYSPL\x01");
        }
        prop_assert!(FileHeader::decode(&bytes).is_err());
    }
}
