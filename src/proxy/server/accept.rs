//! Accepts connections, and closes others to make room.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Server;
use super::connection::{ClientConnection, ConnectionPhase};
use super::dispatch::OPERATOR_SLOTS;
use super::refuse::retry_after;
use super::shedding::{SLOW, first_to_go};
use crate::http::server::{BodyFraming, Persistence, response_head};
use crate::logging::RateLimit;
use crate::proxy::counts::Refused;
use crate::proxy::handler::Entrance;

/// How long accepting rests when the system has no descriptor or memory to give: long enough not
/// to spin, short against an SDK's patience of 2 s.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long accepting rests when all connections are taken and some of them may turn out slow.
const SOON: Duration = Duration::from_millis(20);

/// Connections accepted before those that are there have their turn.
const ACCEPTS_A_TURN: usize = 16;

static ACCEPT_FAILED: RateLimit = RateLimit::new(1, Duration::from_secs(60));

impl Server {
    /// Accepts the connections that wait.
    pub(super) fn accept(&mut self, now: Instant) {
        for socket in 0..self.listeners.len() {
            self.accept_on(socket, now);
        }
    }

    fn accept_on(&mut self, socket: usize, now: Instant) {
        for _ in 0..ACCEPTS_A_TURN {
            if self.is_full() && self.is_about_to_have_room(now) {
                self.accept_after = Some(now + SOON);
                return;
            }
            let (entrance, listener) = &self.listeners[socket];
            let entrance = *entrance;
            match listener.accept() {
                Ok((stream, _)) => self.admit(entrance, stream, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The client has gone already.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // There are probably no descriptors or no memory. Closing an idle connection helps.
                Err(error) => {
                    if let Some(held_back) = ACCEPT_FAILED.allow(now) {
                        log::error!(
                            "cannot accept connections on TCP: {error}; closing idle ones and \
                             trying again (raise the limit of open files if this stays){held_back}"
                        );
                    }
                    // One that has just been let in keeps its descriptor.
                    self.shed(SLOW, now);
                    self.accept_after = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, entrance: Entrance, stream: TcpStream, now: Instant) {
        if self.is_full() {
            self.shed(Duration::ZERO, now);
        }
        let is_extra = self.is_full();
        if self.connections.len() >= self.limits.connections.saturating_add(OPERATOR_SLOTS) {
            self.service.counts.refused(Refused::Busy);
            return turn_away(&stream);
        }
        // A stream that cannot be prepared is of no use.
        let is_ready = stream.set_nonblocking(true).is_ok() && stream.set_nodelay(true).is_ok();
        let memory = self.resources.bodies.charge(0);
        let (true, Some(memory)) = (is_ready, memory) else {
            return;
        };
        let max_body = self.resources.max_body();
        let spare = Arc::clone(&self.spare);
        let mut connection =
            ClientConnection::new(self.next_id, stream, max_body, spare, memory, now);
        connection.entrance = entrance;
        self.next_id += 1;
        connection.is_extra = is_extra;
        // The request is usually here already.
        let received = connection.read(now);
        self.connections.push(connection);
        self.received(self.connections.len() - 1, received, now);
    }

    fn is_full(&self) -> bool {
        self.connections.len() >= self.limits.connections
    }

    /// Whether no connection can be closed yet, but one that is sending its request may turn out to
    /// be slow. Until then new clients wait in the kernel instead of being refused.
    fn is_about_to_have_room(&self, now: Instant) -> bool {
        first_to_go(&self.connections, Duration::ZERO, now).is_none()
            && self
                .connections
                .iter()
                .any(|c| matches!(c.phase, ConnectionPhase::Receiving))
    }

    /// Closes the connection that should be closed first, if it has been in its state for `age`.
    pub(super) fn shed(&mut self, age: Duration, now: Instant) {
        if let Some(index) = first_to_go(&self.connections, age, now) {
            self.service.counts.shed();
            self.remove(index);
        }
    }
}

/// Sends a refusal to a client for which there is no place, without ever waiting for it.
fn turn_away(stream: &TcpStream) {
    if stream.set_nonblocking(true).is_ok() {
        let mut out = Vec::new();
        let framing = BodyFraming::Length(0);
        response_head(&mut out, 503, &[retry_after()], framing, Persistence::Close);
        let mut stream = stream;
        let _ = stream.write(&out);
        let _ = stream.shutdown(Shutdown::Write);
        // Bytes left unread would reset the connection before the client has read the answer.
        let _ = stream.read(&mut [0; 8 * 1024]);
    }
}
