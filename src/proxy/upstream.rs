//! Where requests go.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use crate::aws::sigv4::SignError;
use crate::http::server::Request;
use crate::logging::RateLimit;

/// Answers requests.
pub trait Upstream: Send + Sync {
    /// Answers one request. Blocks, for a bounded time.
    ///
    /// # Errors
    /// When there is no answer to pass on. The client gets the error's status and an empty body.
    fn forward(&self, request: &Request) -> Result<Response, ForwardError>;

    /// Lets the calls under way, and all after it, fail at once.
    fn stop(&self) {}
}

/// An answer to pass on.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers, without framing and hop-by-hop ones; the values hold no CR or LF.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, in whatever content coding the headers say.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// Whole.
    Full(Vec<u8>),
    /// Still to be read, for a bounded time.
    Stream {
        /// The bytes; an error where they end too early.
        reader: Box<dyn Read>,
        /// Their number, where the service said it.
        length: Option<u64>,
    },
    /// None, though the service may have said how long it would be: the answer to a `HEAD`.
    Head(Option<u64>),
}

/// Why a request was not answered by the service.
#[derive(Debug)]
pub enum ForwardError {
    /// The method, path or a header cannot stand in a request to the service: 400.
    Request,
    /// It is not known yet where to send it.
    NoTarget,
    /// There is nothing to sign it with.
    NoCredentials,
    /// It could not be signed.
    Sign(SignError),
    /// The service could not be reached, or its answer not read.
    Transport(Box<ureq::Error>),
}

impl ForwardError {
    /// The status the client gets.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            ForwardError::Request => 400,
            _ => 502,
        }
    }

    /// Each cause is told once a minute, and does not silence the others.
    pub(super) fn rate(&self) -> &'static RateLimit {
        const MINUTE: Duration = Duration::from_secs(60);
        static REQUEST: RateLimit = RateLimit::new(1, MINUTE);
        static TARGET: RateLimit = RateLimit::new(1, MINUTE);
        static CREDENTIALS: RateLimit = RateLimit::new(1, MINUTE);
        static SIGN: RateLimit = RateLimit::new(1, MINUTE);
        static TRANSPORT: RateLimit = RateLimit::new(1, MINUTE);
        match self {
            ForwardError::Request => &REQUEST,
            ForwardError::NoTarget => &TARGET,
            ForwardError::NoCredentials => &CREDENTIALS,
            ForwardError::Sign(_) => &SIGN,
            ForwardError::Transport(_) => &TRANSPORT,
        }
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardError::Request => {
                f.write_str("its method, path or headers cannot stand in a request to X-Ray")
            }
            ForwardError::NoTarget => f.write_str("the region is not known yet"),
            ForwardError::NoCredentials => f.write_str("there are no AWS credentials"),
            ForwardError::Sign(error) => error.fmt(f),
            ForwardError::Transport(error) => write!(f, "no answer from X-Ray: {error}"),
        }
    }
}

impl std::error::Error for ForwardError {}
