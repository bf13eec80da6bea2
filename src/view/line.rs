//! One document a line, for `jq` and its like.

use super::document::{DocumentForm, form_of};
use super::json::{compact, parse, quote};
use super::otlp::{self, OtlpError};

/// A document from a datagram as one line of JSON, without the newline.
///
/// A JSON document stays as it is, numbers and order included; only white space between tokens
/// goes, and what strict readers refuse: `NaN` becomes null, half a surrogate pair `\ufffd`.
/// OpenTelemetry's spans (`T1S`, `T1U`) become OTLP/JSON, `{"format":"T1S","resourceSpans":[…]}`.
/// Any other document becomes `{"format":"M1","document":"…"}`, the whole document as a string;
/// `format` is null when it is none of these and not JSON.
pub fn json_line(document: &str) -> String {
    let mut line = String::with_capacity(document.len() + 32);
    let format = match form_of(document) {
        DocumentForm::Spans { prefix, base64 } => {
            if let Ok(request) = otlp::base64_to_json(base64) {
                line.push_str("{\"format\":");
                quote(prefix, &mut line);
                // An object: its first member follows, or its end.
                let members = &request[1..];
                line.push_str(if members == "}" { "" } else { "," });
                line.push_str(members);
                return line;
            }
            Some(prefix)
        }
        DocumentForm::Metrics => Some("M1"),
        DocumentForm::Json if parse(document).is_ok() => {
            compact(document, &mut line);
            return line;
        }
        DocumentForm::Json => None,
    };
    line.push_str("{\"format\":");
    match format {
        Some(format) => quote(format, &mut line),
        None => line.push_str("null"),
    }
    line.push_str(",\"document\":");
    quote(document, &mut line);
    line.push('}');
    line
}

/// The body of a `POST /v1/traces`, not compressed, as one line of OTLP/JSON,
/// `{"resourceSpans":[…]}`.
pub fn otlp_line(body: &[u8], content_type: &str) -> Result<String, OtlpError> {
    let request = otlp::body_to_json(body, content_type)?;
    parse(&request)?;
    let mut line = String::with_capacity(request.len());
    compact(&request, &mut line);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn json_keeps_everything_but_white_space() {
        let cases = [
            (
                "{\"b\" : 1.478293361271E9,\r\n\t\"a\":\"x \\\" : y\\\\\" , \"n\":1.10}\n",
                r#"{"b":1.478293361271E9,"a":"x \" : y\\","n":1.10}"#,
            ),
            ("[ ]", "[]"),
            ("{\"a\":\"\u{9b}2J\u{7f}é\"}", r#"{"a":"\u009b2J\u007fé"}"#),
            (r#"{"a": NaN, "b": "\ud83d"}"#, r#"{"a":null,"b":"\ufffd"}"#),
        ];
        for (doc, line) in cases {
            assert_eq!(json_line(doc), line);
        }
    }

    #[test]
    fn other_documents_become_a_string() {
        let cases = [
            ("T1SCmkK", r#"{"format":"T1S","document":"T1SCmkK"}"#),
            ("M1xyz", r#"{"format":"M1","document":"M1xyz"}"#),
            (
                "{\"a\":nan}\n\u{1b}",
                r#"{"format":null,"document":"{\"a\":nan}\u000a\u001b"}"#,
            ),
        ];
        for (doc, line) in cases {
            assert_eq!(json_line(doc), line);
        }
    }

    #[test]
    fn spans_become_otlp_json() {
        assert_eq!(json_line("T1U"), r#"{"format":"T1U"}"#);
        let line = json_line(crate::view::tests::OTLP.trim_end());
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["format"], "T1S");
        let span = &value["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "6553f1005f84c7a3e7d24ab39c55c2e0");
        let request = r#" {"resourceSpans" : [ { } ]}"#;
        let own = otlp_line(request.as_bytes(), "application/json; charset=utf-8");
        assert_eq!(own.unwrap(), r#"{"resourceSpans":[{}]}"#);
        assert_eq!(otlp_line(b"", "Application/X-Protobuf").unwrap(), "{}");
        assert_eq!(otlp_line(b"{}", "text/plain"), Err(OtlpError::ContentType));
        assert!(matches!(
            otlp_line(b"{", "application/json"),
            Err(OtlpError::Json(_))
        ));
    }

    proptest! {
        #[test]
        fn any_document_is_one_line_of_json(doc in any::<String>()) {
            let line = json_line(&doc);
            prop_assert!(!line.chars().any(char::is_control));
            let value: Value = serde_json::from_str(&line).unwrap();
            if parse(&doc).is_err() {
                prop_assert_eq!(value["document"].as_str(), Some(doc.as_str()));
            }
        }

        #[test]
        fn json_means_the_same(doc in crate::view::tests::any_json()) {
            for text in [doc.to_string(), format!("{doc:#}")] {
                let line = json_line(&text);
                prop_assert_eq!(&serde_json::from_str::<Value>(&line).unwrap(), &doc);
            }
        }
    }
}
