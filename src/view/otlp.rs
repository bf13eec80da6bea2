//! Reads a `T1S` or `T1U` document: after that prefix, base64 of an OTLP
//! `ExportTraceServiceRequest`, which the AWS distributions of OpenTelemetry send by UDP.
//! Only what the view shows is decoded. Field numbers are those of `trace.proto`,
//! `common.proto` and `resource.proto` in open-telemetry/opentelemetry-proto.

use std::borrow::Cow;

use super::document::short_url;
use super::entity::{
    Entity, Kind, MAX_ANNOTATIONS, MAX_EXCEPTIONS, Mark, TEXT_COLUMNS, exception, sane_time,
    trace_key,
};
use super::protobuf::{
    Field::{self, Bytes, Number},
    Fields, Malformed, decode_base64,
};
use super::text::Text;

/// Attributes of a span that say what the fields of an X-Ray segment say, in the names of the
/// present and the former semantic conventions.
const METHOD: [&str; 2] = ["http.request.method", "http.method"];
const URL: [&str; 4] = ["url.full", "http.url", "url.path", "http.target"];
const HTTP_STATUS: [&str; 2] = ["http.response.status_code", "http.status_code"];
const QUERY: [&str; 2] = ["db.query.text", "db.statement"];
const DATABASE: [&str; 2] = ["db.system.name", "db.system"];

/// Gives `found` the trace id and each span of the base64 text. Those before a malformed place
/// are given.
pub(crate) fn read(
    base64: &str,
    annotations: bool,
    found: &mut dyn FnMut(&str, Entity),
) -> Result<(), Malformed> {
    let request = decode_base64(base64)?;
    let mut request = Fields(&request);
    while let Some(field) = request.next()? {
        if let (1, Bytes(resource_spans)) = field {
            read_resource_spans(resource_spans, annotations, found)?;
        }
    }
    Ok(())
}

fn read_resource_spans(
    bytes: &[u8],
    annotations: bool,
    found: &mut dyn FnMut(&str, Entity),
) -> Result<(), Malformed> {
    // A field may stand anywhere, so the service is looked up before the spans are read.
    let mut service = Cow::Borrowed("");
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        if let (1, Bytes(resource)) = field {
            let attributes = read_attributes(resource, 1)?;
            service = first(&attributes, &["service.name"]).to_owned().into();
        }
    }
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        let (2, Bytes(scope_spans)) = field else {
            continue;
        };
        let mut scope_spans = Fields(scope_spans);
        while let Some(field) = scope_spans.next()? {
            if let (2, Bytes(span)) = field {
                let span = Span::read(span)?;
                let trace = trace_key(&span.trace)
                    .unwrap_or_else(|| ["no trace id, span ", &span.id].concat());
                found(&trace, span.entity(&service, annotations));
            }
        }
    }
    Ok(())
}

type Attributes<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// The fields of a `Span` that are shown.
#[derive(Default)]
struct Span<'a> {
    trace: String,
    id: String,
    parent: String,
    name: &'a str,
    kind: u64,
    start: u64,
    end: u64,
    attributes: Attributes<'a>,
    exceptions: Vec<Text>,
    failed: bool,
    failure: &'a str,
}

impl<'a> Span<'a> {
    fn read(bytes: &'a [u8]) -> Result<Span<'a>, Malformed> {
        let mut span = Span {
            attributes: read_attributes(bytes, 9)?,
            ..Span::default()
        };
        let mut fields = Fields(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Bytes(id)) => span.trace = hex(id),
                (2, Bytes(id)) => span.id = hex(id),
                (4, Bytes(id)) => span.parent = hex(id),
                (5, Bytes(name)) => span.name = utf8(name),
                (6, Number(kind)) => span.kind = kind,
                (7, Number(nanos)) => span.start = nanos,
                (8, Number(nanos)) => span.end = nanos,
                (11, Bytes(event)) if span.exceptions.len() < MAX_EXCEPTIONS => {
                    span.exceptions.extend(read_exception(event)?);
                }
                (15, Bytes(status)) => {
                    let mut status = Fields(status);
                    while let Some(field) = status.next()? {
                        match field {
                            (2, Bytes(message)) => span.failure = utf8(message),
                            (3, Number(code)) => span.failed = code == 2,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(span)
    }

    fn attribute(&self, names: &[&str]) -> &str {
        first(&self.attributes, names)
    }

    /// As X-Ray itself sees spans: a root, a server and a consumer span are segments of the
    /// service, the others are subsegments.
    fn entity(self, service: &str, annotations: bool) -> Entity {
        let query = self.attribute(&QUERY);
        let aws = self.attribute(&["rpc.system"]) == "aws-api";
        let parent = Some(&self.parent).filter(|id| id.bytes().any(|digit| digit != b'0'));
        let kind = match self.kind {
            2 | 5 => Kind::Segment,
            _ if parent.is_none() => Kind::Segment,
            3 | 4 if aws => Kind::Aws,
            3 | 4 if !query.is_empty() || !self.attribute(&DATABASE).is_empty() => Kind::Sql,
            3 | 4 => Kind::Remote,
            _ => Kind::Local,
        };
        let status = self.attribute(&HTTP_STATUS).parse().ok();
        let method = self.attribute(&METHOD);
        let foreign = |text: &str| Text::foreign(text, TEXT_COLUMNS);
        let (name, detail) = match kind {
            Kind::Segment if !service.is_empty() => (service, foreign(self.name)),
            Kind::Sql => (self.name, foreign(query)),
            _ => {
                // A client span is often named by its method alone.
                let method = if method == self.name { "" } else { method };
                let url = short_url(self.attribute(&URL), Some(self.name));
                (self.name, foreign(method).join(" ", &foreign(url)))
            }
        };
        let mut exceptions = self.exceptions;
        if exceptions.is_empty() && self.failed && !self.failure.is_empty() {
            exceptions.push(exception("", self.failure));
        }
        let seconds = |nanos: u64| sane_time(nanos as f64 / 1e9).filter(|_| nanos != 0);
        Entity {
            parent: parent.cloned(),
            kind,
            name: foreign(if name.is_empty() { "(no name)" } else { name }),
            detail,
            start: seconds(self.start),
            end: seconds(self.end),
            // Spans are exported when they have ended.
            in_progress: false,
            status,
            mark: self.failed.then_some(match status {
                Some(429) => Mark::Throttle,
                Some(400..500) => Mark::Error,
                _ => Mark::Fault,
            }),
            exceptions,
            annotations: self
                .attributes
                .iter()
                .filter(|_| annotations)
                .take(MAX_ANNOTATIONS)
                .map(|(key, value)| foreign(&[key, "=", value].concat()))
                .collect(),
            id: self.id,
        }
    }
}

/// The exception of an `Event`, if it is one.
fn read_exception(bytes: &[u8]) -> Result<Option<Text>, Malformed> {
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        if field == (2, Bytes(b"exception")) {
            let attributes = read_attributes(bytes, 3)?;
            let kind = first(&attributes, &["exception.type"]);
            let message = first(&attributes, &["exception.message"]);
            return Ok(Some(exception(kind, message)).filter(|text| !text.is_empty()));
        }
    }
    Ok(None)
}

/// All `KeyValue`s of a message's field `number` whose values are scalars.
fn read_attributes(bytes: &[u8], number: u64) -> Result<Attributes<'_>, Malformed> {
    let mut attributes = Vec::new();
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        let Bytes(key_value) = field.1 else { continue };
        if field.0 != number {
            continue;
        }
        let (mut key, mut value) = ("", None);
        let mut key_value = Fields(key_value);
        while let Some(field) = key_value.next()? {
            match field {
                (1, Bytes(bytes)) => key = utf8(bytes),
                (2, Bytes(any_value)) => {
                    if let Some(field) = Fields(any_value).next()? {
                        value = scalar(field);
                    }
                }
                _ => {}
            }
        }
        attributes.extend(value.map(|value| (key, value)));
    }
    Ok(attributes)
}

/// The text of an `AnyValue`, which has exactly one field.
fn scalar(field: (u64, Field<'_>)) -> Option<Cow<'_, str>> {
    Some(match field {
        (1, Bytes(text)) => utf8(text).into(),
        (2, Number(flag)) => if flag == 0 { "false" } else { "true" }.into(),
        (3, Number(int)) => (int as i64).to_string().into(),
        (4, Number(bits)) => serde_json::Number::from_f64(f64::from_bits(bits))?
            .to_string()
            .into(),
        _ => return None,
    })
}

/// The value of the first of `names` that is there.
fn first<'a>(attributes: &'a Attributes<'_>, names: &[&str]) -> &'a str {
    names
        .iter()
        .find_map(|name| attributes.iter().find(|(key, _)| key == name))
        .map_or("", |(_, value)| value)
}

/// A proto3 string is UTF-8; one that is not is shown up to its first bad byte.
fn utf8(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

fn hex(bytes: &[u8]) -> String {
    // 16 bytes is the longest id there is; more would only be kept, never matched.
    hex::encode(&bytes[..bytes.len().min(16)])
}
