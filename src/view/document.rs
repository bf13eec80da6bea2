//! Reads one segment document. Fields as in the AWS X-Ray developer guide, "AWS X-Ray segment
//! documents"; whatever is missing or of another type is left out, because a view that refuses a
//! document helps nobody find out what is wrong with it.

use std::borrow::Cow;

use serde_json::Value;

use super::entity::{
    Entity, Kind, MAX_ANNOTATIONS, MAX_EXCEPTIONS, Mark, TEXT_COLUMNS, exception, id_key,
    sane_time, trace_key,
};
use super::text::Text;

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

/// Gives `found` the trace id and each segment and subsegment of a document, parents first;
/// nothing when it has neither id nor name. An array is read as a list of documents.
///
/// Recursion is bounded by `serde_json`, which refuses more than 128 levels.
pub(crate) fn read(doc: &Value, annotations: bool, found: &mut dyn FnMut(&str, Entity)) {
    if let Value::Array(documents) = doc {
        for document in documents {
            read(document, annotations, found);
        }
        return;
    }
    let id = text_of(&doc["id"]).and_then(|id| id_key(&id));
    if id.is_none() && text_of(&doc["name"]).is_none() {
        return;
    }
    let trace = text_of(&doc["trace_id"])
        .and_then(|id| trace_key(&id))
        .unwrap_or_else(|| ["no trace_id, id ", id.as_deref().unwrap_or("missing")].concat());
    // Without an id the start tells documents apart, and a second copy is still the same one.
    let id = id.unwrap_or_else(|| format!("?{:x}", number(&doc["start_time"]).to_bits()));
    let parent = text_of(&doc["parent_id"]).and_then(|id| id_key(&id));
    let segment = doc["type"] != "subsegment";
    walk(doc, id, parent, segment, annotations, &mut |entity| {
        found(&trace, entity)
    });
}

fn walk(
    doc: &Value,
    id: String,
    parent: Option<String>,
    segment: bool,
    annotations: bool,
    found: &mut dyn FnMut(Entity),
) {
    found(entity(doc, id.clone(), parent, segment, annotations));
    for (at, child) in list(&doc["subsegments"]).iter().enumerate() {
        let child_id = text_of(&child["id"])
            .and_then(|id| id_key(&id))
            .unwrap_or_else(|| format!("{id}/{at}"));
        walk(child, child_id, Some(id.clone()), false, annotations, found);
    }
}

fn entity(
    doc: &Value,
    id: String,
    parent: Option<String>,
    segment: bool,
    annotations: bool,
) -> Entity {
    let name = text_of(&doc["name"]).unwrap_or_default();
    let kind = match () {
        _ if segment => Kind::Segment,
        _ if doc["sql"].is_object() => Kind::Sql,
        _ if doc["namespace"] == "aws" => Kind::Aws,
        _ if doc["namespace"] == "remote" => Kind::Remote,
        _ => Kind::Local,
    };
    let set = |flag: &str| doc[flag] == true;
    Entity {
        id,
        parent,
        kind,
        name: Text::foreign(
            if name.is_empty() { "(no name)" } else { &name },
            TEXT_COLUMNS,
        ),
        detail: detail(doc, kind, &name),
        start: sane_time(number(&doc["start_time"])),
        end: sane_time(number(&doc["end_time"])),
        in_progress: set("in_progress") || doc["end_time"].is_null(),
        status: status(&doc["http"]["response"]["status"]),
        mark: match () {
            _ if set("fault") => Some(Mark::Fault),
            _ if set("throttle") => Some(Mark::Throttle),
            _ if set("error") => Some(Mark::Error),
            _ => None,
        },
        exceptions: list(&doc["cause"]["exceptions"])
            .iter()
            .take(MAX_EXCEPTIONS)
            .map(|e| {
                exception(
                    &text_of(&e["type"]).unwrap_or_default(),
                    &text_of(&e["message"]).unwrap_or_default(),
                )
            })
            .filter(|text| !text.is_empty())
            .collect(),
        annotations: match &doc["annotations"] {
            Value::Object(fields) if annotations => fields
                .iter()
                .filter_map(|(key, value)| {
                    let pair = [key.as_str(), "=", &text_of(value)?].concat();
                    Some(Text::foreign(&pair, TEXT_COLUMNS))
                })
                .take(MAX_ANNOTATIONS)
                .collect(),
            _ => Vec::new(),
        },
    }
}

/// What was asked: a query, an operation and its resource, or a method and the short URL.
fn detail(doc: &Value, kind: Kind, name: &str) -> Text {
    let part = |value: &Value| Text::foreign(&text_of(value).unwrap_or_default(), TEXT_COLUMNS);
    match kind {
        Kind::Sql if !doc["sql"]["sanitized_query"].is_null() => {
            return part(&doc["sql"]["sanitized_query"]);
        }
        Kind::Sql => return part(&doc["sql"]["database_type"]),
        Kind::Aws => {
            let aws = &doc["aws"];
            let resource = AWS_RESOURCES
                .iter()
                .map(|key| &aws[*key])
                .chain([&aws["resource_names"][0], &aws["table_names"][0]])
                .find_map(text_of)
                .unwrap_or_default();
            // Of a queue URL or an ARN the last part is the name.
            let resource = resource.rsplit(['/', ':']).next().unwrap_or_default();
            return part(&aws["operation"]).join(" ", &Text::foreign(resource, TEXT_COLUMNS));
        }
        _ => {}
    }
    let request = &doc["http"]["request"];
    let url = text_of(&request["url"]).unwrap_or_default();
    let known_host = if kind == Kind::Segment {
        None
    } else {
        Some(name)
    };
    part(&request["method"]).join(
        " ",
        &Text::foreign(short_url(&url, known_host), TEXT_COLUMNS),
    )
}

/// The path of a URL, with the host in front when the name of a call does not say it already.
/// Query and user info go: they are long and may hold secrets.
pub(crate) fn short_url<'a>(url: &'a str, call_name: Option<&str>) -> &'a str {
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    let Some((_, rest)) = url.split_once("://") else {
        return url;
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host_at = authority.rfind('@').map_or(0, |at| at + 1);
    let host = &authority[host_at..];
    match call_name {
        Some(name) if host != name && host.split(':').next() != Some(name) => &rest[host_at..],
        _ if path.is_empty() => "/",
        _ => path,
    }
}

/// A string, a number or a boolean as text.
fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        _ => None,
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn status(value: &Value) -> Option<u16> {
    let code = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    code.and_then(|code| u16::try_from(code).ok())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entities(doc: &str) -> Vec<Entity> {
        let mut all = Vec::new();
        read(&serde_json::from_str(doc).unwrap(), true, &mut |_, e| {
            all.push(e)
        });
        all
    }

    #[test]
    fn a_segment_with_its_subsegments() {
        let all = entities(
            r#"{"trace_id":"1-5759e988-bd862e3fe1be46a994272793","id":"DEFDFD9912DC5A56",
            "parent_id":"53995c3f42cd8ad0","name":"orders","start_time":1461096053.25,
            "end_time":1461096053.5,"fault":true,"error":true,
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
            ]}"#,
        );
        let rows: Vec<_> = all
            .iter()
            .map(|e| (e.id.as_str(), e.kind.word(), e.detail.as_str(), e.status))
            .collect();
        assert_eq!(
            rows,
            [
                ("defdfd9912dc5a56", "segment", "POST /orders", Some(500)),
                ("53995c3f42cd8ad8", "remote", "GET /health", Some(429)),
                ("defdfd9912dc5a56/1", "aws", "GetItem carts", None),
                ("defdfd9912dc5a56/1/0", "local", "", None),
                ("q", "sql", "SELECT 1 FROM t", None),
            ]
        );
        assert_eq!(all[0].parent.as_deref(), Some("53995c3f42cd8ad0"));
        assert_eq!(all[3].parent.as_deref(), Some("defdfd9912dc5a56/1"));
        assert_eq!(all[0].mark, Some(Mark::Fault));
        assert_eq!(all[1].mark, Some(Mark::Throttle));
        assert!(!all[0].in_progress && all[2].in_progress);
        let texts = |texts: &[Text]| -> Vec<String> {
            texts.iter().map(|t| t.as_str().to_owned()).collect()
        };
        assert_eq!(texts(&all[0].exceptions), ["Timeout: no answer", "Bare"]);
        assert_eq!(
            texts(&all[0].annotations),
            ["customer=gold", "items=3", "vip=true"]
        );
    }

    #[test]
    fn documents_without_the_required_fields() {
        assert_eq!(entities(r#"{"name":"x"}"#).len(), 1);
        assert_eq!(
            entities(r#"{"id":7,"name":["x"],"http":3,"subsegments":{"a":1}}"#).len(),
            1
        );
        assert_eq!(entities(r#"[{"id":"a"},[{"id":"b"}],5]"#).len(), 2);
        for nothing in ["{}", "[]", "3", "\"x\"", r#"{"foo":"bar"}"#] {
            assert_eq!(entities(nothing), [], "{nothing}");
        }
    }

    #[test]
    fn urls_are_short_and_without_secrets() {
        let cases = [
            ("https://u:p@h/a/b?q=1#f", None, "/a/b"),
            ("https://u:p@h/a/b?q=1", Some("other"), "h/a/b"),
            ("http://h:80", Some("h"), "/"),
            ("http://h:80", Some("h:80"), "/"),
            ("/only/path?x", Some("h"), "/only/path"),
            ("", None, ""),
        ];
        for (url, name, short) in cases {
            assert_eq!(short_url(url, name), short, "{url}");
        }
    }
}
