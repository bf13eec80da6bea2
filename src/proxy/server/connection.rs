//! One connection of a client's, as long as nothing is answered on it: bytes in, a request out.
//! Never blocks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::http::server::{
    BodyFraming, CONTINUE, Persistence, Reader, Refusal, Request, Step, go_away, response_head,
};
use crate::proxy::budget::Charge;
use crate::proxy::exchange::Progress;
use crate::proxy::handler::Entrance;

/// Bytes read at once, and how many times before another connection has its turn.
const PIECE: usize = 16 * 1024;
const TURN: usize = 4;

/// What every connection may hold without a charge: the usual sampling call whole.
pub(super) const OWN_MEMORY: usize = 4 * 1024;

/// What a client of gRPC is told.
const GRPC_HINT: &str = "this port speaks OTLP over HTTP/1.1 only: set \
                         OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf";

pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) entrance: Entrance,
    pub(super) stream: Arc<TcpStream>,
    pub(super) phase: Phase,
    /// Since when it is in its phase.
    pub(super) since: Instant,
    /// When the request at hand began to come in.
    pub(super) began: Instant,
    pub(super) last_byte: Instant,
    /// A request has come by this connection before.
    pub(super) has_asked: bool,
    pub(super) client: Client,
    /// Accepted beyond the limit, for those who ask the daemon itself how it is.
    pub(super) is_extra: bool,
    /// The request at hand is one of theirs.
    pub(super) is_operators: bool,
    reader: Reader,
    max_body: usize,
    memory: Charge,
}

/// What a connection does.
pub(super) enum Phase {
    /// Between requests.
    Idle,
    /// Part of a request is here.
    Receiving,
    /// A request is here, and waits for a thread.
    Waiting(Arc<Request>),
    /// A thread answers.
    Busy(Arc<Progress>),
    /// Refused. What still comes is thrown away: closing at once would reset the connection
    /// before the client has read why.
    Lingering,
}

/// What is known of a client while it is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    There,
    /// It sends nothing more: it waits for its answer, or is gone.
    SaidAll,
    Gone,
}

/// What has come of the bytes of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// More has to come.
    Nothing,
    /// The connection is waiting now.
    Request,
    Refused(Refusal),
    /// Nobody is there any more.
    Gone,
}

impl Connection {
    /// Takes a stream that does not block.
    pub(super) fn new(
        id: u64,
        stream: TcpStream,
        max_body: usize,
        memory: Charge,
        now: Instant,
    ) -> Self {
        Connection {
            id,
            entrance: Entrance::Main,
            stream: Arc::new(stream),
            phase: Phase::Idle,
            since: now,
            began: now,
            last_byte: now,
            has_asked: false,
            client: Client::There,
            is_extra: false,
            is_operators: false,
            reader: Reader::with_max_body(max_body),
            max_body,
            memory,
        }
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
    }

    /// Reads what has come.
    pub(super) fn read(&mut self, now: Instant) -> Received {
        let mut piece = [0; PIECE];
        for _ in 0..TURN {
            match (&*self.stream).read(&mut piece) {
                Ok(0) => return Received::Gone,
                Ok(_) if matches!(self.phase, Phase::Lingering) => {}
                Ok(n) => {
                    self.last_byte = now;
                    self.reader.feed(&piece[..n]);
                    match self.advance(now) {
                        Received::Nothing => {}
                        received => return received,
                    }
                    if n < PIECE {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Received::Gone,
            }
        }
        Received::Nothing
    }

    /// Understands what has been read.
    pub(super) fn advance(&mut self, now: Instant) -> Received {
        if matches!(self.phase, Phase::Idle) && !self.reader.is_idle() {
            self.began = now;
            self.enter(Phase::Receiving, now);
        }
        loop {
            match self.reader.step() {
                Ok(Step::Request(request)) => {
                    self.has_asked = true;
                    self.enter(Phase::Waiting(Arc::new(request)), now);
                    return Received::Request;
                }
                Ok(Step::Continue) if !self.write(CONTINUE) => return Received::Gone,
                Ok(Step::Continue) => {}
                Ok(Step::NeedMore) => return Received::Nothing,
                Err(refusal) => return Received::Refused(refusal),
            }
        }
    }

    /// The answer is out: the next request may come, or be here already.
    pub(super) fn next_request(&mut self, now: Instant) -> Received {
        self.enter(Phase::Idle, now);
        match self.stream.set_nonblocking(true) {
            Ok(()) => self.advance(now),
            Err(_) => Received::Gone,
        }
    }

    /// Charges for the memory that the connection takes. `false` when there is not enough.
    pub(super) fn charge(&mut self) -> bool {
        let request = match &self.phase {
            Phase::Waiting(request) => request.memory(),
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
        self.linger(now);
    }

    /// Closes when the client has read what was written.
    pub(super) fn linger(&mut self, now: Instant) {
        // Either fails only when the client was faster.
        let _ = self.stream.set_nonblocking(true);
        let _ = self.stream.shutdown(Shutdown::Write);
        self.reader = Reader::with_max_body(self.max_body);
        self.enter(Phase::Lingering, now);
        self.charge();
    }

    /// Writes some bytes, for which there is room unless the client reads nothing.
    fn write(&self, bytes: &[u8]) -> bool {
        matches!((&*self.stream).write(bytes), Ok(n) if n == bytes.len())
    }

    /// Gives up the answer, for a client that is gone or taken for gone.
    pub(super) fn give_up(&mut self) {
        if let Phase::Busy(progress) = &self.phase {
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
