//! The error codes of AWS services: what each of them blames, in one table, and where an answer has
//! them.

use serde_json::{Map, Value};

/// What a code blames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// The keys. Newer ones may be taken. A signature that does not match may have been made with
    /// half of a key, of a file that was read while it was written.
    Credentials,
    /// The sender's clock or permissions, whatever the request holds.
    Sender,
    /// The rate of requests: the SDKs send the same request again later.
    Throttled,
    /// The service itself: the SDKs send the same request again later.
    Service,
    /// The content of the request: the same request is refused whenever it is sent.
    Documents,
}

/// The class of a code without namespace; see [`bare`]. `None` for codes that are not in the table.
///
/// Sources: "Common error types" in the X-Ray API reference; the retryable codes of the AWS SDKs'
/// standard retry mode; the error shapes of the REST-JSON protocol, in which `ValidationException`
/// and `SerializationException` come from the front of every service.
pub(crate) fn class(code: &str) -> Option<ErrorClass> {
    Some(match code {
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch" => ErrorClass::Credentials,
        "RequestTimeTooSkewed"
        | "AuthFailure"
        | "AccessDenied"
        | "AccessDeniedException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired" => ErrorClass::Sender,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "EC2ThrottledException" => ErrorClass::Throttled,
        "InternalFailure"
        | "InternalError"
        | "InternalServerError"
        | "InternalServerException"
        | "InternalServiceError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "TransactionInProgressException" => ErrorClass::Service,
        "InvalidRequestException"
        | "ValidationException"
        | "ValidationError"
        | "SerializationException"
        | "MalformedQueryString"
        | "RequestEntityTooLarge"
        | "RequestEntityTooLargeException" => ErrorClass::Documents,
        _ => return None,
    })
}

/// Whether newer credentials are the cure.
pub(crate) fn blames_credentials(code: &str) -> bool {
    class(code) == Some(ErrorClass::Credentials)
}

/// Whether a wrong clock can be why: the codes of the SDKs' clock skew correction.
pub(crate) fn may_be_clock(code: &str) -> bool {
    matches!(
        code,
        "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "AuthFailure"
            | "RequestTimeTooSkewed"
            | "AccessDeniedException"
    )
}

/// Whether the SDKs send the same request again after this code.
pub(crate) fn is_transient(code: &str) -> bool {
    matches!(
        class(code),
        Some(ErrorClass::Throttled | ErrorClass::Service)
    )
}

/// The code itself: what stands before a `#` and from a `:` on is not part of it (REST-JSON protocol
/// of AWS). `None` where nothing is left.
pub(crate) fn bare(raw: &str) -> Option<String> {
    let code = raw.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default().trim();
    (!code.is_empty()).then(|| code.to_owned())
}

/// What an AWS service says in an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceError {
    /// The code, such as `AccessDeniedException`; empty where there is none.
    pub code: String,
    /// The message; empty where there is none.
    pub message: String,
}

impl ServiceError {
    /// Reads the header `x-amzn-errortype` and the body of an answer.
    pub(crate) fn read(error_type: Option<&str>, body: &[u8]) -> ServiceError {
        let body = match serde_json::from_slice(body) {
            Ok(Value::Object(body)) => body,
            _ => Map::new(),
        };
        ServiceError {
            code: code(error_type, &body).unwrap_or_default(),
            message: message(&body).unwrap_or_default(),
        }
    }
}

/// The code of an answer: from the header `x-amzn-errortype`, else from its body.
pub(crate) fn code(error_type: Option<&str>, body: &Map<String, Value>) -> Option<String> {
    let in_body = || text(body, &["code", "Code", "__type"]).and_then(bare);
    error_type.and_then(bare).or_else(in_body)
}

/// The service's words in the body of an answer.
pub(crate) fn message(body: &Map<String, Value>) -> Option<String> {
    text(body, &["message", "Message"]).map(str::to_owned)
}

fn text<'a>(body: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| body.get(*key)?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn code_and_message_are_found_wherever_they_stand() {
        for (header, body, code, message) in [
            (Some("ThrottledException"), "", "ThrottledException", ""),
            (
                Some("AccessDeniedException:http://internal.amazon.com/"),
                r#"{"Message":"User is not authorized"}"#,
                "AccessDeniedException",
                "User is not authorized",
            ),
            (
                None,
                r#"{"__type":"com.amazon.coral#ExpiredTokenException","message":"old"}"#,
                "ExpiredTokenException",
                "old",
            ),
            (None, r#"{"code":"A","__type":"B"}"#, "A", ""),
            (Some(""), r#"{"code":"A"}"#, "A", ""),
            (None, r#"{"code":7,"message":["x"]}"#, "", ""),
            (None, "<html>", "", ""),
            (None, "[1]", "", ""),
        ] {
            let expected = ServiceError {
                code: code.to_owned(),
                message: message.to_owned(),
            };
            let read = ServiceError::read(header, body.as_bytes());
            assert_eq!(read, expected, "{header:?} {body}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read(header in ".{0,30}", body in prop::collection::vec(any::<u8>(), 0..80)) {
            let read = ServiceError::read(Some(&header), &body);
            prop_assert!(!read.code.contains([':', '#']));
        }
    }
}
