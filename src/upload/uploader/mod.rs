//! The uploader: decides what becomes of every document that has left the open batch, until it is
//! in one of the books.
//!
//! It is a desk under a lock. Whoever has something new lays it there and decides what follows:
//! readers their full batches, lanes the answers of X-Ray. The thread `uploader` sees to what has
//! its time. So a batch costs one wake-up, that of the lane which carries it.

mod desk;
mod lanes;
mod outcome;
mod rounds;
mod trouble;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::admin::metrics::Gauges;
use crate::aws::clock::Clock;
use crate::ingest::intake::Intake;
use crate::upload::counters::Books;
use crate::upload::message::{Event, Events};
use crate::upload::sender;
use crate::upload::telemetry::Telemetry;

use desk::{Desk, Turn};
use rounds::Next;

/// What the uploader works with.
pub struct Parts {
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
}

/// The kernel's count of drops is looked up at most this often: before each telemetry record and
/// each summary, which come once a minute.
const COUNT: Duration = Duration::from_secs(30);

/// The uploader, shared by the threads that bring it something.
pub struct Uploader {
    desk: Mutex<Desk>,
    intake: Arc<Intake>,
    clock: Arc<Clock>,
    gauges: Arc<Gauges>,
}

impl Uploader {
    /// With nothing held.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Uploader {
            intake: Arc::clone(&parts.intake),
            clock: Arc::clone(&parts.clock),
            gauges: Arc::clone(&parts.gauges),
            desk: Mutex::new(Desk::new(parts)),
        })
    }

    /// Where events go.
    pub fn events(self: &Arc<Self>) -> Events {
        let uploader = Arc::clone(self);
        Arc::new(move |event: Event| uploader.at_desk(|desk| desk.take(event, Instant::now())))
    }

    /// The thread `uploader`. Ends when everything is delivered after [`Event::Stop`], or at its
    /// deadline. `count_drops` brings the kernel's count of dropped datagrams into the books.
    pub fn run(self: &Arc<Self>, count_drops: &dyn Fn()) {
        let mut counted = Instant::now();
        loop {
            // Not at the desk: on a host with many sockets it is long reading.
            if counted.elapsed() >= COUNT {
                count_drops();
                counted = Instant::now();
            }
            match self.at_desk(|desk| desk.round(&thread::current(), Instant::now())) {
                Next::StartLane(number) => self.start_lane(number),
                Next::Sleep(None) => thread::park(),
                Next::Sleep(Some(pause)) => thread::park_timeout(pause),
                Next::End => return count_drops(),
            }
        }
    }

    fn start_lane(self: &Arc<Self>, number: usize) {
        let uploader = Arc::clone(self);
        let started = thread::Builder::new()
            .name(format!("lane-{number}"))
            .stack_size(sender::STACK)
            .spawn(move || uploader.lane(number));
        if let Err(error) = started {
            self.at_desk(|desk| desk.no_lane(&error, Instant::now()));
        }
    }

    /// The thread of a lane: carries what there is, and ends when nobody has called it for long.
    fn lane(&self, number: usize) {
        let mut ends = Instant::now() + sender::IDLE;
        loop {
            let now = Instant::now();
            match self.at_desk(|desk| desk.turn(number, now >= ends, now)) {
                Turn::Carry(job) => {
                    let (cargo, done) = sender::carry(job, &self.clock);
                    self.gauges.request(&done.result, done.took);
                    let settled = self.at_desk(|desk| desk.done(cargo, done, Instant::now()));
                    if let Some(settled) = settled {
                        settled.tell();
                        self.intake.recycle(settled.batch);
                    }
                    ends = Instant::now() + sender::IDLE;
                }
                Turn::Rest => thread::park_timeout(ends.saturating_duration_since(now)),
                Turn::End => return,
            }
        }
    }

    fn at_desk<R>(&self, work: impl FnOnce(&mut Desk) -> R) -> R {
        // A panic ends the process (panic=abort); in tests the desk is whole between calls.
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut desk);
        let wake = std::mem::take(&mut desk.wake);
        // Not before the lock is free: the first thing that they do is to ask for it.
        drop(desk);
        wake.into_threads().for_each(|thread| thread.unpark());
        result
    }
}

#[cfg(test)]
mod tests;
