//! A batch: documents as JSON strings, straight in the body of one `PutTraceSegments` request.

use std::ops::Range;

/// Most documents in one request; X-Ray answers "Exceeding maximum segment count: 50" to more.
pub const MAX_DOCUMENTS: usize = 50;

/// A batch takes no further document once its body has reached this many bytes. X-Ray documents
/// no limit; this one keeps a request with the largest documents (64 kB) short enough to be
/// answered well inside the timeout, and the memory of all lanes within the smallest buffer.
pub const FULL_BYTES: usize = 256 * 1024;

const PREFIX: &[u8] = br#"{"TraceSegmentDocuments":["#;
const SUFFIX: &[u8] = b"]}";

/// Documents, escaped, in a body that is a complete request at every moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    body: Vec<u8>,
    count: usize,
    suspect: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Batch {
            body: [PREFIX, SUFFIX].concat(),
            count: 0,
            suspect: false,
        }
    }

    /// Adds one document as a JSON string. Bytes that are not UTF-8 become U+FFFD, one for each.
    pub fn push(&mut self, document: &[u8]) {
        self.open_end();
        self.body.push(b'"');
        // Checking all at once is many times faster than looking for the bad bytes.
        if std::str::from_utf8(document).is_ok() {
            escape(document, &mut self.body);
        } else {
            for chunk in document.utf8_chunks() {
                escape(chunk.valid().as_bytes(), &mut self.body);
                for _ in chunk.invalid() {
                    self.body.extend_from_slice("\u{fffd}".as_bytes());
                }
            }
        }
        self.body.push(b'"');
        self.body.extend_from_slice(SUFFIX);
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
        self.count >= MAX_DOCUMENTS || self.body.len() >= FULL_BYTES
    }

    /// The body of the request.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// An empty batch in the memory of this one.
    pub fn clear(mut self) -> Batch {
        self.body.truncate(PREFIX.len());
        self.body.extend_from_slice(SUFFIX);
        Batch {
            body: self.body,
            count: 0,
            suspect: false,
        }
    }

    /// Gives back the memory that the documents do not need.
    pub fn shrink(&mut self) {
        self.body.shrink_to_fit();
    }

    /// Bytes of memory that the body has.
    pub fn capacity(&self) -> usize {
        self.body.capacity()
    }

    /// Whether `next` may be appended: together within the limits of one request, and neither
    /// under suspicion of holding a document that X-Ray refuses.
    pub fn takes(&self, next: &Batch) -> bool {
        !self.suspect
            && !next.suspect
            && self.count + next.count <= MAX_DOCUMENTS
            && self.body.len() + next.body.len() <= FULL_BYTES
    }

    /// Appends the documents of `next`. The caller has asked [`Batch::takes`].
    pub fn append(&mut self, next: &Batch) {
        if next.is_empty() {
            return;
        }
        self.open_end();
        self.body.extend_from_slice(&next.body[PREFIX.len()..]);
        self.count += next.count;
    }

    /// Two halves, after X-Ray has refused the whole. They stay apart until each is answered.
    pub fn split(&self) -> (Batch, Batch) {
        let mut halves = [Batch::new(), Batch::new()];
        for (i, range) in ranges(&self.body).enumerate() {
            let half = &mut halves[usize::from(i >= self.count / 2)];
            half.open_end();
            half.body.extend_from_slice(&self.body[range]);
            half.body.extend_from_slice(SUFFIX);
            half.count += 1;
        }
        let [mut first, mut second] = halves;
        first.suspect = true;
        second.suspect = true;
        (first, second)
    }

    /// The documents as they were received (with U+FFFD for what was not UTF-8).
    pub fn documents(&self) -> impl Iterator<Item = String> + '_ {
        ranges(&self.body).map(|range| {
            serde_json::from_slice(&self.body[range]).expect("push wrote a JSON string")
        })
    }

    /// Cuts off the suffix and puts a comma where a document stands before.
    fn open_end(&mut self) {
        self.body.truncate(self.body.len() - SUFFIX.len());
        if self.count > 0 {
            self.body.push(b',');
        }
    }
}

/// Bytes looked at together.
const WORD: usize = 8;

/// Text escaped in one go: what it may become is reserved, so this bounds that.
const PIECE: usize = 1024;

/// What a word may become without control characters, and the word that is written past its end.
const WINDOW: usize = 3 * WORD;

/// What each control character of a word takes above that.
const CONTROL: usize = r"\u001f".len() - r#"\""#.len();

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as it stands inside a JSON string.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for piece in text.chunks(PIECE) {
        let mut to = out.len();
        out.resize(to + 2 * piece.len() + WINDOW, 0);
        let (words, tail) = piece.as_chunks::<WORD>();
        for word in words {
            to = escape_word(word, to, out);
        }
        if !tail.is_empty() {
            // Filled up with what stands for itself, and is cut off.
            let mut word = [b' '; WORD];
            word[..tail.len()].copy_from_slice(tail);
            to = escape_word(&word, to, out) - (WORD - tail.len());
        }
        out.truncate(to);
    }
}

/// Writes `word`, escaped, at `to`, where there is room for it; answers where it ends.
fn escape_word(word: &[u8; WORD], to: usize, out: &mut Vec<u8>) -> usize {
    let bits = u64::from_le_bytes(*word);
    if has_control(bits) {
        out.resize(out.len() + WORD * CONTROL, 0);
        return escape_control(word, to, out);
    }
    let window = &mut out[to..to + WINDOW];
    window[..WORD].copy_from_slice(word);
    let mut marks = to_escape(bits);
    let mut added = 0;
    loop {
        // Without a mark this is 8: what is written then stands behind the end. So the first is not
        // asked for; every eighth byte of a document is a quote, and nobody foresees where.
        let at = marks.trailing_zeros() / 8;
        let backslash = at as usize + added;
        window[backslash] = b'\\';
        let rest = bits.wrapping_shr(8 * at).to_le_bytes();
        window[backslash + 1..][..WORD].copy_from_slice(&rest);
        added += usize::from(marks != 0);
        marks &= marks.wrapping_sub(1);
        if marks == 0 {
            return to + WORD + added;
        }
    }
}

/// The same, where control characters are among them.
fn escape_control(word: &[u8; WORD], mut to: usize, out: &mut [u8]) -> usize {
    let mut put = |bytes: &[u8]| {
        out[to..to + bytes.len()].copy_from_slice(bytes);
        to += bytes.len();
    };
    for &byte in word {
        match byte {
            b'"' | b'\\' => put(&[b'\\', byte]),
            b'\n' => put(br"\n"),
            b'\r' => put(br"\r"),
            b'\t' => put(br"\t"),
            ..0x20 => {
                let digit = |four_bits: u8| HEX[usize::from(four_bits)];
                put(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => put(&[byte]),
        }
    }
    to
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// Whether one of the eight bytes is below a space.
fn has_control(word: u64) -> bool {
    !(((word & !HIGH) + (0x80 - 0x20) * ONES) | word) & HIGH != 0
}

/// The high bit of each byte that is a quote or a backslash.
fn to_escape(word: u64) -> u64 {
    // No sum reaches the next byte, so that each is told apart.
    let not_zeros = |word: u64| ((word & !HIGH) + !HIGH) | word;
    let (quote, backslash) = (u64::from(b'"'), u64::from(b'\\'));
    !(not_zeros(word ^ (quote * ONES)) & not_zeros(word ^ (backslash * ONES))) & HIGH
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
    fn suspects_are_never_joined() {
        let batch = batch_of(&[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
        let (first, second) = batch.split();
        assert_eq!(
            (read(&first), read(&second)),
            (vec!["a".into()], vec!["b".into(), "c".into()])
        );
        assert!(!first.takes(&second) && !batch.takes(&first) && !first.takes(&batch));
        assert!(batch.takes(&batch));
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
            let all = batch_of(&[first, second].concat());
            prop_assert_eq!(&left, &all);
            let (a, b) = left.split();
            prop_assert_eq!([read(&a), read(&b)].concat(), read(&all));
            prop_assert!(a.len().abs_diff(b.len()) <= 1);
            prop_assert_eq!(left.clear(), Batch::new());
        }
    }
}
