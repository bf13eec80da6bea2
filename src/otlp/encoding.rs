//! How a request is written and compressed, as its headers say.

use std::fmt;

/// The two ways to write OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Binary protobuf.
    Protobuf,
    /// Protobuf's JSON.
    Json,
}

impl Encoding {
    /// That of a `Content-Type`.
    pub fn of(content_type: &[u8]) -> Option<Encoding> {
        let media_type = content_type.split(|byte| *byte == b';').next();
        let media_type = media_type.unwrap_or_default().trim_ascii();
        [Encoding::Protobuf, Encoding::Json]
            .into_iter()
            .find(|encoding| media_type.eq_ignore_ascii_case(encoding.content_type().as_bytes()))
    }

    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Protobuf => "protobuf",
            Encoding::Json => "JSON",
        })
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// By gzip.
    Gzip,
}

impl Coding {
    /// That of a `Content-Encoding`, which is empty where there is none.
    pub fn of(content_encoding: &[u8]) -> Option<Coding> {
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
