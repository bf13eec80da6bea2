//! Finds the ids of a document that X-Ray or an operator asks about.

use serde_json::Value;

/// The ids that a segment document carries.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DocumentIds {
    /// The member `trace_id`.
    pub trace_id: Option<String>,
    /// The member `id`.
    pub id: Option<String>,
}

/// Reads the ids of `document`. A document that is not JSON, for example one that was cut short, is
/// searched for the first `"trace_id"` and `"id"` that a string follows.
pub fn ids(document: &str) -> DocumentIds {
    let text = |document: &Value, key: &str| Some(document.get(key)?.as_str()?.to_owned());
    match serde_json::from_str::<Value>(document) {
        Ok(document) => DocumentIds {
            trace_id: text(&document, "trace_id"),
            id: text(&document, "id"),
        },
        Err(_) => DocumentIds {
            trace_id: first_string(document, "\"trace_id\""),
            id: first_string(document, "\"id\""),
        },
    }
}

fn first_string(document: &str, key: &str) -> Option<String> {
    let after = &document[document.find(key)? + key.len()..];
    let value = after.trim_start().strip_prefix(':')?.trim_start();
    let value = value.strip_prefix('"')?;
    Some(value[..value.find('"')?].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_with_and_without_spaces_and_not_in_subsegments() {
        let cases = [
            (r#"{"id":"a","trace_id":"t"}"#, Some("t"), Some("a")),
            (r#"{"id": "a", "trace_id" : "t"}"#, Some("t"), Some("a")),
            (r#"{"subsegments":[{"id":"x"}],"id":"a"}"#, None, Some("a")),
            (r#"{"id":7,"trace_id":"t"}"#, Some("t"), None),
            (
                r#"{"trace_id": "t", "id":"a", truncated"#,
                Some("t"),
                Some("a"),
            ),
            ("T1SCmkK", None, None),
            ("\"id\"", None, None),
            ("[]", None, None),
        ];
        for (document, trace_id, id) in cases {
            let found = ids(document);
            assert_eq!(
                (found.trace_id.as_deref(), found.id.as_deref()),
                (trace_id, id),
                "{document}"
            );
        }
    }
}
