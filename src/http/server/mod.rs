//! HTTP/1.1 server framing without I/O: the bytes of one connection in, requests out.
//!
//! Understood: HTTP/1.0 and 1.1, keep-alive and pipelining, `Content-Length` or chunked bodies
//! (trailers are read and dropped), `Expect: 100-continue`, origin-form and absolute-form targets.
//! A request without a length has an empty body (RFC 9112, 6.3), which several SDKs rely on.
//!
//! Requests that two HTTP implementations could read differently are refused, because request
//! smuggling depends on such differences: lines that end in LF beside lines that end in CRLF,
//! folded header lines, a blank before the colon, two lengths, a length beside `Transfer-Encoding`,
//! any coding but `chunked`. A head in which all lines end in LF alone is accepted, because people
//! type it.
//!
//! The result never depends on how the bytes were split into reads.

mod chunked;
mod head;
mod http2;
mod response;
mod spare;
#[cfg(test)]
mod tests;

use std::fmt;
use std::mem;
use std::sync::Arc;

pub(crate) use chunked::Chunked;
use head::{Framing, Head};
pub(crate) use http2::go_away;
pub(crate) use response::{
    BodyFraming, CONTINUE, Persistence, chunk_end, chunk_start, response_head,
};
pub(crate) use spare::SpareBody;

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
    /// The body, transfer coding removed, content coding untouched. Shared with whoever keeps it for
    /// longer than the request.
    pub body: Arc<Vec<u8>>,
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
pub enum RequestRefusal {
    /// Not HTTP, or HTTP that two readers could understand in two ways: 400.
    Malformed(&'static str),
    /// The body is larger than allowed, or announces it: 413.
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

impl RequestRefusal {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            RequestRefusal::Malformed(_) => 400,
            RequestRefusal::BodyTooLarge => 413,
            RequestRefusal::Expectation => 417,
            RequestRefusal::HeadTooLarge => 431,
            RequestRefusal::Coding => 501,
            RequestRefusal::Version | RequestRefusal::Http2 => 505,
        }
    }
}

impl fmt::Display for RequestRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestRefusal::Malformed(what) => write!(f, "not a request this server reads: {what}"),
            RequestRefusal::BodyTooLarge => f.write_str("the body is too large"),
            RequestRefusal::Expectation => f.write_str("an expectation other than 100-continue"),
            RequestRefusal::HeadTooLarge => write!(
                f,
                "the request head is over {MAX_HEAD} bytes or {MAX_HEADERS} lines"
            ),
            RequestRefusal::Coding => f.write_str("a transfer coding other than chunked"),
            RequestRefusal::Version => f.write_str("neither HTTP/1.0 nor HTTP/1.1"),
            RequestRefusal::Http2 => f.write_str("HTTP/2, which this server does not speak"),
        }
    }
}

impl std::error::Error for RequestRefusal {}

/// What the bytes fed so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// Nothing yet: feed more bytes.
    NeedMore,
    /// The client waits for [`CONTINUE`] before it sends the body; then step again.
    Continue,
    /// A whole request. Step again for the next one: it may be here already.
    Request(Request),
}

/// Reads the requests of one connection.
pub struct RequestReader {
    /// Bytes that came and were not understood yet: at most [`MAX_HEAD`] and one feed.
    input: Vec<u8>,
    state: RequestState,
    max_body: usize,
    spare: Arc<SpareBody>,
    /// Bytes of spare memory that were given to the body.
    spare_given: usize,
    /// The head of a request that was refused because of the length of its body.
    too_large: Option<Request>,
}

impl Default for RequestReader {
    fn default() -> Self {
        RequestReader::new(MAX_BODY, Arc::default())
    }
}

#[derive(Default)]
enum RequestState {
    #[default]
    Head,
    /// A request, its body so far, and the length that the body will have.
    Length(Request, Vec<u8>, usize),
    Chunks(Request, Vec<u8>, Chunked),
    Refused(RequestRefusal),
    /// The client said it would send nothing more.
    Closed,
}

impl RequestReader {
    /// Takes bodies of at most `max_body` bytes, and of at most [`MAX_BODY`], in `spare` memory where
    /// there is some.
    #[must_use]
    pub(crate) fn new(max_body: usize, spare: Arc<SpareBody>) -> Self {
        RequestReader {
            input: Vec::new(),
            state: RequestState::default(),
            max_body: max_body.min(MAX_BODY),
            spare,
            spare_given: 0,
            too_large: None,
        }
    }

    /// Takes bytes as they come from the connection.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, RequestState::Refused(_) | RequestState::Closed) {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Where the next bytes may be received straight away, without [`feed`](Self::feed): a body, with
    /// room for its next part. What is received beyond its end belongs to the next request.
    pub(crate) fn body(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.state {
            RequestState::Length(_, body, length) if self.input.is_empty() => {
                reserve(body, *length - body.len(), 1);
                Some(body)
            }
            _ => None,
        }
    }

    /// Reads on until there is a result.
    ///
    /// # Errors
    /// When the request is refused. Every later step returns the same error.
    pub fn step(&mut self) -> Result<ReadStep, RequestRefusal> {
        let step = self.advance();
        if let Err(refusal) = step {
            self.input = Vec::new();
            self.state = RequestState::Refused(refusal);
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
        self.input.is_empty() && matches!(self.state, RequestState::Head | RequestState::Closed)
    }

    /// Bytes of memory that the request being read takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let request = match &self.state {
            RequestState::Length(request, body, _) => {
                request.memory() + body.len().max(self.spare_given)
            }
            RequestState::Chunks(request, body, _) => request.memory() + body.len(),
            _ => 0,
        };
        self.input.capacity() + request
    }

    fn advance(&mut self) -> Result<ReadStep, RequestRefusal> {
        match mem::take(&mut self.state) {
            RequestState::Head => {
                let Some((head, used)) = head::parse(&self.input, self.max_body)? else {
                    return Ok(ReadStep::NeedMore);
                };
                self.input.drain(..used);
                self.begin(head)
            }
            RequestState::Length(request, mut body, length) => {
                if body.len() > length {
                    self.input = body.split_off(length);
                }
                let missing = length - body.len();
                let used = missing.min(self.input.len());
                append(&mut body, &self.input[..used], missing);
                self.input.drain(..used);
                if body.len() < length {
                    self.state = RequestState::Length(request, body, length);
                    return Ok(ReadStep::NeedMore);
                }
                Ok(self.finish(request, body))
            }
            RequestState::Chunks(request, mut body, mut chunks) => {
                let (used, done) = match chunks.advance(&self.input, &mut body) {
                    Err(RequestRefusal::BodyTooLarge) => return Err(self.refuse_body(request)),
                    advanced => advanced?,
                };
                self.input.drain(..used);
                if !done {
                    self.state = RequestState::Chunks(request, body, chunks);
                    return Ok(ReadStep::NeedMore);
                }
                // It may be kept for long.
                body.shrink_to_fit();
                Ok(self.finish(request, body))
            }
            RequestState::Refused(refusal) => Err(refusal),
            RequestState::Closed => {
                self.state = RequestState::Closed;
                Ok(ReadStep::NeedMore)
            }
        }
    }

    fn begin(&mut self, head: Head) -> Result<ReadStep, RequestRefusal> {
        self.state = match head.framing {
            Framing::Length(0) => return Ok(self.finish(head.request, Vec::new())),
            Framing::Length(length) => {
                let body = self.spare.take(length);
                self.spare_given = body.capacity();
                RequestState::Length(head.request, body, length)
            }
            Framing::Chunked => {
                let chunks = Chunked::new(self.max_body);
                RequestState::Chunks(head.request, Vec::new(), chunks)
            }
            Framing::TooLong => return Err(self.refuse_body(head.request)),
        };
        if head.expects_continue {
            return Ok(ReadStep::Continue);
        }
        self.advance()
    }

    fn refuse_body(&mut self, request: Request) -> RequestRefusal {
        self.too_large = Some(request);
        RequestRefusal::BodyTooLarge
    }

    fn finish(&mut self, mut request: Request, body: Vec<u8>) -> ReadStep {
        request.body = Arc::new(body);
        self.spare.keep(&request.body);
        if !request.keep_alive {
            self.state = RequestState::Closed;
            self.input = Vec::new();
        } else if self.input.is_empty() {
            // A kept-alive connection may idle for minutes: it should not hold a buffer.
            self.input = Vec::new();
        }
        ReadStep::Request(request)
    }
}

/// Makes room for `bytes` in a body of which at most `expected` bytes are still to come, these included.
fn reserve(body: &mut Vec<u8>, expected: usize, bytes: usize) {
    if body.capacity() - body.len() < bytes {
        body.reserve_exact(BODY_STEP.min(expected).max(bytes));
    }
}

/// Appends to a body of which at most `expected` bytes are still to come, these included.
fn append(body: &mut Vec<u8>, bytes: &[u8], expected: usize) {
    reserve(body, expected, bytes.len());
    body.extend_from_slice(bytes);
}
