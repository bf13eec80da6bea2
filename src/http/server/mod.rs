//! HTTP/1.1 server framing without I/O: the bytes of one connection in, requests out.
//!
//! Understood: HTTP/1.0 and 1.1, keep-alive and pipelining, `Content-Length` or chunked bodies
//! (trailers are read and dropped), `Expect: 100-continue`, origin-form and absolute-form targets.
//! A request without a length has an empty body (RFC 9112, 6.3), which several SDKs rely on.
//!
//! Whatever two HTTP implementations could read in two ways is refused, because that is what
//! request smuggling lives on: lines that end in LF beside lines that end in CRLF, folded header
//! lines, a blank before the colon, two lengths, a length beside `Transfer-Encoding`, any coding
//! but `chunked`. A head whose lines all end in LF alone is taken: people type it.
//!
//! What a stream of bytes means never depends on how it was cut into reads.

mod chunked;
mod head;
mod http2;
mod response;
#[cfg(test)]
mod tests;

use std::fmt;
use std::mem;

pub(crate) use chunked::Chunked;
use head::{Framing, Head};
pub(crate) use http2::go_away;
pub(crate) use response::{
    BodyFraming, CONTINUE, Persistence, chunk_end, chunk_start, response_head,
};

/// Bytes of request line and headers together, and of trailers. The largest real ones, with a
/// service mesh's headers and a session token, stay under 4 KiB.
pub const MAX_HEAD: usize = 16 * 1024;

/// Header lines in one request.
pub const MAX_HEADERS: usize = 64;

/// Bytes of one request body: X-Ray's OTLP endpoint takes 5 MB, its other calls far less.
pub const MAX_BODY: usize = 6 * 1024 * 1024;

/// A body grows by this at a time, so that most are not copied while they come. What of it is not
/// written yet takes no memory: the system gives pages when they are touched.
const BODY_STEP: usize = 256 * 1024;

/// One whole request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, as sent: a token, case-sensitive.
    pub method: String,
    /// Path and query in origin form: starts with `/`, visible ASCII only, no fragment.
    pub target: String,
    /// The request came by HTTP/1.0: the answer cannot be chunked.
    pub http10: bool,
    /// The client keeps the connection open for another request.
    pub keep_alive: bool,
    /// Header names and values in the order received; a value may be empty or not UTF-8.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, transfer coding removed, content coding untouched.
    pub body: Vec<u8>,
}

impl Request {
    /// The path: the target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Bytes of memory that the request takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let headers = self.headers.capacity() * size_of::<(String, Vec<u8>)>();
        let lines: usize = self.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        headers + lines + self.target.len() + self.body.len()
    }

    /// The value of a header in any case, its lines joined by `, ` as RFC 9110, 5.3 allows.
    /// `None` when it is absent; an empty value is present.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        let mut lines = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice());
        let mut value = lines.next()?.to_vec();
        for line in lines {
            value.extend_from_slice(b", ");
            value.extend_from_slice(line);
        }
        Some(value)
    }
}

/// Fit for a log: short, without the query, the header values and the body, which may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.32} {:.200} ({} headers, {} bytes)",
            self.method,
            self.path(),
            self.headers.len(),
            self.body.len()
        )
    }
}

/// Why a request is not read to its end. The connection cannot be used after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP, or HTTP that two readers could understand in two ways: 400.
    Malformed(&'static str),
    /// The body is, or says it will be, larger than what is taken: 413.
    BodyTooLarge,
    /// An `Expect` other than `100-continue`: 417.
    Expectation,
    /// More than [`MAX_HEAD`] bytes or [`MAX_HEADERS`] lines: 431.
    HeadTooLarge,
    /// A transfer coding other than `chunked`: 501.
    Coding,
    /// Neither HTTP/1.0 nor 1.1: 505.
    Version,
    /// A client of HTTP/2, gRPC most likely: [`go_away`] instead of an answer.
    Http2,
}

impl Refusal {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::BodyTooLarge => 413,
            Refusal::Expectation => 417,
            Refusal::HeadTooLarge => 431,
            Refusal::Coding => 501,
            Refusal::Version | Refusal::Http2 => 505,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed(what) => write!(f, "not a request this server reads: {what}"),
            Refusal::BodyTooLarge => f.write_str("the body is too large"),
            Refusal::Expectation => f.write_str("an expectation other than 100-continue"),
            Refusal::HeadTooLarge => write!(
                f,
                "the request head is over {MAX_HEAD} bytes or {MAX_HEADERS} lines"
            ),
            Refusal::Coding => f.write_str("a transfer coding other than chunked"),
            Refusal::Version => f.write_str("neither HTTP/1.0 nor HTTP/1.1"),
            Refusal::Http2 => f.write_str("HTTP/2, which this server does not speak"),
        }
    }
}

impl std::error::Error for Refusal {}

/// What the bytes fed so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet: feed more bytes.
    NeedMore,
    /// The client waits for [`CONTINUE`] before it sends the body; then step again.
    Continue,
    /// A whole request. Step again for the next one: it may be here already.
    Request(Request),
}

/// Reads the requests of one connection.
pub struct Reader {
    /// Bytes fed and not understood yet: at most [`MAX_HEAD`] and one feed.
    input: Vec<u8>,
    state: State,
    max_body: usize,
    /// The head of a request that was refused because of the length of its body.
    too_large: Option<Request>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader::with_max_body(MAX_BODY)
    }
}

#[derive(Default)]
enum State {
    #[default]
    Head,
    /// The body is complete at this length.
    Length(Request, usize),
    Chunks(Request, Chunked),
    Refused(Refusal),
    /// The client said it would send nothing more.
    Closed,
}

impl Reader {
    /// Takes bodies of at most `max_body` bytes, and of at most [`MAX_BODY`].
    #[must_use]
    pub(crate) fn with_max_body(max_body: usize) -> Self {
        Reader {
            input: Vec::new(),
            state: State::default(),
            max_body: max_body.min(MAX_BODY),
            too_large: None,
        }
    }

    /// Takes bytes as they come from the connection.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Refused(_) | State::Closed) {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Goes on until there is something to tell.
    ///
    /// # Errors
    /// When the request is refused; from then on every step says so.
    pub fn step(&mut self) -> Result<Step, Refusal> {
        let step = self.advance();
        if let Err(refusal) = step {
            self.input = Vec::new();
            self.state = State::Refused(refusal);
        }
        step
    }

    /// The head of the request that was refused because its body is too large.
    #[must_use]
    pub(crate) fn too_large(&self) -> Option<&Request> {
        self.too_large.as_ref()
    }

    /// No request has begun: the connection may close without harm.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.input.is_empty() && matches!(self.state, State::Head | State::Closed)
    }

    /// Bytes of memory that the request being read takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let request = match &self.state {
            State::Length(request, _) | State::Chunks(request, _) => request.memory(),
            _ => 0,
        };
        self.input.capacity() + request
    }

    fn advance(&mut self) -> Result<Step, Refusal> {
        match mem::take(&mut self.state) {
            State::Head => {
                let Some((head, used)) = head::parse(&self.input, self.max_body)? else {
                    return Ok(Step::NeedMore);
                };
                self.input.drain(..used);
                self.begin(head)
            }
            State::Length(mut request, length) => {
                let missing = length - request.body.len();
                let used = missing.min(self.input.len());
                append(&mut request.body, &self.input[..used], missing);
                self.input.drain(..used);
                if request.body.len() < length {
                    self.state = State::Length(request, length);
                    return Ok(Step::NeedMore);
                }
                Ok(self.finish(request))
            }
            State::Chunks(mut request, mut chunks) => {
                let (used, done) = match chunks.advance(&self.input, &mut request.body) {
                    Err(Refusal::BodyTooLarge) => return Err(self.refuse_body(request)),
                    advanced => advanced?,
                };
                self.input.drain(..used);
                if !done {
                    self.state = State::Chunks(request, chunks);
                    return Ok(Step::NeedMore);
                }
                Ok(self.finish(request))
            }
            State::Refused(refusal) => Err(refusal),
            State::Closed => {
                self.state = State::Closed;
                Ok(Step::NeedMore)
            }
        }
    }

    fn begin(&mut self, head: Head) -> Result<Step, Refusal> {
        self.state = match head.framing {
            Framing::Length(0) => return Ok(self.finish(head.request)),
            Framing::Length(length) => State::Length(head.request, length),
            Framing::Chunked => State::Chunks(head.request, Chunked::new(self.max_body)),
            Framing::TooLong => return Err(self.refuse_body(head.request)),
        };
        if head.expects_continue {
            return Ok(Step::Continue);
        }
        self.advance()
    }

    fn refuse_body(&mut self, mut request: Request) -> Refusal {
        request.body = Vec::new();
        self.too_large = Some(request);
        Refusal::BodyTooLarge
    }

    fn finish(&mut self, request: Request) -> Step {
        if !request.keep_alive {
            self.state = State::Closed;
            self.input = Vec::new();
        } else if self.input.is_empty() {
            // A kept-alive connection may idle for minutes: it should not hold a buffer.
            self.input = Vec::new();
        }
        Step::Request(request)
    }
}

/// Appends to a body of which at most `expected` bytes are still to come, these included.
fn append(body: &mut Vec<u8>, bytes: &[u8], expected: usize) {
    if body.capacity() - body.len() < bytes.len() {
        body.reserve_exact(BODY_STEP.min(expected).max(bytes.len()));
    }
    body.extend_from_slice(bytes);
}
