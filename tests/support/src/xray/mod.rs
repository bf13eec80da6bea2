//! A fake X-Ray: recomputes every signature, remembers every document, and fails as it is told to.

mod fault;
mod handler;
mod state;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, SystemTime};

pub use fault::{Endless, Fault};
use handler::Action;
pub use state::{Batch, OtherService, State};

use crate::http::{Request, Response};
use crate::keys::Keys;
use crate::server::{Handler, Peer, Server};
use crate::tls::Authority;
use crate::watch::{DEADLINE, Watch};

/// The region that requests must be signed for.
pub const REGION: &str = "us-east-1";
/// The keys that the fake knows from the start.
pub const KEY_ID: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The fake X-Ray. Dropping it fails the test if any request broke a rule of the protocol.
pub struct FakeXray {
    service: Arc<Service>,
    server: Server<Service>,
    /// The authority to trust, when the fake speaks TLS.
    pub authority: Option<Authority>,
}

struct Service {
    state: Watch<State>,
    /// Held for reading by whoever decides on a request and answers it at once. Who cuts
    /// connections takes it for writing, so that a request is either answered or not accepted.
    answering: RwLock<()>,
}

impl FakeXray {
    /// Starts on plain HTTP.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts on HTTPS with a certificate of a private authority.
    pub fn start_tls() -> Self {
        Self::start_with(Some(Authority::new(&["localhost", "127.0.0.1"])))
    }

    fn start_with(authority: Option<Authority>) -> Self {
        let service = Service::new(State::new(vec![Keys::new(KEY_ID, SECRET, None)], REGION));
        let tls = authority.as_ref().map(|authority| authority.server.clone());
        Self {
            server: Server::start(service.clone(), tls),
            service,
            authority,
        }
    }

    /// Starts where `listener` is bound.
    pub fn on(listener: TcpListener, state: State, authority: Option<Authority>) -> Self {
        let service = Service::new(state);
        let tls = authority.as_ref().map(|authority| authority.server.clone());
        Self {
            server: Server::on(listener, service.clone(), tls),
            service,
            authority,
        }
    }

    /// The endpoint to give to the daemon.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on, fails like this. What was on hold is closed without an answer.
    pub fn inject(&mut self, fault: Fault) {
        let cuts = matches!(fault, Fault::Gone | Fault::CloseOnAccept);
        let is_gone = matches!(fault, Fault::Gone);
        self.update(|state| {
            state.fault = fault;
            state.generation += 1;
        });
        if is_gone {
            self.server.stop_listening();
        } else {
            self.server.listen_again();
        }
        if cuts {
            self.cut_connections();
        }
    }

    /// Fails like this for one request.
    pub fn inject_once(&self, fault: Fault) {
        self.update(|state| state.faults_to_come.push_back(fault));
    }

    /// From now on, behaves as X-Ray does.
    pub fn recover(&mut self) {
        self.inject(Fault::None);
    }

    /// Cuts every connection there is.
    pub fn cut_connections(&self) {
        let _no_answer = self.service.answering.write();
        self.server.cut_connections();
    }

    /// Looks at what the fake has seen.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.service.state.read(look)
    }

    /// Changes keys, clock or answers.
    pub fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.service.state.update(change)
    }

    /// Waits until `done`; panics at the deadline.
    #[track_caller]
    pub fn wait_for(&self, what: &str, done: impl Fn(&State) -> bool) {
        self.wait_at_most(DEADLINE, what, done);
    }

    /// Waits until `done`; panics after `deadline`.
    #[track_caller]
    pub fn wait_at_most(&self, deadline: Duration, what: &str, done: impl Fn(&State) -> bool) {
        let in_time = self.comes_true(deadline, done);
        assert!(in_time, "after {deadline:?} still not: {what}");
    }

    /// Waits until `done`; false when it is not within `time`.
    pub fn comes_true(&self, time: Duration, done: impl Fn(&State) -> bool) -> bool {
        let look = |state: &State| done(state).then_some(());
        self.service.state.wait(time, look).is_some()
    }
}

impl Drop for FakeXray {
    fn drop(&mut self) {
        self.inject(Fault::Gone);
        let (dump, is_clean) = self.read(|state| (state.to_string(), state.violations.is_empty()));
        if thread::panicking() {
            eprintln!("---- fake X-Ray ----\n{dump}");
        } else if !is_clean {
            panic!("the daemon broke the protocol\n{dump}");
        }
    }
}

impl Service {
    fn new(state: State) -> Arc<Self> {
        Arc::new(Self {
            state: Watch::new(state),
            answering: RwLock::new(()),
        })
    }

    /// Waits for `time`, or until another fault is injected; true if one was.
    fn pause(&self, generation: u64, time: Duration) -> bool {
        let changed = |state: &State| (state.generation != generation).then_some(());
        self.state.wait(time, changed).is_some()
    }
}

impl Handler for Service {
    fn accepts(&self) -> bool {
        self.state.update(|state| {
            state.connections += 1;
            !matches!(state.fault, Fault::Gone | Fault::CloseOnAccept)
        })
    }

    fn handle(&self, request: Request, peer: &mut Peer) -> io::Result<bool> {
        let answering = self
            .answering
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let (action, generation, now) = self
            .state
            .update(|state| (state.handle(&request), state.generation, state.now()));
        let _answering = matches!(action, Action::Answer(_)).then_some(answering);
        match action {
            Action::Answer(response) => respond(peer, response, now)?,
            Action::AnswerAfter(time, response) => {
                self.pause(generation, time);
                respond(peer, response, now)?;
            }
            Action::AnswerAsImpostor(response) => peer.respond(&response)?,
            Action::Close => return Ok(false),
            Action::Hold => {
                self.pause(generation, Duration::from_secs(3600));
                return Ok(false);
            }
            Action::Bytes(bytes) => {
                peer.send(bytes)?;
                return Ok(false);
            }
            Action::Endless(answer) => {
                peer.send(answer.start)?;
                while !self.pause(generation, answer.pause) {
                    peer.send(answer.more)?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn respond(peer: &mut Peer, response: Response, now: SystemTime) -> io::Result<()> {
    let response = response
        .with("Date", &httpdate::fmt_http_date(now))
        .with("x-amzn-RequestId", "2b3c4d5e-0000-4000-8000-000000000000");
    peer.respond(&response)
}
