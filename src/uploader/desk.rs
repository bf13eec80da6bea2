//! The desk: all that is known of documents which have left the open batch, and what is decided
//! of them. Whoever holds its lock decides; nobody who holds it waits for anything.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::Parts;
use super::lanes::Lanes;
use super::trouble::Trouble;
use crate::back_off::{self, BackOff};
use crate::event::Event;
use crate::lane::{Cargo, Job};
use crate::pending::Pending;
use crate::retry::Failure;
use crate::target::Target;
use crate::telemetry;
use aws_credential_types::Credentials;

/// A batch that is not full goes out this long after its first document.
const LINGER: Duration = Duration::from_secs(1);

/// A line about what is lost or held, at most this often.
const SUMMARY: Duration = Duration::from_secs(60);

pub(super) struct Desk {
    pub(super) parts: Parts,
    pub(super) pending: Pending,
    pub(super) in_flight_bytes: usize,
    pub(super) target: Option<Arc<Target>>,
    pub(super) lanes: Lanes,
    pub(super) back_off: BackOff,
    pub(super) trouble: Trouble,
    /// A telemetry call that waits for a lane.
    outbox: Option<String>,
    /// When to look at the open batch, if it holds anything.
    due: Option<Instant>,
    telemetry_due: Option<Instant>,
    summary_due: Option<Instant>,
    pings: Vec<SyncSender<()>>,
    stop: Option<Instant>,
    final_record: bool,
    /// The uploader, while it sleeps.
    sleeper: Option<Thread>,
    /// When it wakes by itself.
    wakes: Option<Instant>,
}

impl Desk {
    /// With nothing held.
    pub(super) fn new(parts: Parts) -> Self {
        Desk {
            pending: Pending::new(parts.limit),
            lanes: Lanes::new(parts.concurrency),
            parts,
            in_flight_bytes: 0,
            target: None,
            back_off: BackOff::default(),
            trouble: Trouble::default(),
            outbox: None,
            due: None,
            telemetry_due: None,
            summary_due: None,
            pings: Vec::new(),
            stop: None,
            final_record: false,
            sleeper: None,
            wakes: None,
        }
    }

    pub(super) fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Opened => self.due = Some(now + LINGER),
            Event::Batch(batch) => self.pending.push(batch),
            Event::Target(target) => self.target = Some(target),
            Event::Host(instance_id, hostname) => {
                self.parts.telemetry.set_host(instance_id, hostname);
            }
            Event::Credentials => self.back_off.retry_now(),
            Event::Ping(answer) => {
                self.pings.push(answer);
                self.wake(now);
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
        self.see_to_it(now);
    }

    /// What a lane that has come is to do now, if anything.
    pub(super) fn job(&mut self, now: Instant) -> Option<Job> {
        let job = self.next_job(now);
        self.lanes.came(job.is_some());
        self.see_to_it(now);
        job
    }

    fn next_job(&mut self, now: Instant) -> Option<Job> {
        if self.requests() == 0 || self.back_off.next(self.lanes.in_flight(), now)? > now {
            return None;
        }
        let credentials = self.credentials(now)?;
        let target = Arc::clone(self.target.as_ref()?);
        let cargo = match self.outbox.take() {
            Some(body) => Cargo::Telemetry(body),
            None => {
                let batch = self.pending.pop()?;
                self.in_flight_bytes += batch.body().len();
                Cargo::Segments(batch)
            }
        };
        Some(Job {
            target,
            cargo,
            credentials,
            epoch: self.back_off.epoch(),
        })
    }

    /// The uploader is awake: does what has its time. False when all is done, or time is up.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        self.sleeper = None;
        for ping in self.pings.drain(..) {
            let _ = ping.try_send(());
        }
        if self.due.is_some_and(|due| due <= now) {
            self.take_open_batch(now);
        }
        self.telemetry(now);
        self.summary(now);
        self.see_to_it(now);
        !self.stop.is_some_and(|end| now >= end || self.is_done())
    }

    /// A number for a lane that must be started.
    pub(super) fn new_lane(&mut self, now: Instant) -> Option<usize> {
        let needed = self.next_request(now).is_some_and(|at| at <= now);
        (needed && self.wants_lane()).then(|| self.lanes.admit())
    }

    /// The lane could not be started.
    pub(super) fn no_lane(&mut self, error: &io::Error, now: Instant) {
        self.lanes.dismiss();
        self.back_off
            .failed(self.back_off.epoch(), now, None, back_off::jitter());
        let words = format!("no thread for a lane: {error}");
        self.trouble.failed(&Err((Failure::Other, words)), now);
        self.see_to_it(now);
    }

    /// The uploader sleeps from now on; answers how long, at most.
    pub(super) fn sleeps(&mut self, sleeper: Thread, now: Instant) -> Option<Duration> {
        self.sleeper = Some(sleeper);
        self.wakes = [
            // What could go now waits for a lane to come back.
            self.next_request(now).filter(|at| *at > now),
            self.due,
            self.telemetry_due,
            self.summary_due,
            self.stop,
        ]
        .into_iter()
        .flatten()
        .min();
        Some(self.wakes?.saturating_duration_since(now))
    }

    /// After every change: keeps to the limit, wakes a lane when there is work for one, and the
    /// uploader in time for what comes later.
    fn see_to_it(&mut self, now: Instant) {
        let spilled = self.pending.spill(self.in_flight_bytes);
        if spilled > 0 {
            self.parts.books.spilled(spilled);
            self.trouble.spilled(spilled);
        }
        match self.next_request(now) {
            Some(at) if at > now => self.wake(at),
            // It is the uploader that starts lanes.
            Some(_) if !self.lanes.call() && self.wants_lane() => self.wake(now),
            _ => {}
        }
        if let Some(due) = self.due {
            self.wake(due);
        }
        if self.stop.is_some() {
            self.wake(now);
        }
        let held = self.pending.bytes() + self.in_flight_bytes;
        self.parts.books.set_held_bytes(held);
        self.parts.gauges.set_lanes(self.lanes.count());
    }

    /// Has the uploader wake at this time, or before.
    fn wake(&mut self, at: Instant) {
        if let Some(sleeper) = &self.sleeper
            && self.wakes.is_none_or(|set| at < set)
        {
            self.wakes = Some(at);
            sleeper.unpark();
        }
    }

    /// When a lane is needed, besides those that were called. `None`: not before something changes.
    fn next_request(&mut self, now: Instant) -> Option<Instant> {
        if self.requests() <= self.lanes.called() {
            return None;
        }
        self.credentials(now)?;
        self.back_off.next(self.lanes.in_flight(), now)
    }

    /// Requests that could be made at once.
    fn requests(&self) -> usize {
        match self.back_off.is_healthy() {
            true => self.pending.batches() + usize::from(self.outbox.is_some()),
            false => usize::from(!self.pending.is_empty()),
        }
    }

    fn wants_lane(&self) -> bool {
        let crowded = self.pending.is_crowded() && self.back_off.is_healthy();
        self.lanes.may_grow(crowded || self.outbox.is_some())
    }

    fn credentials(&mut self, now: Instant) -> Option<Credentials> {
        let keeper = &self.target.as_ref()?.keeper;
        let credentials = keeper.current();
        if credentials.is_none() && !self.pending.is_empty() {
            self.trouble.no_credentials(&keeper.status(), now);
        }
        credentials
    }

    /// Takes the open batch, if a second has passed since its first document.
    fn take_open_batch(&mut self, now: Instant) {
        self.due = match self.parts.intake.open_since() {
            // The batch that was watched filled up; this is a younger one.
            Some(since) if since + LINGER > now => Some(since + LINGER),
            Some(_) => {
                self.pending.push(self.parts.intake.take());
                Some(now + LINGER)
            }
            None => {
                self.parts.intake.rest();
                None
            }
        };
    }

    fn telemetry(&mut self, now: Instant) {
        if !self.parts.books.any_received() {
            return;
        }
        let due = *self.telemetry_due.get_or_insert(now + telemetry::INTERVAL);
        if self.stop.is_some() {
            if self.is_delivered() && !self.final_record {
                self.final_record = true;
                self.record_telemetry();
            }
        } else if now >= due {
            self.telemetry_due = Some(now + telemetry::INTERVAL);
            self.record_telemetry();
        }
    }

    fn record_telemetry(&mut self) {
        self.count_kernel_drops();
        let totals = self.parts.books.totals();
        self.parts.telemetry.record(self.parts.clock.now(), totals);
        if self.back_off.is_healthy() && self.outbox.is_none() {
            self.outbox = self.parts.telemetry.next_call();
        }
    }

    /// Telemetry does not wait for the end of trouble.
    pub(super) fn forget_telemetry(&mut self) {
        if self.outbox.take().is_some() {
            self.parts.telemetry.answered(false);
        }
    }

    fn summary(&mut self, now: Instant) {
        if !self.parts.books.any_received() {
            return;
        }
        let due = *self.summary_due.get_or_insert(now + SUMMARY);
        if now >= due {
            self.summary_due = Some(now + SUMMARY);
            self.count_kernel_drops();
            self.trouble.summary(self.parts.books.totals());
        }
    }

    fn count_kernel_drops(&self) {
        if let Some(drops) = (self.parts.kernel_drops)() {
            self.parts.books.set_kernel_drops(drops);
        }
    }

    fn is_delivered(&self) -> bool {
        self.pending.is_empty() && self.in_flight_bytes == 0
    }

    /// Whether nothing is left to deliver, the last telemetry included.
    fn is_done(&self) -> bool {
        self.is_delivered() && self.lanes.in_flight() == 0 && self.outbox.is_none()
    }

    /// The end: what is still held is lost, and said to be.
    pub(super) fn leave(&mut self) {
        let left = self.parts.books.totals().held();
        if left > 0 {
            self.parts
                .books
                .spilled(usize::try_from(left).unwrap_or(usize::MAX));
            log::error!("{left} segments could not be delivered before the daemon had to stop");
        }
        if let Some(target) = &self.target {
            // Lanes are not waited for: nothing interrupts a name lookup.
            target.agent.clone().shutdown();
        }
        self.count_kernel_drops();
    }
}
