//! One document a line, for `jq` and its like.

use serde_json::Value;

use super::console::{Format, format_of};

/// A document as one line of JSON, without the newline.
///
/// A JSON document stays as it is, numbers and order included; only white space between tokens
/// goes. Any other becomes `{"format":"T1S","document":"…"}`, the whole document as a string;
/// `format` is `T1S`, `T1U`, `M1` or, when it is none of these and not JSON, null.
pub fn json_line(doc: &str) -> String {
    let mut line = String::with_capacity(doc.len() + 32);
    let format = match format_of(doc) {
        Format::Otlp(_) => &doc[..3],
        Format::Metrics => "M1",
        Format::Json if serde_json::from_str::<Value>(doc).is_ok() => {
            compact(doc, &mut line);
            return line;
        }
        Format::Json => "",
    };
    line.push_str("{\"format\":");
    if format.is_empty() {
        line.push_str("null");
    } else {
        quote(format, &mut line);
    }
    line.push_str(",\"document\":");
    quote(doc, &mut line);
    line.push('}');
    line
}

/// Copies valid JSON without the white space between tokens.
fn compact(doc: &str, line: &mut String) {
    let (mut in_string, mut escaped) = (false, false);
    for c in doc.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            push(c, line);
        } else if !matches!(c, ' ' | '\t' | '\n' | '\r') {
            in_string = c == '"';
            line.push(c);
        }
    }
}

fn quote(text: &str, line: &mut String) {
    line.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            line.push('\\');
        }
        push(c, line);
    }
    line.push('"');
}

/// Control characters are escaped, the C1 ones too: they are legal in JSON but drive terminals.
fn push(c: char, line: &mut String) {
    if c.is_control() {
        line.push_str("\\u00");
        for digit in [c as u32 >> 4, c as u32 & 15] {
            line.extend(char::from_digit(digit, 16));
        }
    } else {
        line.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_keeps_everything_but_white_space() {
        let cases = [
            (
                "{\"b\" : 1.478293361271E9,\r\n\t\"a\":\"x \\\" : y\\\\\" , \"n\":1.10}\n",
                r#"{"b":1.478293361271E9,"a":"x \" : y\\","n":1.10}"#,
            ),
            ("[ ]", "[]"),
            ("{\"a\":\"\u{9b}2J\u{7f}é\"}", r#"{"a":"\u009b2J\u007fé"}"#),
        ];
        for (doc, line) in cases {
            assert_eq!(json_line(doc), line);
        }
    }

    #[test]
    fn other_documents_become_a_string() {
        let cases = [
            ("T1SCmkK", r#"{"format":"T1S","document":"T1SCmkK"}"#),
            ("T1U", r#"{"format":"T1U","document":"T1U"}"#),
            ("M1xyz", r#"{"format":"M1","document":"M1xyz"}"#),
            (
                "{\"a\":NaN}\n\u{1b}",
                r#"{"format":null,"document":"{\"a\":NaN}\u000a\u001b"}"#,
            ),
        ];
        for (doc, line) in cases {
            assert_eq!(json_line(doc), line);
        }
    }

    proptest! {
        #[test]
        fn any_document_is_one_line_of_json(doc in any::<String>()) {
            let line = json_line(&doc);
            prop_assert!(!line.chars().any(char::is_control));
            let value: Value = serde_json::from_str(&line).unwrap();
            if serde_json::from_str::<Value>(&doc).is_err() {
                prop_assert_eq!(value["document"].as_str(), Some(doc.as_str()));
            }
        }

        #[test]
        fn json_means_the_same(doc in super::super::tests::any_json()) {
            for text in [doc.to_string(), format!("{doc:#}")] {
                let line = json_line(&text);
                prop_assert_eq!(&serde_json::from_str::<Value>(&line).unwrap(), &doc);
            }
        }
    }
}
