//! Stands in for the thread around the uploader, the senders, the credentials and the clock.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use ureq::Agent;

use crate::aws::clock::Reading;
use crate::batch::Batch;
use crate::credentials::target::Target;
use crate::credentials::{
    CredentialCache, CredentialSnapshot, CredentialStatus, Source, SourceError, Timing,
};

use super::fake_spool::FakeSpool;
use crate::http::client::ServiceClient;
use crate::http::error::{TransportError, TransportErrorKind};
use crate::spool::SpoolEvent;
use crate::upload::channel::UploadChannel;
use crate::upload::counters::SegmentCounts;
use crate::upload::item::ITEM_MEMORY;
use crate::upload::message::{Event, HandOver, SpoolAnswer};
use crate::upload::response::XRayResponse;
use crate::upload::sender::{Finished, Payload, SenderId};
use crate::upload::sender_pool::Choice;
use crate::upload::spans::{SpanOffer, SpanRequest, SpanVerdict, SpanWait};
use crate::upload::telemetry::{Identity, Telemetry};
use crate::upload::uploader::{Action, Now, UploadLimits, Uploader};

/// What a bad document consists of.
const BAD: &str = "bad";

/// How X-Ray answers a request.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Delivered,
    SomeUnprocessed,
    AllToBeRetried,
    Unavailable,
    Throttled(u64),
    Refused,
    WithoutReason,
    NotXRay,
    ExpiredToken,
    Unreachable,
    ClosedIdle,
    /// As the other one if a bad document is in the request, otherwise delivered.
    IfBad(Box<Answer>),
}

impl Answer {
    pub(super) fn judging(other: &Answer) -> Answer {
        Answer::IfBad(Box::new(other.clone()))
    }

    fn result(&self, payload: &Payload) -> Result<XRayResponse, TransportError> {
        let documents: Vec<String> = match payload {
            Payload::Segments(batch) => batch.documents().collect(),
            Payload::Telemetry(_) | Payload::Otlp(_) => Vec::new(),
        };
        let is_otlp = matches!(payload, Payload::Otlp(_));
        let unprocessed = |code: &str, count: usize| {
            let entries: Vec<String> = documents
                .iter()
                .take(count)
                .map(|document| {
                    let id = crate::batch::ids(document).id.unwrap_or_default();
                    format!(r#"{{"Id":"{id}","ErrorCode":"{code}","Message":""}}"#)
                })
                .collect();
            format!(r#"{{"UnprocessedTraceSegments":[{}]}}"#, entries.join(","))
        };
        let (status, code, body) = match self {
            Answer::IfBad(other) => {
                return match documents.iter().any(|document| document.contains(BAD)) {
                    true => other.result(payload),
                    false => Answer::Delivered.result(payload),
                };
            }
            Answer::Unreachable => {
                let kind = TransportErrorKind::Refused;
                return Err(TransportError::new(kind, "nobody is there".to_owned()));
            }
            Answer::ClosedIdle => {
                let kind = TransportErrorKind::ClosedIdle;
                return Err(TransportError::new(kind, "it was closed".to_owned()));
            }
            Answer::Delivered | Answer::AllToBeRetried if is_otlp => (200, "", "{}".to_owned()),
            Answer::SomeUnprocessed if is_otlp => {
                let partial = r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"x"}}"#;
                (200, "", partial.to_owned())
            }
            Answer::Delivered => (200, "", unprocessed("", 0)),
            Answer::SomeUnprocessed => (200, "", unprocessed("InvalidSegment", 2)),
            Answer::AllToBeRetried => (200, "", unprocessed("ThrottlingException", usize::MAX)),
            Answer::Unavailable => (503, "", String::new()),
            Answer::Throttled(_) => (429, "ThrottlingException", String::new()),
            Answer::Refused => (400, "InvalidRequestException", String::new()),
            Answer::WithoutReason => (400, "", "<html>".to_owned()),
            Answer::NotXRay => (200, "", "<html>".to_owned()),
            Answer::ExpiredToken => (403, "ExpiredTokenException", String::new()),
        };
        let retry_after = match self {
            Answer::Throttled(seconds) => Some(seconds.to_string()),
            _ => None,
        };
        let header = |name: &str| match name {
            "x-amzn-errortype" => Some(code.to_owned()),
            "retry-after" => retry_after.clone(),
            _ => None,
        };
        Ok(XRayResponse::parse(status, header, body.as_bytes()))
    }
}

/// A request that is out.
pub(super) struct Out {
    sender: SenderId,
    payload: Arc<Payload>,
}

pub(super) struct Simulation {
    pub uploader: Uploader,
    channel: UploadChannel,
    target: Arc<Target>,
    pub now: Instant,
    pub out: Vec<Out>,
    /// Whether the system has threads to give.
    pub threads: bool,
    pub generation: u64,
    pub rejected_generations: Vec<u64>,
    pub ended: Vec<SenderId>,
    /// Requests with segments.
    pub requests: usize,
    /// Requests with segments that no earlier process has left.
    pub new_requests: usize,
    next_id: u64,
    /// Every document that was handed over.
    handed_over: HashSet<String>,
    /// Spans that were taken on credit and wait in the channel.
    on_credit: VecDeque<SpanRequest>,
    /// Every body with spans that was taken.
    taken: HashSet<Arc<Vec<u8>>>,
    pub spool: Option<FakeSpool>,
}

struct NoSource;

impl Source for NoSource {
    fn name(&self) -> String {
        "test".to_owned()
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        Err(SourceError::Setting("none".to_owned()))
    }
}

impl Simulation {
    pub(super) fn new(concurrency: usize, buffer: usize) -> Self {
        Self::with_spool(concurrency, buffer, None)
    }

    pub(super) fn with_spool(concurrency: usize, buffer: usize, spool: Option<FakeSpool>) -> Self {
        let (channel, _) = UploadChannel::new(buffer);
        let now = Instant::now();
        let limits = UploadLimits {
            concurrency,
            buffer,
        };
        let timing = Timing::new(Arc::new(SystemTime::now));
        Simulation {
            uploader: Uploader::new(
                limits,
                channel.bytes(),
                Telemetry::new(Identity::default()),
                spool.as_ref().map(|_| String::new()),
                now,
            ),
            target: Arc::new(Target {
                region: "us-east-1".to_owned(),
                uploads: ServiceClient::only("http://127.0.0.1", Agent::new_with_defaults()),
                cloudwatch: None,
                forwards: ServiceClient::only("http://127.0.0.1", Agent::new_with_defaults()),
                credentials: CredentialCache::new(Box::new(NoSource), timing),
            }),
            channel,
            now,
            out: Vec::new(),
            threads: true,
            generation: 0,
            rejected_generations: Vec::new(),
            ended: Vec::new(),
            requests: 0,
            new_requests: 0,
            next_id: 0,
            handed_over: HashSet::new(),
            on_credit: VecDeque::new(),
            taken: HashSet::new(),
            spool,
        }
    }

    /// With a target and credentials.
    pub(super) fn ready(concurrency: usize, buffer: usize) -> Self {
        let mut simulation = Self::new(concurrency, buffer);
        simulation.target();
        simulation.credentials(true);
        simulation
    }

    pub(super) fn documents(&mut self, count: usize, size: usize) {
        let mut batch = Batch::new();
        for _ in 0..count {
            self.next_id += 1;
            let document = format!(r#"{{"id":"{}","x":"{}"}}"#, self.next_id, "x".repeat(size));
            batch.push(document.as_bytes());
        }
        self.hand_over(batch);
    }

    pub(super) fn bad_document(&mut self) {
        let mut batch = Batch::new();
        self.next_id += 1;
        batch.push(format!(r#"{{"id":"{}","x":"{BAD}"}}"#, self.next_id).as_bytes());
        self.hand_over(batch);
    }

    /// A client offers a request with so many spans.
    pub(super) fn spans(&mut self, spans: usize, size: usize, is_gzip: bool) -> SpanVerdict {
        let answer = self.offer(spans, size, is_gzip, Some);
        let verdict = answer.and_then(|answer| answer.within(Duration::ZERO));
        verdict.expect("an answer at once")
    }

    /// A client offers spans, and leaves before it gets an answer.
    pub(super) fn spans_of_a_client_that_left(&mut self) {
        self.offer(1, 100, false, |answer| {
            assert!(answer.within(Duration::ZERO).is_none());
            None
        });
    }

    /// The client's side is what `keep` leaves of it.
    fn offer(
        &mut self,
        spans: usize,
        size: usize,
        is_gzip: bool,
        keep: fn(SpanWait) -> Option<SpanWait>,
    ) -> Option<SpanWait> {
        let (offer, answer) = SpanOffer::new(self.span_request(spans, size, is_gzip));
        let answer = keep(answer);
        self.event(Event::Spans(offer));
        answer
    }

    /// A client hands a request over without waiting for an answer, if there is credit for it.
    pub(super) fn spans_on_credit(&mut self, spans: usize, size: usize) -> bool {
        let has_credit = self.take_on_credit(spans, size);
        self.receive_spans();
        has_credit
    }

    /// The same, while the uploader has not received it.
    pub(super) fn take_on_credit(&mut self, spans: usize, size: usize) -> bool {
        let request = self.span_request(spans, size, true);
        let has_credit = self.channel.bytes().use_credit(request.body.len());
        self.on_credit.extend(has_credit.then_some(request));
        has_credit
    }

    /// The uploader receives what was taken on credit. Nothing has to go for it.
    pub(super) fn receive_spans(&mut self) {
        let spilled = self.uploader.counts().spilled;
        while let Some(request) = self.on_credit.pop_front() {
            self.channel.spans_received(&request);
            self.event(Event::SpansOnCredit(request));
        }
        assert_eq!(self.uploader.counts().spilled, spilled);
    }

    fn span_request(&mut self, spans: usize, size: usize, is_gzip: bool) -> SpanRequest {
        self.next_id += 1;
        let body = format!("{}-{}", self.next_id, "s".repeat(size));
        let request = SpanRequest {
            body: body.into_bytes().into(),
            is_json: size.is_multiple_of(2),
            is_gzip,
            spans,
            hash: None,
        };
        self.taken.insert(request.body.clone());
        request
    }

    fn hand_over(&mut self, batch: Batch) {
        // It stands behind them in the channel.
        self.receive_spans();
        self.handed_over.extend(batch.documents());
        self.event(Event::Batch(HandOver {
            batch,
            ..HandOver::default()
        }));
    }

    pub(super) fn target(&mut self) {
        self.event(Event::Target(Arc::clone(&self.target)));
    }

    pub(super) fn credentials(&mut self, available: bool) {
        self.credentials_or(available, "nobody has any");
    }

    /// As [`credentials`](Self::credentials), with the reason why there are none.
    pub(super) fn credentials_or(&mut self, available: bool, error: &str) {
        self.generation += u64::from(available);
        let keys = Credentials::new("AKID", "SECRET", None, None, "test");
        self.event(Event::Credentials(Box::new(CredentialSnapshot {
            generation: self.generation,
            credentials: available.then_some(keys),
            status: CredentialStatus {
                error: (!available).then(|| error.to_owned()),
                missing_since: (!available).then_some(self.now),
                ..CredentialStatus::default()
            },
        })));
    }

    /// A request that is out gets its answer.
    pub(super) fn finish(&mut self, index: usize, answer: &Answer) {
        let out = self.out.remove(index);
        let result = answer.result(&out.payload);
        drop(out.payload);
        self.event(Event::Finished(Box::new(Finished {
            sender: out.sender,
            result,
            took: Duration::from_millis(10),
            received: Reading::now(),
            is_clock_refusal: false,
        })));
    }

    /// Time passes, and the uploader wakes whenever it wants to.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.uploader.next_deadline().filter(|at| *at <= end) {
            assert!(at > self.now, "it would wake again and again for nothing");
            self.now = at;
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    /// The spool answers what it was told first. Returns whether there was something.
    pub(super) fn spool_answers(&mut self) -> bool {
        let Some(spool) = &mut self.spool else {
            return false;
        };
        let Some(message) = spool.next() else {
            return false;
        };
        for event in spool.answer(message) {
            self.event(Event::Spool(SpoolAnswer(event)));
        }
        true
    }

    /// The spool says something of itself.
    pub(super) fn spool_says(&mut self, event: SpoolEvent) {
        self.event(Event::Spool(SpoolAnswer(event)));
    }

    /// Everybody does what there is to do, for so long. `None`: X-Ray does not answer.
    pub(super) fn run(&mut self, answer: Option<&Answer>, time: Duration) {
        self.receive_spans();
        let end = self.now + time;
        for _ in 0..100_000 {
            if self.spool_answers() {
                continue;
            }
            if let (Some(answer), false) = (answer, self.out.is_empty()) {
                self.finish(0, answer);
                continue;
            }
            match self.uploader.next_deadline() {
                Some(at) if at <= end => self.pass(at.max(self.now) - self.now),
                _ => {
                    self.now = end;
                    self.tick();
                    let spool_rests = self.spool.as_mut().is_none_or(|spool| spool.rests());
                    if spool_rests && (self.out.is_empty() || answer.is_none()) {
                        return;
                    }
                }
            }
        }
        panic!("it never rests");
    }

    /// A document that may be sent although nobody hands it over.
    pub(super) fn expect(&mut self, document: String) {
        self.handed_over.insert(document);
    }

    /// A body with spans that may be sent although nobody offers it.
    pub(super) fn expect_spans(&mut self, body: &[u8]) {
        self.taken.insert(Arc::new(body.to_vec()));
    }

    /// A new process that knows of the same documents, with this spool.
    pub(super) fn restart_with(self, spool: FakeSpool) -> Simulation {
        let limits = self.uploader.limits;
        Simulation {
            handed_over: self.handed_over,
            taken: self.taken,
            ..Simulation::with_spool(limits.concurrency, limits.buffer, Some(spool))
        }
    }

    pub(super) fn begin_shutdown(&mut self, patience: Duration) {
        self.event(Event::BeginShutdown(self.now + patience));
    }

    /// Shuts down as main does.
    pub(super) fn shut_down(
        &mut self,
        answer: Option<&Answer>,
        patience: Duration,
    ) -> SegmentCounts {
        let deadline = self.now + patience;
        self.event(Event::BeginShutdown(deadline));
        self.receive_spans();
        self.end(answer)
    }

    /// Main is told by a second signal.
    pub(super) fn stop_sending(&mut self) -> SegmentCounts {
        self.event(Event::StopSending);
        self.receive_spans();
        self.end(None)
    }

    fn end(&mut self, answer: Option<&Answer>) -> SegmentCounts {
        self.event(Event::ReadersEnded);
        for _ in 0..100_000 {
            if self.uploader.is_over(self.now) {
                return self.uploader.close();
            }
            if self.spool_answers() {
                continue;
            }
            if let (Some(answer), false) = (answer, self.out.is_empty()) {
                self.finish(0, answer);
            } else {
                let at = self.uploader.next_deadline().expect("the deadline");
                self.now = at.max(self.now);
                self.tick();
            }
        }
        panic!("it never ends");
    }

    /// Where requests of this kind that are out stand.
    pub(super) fn find_out(&self, is_otlp: bool) -> Option<usize> {
        self.out
            .iter()
            .position(|out| matches!(*out.payload, Payload::Otlp(_)) == is_otlp)
    }

    /// Where the request of this kind stands that went out last.
    pub(super) fn find_last_out(&self, is_otlp: bool) -> Option<usize> {
        self.out
            .iter()
            .rposition(|out| matches!(*out.payload, Payload::Otlp(_)) == is_otlp)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.uploader.destinations.segments.back_off.is_healthy()
    }

    pub(super) fn event(&mut self, event: Event) {
        self.uploader.handle(event, self.times());
        self.act();
    }

    fn tick(&mut self) {
        self.uploader.tick(self.times());
        self.act();
    }

    fn times(&self) -> Now {
        Now {
            instant: self.now,
            wall: SystemTime::now(),
            jitter: 0.0,
        }
    }

    fn act(&mut self) {
        for action in self.uploader.take_actions() {
            match action {
                Action::Send {
                    sender, payload, ..
                } => self.send(sender, payload),
                Action::EndSender(id) => self.ended.push(id),
                Action::RejectCredentials(generation) => self.rejected_generations.push(generation),
                Action::Spool(message) => self
                    .spool
                    .as_mut()
                    .expect("nobody else is told")
                    .told(message),
                Action::WantCredentials | Action::Recycle(_) | Action::Drained => {}
            }
        }
        self.check();
    }

    fn send(&mut self, sender: Choice, payload: Arc<Payload>) {
        let id = match sender {
            Choice::Idle(id) => id,
            Choice::New(id) if self.threads => id,
            Choice::New(id) => {
                drop(payload);
                self.uploader.sender_refused(id, self.times());
                return self.act();
            }
        };
        assert!(self.out.iter().all(|out| out.sender != id), "one at a time");
        if let Payload::Segments(batch) = &*payload {
            self.requests += 1;
            let is_new = |document: String| !document.contains("earlier");
            self.new_requests += usize::from(batch.documents().all(is_new));
            assert!(
                batch
                    .documents()
                    .all(|document| self.handed_over.contains(&document)),
                "a document has changed"
            );
        }
        if let Payload::Otlp(request) = &*payload {
            assert!(self.taken.contains(&request.body), "spans have changed");
        }
        self.out.push(Out {
            sender: id,
            payload,
        });
    }

    /// What holds after every event.
    fn check(&self) {
        let counts = self.uploader.counts();
        let fates = counts.sent + counts.rejected + counts.spilled + counts.held + counts.spooled;
        assert_eq!(counts.received + counts.restored, fates, "{counts}");
        let snapshot = self.uploader.snapshot(self.now);
        let spans = snapshot.spans;
        for fates in [spans.requests, spans.spans, spans.bytes] {
            let ended = fates.delivered + fates.refused + fates.dropped;
            let fates_of_all = ended + fates.held + fates.spooled;
            assert_eq!(fates.accepted + fates.restored, fates_of_all, "{spans:?}");
        }
        let has_lost = self.spool.as_ref().is_some_and(FakeSpool::has_lost);
        assert!(
            has_lost || spans.spans.dropped == 0,
            "only the end drops spans"
        );
        assert!(snapshot.senders >= 1);
        assert!(
            snapshot.buffer_used <= snapshot.buffer_limit + self.uploader.growth_in_flight(),
            "{snapshot:?}"
        );
        let batches = self.out.iter().filter_map(|out| match &*out.payload {
            Payload::Segments(batch) => Some(batch.body().len()),
            Payload::Telemetry(_) | Payload::Otlp(_) => None,
        });
        let in_flight: usize = batches.clone().sum();
        assert!(batches.count() <= 1 || in_flight <= snapshot.buffer_limit / 2);
        let on_credit = self.on_credit.iter();
        let on_credit = on_credit.map(|request| request.body.len() + ITEM_MEMORY);
        assert_eq!(self.channel.bytes().waiting(), on_credit.sum::<usize>());
    }
}
