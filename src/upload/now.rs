//! The time, as it is given to what has no clock of its own.

use std::time::{Instant, SystemTime};

/// The time of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub instant: Instant,
    /// The service's time, as far as it is known.
    pub wall: SystemTime,
    /// A number in 0..1.
    pub jitter: f64,
}

impl Now {
    /// The service's time when it was that instant, which is past.
    pub(super) fn wall_at(self, instant: Instant) -> SystemTime {
        self.wall - self.instant.saturating_duration_since(instant)
    }
}
