//! The counters and gauges of the TCP port, as plain numbers.

/// A snapshot. The labels are fixed words: nothing in them comes from a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests by what was asked and how it was answered; only those that have occurred.
    pub answered: Vec<AnsweredCount>,
    /// Requests that were not read to their end or not served, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Requests that were sent a second time, because X-Ray had closed the kept connection.
    pub sent_again: u64,
    /// Connections now, by what they do.
    pub connections: Vec<(&'static str, u64)>,
    /// Connections that were closed to make room.
    pub shed: u64,
    /// Bytes of memory that clients take now.
    pub memory_used: u64,
    /// Most bytes that they may take.
    pub(crate) memory_limit: u64,
}

/// Requests of one kind with one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnsweredCount {
    /// The action of X-Ray; `other` for an action that has no name here.
    pub action: &'static str,
    /// `2xx`, `3xx`, `4xx`, `429`, `5xx` as X-Ray answered, or the daemon where nothing is forwarded:
    /// for spans, and for what is not served; `kept` for an answer kept from before; otherwise why
    /// there is no answer of X-Ray's.
    pub outcome: &'static str,
    /// How many.
    pub count: u64,
}
