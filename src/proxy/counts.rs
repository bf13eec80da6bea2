//! Counts what the TCP port answers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::action::{self, ApiAction};
use crate::admin::request_counts::{AnsweredCount, RequestCounts};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerOutcome {
    /// With X-Ray's answer, or the daemon's where nothing is forwarded.
    Status(u16),
    /// With an answer kept from before.
    Kept,
    /// Without an answer of X-Ray's.
    NoAnswer,
    NoCredentials,
    NoRegion,
    NotSigned,
    /// The client's request cannot be sent on.
    BadRequest,
    /// The client's share of memory or threads is used up.
    Busy,
    /// The client has gone before there was an answer.
    ClientLeft,
    /// X-Ray's answer is compressed, and may not be.
    Compressed,
}

const OUTCOMES: [&str; 14] = [
    "2xx",
    "3xx",
    "4xx",
    "429",
    "5xx",
    "kept",
    "no_answer",
    "no_credentials",
    "no_region",
    "not_signed",
    "bad_request",
    "busy",
    "client_left",
    "compressed",
];

impl AnswerOutcome {
    fn index(self) -> usize {
        match self {
            AnswerOutcome::Status(300..=399) => 1,
            AnswerOutcome::Status(429) => 3,
            AnswerOutcome::Status(400..=499) => 2,
            AnswerOutcome::Status(500..) => 4,
            AnswerOutcome::Status(_) => 0,
            AnswerOutcome::Kept => 5,
            AnswerOutcome::NoAnswer => 6,
            AnswerOutcome::NoCredentials => 7,
            AnswerOutcome::NoRegion => 8,
            AnswerOutcome::NotSigned => 9,
            AnswerOutcome::BadRequest => 10,
            AnswerOutcome::Busy => 11,
            AnswerOutcome::ClientLeft => 12,
            AnswerOutcome::Compressed => 13,
        }
    }
}

/// Why a request was not served at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed,
    TooLarge,
    TooSlow,
    Http2,
    WebPage,
    Busy,
    Stopping,
}

const REFUSED: [&str; 7] = [
    "malformed",
    "too_large",
    "too_slow",
    "http2",
    "web_page",
    "busy",
    "stopping",
];

/// What the connections are doing.
const CONNECTIONS: [&str; 3] = ["idle", "receiving", "busy"];

/// The counters of the TCP port.
#[derive(Debug, Default)]
pub struct Counts {
    answered: [[AtomicU64; OUTCOMES.len()]; action::COUNT],
    refused: [AtomicU64; REFUSED.len()],
    sent_again: AtomicU64,
    connections: [AtomicU64; CONNECTIONS.len()],
    shed: AtomicU64,
    memory_used: AtomicU64,
    memory_limit: AtomicU64,
}

impl Counts {
    pub(super) fn answered(&self, action: ApiAction, outcome: AnswerOutcome) {
        self.answered[action.index()][outcome.index()].fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self, reason: Refused) {
        self.refused[reason as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn sent_again(&self) {
        self.sent_again.fetch_add(1, Relaxed);
    }

    pub(super) fn shed(&self) {
        self.shed.fetch_add(1, Relaxed);
    }

    pub(super) fn connections(&self, idle: u64, receiving: u64, busy: u64) {
        for (gauge, now) in self.connections.iter().zip([idle, receiving, busy]) {
            gauge.store(now, Relaxed);
        }
    }

    pub(super) fn memory(&self, used: usize, limit: usize) {
        self.memory_used.store(used as u64, Relaxed);
        self.memory_limit.store(limit as u64, Relaxed);
    }

    /// The numbers now.
    pub fn snapshot(&self) -> RequestCounts {
        let answered = ApiAction::all().into_iter().flat_map(|action| {
            let counts = OUTCOMES.iter().zip(&self.answered[action.index()]);
            counts.map(move |(outcome, count)| AnsweredCount {
                action: action.name(),
                outcome,
                count: count.load(Relaxed),
            })
        });
        let load = |names: &[&'static str], counts: &[AtomicU64]| {
            let counts = counts.iter().map(|count| count.load(Relaxed));
            names.iter().copied().zip(counts).collect()
        };
        RequestCounts {
            answered: answered.filter(|row| row.count > 0).collect(),
            refused: load(&REFUSED, &self.refused),
            sent_again: self.sent_again.load(Relaxed),
            connections: load(&CONNECTIONS, &self.connections),
            shed: self.shed.load(Relaxed),
            memory_used: self.memory_used.load(Relaxed),
            memory_limit: self.memory_limit.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_name() {
        for (outcome, name) in [
            (AnswerOutcome::Status(200), "2xx"),
            (AnswerOutcome::Status(302), "3xx"),
            (AnswerOutcome::Status(400), "4xx"),
            (AnswerOutcome::Status(429), "429"),
            (AnswerOutcome::Status(499), "4xx"),
            (AnswerOutcome::Status(599), "5xx"),
            (AnswerOutcome::Kept, "kept"),
            (AnswerOutcome::NoAnswer, "no_answer"),
            (AnswerOutcome::NoCredentials, "no_credentials"),
            (AnswerOutcome::NoRegion, "no_region"),
            (AnswerOutcome::NotSigned, "not_signed"),
            (AnswerOutcome::BadRequest, "bad_request"),
            (AnswerOutcome::Busy, "busy"),
            (AnswerOutcome::ClientLeft, "client_left"),
            (AnswerOutcome::Compressed, "compressed"),
        ] {
            let counts = Counts::default();
            counts.answered(ApiAction::OtlpTraces, outcome);
            let expected = AnsweredCount {
                action: "v1/traces",
                outcome: name,
                count: 1,
            };
            assert_eq!(counts.snapshot().answered, [expected], "{outcome:?}");
        }
    }

    #[test]
    fn reasons_and_states_are_named() {
        let counts = Counts::default();
        counts.refused(Refused::WebPage);
        counts.refused(Refused::Stopping);
        counts.connections(3, 2, 1);
        let snapshot = counts.snapshot();
        let refused: Vec<_> = snapshot.refused.into_iter().filter(|r| r.1 > 0).collect();
        assert_eq!(refused, [("web_page", 1), ("stopping", 1)]);
        let states = [("idle", 3), ("receiving", 2), ("busy", 1)];
        assert_eq!(snapshot.connections, states);
    }
}
