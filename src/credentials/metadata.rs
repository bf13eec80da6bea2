//! One HTTP exchange with a credential endpoint, bounded in time and size, and the rule for
//! repeating it.

use std::time::Duration;

use ureq::http;

use super::{SourceError, Timing, plain};
use crate::http::error::{TransportError, TransportErrorKind};
use crate::http::url;

/// No credential answer is longer. A longer one is an error.
const LARGEST: u64 = 64 * 1024;

/// A request to a credential endpoint. All its text may be secret.
pub(crate) struct MetadataRequest<'a> {
    pub method: &'a str,
    pub url: &'a str,
    /// Headers besides those that every request has.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body; `None` for methods that have none.
    pub body: Option<&'a [u8]>,
    /// Limit for opening the connection.
    pub connect: Duration,
    /// Limit for the whole exchange, body included.
    pub total: Duration,
}

/// An answer, whatever its status.
pub(crate) struct MetadataResponse {
    pub status: u16,
    pub headers: http::HeaderMap,
    /// Body, at most 64 KiB.
    pub body: Vec<u8>,
}

impl MetadataResponse {
    /// Whether the status is 2xx.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it makes sense to repeat the request soon.
    pub(crate) fn is_transient(&self) -> bool {
        self.status == 429 || self.status >= 500
    }

    /// A header's value, when it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The error that an answer without success is. Its text is the code and message of a JSON body, by
    /// the names of the ECS agent, of OAuth or of AWS, or the body itself, as the EKS agent sends
    /// it; `secrets` are hidden in it.
    pub(crate) fn refusal(&self, from: &str, secrets: &[&str]) -> SourceError {
        let (code, message) = match super::json::object(&self.body) {
            Ok(fields) => {
                let text = |names: &[&str]| {
                    let mut found = names.iter();
                    let found = found.find_map(|name| super::json::text(&fields, &[name]));
                    plain(found.unwrap_or_default(), secrets)
                };
                (
                    text(&["error", "code", "__type"]),
                    text(&["error_description", "message"]),
                )
            }
            Err(_) => (
                String::new(),
                plain(&String::from_utf8_lossy(&self.body), secrets),
            ),
        };
        SourceError::Refused {
            from: from.to_owned(),
            status: self.status,
            code,
            message,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExchangeErrorKind {
    /// No connection: no address, no route, refused, or no answer while connecting.
    NoConnection,
    Silent,
    /// The exchange broke, or was not HTTP, or too large.
    Broken,
}

pub(crate) struct ExchangeError {
    pub kind: ExchangeErrorKind,
    /// The kind in words.
    pub why: String,
    /// Whether this host has no route to the endpoint: another address may have one.
    pub has_no_route: bool,
}

/// Sends one request and reads the answer. `agent` decides on proxies; it must not follow
/// redirects nor turn statuses into errors.
///
/// # Errors
/// When no complete answer of at most 64 KiB came in time.
pub(crate) fn exchange(
    agent: &ureq::Agent,
    request: &MetadataRequest<'_>,
) -> Result<MetadataResponse, ExchangeError> {
    let broken = |why: String| ExchangeError {
        kind: ExchangeErrorKind::Broken,
        why,
        has_no_route: false,
    };
    let mut head = http::Request::builder()
        .method(request.method)
        .uri(request.url);
    for (name, value) in request.headers {
        head = head.header(*name, *value);
    }
    // The error of a bad header or URL could quote it.
    let bad = |_| broken("the request cannot be written: bad URL or header".to_owned());
    let answer = match request.body {
        Some(body) => send(agent, head.body(body).map_err(bad)?, request),
        None => send(agent, head.body(()).map_err(bad)?, request),
    };
    let mut answer = answer.map_err(|e| exchange_error(e, request.url))?;
    let body = answer.body_mut().with_config().limit(LARGEST).read_to_vec();
    Ok(MetadataResponse {
        status: answer.status().as_u16(),
        body: body.map_err(|e| exchange_error(e, request.url))?,
        headers: answer.into_parts().0.headers,
    })
}

fn send<B: ureq::AsSendBody>(
    agent: &ureq::Agent,
    head: http::Request<B>,
    request: &MetadataRequest<'_>,
) -> Result<http::Response<ureq::Body>, ureq::Error> {
    let head = agent
        .configure_request(head)
        .timeout_connect(Some(request.connect))
        .timeout_global(Some(request.total))
        .build();
    agent.run(head)
}

fn exchange_error(error: ureq::Error, url: &str) -> ExchangeError {
    use TransportErrorKind as Kind;
    if let ureq::Error::BodyExceedsLimit(_) = error {
        return ExchangeError {
            kind: ExchangeErrorKind::Broken,
            why: "the answer is longer than 64 KiB".to_owned(),
            has_no_route: false,
        };
    }
    let error = TransportError::from_ureq(error, url::host(url));
    ExchangeError {
        kind: match error.kind {
            Kind::UnknownHost | Kind::Refused | Kind::NoRoute | Kind::ConnectTimeout => {
                ExchangeErrorKind::NoConnection
            }
            Kind::Timeout => ExchangeErrorKind::Silent,
            Kind::Tls | Kind::Proxy | Kind::ClosedIdle | Kind::Other => ExchangeErrorKind::Broken,
        },
        why: plain(&error.to_string(), &[]),
        has_no_route: error.kind == Kind::NoRoute,
    }
}

/// An attempt that failed.
pub(crate) struct AttemptError {
    pub error: SourceError,
    /// Whether to try again at once.
    pub again: bool,
}

/// Makes up to `count` attempts, with a random pause between them of up to 1, 2, 4 … seconds, at
/// most `longest`.
///
/// # Errors
/// The last attempt's.
pub(crate) fn attempts<T>(
    timing: &Timing,
    count: u32,
    longest: Duration,
    once: &mut dyn FnMut() -> Result<T, AttemptError>,
) -> Result<T, SourceError> {
    let mut pause = Duration::from_secs(1);
    for _ in 1..count {
        match once() {
            Err(failed) if failed.again => {
                (timing.sleep)(pause.min(longest).mul_f64((timing.random)()))
            }
            other => return other.map_err(|failed| failed.error),
        }
        pause *= 2;
    }
    once().map_err(|failed| failed.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::SystemTime;

    #[test]
    fn refusals_in_every_form() {
        for (body, code, message) in [
            (r#"{"Code":"A","Message":"m"}"#, "A", "m"),
            (
                r#"{"error":"TOKEN_EXPIRED","message":"m"}"#,
                "TOKEN_EXPIRED",
                "m",
            ),
            (
                r#"{"error":"invalid_grant","error_description":"no"}"#,
                "invalid_grant",
                "no",
            ),
            (r#"{"__type":"X","Message":"y hush"}"#, "X", "y [hidden]"),
            (r#"{"error":7,"code":"A"}"#, "A", ""),
            ("Bad Gateway", "", "Bad Gateway"),
        ] {
            let answer = MetadataResponse {
                status: 400,
                headers: http::HeaderMap::new(),
                body: body.into(),
            };
            let expected = SourceError::Refused {
                from: "here".to_owned(),
                status: 400,
                code: code.to_owned(),
                message: message.to_owned(),
            };
            assert_eq!(answer.refusal("here", &["hush"]), expected, "{body}");
        }
    }

    #[test]
    fn pauses_grow_to_the_longest_and_the_last_error_counts() {
        let slept = Arc::new(Mutex::new(Vec::new()));
        let timing = Timing {
            sleep: {
                let slept = Arc::clone(&slept);
                Arc::new(move |pause| slept.lock().unwrap().push(pause.as_millis()))
            },
            random: Arc::new(|| 0.5),
            ..Timing::new(Arc::new(SystemTime::now))
        };
        let run = |count, again_until: u32| {
            slept.lock().unwrap().clear();
            let mut made = 0;
            let answer: Result<(), _> =
                attempts(&timing, count, Duration::from_secs(3), &mut || {
                    made += 1;
                    Err(AttemptError {
                        error: SourceError::Setting(made.to_string()),
                        again: made < again_until,
                    })
                });
            (
                answer.unwrap_err().to_string(),
                slept.lock().unwrap().clone(),
            )
        };
        assert_eq!(run(4, 9), ("4".into(), vec![500, 1000, 1500]));
        assert_eq!(run(4, 2), ("2".into(), vec![500]));
        assert_eq!(run(1, 9), ("1".into(), vec![]));
    }
}
