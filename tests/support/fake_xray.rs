//! A fake X-Ray: threads and std sockets, TLS when asked for.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::backend::{Action, State};
use super::behaviour::Behaviour;
use super::http::{self, Response};
use super::keys::Keys;
use super::tls::Authority;
use super::watch::{DEADLINE, Watch};

/// The region that requests must be signed for.
pub const REGION: &str = "us-east-1";
/// The keys that the fake knows from the start.
pub const KEY_ID: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

struct Shared {
    state: Watch<State>,
    /// Held by whoever judges a request and answers it at once: a cut waits, so that a request is
    /// either answered or was never accepted.
    answering: RwLock<()>,
    /// Live connections, so that they can be cut.
    streams: Watch<HashMap<usize, TcpStream>>,
    tls: Option<Arc<ServerConfig>>,
}

/// The fake X-Ray. Dropping it fails the test if any request broke a rule of the protocol.
pub struct FakeXray {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
    /// The authority to trust, when the fake speaks TLS.
    pub authority: Option<Authority>,
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
        let state = State::new(vec![Keys::new(KEY_ID, SECRET, None)], REGION);
        Self::on(bind_outside_the_ephemeral_range(), state, authority)
    }

    /// Starts where `listener` is bound.
    pub fn on(listener: TcpListener, state: State, authority: Option<Authority>) -> Self {
        let mut fake = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                state: Watch::new(state),
                answering: RwLock::new(()),
                streams: Watch::default(),
                tls: authority.as_ref().map(|authority| authority.server.clone()),
            }),
            listener: None,
            authority,
        };
        fake.listen(listener);
        fake
    }

    /// The endpoint to give to the daemon.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// From now on, behaves like this. What was on hold is closed without an answer.
    pub fn behave(&mut self, behaviour: Behaviour) {
        let cut = matches!(behaviour, Behaviour::Gone | Behaviour::CloseOnAccept);
        let gone = matches!(behaviour, Behaviour::Gone);
        self.shared.state.update(|state| {
            state.behaviour = behaviour;
            state.generation += 1;
        });
        if gone {
            self.close_listener();
        } else if self.listener.is_none() {
            self.listen(TcpListener::bind(self.address).unwrap());
        }
        if cut {
            self.cut_connections();
        }
    }

    /// Behaves like this for one request.
    pub fn once(&self, behaviour: Behaviour) {
        self.update(|state| state.once.push_back(behaviour));
    }

    /// Cuts every connection there is.
    pub fn cut_connections(&self) {
        let _no_answer = self.shared.answering.write();
        self.shared.streams.read(|streams| {
            for stream in streams.values() {
                // Fails only where the peer was faster.
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Looks at what the fake has seen.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.shared.state.read(look)
    }

    /// Changes keys, clock or answers.
    pub fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.shared.state.update(change)
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
        self.shared.state.wait(time, look).is_some()
    }

    fn listen(&mut self, listener: TcpListener) {
        let shared = self.shared.clone();
        let accept = move || {
            for id in 0.. {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                let behaviour = shared.state.update(|state| {
                    state.connections += 1;
                    state.behaviour.clone()
                });
                match behaviour {
                    // The connection that unblocked this thread, or one that came too late.
                    Behaviour::Gone => return,
                    Behaviour::CloseOnAccept => continue,
                    _ => {}
                }
                let copy = stream.try_clone().unwrap();
                shared.streams.update(|streams| streams.insert(id, copy));
                let shared = shared.clone();
                thread::spawn(move || {
                    // An error is the peer's way to end a connection.
                    let _ = serve(&shared, stream);
                    shared.streams.update(|streams| streams.remove(&id));
                });
            }
        };
        self.listener = Some(thread::spawn(accept));
    }

    fn close_listener(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Accepting one connection is what makes the thread look at the behaviour.
            let _ = TcpStream::connect(self.address);
            listener.join().unwrap();
        }
    }
}

impl Drop for FakeXray {
    fn drop(&mut self) {
        self.behave(Behaviour::Gone);
        let (dump, clean) = self.read(|state| (state.to_string(), state.violations.is_empty()));
        if thread::panicking() {
            eprintln!("---- fake X-Ray ----\n{dump}");
        } else if !clean {
            panic!("the daemon broke the protocol\n{dump}");
        }
    }
}

/// A port that no outgoing connection is given: a client of a fake that is gone could otherwise
/// connect to itself, and a fake that comes back could find its port taken.
fn bind_outside_the_ephemeral_range() -> TcpListener {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 15_000) as u16;
    loop {
        let port = 15_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 15_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
    }
}

trait Conn: Read + Write {}
impl<T: Read + Write> Conn for T {}

fn serve(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let conn: Box<dyn Conn> = match &shared.tls {
        None => Box::new(stream),
        Some(config) => {
            let server = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
            Box::new(StreamOwned::new(server, stream))
        }
    };
    let mut conn = BufReader::new(conn);
    while let Some(request) = http::read_request(&mut conn)? {
        let answering = shared
            .answering
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let (action, generation, now) = shared
            .state
            .update(|state| (state.judge(&request), state.generation, state.now()));
        let pause = |time| shared.pause(generation, time);
        let out = conn.get_mut();
        let _answering = matches!(action, Action::Answer(_)).then_some(answering);
        match action {
            Action::Answer(response) => answer(out, response, now)?,
            Action::AnswerAfter(time, response) => {
                pause(time);
                answer(out, response, now)?;
            }
            Action::Close => return Ok(()),
            Action::Hold => {
                pause(Duration::from_secs(3600));
                return Ok(());
            }
            Action::Bytes(bytes) => {
                out.write_all(bytes)?;
                return out.flush();
            }
            Action::Endless(answer) => {
                out.write_all(answer.start)?;
                while !pause(answer.pause) {
                    out.write_all(answer.more)?;
                    out.flush()?;
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

fn answer(out: &mut dyn Conn, response: Response, now: SystemTime) -> std::io::Result<()> {
    let response = response
        .with("Date", &httpdate::fmt_http_date(now))
        .with("x-amzn-RequestId", "2b3c4d5e-0000-4000-8000-000000000000");
    out.write_all(&response.to_bytes())?;
    out.flush()
}

impl Shared {
    /// Waits for `time`, or until the fake is told to behave otherwise; true if it was.
    fn pause(&self, generation: u64, time: Duration) -> bool {
        self.state
            .wait(time, |state| (state.generation != generation).then_some(()))
            .is_some()
    }
}
