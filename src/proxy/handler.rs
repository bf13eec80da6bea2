//! The trait of everything that answers requests, and the types of request and answer.

use std::fmt;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::counts::AnswerOutcome;
use crate::http::call::CancellableCall;
use crate::http::error::TransportError;
use crate::http::server::Request;

/// Answers requests.
pub trait RequestHandler: Send + Sync {
    /// Answers one request. Blocks, for a bounded time.
    ///
    /// # Errors
    /// When there is no answer. The client gets the error's status and an empty body.
    fn handle(&self, incoming: &Incoming<'_>) -> Result<Response, ForwardError>;

    /// Whether `request` can be answered in about the time that receiving it took.
    fn is_short(&self, _request: &Request) -> bool {
        false
    }

    /// Answers a short request on the thread that receives all requests. `None`: it would have to wait, so
    /// [`handle`](Self::handle) has to answer it on another thread.
    fn handle_at_once(&self, _request: &Arc<Request>) -> Option<Response> {
        None
    }

    /// Whether this handler itself decides if a web page may send `request`. Otherwise only pages
    /// of allowed origins may.
    fn judges_web_pages(&self, _request: &Request) -> bool {
        false
    }

    /// Lets the requests under way, and all after them, fail at once.
    fn stop(&self) {}
}

/// A request as it has come in.
pub struct Incoming<'a> {
    /// The request.
    pub request: &'a Arc<Request>,
    /// When it had arrived completely. Clients give up about two seconds later.
    pub received: Instant,
    /// The socket that the client connected to.
    pub(crate) entrance: Entrance,
    /// The connection, for its addresses.
    pub(crate) stream: &'a TcpStream,
    /// Cancelled when the client has gone.
    pub(crate) call: &'a Arc<CancellableCall>,
}

/// The two sockets of the TCP front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// The official daemon's, on which everything is taken.
    Main,
    /// Of `--otlp`, on which only what OpenTelemetry sends is taken.
    Otlp,
}

/// An answer.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers, without framing and hop-by-hop ones; the values hold no CR or LF.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, in whatever content coding the headers say.
    pub body: Body,
    /// Its origin, which decides how the request is counted.
    pub(super) origin: AnswerOrigin,
}

/// Where an answer is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerOrigin {
    /// X-Ray, or what stands in its place here: for spans, and for paths that are not served.
    Service,
    /// X-Ray, at an earlier request.
    Kept,
    /// The daemon itself.
    Daemon,
}

/// The body of an answer.
pub enum Body {
    /// Whole.
    Full(Vec<u8>),
    /// Still to be read, for a bounded time.
    Stream {
        /// The bytes; an error where they end too early.
        reader: Box<dyn Read + Send>,
        /// Their number, where it is known.
        length: Option<u64>,
    },
    /// Events as they come: each read goes to the client at once, and a daemon that stops does not
    /// wait for the end.
    Live(Box<dyn Read + Send>),
    /// None, with the length that it would have, if known: the answer to a `HEAD`.
    Head(Option<u64>),
}

impl Response {
    /// An answer with these parts.
    #[must_use]
    pub fn new(status: u16, headers: Vec<(String, Vec<u8>)>, body: Body) -> Self {
        Response {
            status,
            headers,
            body,
            origin: AnswerOrigin::Service,
        }
    }

    /// An answer of this type.
    pub(super) fn of(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let content_type = content_type.as_bytes().to_vec();
        let headers = vec![("Content-Type".to_owned(), content_type)];
        Response::new(status, headers, Body::Full(body.into()))
    }

    /// An answer of plain text.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Response::of(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    /// An answer without a body. SDKs take any JSON that they find for an answer of X-Ray's,
    /// whatever the status.
    pub(super) fn empty(status: u16) -> Self {
        Response::new(status, Vec::new(), Body::Full(Vec::new()))
    }
}

/// Why a request was not answered by X-Ray.
#[derive(Clone, Debug)]
pub enum ForwardError {
    /// The method, path or a header cannot stand in a request to X-Ray: 400.
    Request,
    /// It is for a service that clients may reach only with `--otlp`: 404.
    NotEnabled,
    /// The target is not known yet.
    NoTarget,
    /// There are no credentials.
    NoCredentials,
    /// It could not be signed: why.
    Sign(String),
    /// X-Ray could not be reached, or its answer not read.
    Transport(Arc<TransportError>),
    /// X-Ray's answer is compressed, and so cannot be searched for the session token.
    Compressed,
    /// Other clients use all the memory there is for clients: 503.
    Busy,
    /// The client has gone.
    ClientLeft,
}

impl ForwardError {
    /// The status the client gets.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            ForwardError::Request => 400,
            ForwardError::NotEnabled => 404,
            ForwardError::Busy => 503,
            _ => 502,
        }
    }

    /// Whether a client with more patience may still get an answer.
    pub(super) fn may_end_soon(&self) -> bool {
        use ForwardError::{Busy, NoCredentials, NoTarget};
        matches!(self, NoTarget | NoCredentials | Busy)
    }

    pub(super) fn outcome(&self) -> AnswerOutcome {
        match self {
            ForwardError::Request => AnswerOutcome::BadRequest,
            ForwardError::NotEnabled => AnswerOutcome::Status(404),
            ForwardError::NoTarget => AnswerOutcome::NoRegion,
            ForwardError::NoCredentials => AnswerOutcome::NoCredentials,
            ForwardError::Sign(_) => AnswerOutcome::NotSigned,
            ForwardError::Transport(_) => AnswerOutcome::NoAnswer,
            ForwardError::Compressed => AnswerOutcome::Compressed,
            ForwardError::Busy => AnswerOutcome::Busy,
            ForwardError::ClientLeft => AnswerOutcome::ClientLeft,
        }
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForwardError::Request => {
                "its method, path or headers cannot stand in a request to X-Ray"
            }
            ForwardError::NotEnabled => {
                "the daemon passes this on only when it is started with --otlp ADDRESS (usually \
                 127.0.0.1:4318)"
            }
            ForwardError::NoTarget => "the region is not known yet",
            ForwardError::NoCredentials => "there are no AWS credentials to sign it with",
            ForwardError::Sign(error) => error,
            ForwardError::Transport(error) => return write!(f, "no answer from X-Ray: {error}"),
            ForwardError::Compressed => {
                "X-Ray's answer is compressed although it was asked not to be, so a session token \
                 in it could not be hidden"
            }
            ForwardError::Busy => "the requests of other clients use all memory there is for them",
            ForwardError::ClientLeft => "the client has gone",
        })
    }
}

impl std::error::Error for ForwardError {}
