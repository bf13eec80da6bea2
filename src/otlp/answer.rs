//! Answers to clients, in the encoding of their requests: `ExportTraceServiceResponse` for what was
//! accepted, `google.rpc.Status` for what was not (OTLP specification, "OTLP/HTTP Response").

use super::{OtlpEncoding, OtlpRefusal};
use crate::protobuf::{put_bytes, put_number};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// All spans of a request were accepted: an empty message.
pub(crate) fn accepted(encoding: OtlpEncoding) -> OtlpAnswer {
    OtlpAnswer {
        status: 200,
        content_type: encoding.content_type(),
        body: match encoding {
            OtlpEncoding::Protobuf => Vec::new(),
            OtlpEncoding::Json => b"{}".to_vec(),
        },
    }
}

/// A request with this `Content-Type` was refused. JSON where the encoding is not known.
pub fn refused(refusal: OtlpRefusal, content_type: &[u8]) -> OtlpAnswer {
    let encoding = OtlpEncoding::of(content_type).unwrap_or(OtlpEncoding::Json);
    OtlpAnswer {
        status: refusal.status(),
        content_type: encoding.content_type(),
        body: status(encoding, refusal.code(), &refusal.to_string()),
    }
}

fn status(encoding: OtlpEncoding, code: u8, message: &str) -> Vec<u8> {
    match encoding {
        OtlpEncoding::Protobuf => {
            let mut body = Vec::new();
            put_number(1, code.into(), &mut body);
            put_bytes(2, message.as_bytes(), &mut body);
            body
        }
        OtlpEncoding::Json => serde_json::json!({ "code": code, "message": message })
            .to_string()
            .into_bytes(),
    }
}
