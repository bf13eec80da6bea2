//! What a document says about a trace, in any format. The terminal and the page both use it.

mod ids;
pub(crate) mod segment;
mod url;

use std::borrow::Cow;

pub(crate) use ids::{id_key, trace_key};
pub(crate) use url::{host_of, public_url, short_url};

/// Most exceptions that are read of one span. In a chain of causes the first ones are the most
/// useful.
pub(crate) const MAX_EXCEPTIONS: usize = 3;
/// Annotations read of one span. X-Ray indexes 50 for a whole trace.
pub(crate) const MAX_ANNOTATIONS: usize = 50;
/// Later times, in seconds since the epoch, are mistakes (the year 5138), such as milliseconds in
/// place of seconds.
const MAX_EPOCH_SECONDS: f64 = 1e11;

/// A segment, a subsegment or a span of OpenTelemetry. Texts are as the document has them: of
/// any length and with any character.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span<'a> {
    /// Key within the trace. Never shown.
    pub(crate) id: String,
    /// Id of the span that holds or called this one, which another service may have sent.
    pub(crate) parent: Option<String>,
    pub(crate) kind: SpanKind,
    /// Service of a segment; resource, host or function of a subsegment.
    pub(crate) name: Cow<'a, str>,
    /// Who was called, by a name that many calls share.
    pub(crate) peer: Cow<'a, str>,
    /// The service that did this. A subsegment of X-Ray does not say; its segment does.
    pub(crate) service: Option<Cow<'a, str>>,
    /// Seconds since the epoch; absent when missing or absurd.
    pub(crate) start: Option<f64>,
    pub(crate) end: Option<f64>,
    pub(crate) in_progress: bool,
    pub(crate) mark: Option<Mark>,
    pub(crate) method: Cow<'a, str>,
    pub(crate) url: Cow<'a, str>,
    /// HTTP status of the answer.
    pub(crate) status: Option<u16>,
    /// Operation of an AWS service, or the name of a span whose `name` is its service.
    pub(crate) operation: Cow<'a, str>,
    /// Table, bucket or queue of an AWS call.
    pub(crate) resource: Cow<'a, str>,
    /// Query, or at least the kind of the database.
    pub(crate) query: Cow<'a, str>,
    pub(crate) user: Cow<'a, str>,
    pub(crate) exceptions: Vec<Exception<'a>>,
    pub(crate) annotations: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// An exception or an error message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exception<'a> {
    pub(crate) kind: Cow<'a, str>,
    pub(crate) message: Cow<'a, str>,
}

/// What sort of work a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
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

impl SpanKind {
    /// The word shown.
    pub(crate) fn word(self) -> &'static str {
        match self {
            SpanKind::Segment => "segment",
            SpanKind::Aws => "aws",
            SpanKind::Remote => "remote",
            SpanKind::Sql => "sql",
            SpanKind::Local => "local",
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
    /// What an HTTP status says, if it is one of an error.
    pub(crate) fn of_status(status: u16) -> Option<Mark> {
        match status {
            429 => Some(Mark::Throttle),
            400..500 => Some(Mark::Error),
            500..600 => Some(Mark::Fault),
            _ => None,
        }
    }
}

/// A time that can be drawn.
pub(crate) fn sane_time(seconds: f64) -> Option<f64> {
    (seconds.is_finite() && seconds.abs() < MAX_EPOCH_SECONDS).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_times_are_no_times() {
        for absurd in [f64::NAN, f64::INFINITY, 1.7e12, -1e300] {
            assert_eq!(sane_time(absurd), None);
        }
        assert_eq!(sane_time(0.0), Some(0.0));
    }

    #[test]
    fn a_status_of_an_error_is_a_mark() {
        let marks = [
            (200, None),
            (399, None),
            (400, Some(Mark::Error)),
            (429, Some(Mark::Throttle)),
            (499, Some(Mark::Error)),
            (500, Some(Mark::Fault)),
            (599, Some(Mark::Fault)),
            (600, None),
        ];
        for (status, mark) in marks {
            assert_eq!(Mark::of_status(status), mark, "{status}");
        }
    }
}
