//! One client connection while no request is being answered: bytes in, a request out. Never blocks.

use std::io::{self, ErrorKind, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, recv};

use crate::http::server::{
    BodyFraming, CONTINUE, Persistence, ReadStep, Request, RequestReader, RequestRefusal,
    SpareBody, go_away, response_head,
};
use crate::proxy::budget::Charge;
use crate::proxy::exchange::Progress;
use crate::proxy::handler::Entrance;

/// Bytes read at once outside of a body.
const PIECE: usize = 16 * 1024;

/// The same where a request begins: a head is short, and what is read of a body with it has to be copied.
const FIRST_PIECE: usize = 2 * 1024;

/// Reads before another connection has its turn.
const READS_A_TURN: usize = 8;

/// Bytes that every connection may hold without a charge: enough for a usual sampling call.
pub(super) const OWN_MEMORY: usize = 4 * 1024;

/// The hint for clients of gRPC.
const GRPC_HINT: &str = "this port speaks OTLP over HTTP/1.1 only: set \
                         OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf";

pub(super) struct ClientConnection {
    pub(super) id: u64,
    pub(super) entrance: Entrance,
    pub(super) stream: Arc<TcpStream>,
    pub(super) phase: ConnectionPhase,
    /// Since when it is in its phase.
    pub(super) since: Instant,
    /// When the current request began to arrive.
    pub(super) began: Instant,
    pub(super) last_byte: Instant,
    /// A request has come by this connection before.
    pub(super) has_asked: bool,
    pub(super) client: Client,
    /// Accepted beyond the limit, for operators' requests only.
    pub(super) is_extra: bool,
    /// The current request is an operator's.
    pub(super) is_operators: bool,
    /// Its receive buffer is one for long bodies.
    pub(super) has_long_buffer: bool,
    reader: RequestReader,
    max_body: usize,
    spare: Arc<SpareBody>,
    memory: Charge,
}

/// What a connection does.
pub(super) enum ConnectionPhase {
    /// Between requests.
    Idle,
    /// Part of a request is here.
    Receiving,
    /// A request is here, and waits for its turn or for a thread.
    Waiting(Arc<Request>),
    /// A thread answers.
    Busy(Arc<Progress>),
    /// Refused. Further bytes are discarded: closing at once would reset the connection before the
    /// client has read the answer.
    Draining,
}

/// The state of a client while nothing is read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    There,
    /// It sends nothing more: it waits for its answer, or is gone.
    HalfClosed,
    Gone,
}

/// The result of reading from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// More has to come.
    Nothing,
    /// The connection is waiting now.
    Request,
    Refused(RequestRefusal),
    /// The client has gone.
    Gone,
}

impl ClientConnection {
    /// Takes a stream that does not block.
    pub(super) fn new(
        id: u64,
        stream: TcpStream,
        max_body: usize,
        spare: Arc<SpareBody>,
        memory: Charge,
        now: Instant,
    ) -> Self {
        ClientConnection {
            id,
            entrance: Entrance::Main,
            stream: Arc::new(stream),
            phase: ConnectionPhase::Idle,
            since: now,
            began: now,
            last_byte: now,
            has_asked: false,
            client: Client::There,
            is_extra: false,
            is_operators: false,
            has_long_buffer: false,
            reader: RequestReader::new(max_body, Arc::clone(&spare)),
            max_body,
            spare,
            memory,
        }
    }

    pub(super) fn enter(&mut self, phase: ConnectionPhase, now: Instant) {
        self.phase = phase;
        self.since = now;
    }

    /// Reads what has come.
    pub(super) fn read(&mut self, now: Instant) -> Received {
        for _ in 0..READS_A_TURN {
            match self.receive() {
                Ok(0) => return Received::Gone,
                Ok(_) => {
                    if matches!(self.phase, ConnectionPhase::Draining) {
                        continue;
                    }
                    self.last_byte = now;
                    match self.advance(now) {
                        Received::Nothing if self.charge() => {}
                        received => return received,
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Received::Gone,
            }
        }
        Received::Nothing
    }

    /// Receives once: straight into a body, where one is to come.
    fn receive(&mut self) -> io::Result<usize> {
        if let Some(body) = self.reader.body() {
            let (received, _) = recv(&*self.stream, spare_capacity(body), RecvFlags::empty())?;
            return Ok(received);
        }
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let most = match self.phase {
            ConnectionPhase::Idle => FIRST_PIECE,
            _ => PIECE,
        };
        let ((received, _), _) = recv(&*self.stream, &mut piece[..most], RecvFlags::empty())?;
        if !matches!(self.phase, ConnectionPhase::Draining) {
            self.reader.feed(received);
        }
        Ok(received.len())
    }

    /// Parses the bytes that were read.
    pub(super) fn advance(&mut self, now: Instant) -> Received {
        if matches!(self.phase, ConnectionPhase::Idle) && !self.reader.is_idle() {
            self.began = now;
            self.enter(ConnectionPhase::Receiving, now);
        }
        loop {
            match self.reader.step() {
                Ok(ReadStep::Request(request)) => {
                    self.has_asked = true;
                    self.enter(ConnectionPhase::Waiting(Arc::new(request)), now);
                    return Received::Request;
                }
                Ok(ReadStep::Continue) if !self.write(CONTINUE) => return Received::Gone,
                Ok(ReadStep::Continue) => {}
                Ok(ReadStep::NeedMore) => return Received::Nothing,
                Err(refusal) => return Received::Refused(refusal),
            }
        }
    }

    /// The answer has been sent: the next request may come, or have arrived already.
    pub(super) fn next_request(&mut self, now: Instant) -> Received {
        self.enter(ConnectionPhase::Idle, now);
        self.advance(now)
    }

    /// Charges for the memory that the connection takes. `false` when there is not enough.
    pub(super) fn charge(&mut self) -> bool {
        let request = match &self.phase {
            ConnectionPhase::Waiting(request) => request.memory(),
            _ => 0,
        };
        let all = request + self.reader.memory();
        self.memory.resize(all.saturating_sub(OWN_MEMORY))
    }

    /// Answers, gives back the memory, and closes when the client has read it.
    pub(super) fn refuse(
        &mut self,
        status: u16,
        headers: &[(String, Vec<u8>)],
        body: &[u8],
        now: Instant,
    ) {
        let mut out = Vec::new();
        let framing = BodyFraming::Length(body.len() as u64);
        response_head(&mut out, status, headers, framing, Persistence::Close);
        out.extend_from_slice(body);
        self.end(&out, now);
    }

    /// The head of the request whose body is too large.
    pub(super) fn too_large(&self) -> Option<&Request> {
        self.reader.too_large()
    }

    /// Tells a client of HTTP/2 what to speak.
    pub(super) fn refuse_http2(&mut self, now: Instant) {
        self.end(&go_away(GRPC_HINT), now);
    }

    fn end(&mut self, last: &[u8], now: Instant) {
        self.write(last);
        self.close_when_read(now);
    }

    /// Closes when the client has read what was written.
    pub(super) fn close_when_read(&mut self, now: Instant) {
        // This fails only if the client has closed the connection already.
        let _ = self.stream.set_nonblocking(true);
        let _ = self.stream.shutdown(Shutdown::Write);
        self.reader = RequestReader::new(self.max_body, Arc::clone(&self.spare));
        self.enter(ConnectionPhase::Draining, now);
        self.charge();
    }

    /// Writes some bytes, for which there is room unless the client reads nothing.
    fn write(&self, bytes: &[u8]) -> bool {
        matches!((&*self.stream).write(bytes), Ok(n) if n == bytes.len())
    }

    /// Cancels the answer, for a client that has gone or counts as gone.
    pub(super) fn give_up(&mut self) {
        if let ConnectionPhase::Busy(progress) = &self.phase {
            progress.call.cancel();
        }
        self.client = Client::Gone;
    }

    /// Ends everything that goes on.
    pub(super) fn cut(&mut self) {
        self.give_up();
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
