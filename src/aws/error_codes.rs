//! The error codes of AWS services: how to find one in an answer, and what it speaks of.

use serde_json::Value;

/// What an error code says is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// The credentials: newer ones are the cure.
    Credentials,
    /// The sender, whatever the request says: a permission, an account, a signature.
    Sender,
    /// The documents in the request: they are refused for good.
    Documents,
    /// Nothing that stays: the same request may be sent again later.
    Transient,
}

/// Every code that is known here, what it speaks of, and whether a wrong clock may be its cause.
///
/// Where the codes come from: `InvalidRequestException` and `ThrottledException` are the errors
/// that X-Ray's API reference gives for PutTraceSegments. The other sender and document codes are
/// on the reference's page of errors common to all AWS services. The transient codes are those
/// that the AWS SDKs retry in their standard mode. The clock codes are those of the SDKs' clock
/// skew correction. Some services write a code with the suffix `Exception` and some without.
const CODES: &[(&str, Subject, bool)] = &[
    ("ExpiredToken", Subject::Credentials, false),
    ("ExpiredTokenException", Subject::Credentials, false),
    ("RequestExpired", Subject::Credentials, false),
    ("UnrecognizedClientException", Subject::Credentials, false),
    ("InvalidClientTokenId", Subject::Credentials, false),
    ("InvalidAccessKeyId", Subject::Credentials, false),
    // The signature may have been made with half a secret, read while its file was written.
    ("InvalidSignatureException", Subject::Credentials, true),
    ("SignatureDoesNotMatch", Subject::Credentials, true),
    ("RequestTimeTooSkewed", Subject::Sender, true),
    ("AuthFailure", Subject::Sender, true),
    ("AccessDenied", Subject::Sender, false),
    ("AccessDeniedException", Subject::Sender, true),
    ("IncompleteSignature", Subject::Sender, false),
    ("IncompleteSignatureException", Subject::Sender, false),
    ("MissingAuthenticationToken", Subject::Sender, false),
    (
        "MissingAuthenticationTokenException",
        Subject::Sender,
        false,
    ),
    ("NotAuthorized", Subject::Sender, false),
    ("OptInRequired", Subject::Sender, false),
    ("InvalidRequestException", Subject::Documents, false),
    ("ValidationError", Subject::Documents, false),
    ("ValidationException", Subject::Documents, false),
    ("SerializationException", Subject::Documents, false),
    ("MalformedHttpRequestException", Subject::Documents, false),
    ("RequestEntityTooLarge", Subject::Documents, false),
    ("RequestEntityTooLargeException", Subject::Documents, false),
    ("RequestTimeout", Subject::Transient, false),
    ("RequestTimeoutException", Subject::Transient, false),
    ("RequestAbortedException", Subject::Transient, false),
    ("InternalFailure", Subject::Transient, false),
    ("InternalError", Subject::Transient, false),
    ("InternalServerError", Subject::Transient, false),
    ("InternalServerException", Subject::Transient, false),
    ("ServiceUnavailable", Subject::Transient, false),
    ("ServiceUnavailableException", Subject::Transient, false),
    ("Throttling", Subject::Transient, false),
    ("ThrottlingException", Subject::Transient, false),
    ("ThrottledException", Subject::Transient, false),
    ("RequestThrottled", Subject::Transient, false),
    ("RequestThrottledException", Subject::Transient, false),
    ("TooManyRequestsException", Subject::Transient, false),
    (
        "ProvisionedThroughputExceededException",
        Subject::Transient,
        false,
    ),
    ("TransactionInProgressException", Subject::Transient, false),
    ("RequestLimitExceeded", Subject::Transient, false),
    ("BandwidthLimitExceeded", Subject::Transient, false),
    ("LimitExceededException", Subject::Transient, false),
    ("SlowDown", Subject::Transient, false),
    ("PriorRequestNotComplete", Subject::Transient, false),
    ("EC2ThrottledException", Subject::Transient, false),
];

fn subject(code: &str) -> Option<Subject> {
    let (_, subject, _) = CODES.iter().find(|(name, ..)| *name == code)?;
    Some(*subject)
}

/// Whether newer credentials are the cure.
pub fn blames_credentials(code: &str) -> bool {
    subject(code) == Some(Subject::Credentials)
}

/// Whether it is the sender who is refused, whatever the request says.
pub fn blames_sender(code: &str) -> bool {
    subject(code) == Some(Subject::Sender)
}

/// Whether it is the documents that are refused, whoever sends them.
pub fn blames_documents(code: &str) -> bool {
    subject(code) == Some(Subject::Documents)
}

/// Whether the same request may be sent again after this code.
pub fn is_transient(code: &str) -> bool {
    subject(code) == Some(Subject::Transient)
}

/// Whether a wrong clock may be the reason.
pub fn may_be_clock(code: &str) -> bool {
    CODES.iter().any(|(name, _, clock)| *clock && *name == code)
}

/// What an AWS service says in an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceError {
    /// The code, such as `AccessDeniedException`; empty where there is none.
    pub code: String,
    /// The message; empty where there is none.
    pub message: String,
}

impl ServiceError {
    /// Reads the header `x-amzn-errortype` and the body of an answer. As the REST-JSON protocol
    /// of AWS has it, the code is in the header, else in `code` or `__type` of the body, and what
    /// stands before a `#` and from a `:` on is not part of it.
    pub fn read(error_type: Option<&str>, body: &[u8]) -> ServiceError {
        let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let text = |keys: &[&str]| {
            let found = keys.iter().find_map(|key| body.get(key)?.as_str());
            found.unwrap_or_default().to_owned()
        };
        let code = match error_type {
            Some(code) => code.to_owned(),
            None => text(&["code", "Code", "__type"]),
        };
        let code = code.split(':').next().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default().trim();
        ServiceError {
            code: code.to_owned(),
            message: text(&["message", "Message"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_code_stands_once() {
        for (row, (name, ..)) in CODES.iter().enumerate() {
            let first = CODES.iter().position(|(other, ..)| other == name);
            assert_eq!(first, Some(row), "{name}");
        }
    }

    #[test]
    fn a_code_speaks_of_one_thing() {
        type Question = fn(&str) -> bool;
        let questions: [Question; 4] = [
            blames_credentials,
            blames_sender,
            blames_documents,
            is_transient,
        ];
        for (code, yes) in [
            ("ExpiredTokenException", Some(0)),
            ("SignatureDoesNotMatch", Some(0)),
            ("AccessDeniedException", Some(1)),
            ("InvalidRequestException", Some(2)),
            ("ThrottledException", Some(3)),
            ("InternalFailure", Some(3)),
            ("expiredtokenexception", None),
            ("NobodyKnowsException", None),
            ("", None),
        ] {
            let answers = questions.map(|question| question(code));
            let expected = [0, 1, 2, 3].map(|n| yes == Some(n));
            assert_eq!(answers, expected, "{code}");
        }
        assert!(may_be_clock("AccessDeniedException"));
        assert!(!may_be_clock("ThrottledException") && !may_be_clock(""));
    }

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
            (Some(""), r#"{"code":"A"}"#, "", ""),
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
