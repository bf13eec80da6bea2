//! The request line and the headers.

use std::sync::Arc;

use super::http2::PREFACE;
use super::{MAX_HEAD, MAX_HEADERS, Request, RequestRefusal};

/// How the body is delimited.
#[derive(Clone, Copy)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    /// Longer than what is taken.
    TooLong,
}

/// A request whose body is still to come.
pub(super) struct Head {
    pub(super) request: Request,
    pub(super) framing: Framing,
    pub(super) expects_continue: bool,
}

/// How the lines of a head end. The first line decides for all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    /// CRLF, as HTTP requires.
    CrLf,
    /// LF alone, as a person types it: `printf 'GET /healthz HTTP/1.0
    /// ' | nc HOST 2000`.
    Lf,
}

/// Reads one head off the front of `input`, of whose body at most `max_body` bytes are taken: the
/// head and its length, or `None` when it is not complete.
///
/// It looks at the whole prefix every time, so that a refusal comes with the byte that causes it:
/// a TLS hello is answered at once, not when the read deadline ends.
pub(super) fn parse(
    input: &[u8],
    max_body: usize,
) -> Result<Option<(Head, usize)>, RequestRefusal> {
    let window = &input[..input.len().min(MAX_HEAD)];
    // httparse accepts any mixture of both line ends; another HTTP reader in front of the daemon
    // may not. So it is given the head only up to the first line that ends differently, and an
    // error after that cannot hide this one.
    let odd = odd_line(window);
    let window = &window[..odd.unwrap_or(window.len())];
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut slots);
    let status = parsed.parse(window).map_err(|e| match e {
        httparse::Error::TooManyHeaders => RequestRefusal::HeadTooLarge,
        httparse::Error::Version if window.starts_with(PREFACE) => RequestRefusal::Http2,
        httparse::Error::Version => RequestRefusal::Version,
        httparse::Error::HeaderName => RequestRefusal::Malformed("a header name"),
        httparse::Error::HeaderValue => RequestRefusal::Malformed("a header value"),
        _ => RequestRefusal::Malformed("the request line"),
    })?;
    match status {
        // The last line of the head is the odd one.
        httparse::Status::Complete(length) if odd == Some(length) => {}
        // What stands behind the head belongs to the body.
        httparse::Status::Complete(length) => {
            return understand(&parsed, max_body).map(|head| Some((head, length)));
        }
        httparse::Status::Partial if odd.is_some() => {}
        httparse::Status::Partial if window.len() == MAX_HEAD => {
            return Err(RequestRefusal::HeadTooLarge);
        }
        httparse::Status::Partial => return Ok(None),
    }
    Err(RequestRefusal::Malformed("lines that end in two ways"))
}

/// The end of the first line in `window` that ends otherwise than the first.
fn odd_line(window: &[u8]) -> Option<usize> {
    let mut first = None;
    let ends = (0..window.len()).filter(|&at| window[at] == b'\n');
    for at in ends {
        let end = match window[..at].ends_with(b"\r") {
            true => LineEnd::CrLf,
            false => LineEnd::Lf,
        };
        if *first.get_or_insert(end) != end {
            return Some(at + 1);
        }
    }
    None
}

fn understand(parsed: &httparse::Request<'_, '_>, max_body: usize) -> Result<Head, RequestRefusal> {
    let http10 = parsed.version == Some(0);
    let mut length: Option<usize> = None;
    let mut chunked = false;
    let mut hosts = 0;
    let mut keep_alive = !http10;
    let mut close = false;
    let mut expects_continue = false;
    let mut headers = Vec::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let value = header.value;
        match header.name {
            n if n.eq_ignore_ascii_case("content-length") => {
                if length.is_some() {
                    return Err(RequestRefusal::Malformed("two Content-Length headers"));
                }
                length = Some(content_length(value)?);
            }
            n if n.eq_ignore_ascii_case("transfer-encoding") => {
                if chunked {
                    return Err(RequestRefusal::Malformed("two Transfer-Encoding headers"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(RequestRefusal::Coding);
                }
                chunked = true;
            }
            n if n.eq_ignore_ascii_case("host") => hosts += 1,
            n if n.eq_ignore_ascii_case("connection") => {
                for token in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                    close |= token.eq_ignore_ascii_case(b"close");
                    keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            // HTTP/1.0 has no interim answers (RFC 9110, 10.1.1).
            n if n.eq_ignore_ascii_case("expect") && !http10 => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(RequestRefusal::Expectation);
                }
                expects_continue = true;
            }
            _ => {}
        }
        headers.push((header.name.to_owned(), value.to_vec()));
    }
    // RFC 9112, 3.2: exactly one in HTTP/1.1.
    if hosts > 1 || (hosts == 0 && !http10) {
        return Err(RequestRefusal::Malformed("not exactly one Host header"));
    }
    if chunked && (http10 || length.is_some()) {
        return Err(RequestRefusal::Malformed(
            "Transfer-Encoding beside Content-Length or in HTTP/1.0",
        ));
    }
    let framing = match length {
        _ if chunked => Framing::Chunked,
        Some(length) if length > max_body => Framing::TooLong,
        length => Framing::Length(length.unwrap_or(0)),
    };
    Ok(Head {
        request: Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            target: origin_form(parsed.path.unwrap_or_default())?,
            http10,
            keep_alive: keep_alive && !close,
            headers,
            body: Arc::default(),
        },
        framing,
        expects_continue,
    })
}

/// Digits only: no sign, no blanks, no list.
fn content_length(value: &[u8]) -> Result<usize, RequestRefusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(RequestRefusal::Malformed("Content-Length is not a number"));
    }
    // Digits that overflow are a length, only one far over the limit.
    Ok(value.iter().fold(0usize, |length, digit| {
        length
            .saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'))
    }))
}

/// The path and query of a target: what follows the authority in absolute form (RFC 9112, 3.2.2).
fn origin_form(target: &str) -> Result<String, RequestRefusal> {
    if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(RequestRefusal::Malformed("the request target"));
    }
    if target.starts_with('/') {
        return Ok(target.to_owned());
    }
    let authority = ["http://", "https://"].iter().find_map(|scheme| {
        let start = target.get(..scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme)
            .then(|| &target[scheme.len()..])
    });
    let Some(authority) = authority else {
        return Err(RequestRefusal::Malformed(
            "the request target is not a path",
        ));
    };
    match authority.find(['/', '?']) {
        None => Ok("/".to_owned()),
        Some(at) if authority.as_bytes()[at] == b'?' => Ok(format!("/{}", &authority[at..])),
        Some(at) => Ok(authority[at..].to_owned()),
    }
}
