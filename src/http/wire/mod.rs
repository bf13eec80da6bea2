//! The connections that batches go out on: a look, a request and an answer at a time. Where the
//! buffers are large enough for it, as without TLS, a request is one write.
//!
//! ureq opens them, with names, proxies and TLS. What goes over an open one is written and read
//! here, because there is so little of it: a request of ours has no redirect, no cookie, no body of
//! unknown length. docs/performance.md has what that spares.

pub mod answer;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, NextTimeout, Transport, time};

use crate::http::url::default_port;
use crate::upload::response::Answer;
use answer::{BadAnswer, Reader, Step};

/// How long things may take.
pub struct Limits {
    /// Proxy, TCP and TLS handshakes together.
    pub connect: Duration,
    /// One request whole, name lookup to last byte. Looked at between reads and writes: one write
    /// to a peer that takes a little every now and then is not cut short.
    pub whole: Duration,
    /// Within it, the longest silence. Being constant, it spares the system call that would set the
    /// time that is left before every read and write.
    pub silence: Duration,
    /// A connection that was idle for longer is not used again.
    pub idle: Duration,
}

/// Connections to one endpoint, kept open between requests.
pub struct Wire {
    endpoint: Uri,
    /// Proxy, trust roots and buffers.
    config: Config,
    connect: Arc<Connect>,
    limits: Limits,
    host: String,
    user_agent: String,
    kept: Mutex<Vec<Kept>>,
    most: usize,
}

/// Opens a connection.
pub type Connect =
    dyn Fn(&ConnectionDetails<'_>) -> Result<Box<dyn Transport>, ureq::Error> + Send + Sync;

struct Kept {
    transport: Box<dyn Transport>,
    since: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum WireError {
    /// No connection, or it broke.
    Transport(ureq::Error),
    /// The head does not fit the buffer, which is so long.
    HeadTooLong(usize),
    /// What came is not an answer.
    Answer(BadAnswer),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Transport(error) => error.fmt(f),
            WireError::HeadTooLong(room) => write!(
                f,
                "the request's head is longer than {room} bytes; is the session token what it should be?"
            ),
            WireError::Answer(bad) => bad.fmt(f),
        }
    }
}

impl std::error::Error for WireError {}

impl From<ureq::Error> for WireError {
    fn from(error: ureq::Error) -> Self {
        WireError::Transport(error)
    }
}

impl Wire {
    /// To `endpoint`, which has scheme and host, with at most `most` idle connections.
    pub fn new(
        endpoint: Uri,
        config: Config,
        connect: Arc<Connect>,
        limits: Limits,
        user_agent: String,
        most: usize,
    ) -> Self {
        Wire {
            host: host(&endpoint),
            endpoint,
            config,
            connect,
            limits,
            user_agent,
            kept: Mutex::default(),
            most,
        }
    }

    /// The `host` header of the requests.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path of a call: below that of the endpoint, which usually has none.
    pub fn path(&self, call: &str) -> String {
        format!("{}/{call}", self.endpoint.path().trim_end_matches('/'))
    }

    /// Posts `body` to `path`. `headers` are those that do not follow from that, their values
    /// without CR or LF; they hold secrets.
    ///
    /// # Errors
    /// When no whole answer came within the limits. The request may have arrived nevertheless.
    pub fn post(
        &self,
        path: &str,
        headers: &[(&str, Cow<'_, str>)],
        body: &[u8],
    ) -> Result<Answer, WireError> {
        let end = Instant::now() + self.limits.whole;
        let mut transport = match self.take() {
            Some(transport) => transport,
            None => self.open(end)?,
        };
        let output = transport.buffers().output();
        let room = output.len();
        let head = self
            .write_head(path, headers, body.len(), output)
            .map_err(|_| WireError::HeadTooLong(room))?;
        let (answer, is_reusable) = self.exchange(&mut *transport, head, body, end)?;
        if is_reusable {
            self.keep(transport);
        }
        Ok(answer)
    }

    /// Sends a request whose head is in the first `head` bytes of the output. Gives the answer, and
    /// whether the connection can carry another request.
    fn exchange(
        &self,
        transport: &mut dyn Transport,
        head: usize,
        body: &[u8],
        end: Instant,
    ) -> Result<(Answer, bool), WireError> {
        match self.send(transport, head, body, end) {
            Ok(()) => self.receive(transport, end),
            // Who refuses a request before everything has come may close the connection upon it.
            // It cannot have taken it, whatever it says.
            Err(error @ ureq::Error::Io(_)) => match self.receive(transport, end) {
                Ok((answer, _)) if answer.status >= 300 => Ok((answer, false)),
                _ => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The connection that was used last, while it is open.
    fn take(&self) -> Option<Box<dyn Transport>> {
        loop {
            let mut kept = self.lock().pop()?;
            if kept.since.elapsed() < self.limits.idle && kept.transport.is_open() {
                return Some(kept.transport);
            }
        }
    }

    fn keep(&self, transport: Box<dyn Transport>) {
        let now = Instant::now();
        let mut kept = self.lock();
        kept.retain(|kept| now - kept.since < self.limits.idle);
        if kept.len() < self.most {
            kept.push(Kept {
                transport,
                since: now,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, end: Instant) -> Result<Box<dyn Transport>, WireError> {
        // The connector looks names up.
        let unused = DefaultResolver::default();
        let mut timeout = self.left(end, Timeout::Connect);
        timeout.after = (*timeout.after).min(self.limits.connect).into();
        let details = ConnectionDetails {
            uri: &self.endpoint,
            addrs: unused.empty(),
            config: &self.config,
            request_level: false,
            resolver: &unused,
            now: time::Instant::now(),
            timeout,
            current_time: Arc::new(time::Instant::now),
            run_connector: Arc::new(|_: &ConnectionDetails<'_>| Err(ureq::Error::ConnectionFailed)),
            // Nobody interrupts a request: it ends within its limits.
            register_shutdown: Arc::new(|_| Ok(())),
        };
        let transport = (self.connect)(&details)?;
        if details.needs_tls() && !transport.is_tls() {
            return Err(ureq::Error::TlsRequired.into());
        }
        Ok(transport)
    }

    /// Straight into the buffer of the connection: with a session token a head is so long that musl's
    /// allocator would map pages for it, and give them back after the request. Answers its length; a
    /// head that does not fit is an error.
    fn write_head(
        &self,
        path: &str,
        headers: &[(&str, Cow<'_, str>)],
        length: usize,
        mut output: &mut [u8],
    ) -> io::Result<usize> {
        let room = output.len();
        write!(
            output,
            "POST {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: {}\r\ncontent-length: {length}\r\n",
            self.host, self.user_agent
        )?;
        for (name, value) in headers {
            write!(output, "{name}: {value}\r\n")?;
        }
        output.write_all(b"\r\n")?;
        Ok(room - output.len())
    }

    /// Sends the first `filled` bytes of the output, then `body`.
    fn send(
        &self,
        transport: &mut dyn Transport,
        mut filled: usize,
        mut body: &[u8],
        end: Instant,
    ) -> Result<(), ureq::Error> {
        loop {
            let output = &mut transport.buffers().output()[filled..];
            let amount = output.len().min(body.len());
            output[..amount].copy_from_slice(&body[..amount]);
            body = &body[amount..];
            transport.transmit_output(filled + amount, self.left(end, Timeout::SendBody))?;
            if body.is_empty() {
                return Ok(());
            }
            filled = 0;
        }
    }

    fn receive(
        &self,
        transport: &mut dyn Transport,
        end: Instant,
    ) -> Result<(Answer, bool), WireError> {
        let mut reader = Reader::default();
        loop {
            let came = transport.await_input(self.left(end, Timeout::RecvResponse))?;
            let input = transport.buffers().input();
            let length = input.len();
            reader.feed(input);
            transport.buffers().input_consume(length);
            match reader.step(!came).map_err(WireError::Answer)? {
                Step::NeedMore => {}
                Step::Answer(answer, is_reusable) => return Ok((answer, is_reusable)),
            }
        }
    }

    fn left(&self, end: Instant, reason: Timeout) -> NextTimeout {
        let silence = Some(self.limits.silence.into());
        NextTimeout {
            after: end.saturating_duration_since(Instant::now()).into(),
            reason,
            per_read: silence,
            per_write: silence,
        }
    }
}

/// Host and port, without the port that the scheme has by itself.
fn host(endpoint: &Uri) -> String {
    let host = endpoint.host().unwrap_or_default();
    match endpoint.port_u16() {
        Some(port) if port != default_port(endpoint) => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests;
