//! One request and its answer, on a thread of its own.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::OperatorEndpoints;
use super::action::Action;
use super::counts::{Counts, Outcome, Refused};
use super::handler::{AnswerOrigin, Body, ForwardError, Handler, Incoming, Response};
use super::origin_rule::{self, AllowedOrigins, Verdict};
use super::response_writer::{Broken, Output, write_response};
use super::server::retry_after;
use crate::http::call::Call;
use crate::http::server::{Persistence, Request};
use crate::logging;

/// Longest origin in the log, in bytes.
const MAX_ORIGIN: usize = 200;

/// What all exchanges share.
pub(super) struct Service {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) operator: OperatorEndpoints,
    pub(super) origins: AllowedOrigins,
    pub(super) counts: Arc<Counts>,
    /// For a client to take its answer.
    pub(super) answer_time: Duration,
    pub(super) is_stopping: AtomicBool,
    /// Whether it has been said that a web page was refused.
    pub(super) page_was_told: AtomicBool,
}

/// What an exchange is doing, for those who look at it from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The answer is not there yet.
    Asking,
    /// The answer is being written, since then.
    Writing(Instant),
    /// Events are written as they come.
    Live,
}

/// One exchange, as it is seen from outside.
#[derive(Debug)]
pub(super) struct Progress {
    /// When the request was here whole.
    received: Instant,
    /// Cancelled when the client has gone.
    pub(super) call: Arc<Call>,
    stage: Mutex<Stage>,
}

impl Progress {
    pub(super) fn new(received: Instant) -> Arc<Self> {
        Arc::new(Progress {
            received,
            call: Arc::default(),
            stage: Mutex::new(Stage::Asking),
        })
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}

impl Service {
    /// Answers `request`; whether the connection is good for another.
    pub(super) fn exchange(
        &self,
        stream: &TcpStream,
        request: &Arc<Request>,
        progress: &Progress,
    ) -> bool {
        let Answer { response, outcome } = self.answer(stream, request, progress);
        progress.set(match response.body {
            Body::Live(_) => Stage::Live,
            _ => Stage::Writing(Instant::now()),
        });
        let persistence = match request.keep_alive && !self.is_stopping.load(Relaxed) {
            false => Persistence::Close,
            true if request.http10 => Persistence::KeepAlive,
            true => Persistence::Open,
        };
        let count = |outcome| self.counts.answered(Action::of(request), outcome);
        // What is still to be read may break off. The others count before the client knows.
        let is_whole = matches!(response.body, Body::Full(_) | Body::Head(_));
        let (now, later) = match is_whole {
            true => (outcome, None),
            false => (None, outcome),
        };
        now.map(count);
        let mut out = Output::new(stream, self.answer_time);
        match write_response(&mut out, request, response, persistence) {
            Ok(open) => {
                later.map(count);
                open
            }
            Err(Broken::Client) => {
                later.map(count);
                false
            }
            Err(Broken::Source(error)) => {
                log::debug!("{request:?}: the answer broke off: {error}");
                count(Outcome::NoAnswer);
                // Once a part is out, a connection that breaks is the only way to say it.
                let instead = Response::empty(502);
                out.is_fresh()
                    && write_response(&mut out, request, instead, persistence).unwrap_or(false)
            }
        }
    }

    fn answer(&self, stream: &TcpStream, request: &Arc<Request>, progress: &Progress) -> Answer {
        let handle = || self.handle(stream, request, progress);
        if self.handler.judges_web_pages(request) {
            return handle();
        }
        match self.origins.judge(request) {
            Verdict::NoPage => handle(),
            Verdict::Allowed(origin) if origin_rule::is_preflight(request) => {
                let headers = origin_rule::allow_sending(origin, request);
                Answer::own(Response::new(204, headers, Body::Head(None)))
            }
            Verdict::Allowed(origin) => {
                let mut answer = handle();
                let headers = origin_rule::allow_reading(origin);
                answer.response.headers.extend(headers);
                answer
            }
            Verdict::Refused(origin) => {
                self.refuse_page(&origin);
                Answer::own(Response::empty(403))
            }
        }
    }

    fn handle(&self, stream: &TcpStream, request: &Arc<Request>, progress: &Progress) -> Answer {
        if let Some(response) = self.operator.answer(request) {
            return Answer::own(response);
        }
        let handled = self.handler.handle(&Incoming {
            request,
            received: progress.received,
            local_address: stream.local_addr().ok(),
            call: &progress.call,
        });
        match handled {
            Ok(response) => {
                log::debug!("{request:?}: {}", response.status);
                Answer {
                    outcome: match response.origin {
                        AnswerOrigin::Service => Some(Outcome::Status(response.status)),
                        AnswerOrigin::Kept => Some(Outcome::Kept),
                        AnswerOrigin::Daemon => None,
                    },
                    response,
                }
            }
            Err(error) => {
                log::debug!("{request:?}: {error}");
                Answer {
                    outcome: Some(error.outcome()),
                    response: failure(&error),
                }
            }
        }
    }

    fn refuse_page(&self, origin: &str) {
        self.counts.refused(Refused::WebPage);
        if !self.page_was_told.swap(true, Relaxed) {
            let origin = logging::escape(origin, MAX_ORIGIN);
            log::warn!(
                "a request of a web page was answered 403 (from {origin}): in a browser any page \
                 could send requests that are signed here; --allow-origin allows the pages of an \
                 origin (this is said once)"
            );
        }
    }
}

/// An answer, and how it counts.
struct Answer {
    response: Response,
    /// `None` where nobody but the daemon was asked.
    outcome: Option<Outcome>,
}

impl Answer {
    fn own(response: Response) -> Self {
        Answer {
            response,
            outcome: None,
        }
    }
}

fn failure(error: &ForwardError) -> Response {
    let mut response = Response::empty(error.status());
    if response.status == 503 {
        response.headers.push(retry_after());
    }
    response
}
