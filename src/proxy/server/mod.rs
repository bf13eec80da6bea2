//! The thread `tcp`: it alone accepts connections and reads requests. It answers short requests with
//! spans itself, within a limit of time, and hands each other request to a thread `tcp-N`. So a client
//! that is slow or idle costs no thread, and however many there are, the daemon's health is answered.

mod accept;
mod connection;
mod dispatch;
mod receive_buffer;
mod refuse;
mod shedding;
mod stop;

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::counts::Refused;
use super::exchange::ExchangeContext;
use super::handler::Entrance;
use super::resources::ClientResources;
use super::{Limits, OnOver};
use crate::http::server::SpareBody;
use connection::{Client, ClientConnection, ConnectionPhase, Received};
use dispatch::TRY_AGAIN;
use refuse::REFUSED_READ_TIME;
pub(super) use refuse::retry_after;
use shedding::slowest_request;
use stop::StoppingServer;

/// A client that has closed its sending side must get its answer within this time, or counts as
/// gone: a program that gives up cannot be distinguished from one that waits for the answer.
const HALF_CLOSED_LIMIT: Duration = Duration::from_secs(2);

/// How long the memory of a body is kept for the next one: a client that exports all the time needs no new
/// memory, and at rest none is held.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// How long waiting for clients rests after an error.
const WAIT_PAUSE: Duration = Duration::from_millis(100);

/// What wakes the thread.
pub(super) enum ServerMessage {
    /// A request has been answered.
    Finished { id: u64, keep_open: bool },
    /// Current requests may finish until the deadline; then `on_over` is called with whether all
    /// have.
    Stop { deadline: Instant, on_over: OnOver },
    /// End at once.
    Close,
}

/// Sends messages to the thread.
#[derive(Clone)]
pub(super) struct Mailbox {
    messages: Sender<ServerMessage>,
    waker: Arc<UnixStream>,
}

impl Mailbox {
    pub(super) fn send(&self, message: ServerMessage) {
        // Fails only when the thread has ended.
        let _ = self.messages.send(message);
        // Fails also when the pipe is full: then the thread is about to look anyway.
        let _ = (&*self.waker).write(&[0]);
    }
}

pub(super) struct Server {
    listeners: Vec<(Entrance, TcpListener)>,
    wakeups: UnixStream,
    messages: Receiver<ServerMessage>,
    mailbox: Mailbox,
    service: Arc<ExchangeContext>,
    resources: Arc<ClientResources>,
    limits: Limits,
    connections: Vec<ClientConnection>,
    next_id: u64,
    spare: Arc<SpareBody>,
    /// Until when it is kept.
    spare_until: Option<Instant>,
    /// Accepting rests until then.
    accept_after: Option<Instant>,
    /// A request waits that may be answered as soon as all other clients have had their turn.
    has_turn_left: bool,
    stopping: Option<StoppingServer>,
}

impl Server {
    pub(super) fn new(
        listeners: Vec<(Entrance, TcpListener)>,
        service: Arc<ExchangeContext>,
        resources: Arc<ClientResources>,
        limits: Limits,
    ) -> io::Result<Self> {
        let (waker, wakeups) = UnixStream::pair()?;
        for stream in [&waker, &wakeups] {
            stream.set_nonblocking(true)?;
        }
        for (_, listener) in &listeners {
            listener.set_nonblocking(true)?;
            receive_buffer::of_connections(listener);
        }
        let (sender, messages) = channel();
        Ok(Server {
            listeners,
            wakeups,
            messages,
            mailbox: Mailbox {
                messages: sender,
                waker: Arc::new(waker),
            },
            service,
            resources,
            limits,
            connections: Vec::new(),
            next_id: 1,
            spare: Arc::default(),
            spare_until: None,
            accept_after: None,
            has_turn_left: false,
            stopping: None,
        })
    }

    pub(super) fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            while let Ok(message) = self.messages.try_recv() {
                match message {
                    ServerMessage::Finished { id, keep_open } => self.finished(id, keep_open, now),
                    ServerMessage::Stop { deadline, on_over } => self.stop(deadline, on_over, now),
                    ServerMessage::Close => {
                        return self.connections.iter_mut().for_each(ClientConnection::cut);
                    }
                }
            }
            self.expire(now);
            self.start_waiting(now);
            self.end_stopping(now);
            self.count();
            match self.wait(now) {
                Ok((accepts, ready)) => self.serve(accepts, ready, Instant::now()),
                Err(Errno::INTR) => {}
                Err(error) => {
                    log::error!("cannot wait for clients on TCP: {error}; trying again");
                    thread::sleep(WAIT_PAUSE);
                }
            }
        }
    }

    /// Waits for events. Returns whether there are new connections, and which connections are
    /// ready.
    fn wait(&self, now: Instant) -> Result<(bool, Vec<(usize, PollFlags)>), Errno> {
        let mut polled = vec![PollFd::new(&self.wakeups, PollFlags::IN)];
        if self.accept_after.is_none() {
            let listeners = self.listeners.iter();
            polled.extend(listeners.map(|(_, socket)| PollFd::new(socket, PollFlags::IN)));
        }
        let first = polled.len();
        let mut indices = Vec::with_capacity(self.connections.len());
        for (index, connection) in self.connections.iter().enumerate() {
            if let Some(events) = events(connection) {
                indices.push(index);
                polled.push(PollFd::new(&*connection.stream, events));
            }
        }
        let wait = match self.has_turn_left {
            true => Some(Duration::ZERO),
            // One millisecond more, so that the deadline has passed after the wait.
            false => self
                .next_deadline(now)
                .map(|at| at.saturating_duration_since(now) + Duration::from_millis(1)),
        };
        let timeout = wait.map(|wait| Timespec::try_from(wait).unwrap_or_default());
        poll(&mut polled, timeout.as_ref())?;
        if !polled[0].revents().is_empty() {
            // What is not read here is read after the next wait.
            let _ = (&self.wakeups).read(&mut [0; 64]);
        }
        let accepts = polled[1..first].iter().any(|fd| !fd.revents().is_empty());
        let events = polled[first..].iter().map(PollFd::revents);
        let ready = indices.into_iter().zip(events);
        Ok((accepts, ready.filter(|(_, e)| !e.is_empty()).collect()))
    }

    fn serve(&mut self, accepts: bool, ready: Vec<(usize, PollFlags)>, now: Instant) {
        // In reverse order, because removing a connection moves those behind it.
        for (index, events) in ready.into_iter().rev() {
            self.look_at(index, events, now);
        }
        if accepts {
            self.accept(now);
        }
    }

    fn look_at(&mut self, index: usize, events: PollFlags, now: Instant) {
        let connection = &mut self.connections[index];
        let is_broken = events.intersects(PollFlags::HUP | PollFlags::ERR);
        match &connection.phase {
            ConnectionPhase::Waiting(_) if is_broken => {
                self.connections.swap_remove(index);
            }
            ConnectionPhase::Busy(_) if is_broken => connection.give_up(),
            ConnectionPhase::Waiting(_) | ConnectionPhase::Busy(_) => {
                connection.client = Client::HalfClosed
            }
            ConnectionPhase::Idle | ConnectionPhase::Receiving | ConnectionPhase::Draining => {
                let received = connection.read(now);
                self.received(index, received, now);
            }
        }
    }

    fn received(&mut self, index: usize, received: Received, now: Instant) {
        if received == Received::Request {
            self.lengthen_buffer(index);
            if self.spare.is_kept() {
                self.spare_until = Some(now + SPARE_TIME);
            }
        }
        match received {
            Received::Nothing => self.make_room(index, now),
            Received::Request if self.is_operators(index) => {}
            Received::Request if self.is_too_late(index) => {
                self.refuse(index, 503, Refused::Stopping, now);
            }
            Received::Request => self.make_room(index, now),
            Received::Refused(refusal) => self.refuse_unread(index, refusal, now),
            Received::Gone => {
                self.connections.swap_remove(index);
            }
        }
    }

    /// Makes room for what a connection has read: the slowest of the others goes first.
    fn make_room(&mut self, index: usize, now: Instant) {
        while !self.connections[index].charge() {
            match slowest_request(&self.connections, now) {
                Some(slow) => {
                    self.service.counts.shed();
                    self.refuse(slow, 503, Refused::TooSlow, now);
                }
                None => {
                    let why = "other clients use all the memory for what they send (let them send less at once, or raise -m if it is below 20)";
                    return self.refuse_busy(index, why, now);
                }
            }
        }
    }

    /// Ends what takes too long.
    fn expire(&mut self, now: Instant) {
        self.accept_after = self.accept_after.filter(|at| now < *at);
        if self.spare_until.take_if(|until| now >= *until).is_some() {
            self.spare.clear();
        }
        for index in (0..self.connections.len()).rev() {
            let Some(deadline) = self.deadline(&self.connections[index]) else {
                continue;
            };
            if now < deadline {
                continue;
            }
            match &self.connections[index].phase {
                ConnectionPhase::Idle | ConnectionPhase::Draining => {
                    self.connections.swap_remove(index);
                }
                ConnectionPhase::Receiving => self.refuse(index, 408, Refused::TooSlow, now),
                ConnectionPhase::Waiting(_) => {
                    let why = "there is no thread or memory for it (raise the limit of tasks, or -m if it is below 20)";
                    self.refuse_busy(index, why, now);
                }
                ConnectionPhase::Busy(_) => self.connections[index].give_up(),
            }
        }
    }

    /// The deadline of a connection in its current state.
    fn deadline(&self, connection: &ClientConnection) -> Option<Instant> {
        match connection.phase {
            ConnectionPhase::Idle => connection.since.checked_add(self.limits.idle),
            ConnectionPhase::Receiving => connection.began.checked_add(self.limits.request),
            ConnectionPhase::Waiting(_) => connection.since.checked_add(dispatch::QUEUE_TIME),
            ConnectionPhase::Busy(_) if connection.client != Client::HalfClosed => None,
            ConnectionPhase::Busy(_) => connection.since.checked_add(HALF_CLOSED_LIMIT),
            ConnectionPhase::Draining => connection.since.checked_add(REFUSED_READ_TIME),
        }
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let of_connections = self.connections.iter().filter_map(|c| self.deadline(c));
        let waits = self
            .connections
            .iter()
            .any(|c| matches!(c.phase, ConnectionPhase::Waiting(_)));
        let others = [
            waits.then(|| now + TRY_AGAIN),
            self.accept_after,
            self.spare_until,
            self.stopping.as_ref().and_then(StoppingServer::deadline),
        ];
        of_connections.chain(others.into_iter().flatten()).min()
    }

    /// Brings the gauges up to date.
    fn count(&self) {
        let [mut idle, mut receiving, mut busy] = [0; 3];
        for connection in &self.connections {
            *match connection.phase {
                ConnectionPhase::Idle | ConnectionPhase::Draining => &mut idle,
                ConnectionPhase::Receiving => &mut receiving,
                ConnectionPhase::Waiting(_) | ConnectionPhase::Busy(_) => &mut busy,
            } += 1;
        }
        self.service.counts.connections(idle, receiving, busy);
        let (used, limit) = self.resources.memory();
        self.service.counts.memory(used, limit);
    }
}

/// The poll events of a connection; `None` where nothing can come any more.
fn events(connection: &ClientConnection) -> Option<PollFlags> {
    match (&connection.phase, connection.client) {
        (ConnectionPhase::Idle | ConnectionPhase::Receiving | ConnectionPhase::Draining, _) => {
            Some(PollFlags::IN)
        }
        (_, Client::There) => Some(HALF_CLOSED),
        // Only a broken connection, which poll always reports.
        (_, Client::HalfClosed) => Some(PollFlags::empty()),
        (_, Client::Gone) => None,
    }
}

/// The client sends nothing more.
#[cfg(target_os = "linux")]
const HALF_CLOSED: PollFlags = PollFlags::RDHUP;
#[cfg(not(target_os = "linux"))]
const HALF_CLOSED: PollFlags = PollFlags::empty();
