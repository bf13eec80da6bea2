//! The uploader: the one thread that decides. It owns every document that has left the open
//! batch, until it is in one of the books.
//!
//! It never waits for the network: it signs a request, hands it to a lane, and hears of it again
//! by the channel on which everything else reaches it too.

mod outcome;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::back_off::BackOff;
use crate::batch::Batch;
use crate::books::Books;
use crate::clock::Clock;
use crate::event::Event;
use crate::intake::Intake;
use crate::lane::{Cargo, Job, Lanes};
use crate::metrics::Gauges;
use crate::pending::Pending;
use crate::sign::{self, SignRequest};
use crate::target::Target;
use crate::telemetry::{self, Telemetry};
use aws_credential_types::Credentials;

use outcome::Trouble;

/// A batch that is not full goes out this long after its first document.
pub const LINGER: Duration = Duration::from_secs(1);

/// Messages that may wait for the uploader. Readers wait beyond that, and the kernel's buffer
/// with them; a batch may hold 256 KB, so this bounds what is not yet in the bounded queue.
pub const CHANNEL: usize = 16;

/// A line about what is lost or held, at most this often.
const SUMMARY: Duration = Duration::from_secs(60);

/// What the uploader works with.
pub struct Parts {
    /// Its end of the channel.
    pub events: Receiver<Event>,
    /// For its lanes.
    pub sender: SyncSender<Event>,
    /// The open batch.
    pub intake: Arc<Intake>,
    /// The counters.
    pub books: Arc<Books>,
    /// What else is shown to operators.
    pub gauges: Arc<Gauges>,
    /// Corrected time.
    pub clock: Arc<Clock>,
    /// Most lanes.
    pub concurrency: usize,
    /// Bytes of documents that may be held.
    pub limit: usize,
    /// Telemetry with the sender's identity.
    pub telemetry: Telemetry,
    /// Reads the kernel's count of dropped datagrams.
    pub kernel_drops: Box<dyn Fn() -> Option<u64> + Send>,
}

/// The uploader's state.
pub struct Uploader {
    parts: Parts,
    pending: Pending,
    in_flight_bytes: usize,
    target: Option<Target>,
    lanes: Option<Lanes>,
    back_off: BackOff,
    trouble: Trouble,
    /// When the open batch is to be taken, if it holds anything.
    due: Option<Instant>,
    telemetry_due: Option<Instant>,
    summary_due: Option<Instant>,
    stop: Option<Instant>,
    final_record: bool,
}

impl Uploader {
    /// With nothing held.
    pub fn new(parts: Parts) -> Self {
        Uploader {
            pending: Pending::new(parts.limit),
            parts,
            in_flight_bytes: 0,
            target: None,
            lanes: None,
            back_off: BackOff::default(),
            trouble: Trouble::default(),
            due: None,
            telemetry_due: None,
            summary_due: None,
            stop: None,
            final_record: false,
        }
    }

    /// Works until everything is delivered after [`Event::Stop`], or its deadline has come.
    pub fn run(mut self) {
        loop {
            let now = Instant::now();
            let wake = self.work(now);
            if self.stop.is_some_and(|end| now >= end || self.is_done()) {
                break;
            }
            let event = match wake {
                None => self
                    .parts
                    .events
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => {
                    let wait = at.saturating_duration_since(Instant::now());
                    self.parts.events.recv_timeout(wait)
                }
            };
            match event {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                // Not while this struct holds a sender for its lanes.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(event) = self.parts.events.try_recv() {
                self.take(event);
            }
        }
        self.leave();
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened => self.due = Some(Instant::now() + LINGER),
            Event::Batch(batch) => self.pending.push(batch),
            Event::Done(done) => self.done(*done),
            Event::Target(target) => {
                let sender = self.parts.sender.clone();
                let limit = self.parts.concurrency;
                // Fails only when nobody is left to hear it.
                let report = Arc::new(move |done| drop(sender.send(Event::Done(done))));
                self.lanes = Some(Lanes::new(target.agent.clone(), limit, report));
                self.target = Some(*target);
            }
            Event::Host(instance_id, hostname) => {
                self.parts.telemetry.set_host(instance_id, hostname);
            }
            Event::Credentials => self.back_off.retry_now(),
            Event::Ping(answer) => {
                let _ = answer.try_send(());
            }
            Event::Stop(deadline) => {
                self.stop = Some(deadline);
                // The readers have ended: this is the last of it.
                let last = self.parts.intake.take();
                if !last.is_empty() {
                    self.pending.push(last);
                }
                self.due = None;
                self.back_off.hurry();
            }
        }
    }

    /// Does all that can be done now; answers when there may be more, events apart.
    fn work(&mut self, now: Instant) -> Option<Instant> {
        let spilled = self.pending.spill(self.in_flight_bytes);
        if spilled > 0 {
            self.parts.books.spilled(spilled);
            self.trouble.spilled(spilled);
        }
        let mut wake = self.send(now);
        wake = earlier(
            wake,
            self.lanes.as_mut().and_then(|lanes| lanes.end_idle(now)),
        );
        wake = earlier(wake, self.telemetry(now));
        wake = earlier(wake, self.summary(now));
        self.show();
        earlier(wake, self.stop)
    }

    /// Hands documents to lanes while documents, lanes, credentials and back-off allow it.
    fn send(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let due = self.due.filter(|_| self.pending.is_empty());
            if self.pending.is_empty() && due.is_none() {
                return None;
            }
            let crowded = self.pending.is_crowded() && self.back_off.is_healthy();
            let lanes = self.lanes.as_ref()?;
            if !lanes.is_free(crowded) {
                return None;
            }
            let at = self
                .back_off
                .next(lanes.in_flight(), now)?
                .max(due.unwrap_or(now));
            if at > now {
                return Some(at);
            }
            let keeper = &self.target.as_ref()?.keeper;
            let Some(credentials) = keeper.current() else {
                self.trouble.no_credentials(&keeper.status(), now);
                return None;
            };
            let Some(batch) = self.pending.pop().or_else(|| self.open_batch(now)) else {
                continue;
            };
            self.in_flight_bytes += batch.body().len();
            self.carry("/TraceSegments", Cargo::Segments(batch), credentials);
        }
    }

    /// The open batch, if a second has passed since its first document.
    fn open_batch(&mut self, now: Instant) -> Option<Batch> {
        match self.parts.intake.open_since() {
            Some(since) if since + LINGER > now => {
                // The batch that was watched filled up; this is a younger one.
                self.due = Some(since + LINGER);
                None
            }
            Some(_) => {
                self.due = Some(now + LINGER);
                Some(self.parts.intake.take())
            }
            None => {
                self.due = None;
                self.parts.intake.rest();
                None
            }
        }
    }

    fn telemetry(&mut self, now: Instant) -> Option<Instant> {
        if !self.parts.books.any_received() {
            return None;
        }
        let due = *self.telemetry_due.get_or_insert(now + telemetry::INTERVAL);
        if self.stop.is_some() {
            let delivered = self.pending.is_empty() && self.in_flight_bytes == 0;
            if delivered && !self.final_record {
                self.final_record = true;
                self.record_telemetry();
            }
        } else if now >= due {
            self.telemetry_due = Some(now + telemetry::INTERVAL);
            self.record_telemetry();
        }
        self.telemetry_due
    }

    fn record_telemetry(&mut self) {
        self.count_kernel_drops();
        let totals = self.parts.books.totals();
        self.parts.telemetry.record(self.parts.clock.now(), totals);
        let free = |lanes: &Lanes| lanes.is_free(true);
        if self.back_off.is_healthy()
            && self.lanes.as_ref().is_some_and(free)
            && let Some(credentials) = self
                .target
                .as_ref()
                .and_then(|target| target.keeper.current())
            && let Some(body) = self.parts.telemetry.next_call()
        {
            self.carry("/TelemetryRecords", Cargo::Telemetry(body), credentials);
        }
    }

    fn summary(&mut self, now: Instant) -> Option<Instant> {
        if !self.parts.books.any_received() {
            return None;
        }
        let due = *self.summary_due.get_or_insert(now + SUMMARY);
        if now >= due {
            self.summary_due = Some(now + SUMMARY);
            self.count_kernel_drops();
            self.trouble.summary(self.parts.books.totals());
        }
        self.summary_due
    }

    fn count_kernel_drops(&self) {
        if let Some(drops) = (self.parts.kernel_drops)() {
            self.parts.books.set_kernel_drops(drops);
        }
    }

    fn show(&self) {
        self.parts
            .books
            .set_held_bytes(self.pending.bytes() + self.in_flight_bytes);
        self.parts
            .gauges
            .set_lanes(self.lanes.as_ref().map_or(0, Lanes::count));
    }

    /// Signs a request and gives it to a lane. What cannot be sent comes back at once.
    fn carry(&mut self, path: &str, cargo: Cargo, credentials: Credentials) {
        let (Some(target), Some(lanes)) = (&self.target, &mut self.lanes) else {
            return self.give_back(cargo, "no endpoint is known yet");
        };
        let url = format!("{}{path}", target.endpoint);
        let time = self.parts.clock.now();
        let stamp = timestamp(time);
        let headers = [
            ("content-type", "application/json"),
            ("x-amzn-xray-timestamp", stamp.as_str()),
        ];
        let signed = sign::sign(&SignRequest {
            method: "POST",
            url: &url,
            headers: &headers,
            body: cargo.body(),
            region: &target.region,
            service: "xray",
            time,
            credentials: &credentials,
        });
        let mut all: Vec<(String, String)> = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        match signed {
            Ok(signed) => all.extend(signed),
            Err(error) => return self.give_back(cargo, &error.to_string()),
        }
        let job = Job {
            url,
            headers: all,
            cargo,
            credentials,
            epoch: self.back_off.epoch(),
        };
        if let Err(unsent) = lanes.carry(job) {
            let (job, error) = *unsent;
            self.give_back(job.cargo, &format!("no thread for a lane: {error}"));
        }
    }

    /// Whether nothing is left to deliver, the last telemetry included.
    fn is_done(&self) -> bool {
        let out = self.lanes.as_ref().map_or(0, Lanes::in_flight);
        self.pending.is_empty() && out == 0
    }

    /// The end: what is still held is lost, and said to be.
    fn leave(mut self) {
        let left = self.parts.books.totals().held();
        if left > 0 {
            self.parts
                .books
                .spilled(usize::try_from(left).unwrap_or(usize::MAX));
            log::error!("{left} segments could not be delivered before the daemon had to stop");
        }
        if let Some(lanes) = self.lanes.take() {
            lanes.end();
        }
        self.count_kernel_drops();
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// `X-Amzn-Xray-Timestamp`: seconds since the epoch with nine decimals, as the official daemon
/// sends it.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}
