//! The encoding and the compression of a request, from its headers.

use std::fmt;

/// The two ways to write OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpEncoding {
    /// Binary protobuf.
    Protobuf,
    /// Protobuf's JSON.
    Json,
}

impl OtlpEncoding {
    /// The encoding for a `Content-Type`.
    pub(crate) fn of(content_type: &[u8]) -> Option<OtlpEncoding> {
        let media_type = content_type.split(|byte| *byte == b';').next();
        let media_type = media_type.unwrap_or_default().trim_ascii();
        [OtlpEncoding::Protobuf, OtlpEncoding::Json]
            .into_iter()
            .find(|encoding| media_type.eq_ignore_ascii_case(encoding.content_type().as_bytes()))
    }

    /// The `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            OtlpEncoding::Protobuf => "application/x-protobuf",
            OtlpEncoding::Json => "application/json",
        }
    }
}

impl fmt::Display for OtlpEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OtlpEncoding::Protobuf => "protobuf",
            OtlpEncoding::Json => "JSON",
        })
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not at all.
    Identity,
    /// By gzip.
    Gzip,
}

impl Coding {
    /// The compression for a `Content-Encoding`, which is empty if the header is absent.
    pub(crate) fn of(content_encoding: &[u8]) -> Option<Coding> {
        let coding = content_encoding.trim_ascii();
        if coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") {
            Some(Coding::Identity)
        } else if coding.eq_ignore_ascii_case(b"gzip") {
            Some(Coding::Gzip)
        } else {
            None
        }
    }
}
