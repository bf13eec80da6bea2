//! What the terminal keeps of a span: texts that are safe to print and of bounded length.

use super::text::Text;
use crate::view::model::{Mark, Span, SpanKind, short_url};

/// Columns kept of a name, a detail or an annotation. X-Ray itself keeps 200 characters of a
/// name and 250 of most other values.
const TEXT_COLUMNS: usize = 200;
/// Columns kept of an exception. Longer than a line, because a wide terminal shows more.
const EXCEPTION_COLUMNS: usize = 300;

/// A segment, a subsegment or a span of OpenTelemetry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entity {
    /// Key within the trace. Never shown.
    pub(super) id: String,
    /// Id of the entity that holds or called this one, which another service may have sent.
    pub(super) parent: Option<String>,
    pub(super) kind: SpanKind,
    pub(super) name: Text,
    /// What was asked of it: method and path, operation and table, query.
    pub(super) detail: Text,
    /// Seconds since the epoch; absent when missing or absurd.
    pub(super) start: Option<f64>,
    pub(super) end: Option<f64>,
    pub(super) in_progress: bool,
    /// HTTP status of the answer.
    pub(super) status: Option<u16>,
    pub(super) mark: Option<Mark>,
    /// `Type: message`, one text each.
    pub(super) exceptions: Vec<Text>,
    /// `key=value`, one text each.
    pub(super) annotations: Vec<Text>,
}

impl Entity {
    /// What is shown of a span.
    pub(super) fn new(span: Span<'_>, annotations: bool) -> Entity {
        let foreign = |text: &str| Text::foreign(text, TEXT_COLUMNS);
        let name = if span.name.is_empty() {
            "(no name)"
        } else {
            &*span.name
        };
        let annotations = if annotations {
            &span.annotations[..]
        } else {
            &[]
        };
        let exceptions = span.exceptions.iter().map(|exception| {
            let message = Text::foreign(&exception.message, EXCEPTION_COLUMNS);
            foreign(&exception.kind).join(": ", &message)
        });
        Entity {
            kind: span.kind,
            name: foreign(name),
            detail: detail(&span),
            start: span.start,
            end: span.end,
            in_progress: span.in_progress,
            status: span.status,
            mark: span.mark,
            exceptions: exceptions.filter(|text| !text.is_empty()).collect(),
            annotations: annotations
                .iter()
                .map(|(key, value)| foreign(&[key.as_ref(), "=", value.as_ref()].concat()))
                .collect(),
            id: span.id,
            parent: span.parent,
        }
    }

    /// How long it took, as shown.
    pub(super) fn duration(&self, ascii: bool) -> Text {
        match (self.start, self.end) {
            (Some(_), _) if self.in_progress => Text::own("running"),
            (Some(start), Some(end)) => Text::duration(end - start, ascii),
            _ => Text::own("?"),
        }
    }

    /// The HTTP status, as shown.
    pub(super) fn status_text(&self) -> Text {
        self.status.map_or_else(Text::default, Text::number)
    }

    /// Approximate bytes of memory that it takes.
    pub(super) fn weight(&self) -> usize {
        let texts = self.exceptions.iter().chain(&self.annotations);
        size_of::<Entity>()
            + self.id.len()
            + self.parent.as_ref().map_or(0, String::len)
            + self.name.as_str().len()
            + self.detail.as_str().len()
            + texts
                .map(|text| size_of::<Text>() + text.as_str().len())
                .sum::<usize>()
    }
}

/// What was asked: a query, an operation and its resource, or a method and the short URL.
fn detail(span: &Span<'_>) -> Text {
    let foreign = |text: &str| Text::foreign(text, TEXT_COLUMNS);
    match span.kind {
        SpanKind::Sql => return foreign(&span.query),
        SpanKind::Aws => {
            // The last part of a queue URL or an ARN is the name.
            let resource = span.resource.rsplit(['/', ':']).next().unwrap_or_default();
            return foreign(&span.operation).join(" ", &foreign(resource));
        }
        _ if !span.operation.is_empty() => return foreign(&span.operation),
        _ => {}
    }
    // The name of a call is its host.
    let host = (span.kind != SpanKind::Segment).then_some(&*span.name);
    foreign(&span.method).join(" ", &foreign(short_url(&span.url, host)))
}

/// The word for a mark, so that it is read without colour.
pub(super) fn mark_word(mark: Mark) -> &'static str {
    match mark {
        Mark::Error => "ERROR",
        Mark::Throttle => "THROTTLE",
        Mark::Fault => "FAULT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::document;

    #[test]
    fn details_say_what_was_asked() {
        let cases = [
            (
                r#""http":{"request":{"method":"POST","url":"https://me:pw@h/orders?token=x"}}"#,
                "POST /orders",
            ),
            (
                r#""aws":{"operation":"not for a segment"}"#,
                "not for a segment",
            ),
            (
                r#""type":"subsegment","namespace":"aws","aws":{"operation":"SendMessage","queue_url":"https://sqs/1/q"}"#,
                "SendMessage q",
            ),
            (
                r#""type":"subsegment","namespace":"remote","http":{"request":{"url":"https://h:8443/x"}}"#,
                "h:8443/x",
            ),
            (
                r#""type":"subsegment","sql":{"sanitized_query":"SELECT 1\n FROM t"}"#,
                "SELECT 1 FROM t",
            ),
            (
                r#""type":"subsegment","sql":{"database_type":"MySQL"}"#,
                "MySQL",
            ),
        ];
        for (fields, detail) in cases {
            let text = format!(r#"{{"id":"a","name":"s",{fields}}}"#);
            document::spans(document::Format::XRay, &text, &mut |span| {
                assert_eq!(Entity::new(span, true).detail.as_str(), detail, "{fields}");
            });
        }
    }
}
