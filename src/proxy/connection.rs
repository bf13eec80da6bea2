//! One connection, on a thread of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::answer::{Broken, Output, pass_on};
use super::slots::Slot;
use super::upstream::{Body, ForwardError, Response};
use super::{Local, Shared};
use crate::http::server::{
    BodyFraming, CONTINUE, Persistence, Reader, Refusal, Request, Step, response_head,
};
use crate::logging;

/// Bytes read at once, on the stack.
const PIECE: usize = 8 * 1024;

/// What every connection may hold of a body without asking.
const OWN_SHARE: usize = 64 * 1024;

/// How long what a refused client still sends is thrown away: closing at once would reset the
/// connection before the client has read why.
const LINGER: Duration = Duration::from_secs(1);

/// Longest text of an error in the log, in bytes.
const MAX_ERROR: usize = 300;

/// How reading a request ended.
enum Incoming {
    Request(Request),
    /// Answer with this status, then close.
    Refused(u16),
    /// Nothing to answer: closed, broken, idle for too long, or shed.
    Gone,
}

/// Serves `stream` until one side has had enough.
pub(super) fn serve(stream: &TcpStream, slot: &Slot, shared: &Shared) {
    // Answers go out in one piece; without this the end of a longer one waits for an ACK.
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::default();
    loop {
        let mut share = Share::new(shared);
        match read(stream, &mut reader, slot, shared, &mut share) {
            Incoming::Request(request) => {
                if !answer(stream, &request, shared) || !slot.rest() {
                    return;
                }
            }
            Incoming::Refused(status) => {
                shared.counts.refused.fetch_add(1, Relaxed);
                // What was read of the body goes before the client does.
                drop((reader, share));
                refuse(stream, status, shared.limits.answer);
                if slot.rest() {
                    linger(stream);
                }
                return;
            }
            Incoming::Gone => return,
        }
    }
}

/// Tells a client for whom there is no place, without ever waiting for it.
pub(super) fn turn_away(stream: &TcpStream) {
    if stream.set_nonblocking(true).is_ok() {
        let mut out = Vec::new();
        empty_answer(&mut out, 503);
        let mut stream = stream;
        let _ = stream.write(&out);
        let _ = stream.shutdown(Shutdown::Write);
        // Bytes left unread would reset the connection before the client has read the answer.
        let _ = stream.read(&mut [0; PIECE]);
    }
}

fn read(
    stream: &TcpStream,
    reader: &mut Reader,
    slot: &Slot,
    shared: &Shared,
    share: &mut Share<'_>,
) -> Incoming {
    let limits = &shared.limits;
    let mut deadline = None;
    let mut piece = [0; PIECE];
    loop {
        if deadline.is_none() && !reader.is_idle() {
            if !slot.begin() {
                return Incoming::Gone;
            }
            deadline = Some(Instant::now() + limits.request);
        }
        match reader.step() {
            Ok(Step::Request(request)) if share.hold(request.body.capacity()) => {
                return Incoming::Request(request);
            }
            Ok(Step::Request(_)) => return Incoming::Refused(503),
            Ok(Step::Continue) => {
                let mut out = Output::new(stream, limits.answer);
                if out.write_all(CONTINUE).is_err() {
                    return Incoming::Gone;
                }
                continue;
            }
            Ok(Step::NeedMore) => {}
            Err(refusal) => return refused(refusal),
        }
        if !share.hold(reader.memory()) {
            return Incoming::Refused(503);
        }
        let limit = match deadline {
            None => limits.idle,
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
        };
        match read_within(stream, &mut piece, limit) {
            Ok(0) => return Incoming::Gone,
            Ok(n) => reader.feed(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if deadline.is_some() && is_timeout(&error) => {
                return Incoming::Refused(408);
            }
            Err(_) => return Incoming::Gone,
        }
    }
}

fn refused(refusal: Refusal) -> Incoming {
    log::debug!("a request on TCP was refused: {refusal}");
    Incoming::Refused(refusal.status())
}

/// `read` with a time limit, of which zero is over.
fn read_within(mut stream: &TcpStream, piece: &mut [u8], limit: Duration) -> io::Result<usize> {
    if limit.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(limit))?;
    stream.read(piece)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Answers `request`; whether the connection is good for another.
fn answer(stream: &TcpStream, request: &Request, shared: &Shared) -> bool {
    let response = match own_answer(request, &shared.local) {
        Some(response) => response,
        None => match shared.upstream.forward(request) {
            Ok(response) => {
                log::debug!("{request:?}: {}", response.status);
                shared.counts.forwarded.fetch_add(1, Relaxed);
                response
            }
            Err(error) => failed(&error, shared),
        },
    };
    let persistence = match request.keep_alive && !shared.stopping.load(Relaxed) {
        false => Persistence::Close,
        true if request.http10 => Persistence::KeepAlive,
        true => Persistence::Open,
    };
    let mut out = Output::new(stream, shared.limits.answer);
    match pass_on(&mut out, request, response, persistence) {
        Ok(open) => open,
        Err(Broken::Client) => false,
        Err(Broken::Service(error)) => {
            let error = ForwardError::Transport(Box::new(ureq::Error::Io(error)));
            let instead = failed(&error, shared);
            // Once a part is out, a connection that breaks is the only way to say it.
            out.is_fresh() && pass_on(&mut out, request, instead, persistence).unwrap_or(false)
        }
    }
}

/// What the daemon says by itself.
fn own_answer(request: &Request, local: &Local) -> Option<Response> {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return None;
    }
    let own = local(request.path())?;
    let content_type = own.content_type.as_bytes().to_vec();
    Some(Response {
        status: own.status,
        headers: vec![("Content-Type".to_owned(), content_type)],
        body: Body::Full(own.body.into_bytes()),
    })
}

/// The body is empty, because the Node SDK takes any JSON for sampling rules, whatever the status.
fn failed(error: &ForwardError, shared: &Shared) -> Response {
    shared.counts.failed.fetch_add(1, Relaxed);
    let status = error.status();
    if let Some(held_back) = error.rate().allow(Instant::now()) {
        let error = logging::escape(error.to_string().as_bytes(), MAX_ERROR);
        log::warn!("a call on TCP was answered {status}: {error}{held_back}");
    }
    Response {
        status,
        headers: Vec::new(),
        body: Body::Full(Vec::new()),
    }
}

fn refuse(stream: &TcpStream, status: u16, limit: Duration) {
    let mut out = Vec::new();
    empty_answer(&mut out, status);
    // Closed either way.
    let _ = Output::new(stream, limit).write_all(&out);
}

fn empty_answer(out: &mut Vec<u8>, status: u16) {
    response_head(out, status, &[], BodyFraming::Length(0), Persistence::Close);
}

fn linger(stream: &TcpStream) {
    let deadline = Instant::now() + LINGER;
    let mut piece = [0; PIECE];
    let left = || deadline.saturating_duration_since(Instant::now());
    if stream.shutdown(Shutdown::Write).is_ok() {
        while matches!(read_within(stream, &mut piece, left()), Ok(1..)) {}
    }
}

/// One connection's part of the memory for bodies. Given back when dropped.
struct Share<'a> {
    shared: &'a Shared,
    held: usize,
}

impl<'a> Share<'a> {
    fn new(shared: &'a Shared) -> Self {
        Share { shared, held: 0 }
    }

    /// Makes room for a body of `bytes` in all. `false` when there is none.
    fn hold(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(OWN_SHARE + self.held);
        let before = self.shared.bodies.fetch_add(more, Relaxed);
        self.held += more;
        before + more <= self.shared.limits.bodies || more == 0
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.shared.bodies.fetch_sub(self.held, Relaxed);
    }
}
