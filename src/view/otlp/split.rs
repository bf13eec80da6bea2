//! Splits a request into its traces.

use std::collections::HashMap;

use super::span::is_root;
use crate::view::json::{JsonValue, compact, quote};
use crate::view::model::{id_key, trace_key};

/// Bytes of a resource or a scope that each trace of a request gets a copy of. Of a larger one
/// only the name of the service is kept, so that a request of many traces stays of its size.
const MAX_COPIED: usize = 8 << 10;

/// A span and where it stands in the request.
struct SpanPlace<'d> {
    resource_spans: JsonValue<'d>,
    scope_spans: JsonValue<'d>,
    span: JsonValue<'d>,
    /// The same for spans that may share the copy of their resource, and of their scope.
    resource_at: usize,
    scope_at: usize,
}

/// Gives `found` the key of each trace in an OTLP/JSON request, in the order of the first spans,
/// with a request that holds the spans of this trace alone, and whether one of them is a root.
pub(crate) fn split(request: JsonValue<'_>, found: &mut dyn FnMut(String, String, bool)) {
    let mut at = HashMap::new();
    let mut traces: Vec<(String, Vec<SpanPlace<'_>>)> = Vec::new();
    let (mut resource_at, mut scope_at) = (0, 0);
    for resource_spans in request.get("resourceSpans").items() {
        resource_at += 1;
        for scope_spans in resource_spans.get("scopeSpans").items() {
            scope_at += 1;
            for span in scope_spans.get("spans").items() {
                let key = trace_of(span);
                let index = *at.entry(key.clone()).or_insert(traces.len());
                if index == traces.len() {
                    traces.push((key, Vec::new()));
                }
                traces[index].1.push(SpanPlace {
                    resource_spans,
                    scope_spans,
                    span,
                    resource_at,
                    scope_at,
                });
            }
        }
    }
    for (trace, places) in traces {
        let root = places.iter().any(|place| is_root(place.span));
        found(trace, request_of(&places), root);
    }
}

fn trace_of(span: JsonValue<'_>) -> String {
    let trace = span.get("traceId").string();
    let trace = trace.and_then(|id| trace_key(&id));
    trace.unwrap_or_else(|| {
        let id = span.get("spanId").string();
        let id = id.and_then(|id| id_key(&id)).unwrap_or_default();
        ["no trace id, span ", &id].concat()
    })
}

/// A request of these spans, which stand in the order of the original.
fn request_of(places: &[SpanPlace<'_>]) -> String {
    let mut text = "{\"resourceSpans\":[".to_owned();
    let (mut resource_at, mut scope_at) = (0, 0);
    for place in places {
        if place.resource_at != resource_at {
            text.push_str(if resource_at == 0 { "{" } else { "]}]},{" });
            copy("resource", place.resource_spans.get("resource"), &mut text);
            text.push_str("\"scopeSpans\":[{");
        } else if place.scope_at != scope_at {
            text.push_str("]},{");
        }
        if place.scope_at == scope_at {
            text.push(',');
        } else {
            copy("scope", place.scope_spans.get("scope"), &mut text);
            text.push_str("\"spans\":[");
        }
        compact(place.span.raw(), &mut text);
        (resource_at, scope_at) = (place.resource_at, place.scope_at);
    }
    text.push_str("]}]}]}");
    text
}

/// Writes the member `name` and a comma, if there is such a value.
fn copy(name: &'static str, value: JsonValue<'_>, text: &mut String) {
    if value.is_null() {
        return;
    }
    quote(name, text);
    text.push(':');
    if value.raw().len() <= MAX_COPIED {
        compact(value.raw(), text);
    } else {
        text.push_str("{\"attributes\":[");
        let mut attributes = value.get("attributes").items();
        let service =
            attributes.find(|item| item.get("key").string().as_deref() == Some("service.name"));
        if let Some(service) = service.filter(|item| item.raw().len() <= MAX_COPIED) {
            compact(service.raw(), text);
        }
        text.push_str("]}");
    }
    text.push(',');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::json::parse;

    fn parts(request: &str) -> Vec<(String, String)> {
        let document = parse(request).unwrap();
        let mut parts = Vec::new();
        split(document.root(), &mut |trace, text, _| {
            parts.push((trace, text))
        });
        parts
    }

    #[test]
    fn each_trace_gets_its_spans_under_their_resource_and_scope() {
        let request = r#"{ "resourceSpans": [
            {"resource":{"r":1}, "schemaUrl":"u", "scopeSpans":[
                {"scope":{"s":1}, "spans":[{"traceId":"A","n":1},{"traceId":"b","n":2},{"traceId":"a","n":3}]},
                {"spans":[{"traceId":"a","n":4}]},
                {"scope":{"s":3}, "spans":[]}]},
            {"scopeSpans":[{"scope":{"s":4}, "spans":[{"traceId":"a","n":5}, {"n":6,"spanId":"Q"}, 7]}]},
            8 ]}"#;
        let (a, b) = (
            concat!(
                r#"{"resourceSpans":[{"resource":{"r":1},"scopeSpans":["#,
                r#"{"scope":{"s":1},"spans":[{"traceId":"A","n":1},{"traceId":"a","n":3}]},"#,
                r#"{"spans":[{"traceId":"a","n":4}]}]},"#,
                r#"{"scopeSpans":[{"scope":{"s":4},"spans":[{"traceId":"a","n":5}]}]}]}"#,
            ),
            r#"{"resourceSpans":[{"resource":{"r":1},"scopeSpans":[{"scope":{"s":1},"spans":[{"traceId":"b","n":2}]}]}]}"#,
        );
        let own = |spans: &str| {
            format!(
                r#"{{"resourceSpans":[{{"scopeSpans":[{{"scope":{{"s":4}},"spans":[{spans}]}}]}}]}}"#
            )
        };
        let expected = [
            ("a", a.to_owned()),
            ("b", b.to_owned()),
            ("no trace id, span q", own(r#"{"n":6,"spanId":"Q"}"#)),
            ("no trace id, span ", own("7")),
        ];
        let expected = expected.map(|(trace, text)| (trace.to_owned(), text));
        assert_eq!(parts(request), expected);
        for (_, text) in expected {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
        assert_eq!(parts("[1]"), []);
    }

    #[test]
    fn a_large_resource_is_not_copied_into_each_trace() {
        let large = "x".repeat(MAX_COPIED);
        let service = r#"{"key":"service.name","value":{"stringValue":"cart"}}"#;
        let request = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"{large}"}},{service}]}},
            "scopeSpans":[{{"spans":[{{"traceId":"a"}}]}}]}}]}}"#
        );
        let expected = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{service}]}},"scopeSpans":[{{"spans":[{{"traceId":"a"}}]}}]}}]}}"#
        );
        assert_eq!(parts(&request), [("a".to_owned(), expected)]);
    }
}
