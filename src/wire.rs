//! The connections that batches go out on: one look, one write and one answer a request.
//!
//! ureq opens them, with names, proxies and TLS. What goes over an open one is written and read
//! here, because there is so little of it: a request of ours has no redirect, no cookie, no body of
//! unknown length. docs/performance.md has what that spares.

pub mod answer;

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport, time,
};

use crate::resolver::Remembering;
use crate::retry::Answer;
use answer::{BadAnswer, Reader, Step};

/// How long things may take.
pub struct Limits {
    /// Proxy, TCP and TLS handshakes together.
    pub connect: Duration,
    /// One request whole, name lookup to last byte.
    pub whole: Duration,
    /// Within it, the longest silence. Being constant, it spares the system call that would set the
    /// time that is left before every read and write.
    pub silence: Duration,
    /// A connection that was idle for longer is not used again.
    pub idle: Duration,
}

/// More than the lines take that every request has. Not much more: from 4 KB on, musl's allocator
/// asks the system for pages, and gives them back after the request.
const HEAD: usize = 512;

/// Connections to one endpoint, kept open between requests.
pub struct Wire {
    endpoint: Uri,
    /// Proxy, trust roots and buffers.
    config: Config,
    connector: Arc<DefaultConnector>,
    resolver: Remembering,
    limits: Limits,
    host: String,
    user_agent: String,
    kept: Mutex<Vec<Kept>>,
    most: usize,
}

struct Kept {
    transport: Box<dyn Transport>,
    since: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum WireError {
    /// No connection, or it broke.
    Transport(ureq::Error),
    /// What came is not an answer.
    Answer(BadAnswer),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Transport(error) => error.fmt(f),
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
        limits: Limits,
        user_agent: String,
        most: usize,
    ) -> Self {
        Wire {
            host: host(&endpoint),
            endpoint,
            config,
            connector: Arc::default(),
            resolver: Remembering::default(),
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
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<Answer, WireError> {
        let end = Instant::now() + self.limits.whole;
        let mut transport = match self.take() {
            Some(transport) => transport,
            None => self.open(end)?,
        };
        let head = self.head(path, headers, body.len());
        let (answer, is_reusable) = self.exchange(&mut *transport, [&head, body], end)?;
        if is_reusable {
            self.keep(transport);
        }
        Ok(answer)
    }

    /// The answer, and whether the connection can carry another request.
    fn exchange(
        &self,
        transport: &mut dyn Transport,
        request: [&[u8]; 2],
        end: Instant,
    ) -> Result<(Answer, bool), WireError> {
        match self.send(transport, request, end) {
            Ok(()) => self.receive(transport, end),
            // Who answers before everything has come may close the connection upon it.
            Err(error @ ureq::Error::Io(_)) => match self.receive(transport, end) {
                Ok((answer, _)) => Ok((answer, false)),
                Err(_) => Err(error.into()),
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
        // A CONNECT proxy looks the name up itself.
        let addrs = match self.config.proxy() {
            Some(_) => self.resolver.empty(),
            None => {
                let timeout = self.left(end, Timeout::Resolve);
                self.resolver
                    .resolve(&self.endpoint, &self.config, timeout)?
            }
        };
        let connector = Arc::clone(&self.connector);
        let connect = move |details: &ConnectionDetails<'_>| {
            connector
                .connect(details, None)?
                .ok_or(ureq::Error::ConnectionFailed)
        };
        let mut timeout = self.left(end, Timeout::Connect);
        timeout.after = (*timeout.after).min(self.limits.connect).into();
        let details = ConnectionDetails {
            uri: &self.endpoint,
            addrs,
            config: &self.config,
            request_level: false,
            resolver: &self.resolver,
            now: time::Instant::now(),
            timeout,
            current_time: Arc::new(time::Instant::now),
            run_connector: Arc::new(connect.clone()),
            // Nobody interrupts a request: it ends within its limits.
            register_shutdown: Arc::new(|_| Ok(())),
        };
        let transport = connect(&details)?;
        if details.needs_tls() && !transport.is_tls() {
            return Err(ureq::Error::TlsRequired.into());
        }
        Ok(transport)
    }

    fn head(&self, path: &str, headers: &[(&str, String)], length: usize) -> Vec<u8> {
        let lines = headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4);
        let mut head = Vec::with_capacity(HEAD + lines.sum::<usize>());
        // Writing to a Vec cannot fail.
        let _ = write!(
            head,
            "POST {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: {}\r\ncontent-length: {length}\r\n",
            self.host, self.user_agent
        );
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    fn send(
        &self,
        transport: &mut dyn Transport,
        request: [&[u8]; 2],
        end: Instant,
    ) -> Result<(), ureq::Error> {
        let mut filled = 0;
        for mut part in request {
            while !part.is_empty() {
                let output = &mut transport.buffers().output()[filled..];
                let amount = output.len().min(part.len());
                output[..amount].copy_from_slice(&part[..amount]);
                let is_full = amount == output.len();
                part = &part[amount..];
                filled += amount;
                if is_full {
                    transport.transmit_output(filled, self.left(end, Timeout::SendBody))?;
                    filled = 0;
                }
            }
        }
        if filled > 0 {
            transport.transmit_output(filled, self.left(end, Timeout::SendBody))?;
        }
        Ok(())
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
    let default = match endpoint.scheme_str() {
        Some("http") => 80,
        _ => 443,
    };
    match endpoint.port_u16() {
        Some(port) if port != default => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests;
