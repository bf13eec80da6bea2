//! Signs requests anew and sends them to X-Ray.

use std::io::{Cursor, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use ureq::http::{self, HeaderMap};
use ureq::{Agent, AsSendBody};

use super::headers;
use super::upstream::{Body, ForwardError, Response, Upstream};
use crate::aws::clock::{Clock, DatedAnswer, Reading, SigningTime};
use crate::aws::sigv4::{SignRequest, sign};
use crate::credentials::target::Target;
use crate::credentials::{CredentialCache, IssuedCredentials};
use crate::http::server::Request;
use crate::upload::response::{HoldReason, Meaning, XRayResponse};

/// How long a request waits for the region and for credentials, in all. The Java SDK and the PHP
/// sampler give up after 2 s and then sample blindly for 300 s; a call over a warm connection
/// takes a fraction of what is left.
const PATIENCE: Duration = Duration::from_millis(1500);

/// As much of a refusal is read to find its error code, and to hide the session token, of which it
/// may have a kilobyte or two.
const MAX_REASON: u64 = 16 * 1024;

/// The signing side of the proxy.
pub struct Signed {
    clock: Arc<Clock>,
    target: Mutex<Known>,
    changed: Condvar,
}

enum Known {
    NotYet,
    Is(Arc<Target>),
    Stopped,
}

/// A response, and what it was asked with.
struct Asked {
    response: http::Response<ureq::Body>,
    signed: SigningTime,
    received: Reading,
}

impl Signed {
    /// Requests wait a moment, then fail, until the [target](Self::set_target) is set.
    pub fn new(clock: Arc<Clock>) -> Self {
        Signed {
            clock,
            target: Mutex::new(Known::NotYet),
            changed: Condvar::new(),
        }
    }

    /// Where requests go from now on.
    pub fn set_target(&self, target: Arc<Target>) {
        let mut known = self.lock();
        if !matches!(*known, Known::Stopped) {
            *known = Known::Is(target);
            self.changed.notify_all();
        }
    }

    /// Asks the service for nothing, unsigned, once the target is set: name, TLS and clock skew
    /// are then known before the first client asks. Blocks; no answer is no harm.
    pub fn warm(&self) {
        let Some(target) = self.target(Duration::ZERO) else {
            return;
        };
        let signed = self.clock.signing_time();
        let endpoint = target.forwards.current();
        if let Ok(response) = endpoint.agent.head(format!("{}/", endpoint.url)).call() {
            self.learn(signed, Reading::now(), response.headers(), "");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn target(&self, limit: Duration) -> Option<Arc<Target>> {
        let (known, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |known| matches!(known, Known::NotYet))
            .unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Known::Is(target) => Some(Arc::clone(target)),
            Known::NotYet | Known::Stopped => None,
        }
    }

    /// Whether the answer with this header refuses the time of the request.
    fn learn(
        &self,
        signed: SigningTime,
        received: Reading,
        headers: &HeaderMap,
        code: &str,
    ) -> bool {
        let answer = DatedAnswer::new(received, headers, code);
        self.clock.learn(signed, &answer)
    }

    fn ask(
        &self,
        target: &Target,
        request: &Request,
        headers: &[(&str, String)],
        credentials: &Credentials,
    ) -> Result<Asked, ForwardError> {
        let endpoint = target.forwards.current();
        let url = format!("{}{}", endpoint.url, request.target);
        let mut upstream = http::Request::builder()
            .method(request.method.as_str())
            .uri(&url);
        for (name, value) in headers {
            upstream = upstream.header(*name, value);
        }
        let to_sign: Vec<(&str, &str)> = headers
            .iter()
            .filter(|(name, _)| *name == headers::SIGNED)
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        if upstream.uri_ref().is_none() {
            return Err(ForwardError::Request);
        }
        let signed = self.clock.signing_time();
        let signature = sign(&SignRequest {
            method: &request.method,
            url: &url,
            headers: &to_sign,
            body: &request.body,
            region: &target.region,
            service: "xray",
            time: signed.time(),
            credentials,
        })
        .map_err(ForwardError::Sign)?;
        for (name, value) in &signature {
            upstream = upstream.header(name, value);
        }
        let response = send(&endpoint.agent, upstream, request)?;
        // Passed on, it would make the client wait for another answer on a connection that has
        // none.
        if response.status().is_informational() {
            let unasked = std::io::Error::other("it switched protocols unasked");
            return Err(ForwardError::Transport(Box::new(unasked.into())));
        }
        Ok(Asked {
            response,
            signed,
            received: Reading::now(),
        })
    }

    /// Whether the refusal of a request signed with `issued` is cured by newer ones or by the
    /// time just learnt; the credentials to sign with then.
    fn cure(
        &self,
        asked: &Asked,
        reason: &XRayResponse,
        (cache, issued): (&CredentialCache, &IssuedCredentials),
        deadline: Instant,
    ) -> Option<IssuedCredentials> {
        let code = reason.code.as_deref().unwrap_or_default();
        let headers = asked.response.headers();
        if self.learn(asked.signed, asked.received, headers, code) {
            return Some(issued.clone());
        }
        let stale = matches!(reason.meaning(), Meaning::Hold(HoldReason::Credentials));
        if !stale || !cache.reject(issued.generation) {
            return None;
        }
        let newer = cache.wait(left(deadline))?;
        (newer.generation != issued.generation).then_some(newer)
    }
}

impl Upstream for Signed {
    fn forward(&self, request: &Request) -> Result<Response, ForwardError> {
        // Whoever answers it sends the request back as it came: signature and token too.
        if request.method.eq_ignore_ascii_case("TRACE") {
            return Err(ForwardError::Request);
        }
        let deadline = Instant::now() + PATIENCE;
        let headers = headers::forwarded(request)?;
        let target = self.target(left(deadline)).ok_or(ForwardError::NoTarget)?;
        let cache = &target.credentials;
        let mut issued = cache
            .wait(left(deadline))
            .ok_or(ForwardError::NoCredentials)?;
        let mut asked = self.ask(&target, request, &headers, &issued.credentials)?;
        let mut read = refusal(&mut asked.response)?;
        if read.is_none() {
            self.learn(asked.signed, asked.received, asked.response.headers(), "");
        }
        if let Some(body) = &read {
            let reason = reason(&asked.response, body);
            if let Some(newer) = self.cure(&asked, &reason, (cache, &issued), deadline) {
                asked = self.ask(&target, request, &headers, &newer.credentials)?;
                read = refusal(&mut asked.response)?;
                issued = newer;
            }
        }
        let mut read = read.unwrap_or_default();
        if let Some(token) = issued.credentials.session_token() {
            mask(&mut read, token.as_bytes());
        }
        Ok(passed_back(request, read, asked.response))
    }

    fn stop(&self) {
        let mut known = self.lock();
        if let Known::Is(target) = &*known {
            target.forwards.shutdown();
        }
        *known = Known::Stopped;
        self.changed.notify_all();
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn send(
    agent: &Agent,
    upstream: http::request::Builder,
    request: &Request,
) -> Result<http::Response<ureq::Body>, ForwardError> {
    // A body that is empty is announced as such for the methods that have one, and left away for
    // the others.
    let has_body =
        !request.body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
    let sent = if has_body {
        run(agent, upstream, request.body.as_slice())
    } else {
        run(agent, upstream, ())
    };
    sent.map_err(|error| match error {
        // These repeat the URL, which is the client's.
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => ForwardError::Request,
        error => ForwardError::Transport(Box::new(error)),
    })
}

fn run(
    agent: &Agent,
    upstream: http::request::Builder,
    body: impl AsSendBody,
) -> Result<http::Response<ureq::Body>, ureq::Error> {
    let upstream = upstream.body(body)?;
    // What the client did not send is not sent for it.
    let upstream = agent
        .configure_request(upstream)
        .accept("")
        .accept_encoding("")
        .allow_non_standard_methods(true)
        .build();
    agent.run(upstream)
}

/// The beginning of a refusal's body; `None` for any other answer.
fn refusal(response: &mut http::Response<ureq::Body>) -> Result<Option<Vec<u8>>, ForwardError> {
    if !matches!(response.status().as_u16(), 400 | 401 | 403) {
        return Ok(None);
    }
    let mut read = Vec::new();
    response
        .body_mut()
        .as_reader()
        .take(MAX_REASON)
        .read_to_end(&mut read)
        .map_err(|error| ForwardError::Transport(Box::new(ureq::Error::Io(error))))?;
    Ok(Some(read))
}

/// Makes `secret` unreadable in a refusal, whose length is said already: a signature is refused with
/// the request as the service read it, session token included.
fn mask(text: &mut [u8], secret: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.windows(secret.len().max(1)).position(|w| w == secret) {
        rest = &mut rest[at..];
        rest[..secret.len()].fill(b'*');
    }
}

fn reason(response: &http::Response<ureq::Body>, read: &[u8]) -> XRayResponse {
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    XRayResponse::parse(response.status().as_u16(), header, read)
}

/// The service's answer, of whose body `read` has been read already.
fn passed_back(request: &Request, read: Vec<u8>, response: http::Response<ureq::Body>) -> Response {
    let (parts, body) = response.into_parts();
    // For a HEAD the header says more than the body, which has none.
    let declared = parts
        .headers
        .get("content-length")
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let headers = headers::passed_back(&parts.headers);
    let body = if request.method == "HEAD" {
        Body::Head(declared)
    } else {
        // ureq takes a length of zero for no body, of which it tells no length.
        let length = body.content_length().or(declared
            .filter(|&length| length == 0 && !parts.headers.contains_key("transfer-encoding")));
        let reader: Box<dyn Read> = Box::new(Cursor::new(read).chain(body.into_reader()));
        Body::Stream { reader, length }
    };
    Response {
        status: parts.status.as_u16(),
        headers,
        body,
    }
}
