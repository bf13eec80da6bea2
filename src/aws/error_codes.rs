//! The error codes of AWS services, in one table: what each of them blames.

/// What a code blames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
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
pub fn class(code: &str) -> Option<ErrorClass> {
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
pub fn blames_credentials(code: &str) -> bool {
    class(code) == Some(ErrorClass::Credentials)
}

/// Whether a wrong clock can be why: the codes of the SDKs' clock skew correction.
pub fn may_be_clock(code: &str) -> bool {
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
pub fn is_transient(code: &str) -> bool {
    matches!(
        class(code),
        Some(ErrorClass::Throttled | ErrorClass::Service)
    )
}

/// The code itself: what stands before a `#` and from a `:` on is not part of it (REST-JSON protocol
/// of AWS). `None` where nothing is left.
pub fn bare(raw: &str) -> Option<String> {
    let code = raw.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default().trim();
    (!code.is_empty()).then(|| code.to_owned())
}
