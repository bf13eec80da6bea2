//! Which lanes there are, and which of them to wake.

use std::thread::Thread;

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

    /// Whether there may be one more. It is worth its memory only when work is `crowded`.
    pub(super) fn may_grow(&self, crowded: bool) -> bool {
        self.count() == 0 || (crowded && self.count() < self.limit)
    }

    /// Counts a new lane, which comes as if it had been called, and gives it its number.
    pub(super) fn admit(&mut self) -> usize {
        self.called += 1;
        self.started += 1;
        self.started
    }

    /// The new lane could not be started.
    pub(super) fn dismiss(&mut self) {
        self.called -= 1;
    }

    /// Wakes the lane that rested last; false when none rests.
    pub(super) fn call(&mut self) -> bool {
        let Some(idle) = self.idle.pop() else {
            return false;
        };
        self.called += 1;
        idle.thread.unpark();
        true
    }

    /// A lane that was called has come, and carries a request or not.
    pub(super) fn came(&mut self, carries: bool) {
        self.called -= 1;
        self.carrying += usize::from(carries);
    }

    /// A lane is back from its request, and as good as called.
    pub(super) fn returned(&mut self) {
        self.carrying -= 1;
        self.called += 1;
    }

    /// There is nothing for this lane.
    pub(super) fn rests(&mut self, lane: usize, thread: Thread) {
        self.idle.push(Idle { lane, thread });
    }

    /// Whether nobody has called this lane since it rests.
    pub(super) fn is_resting(&self, lane: usize) -> bool {
        self.idle.iter().any(|idle| idle.lane == lane)
    }

    /// This lane, which nobody called, ends.
    pub(super) fn ends(&mut self, lane: usize) {
        self.idle.retain(|idle| idle.lane != lane);
    }
}
