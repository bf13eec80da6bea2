//! The thread `uploader`: waits for messages, lets the state machine decide, signs and hands over.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;

use super::channel::UploadChannel;
use super::counters::{ReaderLedger, SegmentCounts};
use super::message::{Event, Message};
use super::metrics::Snapshot;
use super::now::Now;
use super::sender::{self, Finished, Payload, SenderId, SignedRequest};
use super::sender_pool::Choice;
use super::telemetry::{Identity, Telemetry};
use super::uploader::{Action, UploadLimits, Uploader};
use crate::aws::clock::{Clock, DatedAnswer, Reading, SigningTime};
use crate::aws::jitter::jitter;
use crate::aws::sigv4::{SignRequest, sign};
use crate::batch::Batch;
use crate::credentials::target::Target;
use crate::http::error::{TransportError, TransportErrorKind};
use crate::spool::SpoolMessage;

/// Except for a snapshot, the kernel's count of dropped datagrams is read at most this often: on a host with
/// many sockets the file is long.
const KERNEL_DROPS_INTERVAL: Duration = Duration::from_secs(30);

/// How often a snapshot is tried again because a batch was on its way from a reader. Each time costs
/// a microsecond, and a reader needs a fraction of that to hand over.
const SNAPSHOT_ATTEMPTS: usize = 1000;

/// What the uploader works with.
pub(crate) struct RunnerParts {
    /// Concurrency and memory.
    pub limits: UploadLimits,
    /// The service's time.
    pub clock: Arc<Clock>,
    /// The sender of telemetry, for its records.
    pub identity: Identity,
    /// What each reader has taken and not handed over.
    pub readers: ReaderLedger,
    /// Where the memory of delivered batches goes.
    pub recycled: SyncSender<Batch>,
    /// Looks up the kernel's count of datagrams dropped on the UDP socket.
    pub kernel_drops: Box<dyn Fn() -> Option<u64> + Send>,
    /// The spool, if there is one.
    pub(crate) spool: Option<SpoolParts>,
    /// Shows a batch that has come from a reader, where traces are shown here too. It must not block.
    pub show: Box<dyn Fn(&Batch) + Send>,
    /// Called once when the shutdown has begun and nothing is held any more.
    pub(crate) on_drained: Box<dyn Fn() + Send>,
}

/// The uploader's connection to the spool.
pub(crate) struct SpoolParts {
    /// Its channel.
    pub messages: Sender<SpoolMessage>,
    /// The role that is assumed, empty where there is none: bodies that were taken for one account are
    /// not sent to another.
    pub role: String,
}

/// The state of the thread `uploader`.
pub(crate) struct Runner {
    uploader: Uploader,
    messages: Receiver<Message>,
    channel: UploadChannel,
    senders: HashMap<SenderId, SyncSender<SignedRequest>>,
    /// When a sender's request was signed.
    signed: HashMap<SenderId, SigningTime>,
    drops_counted: Instant,
    parts: RunnerParts,
}

impl Runner {
    /// Starts the first sender, which lives as long as the uploader: uploading must not need a thread
    /// that cannot be had later.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub(crate) fn new(
        parts: RunnerParts,
        channel: UploadChannel,
        messages: Receiver<Message>,
    ) -> io::Result<Self> {
        let first = sender::start(1, channel.clone())?;
        let now = Instant::now();
        let telemetry = Telemetry::new(parts.identity.clone());
        let role = parts.spool.as_ref().map(|spool| spool.role.clone());
        Ok(Runner {
            uploader: Uploader::new(parts.limits, channel.bytes(), telemetry, role, now),
            messages,
            channel,
            senders: HashMap::from([(1, first)]),
            signed: HashMap::new(),
            drops_counted: now,
            parts,
        })
    }

    /// Runs until the shutdown is over. Returns how every segment ended.
    pub(crate) fn run(mut self) -> SegmentCounts {
        loop {
            let now = self.now();
            if self.uploader.is_over(now.instant) {
                self.count_kernel_drops();
                return self.uploader.close();
            }
            let message = match self.uploader.next_deadline() {
                Some(at) => {
                    let wait = at.saturating_duration_since(now.instant);
                    self.messages.recv_timeout(wait)
                }
                None => self
                    .messages
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(message) => self.take(message),
                Err(_) => {
                    let now = self.now();
                    if now.instant >= self.drops_counted + KERNEL_DROPS_INTERVAL {
                        self.count_kernel_drops();
                    }
                    self.tick();
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.handle(event),
            Message::AskHealth(reply) => {
                let health = self.uploader.health(Instant::now());
                // The asking thread may have given up.
                let _ = reply.try_send(health);
                self.tick();
            }
            Message::AskSnapshot(reply) => {
                let mut replies = vec![reply];
                let snapshot = Box::new(self.snapshot(&mut replies));
                for reply in replies {
                    let _ = reply.try_send(snapshot.clone());
                }
                self.tick();
            }
        }
    }

    /// Does what is due. It is called after answering a query too, because a deadline may have
    /// passed meanwhile.
    fn tick(&mut self) {
        let now = self.now();
        self.uploader.tick(now);
        self.act();
    }

    fn handle(&mut self, mut event: Event) {
        match &mut event {
            Event::Batch(hand_over) => {
                self.channel.received(hand_over);
                self.parts.readers.received(hand_over.reader);
                (self.parts.show)(&hand_over.batch);
            }
            Event::SpansOnCredit(request) => self.channel.spans_received(request),
            Event::Finished(finished) => self.observe(finished),
            _ => {}
        }
        let now = self.now();
        self.uploader.handle(event, now);
        self.act();
    }

    /// Learns the service's time from an answer.
    fn observe(&mut self, finished: &mut Finished) {
        let signed = self.signed.remove(&finished.sender);
        let (Ok(response), Some(signed)) = (&finished.result, signed) else {
            return;
        };
        let answer = DatedAnswer {
            received: finished.received,
            date: response.date.as_deref(),
            has_age: response.has_age,
            has_request_id: response.has_request_id,
            code: response.code.as_deref().unwrap_or_default(),
        };
        finished.is_clock_refusal = self.parts.clock.learn(signed, &answer);
    }

    /// All counters of one moment, what readers hold included. A batch that is on its way from a
    /// reader would be counted twice or not at all: then the channel is emptied, and the readers are
    /// asked again. Those that ask for a snapshot meanwhile join `replies`.
    fn snapshot(&mut self, replies: &mut Vec<SyncSender<Box<Snapshot>>>) -> Snapshot {
        self.count_kernel_drops();
        for _ in 0..SNAPSHOT_ATTEMPTS {
            if let Some(unreported) = self.parts.readers.unreported() {
                let mut snapshot = self.uploader.snapshot(Instant::now());
                for counts in unreported {
                    snapshot.segments.add_unreported(counts);
                }
                return snapshot;
            }
            match self.messages.try_recv() {
                Ok(Message::AskSnapshot(reply)) => replies.push(reply),
                Err(TryRecvError::Disconnected) => {}
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty) => std::thread::yield_now(),
            }
        }
        self.uploader.snapshot(Instant::now())
    }

    fn count_kernel_drops(&mut self) {
        self.drops_counted = Instant::now();
        if let Some(drops) = (self.parts.kernel_drops)() {
            self.uploader.set_kernel_drops(drops);
        }
    }

    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            wall: self.parts.clock.now(),
            jitter: jitter(),
        }
    }

    /// Does what the state machine has decided.
    fn act(&mut self) {
        for action in self.uploader.take_actions() {
            match action {
                Action::Send {
                    sender,
                    payload,
                    credentials,
                } => self.send(sender, payload, &credentials),
                Action::EndSender(id) => {
                    self.senders.remove(&id);
                }
                Action::RejectCredentials(generation) => {
                    if let Some(target) = self.uploader.target() {
                        target.credentials.reject(generation);
                    }
                }
                Action::WantCredentials => {
                    if let Some(target) = self.uploader.target() {
                        target.credentials.want();
                    }
                }
                Action::Recycle(batch) => self.recycle(batch),
                Action::Spool(message) => {
                    if let Some(spool) = &self.parts.spool {
                        // The thread cannot be missing: a panic in it would have ended the process.
                        let _ = spool.messages.send(message);
                    }
                }
                Action::Drained => (self.parts.on_drained)(),
            }
        }
    }

    fn recycle(&self, batch: Batch) {
        if batch.capacity() <= MAX_RECYCLED {
            // With enough spare batches this one is freed.
            let _ = self.parts.recycled.try_send(batch.clear());
        }
    }

    fn send(&mut self, sender: Choice, payload: Arc<Payload>, credentials: &Credentials) {
        let id = match sender {
            Choice::Idle(id) => id,
            Choice::New(id) => match sender::start(id, self.channel.clone()) {
                Ok(requests) => {
                    self.senders.insert(id, requests);
                    id
                }
                Err(error) => {
                    log::debug!("no thread for sender {id}: {error}; the others go on");
                    let now = self.now();
                    drop(payload);
                    self.uploader.sender_refused(id, now);
                    return self.act();
                }
            },
        };
        let Some(target) = self.uploader.target().cloned() else {
            return;
        };
        let signed = self.parts.clock.signing_time();
        self.signed.insert(id, signed);
        let failed = match self.sign(&target, payload, credentials, signed.time()) {
            Ok(request) => {
                let requests = self.senders.get(&id);
                if requests.is_some_and(|requests| requests.try_send(request).is_ok()) {
                    return;
                }
                "the sender has ended".to_owned()
            }
            Err(words) => words,
        };
        self.handle(Event::Finished(Box::new(Finished {
            sender: id,
            result: Err(TransportError::new(TransportErrorKind::Other, failed)),
            took: Duration::ZERO,
            received: Reading::now(),
            is_clock_refusal: false,
        })));
    }

    fn sign(
        &self,
        target: &Target,
        payload: Arc<Payload>,
        credentials: &Credentials,
        time: SystemTime,
    ) -> Result<SignedRequest, String> {
        let endpoint = target.uploads.current();
        let url = format!("{}{}", endpoint.url, payload.path());
        let since_epoch = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        // The official daemon sends the time of the request in this header, signed.
        let stamp = format!(
            "{}.{:09}",
            since_epoch.as_secs(),
            since_epoch.subsec_nanos()
        );
        let own: &[_] = match &*payload {
            Payload::Otlp(request) => &[("content-type", request.content_type())],
            _ => &[
                ("content-type", "application/json"),
                ("x-amzn-xray-timestamp", stamp.as_str()),
            ],
        };
        let mut headers = sign(&SignRequest {
            method: "POST",
            url: &url,
            headers: own,
            body: payload.body_to_sign(),
            region: &target.region,
            service: "xray",
            time,
            credentials,
        })
        .map_err(|error| error.to_string())?;
        // Not signed, because some proxies change it.
        let coding = match &*payload {
            Payload::Otlp(request) if request.is_gzip => Some(("content-encoding", "gzip")),
            _ => None,
        };
        let sent = own.iter().copied().chain(coding);
        headers.extend(sent.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(SignedRequest {
            agent: endpoint.agent.clone(),
            url,
            headers,
            payload,
            timeout: self.uploader.time_left(Instant::now()),
            session_token: credentials.session_token().map(str::to_owned),
        })
    }
}

/// Larger batches are freed: spare memory is for usual documents.
const MAX_RECYCLED: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::counters::{ReaderCounts, Unreported};
    use crate::upload::message::HandOver;
    use std::sync::mpsc::sync_channel;

    /// A reader has handed over a batch that stands behind both questions in the channel.
    #[test]
    fn all_that_ask_for_a_snapshot_meanwhile_get_one() {
        let (channel, batches) = UploadChannel::new(1_000_000);
        let (asks, messages) = std::sync::mpsc::channel();
        let readers: [Arc<ReaderCounts>; 2] = Default::default();
        readers[0].publish(Unreported {
            hand_overs: 1,
            ..Unreported::default()
        });
        let questions = [sync_channel(1), sync_channel(1)].map(|(reply, answer)| {
            asks.send(Message::AskSnapshot(reply)).unwrap();
            answer
        });
        let mut batch = Batch::new();
        batch.push(b"{}");
        channel.hand_over(HandOver {
            batch,
            ..HandOver::default()
        });
        channel.send(Event::BeginShutdown(Instant::now()));
        channel.send(Event::ReadersEnded);
        for message in batches.try_iter() {
            asks.send(message).unwrap();
        }
        let parts = RunnerParts {
            limits: UploadLimits {
                concurrency: 1,
                buffer: 1_000_000,
            },
            clock: Arc::new(Clock::new(true)),
            identity: Identity::default(),
            readers: ReaderLedger::new(readers),
            recycled: sync_channel(1).0,
            kernel_drops: Box::new(|| None),
            spool: None,
            show: Box::new(|_| ()),
            on_drained: Box::new(|| ()),
        };
        let runner = Runner::new(parts, channel, messages).unwrap();
        assert_eq!(runner.run().received, 1);
        let received =
            questions.map(|answer| answer.recv().map(|snapshot| snapshot.segments.received));
        assert_eq!(received, [Ok(1), Ok(1)]);
    }
}
