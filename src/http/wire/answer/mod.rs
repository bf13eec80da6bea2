//! Reads one answer without I/O: what it says never depends on how it was cut into reads.

use std::fmt;

use crate::http::server::Chunked;
use crate::upload::response::Answer;

/// More of an answer is not read: fifty documents refused with a reason each are 50 KB.
const MAX_BODY: usize = 256 * 1024;

/// Status line and headers together. X-Ray's are half a kilobyte.
const MAX_HEAD: usize = 8 * 1024;

/// Header lines.
const MAX_HEADERS: usize = 64;

/// Why what came cannot be read as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadAnswer {
    /// The connection was closed before the first byte.
    Nothing,
    /// It was closed in the middle.
    CutOff,
    /// Not HTTP, or HTTP of which nobody knows where it ends.
    Malformed(&'static str),
    /// More than is read.
    TooLong,
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadAnswer::Nothing => f.write_str("the connection was closed without an answer"),
            BadAnswer::CutOff => {
                f.write_str("the connection was closed in the middle of an answer")
            }
            BadAnswer::Malformed(what) => write!(f, "the answer is not HTTP: {what}"),
            BadAnswer::TooLong => write!(
                f,
                "the answer is longer than a head of {MAX_HEAD} and a body of {MAX_BODY} bytes"
            ),
        }
    }
}

/// What the bytes fed so far amount to.
#[derive(Debug)]
pub enum Step {
    /// Nothing yet: feed more bytes.
    NeedMore,
    /// The whole answer, and whether the connection can carry another request.
    Answer(Answer, bool),
}

/// Reads one answer.
#[derive(Default)]
pub struct Reader {
    /// Bytes fed and not understood yet.
    input: Vec<u8>,
    begun: Option<Begun>,
}

struct Begun {
    answer: Answer,
    framing: Framing,
    is_reusable: bool,
}

enum Framing {
    Length(usize),
    Chunked(Chunked),
    UntilClose,
}

impl Reader {
    /// Takes bytes as they come from the connection.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Goes on with what there is. `at_end`: no more will come.
    pub fn step(&mut self, at_end: bool) -> Result<Step, BadAnswer> {
        let mut begun = loop {
            if let Some(begun) = self.begun.take() {
                break begun;
            }
            let Some((begun, used)) = head(&self.input)? else {
                return match (at_end, self.input.is_empty()) {
                    (true, true) => Err(BadAnswer::Nothing),
                    (true, false) => Err(BadAnswer::CutOff),
                    (false, _) => Ok(Step::NeedMore),
                };
            };
            self.input.drain(..used);
            self.begun = begun;
        };
        let body = &mut begun.answer.body;
        let (used, is_whole) = match &mut begun.framing {
            Framing::Length(length) => {
                let used = self.input.len().min(*length - body.len());
                body.extend_from_slice(&self.input[..used]);
                (used, body.len() == *length)
            }
            Framing::Chunked(chunks) => chunks
                .advance(&self.input, body)
                .map_err(|_| BadAnswer::Malformed("its chunks"))?,
            Framing::UntilClose => {
                body.extend_from_slice(&self.input);
                (self.input.len(), at_end)
            }
        };
        if body.len() > MAX_BODY {
            return Err(BadAnswer::TooLong);
        }
        self.input.drain(..used);
        if is_whole {
            // What nobody asked for would be taken for the next answer.
            let is_reusable = begun.is_reusable && self.input.is_empty();
            return Ok(Step::Answer(begun.answer, is_reusable));
        }
        self.begun = Some(begun);
        match at_end {
            true => Err(BadAnswer::CutOff),
            false => Ok(Step::NeedMore),
        }
    }
}

/// The head at the beginning of `input`, and its length. An interim answer (RFC 9110, 15.2) has a
/// length and is nothing else. `None`: it is not complete.
fn head(input: &[u8]) -> Result<Option<(Option<Begun>, usize)>, BadAnswer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(input) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(BadAnswer::TooLong),
        Err(_) => return Err(BadAnswer::Malformed("its head")),
    };
    let status = parsed.code.unwrap_or_default();
    if (100..200).contains(&status) && status != 101 {
        return Ok(Some((None, length)));
    }
    understand(status, &parsed).map(|begun| Some((Some(begun), length)))
}

fn understand(status: u16, parsed: &httparse::Response<'_, '_>) -> Result<Begun, BadAnswer> {
    let mut answer = Answer {
        status,
        ..Answer::default()
    };
    let mut is_reusable = parsed.version == Some(1);
    let mut length = None;
    let mut coding = None;
    for header in parsed.headers.iter() {
        let text = || String::from_utf8_lossy(header.value).into_owned();
        match header.name {
            name if name.eq_ignore_ascii_case("x-amzn-errortype") => {
                answer.error_type = Some(text())
            }
            name if name.eq_ignore_ascii_case("retry-after") => answer.retry_after = Some(text()),
            name if name.eq_ignore_ascii_case("date") => answer.date = Some(text()),
            name if name.eq_ignore_ascii_case("age") => answer.aged = true,
            name if name.eq_ignore_ascii_case("x-amzn-requestid") => {
                answer.has_request_id = true;
            }
            name if name.eq_ignore_ascii_case("content-length") => {
                let stated = content_length(header.value)?;
                if length
                    .replace(stated)
                    .is_some_and(|before| before != stated)
                {
                    return Err(BadAnswer::Malformed("two lengths"));
                }
            }
            name if name.eq_ignore_ascii_case("transfer-encoding") => {
                let before = coding.replace(header.value);
                if before.is_some() {
                    return Err(BadAnswer::Malformed("two transfer codings"));
                }
            }
            name if name.eq_ignore_ascii_case("connection") => {
                is_reusable &= !header
                    .value
                    .split(|byte| *byte == b',')
                    .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
            }
            _ => {}
        }
    }
    // RFC 9112, 6.3, in its order.
    let framing = match (status, coding, length) {
        (204 | 304, ..) => Framing::Length(0),
        (_, Some(coding), _) if coding.eq_ignore_ascii_case(b"chunked") => {
            // With a length beside it, somebody on the way may have read it differently.
            is_reusable &= length.is_none();
            Framing::Chunked(Chunked::of_answer())
        }
        (_, Some(_), _) => return Err(BadAnswer::Malformed("a transfer coding but chunked")),
        (_, None, Some(length)) if length > MAX_BODY => return Err(BadAnswer::TooLong),
        (_, None, Some(length)) => Framing::Length(length),
        (_, None, None) => {
            is_reusable = false;
            Framing::UntilClose
        }
    };
    Ok(Begun {
        answer,
        framing,
        is_reusable,
    })
}

/// Digits only; some proxies repeat the value in a list (RFC 9110, 8.6).
fn content_length(value: &[u8]) -> Result<usize, BadAnswer> {
    let bad = BadAnswer::Malformed("its length");
    let mut lengths = value.split(|byte| *byte == b',').map(number);
    let first = lengths.next().flatten().ok_or(bad)?;
    match lengths.all(|length| length == Some(first)) {
        true => Ok(first),
        false => Err(bad),
    }
}

/// One number beyond all that is read is like another.
fn number(text: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(text.trim_ascii()).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
