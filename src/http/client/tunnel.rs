//! A tunnel through a proxy to the target by CONNECT, and the messages when the proxy refuses.

use std::io::{self, Read, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ureq::Proxy;

use crate::http::error::{TransportError, TransportErrorKind};

/// The head of a proxy's answer is shorter. Its body does not matter.
const MAX_HEAD: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;

/// Asks the proxy at the other end of `stream` to connect it to `target`, which is host and port.
///
/// # Errors
/// When it does not, in words.
pub(super) fn open(
    stream: &mut (impl Read + Write),
    proxy: &Proxy,
    target: &str,
    user_agent: &str,
) -> Result<(), TransportError> {
    let name = format!("{}:{}", proxy.host(), proxy.port());
    let head = request(proxy, target, user_agent);
    // In one write, because some proxies read only once.
    let status = send(stream, head.as_bytes()).and_then(|()| status(stream));
    match status {
        Ok(200..300) => Ok(()),
        Ok(status) => Err(TransportError::new(
            TransportErrorKind::Proxy,
            refusal(status, &name, target, has_credentials(proxy)),
        )),
        Err(error) if is_timeout(&error) => Err(TransportError::new(
            TransportErrorKind::ConnectTimeout,
            format!("the proxy {name} has not connected to {target} in time"),
        )),
        Err(error) => Err(TransportError::new(
            TransportErrorKind::Proxy,
            format!("{name} does not answer as an HTTP proxy does ({error})"),
        )),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(ureq::Error::Timeout(_)))
}

fn has_credentials(proxy: &Proxy) -> bool {
    proxy.username().is_some() || proxy.password().is_some()
}

fn request(proxy: &Proxy, target: &str, user_agent: &str) -> String {
    let mut head =
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {user_agent}\r\n");
    if has_credentials(proxy) {
        let user = proxy.username().unwrap_or_default();
        let password = proxy.password().unwrap_or_default();
        let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
        head.push_str(&format!("Proxy-Authorization: Basic {basic}\r\n"));
    }
    head.push_str("\r\n");
    head
}

fn send(stream: &mut impl Write, head: &[u8]) -> io::Result<()> {
    stream.write_all(head)?;
    stream.flush()
}

fn status(stream: &mut impl Read) -> io::Result<u16> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while head.len() < MAX_HEAD {
        let amount = stream.read(&mut buffer)?;
        if amount == 0 {
            return Err(io::Error::other("it closed the connection"));
        }
        head.extend_from_slice(&buffer[..amount]);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let is_whole = response.parse(&head).map_err(io::Error::other)?;
        if let (httparse::Status::Complete(length), Some(status)) = (is_whole, response.code) {
            let is_success = (200..300).contains(&status);
            if is_success && length < head.len() {
                return Err(io::Error::other("it sends data before it is asked"));
            }
            return Ok(status);
        }
    }
    Err(io::Error::other("its headers do not end"))
}

/// What is wrong and what to do.
fn refusal(status: u16, proxy: &str, target: &str, has_credentials: bool) -> String {
    match status {
        407 if has_credentials => format!(
            "the proxy {proxy} does not accept the user and password in its address (407); only \
             Basic authentication is spoken, and special characters must be written as %XX"
        ),
        407 => format!(
            "the proxy {proxy} wants a user and a password (407); write them into its address: \
             http://USER:PASSWORD@{proxy}"
        ),
        400 | 403 | 405 => format!(
            "the proxy {proxy} does not allow connections to {target} ({status}); ask whoever runs \
             it to allow CONNECT to this name, or exempt it by NO_PROXY"
        ),
        500.. => format!(
            "the proxy {proxy} could not connect to {target} ({status}); is the name right, and \
             may the proxy reach it?"
        ),
        _ => format!("the proxy {proxy} answered CONNECT to {target} with {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_what_a_proxy_needs_and_no_more() {
        let target = "xray.us-east-1.amazonaws.com:443";
        let plain = "CONNECT xray.us-east-1.amazonaws.com:443 HTTP/1.1\r\n\
                     Host: xray.us-east-1.amazonaws.com:443\r\nUser-Agent: xray/test\r\n";
        for (proxy, expected) in [
            ("http://corp:3128", format!("{plain}\r\n")),
            (
                // us@er:p:w
                "http://us%40er:p%3Aw@corp:3128",
                format!("{plain}Proxy-Authorization: Basic dXNAZXI6cDp3\r\n\r\n"),
            ),
            (
                // us:
                "http://us@corp:3128",
                format!("{plain}Proxy-Authorization: Basic dXM6\r\n\r\n"),
            ),
        ] {
            let proxy = Proxy::new(proxy).unwrap();
            assert_eq!(request(&proxy, target, "xray/test"), expected);
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (status, has_credentials, expected) in [
            (407, false, "wants a user and a password (407); write them"),
            (407, true, "does not accept the user and password"),
            (403, false, "allow CONNECT to this name"),
            (502, false, "could not connect to t:443 (502)"),
            (302, false, "answered CONNECT to t:443 with 302"),
        ] {
            let text = refusal(status, "corp:3128", "t:443", has_credentials);
            assert!(text.contains(expected), "{text}");
            assert!(text.contains("the proxy corp:3128 "), "{text}");
        }
    }
}
