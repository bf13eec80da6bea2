//! The uploader: decides what becomes of every document that has left the open batch, until it is
//! in one of the books.
//!
//! It is a desk under a lock. Whoever has something new lays it there and decides what follows:
//! readers their full batches, lanes the answers of X-Ray. The thread `uploader` sees to what has
//! its time. So a batch costs one wake-up, that of the lane which carries it.

mod desk;
mod lanes;
mod outcome;
mod trouble;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::books::Books;
use crate::clock::Clock;
use crate::event::{Event, Events};
use crate::intake::Intake;
use crate::lane;
use crate::metrics::Gauges;
use crate::telemetry::Telemetry;

use desk::Desk;

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
    /// Reads the kernel's count of dropped datagrams.
    pub kernel_drops: Box<dyn Fn() -> Option<u64> + Send>,
}

/// The uploader, shared by the threads that bring it something.
pub struct Uploader {
    desk: Mutex<Desk>,
    clock: Arc<Clock>,
}

impl Uploader {
    /// With nothing held.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Uploader {
            clock: Arc::clone(&parts.clock),
            desk: Mutex::new(Desk::new(parts)),
        })
    }

    /// Where events go.
    pub fn events(self: &Arc<Self>) -> Events {
        let uploader = Arc::clone(self);
        Arc::new(move |event: Event| uploader.lock().take(event, Instant::now()))
    }

    /// The thread `uploader`. Ends when everything is delivered after [`Event::Stop`], or at its
    /// deadline.
    pub fn run(self: &Arc<Self>) {
        loop {
            let mut desk = self.lock();
            let now = Instant::now();
            if !desk.tick(now) {
                return desk.leave();
            }
            if let Some(lane) = desk.new_lane(now) {
                drop(desk);
                self.start_lane(lane);
                continue;
            }
            let pause = desk.sleeps(thread::current(), now);
            drop(desk);
            match pause {
                None => thread::park(),
                Some(pause) => thread::park_timeout(pause),
            }
        }
    }

    fn start_lane(self: &Arc<Self>, number: usize) {
        let uploader = Arc::clone(self);
        let started = thread::Builder::new()
            .name(format!("lane-{number}"))
            .stack_size(lane::STACK)
            .spawn(move || uploader.lane(number));
        if let Err(error) = started {
            self.lock().no_lane(&error, Instant::now());
        }
    }

    /// The thread of a lane: carries what there is, and ends when nobody has called it for long.
    fn lane(&self, number: usize) {
        let mut desk = self.lock();
        loop {
            let now = Instant::now();
            if let Some(job) = desk.job(now) {
                drop(desk);
                let done = lane::carry(job, &self.clock);
                desk = self.lock();
                desk.done(done, Instant::now());
                continue;
            }
            desk.lanes.rests(number, thread::current());
            let ends = now + lane::IDLE;
            while desk.lanes.is_resting(number) {
                let left = ends.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return desk.lanes.ends(number);
                }
                drop(desk);
                thread::park_timeout(left);
                desk = self.lock();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        // A panic ends the process (panic=abort); in tests the desk is whole between calls.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
