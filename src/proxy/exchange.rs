//! One request and its answer, on the thread `tcp-N` that it was given to or, for short ones, on the thread
//! `tcp`.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::OperatorEndpoints;
use super::action::ApiAction;
use super::counts::{AnswerOutcome, Counts, Refused};
use super::handler::{
    AnswerOrigin, Body, Entrance, ForwardError, Incoming, RequestHandler, Response,
};
use super::origin_rule::{self, AllowedOrigins, OriginVerdict};
use super::response_writer::{BrokenBy, ClientOutput, write_response};
use super::server::retry_after;
use crate::http::call::CancellableCall;
use crate::http::server::{Persistence, Request};
use crate::logging;

/// Longest origin in the log, in bytes.
const MAX_ORIGIN: usize = 200;

/// Limit for an operator to read an answer that the thread `tcp` writes. Usually the kernel takes all of
/// it at once.
const BRIEF_ANSWER_TIME: Duration = Duration::from_millis(500);

/// What all exchanges share.
pub(super) struct ExchangeContext {
    pub(super) handler: Arc<dyn RequestHandler>,
    pub(super) operator: OperatorEndpoints,
    pub(super) origins: AllowedOrigins,
    pub(super) counts: Arc<Counts>,
    /// Limit for a client to read its answer.
    pub(super) answer_time: Duration,
    pub(super) is_stopping: AtomicBool,
    /// Whether it has been said that a web page was refused.
    pub(super) page_was_told: AtomicBool,
}

/// What an exchange is doing, for the thread `tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The answer is not there yet.
    Asking,
    /// The answer is being written, since then.
    Writing(Instant),
    /// Events are written as they come.
    Live,
}

/// The state of one exchange that the thread `tcp` can see.
#[derive(Debug)]
pub(super) struct Progress {
    /// Where the client has connected.
    entrance: Entrance,
    /// When the request had arrived completely.
    received: Instant,
    /// Cancelled when the client has gone.
    pub(super) call: Arc<CancellableCall>,
    /// Other clients wait until this one has read its answer.
    is_brief: AtomicBool,
    stage: Mutex<Stage>,
}

impl Progress {
    pub(super) fn new(entrance: Entrance, received: Instant) -> Arc<Self> {
        Arc::new(Progress {
            entrance,
            received,
            call: Arc::default(),
            is_brief: AtomicBool::new(false),
            stage: Mutex::new(Stage::Asking),
        })
    }

    /// The thread `tcp` itself is going to answer, and must be back soon.
    pub(super) fn be_brief(&self) {
        self.is_brief.store(true, Relaxed);
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}

impl ExchangeContext {
    /// Answers `request`. Returns whether the connection can be used for another one.
    pub(super) fn exchange(
        &self,
        stream: &TcpStream,
        request: &Arc<Request>,
        progress: &Progress,
    ) -> bool {
        let answer = self.answer(stream, request, progress);
        progress.set(match answer.response.body {
            Body::Live(_) => Stage::Live,
            _ => Stage::Writing(Instant::now()),
        });
        let time = match progress.is_brief.load(Relaxed) {
            true => BRIEF_ANSWER_TIME,
            false => self.answer_time,
        };
        self.write(&mut ClientOutput::new(stream, time), request, answer)
    }

    /// Whether the thread `tcp` itself may answer `request`, by `exchange_at_once`.
    pub(super) fn is_short(&self, request: &Request) -> bool {
        self.handler.is_short(request)
            && matches!(self.origins.judge(request), OriginVerdict::NoPage)
    }

    /// Answers a short request that came by a stream that does not block. Returns whether the connection can
    /// be used for another one, which it cannot if the client does not read its answers. `None`:
    /// `exchange` has to answer it, on another thread.
    pub(super) fn exchange_at_once(
        &self,
        stream: &TcpStream,
        request: &Arc<Request>,
    ) -> Option<bool> {
        let response = self.handler.handle_at_once(request)?;
        let answer = CountedAnswer::of(request, response);
        Some(self.write(&mut ClientOutput::at_once(stream), request, answer))
    }

    fn write(&self, out: &mut ClientOutput<'_>, request: &Request, answer: CountedAnswer) -> bool {
        let CountedAnswer { response, outcome } = answer;
        let persistence = match request.keep_alive && !self.is_stopping.load(Relaxed) {
            false => Persistence::Close,
            true if request.http10 => Persistence::KeepAlive,
            true => Persistence::Open,
        };
        let count = |outcome| self.counts.answered(ApiAction::of(request), outcome);
        // The body of a streamed answer may break off, so it is counted at its end. All other
        // answers are counted before they are written.
        let is_whole = matches!(response.body, Body::Full(_) | Body::Head(_));
        let (now, later) = match is_whole {
            true => (outcome, None),
            false => (None, outcome),
        };
        now.map(count);
        match write_response(out, request, response, persistence) {
            Ok(open) => {
                later.map(count);
                open
            }
            Err(BrokenBy::Client) => {
                later.map(count);
                false
            }
            Err(BrokenBy::Source(error)) => {
                log::debug!("{request:?}: the answer broke off: {error}");
                count(AnswerOutcome::NoAnswer);
                // After a part has been sent, an error can be shown only by closing the connection.
                let instead = Response::empty(502);
                out.is_fresh()
                    && write_response(out, request, instead, persistence).unwrap_or(false)
            }
        }
    }

    fn answer(
        &self,
        stream: &TcpStream,
        request: &Arc<Request>,
        progress: &Progress,
    ) -> CountedAnswer {
        let handle = || self.handle(stream, request, progress);
        if self.handler.judges_web_pages(request) {
            return handle();
        }
        match self.origins.judge(request) {
            OriginVerdict::NoPage => handle(),
            OriginVerdict::Allowed(origin) if origin_rule::is_preflight(request) => {
                let headers = origin_rule::allow_sending(origin, request);
                CountedAnswer::own(Response::new(204, headers, Body::Head(None)))
            }
            OriginVerdict::Allowed(origin) => {
                let mut answer = handle();
                let headers = origin_rule::allow_reading(origin);
                answer.response.headers.extend(headers);
                answer
            }
            OriginVerdict::Refused(origin) => {
                self.refuse_page(&origin);
                CountedAnswer::own(Response::empty(403))
            }
        }
    }

    fn handle(
        &self,
        stream: &TcpStream,
        request: &Arc<Request>,
        progress: &Progress,
    ) -> CountedAnswer {
        if progress.entrance == Entrance::Main
            && let Some(response) = self.operator.answer(request)
        {
            return CountedAnswer::own(response);
        }
        let handled = self.handler.handle(&Incoming {
            request,
            received: progress.received,
            entrance: progress.entrance,
            stream,
            call: &progress.call,
        });
        match handled {
            Ok(response) => CountedAnswer::of(request, response),
            Err(error) => {
                log::debug!("{request:?}: {error}");
                CountedAnswer {
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
                 origin (this is logged once)"
            );
        }
    }
}

/// An answer, and how it counts.
struct CountedAnswer {
    response: Response,
    /// `None` if the request was for the daemon itself.
    outcome: Option<AnswerOutcome>,
}

impl CountedAnswer {
    /// A handler's.
    fn of(request: &Request, response: Response) -> Self {
        log::debug!("{request:?}: {}", response.status);
        CountedAnswer {
            outcome: match response.origin {
                AnswerOrigin::Service => Some(AnswerOutcome::Status(response.status)),
                AnswerOrigin::Kept => Some(AnswerOutcome::Kept),
                AnswerOrigin::Daemon => None,
            },
            response,
        }
    }

    fn own(response: Response) -> Self {
        CountedAnswer {
            response,
            outcome: None,
        }
    }
}

fn failure(error: &ForwardError) -> Response {
    match error.status() {
        // The client gets the reason as text, because it would not learn it in another way.
        404 => Response::text(404, &error.to_string()),
        503 => Response::new(503, vec![retry_after()], Body::Full(Vec::new())),
        status => Response::empty(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::endpoints::AdminResponse;
    use crate::proxy::LocalSampling;
    use std::net::TcpListener;

    /// Otherwise such a client would keep all others from being accepted, and health from being told.
    #[test]
    fn the_thread_tcp_does_not_wait_for_a_client_that_reads_nothing() {
        let context = ExchangeContext {
            handler: Arc::new(LocalSampling),
            operator: OperatorEndpoints {
                paths: &["/metrics"],
                answer: Box::new(|_| AdminResponse {
                    status: 200,
                    content_type: "text/plain",
                    body: "x".repeat(64 << 20),
                }),
            },
            origins: AllowedOrigins::default(),
            counts: Arc::default(),
            answer_time: Duration::from_secs(3600),
            is_stopping: AtomicBool::new(false),
            page_was_told: AtomicBool::new(false),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let request = Arc::new(Request {
            method: "GET".to_owned(),
            target: "/metrics".to_owned(),
            http10: false,
            keep_alive: true,
            headers: Vec::new(),
            body: Arc::default(),
        });
        let progress = Progress::new(Entrance::Main, Instant::now());
        progress.be_brief();
        let stays_open = context.exchange(&stream, &request, &progress);
        assert!(!stays_open);
    }
}
