//! Spans of OpenTelemetry: base64 of an OTLP request after `T1S` or `T1U` in a datagram, or the
//! body of `POST /v1/traces`, protobuf or JSON.
//!
//! Protobuf is turned into OTLP's own JSON first, the form in which a person can read it and the
//! page and `--exporter json` show it. From there on there is one format.

mod protobuf;
mod schema;
mod span;
mod split;
mod wire;

use std::borrow::Cow;
use std::fmt;

use super::json::SyntaxError;
use crate::http::gunzip::gunzip;

pub(crate) use span::spans;
pub(crate) use split::split;

/// Why a request cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtlpError {
    /// The body is neither protobuf nor JSON by its `Content-Type`.
    ContentType,
    /// The body cannot be decompressed.
    Compressed,
    /// The bytes are no protobuf message of this kind.
    Protobuf,
    /// The text is no JSON.
    Json(SyntaxError),
    /// The characters after `T1S` or `T1U` are not base64.
    Base64,
    /// As JSON the request would take more than 32 MiB.
    TooLarge,
}

impl fmt::Display for OtlpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OtlpError::ContentType => {
                "OTLP spans are read as application/x-protobuf or application/json"
            }
            OtlpError::Compressed => "the OTLP spans cannot be decompressed",
            OtlpError::Protobuf => "the OTLP spans are no valid protobuf message",
            OtlpError::Base64 => "the OTLP spans are no valid base64",
            OtlpError::TooLarge => "the OTLP spans take more than 32 MiB as JSON",
            OtlpError::Json(error) => return write!(f, "the OTLP spans are not JSON: {error}"),
        })
    }
}

impl std::error::Error for OtlpError {}

impl From<SyntaxError> for OtlpError {
    fn from(error: SyntaxError) -> OtlpError {
        OtlpError::Json(error)
    }
}

/// Most bytes of a body that was compressed. X-Ray takes 5 MB.
const MAX_PLAIN: usize = 8 << 20;

/// A body without its compression.
pub(crate) fn plain_body(body: &[u8], is_gzip: bool) -> Result<Cow<'_, [u8]>, OtlpError> {
    match is_gzip {
        false => Ok(Cow::Borrowed(body)),
        true => gunzip(body, MAX_PLAIN)
            .map(Cow::Owned)
            .map_err(|_| OtlpError::Compressed),
    }
}

/// The OTLP/JSON of a request's body, as `Content-Type` says it is written. The body must not be
/// compressed any more.
pub(crate) fn body_to_json(body: &[u8], content_type: &str) -> Result<String, OtlpError> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/x-protobuf") {
        return protobuf::to_json(body);
    }
    if media_type.eq_ignore_ascii_case("application/json") {
        // As everywhere here, bytes that are no text become replacement characters.
        return Ok(String::from_utf8_lossy(body).into_owned());
    }
    Err(OtlpError::ContentType)
}

/// The OTLP/JSON of the spans in a datagram, without its prefix.
pub(crate) fn base64_to_json(base64: &str) -> Result<String, OtlpError> {
    let message = wire::decode_base64(base64).map_err(|_| OtlpError::Base64)?;
    protobuf::to_json(&message)
}
