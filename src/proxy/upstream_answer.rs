//! An answer of X-Ray on its way to a client.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use ureq::http;

use super::action::ApiAction;
use super::budget::Charge;
use super::forward::Forwarder;
use super::handler::{Body, ForwardError, Response};
use super::headers;
use super::masking::Mask;
use super::upstream_request::{broken_off, transport};
use crate::aws::clock::{Reading, SigningTime};
use crate::aws::error_codes::ServiceError;
use crate::http::call::CancellableCall;
use crate::http::server::Request;

/// At most this much of an error answer is read to find the error code.
const MAX_ERROR: u64 = 16 * 1024;

/// An answer, with what is known of its request.
pub(super) struct Asked {
    pub(super) response: http::Response<ureq::Body>,
    /// Secrets that stood in the request.
    pub(super) mask: Mask,
    pub(super) signed: SigningTime,
    pub(super) received: Reading,
    /// Who was asked.
    pub(super) host: String,
    /// The beginning of the body of an error answer.
    pub(super) read: Vec<u8>,
}

impl Asked {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Reads the beginning of the body of an error answer to `call`.
    pub(super) fn read_error(&mut self, call: &CancellableCall) -> Result<(), ForwardError> {
        if self.status() < 400 {
            return Ok(());
        }
        let body = self.response.body_mut().as_reader();
        let read = body
            .take(MAX_ERROR)
            .read_to_end(&mut self.read)
            .map_err(|error| transport(error.into(), &self.host))?;
        // That was all of it.
        if (read as u64) < MAX_ERROR {
            call.finish();
        }
        Ok(())
    }

    /// X-Ray's error. Without secrets.
    pub(super) fn error(&self) -> ServiceError {
        let header = self.response.headers().get("x-amzn-errortype");
        let header = header.and_then(|value| value.to_str().ok());
        let mut error = ServiceError::read(header, &self.mask.text(&self.read));
        error.code = String::from_utf8_lossy(&self.mask.text(error.code.as_bytes())).into_owned();
        error
    }

    pub(super) fn into_response(
        self,
        request: &Request,
        follow: impl FnOnce(Box<dyn Read + Send>) -> UpstreamBody,
    ) -> Response {
        let (parts, body) = self.response.into_parts();
        // For a HEAD the header says more than the body, which has none.
        let declared = parts
            .headers
            .get("content-length")
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let mut passed = headers::passed_back(&parts.headers);
        for (_, value) in &mut passed {
            *value = self.mask.text(value);
        }
        let body = if request.method == "HEAD" {
            Body::Head(declared)
        } else {
            // ureq takes a length of zero for no body, of which it tells no length.
            let length = body.content_length().or(declared
                .filter(|&length| length == 0 && !parts.headers.contains_key("transfer-encoding")));
            let body = Cursor::new(self.read).chain(body.into_reader());
            let reader = Box::new(follow(self.mask.reader(body)));
            Body::Stream { reader, length }
        };
        Response::new(parts.status.as_u16(), passed, body)
    }
}

/// The body of an answer, while it is read.
pub(super) struct UpstreamBody {
    pub(super) masked: Box<dyn Read + Send>,
    pub(super) host: String,
    pub(super) call: Arc<CancellableCall>,
    pub(super) shared: Arc<Forwarder>,
    pub(super) action: ApiAction,
    pub(super) _memory: Charge,
}

impl Read for UpstreamBody {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.masked.read(out);
        match &read {
            Ok(0) => self.call.finish(),
            Ok(_) => {}
            Err(_) if self.call.is_cancelled() => {}
            Err(error) => {
                let error = broken_off(error, &self.host);
                self.shared.reports.failure(self.action, &error);
            }
        }
        read
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        self.call.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::clock::Clock;
    use crate::http::call::tests::agent;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    /// Its connection may belong to another client's call by then.
    #[test]
    fn a_client_that_leaves_after_an_error_was_read_closes_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            // Both requests come by one connection.
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            for _ in 0..2 {
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}";
                (&stream).write_all(answer).unwrap();
            }
        });
        let agent = agent(address);
        let url = format!("http://{address}/");
        let ask = |call: &Arc<CancellableCall>| Asked {
            response: call.send(|| agent.get(&url).call()).unwrap(),
            mask: Mask::new([]),
            signed: Clock::new(false).signing_time(),
            received: Reading::now(),
            host: String::new(),
            read: Vec::new(),
        };
        let (first, second) = (Arc::default(), Arc::default());
        let mut refused = ask(&first);
        refused.read_error(&first).unwrap();
        assert_eq!(refused.read, b"{}");
        first.cancel();
        assert_eq!(ask(&second).status(), 403);
        server.join().unwrap();
    }
}
