//! What the view keeps of a segment or subsegment, whatever document brought it.

use super::text::Text;

/// Columns kept of a name, a detail or an annotation. X-Ray itself keeps 200 characters of a
/// name and 250 of most other values.
pub(crate) const TEXT_COLUMNS: usize = 200;
/// Columns kept of an exception. Longer than a line, because a wide terminal shows more.
const EXCEPTION_COLUMNS: usize = 300;
/// Exceptions kept of one segment; a chain of causes says the most at its start.
pub(crate) const MAX_EXCEPTIONS: usize = 3;
/// Annotations kept of one segment. X-Ray indexes 50 for a whole trace.
pub(crate) const MAX_ANNOTATIONS: usize = 50;
/// Characters kept of an id. Real ones have 16.
const ID_CHARS: usize = 64;
/// Seconds since the epoch beyond which a time is a mistake (the year 5138). Milliseconds sent
/// for seconds fall out here.
const MAX_EPOCH_SECONDS: f64 = 1e11;

/// A segment or subsegment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entity {
    /// Key within the trace. Never shown.
    pub(crate) id: String,
    /// Id of the entity that holds or called this one, which another service may have sent.
    pub(crate) parent: Option<String>,
    pub(crate) kind: Kind,
    /// Service of a segment; resource, host or function of a subsegment.
    pub(crate) name: Text,
    /// What was asked of it: method and path, operation and table, query.
    pub(crate) detail: Text,
    /// Seconds since the epoch; absent when missing or absurd.
    pub(crate) start: Option<f64>,
    pub(crate) end: Option<f64>,
    pub(crate) in_progress: bool,
    /// HTTP status of the answer.
    pub(crate) status: Option<u16>,
    pub(crate) mark: Option<Mark>,
    /// `Type: message`, one text each.
    pub(crate) exceptions: Vec<Text>,
    /// `key=value`, one text each.
    pub(crate) annotations: Vec<Text>,
}

/// What sort of work an entity stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Work a service did for a request.
    Segment,
    /// A call by the AWS SDK.
    Aws,
    /// A call to another HTTP service.
    Remote,
    /// A database query.
    Sql,
    /// Work within the service.
    Local,
}

impl Kind {
    /// The word shown.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Segment => "segment",
            Kind::Aws => "aws",
            Kind::Remote => "remote",
            Kind::Sql => "sql",
            Kind::Local => "local",
        }
    }
}

/// X-Ray's three error flags, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// The caller's mistake (4xx).
    Error,
    /// Too many requests (429). Set together with `error`.
    Throttle,
    /// The service's mistake (5xx).
    Fault,
}

impl Mark {
    /// The word shown, so that a mark is read without colour.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Mark::Error => "ERROR",
            Mark::Throttle => "THROTTLE",
            Mark::Fault => "FAULT",
        }
    }
}

impl Entity {
    /// How long it took, as shown.
    pub(crate) fn duration(&self, ascii: bool) -> Text {
        match (self.start, self.end) {
            (Some(_), _) if self.in_progress => Text::own("running"),
            (Some(start), Some(end)) => Text::duration(end - start, ascii),
            _ => Text::own("?"),
        }
    }

    /// The HTTP status, as shown.
    pub(crate) fn status_text(&self) -> Text {
        self.status.map_or_else(Text::default, Text::number)
    }

    /// Bytes of memory it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
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

/// An id as a key: lower case, of bounded length. `None` when empty.
pub(crate) fn id_key(id: &str) -> Option<String> {
    let key: String = id.trim().chars().take(ID_CHARS).collect();
    (!key.is_empty()).then(|| key.to_ascii_lowercase())
}

/// A trace id as a key and for show. The W3C form (32 hexadecimal digits) becomes X-Ray's
/// (`1-`, 8 digits of time, `-`, 24 digits), so that both name one trace.
pub(crate) fn trace_key(id: &str) -> Option<String> {
    let key = id_key(id)?;
    if key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(["1-", &key[..8], "-", &key[8..]].concat());
    }
    Some(key)
}

/// An exception on one line, `Type: message`.
pub(crate) fn exception(kind: &str, message: &str) -> Text {
    let kind = Text::foreign(kind, TEXT_COLUMNS);
    kind.join(": ", &Text::foreign(message, EXCEPTION_COLUMNS))
}

/// A time that can be drawn.
pub(crate) fn sane_time(seconds: f64) -> Option<f64> {
    (seconds.is_finite() && seconds.abs() < MAX_EPOCH_SECONDS).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_trace_id_are_one_key() {
        let key = trace_key("1-581CF771-a006649127e371903a2de979");
        assert_eq!(key, trace_key("581cf771a006649127e371903a2de979"));
        assert_eq!(key.unwrap(), "1-581cf771-a006649127e371903a2de979");
        assert_eq!(trace_key(" odd "), Some("odd".to_owned()));
        assert_eq!(trace_key("  "), None);
    }

    #[test]
    fn absurd_times_are_no_times() {
        for absurd in [f64::NAN, f64::INFINITY, 1.7e12, -1e300] {
            assert_eq!(sane_time(absurd), None);
        }
        assert_eq!(sane_time(0.0), Some(0.0));
    }
}
