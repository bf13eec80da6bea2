//! The faults that a test can inject into the fake X-Ray.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Response;

/// Chooses the documents that X-Ray does not process, and says what it answers for each.
pub type Chooser = Arc<dyn Fn(&str) -> Option<Value> + Send + Sync>;

/// What is wrong with the service from now on.
#[derive(Clone)]
pub enum Fault {
    /// Nothing: it answers as X-Ray would.
    None,
    /// Answers everything with this.
    Answer(Response),
    /// Something else answers in X-Ray's place: without the headers that every answer of AWS has.
    Impostor(Response),
    /// Reads requests and never answers, until another fault is injected; then it closes.
    Hang,
    /// Closes every connection as soon as it is made.
    CloseOnAccept,
    /// Reads a request, then closes.
    CloseAfterReading,
    /// Answers with these bytes, then closes.
    Bytes(&'static [u8]),
    /// Starts an answer that never ends.
    Endless(Endless),
    /// Answers as X-Ray would, this much later.
    Delay(Duration),
    /// Does not process the chosen documents.
    Unprocessed(Chooser),
    /// 400 for every batch that holds a document with this text.
    RejectContaining(&'static str),
    /// This answer to every batch that holds a document with this text.
    AnswerToContaining(&'static str, Response),
    /// 413 for every body above this many bytes.
    TooLarge(usize),
    /// This one for requests to the path, none for others.
    OnPath(&'static str, Box<Fault>),
    /// Nobody listens at the address.
    Gone,
}

/// An answer that goes on until the peer, or the test, has had enough.
#[derive(Clone, Copy)]
pub struct Endless {
    pub start: &'static [u8],
    pub more: &'static [u8],
    pub pause: Duration,
}

impl Fault {
    /// An answer with a status and the error code where AWS puts it.
    pub fn error(status: u16, code: &str) -> Self {
        Self::Answer(error(status, code, "because the test said so"))
    }

    /// 429 with `Retry-After` in seconds.
    pub fn throttle(retry_after: u32) -> Self {
        Self::Answer(
            error(429, "ThrottledException", "Rate exceeded")
                .with("Retry-After", &retry_after.to_string()),
        )
    }

    /// An endless header, one byte at a time.
    pub fn trickle() -> Self {
        Self::Endless(Endless {
            start: b"HTTP/1.1 200 OK\r\nx-endless: ",
            more: b"a",
            pause: Duration::from_millis(50),
        })
    }

    /// 200 with gigabytes of body.
    pub fn gigabytes() -> Self {
        Self::Endless(Endless {
            start: b"HTTP/1.1 200 OK\r\nContent-Length: 8000000000\r\n\r\n",
            more: &[b' '; 1 << 16],
            pause: Duration::ZERO,
        })
    }

    /// A header of gigabytes.
    pub fn endless_header() -> Self {
        Self::Endless(Endless {
            start: b"HTTP/1.1 200 OK\r\nx-endless: ",
            more: &[b'a'; 1 << 16],
            pause: Duration::ZERO,
        })
    }

    /// One interim answer after the other.
    pub fn endless_interim() -> Self {
        Self::Endless(Endless {
            start: b"",
            more: b"HTTP/1.1 100 Continue\r\n\r\n",
            pause: Duration::ZERO,
        })
    }

    /// A redirect to an address that nobody may follow to.
    pub fn redirect(to: &str) -> Self {
        Self::Answer(Response::new(307, "").with("Location", to))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Answer(response) => return write!(f, "Answer({})", response.status),
            Self::Impostor(response) => return write!(f, "Impostor({})", response.status),
            Self::Hang => "Hang",
            Self::CloseOnAccept => "CloseOnAccept",
            Self::CloseAfterReading => "CloseAfterReading",
            Self::Bytes(_) => "Bytes",
            Self::Endless(_) => "Endless",
            Self::Delay(time) => return write!(f, "Delay({time:?})"),
            Self::Unprocessed(_) => "Unprocessed",
            Self::RejectContaining(text) => return write!(f, "RejectContaining({text:?})"),
            Self::AnswerToContaining(text, response) => {
                return write!(f, "AnswerToContaining({text:?}, {})", response.status);
            }
            Self::TooLarge(bytes) => return write!(f, "TooLarge({bytes})"),
            Self::OnPath(path, fault) => return write!(f, "OnPath({path}, {fault:?})"),
            Self::Gone => "Gone",
        })
    }
}

/// An error with its code where AWS puts it.
pub fn error(status: u16, code: &str, message: &str) -> Response {
    Response::new(status, json!({ "message": message }).to_string())
        .with("x-amzn-ErrorType", code)
        .with("Content-Type", "application/json")
}
