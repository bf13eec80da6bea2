//! Which lanes there are, and which of them to wake.

use std::thread::Thread;
use std::time::{Duration, Instant};

/// After the system has refused a thread, the lanes that there are do for so long without another.
const REFUSED: Duration = Duration::from_secs(5);

/// Which lanes there are, and what they are about.
pub(super) struct Lanes {
    limit: usize,
    /// Used as a stack, so that those at the bottom grow old and end.
    idle: Vec<Idle>,
    /// Called, and not yet come to ask for work.
    called: usize,
    /// With a request that is out.
    carrying: usize,
    started: usize,
    /// When the system last refused a thread.
    refused: Option<Instant>,
}

struct Idle {
    lane: usize,
    thread: Thread,
}

impl Lanes {
    /// None yet, and never more than `limit`.
    pub(super) fn new(limit: usize) -> Self {
        Lanes {
            limit,
            idle: Vec::new(),
            called: 0,
            carrying: 0,
            started: 0,
            refused: None,
        }
    }

    /// Lanes that exist.
    pub(super) fn count(&self) -> usize {
        self.idle.len() + self.called + self.carrying
    }

    /// Lanes that will come and ask for work.
    pub(super) fn called(&self) -> usize {
        self.called
    }

    /// Requests that are out.
    pub(super) fn in_flight(&self) -> usize {
        self.carrying
    }

    /// Whether there may be one more. It is worth its memory only when work is `crowded` and nobody
    /// rests.
    pub(super) fn may_grow(&self, crowded: bool, now: Instant) -> bool {
        let refused = self.refused.is_some_and(|at| now < at + REFUSED);
        self.count() == 0
            || (crowded && self.idle.is_empty() && self.count() < self.limit && !refused)
    }

    /// Counts a new lane, which comes as if it had been called, and gives it its number.
    pub(super) fn admit(&mut self) -> usize {
        self.called += 1;
        self.started += 1;
        self.started
    }

    /// The new lane could not be started.
    pub(super) fn dismiss(&mut self, now: Instant) {
        self.called -= 1;
        self.refused = Some(now);
    }

    /// Calls the lane that rested last; it is to be woken.
    pub(super) fn call(&mut self) -> Option<Thread> {
        let idle = self.idle.pop()?;
        self.called += 1;
        Some(idle.thread)
    }

    /// A lane that was called has a request to carry.
    pub(super) fn sets_out(&mut self) {
        self.called -= 1;
        self.carrying += 1;
    }

    /// There is nothing for a lane that was called.
    pub(super) fn rests(&mut self, lane: usize, thread: Thread) {
        self.called -= 1;
        self.idle.push(Idle { lane, thread });
    }

    /// A lane is back from its request, and as good as called.
    pub(super) fn returned(&mut self) {
        self.carrying -= 1;
        self.called += 1;
    }

    /// Whether a lane is called, or new, and not at rest.
    pub(super) fn is_called(&self, lane: usize) -> bool {
        self.idle.iter().all(|idle| idle.lane != lane)
    }

    /// A lane that rests is no more.
    pub(super) fn ends(&mut self, lane: usize) {
        self.idle.retain(|idle| idle.lane != lane);
    }
}
