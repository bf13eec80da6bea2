//! The batch: whatever bytes are pushed, the body is one valid request with these documents as
//! strings, in order; splitting and appending lose and reorder nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use xray::batch::{Batch, FULL_BYTES, MAX_DOCUMENTS};

/// One U+FFFD for each byte that is no part of a character.
fn as_text(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let Some(&first) = bytes.first() {
        let width = match first {
            0..0x80 => 1,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            _ => 4,
        };
        match bytes.get(..width).map(str::from_utf8) {
            Some(Ok(character)) => {
                text.push_str(character);
                bytes = &bytes[width..];
            }
            _ => {
                text.push('\u{fffd}');
                bytes = &bytes[1..];
            }
        }
    }
    text
}

fn batch(documents: &[&[u8]]) -> Batch {
    let mut batch = Batch::new();
    for document in documents {
        batch.push(document);
    }
    batch
}

fn check(batch: &Batch, expected: &[String]) {
    let body: Value = serde_json::from_slice(batch.body()).expect("a request is JSON");
    assert_eq!(body, json!({ "TraceSegmentDocuments": expected }));
    assert!(batch.documents().eq(expected.iter().cloned()));
    assert_eq!(batch.len(), expected.len());
    assert_eq!(batch.is_empty(), expected.is_empty());
    assert_eq!(
        batch.is_full(),
        expected.len() >= MAX_DOCUMENTS || batch.body().len() >= FULL_BYTES
    );
}

fuzz_target!(|data: &[u8]| {
    let Some((&at, data)) = data.split_first() else {
        return;
    };
    let documents: Vec<&[u8]> = data.split(|&b| b == b'|').collect();
    let expected: Vec<String> = documents.iter().map(|bytes| as_text(bytes)).collect();
    let mut whole = batch(&documents);
    check(&whole, &expected);

    let at = usize::from(at) % (documents.len() + 1);
    let mut joined = batch(&documents[..at]);
    let rest = batch(&documents[at..]);
    joined.append(&rest);
    assert_eq!(joined, whole);

    let (first, second) = whole.split();
    let middle = documents.len() / 2;
    check(&first, &expected[..middle]);
    check(&second, &expected[middle..]);

    whole.shrink();
    check(&whole, &expected);
    let mut reused = whole.clear();
    check(&reused, &[]);
    for document in &documents {
        reused.push(document);
    }
    check(&reused, &expected);
});
