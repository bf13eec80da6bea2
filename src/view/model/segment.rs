//! Reads one segment document. Fields as in the AWS X-Ray developer guide, "AWS X-Ray segment
//! documents". A field that is missing or of another type is left out, because a document that is
//! not shown could not be examined.

use std::borrow::Cow;

use super::{Exception, MAX_ANNOTATIONS, MAX_EXCEPTIONS, Mark, Span, SpanKind};
use super::{id_key, sane_time, trace_key};
use crate::view::json::JsonValue;

/// Fields of an `aws` block that name the resource, as the SDKs write them.
const AWS_RESOURCES: [&str; 7] = [
    "table_name",
    "bucket_name",
    "queue_url",
    "function_name",
    "topic_arn",
    "stream_name",
    "state_machine_arn",
];

/// The key of the trace that a segment document belongs to. A document without a trace id makes
/// a trace of its own; one that has neither id nor name is no segment.
pub(crate) fn trace_of(document: JsonValue<'_>) -> Option<String> {
    let id = document.get("id").scalar().and_then(|id| id_key(&id));
    if id.is_none() && document.get("name").scalar().is_none() {
        return None;
    }
    let trace = document.get("trace_id").scalar();
    let trace = trace.and_then(|id| trace_key(&id));
    trace.or_else(|| Some(["no trace_id, id ", id.as_deref().unwrap_or("missing")].concat()))
}

/// Whether it is a subsegment that was sent by itself.
pub(crate) fn is_subsegment(document: JsonValue<'_>) -> bool {
    document.get("type").string().as_deref() == Some("subsegment")
}

/// Passes the segment and each subsegment to `found`, parents first. The depth needs no stack.
pub(crate) fn spans<'d>(document: JsonValue<'d>, found: &mut dyn FnMut(Span<'d>)) {
    let id_of = |value: JsonValue<'_>| value.scalar().and_then(|id| id_key(&id));
    // Without an id the start tells documents apart, and a second copy is still the same one.
    let start = || document.get("start_time").number().unwrap_or(f64::NAN);
    let id = id_of(document.get("id")).unwrap_or_else(|| format!("?{:x}", start().to_bits()));
    let parent = id_of(document.get("parent_id"));
    let kind = if is_subsegment(document) {
        kind_of_subsegment(document)
    } else {
        SpanKind::Segment
    };
    let mut pending = Vec::new();
    let mut nameless = 0;
    let mut next = Some((document, kind, id.clone(), parent));
    while let Some((value, kind, own_id, parent)) = next {
        let first = pending.len();
        for child in value.get("subsegments").items() {
            let child_id = id_of(child.get("id")).unwrap_or_else(|| {
                nameless += 1;
                format!("{id}/{nameless}")
            });
            let kind = kind_of_subsegment(child);
            pending.push((child, kind, child_id, Some(own_id.clone())));
        }
        pending[first..].reverse();
        found(span(value, kind, own_id, parent));
        next = pending.pop();
    }
}

fn kind_of_subsegment(document: JsonValue<'_>) -> SpanKind {
    if document.get("sql").is_object() {
        return SpanKind::Sql;
    }
    match document.get("namespace").string().as_deref() {
        Some("aws") => SpanKind::Aws,
        Some("remote") => SpanKind::Remote,
        _ => SpanKind::Local,
    }
}

fn span<'d>(
    document: JsonValue<'d>,
    kind: SpanKind,
    id: String,
    parent: Option<String>,
) -> Span<'d> {
    let text = |value: JsonValue<'d>| value.scalar().unwrap_or_default();
    let time = |value: JsonValue<'_>| value.number().and_then(sane_time);
    let set = |flag: &str| document.get(flag).is_true();
    let name = text(document.get("name"));
    let request = document.get("http").get("request");
    let sql = document.get("sql");
    let query = [sql.get("sanitized_query"), sql.get("database_type")];
    let aws = document.get("aws");
    let user = [document.get("user"), sql.get("user")];
    let resources = AWS_RESOURCES.iter().map(|key| aws.get(key));
    let lists = [aws.get("resource_names"), aws.get("table_names")];
    let mut resources = resources.chain(lists.map(|list| list.first()));
    Span {
        id,
        parent,
        kind,
        service: (kind == SpanKind::Segment && !name.is_empty()).then(|| name.clone()),
        peer: name.clone(),
        name,
        start: time(document.get("start_time")),
        end: time(document.get("end_time")),
        in_progress: set("in_progress") || document.get("end_time").is_null(),
        mark: match () {
            () if set("fault") => Some(Mark::Fault),
            () if set("throttle") => Some(Mark::Throttle),
            () if set("error") => Some(Mark::Error),
            () => None,
        },
        method: text(request.get("method")),
        url: text(request.get("url")),
        status: status(document.get("http").get("response").get("status")),
        operation: text(aws.get("operation")),
        resource: resources.find_map(JsonValue::scalar).unwrap_or_default(),
        query: query
            .into_iter()
            .find_map(JsonValue::scalar)
            .unwrap_or_default(),
        user: user
            .into_iter()
            .find_map(JsonValue::scalar)
            .unwrap_or_default(),
        exceptions: document
            .get("cause")
            .get("exceptions")
            .items()
            .take(MAX_EXCEPTIONS)
            .map(|exception| Exception {
                kind: text(exception.get("type")),
                message: text(exception.get("message")),
            })
            .filter(|exception| !exception.kind.is_empty() || !exception.message.is_empty())
            .collect(),
        annotations: document
            .get("annotations")
            .fields()
            .filter_map(|(key, value)| Some((key, value.scalar()?)))
            .take(MAX_ANNOTATIONS)
            .collect(),
    }
}

fn status(value: JsonValue<'_>) -> Option<u16> {
    let text: Cow<'_, str> = value.scalar()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::json::parse;

    fn with_spans(doc: &str, check: impl FnOnce(Vec<Span<'_>>)) {
        let document = parse(doc).unwrap();
        let mut all = Vec::new();
        spans(document.root(), &mut |span| all.push(span));
        check(all);
    }

    #[test]
    fn a_segment_with_its_subsegments() {
        let doc = r#"{"trace_id":"1-5759e988-bd862e3fe1be46a994272793","id":"DEFDFD9912DC5A56",
            "parent_id":"53995c3f42cd8ad0","name":"orders","start_time":1461096053.25,
            "end_time":1461096053.5,"fault":true,"error":true,"user":"jo",
            "http":{"request":{"method":"POST","url":"https://me:pw@orders.internal/orders?token=x"},
                    "response":{"status":500}},
            "annotations":{"customer":"gold","items":3,"vip":true,"nested":{}},
            "cause":{"exceptions":[{"type":"Timeout","message":"no\nanswer"},{"type":"Bare"},{}]},
            "subsegments":[
              {"id":"53995c3f42cd8ad8","name":"api.example.com","namespace":"remote",
               "start_time":1461096053.3,"end_time":1461096053.4,"throttle":true,"error":true,
               "http":{"request":{"method":"GET","url":"https://api.example.com:8443/health#x"},
                       "response":{"status":"429"}}},
              {"name":"DynamoDB","namespace":"aws","in_progress":true,"start_time":1461096053.3,
               "aws":{"operation":"GetItem","table_name":"carts"},
               "subsegments":[{"name":"marshal"}]},
              {"id":"q","name":"db@host","namespace":"remote","sql":{"sanitized_query":"SELECT 1\n FROM t"}}
            ]}"#;
        let document = parse(doc).unwrap();
        let trace = trace_of(document.root()).unwrap();
        assert_eq!(trace, "1-5759e988-bd862e3fe1be46a994272793");
        with_spans(doc, |all| {
            let rows: Vec<_> = all
                .iter()
                .map(|s| (s.id.as_str(), s.kind, s.status, s.mark))
                .collect();
            assert_eq!(
                rows,
                [
                    (
                        "defdfd9912dc5a56",
                        SpanKind::Segment,
                        Some(500),
                        Some(Mark::Fault)
                    ),
                    (
                        "53995c3f42cd8ad8",
                        SpanKind::Remote,
                        Some(429),
                        Some(Mark::Throttle)
                    ),
                    ("defdfd9912dc5a56/1", SpanKind::Aws, None, None),
                    ("defdfd9912dc5a56/2", SpanKind::Local, None, None),
                    ("q", SpanKind::Sql, None, None),
                ]
            );
            assert_eq!(all[0].parent.as_deref(), Some("53995c3f42cd8ad0"));
            assert_eq!(all[3].parent.as_deref(), Some("defdfd9912dc5a56/1"));
            assert!(!all[0].in_progress && all[2].in_progress);
            assert_eq!((&*all[0].method, &*all[0].user), ("POST", "jo"));
            assert_eq!(all[0].url, "https://me:pw@orders.internal/orders?token=x");
            assert_eq!(
                (&*all[2].operation, &*all[2].resource),
                ("GetItem", "carts")
            );
            assert_eq!(all[4].query, "SELECT 1\n FROM t");
            let exceptions: Vec<_> = all[0]
                .exceptions
                .iter()
                .map(|e| (&*e.kind, &*e.message))
                .collect();
            assert_eq!(exceptions, [("Timeout", "no\nanswer"), ("Bare", "")]);
            let annotations: Vec<_> = all[0]
                .annotations
                .iter()
                .map(|(k, v)| (&**k, &**v))
                .collect();
            assert_eq!(
                annotations,
                [("customer", "gold"), ("items", "3"), ("vip", "true")]
            );
            let services: Vec<_> = all.iter().map(|s| s.service.as_deref()).collect();
            assert_eq!(services, [Some("orders"), None, None, None, None]);
        });
    }

    #[test]
    fn documents_without_the_required_fields() {
        let trace = |doc: &str| trace_of(parse(doc).unwrap().root());
        assert_eq!(trace(r#"{"name":"x"}"#).unwrap(), "no trace_id, id missing");
        assert_eq!(trace(r#"{"id":"A"}"#).unwrap(), "no trace_id, id a");
        for nothing in ["{}", "[]", "3", "\"x\"", r#"{"foo":"bar"}"#] {
            assert_eq!(trace(nothing), None, "{nothing}");
        }
        with_spans(
            r#"{"id":7,"name":["x"],"http":3,"subsegments":{"a":1}}"#,
            |all| {
                assert_eq!(all.len(), 1);
            },
        );
    }

    #[test]
    fn what_python_and_node_write_is_read() {
        let doc = r#"{"id":"a","name":"cut \ud83d","start_time":1,"end_time":NaN,
            "annotations":{"ratio":NaN,"note":"\udc00"},"metadata":{"default":{"x":-Infinity}}}"#;
        with_spans(doc, |all| {
            assert_eq!(all[0].name, "cut \u{fffd}");
            assert_eq!(all[0].end, None);
            assert!(!all[0].in_progress, "it has an end, if an odd one");
            let annotations: Vec<_> = all[0]
                .annotations
                .iter()
                .map(|(k, v)| (&**k, &**v))
                .collect();
            assert_eq!(annotations, [("ratio", "NaN"), ("note", "\u{fffd}")]);
        });
    }

    #[test]
    fn subsegments_nest_as_deep_as_a_document_can_hold() {
        let depth = 2_500;
        let doc = [
            r#"{"name":"","subsegments":["#.repeat(depth),
            "]}".repeat(depth),
        ]
        .concat();
        with_spans(&doc, |all| {
            assert_eq!(all.len(), depth);
            assert_eq!(all[depth - 1].parent.as_ref(), Some(&all[depth - 2].id));
        });
    }
}
