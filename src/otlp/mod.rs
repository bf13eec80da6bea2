//! Reads the requests of OpenTelemetry's exporters: OTLP/HTTP with spans, protobuf or JSON, compressed
//! by gzip or not. Pure: bytes go in, a request for the uploader or a refusal comes out.
//!
//! A request is kept byte for byte. It is read only as far as it must be to count its spans and to
//! keep to the limits of X-Ray's endpoint, without a copy of what was compressed: besides the memory
//! for decompression a few kilobytes, whatever it holds.

mod answer;
mod count;
mod encoding;

use std::fmt;
use std::io::BufRead;

pub(crate) use answer::accepted;
pub use answer::{OtlpAnswer, refused};
pub(crate) use encoding::Coding;
pub use encoding::OtlpEncoding;

use crate::http::gunzip::{Gunzip, GunzipError};
use count::NotOtlp;

/// Bytes of a request, when it is not compressed any more, and spans in one request, that X-Ray's
/// endpoint takes: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html
/// says 5 MB and 10,000.
pub(crate) const MAX_BYTES: usize = 5 * 1024 * 1024;
/// See [`MAX_BYTES`].
pub(crate) const MAX_SPANS: usize = 10_000;

/// What is known of a request that X-Ray may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// How the body is written.
    pub(crate) encoding: OtlpEncoding,
    /// How it is compressed.
    pub(crate) coding: Coding,
    /// Its spans.
    pub count: usize,
}

/// Why a request is refused. The text tells the client what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpRefusal {
    /// The method is not `POST`.
    Method,
    /// `Content-Type` is neither protobuf nor JSON.
    ContentType,
    /// `Content-Encoding` is neither gzip nor identity.
    Coding,
    /// The body is not gzip.
    Gzip,
    /// The body is not what `Content-Type` says.
    Malformed(OtlpEncoding),
    /// More than [`MAX_BYTES`].
    TooLong,
    /// More than [`MAX_SPANS`].
    TooManySpans(usize),
    /// More than the memory that spans may take, in bytes.
    TooLongForMemory(usize),
    /// There is no memory left for more.
    Full,
    /// Other clients use all the memory for reading compressed requests.
    Busy,
    /// The uploader did not answer in time.
    Late,
}

impl OtlpRefusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            OtlpRefusal::Method => 405,
            OtlpRefusal::ContentType | OtlpRefusal::Coding => 415,
            OtlpRefusal::Gzip | OtlpRefusal::Malformed(_) | OtlpRefusal::TooManySpans(_) => 400,
            OtlpRefusal::TooLong | OtlpRefusal::TooLongForMemory(_) => 413,
            OtlpRefusal::Full | OtlpRefusal::Busy | OtlpRefusal::Late => 503,
        }
    }

    /// The code of gRPC, which a `Status` carries: INVALID_ARGUMENT, RESOURCE_EXHAUSTED,
    /// UNIMPLEMENTED or UNAVAILABLE.
    fn code(self) -> u8 {
        match self {
            OtlpRefusal::Method => 12,
            OtlpRefusal::TooLong
            | OtlpRefusal::TooLongForMemory(_)
            | OtlpRefusal::TooManySpans(_) => 8,
            OtlpRefusal::Full | OtlpRefusal::Busy | OtlpRefusal::Late => 14,
            _ => 3,
        }
    }
}

impl fmt::Display for OtlpRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OtlpRefusal::Method => f.write_str("spans are taken by POST only"),
            OtlpRefusal::ContentType => f.write_str(
                "the Content-Type is neither application/x-protobuf nor application/json",
            ),
            OtlpRefusal::Coding => {
                f.write_str("the Content-Encoding is neither gzip nor left away")
            }
            OtlpRefusal::Gzip => write!(f, "{}", GunzipError::Malformed),
            OtlpRefusal::Malformed(encoding) => {
                write!(f, "the body is no ExportTraceServiceRequest in {encoding}")
            }
            OtlpRefusal::TooLong => write!(
                f,
                "the request has more than {MAX_BYTES} bytes uncompressed, the most that X-Ray \
                 takes; let the client send less at once (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)"
            ),
            OtlpRefusal::TooManySpans(count) => write!(
                f,
                "the request has {count} spans, and X-Ray takes {MAX_SPANS} at most; let the \
                 client send less at once (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)"
            ),
            OtlpRefusal::TooLongForMemory(limit) => write!(
                f,
                "the request has more bytes than the {limit} that all waiting spans may take; let \
                 the client send less at once (OTEL_BSP_MAX_EXPORT_BATCH_SIZE), or raise the \
                 daemon's -m"
            ),
            OtlpRefusal::Full => f.write_str(
                "the memory for waiting spans is full; send them again later (raise the daemon's \
                 -m, or see in its log why spans cannot be delivered)",
            ),
            OtlpRefusal::Busy => f.write_str(
                "the requests of other clients use all memory there is for them; send the spans \
                 again later",
            ),
            OtlpRefusal::Late => f.write_str(
                "the daemon had no time to take the spans; send them again later (give it more CPU \
                 if this happens often)",
            ),
        }
    }
}

impl std::error::Error for OtlpRefusal {}

/// Reads a request: its method, the values of `Content-Type` and `Content-Encoding`, its body.
///
/// # Errors
/// When X-Ray would not take it.
pub fn read(
    method: &str,
    content_type: &[u8],
    content_encoding: &[u8],
    body: &[u8],
) -> Result<Spans, OtlpRefusal> {
    if method != "POST" {
        return Err(OtlpRefusal::Method);
    }
    let encoding = OtlpEncoding::of(content_type).ok_or(OtlpRefusal::ContentType)?;
    let coding = Coding::of(content_encoding).ok_or(OtlpRefusal::Coding)?;
    let count = match coding {
        Coding::Identity if body.len() > MAX_BYTES => return Err(OtlpRefusal::TooLong),
        Coding::Identity => counted(&mut &*body, encoding),
        Coding::Gzip => {
            let mut source = Gunzip::new(body, MAX_BYTES);
            let counted = counted(&mut source, encoding);
            match source.finish() {
                Some(GunzipError::TooLong) => return Err(OtlpRefusal::TooLong),
                Some(GunzipError::Malformed) => return Err(OtlpRefusal::Gzip),
                None => counted,
            }
        }
    };
    match count {
        Err(NotOtlp) => Err(OtlpRefusal::Malformed(encoding)),
        Ok(count) if count > MAX_SPANS => Err(OtlpRefusal::TooManySpans(count)),
        Ok(count) => Ok(Spans {
            encoding,
            coding,
            count,
        }),
    }
}

fn counted(source: &mut impl BufRead, encoding: OtlpEncoding) -> Result<usize, NotOtlp> {
    match encoding {
        OtlpEncoding::Protobuf => count::protobuf::spans(source),
        OtlpEncoding::Json => count::json::spans(source),
    }
}

#[cfg(test)]
mod tests;
