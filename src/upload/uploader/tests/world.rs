//! The desk with all who come to it, on one thread and with a clock that is set by hand.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::Thread;
use std::time::Duration;

use super::super::*;
use super::parts::{Outcome, target};
use crate::credentials::target::Target;
use crate::upload::sender::{Cargo, Done, Job};
use crate::upload::telemetry::Identity;

pub(super) struct World {
    pub(super) desk: Desk,
    pub(super) now: Instant,
    pub(super) books: Arc<Books>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) uploader: State,
    pub(super) lanes: BTreeMap<usize, Lane>,
    /// Whether the system gives a thread to whoever asks for one.
    pub(super) threads: bool,
    /// Documents in the open batch.
    pub(super) open: usize,
    pub(super) concurrency: usize,
    pub(super) limit: usize,
    intake: Arc<Intake>,
    target: Arc<Target>,
    valid: Arc<AtomicBool>,
    /// Stands for the thread `uploader`; lanes are stood for by this one.
    thread: Thread,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    Awake,
    Starting(usize),
    Asleep(Option<Instant>),
    Ended,
}

pub(super) enum Lane {
    Called,
    Carrying(Job),
    Resting,
}

impl Lane {
    pub(super) fn is_called(&self) -> bool {
        matches!(self, Lane::Called)
    }

    pub(super) fn is_carrying(&self) -> bool {
        matches!(self, Lane::Carrying(_))
    }

    pub(super) fn is_resting(&self) -> bool {
        matches!(self, Lane::Resting)
    }
}

impl World {
    /// At the beginning, with credentials.
    pub(super) fn new(concurrency: usize, limit: usize) -> Self {
        let valid = Arc::new(AtomicBool::new(true));
        let books = Arc::new(Books::default());
        let intake = Arc::new(Intake::new(Arc::clone(&books)));
        let gauges = Arc::new(Gauges::default());
        World {
            desk: Desk::new(Parts {
                intake: Arc::clone(&intake),
                books: Arc::clone(&books),
                gauges: Arc::clone(&gauges),
                clock: Arc::new(Clock::new(true)),
                concurrency,
                limit,
                telemetry: Telemetry::new(Identity::default()),
            }),
            // The open batch knows the real time: to be always older than that keeps runs alike.
            now: Instant::now() + Duration::from_secs(3600),
            books,
            gauges,
            uploader: State::Awake,
            lanes: BTreeMap::new(),
            threads: true,
            open: 0,
            concurrency,
            limit,
            intake,
            target: target(Arc::clone(&valid)),
            valid,
            thread: thread::spawn(|| ()).thread().clone(),
        }
    }

    /// As `new`, and the target is known.
    pub(super) fn ready(concurrency: usize) -> Self {
        let mut world = World::new(concurrency, 1 << 20);
        world.target();
        world
    }

    pub(super) fn event(&mut self, event: Event) {
        self.desk.take(event, self.now);
        self.settle();
    }

    pub(super) fn target(&mut self) {
        self.event(Event::Target(Arc::clone(&self.target)));
    }

    pub(super) fn credentials(&mut self, valid: bool) {
        self.valid.store(valid, SeqCst);
        if valid {
            self.event(Event::Credentials);
        }
    }

    /// A reader has read so many documents of this size.
    pub(super) fn documents(&mut self, count: usize, size: usize) {
        let mut datagram = b"{\"format\":\"json\",\"version\":1}\n".to_vec();
        datagram.resize(datagram.len() + size, b'x');
        for _ in 0..count {
            let event = self.intake.datagram(&datagram);
            self.open += 1;
            if let Some(event) = event {
                if let Event::Batch(batch) = &event {
                    self.open -= batch.len();
                }
                self.event(event);
            }
        }
    }

    pub(super) fn passes(&mut self, time: Duration) {
        self.now += time;
        if let State::Asleep(Some(until)) = self.uploader
            && until <= self.now
        {
            self.uploader = State::Awake;
        }
    }

    /// The thread `uploader` does what it does between two looks at the desk.
    pub(super) fn turn(&mut self) {
        match self.uploader {
            State::Awake => {
                self.uploader = match self.desk.round(&self.thread, self.now) {
                    Next::StartLane(number) => State::Starting(number),
                    Next::Sleep(pause) => {
                        assert_ne!(pause, Some(Duration::ZERO), "busy");
                        State::Asleep(pause.map(|pause| self.now + pause))
                    }
                    Next::End => State::Ended,
                };
            }
            State::Starting(number) => {
                self.uploader = State::Awake;
                if self.threads {
                    self.lanes.insert(number, Lane::Called);
                } else {
                    self.desk.no_lane(&io::Error::other("none"), self.now);
                }
            }
            State::Asleep(_) | State::Ended => return,
        }
        self.settle();
    }

    /// A lane that was called comes for work.
    pub(super) fn comes(&mut self, number: usize) {
        let out = self.count(Lane::is_carrying);
        let lane = match self.desk.turn(number, false, self.now) {
            Turn::Carry(job) => {
                let back_off = &self.desk.back_off;
                let at = back_off.next(out, self.now);
                assert!(at.is_some_and(|at| at <= self.now), "too early");
                match &job.cargo {
                    Cargo::Segments(batch) => assert!(!batch.is_empty()),
                    Cargo::Telemetry(_) => assert!(back_off.is_healthy(), "no probe"),
                }
                Lane::Carrying(job)
            }
            Turn::Rest => Lane::Resting,
            Turn::End => panic!("lane {number} was called"),
        };
        self.lanes.insert(number, lane);
        self.settle();
    }

    /// A lane comes back from its request.
    pub(super) fn returns(&mut self, number: usize, outcome: &Outcome) {
        let Some(Lane::Carrying(job)) = self.lanes.insert(number, Lane::Called) else {
            panic!("lane {number} carries nothing");
        };
        let (result, verdict) = outcome.judged();
        let done = Done {
            credentials: job.credentials,
            epoch: job.epoch,
            result,
            verdict,
            took: Duration::ZERO,
        };
        if let Some(settled) = self.desk.done(job.cargo, done, self.now) {
            self.intake.recycle(settled.batch);
        }
        self.settle();
    }

    /// The time of a lane that rests is over.
    pub(super) fn ends(&mut self, number: usize) {
        let turn = self.desk.turn(number, true, self.now);
        assert!(matches!(turn, Turn::End));
        self.lanes.remove(&number);
        self.settle();
    }

    /// The lanes that are so.
    pub(super) fn lanes_that(&self, so: impl Fn(&Lane) -> bool) -> impl Iterator<Item = usize> {
        let lanes = self.lanes.iter();
        lanes.filter_map(move |(number, lane)| so(lane).then_some(*number))
    }

    pub(super) fn lane(&self, so: impl Fn(&Lane) -> bool) -> Option<usize> {
        self.lanes_that(so).next()
    }

    pub(super) fn count(&self, so: impl Fn(&Lane) -> bool) -> usize {
        self.lanes_that(so).count()
    }

    /// Documents that are out, and their bytes.
    pub(super) fn flying(&self) -> (usize, usize) {
        let mut sum = (0, 0);
        for lane in self.lanes.values() {
            if let Lane::Carrying(Job {
                cargo: Cargo::Segments(batch),
                ..
            }) = lane
            {
                sum = (sum.0 + batch.len(), sum.1 + batch.body().len());
            }
        }
        sum
    }

    /// Whether there are target and credentials.
    pub(super) fn may_send(&self) -> bool {
        self.desk.target.is_some() && self.valid.load(SeqCst)
    }

    /// Wakes whom the desk wants woken, and looks whether all is well.
    fn settle(&mut self) {
        let mut woken = 0;
        for thread in std::mem::take(&mut self.desk.wake).into_threads() {
            if thread.id() != self.thread.id() {
                woken += 1;
            } else if let State::Asleep(_) = self.uploader {
                self.uploader = State::Awake;
            }
        }
        for (number, lane) in &mut self.lanes {
            let called = self.desk.lanes.is_called(*number);
            if called && lane.is_resting() {
                *lane = Lane::Called;
                woken -= 1;
            }
        }
        assert_eq!(woken, 0, "those that are called are woken, and nobody else");
        self.check();
    }
}
