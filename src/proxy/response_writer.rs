//! Writes an answer to the client, as it comes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::handler::{Body, Response};
use crate::http::server::{
    BodyFraming, Persistence, Request, chunk_end, chunk_start, response_head,
};

/// Bytes read at once, on the stack, and about as many written at once.
const PIECE: usize = 8 * 1024;

/// Which side broke the answer off.
pub(super) enum BrokenBy {
    Client,
    /// The side that the answer comes from.
    Source(io::Error),
}

/// Writes `response`; whether the connection stays open.
pub(super) fn write_response(
    out: &mut ClientOutput<'_>,
    request: &Request,
    response: Response,
    mut persistence: Persistence,
) -> Result<bool, BrokenBy> {
    let framing = match response.body {
        _ if matches!(response.status, 204 | 304) => BodyFraming::Absent,
        Body::Full(ref body) => BodyFraming::Length(body.len() as u64),
        Body::Head(Some(length))
        | Body::Stream {
            length: Some(length),
            ..
        } => BodyFraming::Length(length),
        Body::Head(None) => BodyFraming::Absent,
        Body::Stream { .. } | Body::Live(_) if request.http10 => {
            persistence = Persistence::Close;
            BodyFraming::UntilClose
        }
        Body::Stream { .. } | Body::Live(_) => BodyFraming::Chunked,
    };
    let mut waiting = Vec::new();
    response_head(
        &mut waiting,
        response.status,
        &response.headers,
        framing,
        persistence,
    );
    if framing != BodyFraming::Absent && request.method != "HEAD" {
        match response.body {
            Body::Full(body) => waiting.extend_from_slice(&body),
            Body::Stream { reader, .. } => copy(out, &mut waiting, reader, framing, PIECE)?,
            Body::Live(reader) => {
                out.forever();
                copy(out, &mut waiting, reader, framing, 0)?;
            }
            Body::Head(_) => {}
        }
    }
    out.write_all(&waiting).map_err(|_| BrokenBy::Client)?;
    Ok(persistence != Persistence::Close)
}

/// Copies the body as it comes, in writes of more than `least` bytes. The last bytes are left in
/// `waiting`, so that a short answer goes out in one piece.
fn copy(
    out: &mut ClientOutput<'_>,
    waiting: &mut Vec<u8>,
    mut reader: Box<dyn Read + Send>,
    framing: BodyFraming,
    least: usize,
) -> Result<(), BrokenBy> {
    let chunked = framing == BodyFraming::Chunked;
    let mut left = match framing {
        BodyFraming::Length(length) => Some(length),
        _ => None,
    };
    // Extra bytes would be taken for the next answer, and missing ones would be waited for.
    let wrong = || BrokenBy::Source(ErrorKind::UnexpectedEof.into());
    let mut piece = [0; PIECE];
    loop {
        let n = reader.read(&mut piece).map_err(BrokenBy::Source)?;
        if n == 0 {
            break;
        }
        if let Some(left) = &mut left {
            *left = left.checked_sub(n as u64).ok_or_else(wrong)?;
        }
        if chunked {
            chunk_start(waiting, n);
        }
        waiting.extend_from_slice(&piece[..n]);
        if chunked {
            waiting.extend_from_slice(b"\r\n");
        }
        if waiting.len() > least {
            out.write_all(waiting).map_err(|_| BrokenBy::Client)?;
            waiting.clear();
        }
    }
    if chunked {
        chunk_end(waiting);
    }
    if left.is_some_and(|left| left > 0) {
        return Err(wrong());
    }
    Ok(())
}

/// Writes to a client within a time.
pub(super) struct ClientOutput<'a> {
    stream: &'a TcpStream,
    limit: Limit,
    /// Nothing has been written yet.
    is_fresh: bool,
}

#[derive(Clone, Copy)]
enum Limit {
    /// For all of the answer.
    At(Instant),
    /// For each write.
    Each(Duration),
    /// No time at all, by a stream that does not block.
    None,
}

/// Limit for one write of a live answer. A client that reads nothing for so long is gone.
const LIVE_WRITE: Duration = Duration::from_secs(10);

impl<'a> ClientOutput<'a> {
    pub(super) fn new(stream: &'a TcpStream, limit: Duration) -> Self {
        ClientOutput {
            stream,
            limit: Limit::At(Instant::now() + limit),
            is_fresh: true,
        }
    }

    /// To a stream that does not block. What the kernel does not take at once is an error.
    pub(super) fn at_once(stream: &'a TcpStream) -> Self {
        ClientOutput {
            stream,
            limit: Limit::None,
            is_fresh: true,
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    fn forever(&mut self) {
        self.limit = Limit::Each(LIVE_WRITE);
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = match self.limit {
            Limit::At(deadline) => Some(deadline),
            Limit::Each(time) => Some(Instant::now() + time),
            Limit::None => None,
        };
        while !bytes.is_empty() {
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ErrorKind::TimedOut.into());
                }
                self.stream.set_write_timeout(Some(left))?;
            }
            let mut stream = self.stream;
            match stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.is_fresh = false;
                    bytes = &bytes[n..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
