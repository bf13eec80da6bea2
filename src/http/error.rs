//! The error of a request without an answer. Its message names the host or the proxy.

use std::fmt;
use std::io;

use ureq::Timeout;

/// Why a request got no answer, or not a whole one. Its text names who was asked, what went wrong
/// and, where there is something to do, what to do. It holds no credentials.
#[derive(Debug, PartialEq, Eq)]
pub struct TransportError {
    /// The kind, for counters and decisions.
    pub kind: TransportErrorKind,
    text: String,
}

/// The kinds that are counted or treated differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransportErrorKind {
    /// The name has no address, or no name server answers.
    UnknownHost,
    /// No address could be reached: one refused the connection, and each of the others refused it too or
    /// has no route.
    Refused,
    /// This host has no route to any of the addresses.
    NoRoute,
    /// No connection, or no TLS, in time.
    ConnectTimeout,
    /// Connected, but no whole answer in time.
    Timeout,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// The proxy would not connect to the host.
    Proxy,
    /// A connection that had carried a request before was closed by the other side before a byte of
    /// this answer: the same request may be sent once more on a fresh one.
    ClosedIdle,
    /// Any other error.
    Other,
}

impl TransportError {
    pub(crate) fn new(kind: TransportErrorKind, text: String) -> Self {
        TransportError { kind, text }
    }

    /// What `error`, from a request to `host`, is.
    pub(crate) fn from_ureq(error: ureq::Error, host: &str) -> Self {
        use TransportErrorKind as Kind;
        let text = |kind, text: &str| Self::new(kind, format!("{host} {text}"));
        match error {
            ureq::Error::Other(inner) => match inner.downcast::<TransportError>() {
                Ok(named) => *named,
                Err(inner) => Self::new(Kind::Other, format!("{host}: {inner}")),
            },
            ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => {
                text(Kind::Timeout, "has gone silent")
            }
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                text(Kind::ConnectTimeout, "could not be connected to in time")
            }
            ureq::Error::Timeout(_) => text(Kind::Timeout, "did not answer in time"),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                text(Kind::Other, "closed the connection before its answer ended")
            }
            ureq::Error::Io(error) => Self::new(Kind::Other, format!("{host}: {error}")),
            ureq::Error::LargeResponseHeader(_, limit) => Self::new(
                Kind::Other,
                format!("{host} answered with headers longer than {limit} bytes"),
            ),
            ureq::Error::Protocol(error) => Self::new(
                Kind::Other,
                format!("{host} does not answer as an HTTP server does ({error})"),
            ),
            // These repeat the URL or a header.
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Self::new(
                Kind::Other,
                format!("the request to {host} cannot be written: bad URL or header"),
            ),
            error => Self::new(Kind::Other, format!("{host}: {error}")),
        }
    }

    /// The kind of the connection's own error, if it is more precise than ureq's.
    pub(crate) fn kind_of(error: &ureq::Error) -> Option<TransportErrorKind> {
        match error {
            ureq::Error::Other(inner) => Some(inner.downcast_ref::<TransportError>()?.kind),
            _ => None,
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TransportError {}

impl From<TransportError> for ureq::Error {
    fn from(error: TransportError) -> Self {
        ureq::Error::Other(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_names_the_host() {
        use TransportErrorKind as Kind;
        let named = TransportError::new(Kind::Refused, "connection refused by h:443".to_owned());
        for (error, kind, text) in [
            (named.into(), Kind::Refused, "connection refused by h:443"),
            (
                ureq::Error::Timeout(Timeout::PerRead),
                Kind::Timeout,
                "h has gone silent",
            ),
            (
                ureq::Error::Timeout(Timeout::Global),
                Kind::Timeout,
                "h did not answer in time",
            ),
            (
                io::Error::from(io::ErrorKind::UnexpectedEof).into(),
                Kind::Other,
                "h closed the connection before its answer ended",
            ),
            (
                io::Error::from(io::ErrorKind::ConnectionReset).into(),
                Kind::Other,
                "h: connection reset",
            ),
            (ureq::Error::Other("odd".into()), Kind::Other, "h: odd"),
            (
                ureq::Error::BadUri("http://u:secret@h/".to_owned()),
                Kind::Other,
                "the request to h cannot be written: bad URL or header",
            ),
        ] {
            let found = TransportError::from_ureq(error, "h");
            assert_eq!((found.kind, found.to_string().as_str()), (kind, text));
        }
    }
}
