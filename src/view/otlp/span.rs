//! What a span of OTLP/JSON says, in the terms of a segment.

use std::borrow::Cow;

use crate::view::json::JsonValue;
use crate::view::model::{
    Exception, MAX_ANNOTATIONS, MAX_EXCEPTIONS, Mark, Span, SpanKind, host_of, id_key, sane_time,
};

/// Attributes of a span that say what the fields of an X-Ray segment say, in the names of the
/// present and the former semantic conventions.
const METHOD: [&str; 2] = ["http.request.method", "http.method"];
const URL: [&str; 4] = ["url.full", "http.url", "url.path", "http.target"];
const HTTP_STATUS: [&str; 2] = ["http.response.status_code", "http.status_code"];
const QUERY: [&str; 2] = ["db.query.text", "db.statement"];
const DATABASE: [&str; 2] = ["db.system.name", "db.system"];
const HOST: [&str; 4] = [
    "peer.service",
    "server.address",
    "net.peer.name",
    "net.peer.ip",
];
const USER: [&str; 2] = ["enduser.id", "user.id"];
const AWS_RESOURCES: [&str; 8] = [
    "aws.dynamodb.table_names",
    "aws.s3.bucket",
    "aws.sqs.queue.url",
    "aws.sns.topic.arn",
    "aws.lambda.invoked_arn",
    "aws.kinesis.stream_name",
    "aws.step_functions.state_machine.arn",
    "messaging.destination.name",
];

/// Passes each span of a request to `found`.
pub(crate) fn spans<'d>(request: JsonValue<'d>, found: &mut dyn FnMut(Span<'d>)) {
    for resource_spans in request.get("resourceSpans").items() {
        let resource = Attributes(resource_spans.get("resource"));
        let service = resource.first(&["service.name"]);
        for scope_spans in resource_spans.get("scopeSpans").items() {
            for value in scope_spans.get("spans").items() {
                found(span(value, service.clone()));
            }
        }
    }
}

/// As X-Ray itself sees spans: a root, a server and a consumer span are segments of the
/// service, the others are subsegments.
fn span<'d>(span: JsonValue<'d>, service: Cow<'d, str>) -> Span<'d> {
    let attributes = Attributes(span);
    let text = |value: JsonValue<'d>| value.scalar().unwrap_or_default();
    let id = |name: &str| span.get(name).string().and_then(|id| id_key(&id));
    let parent = parent_of(span);
    let name = text(span.get("name"));
    let query = attributes.first(&QUERY);
    let database = attributes.first(&DATABASE);
    let calls = match &*text(span.get("kind")) {
        "2" | "5" | "SPAN_KIND_SERVER" | "SPAN_KIND_CONSUMER" => None,
        _ if parent.is_none() => None,
        "3" | "4" | "SPAN_KIND_CLIENT" | "SPAN_KIND_PRODUCER" => Some(true),
        _ => Some(false),
    };
    let kind = match calls {
        None => SpanKind::Segment,
        Some(false) => SpanKind::Local,
        Some(true) if attributes.first(&["rpc.system"]) == "aws-api" => SpanKind::Aws,
        Some(true) if !query.is_empty() || !database.is_empty() => SpanKind::Sql,
        Some(true) => SpanKind::Remote,
    };
    let status: Option<u16> = attributes.first(&HTTP_STATUS).parse().ok();
    let outcome = span.get("status");
    let by_status = status.and_then(Mark::of_status);
    let (failed, mark) = match &*text(outcome.get("code")) {
        "2" | "STATUS_CODE_ERROR" => (true, Some(by_status.unwrap_or(Mark::Fault))),
        "1" | "STATUS_CODE_OK" => (false, None),
        // Many instrumentations do not set the status of failed requests.
        _ => (false, by_status),
    };
    let events = span.get("events").items();
    let mut exceptions: Vec<_> = events
        .filter(|event| event.get("name").string().as_deref() == Some("exception"))
        .map(|event| Exception {
            kind: Attributes(event).first(&["exception.type"]),
            message: Attributes(event).first(&["exception.message"]),
        })
        .filter(|exception| !exception.kind.is_empty() || !exception.message.is_empty())
        .take(MAX_EXCEPTIONS)
        .collect();
    let message = text(outcome.get("message"));
    if exceptions.is_empty() && failed && !message.is_empty() {
        exceptions.push(Exception {
            kind: Cow::Borrowed(""),
            message,
        });
    }
    let method = attributes.first(&METHOD);
    let (name, operation) = match kind {
        SpanKind::Segment if !service.is_empty() => (service.clone(), name),
        SpanKind::Aws => aws_names(&attributes, name),
        _ => (name, Cow::Borrowed("")),
    };
    let url = attributes.first(&URL);
    let peer = match kind {
        SpanKind::Remote | SpanKind::Sql => {
            [attributes.first(&HOST), host_of_url(&url), database.clone()]
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or_else(|| name.clone())
        }
        _ => name.clone(),
    };
    let named = |name: Cow<'d, str>| if name.is_empty() { None } else { Some(name) };
    Span {
        // Without an id the start tells spans apart, and a second copy is still the same one.
        id: id("spanId").unwrap_or_else(|| ["?", span.get("startTimeUnixNano").raw()].concat()),
        parent,
        kind,
        peer,
        service: named(service),
        start: time(span.get("startTimeUnixNano")),
        end: time(span.get("endTimeUnixNano")),
        // Spans are exported when they have ended.
        in_progress: false,
        mark,
        // A client span is often named by its method alone.
        method: if method == name {
            Cow::Borrowed("")
        } else {
            method
        },
        url,
        status,
        operation,
        resource: if kind == SpanKind::Aws {
            attributes.first(&AWS_RESOURCES)
        } else {
            Cow::Borrowed("")
        },
        query: if query.is_empty() { database } else { query },
        user: attributes.first(&USER),
        name,
        exceptions,
        annotations: attributes.all().take(MAX_ANNOTATIONS).collect(),
    }
}

fn host_of_url<'d>(url: &Cow<'d, str>) -> Cow<'d, str> {
    match url {
        Cow::Borrowed(url) => host_of(url).unwrap_or_default().into(),
        Cow::Owned(url) => host_of(url).unwrap_or_default().to_owned().into(),
    }
}

/// Whether a span has no parent.
pub(super) fn is_root(span: JsonValue<'_>) -> bool {
    parent_of(span).is_none()
}

fn parent_of(span: JsonValue<'_>) -> Option<String> {
    let parent = span.get("parentSpanId").string();
    let parent = parent.and_then(|id| id_key(&id));
    parent.filter(|id| id.bytes().any(|digit| digit != b'0'))
}

/// The service and the operation of an AWS call, as X-Ray's SDKs name them.
fn aws_names<'d>(attributes: &Attributes<'d>, name: Cow<'d, str>) -> (Cow<'d, str>, Cow<'d, str>) {
    match (
        attributes.first(&["rpc.service"]),
        attributes.first(&["rpc.method"]),
    ) {
        (service, _) if service.is_empty() => (name, Cow::Borrowed("")),
        names => names,
    }
}

/// Seconds of nanoseconds since the epoch, which are a string or a number; 0 is none.
fn time(nanos: JsonValue<'_>) -> Option<f64> {
    let nanos: f64 = nanos.scalar()?.parse().ok()?;
    sane_time(nanos / 1e9).filter(|_| nanos != 0.0)
}

/// What has `attributes`.
struct Attributes<'d>(JsonValue<'d>);

impl<'d> Attributes<'d> {
    /// Those whose values are text, a number or a boolean.
    fn all(&self) -> impl Iterator<Item = (Cow<'d, str>, Cow<'d, str>)> {
        self.0.get("attributes").items().filter_map(|attribute| {
            let key = attribute.get("key").string()?;
            Some((key, scalar(attribute.get("value"))?))
        })
    }

    /// The value of the first of `names` that is there, of a list its first element; empty
    /// without any.
    fn first(&self, names: &[&str]) -> Cow<'d, str> {
        let find = |name: &&str| {
            let mut all = self.0.get("attributes").items();
            let attribute =
                all.find(|item| item.get("key").string().is_some_and(|key| key == *name))?;
            let value = attribute.get("value");
            scalar(value).or_else(|| scalar(value.get("arrayValue").get("values").first()))
        };
        names.iter().find_map(find).unwrap_or_default()
    }
}

/// The text of a value that is one.
fn scalar(value: JsonValue<'_>) -> Option<Cow<'_, str>> {
    let forms = ["stringValue", "boolValue", "intValue", "doubleValue"];
    forms.iter().find_map(|form| value.get(form).scalar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::json::parse;

    fn one(rest: &str, check: impl FnOnce(Span<'_>)) {
        let request = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"cart"}}}}]}},
            "scopeSpans":[{{"spans":[{{"spanId":"AB","name":"GET",{rest}}}]}}]}}]}}"#
        );
        let document = parse(&request).unwrap();
        let mut all = Vec::new();
        spans(document.root(), &mut |span| all.push(span));
        assert_eq!(all.len(), 1);
        check(all.remove(0));
    }

    fn attributes(pairs: &[(&str, &str)]) -> String {
        let list: Vec<_> = pairs
            .iter()
            .map(|(key, value)| format!(r#"{{"key":"{key}","value":{value}}}"#))
            .collect();
        format!(r#""attributes":[{}]"#, list.join(","))
    }

    #[test]
    fn a_status_that_is_unset_is_read_from_http() {
        let cases = [
            ("0", 200, None),
            ("0", 404, Some(Mark::Error)),
            ("0", 429, Some(Mark::Throttle)),
            ("0", 503, Some(Mark::Fault)),
            ("1", 404, None),
            ("\"STATUS_CODE_OK\"", 500, None),
            ("2", 200, Some(Mark::Fault)),
            ("2", 404, Some(Mark::Error)),
            ("\"STATUS_CODE_ERROR\"", 429, Some(Mark::Throttle)),
        ];
        for (code, status, mark) in cases {
            let http =
                attributes(&[("http.status_code", &format!(r#"{{"intValue":"{status}"}}"#))]);
            one(&format!(r#"{http},"status":{{"code":{code}}}"#), |span| {
                assert_eq!(span.mark, mark, "{code} {status}");
                assert_eq!(span.status, Some(status));
            });
            one(&http, |span| assert_eq!(span.mark, Mark::of_status(status)));
        }
        one(r#""status":{"code":2}"#, |span| {
            assert_eq!(span.mark, Some(Mark::Fault))
        });
    }

    #[test]
    fn kinds_and_names() {
        let text = |text: &str| format!(r#"{{"stringValue":"{text}"}}"#);
        let client = r#""parentSpanId":"CD","kind":3"#;
        let aws = attributes(&[
            ("rpc.system", &text("aws-api")),
            ("rpc.service", &text("DynamoDB")),
            ("rpc.method", &text("GetItem")),
            (
                "aws.dynamodb.table_names",
                &format!(r#"{{"arrayValue":{{"values":[{}]}}}}"#, text("carts")),
            ),
        ]);
        let sql = attributes(&[("db.system", &text("mysql"))]);
        let http = attributes(&[
            ("http.request.method", &text("GET")),
            ("http.url", &text("http://old")),
            ("url.full", &text("http://new")),
        ]);
        let cases = [
            (
                "\"kind\":3".to_owned(),
                SpanKind::Segment,
                ["cart", "GET", "", ""],
            ),
            (format!("{client}7"), SpanKind::Local, ["GET", "", "", ""]),
            (
                r#""parentSpanId":"CD","kind":"SPAN_KIND_SERVER""#.to_owned(),
                SpanKind::Segment,
                ["cart", "GET", "", ""],
            ),
            (
                r#""parentSpanId":"0000","kind":1"#.to_owned(),
                SpanKind::Segment,
                ["cart", "GET", "", ""],
            ),
            (
                format!("{client},{aws}"),
                SpanKind::Aws,
                ["DynamoDB", "GetItem", "carts", ""],
            ),
            (
                format!("{client},{sql}"),
                SpanKind::Sql,
                ["GET", "", "", ""],
            ),
            (
                format!("{client},{http}"),
                SpanKind::Remote,
                ["GET", "", "", "http://new"],
            ),
        ];
        for (rest, kind, texts) in cases {
            one(&rest, |span| {
                assert_eq!(span.kind, kind, "{rest}");
                let own = [&span.name, &span.operation, &span.resource, &span.url];
                assert_eq!(own.map(|text| &**text), texts, "{rest}");
                assert_eq!((span.method.as_ref(), span.id.as_str()), ("", "ab"));
                assert_eq!(span.service.as_deref(), Some("cart"));
            });
        }
        let host =
            |key: &str| attributes(&[(key, &text("db.internal")), ("db.system", &text("mysql"))]);
        let peers = [
            (format!("{client},{aws}"), "DynamoDB"),
            (format!("{client},{sql}"), "mysql"),
            (
                format!("{client},{}", host("server.address")),
                "db.internal",
            ),
            (format!("{client},{}", host("net.peer.name")), "db.internal"),
            (format!("{client},{http}"), "new"),
            (client.to_owned(), "GET"),
        ];
        for (rest, peer) in peers {
            one(&rest, |span| assert_eq!(span.peer, peer, "{rest}"));
        }
    }

    #[test]
    fn times_are_strings_or_numbers() {
        let cases = [
            ("\"1700000000500000000\"", Some(1_700_000_000.5)),
            ("1700000000500000000", Some(1_700_000_000.5)),
            ("0", None),
            ("\"x\"", None),
            ("null", None),
            ("\"99999999999999999999999\"", None),
        ];
        for (nanos, seconds) in cases {
            one(&format!(r#""startTimeUnixNano":{nanos}"#), |span| {
                assert_eq!(span.start, seconds, "{nanos}");
            });
        }
    }

    #[test]
    fn exceptions_come_from_events_or_from_the_status() {
        let event = |name: &str| {
            let text = attributes(&[("exception.type", r#"{"stringValue":"Timeout"}"#)]);
            format!(r#"{{"name":"{name}",{text}}}"#)
        };
        let status = r#""status":{"code":2,"message":"no"}"#;
        let cases = [
            (
                format!(
                    r#""events":[{},{}],{status}"#,
                    event("log"),
                    event("exception")
                ),
                vec![("Timeout", "")],
            ),
            (status.to_owned(), vec![("", "no")]),
            (r#""status":{"code":1,"message":"no"}"#.to_owned(), vec![]),
        ];
        for (rest, expected) in cases {
            one(&rest, |span| {
                let own: Vec<_> = span
                    .exceptions
                    .iter()
                    .map(|e| (&*e.kind, &*e.message))
                    .collect();
                assert_eq!(own, expected, "{rest}");
            });
        }
    }
}
