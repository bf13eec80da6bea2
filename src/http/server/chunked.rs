//! The chunked transfer coding (RFC 9112, 7.1), for bodies that come in.

use super::{MAX_HEAD, RequestRefusal, append};

/// Bytes of a chunk-size line with its extensions, which real clients do not send.
const MAX_SIZE_LINE: usize = 256;

/// The state of the decoder after the last byte.
pub(crate) struct Chunked {
    part: ChunkState,
    /// Most bytes of the body.
    max_body: usize,
    /// Bytes of trailers read so far.
    trailers: usize,
}

#[derive(Clone, Copy, Default)]
enum ChunkState {
    #[default]
    Size,
    /// Bytes of data that are still to come in this chunk.
    Data(usize),
    DataEnd,
    Trailers,
}

impl Chunked {
    /// For a body of which at most `max_body` bytes are taken.
    pub(super) fn new(max_body: usize) -> Self {
        Chunked {
            part: ChunkState::default(),
            max_body,
            trailers: 0,
        }
    }

    /// Moves data from `input` to `body`: the bytes used, and whether the body is complete.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<(usize, bool), RequestRefusal> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            match self.part {
                ChunkState::Size => {
                    let Some(line) = line(rest, MAX_SIZE_LINE)? else {
                        return Ok((used, false));
                    };
                    used += line.len() + 2;
                    let size = chunk_size(line)?;
                    if size > self.max_body - body.len() {
                        return Err(RequestRefusal::BodyTooLarge);
                    }
                    self.part = match size {
                        0 => ChunkState::Trailers,
                        size => ChunkState::Data(size),
                    };
                }
                ChunkState::Data(missing) => {
                    let n = missing.min(rest.len());
                    let expected = self.max_body - body.len();
                    append(body, &rest[..n], expected);
                    used += n;
                    if n < missing {
                        self.part = ChunkState::Data(missing - n);
                        return Ok((used, false));
                    }
                    self.part = ChunkState::DataEnd;
                }
                ChunkState::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        used += 2;
                        self.part = ChunkState::Size;
                    }
                    [] | [b'\r'] => return Ok((used, false)),
                    _ => return Err(RequestRefusal::Malformed("a chunk longer than its size")),
                },
                ChunkState::Trailers => {
                    let Some(line) = line(rest, MAX_HEAD - self.trailers)? else {
                        return Ok((used, false));
                    };
                    used += line.len() + 2;
                    self.trailers += line.len() + 2;
                    match line {
                        [] => return Ok((used, true)),
                        [b' ' | b'\t' | b':', ..] => {
                            return Err(RequestRefusal::Malformed("a trailer"));
                        }
                        line if !line.contains(&b':') => {
                            return Err(RequestRefusal::Malformed("a trailer"));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// The line at the start of `input` without its CRLF, `None` when it is not complete. `limit`
/// counts the CRLF.
fn line(input: &[u8], limit: usize) -> Result<Option<&[u8]>, RequestRefusal> {
    let window = &input[..input.len().min(limit)];
    let Some(end) = window.iter().position(|&b| b == b'\n') else {
        return if window.len() == limit {
            Err(RequestRefusal::Malformed(
                "a line too long in a chunked body",
            ))
        } else {
            Ok(None)
        };
    };
    match window[..end].split_last() {
        Some((b'\r', line)) if !line.iter().any(|b| b.is_ascii_control() && *b != b'\t') => {
            Ok(Some(line))
        }
        _ => Err(RequestRefusal::Malformed("a line in a chunked body")),
    }
}

/// Hexadecimal digits, then perhaps an extension after a semicolon.
fn chunk_size(line: &[u8]) -> Result<usize, RequestRefusal> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    if digits == 0 || !matches!(extension, [] | [b';', ..]) {
        return Err(RequestRefusal::Malformed("a chunk size"));
    }
    Ok(size.iter().fold(0usize, |size, &digit| {
        let digit = (digit as char).to_digit(16).unwrap_or(0);
        size.saturating_mul(16).saturating_add(digit as usize)
    }))
}
