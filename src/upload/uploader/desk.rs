//! The desk: all that is known of documents which have left the open batch, and what is decided
//! of them. Whoever holds its lock decides; nobody who holds it waits for anything.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::Parts;
use super::lanes::Lanes;
use super::trouble::Trouble;
use crate::credentials::IssuedCredentials;
use crate::credentials::target::Target;
use crate::upload::back_off::BackOff;
use crate::upload::message::Event;
use crate::upload::queue::Pending;
use crate::upload::sender::{Cargo, Job};

/// A batch that is not full goes out this long after its first document.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// As many as may be asked at once by TCP: more wait only when the uploader does not answer.
const MAX_PINGS: usize = 128;

pub(super) struct Desk {
    pub(super) parts: Parts,
    pub(super) pending: Pending,
    pub(super) in_flight_bytes: usize,
    pub(super) target: Option<Arc<Target>>,
    pub(super) lanes: Lanes,
    pub(super) back_off: BackOff,
    pub(super) trouble: Trouble,
    /// A telemetry call that waits for a lane.
    pub(super) outbox: Option<String>,
    /// When to look at the open batch, if it holds anything.
    pub(super) due: Option<Instant>,
    pub(super) telemetry_due: Option<Instant>,
    pub(super) summary_due: Option<Instant>,
    pub(super) pings: Vec<SyncSender<()>>,
    pub(super) stop: Option<Instant>,
    pub(super) final_record: bool,
    /// The uploader has ended: what is still out is booked as lost.
    pub(super) closed: bool,
    /// The uploader, while it sleeps.
    pub(super) sleeper: Option<Thread>,
    /// When it wakes by itself.
    pub(super) wakes: Option<Instant>,
    /// Whom to wake when the lock is free.
    pub(super) wake: Wake,
}

/// Those whom one visit calls: a lane, the uploader, or both. Kept without an allocation, because
/// musl's allocator has one lock: who is woken asks for it while who woke him gives back.
#[derive(Default)]
pub(super) struct Wake {
    lane: Option<Thread>,
    uploader: Option<Thread>,
}

impl Wake {
    pub(super) fn into_threads(self) -> impl Iterator<Item = Thread> {
        [self.lane, self.uploader].into_iter().flatten()
    }
}

/// What a lane is to do.
pub(super) enum Turn {
    /// Carry this.
    Carry(Job),
    /// Rest until it is called.
    Rest,
    /// End.
    End,
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
            closed: false,
            sleeper: None,
            wakes: None,
            wake: Wake::default(),
        }
    }

    /// Something has come.
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
                // Whoever is turned away knows at once that it does not answer.
                if self.pings.len() < MAX_PINGS {
                    self.pings.push(answer);
                }
                self.wake_uploader(now);
            }
            Event::Stop(deadline) => {
                self.stop = Some(deadline);
                // The readers have ended: this is the last of it.
                self.pending.push(self.parts.intake.take());
                self.due = None;
                self.back_off.hurry();
            }
        }
        self.see_to_it(now);
    }

    /// What a lane is to do now. When its time is `over` and nobody has called it, it ends.
    pub(super) fn turn(&mut self, lane: usize, over: bool, now: Instant) -> Turn {
        let turn = match (self.lanes.is_called(lane), over) {
            (true, _) => self.next_job(now).map_or(Turn::Rest, Turn::Carry),
            // Woken without a reason, which threads may be.
            (false, false) => return Turn::Rest,
            (false, true) => Turn::End,
        };
        match turn {
            Turn::Carry(_) => self.lanes.sets_out(),
            Turn::Rest => self.lanes.rests(lane, thread::current()),
            Turn::End => self.lanes.ends(lane),
        }
        self.see_to_it(now);
        turn
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

    /// After every change: keeps to the limit, calls a lane when there is work for one, and wakes
    /// the uploader in time for what comes later. Once a visit, so that a visit calls one lane at most.
    pub(super) fn see_to_it(&mut self, now: Instant) {
        let spilled = self.pending.spill(self.in_flight_bytes);
        if spilled > 0 {
            self.parts.books.spilled(spilled);
            self.trouble.spilled(spilled);
        }
        match self.next_request(now) {
            Some(at) if at > now => self.wake_uploader(at),
            Some(_) => match self.lanes.call() {
                Some(lane) => self.wake.lane = Some(lane),
                // It is the uploader that starts lanes.
                None if self.wants_lane(now) => self.wake_uploader(now),
                None => {}
            },
            None => {}
        }
        if let Some(due) = self.due {
            self.wake_uploader(due);
        }
        if self.stop.is_some() {
            self.wake_uploader(now);
        }
        let held = self.pending.bytes() + self.in_flight_bytes;
        self.parts.books.set_held_bytes(held);
        self.parts.gauges.set_lanes(self.lanes.count());
    }

    /// Has the uploader wake at this time, or before.
    fn wake_uploader(&mut self, at: Instant) {
        if self.wakes.is_none_or(|set| at < set)
            && let Some(sleeper) = self.sleeper.take()
        {
            self.wake.uploader = Some(sleeper);
        }
    }

    /// When a lane is needed, besides those that were called. `None`: not before something changes.
    pub(super) fn next_request(&mut self, now: Instant) -> Option<Instant> {
        if self.requests() <= self.lanes.called() {
            return None;
        }
        self.credentials(now)?;
        self.back_off.next(self.lanes.in_flight(), now)
    }

    /// Requests that could be made at once.
    fn requests(&self) -> usize {
        if self.back_off.is_healthy() {
            self.pending.batches() + usize::from(self.outbox.is_some())
        } else {
            // One probe, and it carries segments.
            usize::from(!self.pending.is_empty())
        }
    }

    pub(super) fn wants_lane(&self, now: Instant) -> bool {
        let crowded = self.pending.is_crowded() && self.back_off.is_healthy();
        self.lanes.may_grow(crowded || self.outbox.is_some(), now)
    }

    pub(super) fn credentials(&mut self, now: Instant) -> Option<IssuedCredentials> {
        let keeper = &self.target.as_ref()?.credentials;
        let credentials = keeper.current();
        if credentials.is_none() && !self.pending.is_empty() {
            self.trouble.no_credentials(&keeper.status(), now);
        }
        credentials
    }
}
