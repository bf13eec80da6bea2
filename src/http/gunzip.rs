//! Decompression of bodies with `Content-Encoding: gzip` (RFC 1952), piece by piece: only the last 32 KB
//! are in memory, however long the body becomes.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, TINFL_LZ_DICT_SIZE, decompress};

/// Memory that a [`Gunzip`] takes: the last 32 KB of output, and its state.
pub(crate) const GUNZIP_MEMORY: usize = 48 * 1024;
const _: () = assert!(TINFL_LZ_DICT_SIZE + size_of::<DecompressorOxide>() <= GUNZIP_MEMORY);

thread_local! {
    /// The memory of the last [`Gunzip`] of this thread that was [finished](Gunzip::finish), for the next
    /// one.
    static MEMORY: Cell<Option<GunzipMemory>> = const { Cell::new(None) };
}

/// The fixed part of a member's header, and its trailer.
const HEADER: usize = 10;
const TRAILER: usize = 8;

/// Bits of the header's flags: what follows its fixed part.
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Why a body cannot be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GunzipError {
    /// The bytes are not gzip, or end too early.
    Malformed,
    /// It becomes longer than the limit.
    TooLong,
}

impl fmt::Display for GunzipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GunzipError::Malformed => "the body is not whole gzip data",
            GunzipError::TooLong => "the body is too long when it is decompressed",
        })
    }
}

impl std::error::Error for GunzipError {}

/// Reads what was compressed. An error of a read is explained by [`failure`](Self::failure).
///
/// The checksum is not verified. X-Ray does that; here only the length matters.
pub(crate) struct Gunzip<'a> {
    input: &'a [u8],
    memory: GunzipMemory,
    /// The part of the window that was not read yet.
    start: usize,
    end: usize,
    /// Bytes that may still come, of the whole body.
    left: usize,
    /// Bytes of the member at hand, modulo 2^32, as its trailer counts them.
    length: u32,
    place: MemberPosition,
    failure: Option<GunzipError>,
}

struct GunzipMemory {
    state: Box<DecompressorOxide>,
    /// The last bytes of output, which later ones may repeat. When it is full, it is filled again from
    /// its beginning.
    window: Box<[u8]>,
}

impl Default for GunzipMemory {
    fn default() -> Self {
        GunzipMemory {
            state: Box::default(),
            window: vec![0; TINFL_LZ_DICT_SIZE].into_boxed_slice(),
        }
    }
}

impl GunzipMemory {
    /// A damaged body may repeat what stands before its beginning: nothing of another client's.
    fn cleared(mut self) -> Self {
        self.window.fill(0);
        self
    }
}

/// The part of a member that the next input byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemberPosition {
    Header,
    Data,
    Over,
}

impl<'a> Gunzip<'a> {
    /// Reads `body`, which may become `limit` bytes long.
    pub(crate) fn new(body: &'a [u8], limit: usize) -> Self {
        Gunzip {
            input: body,
            memory: MEMORY.take().map(GunzipMemory::cleared).unwrap_or_default(),
            start: 0,
            end: 0,
            left: limit,
            length: 0,
            place: MemberPosition::Header,
            failure: None,
        }
    }

    /// Why a read has failed.
    pub(crate) fn failure(&self) -> Option<GunzipError> {
        self.failure
    }

    /// The same, when all was read. This thread keeps the memory for another body until it ends: the
    /// system gives memory page by page, which takes time.
    pub(crate) fn finish(self) -> Option<GunzipError> {
        MEMORY.set(Some(self.memory));
        self.failure
    }

    /// Decompresses the next piece; an empty one is the end.
    fn next_piece(&mut self) -> Result<(), GunzipError> {
        while self.start == self.end {
            match self.place {
                MemberPosition::Over => return Ok(()),
                MemberPosition::Header => self.header()?,
                MemberPosition::Data => self.data()?,
            }
        }
        Ok(())
    }

    fn header(&mut self) -> Result<(), GunzipError> {
        let fixed = self.take(HEADER)?;
        let [0x1f, 0x8b, 8, flags, ..] = *fixed else {
            return Err(GunzipError::Malformed);
        };
        if flags & RESERVED != 0 {
            return Err(GunzipError::Malformed);
        }
        if flags & EXTRA != 0 {
            let length = self.take(2)?;
            let length = u16::from_le_bytes([length[0], length[1]]);
            self.take(usize::from(length))?;
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                let end = self.input.iter().position(|byte| *byte == 0);
                self.take(end.ok_or(GunzipError::Malformed)? + 1)?;
            }
        }
        if flags & HEADER_CRC != 0 {
            self.take(2)?;
        }
        self.memory.state.init();
        self.length = 0;
        self.place = MemberPosition::Data;
        Ok(())
    }

    fn data(&mut self) -> Result<(), GunzipError> {
        if self.end == self.memory.window.len() {
            (self.start, self.end) = (0, 0);
        }
        let GunzipMemory { state, window } = &mut self.memory;
        // Without flags: a raw stream, all of which is here, and a window that is filled again.
        let (status, consumed, written) = decompress(state, self.input, window, self.end, 0);
        self.input = &self.input[consumed..];
        self.end += written;
        self.length = self.length.wrapping_add(written as u32);
        self.left = self.left.checked_sub(written).ok_or(GunzipError::TooLong)?;
        match status {
            TINFLStatus::Done => self.trailer(),
            TINFLStatus::HasMoreOutput => Ok(()),
            _ => Err(GunzipError::Malformed),
        }
    }

    fn trailer(&mut self) -> Result<(), GunzipError> {
        let trailer = self.take(TRAILER)?;
        if trailer[4..] != self.length.to_le_bytes() {
            return Err(GunzipError::Malformed);
        }
        // Members may follow each other; zeros are padding.
        let is_over = self.input.iter().all(|byte| *byte == 0);
        self.place = if is_over {
            MemberPosition::Over
        } else {
            MemberPosition::Header
        };
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], GunzipError> {
        let (taken, rest) = self
            .input
            .split_at_checked(bytes)
            .ok_or(GunzipError::Malformed)?;
        self.input = rest;
        Ok(taken)
    }
}

impl BufRead for Gunzip<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(failure) = self.failure {
            return Err(io::Error::other(failure));
        }
        if self.start == self.end
            && let Err(failure) = self.next_piece()
        {
            self.failure = Some(failure);
            return Err(io::Error::other(failure));
        }
        Ok(&self.memory.window[self.start..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start + bytes);
    }
}

impl Read for Gunzip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

/// The whole of what was compressed.
///
/// # Errors
/// When `body` is not gzip, or becomes longer than `limit` bytes.
pub(crate) fn gunzip(body: &[u8], limit: usize) -> Result<Vec<u8>, GunzipError> {
    let mut source = Gunzip::new(body, limit);
    let mut out = Vec::new();
    match source.read_to_end(&mut out) {
        Ok(_) => Ok(out),
        Err(_) => Err(source.failure().unwrap_or(GunzipError::Malformed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One member: header without or with all optional parts, data, trailer.
    fn member(content: &[u8], flags: u8) -> Vec<u8> {
        let mut out = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255];
        if flags & EXTRA != 0 {
            out.extend(b"\x03\0abc");
        }
        if flags & NAME != 0 {
            out.extend(b"name\0");
        }
        if flags & COMMENT != 0 {
            out.extend(b"comment\0");
        }
        if flags & HEADER_CRC != 0 {
            out.extend([7, 7]);
        }
        out.extend(miniz_oxide::deflate::compress_to_vec(content, 6));
        out.extend([1, 2, 3, 4]);
        out.extend((content.len() as u32).to_le_bytes());
        out
    }

    #[test]
    fn members_with_every_kind_of_header() {
        let all = EXTRA | NAME | COMMENT | HEADER_CRC;
        for flags in [0, EXTRA, NAME, COMMENT, HEADER_CRC, all] {
            assert_eq!(gunzip(&member(b"spans", flags), 5).unwrap(), b"spans");
        }
        let two = [member(b"one", 0), member(b"", 0), member(b"two", all)].concat();
        assert_eq!(gunzip(&two, 6).unwrap(), b"onetwo");
        let padded = [member(b"one", 0), vec![0; 5]].concat();
        assert_eq!(gunzip(&padded, 3).unwrap(), b"one");
    }

    #[test]
    fn what_is_not_gzip() {
        let mut wrong_length = member(b"spans", 0);
        *wrong_length.last_mut().unwrap() = 1;
        for body in [
            b"".to_vec(),
            b"{}".to_vec(),
            member(b"x", RESERVED),
            [member(b"x", 0), b"rest".to_vec()].concat(),
            wrong_length,
        ] {
            assert_eq!(gunzip(&body, 100), Err(GunzipError::Malformed), "{body:?}");
        }
    }

    /// Its memory is that of the body before.
    #[test]
    fn a_damaged_body_shows_nothing_of_the_one_before() {
        let secret = vec![b'x'; 40_000];
        let body = member(&secret, 0);
        let mut source = Gunzip::new(&body, secret.len());
        let mut all = Vec::new();
        source.read_to_end(&mut all).unwrap();
        assert_eq!((all == secret, source.finish()), (true, None));
        // Three bytes that repeat what stands four bytes before the first, and the end.
        let damaged = [
            &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..],
            &[0x03, 0x62, 0x00],
            &[0, 0, 0, 0, 3, 0, 0, 0],
        ]
        .concat();
        assert_eq!(gunzip(&damaged, 3).unwrap_or_default(), [0; 3]);
    }

    /// A few kilobytes that become gigabytes: memory is what the limit says.
    #[test]
    fn nothing_is_decompressed_past_the_limit() {
        let bomb = member(&vec![0; 50 << 20], 0);
        assert!(bomb.len() < 60_000);
        let mut source = Gunzip::new(&bomb, 1 << 20);
        let mut seen = 0;
        while let Ok(piece) = source.fill_buf()
            && !piece.is_empty()
        {
            seen += piece.len();
            let length = piece.len();
            source.consume(length);
        }
        assert_eq!(source.failure(), Some(GunzipError::TooLong));
        assert_eq!(seen, 1 << 20);
        assert_eq!(gunzip(&bomb, 50 << 20).map(|all| all.len()), Ok(50 << 20));
    }

    proptest! {
        #[test]
        fn there_and_back_whole_or_not_at_all(
            unit in prop::collection::vec(any::<u8>(), 0..200),
            times in 1usize..2000,
            cut in any::<prop::sample::Index>(),
        ) {
            let content = unit.repeat(times);
            let body = member(&content, 0);
            prop_assert_eq!(gunzip(&body, content.len()), Ok(content.clone()));
            let part = &body[..cut.index(body.len())];
            prop_assert_eq!(gunzip(part, content.len()), Err(GunzipError::Malformed));
            if !content.is_empty() {
                prop_assert_eq!(gunzip(&body, content.len() - 1), Err(GunzipError::TooLong));
            }
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let body = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0], &bytes[..]].concat();
            if let Ok(content) = gunzip(&body, 1000) {
                prop_assert!(content.len() <= 1000);
            }
        }
    }
}
