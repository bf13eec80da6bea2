//! The TCP port: signs and forwards whatever SDKs, samplers and OTLP exporters send, and answers
//! health and metrics itself.
//!
//! One thread, `tcp`, accepts and reads; each request that is whole is given to a thread `tcp-N`, a new
//! one or the one that waits for another request, since it ends in a blocking call. Clients share a number of bytes and the threads that
//! uploading does not need.

mod action;
mod budget;
mod counts;
mod escaped_character;
mod exchange;
mod forward;
mod handler;
mod headers;
mod kept_answers;
mod local_sampling;
mod masking;
mod otlp_front;
mod origin_rule;
mod report;
mod resources;
mod response_writer;
mod sampling_cache;
mod server;
pub mod system_limits;
mod target_slot;
mod trace_page;
mod upstream_answer;
mod upstream_request;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use counts::Counts;
pub use forward::SigningForwarder;
pub(crate) use handler::Entrance;
pub use handler::{Body, ForwardError, Incoming, RequestHandler, Response};
pub use local_sampling::LocalSampling;
pub use origin_rule::AllowedOrigins;
pub use otlp_front::OtlpFront;
pub use resources::ClientResources;
pub use trace_page::TracePage;

use crate::admin::endpoints::AdminResponse;
use crate::http::server::Request;
use exchange::ExchangeContext;
use server::{Mailbox, Server, ServerMessage};

/// The stack of the thread `tcp`. It answers short requests, and health where there is no thread.
const STACK: usize = 256 * 1024;

/// What clients may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. When all are taken, the slowest or else the one that has been idle
    /// longest is closed for a new one.
    pub connections: usize,
    /// Requests answered at once. Others wait a second, then get 503.
    pub calls: usize,
    /// Limit from the first byte of a request to its last.
    pub request: Duration,
    /// How long a connection may be idle. SDKs poll every 10 s and every 300 s, and some repeat a
    /// call when they find their connection closed.
    pub idle: Duration,
    /// Limit for a client to read its answer.
    pub answer: Duration,
    /// For requests to end that the stop has interrupted.
    pub interrupted: Duration,
}

impl Limits {
    /// What the daemon uses: 512 connections are as many processes with an SDK, each polling over
    /// one that it keeps.
    pub const DEFAULT: Limits = Limits {
        connections: 512,
        calls: 128,
        request: Duration::from_secs(10),
        idle: Duration::from_secs(15 * 60),
        answer: Duration::from_secs(30),
        interrupted: Duration::from_secs(1),
    };

    /// The same, as far as this process may open files when `reserved` are left to uploading.
    #[must_use]
    pub(crate) fn within_descriptors(reserved: usize) -> Limits {
        let (connections, calls) = system_limits::connections_and_calls(reserved);
        Limits {
            connections: connections.min(Self::DEFAULT.connections),
            calls: calls.min(Self::DEFAULT.calls),
            ..Self::DEFAULT
        }
    }
}

/// The daemon's own paths for operators, by `GET` and `HEAD`. Connections are reserved for these
/// requests.
pub struct OperatorEndpoints {
    /// The paths.
    pub paths: &'static [&'static str],
    /// Answers one of them, within half a second.
    pub answer: Box<dyn Fn(&str) -> AdminResponse + Send + Sync>,
}

impl OperatorEndpoints {
    fn owns(&self, request: &Request) -> bool {
        matches!(request.method.as_str(), "GET" | "HEAD") && self.paths.contains(&request.path())
    }

    fn answer(&self, request: &Request) -> Option<Response> {
        if !self.owns(request) {
            return None;
        }
        let own = (self.answer)(request.path());
        Some(Response::of(own.status, own.content_type, own.body))
    }
}

/// What a [`ProxyServer`] is made of.
pub struct ProxyParts {
    /// A second socket, bound and listening, on which only OTLP is taken.
    pub otlp: Option<TcpListener>,
    /// What clients may do.
    pub limits: Limits,
    /// What they may take. The handler has the same.
    pub resources: Arc<ClientResources>,
    /// Origins whose web pages may send requests.
    pub origins: AllowedOrigins,
    /// What operators ask.
    pub operator: OperatorEndpoints,
    /// Answers everything else.
    pub handler: Arc<dyn RequestHandler>,
    /// Where requests are counted.
    pub counts: Arc<Counts>,
}

/// Told at the end of a stop whether all requests have ended. It must not block.
pub(crate) type OnOver = Box<dyn FnOnce(bool) + Send>;

/// The running server of the TCP port. Closed when dropped.
pub struct ProxyServer {
    mailbox: Mailbox,
    thread: Option<JoinHandle<()>>,
}

impl ProxyServer {
    /// Serves `listener`, which is bound and listening.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(listener: TcpListener, parts: ProxyParts) -> io::Result<ProxyServer> {
        let mut listeners = vec![(Entrance::Main, listener)];
        listeners.extend(parts.otlp.map(|socket| (Entrance::Otlp, socket)));
        let service = Arc::new(ExchangeContext {
            handler: parts.handler,
            operator: parts.operator,
            origins: parts.origins,
            counts: parts.counts,
            answer_time: parts.limits.answer,
            is_stopping: AtomicBool::new(false),
            page_was_told: AtomicBool::new(false),
        });
        let server = Server::new(listeners, service, parts.resources, parts.limits)?;
        let mailbox = server.mailbox();
        let thread = thread::Builder::new()
            .name("tcp".to_owned())
            .stack_size(STACK)
            .spawn(move || server.run())?;
        Ok(ProxyServer {
            mailbox,
            thread: Some(thread),
        })
    }

    /// Lets requests under way finish until `deadline`, then interrupts them; answers new ones with
    /// 503 until the server is dropped. `on_over` is called once, when no request is under way or
    /// the time of the interrupted ones is over, with whether all have ended.
    pub fn begin_stop(&self, deadline: Instant, on_over: OnOver) {
        self.mailbox.send(ServerMessage::Stop { deadline, on_over });
    }
}

impl Drop for ProxyServer {
    fn drop(&mut self) {
        self.mailbox.send(ServerMessage::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
