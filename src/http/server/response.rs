//! The head of an answer, and the framing of its body.

use std::io::Write;

use ureq::http::StatusCode;

/// The interim answer to `Expect: 100-continue`.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How the client finds the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// So many bytes follow.
    Length(u64),
    /// Chunks follow: write each between [`chunk_start`] and CRLF, then [`chunk_end`].
    Chunked,
    /// The body ends with the connection, the only way left with HTTP/1.0.
    UntilClose,
    /// The status or the method allows no body: no header says anything about it.
    Absent,
}

/// What the answer says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// HTTP/1.1, kept open: the default, not said.
    Open,
    /// HTTP/1.0, kept open: must be said.
    KeepAlive,
    /// Closed after this answer.
    Close,
}

/// Appends an answer's head. `headers` must not hold framing or hop-by-hop fields; their values
/// must hold no CR or LF.
pub(crate) fn response_head(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(String, Vec<u8>)],
    framing: BodyFraming,
    persistence: Persistence,
) {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or_default();
    // RFC 9112, 4: the blank after the status is there even without a reason.
    line(out, format_args!("HTTP/1.1 {status} {reason}"));
    for (name, value) in headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    match framing {
        BodyFraming::Length(length) => line(out, format_args!("Content-Length: {length}")),
        BodyFraming::Chunked => line(out, format_args!("Transfer-Encoding: chunked")),
        BodyFraming::UntilClose | BodyFraming::Absent => {}
    }
    match persistence {
        Persistence::Open => {}
        Persistence::KeepAlive => line(out, format_args!("Connection: keep-alive")),
        Persistence::Close => line(out, format_args!("Connection: close")),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends what goes before a chunk of `length` bytes (never 0: that would end the body).
pub(crate) fn chunk_start(out: &mut Vec<u8>, length: usize) {
    line(out, format_args!("{length:x}"));
}

/// Appends what ends a chunked body.
pub(crate) fn chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{text}\r\n");
}
