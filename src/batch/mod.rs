//! A batch: documents as JSON strings, straight in the body of one `PutTraceSegments` request.

pub mod compressed;
mod ids;

use std::ops::Range;

use xray_escape::escape;

pub(crate) use ids::DocumentIds;
pub use ids::ids;

/// Most documents in one request; X-Ray answers "Exceeding maximum segment count: 50" to more.
pub const MAX_DOCUMENTS: usize = 50;

/// A batch takes no further document once its body has reached this many bytes. X-Ray documents
/// no limit; this one keeps a request with the largest documents (64 kB) short enough to be
/// answered well inside the timeout, and the memory of all senders within the smallest buffer.
pub const FULL_BYTES: usize = 256 * 1024;

const PREFIX: &[u8] = br#"{"TraceSegmentDocuments":["#;
const SUFFIX: &[u8] = b"]}";

/// Documents, escaped, in a body that is a complete request at every moment.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The body, and behind it what earlier ones left: memory is made ready once, not once for each
    /// document.
    memory: Vec<u8>,
    /// Length of the body.
    end: usize,
    count: usize,
}

impl PartialEq for Batch {
    fn eq(&self, other: &Batch) -> bool {
        self.body() == other.body() && self.count == other.count
    }
}

impl Eq for Batch {}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        let memory = [PREFIX, SUFFIX].concat();
        Batch {
            end: memory.len(),
            memory,
            count: 0,
        }
    }

    /// Adds one document as a JSON string. Bytes that are not UTF-8 become U+FFFD, one for each.
    pub fn push(&mut self, document: &[u8]) {
        self.open_end();
        self.write(b"\"");
        let start = self.end;
        let escaped = escape(document, &mut self.memory, start);
        self.end = escaped.end;
        // Nearly every document is ASCII, which is known by now. Of the others, checking all at once
        // is many times faster than looking for the bad bytes.
        if !escaped.is_ascii && std::str::from_utf8(document).is_err() {
            self.end = start;
            for chunk in document.utf8_chunks() {
                let valid = chunk.valid().as_bytes();
                self.end = escape(valid, &mut self.memory, self.end).end;
                for _ in chunk.invalid() {
                    self.write("\u{fffd}".as_bytes());
                }
            }
        }
        self.write(b"\"");
        self.write(SUFFIX);
        self.count += 1;
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it must take no further document.
    pub fn is_full(&self) -> bool {
        self.count >= MAX_DOCUMENTS || self.end >= FULL_BYTES
    }

    /// The body of the request.
    pub fn body(&self) -> &[u8] {
        &self.memory[..self.end]
    }

    /// An empty batch in the memory of this one.
    pub fn clear(mut self) -> Batch {
        self.end = PREFIX.len();
        self.write(SUFFIX);
        self.count = 0;
        self
    }

    /// Gives back the memory that the documents do not need, but for an eighth of theirs: the next
    /// documents in the same memory need a little more or less than these.
    pub fn shrink(&mut self) {
        let kept = self.end + self.end / 8;
        if self.memory.capacity() > kept {
            self.memory.truncate(kept);
            self.memory.shrink_to_fit();
        }
    }

    /// Bytes of memory that the body has.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Appends the documents of `next`, whether or not one request can carry so many.
    pub fn append(&mut self, next: &Batch) {
        if next.is_empty() {
            return;
        }
        self.open_end();
        self.write(&next.body()[PREFIX.len()..]);
        self.count += next.count;
    }

    /// The first half of the documents and the rest.
    pub fn split(&self) -> (Batch, Batch) {
        let half = self.count / 2;
        self.partition(|index| index < half)
    }

    /// The documents whose index satisfies `is_first`, and the others, both in their order.
    pub(crate) fn partition(&self, is_first: impl Fn(usize) -> bool) -> (Batch, Batch) {
        let (mut first, mut second) = (Batch::new(), Batch::new());
        for (index, range) in ranges(self.body()).enumerate() {
            let part = if is_first(index) {
                &mut first
            } else {
                &mut second
            };
            part.open_end();
            part.write(&self.memory[range]);
            part.write(SUFFIX);
            part.count += 1;
        }
        (first, second)
    }

    /// The documents as they were received (with U+FFFD for what was not UTF-8). A body that was read
    /// from a file may hold what is no JSON string, because somebody has written it there: this is answered
    /// as it stands.
    pub fn documents(&self) -> impl Iterator<Item = String> + '_ {
        ranges(self.body()).map(|range| {
            let string = &self.memory[range];
            serde_json::from_slice(string)
                .unwrap_or_else(|_| String::from_utf8_lossy(string).into_owned())
        })
    }

    /// Cuts off the suffix and puts a comma where a document stands before.
    fn open_end(&mut self) {
        self.end -= SUFFIX.len();
        if self.count > 0 {
            self.write(b",");
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        self.memory[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }
}

/// Where each JSON string of a body stands, quotes included. A quote inside a string always
/// follows a backslash, because `push` wrote it.
fn ranges(body: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = PREFIX.len();
    std::iter::from_fn(move || {
        let start = at;
        if body.get(start) != Some(&b'"') {
            return None;
        }
        at += 1;
        loop {
            match *body.get(at)? {
                b'\\' => at += 2,
                b'"' => break,
                _ => at += 1,
            }
        }
        let range = start..at + 1;
        at += 2;
        Some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every byte that is not part of a well-formed character becomes U+FFFD.
    fn replaced(document: &[u8]) -> String {
        let mut text = String::new();
        for chunk in document.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
        }
        text
    }

    fn batch_of(documents: &[Vec<u8>]) -> Batch {
        let mut batch = Batch::new();
        for document in documents {
            batch.push(document);
        }
        batch
    }

    /// What X-Ray reads: an independent JSON reader's view of the body.
    fn read(batch: &Batch) -> Vec<String> {
        let body: serde_json::Value = serde_json::from_slice(batch.body()).unwrap();
        let documents = body["TraceSegmentDocuments"].as_array().unwrap();
        assert_eq!(documents.len(), batch.len());
        documents
            .iter()
            .map(|d| d.as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn one_replacement_character_for_each_bad_byte() {
        let cases: [(&[u8], &str); 4] = [
            (b"a\xffb", "a\u{fffd}b"),
            (b"\xe2\x82A", "\u{fffd}\u{fffd}A"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            ("é\u{1f600}".as_bytes(), "é\u{1f600}"),
        ];
        for (document, expected) in cases {
            assert_eq!(read(&batch_of(&[document.to_vec()])), [expected]);
        }
    }

    #[test]
    fn every_byte_at_every_place_of_a_word() {
        for byte in 0..=0x7f {
            for before in 0..20 {
                let mut document = vec![b'a'; before];
                document.push(byte);
                document.extend_from_slice(b"\"\\\x01tail");
                let expected = String::from_utf8(document.clone()).unwrap();
                assert_eq!(
                    read(&batch_of(&[document])),
                    [expected],
                    "{byte:#x} after {before}"
                );
            }
        }
        // The longest that a piece can become, with and without an incomplete last word.
        for unit in ["k\u{1f}é\"\n", "\u{1f}", "\"", "\\\u{1}"] {
            let long = unit.repeat(3001);
            assert_eq!(read(&batch_of(&[long.clone().into_bytes()])), [long]);
        }
    }

    #[test]
    fn is_full_at_fifty_documents_or_by_size() {
        let mut batch = Batch::new();
        for _ in 0..MAX_DOCUMENTS {
            assert!(!batch.is_full());
            batch.push(b"{}");
        }
        assert!(batch.is_full());
        let mut batch = Batch::new();
        while !batch.is_full() {
            batch.push(&[b'x'; 65_507]);
        }
        assert_eq!(batch.len(), 5);
    }

    #[test]
    fn a_batch_is_partitioned_by_the_index_of_its_documents() {
        let batch = batch_of(&[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
        let (chosen, rest) = batch.partition(|index| index == 1);
        assert_eq!(
            (read(&chosen), read(&rest)),
            (vec!["b".into()], vec!["a".into(), "c".into()])
        );
    }

    proptest! {
        #[test]
        fn documents_reach_the_reader_as_the_same_strings(
            documents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8),
        ) {
            let batch = batch_of(&documents);
            let expected: Vec<String> = documents.iter().map(|d| replaced(d)).collect();
            prop_assert_eq!(read(&batch), expected.clone());
            prop_assert_eq!(batch.documents().collect::<Vec<_>>(), expected);
        }

        #[test]
        fn splitting_and_appending_keep_the_documents(
            first in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..6),
            second in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..6),
        ) {
            let (mut left, right) = (batch_of(&first), batch_of(&second));
            left.append(&right);
            let all = batch_of(&[first, second.clone()].concat());
            prop_assert_eq!(&left, &all);
            let (a, b) = left.split();
            prop_assert_eq!([read(&a), read(&b)].concat(), read(&all));
            prop_assert!(a.len().abs_diff(b.len()) <= 1);
            let mut again = left.clear();
            prop_assert_eq!(&again, &Batch::new());
            for document in &second {
                again.push(document);
            }
            prop_assert_eq!(again, right);
        }
    }
}
