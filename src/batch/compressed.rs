//! A request body that has to wait, in about a quarter of its bytes.
//!
//! LZ4's block format: fast enough for the thread that uploads, and small in the binary. The bytes
//! do not say how long they become, so length and number of documents are kept beside them.

use std::fmt;

use lz4_flex::block::{self, CompressTable};

use super::{Batch, PREFIX, SUFFIX, ranges};

/// Longest body that can be opened again. A batch of segments stays below 1 MB and an OTLP request
/// below 5 MB, so nothing that this daemon has written is longer.
pub const MAX_BODY: usize = 8 * 1024 * 1024;

/// How the bytes of a [`CompressedBody`] are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEncoding {
    /// As they are: compression would have made them longer.
    Plain,
    /// One LZ4 block.
    Lz4,
}

/// Why bytes are not a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// The body would be longer than [`MAX_BODY`].
    TooLong(usize),
    /// The bytes do not open to a body of the length that stands beside them.
    Corrupt,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLong(length) => write!(
                f,
                "a stored request body claims {length} bytes, more than the {MAX_BODY} allowed"
            ),
            BodyError::Corrupt => f.write_str("a stored request body cannot be decompressed"),
        }
    }
}

impl std::error::Error for BodyError {}

/// A request body, compressed where that makes it shorter. It can always be opened.
#[derive(Clone, PartialEq, Eq)]
pub struct CompressedBody {
    bytes: Box<[u8]>,
    encoding: BodyEncoding,
    length: usize,
    count: usize,
}

impl fmt::Debug for CompressedBody {
    /// Without the bytes, which hold traces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CompressedBody({} documents, {} bytes in {})",
            self.count,
            self.length,
            self.bytes.len()
        )
    }
}

impl CompressedBody {
    /// A body from bytes that were stored. They are opened once, here, so that opening them later
    /// cannot fail.
    ///
    /// # Errors
    /// [`BodyError`] when they do not open to exactly `length` bytes.
    pub fn from_stored(
        bytes: Vec<u8>,
        encoding: BodyEncoding,
        length: usize,
        count: usize,
    ) -> Result<Self, BodyError> {
        if length > MAX_BODY {
            return Err(BodyError::TooLong(length));
        }
        let body = CompressedBody {
            bytes: bytes.into_boxed_slice(),
            encoding,
            length,
            count,
        };
        body.try_open()?;
        Ok(body)
    }

    /// A body that cannot be made shorter, as it is.
    pub(crate) fn uncompressed(body: Box<[u8]>, count: usize) -> Self {
        CompressedBody {
            length: body.len(),
            bytes: body,
            encoding: BodyEncoding::Plain,
            count,
        }
    }

    /// The body as it was.
    pub fn open(&self) -> Vec<u8> {
        self.try_open()
            .expect("the bytes were written by Compressor or opened by from_stored")
    }

    fn try_open(&self) -> Result<Vec<u8>, BodyError> {
        if self.encoding == BodyEncoding::Plain {
            let is_whole = self.bytes.len() == self.length;
            return is_whole
                .then(|| self.bytes.to_vec())
                .ok_or(BodyError::Corrupt);
        }
        // The slice is the bound: LZ4 stops with an error where it would write past its end.
        let mut body = vec![0; self.length];
        match block::decompress_into(&self.bytes, &mut body) {
            Ok(written) if written == self.length => Ok(body),
            _ => Err(BodyError::Corrupt),
        }
    }

    /// The bytes that are kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How the kept bytes are to be read.
    pub fn encoding(&self) -> BodyEncoding {
        self.encoding
    }

    /// Bytes of the opened body.
    pub(crate) fn body_len(&self) -> usize {
        self.length
    }

    /// Number of documents or spans in it.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// Compresses bodies one after the other in the same working memory: about 300 KB for full batches.
/// Drop it when nothing waits any more.
pub struct Compressor {
    table: CompressTable,
    output: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor {
            table: CompressTable::large(),
            output: Vec::new(),
        }
    }
}

impl Compressor {
    /// Compresses the body of a request with `count` documents or spans. A body that LZ4 cannot
    /// make shorter is copied as it is.
    pub fn compress(&mut self, body: &[u8], count: usize) -> CompressedBody {
        let room = block::get_maximum_output_size(body.len());
        if self.output.len() < room {
            self.output.resize(room, 0);
        }
        let written = block::compress_into_with_table(body, &mut self.output, &mut self.table);
        let (bytes, encoding) = match written {
            Ok(length) if length < body.len() => (&self.output[..length], BodyEncoding::Lz4),
            _ => (body, BodyEncoding::Plain),
        };
        CompressedBody {
            bytes: bytes.into(),
            encoding,
            length: body.len(),
            count,
        }
    }
}

impl Batch {
    /// The batch, for as long as it waits.
    pub fn compress(&self, compressor: &mut Compressor) -> CompressedBody {
        compressor.compress(self.body(), self.count)
    }

    /// The batch that was compressed. `None` if the body is none that a batch has had.
    pub fn from_compressed(compressed: &CompressedBody) -> Option<Batch> {
        let body = compressed.open();
        let mut end = PREFIX.len();
        let mut count = 0;
        for range in ranges(&body) {
            end = range.end;
            count += 1;
        }
        let is_whole = body.starts_with(PREFIX) && body.get(end..) == Some(SUFFIX);
        (is_whole && count == compressed.count).then_some(Batch {
            end: body.len(),
            memory: body,
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(bytes: &[u8], encoding: BodyEncoding, length: usize) -> Result<Vec<u8>, BodyError> {
        CompressedBody::from_stored(bytes.to_vec(), encoding, length, 1).map(|body| body.open())
    }

    #[test]
    fn documents_take_much_less_and_random_bytes_never_more() {
        let mut compressor = Compressor::default();
        let text = br#"{"name":"shop","http":{"request":{"method":"GET"}}}"#.repeat(50);
        let body = compressor.compress(&text, 50);
        assert_eq!((body.count(), body.body_len()), (50, text.len()));
        assert!(body.bytes().len() * 4 < text.len(), "{body:?}");
        assert_eq!(body.open(), text);

        let noise: Vec<u8> = (0u32..9000)
            .map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8)
            .collect();
        let body = compressor.compress(&noise, 1);
        assert!(body.bytes().len() <= noise.len());
        assert_eq!(body.open(), noise);
    }

    #[test]
    fn a_body_longer_than_the_limit_is_never_opened() {
        // Nothing of that size may be allocated for it either.
        assert_eq!(
            stored(b"x", BodyEncoding::Lz4, usize::MAX),
            Err(BodyError::TooLong(usize::MAX))
        );
        assert_eq!(
            stored(b"x", BodyEncoding::Plain, MAX_BODY + 1),
            Err(BodyError::TooLong(MAX_BODY + 1))
        );
        let longest = vec![b' '; MAX_BODY];
        let body = Compressor::default().compress(&longest, 1);
        assert_eq!(
            stored(body.bytes(), body.encoding(), body.body_len()).map(|body| body.len()),
            Ok(MAX_BODY)
        );
    }

    #[test]
    fn a_wrong_length_is_corrupt() {
        let body = Compressor::default().compress(&[b'a'; 400], 1);
        for length in [0, 1, 399, 401, MAX_BODY] {
            assert_eq!(
                stored(body.bytes(), BodyEncoding::Lz4, length),
                Err(BodyError::Corrupt),
                "{length}"
            );
        }
        assert_eq!(
            stored(b"abc", BodyEncoding::Plain, 2),
            Err(BodyError::Corrupt)
        );
    }

    #[test]
    fn debug_shows_nothing_of_the_traces() {
        let body = Compressor::default().compress(b"password", 1);
        assert!(!format!("{body:?}").contains("pass"));
    }

    fn batch_of(documents: &[Vec<u8>]) -> Batch {
        let mut batch = Batch::new();
        for document in documents {
            batch.push(document);
        }
        batch
    }

    #[test]
    fn a_body_that_is_no_batch_does_not_become_one() {
        let mut compressor = Compressor::default();
        let mut batch = |body: &str, count| {
            Batch::from_compressed(&compressor.compress(body.as_bytes(), count))
        };
        let whole = batch(r#"{"TraceSegmentDocuments":["a","\\",""]}"#, 3);
        assert_eq!(whole.unwrap().len(), 3);
        let cases = [
            (r#"{"TraceSegmentDocuments":["a","b"]}"#, 1),
            (r#"{"TraceSegmentDocuments":["a","b"]}"#, 3),
            (r#"{"TraceSegmentDocuments":["a"]}}"#, 1),
            (r#"{"TraceSegmentDocuments":["a""#, 1),
            (r#"{"TraceSegmentDocuments":["a\"]}"#, 1),
            (r#"{"TraceSegmentDocuments":["a",]}"#, 1),
            (r#"{"traceSegmentDocuments":["a"]}"#, 1),
            (r#"{"TraceSegmentDocuments":"#, 0),
            ("", 0),
        ];
        for (body, count) in cases {
            assert_eq!(batch(body, count), None, "{body} {count}");
        }
    }

    #[test]
    fn strings_that_are_not_json_are_documents_as_they_stand() {
        for document in [&br#""\q""#[..], br#""\ud800""#, b"\"\x01\"", b"\"\xff\""] {
            let body = [PREFIX, document, br#","{}""#, SUFFIX].concat();
            let batch = Batch::from_compressed(&Compressor::default().compress(&body, 2)).unwrap();
            let expected = String::from_utf8_lossy(document).into_owned();
            assert_eq!(
                batch.documents().collect::<Vec<_>>(),
                [expected, "{}".to_owned()]
            );
        }
    }

    proptest! {
        #[test]
        fn a_batch_is_the_same_after_it_has_waited(
            documents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8),
            more in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut batch = batch_of(&documents);
            let compressed = batch.compress(&mut Compressor::default());
            let mut waited = Batch::from_compressed(&compressed).unwrap();
            prop_assert_eq!(&waited, &batch);
            batch.push(&more);
            waited.push(&more);
            prop_assert_eq!(&waited, &batch);
            prop_assert_eq!(waited.documents().count(), documents.len() + 1);
        }

        #[test]
        fn opens_to_what_it_was(
            bodies in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..40), 1usize..3000), 1..4
            ),
        ) {
            let mut compressor = Compressor::default();
            for (unit, times) in bodies {
                let body = unit.repeat(times);
                let compressed = compressor.compress(&body, times);
                prop_assert!(compressed.bytes().len() <= body.len());
                prop_assert_eq!(compressed.open(), body.clone());
                let read = stored(compressed.bytes(), compressed.encoding(), body.len());
                prop_assert_eq!(read, Ok(body));
            }
        }
    }
}
