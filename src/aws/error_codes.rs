//! What the error codes of AWS services blame.

/// Whether newer credentials are the cure. A signature that does not match may have been made with
/// half of a key, of a file that was read while it was written.
pub fn blames_credentials(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
    )
}

/// Whether it is the sender who is refused, whatever the request says.
pub fn blames_sender(code: &str) -> bool {
    matches!(
        code,
        "RequestTimeTooSkewed"
            | "AuthFailure"
            | "AccessDeniedException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
    )
}

/// Whether the SDKs send the same request again after this code.
pub fn is_transient(code: &str) -> bool {
    matches!(
        code,
        "RequestTimeout"
            | "RequestTimeoutException"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "ProvisionedThroughputExceededException"
            | "TransactionInProgressException"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "LimitExceededException"
            | "SlowDown"
            | "PriorRequestNotComplete"
            | "EC2ThrottledException"
    )
}
