//! What the fake X-Ray knows, and how it judges a request.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::behaviour::{Behaviour, Chooser, Endless, error};
use super::http::{Request, Response};
use super::sigv4::{self, Fault, Keys};

/// The service's own limit of documents in one request.
const MOST_DOCUMENTS: usize = 50;

/// What a connection does with the request it has just read.
pub enum Action {
    Answer(Response),
    AnswerAfter(Duration, Response),
    Hold,
    Close,
    Bytes(&'static [u8]),
    Endless(Endless),
}

/// One `POST /TraceSegments` that was read to its end.
pub struct Batch {
    pub documents: usize,
    pub bytes: usize,
    /// The status that was answered; `None` where the request went unanswered.
    pub status: Option<u16>,
}

/// Everything the fake has seen, and how it behaves.
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
    /// Every other request.
    pub calls: Vec<Request>,
    /// Requests read, of any kind but those that only open a connection.
    pub requests: usize,
    pub warm_ups: usize,
    pub connections: usize,
    /// Requests by keys that the service does not know.
    pub unknown_keys: usize,
    /// Requests signed too far from the service's clock.
    pub skewed: usize,
    /// What is wrong whatever the circumstances: any entry fails the test.
    pub violations: Vec<String>,

    pub behaviour: Behaviour,
    /// Behaviours for single requests, used up before `behaviour` counts.
    pub once: VecDeque<Behaviour>,
    /// Rises when a request on hold must look again.
    pub generation: u64,
    pub keys: Vec<Keys>,
    /// How far the service's clock is from this machine's, in seconds.
    pub clock_offset: i64,
    /// Answers by path, instead of the usual ones.
    pub answers: HashMap<String, Response>,
    pub region: &'static str,
}

impl State {
    pub fn new(keys: Keys, region: &'static str) -> Self {
        Self {
            accepted: Vec::new(),
            different: HashSet::new(),
            hasher: RandomState::new(),
            unanswered: Vec::new(),
            unprocessed: Vec::new(),
            batches: Vec::new(),
            telemetry: Vec::new(),
            calls: Vec::new(),
            requests: 0,
            warm_ups: 0,
            connections: 0,
            unknown_keys: 0,
            skewed: 0,
            violations: Vec::new(),
            behaviour: Behaviour::Ok,
            once: VecDeque::new(),
            generation: 0,
            keys: vec![keys],
            clock_offset: 0,
            answers: HashMap::new(),
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

    fn accept(&mut self, document: &str) {
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

    /// Takes note of a request, and decides what to do with it.
    pub fn judge(&mut self, request: &Request) -> Action {
        let verdict = sigv4::verify(request, &self.keys, self.region, "xray", self.now());
        // The one request that needs no signature: it only opens a connection ahead of time.
        let warms_up = request.method == "HEAD" && verdict == Err(Fault::Unsigned);
        if warms_up {
            self.warm_ups += 1;
        } else {
            self.requests += 1;
        }
        match &verdict {
            Err(fault @ (Fault::Bad(_) | Fault::Unsigned)) if !warms_up => self
                .violations
                .push(format!("{} {}: {fault:?}", request.method, request.target)),
            _ => {}
        }
        let documents = self.documents(request);
        let behaviour = self
            .once
            .pop_front()
            .unwrap_or_else(|| self.behaviour.clone());
        let mut action = match behaviour {
            Behaviour::Ok => Action::Answer(self.serve(request, &documents, verdict)),
            Behaviour::Unprocessed(chooser) => {
                self.process_some(request, &documents, verdict, &chooser)
            }
            Behaviour::Delay(time) => {
                Action::AnswerAfter(time, self.serve(request, &documents, verdict))
            }
            Behaviour::RejectContaining(text) if documents.iter().any(|d| d.contains(text)) => {
                Action::Answer(error(400, "InvalidRequestException", "Bad document"))
            }
            Behaviour::TooLarge(bytes) if request.body.len() > bytes => {
                Action::Answer(error(413, "RequestEntityTooLarge", "Too large"))
            }
            Behaviour::RejectContaining(_) | Behaviour::TooLarge(_) => {
                Action::Answer(self.serve(request, &documents, verdict))
            }
            Behaviour::Answer(response) => Action::Answer(response),
            Behaviour::Hang => Action::Hold,
            Behaviour::CloseOnAccept | Behaviour::CloseAfterReading | Behaviour::Gone => {
                Action::Close
            }
            Behaviour::Bytes(bytes) => Action::Bytes(bytes),
            Behaviour::Endless(answer) => Action::Endless(answer),
        };
        let status = match &mut action {
            Action::Answer(response) | Action::AnswerAfter(_, response) => {
                if request.method == "HEAD" {
                    response.body.clear();
                }
                Some(response.status)
            }
            _ => None,
        };
        if request.path() == "/TraceSegments" {
            self.batches.push(Batch {
                documents: documents.len(),
                bytes: request.body.len(),
                status,
            });
        }
        if status.is_none() {
            self.unanswered.extend(documents);
        }
        action
    }

    /// The documents of a `POST /TraceSegments`; none for any other request.
    fn documents(&mut self, request: &Request) -> Vec<String> {
        if request.path() != "/TraceSegments" {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        if request.header("content-type") != Some("application/json") {
            wrong.push(format!("Content-Type {:?}", request.header("content-type")));
        }
        let documents = match serde_json::from_slice::<Value>(&request.body) {
            Ok(body) => body["TraceSegmentDocuments"]
                .as_array()
                .and_then(|list| list.iter().map(|d| d.as_str().map(str::to_owned)).collect()),
            Err(error) => {
                wrong.push(format!("body is not JSON: {error}"));
                None
            }
        };
        let documents: Vec<String> = documents.unwrap_or_default();
        if !(1..=MOST_DOCUMENTS).contains(&documents.len()) {
            wrong.push(format!("{} documents in a batch", documents.len()));
        }
        self.violations.extend(wrong);
        documents
    }

    fn refuse(&mut self, verdict: Result<(), Fault>) -> Option<Response> {
        let (code, text) = match verdict {
            Ok(()) => return None,
            Err(Fault::Unsigned) => ("MissingAuthenticationTokenException", "No token"),
            Err(Fault::UnknownKey(_)) => {
                self.unknown_keys += 1;
                (
                    "UnrecognizedClientException",
                    "The security token is invalid",
                )
            }
            Err(Fault::Skewed(_)) => {
                self.skewed += 1;
                ("InvalidSignatureException", "Signature expired")
            }
            Err(Fault::Bad(_)) => ("InvalidSignatureException", "The signature does not match"),
        };
        Some(error(403, code, text))
    }

    /// What X-Ray answers.
    fn serve(
        &mut self,
        request: &Request,
        documents: &[String],
        verdict: Result<(), Fault>,
    ) -> Response {
        if let Some(refusal) = self.refuse(verdict) {
            return refusal;
        }
        match request.path() {
            "/TraceSegments" => {
                documents.iter().for_each(|document| self.accept(document));
                Response::new(200, r#"{"UnprocessedTraceSegments":[]}"#)
            }
            "/TelemetryRecords" => {
                let body = serde_json::from_slice(&request.body);
                self.telemetry
                    .push(body.unwrap_or_else(|e| json!(e.to_string())));
                Response::new(200, "{}")
            }
            path => {
                let answer = self.answers.get(path).cloned();
                self.calls.push(request.clone());
                answer.unwrap_or_else(|| error(404, "UnknownOperationException", "No such path"))
            }
        }
    }

    fn process_some(
        &mut self,
        request: &Request,
        documents: &[String],
        verdict: Result<(), Fault>,
        chooser: &Chooser,
    ) -> Action {
        if documents.is_empty() || verdict.is_err() {
            return Action::Answer(self.serve(request, documents, verdict));
        }
        let mut entries = Vec::new();
        for document in documents {
            match chooser(document) {
                Some(entry) => {
                    entries.push(entry);
                    self.unprocessed.push(document.clone());
                }
                None => self.accept(document),
            }
        }
        let body = json!({ "UnprocessedTraceSegments": entries }).to_string();
        Action::Answer(Response::new(200, body))
    }
}

/// What a failed test prints: counts, and only the last of what can be long.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "behaviour {:?}, {} requests and {} warm-ups on {} connections",
            self.behaviour, self.requests, self.warm_ups, self.connections
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
            "{} of unknown keys, {} skewed, {} telemetry, {} other calls",
            self.unknown_keys,
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
