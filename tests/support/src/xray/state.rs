//! What the fake X-Ray knows and remembers.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::fault::Fault;
use crate::http::{Request, Response};
use crate::keys::Keys;

/// Another service that is reached at the same address.
pub type OtherService = Arc<dyn Fn(&mut State, &Request) -> Response + Send + Sync>;

/// One `POST /TraceSegments` that was read to its end.
pub struct Batch {
    pub documents: usize,
    pub bytes: usize,
    /// The status that was answered; `None` where the request went unanswered.
    pub status: Option<u16>,
}

/// Everything the fake has seen, and how it fails.
pub struct State {
    /// Documents answered with 200 and processed, in the order of arrival.
    pub accepted: Vec<String>,
    /// Hashes of the accepted documents, so that waiting for many costs little.
    different: HashSet<u64>,
    hasher: RandomState,
    /// Documents in requests that were read and never answered: the only ones that may come twice.
    pub unanswered: Vec<String>,
    /// Documents that X-Ray named as unprocessed.
    pub unprocessed: Vec<String>,
    pub batches: Vec<Batch>,
    /// `POST /TelemetryRecords` bodies that were answered with 200.
    pub telemetry: Vec<Value>,
    /// Requests with spans that were taken.
    pub exports: Vec<Request>,
    /// Every other request.
    pub calls: Vec<Request>,
    /// Requests read, of any kind but those that only open a connection.
    pub requests: usize,
    pub warm_ups: usize,
    pub connections: usize,
    /// Ids of the keys that well-signed requests came with.
    pub signers: BTreeSet<String>,
    /// Requests by keys that the service does not know.
    pub unknown_keys: usize,
    /// Requests by keys that are past their end.
    pub expired: usize,
    /// Requests signed too far from the service's clock.
    pub skewed: usize,
    /// What is wrong whatever the circumstances: any entry fails the test.
    pub violations: Vec<String>,

    pub fault: Fault,
    /// Faults for single requests, used up before `fault` counts.
    pub faults_to_come: VecDeque<Fault>,
    /// Rises when a request on hold must look again.
    pub generation: u64,
    pub keys: Vec<Keys>,
    /// How far the service's clock is from this machine's, in seconds.
    pub clock_offset: i64,
    /// Answers by path, instead of the usual ones.
    pub answers: HashMap<String, Response>,
    /// By the hosts that their requests name.
    pub other_services: HashMap<String, OtherService>,
    /// Whether a batch without documents is no violation.
    pub takes_empty_batches: bool,
    pub region: &'static str,
}

impl State {
    pub fn new(keys: Vec<Keys>, region: &'static str) -> Self {
        Self {
            accepted: Vec::new(),
            different: HashSet::new(),
            hasher: RandomState::new(),
            unanswered: Vec::new(),
            unprocessed: Vec::new(),
            batches: Vec::new(),
            telemetry: Vec::new(),
            exports: Vec::new(),
            calls: Vec::new(),
            requests: 0,
            warm_ups: 0,
            connections: 0,
            signers: BTreeSet::new(),
            unknown_keys: 0,
            expired: 0,
            skewed: 0,
            violations: Vec::new(),
            fault: Fault::None,
            faults_to_come: VecDeque::new(),
            generation: 0,
            keys,
            clock_offset: 0,
            answers: HashMap::new(),
            other_services: HashMap::new(),
            takes_empty_batches: false,
            region,
        }
    }

    /// The service's clock.
    pub fn now(&self) -> SystemTime {
        let offset = Duration::from_secs(self.clock_offset.unsigned_abs());
        if self.clock_offset < 0 {
            SystemTime::now() - offset
        } else {
            SystemTime::now() + offset
        }
    }

    /// How many different documents were accepted.
    pub fn different(&self) -> usize {
        self.different.len()
    }

    /// Whether this document came. It costs no look at all the others, so it can be waited for.
    pub fn has_accepted(&self, document: &str) -> bool {
        self.different.contains(&self.hasher.hash_one(document))
    }

    pub fn accept(&mut self, document: &str) {
        self.different.insert(self.hasher.hash_one(document));
        self.accepted.push(document.to_owned());
    }

    /// How often each document was accepted.
    pub fn times_accepted(&self) -> HashMap<&str, usize> {
        let mut times = HashMap::new();
        for document in &self.accepted {
            *times.entry(document.as_str()).or_default() += 1;
        }
        times
    }
}

/// What a failed test prints: counts, and only the last of what can be long.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "fault {:?}, {} requests and {} warm-ups on {} connections",
            self.fault, self.requests, self.warm_ups, self.connections
        )?;
        writeln!(
            f,
            "documents: {} accepted ({} different), {} unanswered, {} unprocessed",
            self.accepted.len(),
            self.different(),
            self.unanswered.len(),
            self.unprocessed.len()
        )?;
        writeln!(
            f,
            "{} of unknown keys, {} of expired ones, {} skewed, {} telemetry, {} other calls",
            self.unknown_keys,
            self.expired,
            self.skewed,
            self.telemetry.len(),
            self.calls.len()
        )?;
        let start = self.batches.len().saturating_sub(20);
        for batch in &self.batches[start..] {
            let status = batch.status.unwrap_or_default();
            let Batch {
                documents, bytes, ..
            } = batch;
            writeln!(f, "  {documents} documents, {bytes} bytes: {status}")?;
        }
        writeln!(f, "violations: {:#?}", self.violations)
    }
}
