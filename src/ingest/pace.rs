//! Decides whether a second reader is needed.

use std::time::{Duration, Instant};

/// The clock is read after this many datagrams. When they took less than this, above 100,000 a
/// second, a second reader is worth it. Two that always read would wake each other for nothing:
/// measured, a third more CPU a segment at 1,000 to 100,000 a second.
const STRETCH: u32 = 1024;
const CROWDED: Duration = Duration::from_millis(10);

pub(super) struct Pace {
    count: u32,
    since: Option<Instant>,
    is_crowded: bool,
}

impl Pace {
    pub(super) fn new() -> Self {
        Pace {
            count: 0,
            since: None,
            is_crowded: false,
        }
    }

    /// Counts a datagram; after a stretch of them, answers whether a second reader is worth it.
    /// While it helps, this one sees half of the datagrams. After a time-out (`came` is false) one
    /// reader is enough.
    pub(super) fn step(&mut self, came: bool, now: impl FnOnce() -> Instant) -> Option<bool> {
        if !came {
            *self = Pace::new();
            return Some(false);
        }
        self.count += 1;
        if self.count < STRETCH {
            return None;
        }
        self.count = 0;
        let now = now();
        let before = self.since.replace(now)?;
        let limit = if self.is_crowded {
            2 * CROWDED
        } else {
            CROWDED
        };
        self.is_crowded = now - before < limit;
        Some(self.is_crowded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_reader_starts_above_100_000_a_second_and_ends_below_half_of_it_each() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        let mut stretch = |took: u64| {
            now += Duration::from_millis(took);
            (0..STRETCH).filter_map(|_| pace.step(true, || now)).last()
        };
        assert_eq!(stretch(0), None, "a first stretch has no beginning");
        for (took, crowded) in [(11, false), (9, true), (19, true), (21, false), (19, false)] {
            assert_eq!(stretch(took), Some(crowded), "{took} ms");
        }
        assert_eq!(stretch(1), Some(true));
        assert_eq!(pace.step(false, || now), Some(false), "after a time-out");
    }
}
