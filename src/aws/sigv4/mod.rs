//! Signs one request with AWS Signature Version 4.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4;

/// A request as it will be sent, and what to sign it with.
pub struct SignRequest<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Absolute, percent-encoded URL. Its authority becomes the signed `host`.
    pub url: &'a str,
    /// Headers to sign besides `host` and the `x-amz-*` ones that signing adds. Pass only what
    /// no hop changes: never `connection`, `expect`, `accept-encoding` or `user-agent`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: BodyToSign<'a>,
    /// Region of the credential scope.
    pub region: &'a str,
    /// Service of the credential scope: `xray`, `sts`.
    pub service: &'a str,
    /// Signing time, already corrected for clock skew.
    pub time: SystemTime,
    /// Keys to sign with.
    pub credentials: &'a Credentials,
}

/// The body of a request that is signed.
#[derive(Clone, Copy)]
pub enum BodyToSign<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// Its SHA-256.
    Hash([u8; 32]),
}

/// 9999-12-31, the last day whose year has the four digits of a signature's date. Later times, and
/// those before 1970, would be a panic in the date library.
const LAST_DAY: Duration = Duration::from_secs(253_402_214_400);

/// Why a request could not be signed. Never carries key material.
#[derive(Debug)]
pub struct SignError(String);

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot sign the request: {}", self.0)
    }
}

impl std::error::Error for SignError {}

/// The headers to add to the request: `x-amz-date`, `authorization` and, for session
/// credentials, `x-amz-security-token`. Values are secrets: never log them.
///
/// # Errors
/// When the URL has no authority, a header value cannot be signed, or the time is no date.
pub fn sign(request: &SignRequest<'_>) -> Result<Vec<(String, String)>, SignError> {
    let url: ureq::http::Uri = request.url.parse().map_err(|e| fail("url", &e))?;
    // aws-sigv4 panics on a URI without an authority.
    if url.authority().is_none() || url.scheme().is_none() {
        return Err(SignError(format!("no host in {}", request.url)));
    }
    check_time(request.time)?;
    let identity = request.credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service)
        .time(request.time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|e| fail("parameters", &e))?
        .into();
    let body = match request.body {
        BodyToSign::Bytes(bytes) => SignableBody::Bytes(bytes),
        BodyToSign::Hash(hash) => SignableBody::Precomputed(hex::encode(hash)),
    };
    let signable = SignableRequest::new(
        request.method,
        request.url,
        request.headers.iter().copied(),
        body,
    )
    .map_err(|e| fail("request", &e))?;
    let (instructions, _) = aws_sigv4::http_request::sign(signable, &params)
        .map_err(|e| fail("signature", &e))?
        .into_parts();
    Ok(instructions
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// A signature cannot express other times.
fn check_time(time: SystemTime) -> Result<(), SignError> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) if since < LAST_DAY => Ok(()),
        _ => Err(SignError("the clock is not between 1970 and 9999".into())),
    }
}

fn fail(what: &str, error: &dyn fmt::Display) -> SignError {
    SignError(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests;
