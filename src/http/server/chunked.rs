//! The chunked transfer coding (RFC 9112, 7.1), for bodies that come in.

use super::{MAX_HEAD, Refusal, append};

/// Bytes of a chunk-size line with its extensions. Nobody sends any.
const MAX_SIZE_LINE: usize = 256;

/// Where in the coding the last byte left us.
pub(crate) struct Chunked {
    part: Part,
    /// Most bytes of the body.
    max_body: usize,
    /// Bytes of trailers read so far.
    trailers: usize,
}

#[derive(Clone, Copy, Default)]
enum Part {
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
            part: Part::default(),
            max_body,
            trailers: 0,
        }
    }

    /// Moves data from `input` to `body`: the bytes used, and whether the body is complete.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<(usize, bool), Refusal> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            match self.part {
                Part::Size => {
                    let Some(line) = line(rest, MAX_SIZE_LINE)? else {
                        return Ok((used, false));
                    };
                    used += line.len() + 2;
                    let size = chunk_size(line)?;
                    if size > self.max_body - body.len() {
                        return Err(Refusal::BodyTooLarge);
                    }
                    self.part = match size {
                        0 => Part::Trailers,
                        size => Part::Data(size),
                    };
                }
                Part::Data(missing) => {
                    let n = missing.min(rest.len());
                    let expected = self.max_body - body.len();
                    append(body, &rest[..n], expected);
                    used += n;
                    if n < missing {
                        self.part = Part::Data(missing - n);
                        return Ok((used, false));
                    }
                    self.part = Part::DataEnd;
                }
                Part::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        used += 2;
                        self.part = Part::Size;
                    }
                    [] | [b'\r'] => return Ok((used, false)),
                    _ => return Err(Refusal::Malformed("a chunk longer than its size")),
                },
                Part::Trailers => {
                    let Some(line) = line(rest, MAX_HEAD - self.trailers)? else {
                        return Ok((used, false));
                    };
                    used += line.len() + 2;
                    self.trailers += line.len() + 2;
                    match line {
                        [] => return Ok((used, true)),
                        [b' ' | b'\t' | b':', ..] => {
                            return Err(Refusal::Malformed("a trailer"));
                        }
                        line if !line.contains(&b':') => {
                            return Err(Refusal::Malformed("a trailer"));
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
fn line(input: &[u8], limit: usize) -> Result<Option<&[u8]>, Refusal> {
    let window = &input[..input.len().min(limit)];
    let Some(end) = window.iter().position(|&b| b == b'\n') else {
        return if window.len() == limit {
            Err(Refusal::Malformed("a line too long in a chunked body"))
        } else {
            Ok(None)
        };
    };
    match window[..end].split_last() {
        Some((b'\r', line)) if !line.iter().any(|b| b.is_ascii_control() && *b != b'\t') => {
            Ok(Some(line))
        }
        _ => Err(Refusal::Malformed("a line in a chunked body")),
    }
}

/// Hexadecimal digits, then perhaps an extension after a semicolon.
fn chunk_size(line: &[u8]) -> Result<usize, Refusal> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    if digits == 0 || !matches!(extension, [] | [b';', ..]) {
        return Err(Refusal::Malformed("a chunk size"));
    }
    Ok(size.iter().fold(0usize, |size, &digit| {
        let digit = (digit as char).to_digit(16).unwrap_or(0);
        size.saturating_mul(16).saturating_add(digit as usize)
    }))
}
