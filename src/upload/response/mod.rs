//! What X-Ray's answer to an upload means for the documents of the request.
//!
//! Documents count as delivered only if X-Ray itself says so, and as refused only if X-Ray says
//! that the documents are at fault. In all other cases they are held and sent again: a proxy, a
//! captive portal or a load balancer may have answered in X-Ray's place.

mod otlp;

use std::time::Duration;

pub(crate) use otlp::PartialSuccess;
use serde_json::Value;

use crate::aws::error_codes::{self, ErrorClass};

/// An answer, parsed once by the sender that received it.
#[derive(Debug, Clone, Default)]
pub struct XRayResponse {
    /// HTTP status.
    pub status: u16,
    /// Error code, from the header `x-amzn-errortype` or the body; without namespace and details.
    pub code: Option<String>,
    /// The service's words, for the log.
    pub message: Option<String>,
    /// Header `retry-after`, at most a minute.
    pub retry_after: Option<Duration>,
    /// Whether the header `x-amzn-requestid` was there: every answer of X-Ray has it.
    pub has_request_id: bool,
    /// Header `date`.
    pub date: Option<String>,
    /// Whether a cache answered (header `age`): then `date` says nothing about X-Ray's clock.
    pub has_age: bool,
    /// What the body is.
    pub(crate) body: ResponseBody,
    /// The body, if it is OTLP's answer to a request that was accepted.
    pub(crate) export: Option<PartialSuccess>,
    /// Whether the message is from a protobuf `Status`, as OTLP answers.
    pub(crate) is_status: bool,
}

/// The body of an answer, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ResponseBody {
    /// A JSON object with the array `UnprocessedTraceSegments`.
    Unprocessed(Vec<Unprocessed>),
    /// A JSON object in which that array is missing or null.
    OtherObject,
    /// Anything else, such as a web page or nothing at all.
    #[default]
    NotAnObject,
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

/// What to do with the documents of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// X-Ray has taken the request, but for the documents named.
    Delivered(&'a [Unprocessed]),
    /// X-Ray says that the documents are at fault.
    Refused,
    /// The status 400 or 413 without a reason: a document may be at fault, or the service.
    Suspected,
    /// Send the same documents again later.
    Hold(HoldReason),
}

/// Why documents are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// Newer credentials may be taken.
    Credentials,
    /// The answer does not come from X-Ray: this is what it is not, or what is missing in it.
    NotXRay(&'static str),
    /// Anything else: the service, the network or a permission.
    Service,
}

/// The longest `Retry-After` that is followed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// X-Ray's usual answer.
const ALL_TAKEN: &[u8] = br#"{"UnprocessedTraceSegments":[]}"#;

impl XRayResponse {
    /// Reads the body and those headers that matter.
    pub fn parse(status: u16, header: impl Fn(&str) -> Option<String>, body: &[u8]) -> Self {
        let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok());
        let mut response = XRayResponse {
            status,
            retry_after: retry_after.map(|s| Duration::from_secs(s).min(MAX_RETRY_AFTER)),
            has_request_id: header("x-amzn-requestid").is_some_and(|id| !id.trim().is_empty()),
            date: header("date"),
            has_age: header("age").is_some(),
            ..XRayResponse::default()
        };
        if status == 200 && body == ALL_TAKEN {
            response.body = ResponseBody::Unprocessed(Vec::new());
            return response;
        }
        let error_type = header("x-amzn-errortype");
        let content_type = header("content-type").unwrap_or_default();
        if content_type.starts_with("application/x-protobuf") {
            response.code = error_type.as_deref().and_then(error_codes::bare);
            match status {
                200 => response.export = otlp::protobuf_success(body),
                _ => response.message = otlp::protobuf_status(body),
            }
            response.is_status = response.message.is_some();
            return response;
        }
        let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
            response.code = error_type.as_deref().and_then(error_codes::bare);
            return response;
        };
        response.code = error_codes::code(error_type.as_deref(), &object);
        response.message = error_codes::message(&object);
        if status == 200 {
            response.export = otlp::json_success(&object);
        }
        response.body = match object.get("UnprocessedTraceSegments") {
            None | Some(Value::Null) => ResponseBody::OtherObject,
            Some(Value::Array(entries)) => {
                ResponseBody::Unprocessed(entries.iter().map(Unprocessed::read).collect())
            }
            Some(_) => ResponseBody::NotAnObject,
        };
        response
    }

    /// Removes `secret` from all text: a refused signature is answered with the request as the
    /// service read it, session token included.
    pub fn hide(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let mut hide = |text: &mut String| {
            if text.contains(secret) {
                *text = text.replace(secret, "[hidden]");
            }
        };
        self.code.iter_mut().for_each(&mut hide);
        self.message.iter_mut().for_each(&mut hide);
        if let Some(export) = &mut self.export {
            hide(&mut export.message);
        }
        if let ResponseBody::Unprocessed(entries) = &mut self.body {
            for entry in entries {
                entry.id.iter_mut().for_each(&mut hide);
                hide(&mut entry.code);
                hide(&mut entry.message);
            }
        }
    }

    /// Whether the service says that it has failed, of which a document may be the cause.
    pub(super) fn is_own_failure(&self) -> bool {
        let class = self.code.as_deref().and_then(error_codes::class);
        match self.status {
            400 | 413 => class == Some(ErrorClass::Service),
            500..=599 => matches!(
                class,
                None | Some(ErrorClass::Service | ErrorClass::Documents)
            ),
            _ => false,
        }
    }

    /// What the answer to a `PutTraceSegments` means.
    pub fn meaning(&self) -> Meaning<'_> {
        match self.status {
            200 => match &self.body {
                ResponseBody::Unprocessed(entries) => Meaning::Delivered(entries),
                // Services that imitate X-Ray leave an empty list out, or send null.
                ResponseBody::OtherObject if self.has_request_id => Meaning::Delivered(&[]),
                ResponseBody::OtherObject => Meaning::Hold(HoldReason::NotXRay(
                    "neither UnprocessedTraceSegments nor the header x-amzn-requestid",
                )),
                ResponseBody::NotAnObject => Meaning::Hold(HoldReason::NotXRay(
                    "no JSON object with UnprocessedTraceSegments",
                )),
            },
            201..=299 => Meaning::Hold(HoldReason::NotXRay("not the status 200")),
            status => match self.code.as_deref().and_then(error_codes::class) {
                Some(ErrorClass::Credentials) => Meaning::Hold(HoldReason::Credentials),
                Some(ErrorClass::Documents) if (400..500).contains(&status) => Meaning::Refused,
                None if matches!(status, 400 | 413) => Meaning::Suspected,
                _ => Meaning::Hold(HoldReason::Service),
            },
        }
    }
}

impl Unprocessed {
    fn read(entry: &Value) -> Self {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        Unprocessed {
            id: text("Id").filter(|id| !id.is_empty()),
            code: text("ErrorCode").unwrap_or_default(),
            message: text("Message").unwrap_or_default(),
        }
    }

    /// Whether X-Ray may take the same document later.
    pub(crate) fn is_transient(&self) -> bool {
        error_codes::bare(&self.code).is_some_and(|code| error_codes::is_transient(&code))
    }
}

#[cfg(test)]
mod tests;
