//! A connection as a stream of bytes, plain or through TLS, on which nothing waits longer than it
//! may.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};
use rustls::{ClientConnection, StreamOwned};
use ureq::Timeout;
use ureq::unversioned::transport::NextTimeout;

/// How long reads and writes may take from now on.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimits {
    /// The deadline, and the error message when it has passed.
    pub(super) end: Option<(Instant, Timeout)>,
    /// The longest silence within that time.
    pub(super) read: Option<Duration>,
    pub(super) write: Option<Duration>,
}

impl From<NextTimeout> for TimeLimits {
    fn from(next: NextTimeout) -> Self {
        let end = Instant::now().checked_add(*next.after);
        TimeLimits {
            end: end.map(|end| (end, next.reason)),
            read: next.per_read.map(|limit| *limit),
            write: next.per_write.map(|limit| *limit),
        }
    }
}

impl TimeLimits {
    /// For the steps of opening a connection.
    pub(super) fn to_connect(end: Instant) -> Self {
        TimeLimits {
            end: Some((end, Timeout::Connect)),
            read: None,
            write: None,
        }
    }

    /// The limit for one read or write, at most `silence`, and the error message when it has
    /// passed.
    fn one_call(
        &self,
        silence: Option<Duration>,
        reason: Timeout,
    ) -> io::Result<(Option<Duration>, Timeout)> {
        let Some((end, at_end)) = self.end else {
            return Ok((silence, reason));
        };
        let left = end.saturating_duration_since(Instant::now());
        match silence {
            // Constant as long as enough time is left, so that no system call has to set it again.
            Some(silence) if silence < left => Ok((Some(silence), reason)),
            // The system would take a limit of less than a microsecond for "no limit".
            _ if left < Duration::from_micros(1) => Err(timed_out(at_end)),
            _ => Ok((Some(left), at_end)),
        }
    }
}

fn timed_out(reason: Timeout) -> io::Error {
    ureq::Error::Timeout(reason).into_io()
}

/// A TCP connection whose limits are the system's.
pub(super) struct Tcp {
    /// Shared weakly with the agent, which shuts it down when it is told to.
    stream: Arc<TcpStream>,
    limits: TimeLimits,
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
}

impl Tcp {
    pub(super) fn new(stream: TcpStream, limits: TimeLimits) -> Self {
        Tcp {
            stream: Arc::new(stream),
            limits,
            read_limit: None,
            write_limit: None,
        }
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    fn send(&mut self, write: impl Fn(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            let (limit, reason) = self.limits.one_call(self.limits.write, Timeout::PerWrite)?;
            if limit != self.write_limit {
                self.stream.set_write_timeout(limit)?;
                self.write_limit = limit;
            }
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| late(error, reason)),
            }
        }
    }

    /// Whether it is open and has received no unexpected bytes.
    fn is_quiet(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(&*self.stream, &mut [0; 1], flags).is_err_and(|e| e == rustix::io::Errno::AGAIN)
    }
}

/// An expired limit of the system in the words of the client.
fn late(error: io::Error, reason: Timeout) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => timed_out(reason),
        _ => error,
    }
}

impl Read for Tcp {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let (limit, reason) = self.limits.one_call(self.limits.read, Timeout::PerRead)?;
            if limit != self.read_limit {
                self.stream.set_read_timeout(limit)?;
                self.read_limit = limit;
            }
            match (&*self.stream).read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| late(error, reason)),
            }
        }
    }
}

impl Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(|mut stream| stream.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(|mut stream| stream.write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection, as many layers of TLS as it may have: one to an https proxy, one to the host.
pub(super) enum Stream {
    Tcp(Tcp),
    Tls(Box<StreamOwned<ClientConnection, Stream>>),
}

impl Stream {
    pub(super) fn set_limits(&mut self, limits: TimeLimits) {
        match self {
            Stream::Tcp(tcp) => tcp.limits = limits,
            Stream::Tls(tls) => tls.sock.set_limits(limits),
        }
    }

    /// Whether it is open and has received no unexpected bytes.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Stream::Tcp(tcp) => tcp.is_quiet(),
            // TLS wants to read unless it has data that was not taken yet, or the peer has closed
            // the session.
            Stream::Tls(tls) => tls.conn.wants_read() && tls.sock.is_quiet(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.read(into),
            Stream::Tls(tls) => tls.read(into),
        }
    }
}

/// TLS keeps what is written until [`flush`](Write::flush), or until it holds four records, which
/// then leave together.
impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.write(bytes),
            Stream::Tls(tls) => match tls.conn.writer().write(bytes)? {
                // TLS is full.
                0 => {
                    tls.flush()?;
                    tls.conn.writer().write(bytes)
                }
                written => Ok(written),
            },
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.write_vectored(slices),
            Stream::Tls(_) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                self.write(first.map_or(&[][..], |slice| slice))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(tcp) => tcp.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stream::Tcp(tcp) => write!(f, "{:?}", tcp.stream.peer_addr().ok()),
            Stream::Tls(tls) => write!(f, "TLS over {:?}", tls.sock),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_may_take_the_silence_or_what_is_left() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let limits = |left: u64| TimeLimits {
            end: Some((now + seconds(left), Timeout::Global)),
            read: Some(seconds(600)),
            write: None,
        };
        let silence = Some(seconds(600));
        let call = |left| limits(left).one_call(silence, Timeout::PerRead).unwrap();
        assert_eq!(call(2000), (silence, Timeout::PerRead));
        let (limit, reason) = call(300);
        assert!(limit <= Some(seconds(300)) && limit > Some(seconds(200)));
        assert_eq!(reason, Timeout::Global);
        let (limit, reason) = limits(300).one_call(None, Timeout::PerWrite).unwrap();
        assert!(limit <= Some(seconds(300)));
        assert_eq!(reason, Timeout::Global);
        let error = limits(0).one_call(silence, Timeout::PerRead).unwrap_err();
        let error = ureq::Error::from(error);
        assert!(matches!(error, ureq::Error::Timeout(Timeout::Global)));
        let endless = TimeLimits {
            end: None,
            ..limits(0)
        };
        let call = endless.one_call(silence, Timeout::PerRead).unwrap();
        assert_eq!(call, (silence, Timeout::PerRead));
    }
}
