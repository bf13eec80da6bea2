//! What an answer, or the lack of one, means for the documents of a request.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::aws::error_codes;

/// An answer from X-Ray, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header `x-amzn-errortype`.
    pub error_type: Option<String>,
    /// Header `retry-after`, seconds.
    pub retry_after: Option<String>,
    /// Header `date`.
    pub date: Option<String>,
    /// Whether a cache answered (header `age`): its `date` says nothing of X-Ray's clock.
    pub aged: bool,
    /// Whether it has AWS's request id: otherwise its `date` may be that of something in between.
    pub has_request_id: bool,
    /// The body, or its beginning.
    pub body: Vec<u8>,
}

/// Why there is no answer. The kinds are those of a telemetry record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came within the time limit.
    Timeout,
    /// The connection was refused.
    Refused,
    /// The name has no address.
    UnknownHost,
    /// Anything else between here and there.
    Other,
}

/// A document that X-Ray did not take from a request that it did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unprocessed {
    /// Id of the segment, where X-Ray could read one.
    pub id: Option<String>,
    /// `InvalidSegment`, `InvalidTraceId`, …
    pub code: String,
    /// X-Ray's words.
    pub message: String,
}

/// What is to be done with the documents of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered, but for the documents named.
    Delivered(Vec<Unprocessed>),
    /// Hold them and send them again.
    Hold {
        /// Wait at least this long.
        after: Option<Duration>,
        /// Whether newer credentials are what is missing.
        credentials: bool,
    },
    /// X-Ray will not take this request, however often it is sent: find the bad document.
    Refused,
}

/// The most a `Retry-After` may ask for. A backend that says "tomorrow" is not obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Judges the answer to a `PutTraceSegments`.
pub fn judge(answer: &Answer) -> Verdict {
    let hold = |credentials| Verdict::Hold {
        after: answer.retry_after(),
        credentials,
    };
    match answer.status {
        200..=299 => match unprocessed(&answer.body) {
            Some(unprocessed) => Verdict::Delivered(unprocessed),
            // A captive portal or a broken proxy says 200 too. It has not taken the documents.
            None => hold(false),
        },
        status => {
            let code = answer.error_code();
            let code = code.as_deref().unwrap_or_default();
            if error_codes::blames_credentials(code) {
                hold(true)
            } else if status == 413
                || (status == 400
                    && !error_codes::is_transient(code)
                    && !error_codes::blames_sender(code))
            {
                Verdict::Refused
            } else {
                hold(false)
            }
        }
    }
}

/// What X-Ray answers nearly always. Reading it as JSON is a tenth of a lane's time where requests are
/// few.
const ALL_TAKEN: &[u8] = br#"{"UnprocessedTraceSegments":[]}"#;

/// The documents that X-Ray names as not processed. `None`: this is not X-Ray's answer.
fn unprocessed(body: &[u8]) -> Option<Vec<Unprocessed>> {
    if body == ALL_TAKEN || body.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let entries = match body.as_object()?.get("UnprocessedTraceSegments") {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(entries) => entries.as_array()?,
    };
    Some(
        entries
            .iter()
            .map(|entry| Unprocessed {
                id: text(entry, "Id").filter(|id| !id.is_empty()),
                code: text(entry, "ErrorCode").unwrap_or_default(),
                message: text(entry, "Message").unwrap_or_default(),
            })
            .collect(),
    )
}

impl Answer {
    /// The error code: header `x-amzn-errortype`, else the body's `code` or `__type`; what stands
    /// before a `#` and from a `:` on is not part of it (REST-JSON protocol of AWS).
    pub fn error_code(&self) -> Option<String> {
        let body = || serde_json::from_slice::<Value>(&self.body).ok();
        let raw = match &self.error_type {
            Some(code) => code.clone(),
            None => {
                let body = body()?;
                ["code", "Code", "__type"]
                    .iter()
                    .find_map(|key| body.get(key)?.as_str())?
                    .to_owned()
            }
        };
        let code = raw.split(':').next().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default().trim();
        (!code.is_empty()).then(|| code.to_owned())
    }

    /// Takes `secret` out of an error's body before anyone can log it: a refused signature is
    /// answered with the request as the service read it, session token included.
    pub fn hide(&mut self, secret: &str) {
        if self.status >= 300 {
            let body = String::from_utf8_lossy(&self.body);
            self.body = body.replace(secret, "[hidden]").into_bytes();
        }
    }

    /// The service's own words, for the log.
    pub fn message(&self) -> Option<String> {
        let body = serde_json::from_slice::<Value>(&self.body).ok()?;
        let message = body.get("message").or_else(|| body.get("Message"))?;
        Some(message.as_str()?.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.retry_after.as_deref()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Timeout => "no answer in time",
            Failure::Refused => "connection refused",
            Failure::UnknownHost => "unknown host",
            Failure::Other => "connection failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(status: u16, error_type: &str, body: &str) -> Answer {
        Answer {
            status,
            error_type: (!error_type.is_empty()).then(|| error_type.to_owned()),
            body: body.as_bytes().to_vec(),
            ..Answer::default()
        }
    }

    const HOLD: Verdict = Verdict::Hold {
        after: None,
        credentials: false,
    };
    const STALE: Verdict = Verdict::Hold {
        after: None,
        credentials: true,
    };

    #[test]
    fn verdicts() {
        let delivered = || Verdict::Delivered(Vec::new());
        let cases = [
            (200, "", r#"{"UnprocessedTraceSegments":[]}"#, delivered()),
            (
                200,
                "",
                r#"{ "UnprocessedTraceSegments": [] }"#,
                delivered(),
            ),
            (200, "", r#"{"UnprocessedTraceSegments":null}"#, delivered()),
            (200, "", "{}", delivered()),
            (200, "", " \n", delivered()),
            (200, "", "<html>sign in</html>", HOLD),
            (200, "", "[]", HOLD),
            (200, "", r#"{"UnprocessedTraceSegments":7}"#, HOLD),
            (302, "", "", HOLD),
            (400, "InvalidRequestException", "", Verdict::Refused),
            (400, "", "garbage", Verdict::Refused),
            (413, "", "", Verdict::Refused),
            (400, "ThrottlingException:http://aws/", "", HOLD),
            (
                400,
                "",
                r#"{"__type":"com.amazon#ExpiredTokenException"}"#,
                STALE,
            ),
            (403, "ExpiredTokenException", "", STALE),
            (403, "UnrecognizedClientException", "", STALE),
            (403, "AccessDeniedException", "", HOLD),
            (403, "InvalidSignatureException", "", STALE),
            (400, "SignatureDoesNotMatch", "", STALE),
            (400, "RequestTimeTooSkewed", "", HOLD),
            (400, "EC2ThrottledException", "", HOLD),
            (404, "", "", HOLD),
            (408, "", "", HOLD),
            (429, "ThrottledException", "", HOLD),
            (500, "", "", HOLD),
            (503, "", "<html>", HOLD),
        ];
        for (status, error_type, body, expected) in cases {
            assert_eq!(
                judge(&answer(status, error_type, body)),
                expected,
                "{status} {error_type} {body}"
            );
        }
    }

    #[test]
    fn unprocessed_documents_are_named() {
        let body = r#"{"UnprocessedTraceSegments":[{"Id":"6226467e3f845502","ErrorCode":"InvalidTraceId","Message":"Invalid segment"},{"Id":null},{}]}"#;
        let first = Unprocessed {
            id: Some("6226467e3f845502".into()),
            code: "InvalidTraceId".into(),
            message: "Invalid segment".into(),
        };
        let none = Unprocessed::default();
        assert_eq!(
            judge(&answer(200, "", body)),
            Verdict::Delivered(vec![first, none.clone(), none])
        );
    }

    #[test]
    fn a_session_token_that_the_service_quotes_is_hidden() {
        let body = r#"{"message":"should have been 'x-amz-security-token:IQoJb3Jp/+=='"}"#;
        let mut refused = answer(403, "InvalidSignatureException", body);
        refused.hide("IQoJb3Jp/+==");
        let message = refused.message().unwrap();
        assert_eq!(message, "should have been 'x-amz-security-token:[hidden]'");
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        for (value, expected) in [
            ("3", Some(3)),
            ("86400", Some(60)),
            ("-1", None),
            ("soon", None),
        ] {
            let mut throttled = answer(429, "", "");
            throttled.retry_after = Some(value.to_owned());
            let after = expected.map(Duration::from_secs);
            assert_eq!(
                judge(&throttled),
                Verdict::Hold {
                    after,
                    credentials: false
                }
            );
        }
    }

    proptest! {
        #[test]
        fn any_answer_gets_a_verdict(status in any::<u16>(), header in ".{0,20}", body in prop::collection::vec(any::<u8>(), 0..80)) {
            let verdict = judge(&Answer { status, error_type: Some(header), body, ..Answer::default() });
            if matches!(verdict, Verdict::Delivered(_)) {
                prop_assert!((200..300).contains(&status));
            }
        }
    }
}
