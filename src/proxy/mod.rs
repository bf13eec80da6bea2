//! The front on TCP: signs and forwards whatever SDKs, samplers and OTLP exporters send, and
//! answers health and metrics itself.
//!
//! A thread named `tcp` accepts; each connection has a thread of its own, `tcp-N`, because every
//! request ends in a blocking call anyway and their number is capped. Idle connections cost a
//! thread's stack and are the first to go when the cap or the descriptors run out.

mod answer;
mod budget;
mod connection;
mod headers;
mod local;
mod masking;
mod origin_rule;
mod signed;
mod slots;
mod system_limits;
mod upstream;

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

pub use local::LocalSampling;
pub use signed::Signed;
use slots::{Slot, Slots};
pub use upstream::{Body, ForwardError, Response, Upstream};

use crate::logging::RateLimit;

/// The stack of a connection's thread. A TLS handshake in a debug build is the deepest it goes.
const STACK: usize = 256 * 1024;

/// How long accepting rests when the system has no descriptor or memory to give: long enough not
/// to spin, short against an SDK's patience of 2 s.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What must have been idle for when descriptors run out. Accepting needs a free descriptor even
/// while nobody is waiting; it should not take that of a client which has just been let in.
const LONG_IDLE: Duration = Duration::from_secs(1);

/// How long interrupted connections may take to end.
const INTERRUPTED: Duration = Duration::from_secs(1);

static ACCEPT_FAILED: RateLimit = RateLimit::new(1, Duration::from_secs(60));
static FULL: RateLimit = RateLimit::new(1, Duration::from_secs(60));

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. When all are taken, the one that has been idle longest is closed for
    /// a new one; when none becomes idle in time, the new one is answered 503.
    pub connections: usize,
    /// From the first byte of a request to its last: how long a slow client holds a connection.
    pub request: Duration,
    /// Without a request. SDKs poll every 10 s and every 300 s, and some repeat a call when they
    /// find their connection closed.
    pub idle: Duration,
    /// For a client to take its answer.
    pub answer: Duration,
    /// Bytes of request bodies at once, beyond 64 KiB for each connection, so that uploads never
    /// keep a sampling call out. What does not fit is answered 503, which exporters retry.
    pub bodies: usize,
}

impl Limits {
    /// What the daemon uses. 128 connections are as many processes with an SDK, each polling over
    /// one that it keeps, and 4 MB of stacks; three of the largest OTLP bodies fit at once.
    pub const DEFAULT: Limits = Limits {
        connections: 128,
        request: Duration::from_secs(10),
        idle: Duration::from_secs(15 * 60),
        answer: Duration::from_secs(30),
        bodies: 20 * 1024 * 1024,
    };
}

/// An answer of the daemon itself.
#[derive(Clone, Debug)]
pub struct LocalAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Answers `GET` and `HEAD` of the paths that are the daemon's own (`/healthz`, `/metrics`);
/// `None` for all that is forwarded. Gets the path without the query. Must not block.
pub type Local = Box<dyn Fn(&str) -> Option<LocalAnswer> + Send + Sync>;

/// What the front has done since it started, and has now. For the metrics.
#[derive(Debug, Default)]
pub struct Counts {
    forwarded: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    shed: AtomicU64,
    open: AtomicUsize,
    idle: AtomicUsize,
}

impl Counts {
    /// Requests to which the service's answer went back, whatever its status.
    pub fn forwarded(&self) -> u64 {
        self.forwarded.load(Relaxed)
    }

    /// Requests that the daemon answered 502, because it could not sign or reach the service.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Requests that were no HTTP this daemon reads, or over a limit of size or time.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Connections closed or turned away to make room.
    pub fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    /// Connections now.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Those of them without a request.
    pub fn idle(&self) -> usize {
        self.idle.load(Relaxed)
    }
}

/// What all threads of the front share.
struct Shared {
    upstream: Arc<dyn Upstream>,
    local: Local,
    limits: Limits,
    counts: Arc<Counts>,
    slots: Slots,
    /// Bytes of [`Limits::bodies`] in use.
    bodies: AtomicUsize,
    stopping: AtomicBool,
}

/// The running front.
pub struct Front {
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Front {
    /// Serves `listener`, which is bound and listening.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(
        listener: TcpListener,
        limits: Limits,
        upstream: Arc<dyn Upstream>,
        local: Local,
        counts: Arc<Counts>,
    ) -> io::Result<Front> {
        let shared = Arc::new(Shared {
            upstream,
            local,
            limits,
            slots: Slots::new(limits.connections, Arc::clone(&counts)),
            counts,
            bodies: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        let listener = Arc::new(listener);
        let accepting = {
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(&shared));
            thread::Builder::new()
                .name("tcp".to_owned())
                .stack_size(STACK)
                .spawn(move || accept(&listener, &shared))?
        };
        Ok(Front {
            listener,
            shared,
            accepting,
        })
    }

    /// Whether new connections are served.
    pub fn is_alive(&self) -> bool {
        !self.accepting.is_finished()
    }

    /// Takes no new connection or request, gives those under way `grace`, then interrupts them.
    /// Whether all threads have ended.
    pub fn stop(self, grace: Duration) -> bool {
        self.shared.stopping.store(true, Relaxed);
        // On Linux this wakes the blocked accept. It fails only when there is nothing to wake.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        self.shared.slots.close();
        let accepted = self.accepting.join().is_ok();
        if self.shared.slots.wait_until_empty(grace) {
            return accepted;
        }
        self.shared.upstream.stop();
        self.shared.slots.interrupt();
        self.shared.slots.wait_until_empty(INTERRUPTED) && accepted
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Relaxed) {
            return;
        }
        match accepted {
            Ok((stream, _)) => admit(Arc::new(stream), shared),
            // The client was gone before its turn came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // No descriptors or no memory, most likely: it passes, and sooner with one less.
            Err(error) => {
                if let Some(held_back) = ACCEPT_FAILED.allow(Instant::now()) {
                    log::error!(
                        "cannot accept connections on TCP: {error}; closing idle ones \
                         and trying again (raise the limit of open files if this stays){held_back}"
                    );
                }
                shared.slots.shed_idle(LONG_IDLE);
                shared.slots.pause(ACCEPT_PAUSE);
            }
        }
    }
}

fn admit(stream: Arc<TcpStream>, shared: &Arc<Shared>) {
    let started = match shared.slots.enter(&stream) {
        Some(slot) => serve(Arc::clone(&stream), slot, shared),
        None => Err(io::Error::other("all connections are in use")),
    };
    if let Err(error) = started {
        if let Some(held_back) = FULL.allow(Instant::now()) {
            log::warn!(
                "a connection on TCP was turned away: {error} (limit {}){held_back}",
                shared.limits.connections
            );
        }
        connection::turn_away(&stream);
    }
}

/// The thread is not joined but counted out by its slot, because a thread that waits to be joined
/// keeps its stack.
fn serve(stream: Arc<TcpStream>, slot: Slot, shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name(format!("tcp-{}", slot.number()))
        .stack_size(STACK)
        .spawn(move || {
            connection::serve(&stream, &slot, &shared);
            // Only then is its place free.
            drop(stream);
            drop(slot);
        })
        .map(drop)
}
