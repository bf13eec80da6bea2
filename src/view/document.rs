//! Splits documents into parts, each of which belongs to one trace.

use std::borrow::Cow;
use std::fmt;

use super::json::{SyntaxError, parse};
use super::model::{Span, segment};
use super::otlp::{self, OtlpError};

/// What a document is, by its first characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentForm<'a> {
    /// Base64 of OTLP spans, sampled (`T1S`) or not (`T1U`).
    Spans { prefix: &'a str, base64: &'a str },
    /// Base64 of OTLP metrics (`M1`).
    Metrics,
    /// Anything else should be JSON.
    Json,
}

/// What form a document from a datagram has.
pub(crate) fn form_of(document: &str) -> DocumentForm<'_> {
    let spans = ["T1S", "T1U"]
        .iter()
        .find(|prefix| document.starts_with(**prefix));
    match spans {
        Some(prefix) => {
            let (prefix, base64) = document.split_at(prefix.len());
            DocumentForm::Spans { prefix, base64 }
        }
        None if document.starts_with("M1") => DocumentForm::Metrics,
        None => DocumentForm::Json,
    }
}

/// The part of a document that belongs to one trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TracePart<'a> {
    /// Key of the trace.
    pub(crate) trace: String,
    pub(crate) format: Format,
    /// A segment document as it was received, or an OTLP/JSON request with the spans of this
    /// trace alone.
    pub(crate) text: Cow<'a, str>,
    /// Whether it is a segment and no subsegment, or holds a span without a parent.
    pub(crate) root: bool,
}

/// What a [`TracePart`] is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    XRay,
    Otlp,
}

/// Why a document has no part that can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    NotJson(SyntaxError),
    Spans(OtlpError),
    Metrics,
    /// JSON without a segment.
    Empty,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::NotJson(error) => write!(f, "not JSON: {error}"),
            Unreadable::Spans(error) => error.fmt(f),
            Unreadable::Metrics => f.write_str("OpenTelemetry metrics, not shown"),
            Unreadable::Empty => f.write_str("holds no segment (no id, no name) and no span"),
        }
    }
}

/// Passes the parts of a document from a datagram to `found`.
pub(crate) fn parts(
    document: &str,
    found: &mut dyn FnMut(TracePart<'_>),
) -> Result<(), Unreadable> {
    match form_of(document) {
        DocumentForm::Spans { base64, .. } => {
            let request = otlp::base64_to_json(base64).map_err(Unreadable::Spans)?;
            request_parts(&request, found)
        }
        DocumentForm::Metrics => Err(Unreadable::Metrics),
        DocumentForm::Json => segments(document, found),
    }
}

/// Passes the parts of an OTLP/JSON request to `found`.
pub(crate) fn request_parts(
    request: &str,
    found: &mut dyn FnMut(TracePart<'_>),
) -> Result<(), Unreadable> {
    let request = parse(request).map_err(|error| Unreadable::Spans(error.into()))?;
    let mut any = false;
    otlp::split(request.root(), &mut |trace, text, root| {
        any = true;
        found(TracePart {
            trace,
            format: Format::Otlp,
            text: text.into(),
            root,
        });
    });
    if any { Ok(()) } else { Err(Unreadable::Empty) }
}

/// A document is one segment or a list of some.
fn segments(document: &str, found: &mut dyn FnMut(TracePart<'_>)) -> Result<(), Unreadable> {
    let parsed = parse(document).map_err(Unreadable::NotJson)?;
    let mut any = false;
    let mut pending = vec![parsed.root()];
    while let Some(value) = pending.pop() {
        let first = pending.len();
        pending.extend(value.items());
        pending[first..].reverse();
        if let Some(trace) = segment::trace_of(value) {
            any = true;
            found(TracePart {
                trace,
                format: Format::XRay,
                text: value.raw().into(),
                root: !segment::is_subsegment(value),
            });
        }
    }
    if any { Ok(()) } else { Err(Unreadable::Empty) }
}

/// Passes the content of a [`TracePart`] to `found`; nothing when it cannot be read.
pub(crate) fn spans(format: Format, text: &str, found: &mut dyn FnMut(Span<'_>)) {
    let Ok(document) = parse(text) else { return };
    match format {
        Format::XRay if segment::trace_of(document.root()).is_none() => {}
        Format::XRay => segment::spans(document.root(), &mut |span| found(span)),
        Format::Otlp => otlp::spans(document.root(), &mut |span| found(span)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_as_many_documents() {
        let mut texts = Vec::new();
        let list = r#"[ {"id":"a"},[{"name":"b","trace_id":"T"}], 5, {"x":1}, {"id":"c"} ]"#;
        parts(list, &mut |part| {
            texts.push((part.trace, part.text.into_owned()))
        })
        .unwrap();
        let expected = [
            ("no trace_id, id a", r#"{"id":"a"}"#),
            ("t", r#"{"name":"b","trace_id":"T"}"#),
            ("no trace_id, id c", r#"{"id":"c"}"#),
        ];
        let expected = expected.map(|(trace, text)| (trace.to_owned(), text.to_owned()));
        assert_eq!(texts, expected);
    }

    #[test]
    fn what_cannot_be_shown_is_said() {
        let cases = [
            ("x", "not JSON: expected a value at line 1 column 1"),
            ("[1]", "holds no segment (no id, no name) and no span"),
            ("M1", "OpenTelemetry metrics, not shown"),
            ("T1S*", "the OTLP spans are no valid base64"),
            ("T1U/w==", "the OTLP spans are no valid protobuf message"),
            ("T1S", "holds no segment (no id, no name) and no span"),
        ];
        for (document, error) in cases {
            let result = parts(document, &mut |_| panic!("{document}"));
            assert_eq!(result.unwrap_err().to_string(), error);
        }
    }
}
