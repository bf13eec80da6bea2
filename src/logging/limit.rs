//! Rate limits for messages that a client can trigger.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a few messages through in each window of time and counts the others. One for each place
/// that logs; make it a `static`.
pub(crate) struct RateLimit {
    max: u32,
    window: Duration,
    state: Mutex<LimitState>,
}

struct LimitState {
    since: Option<Instant>,
    passed: u32,
    held: u64,
}

/// How many messages were suppressed before the one that is logged. As text it is empty for none,
/// and otherwise stands at the end of that message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldBack(pub u64);

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more of this kind were not logged)"),
        }
    }
}

impl RateLimit {
    /// At most `max` messages in each `window`, which starts with the first of them.
    #[must_use]
    pub(crate) const fn new(max: u32, window: Duration) -> Self {
        RateLimit {
            max,
            window,
            state: Mutex::new(LimitState {
                since: None,
                passed: 0,
                held: 0,
            }),
        }
    }

    /// `Some` when a message may be logged now.
    pub(crate) fn allow(&self, now: Instant) -> Option<HeldBack> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = state
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= self.window);
        if fresh {
            state.since = Some(now);
            state.passed = 0;
        }
        if state.passed >= self.max {
            state.held += 1;
            return None;
        }
        state.passed += 1;
        Some(HeldBack(std::mem::take(&mut state.held)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_a_minute() {
        let limit = RateLimit::new(2, Duration::from_secs(60));
        let start = Instant::now();
        let at = |seconds| limit.allow(start + Duration::from_secs(seconds));
        let table = [
            (0, Some(HeldBack(0))),
            (1, Some(HeldBack(0))),
            (2, None),
            (59, None),
            (60, Some(HeldBack(2))),
            (61, Some(HeldBack(0))),
            (62, None),
            (500, Some(HeldBack(1))),
        ];
        for (seconds, expected) in table {
            assert_eq!(at(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn the_count_is_told_only_when_there_is_one() {
        assert_eq!(HeldBack(0).to_string(), "");
        assert_eq!(
            HeldBack(3).to_string(),
            " (3 more of this kind were not logged)"
        );
    }

    proptest! {
        /// Every message is let through or counted once, whatever the times.
        #[test]
        fn nothing_is_forgotten(max in 1u32..5, gaps in proptest::collection::vec(0u64..30, 1..100)) {
            let limit = RateLimit::new(max, Duration::from_secs(60));
            let mut now = Instant::now();
            let (mut passed, mut told) = (0, 0);
            let total = gaps.len() as u64;
            for gap in gaps {
                now += Duration::from_secs(gap);
                if let Some(HeldBack(count)) = limit.allow(now) {
                    passed += 1;
                    told += count;
                }
            }
            let HeldBack(rest) = limit.allow(now + Duration::from_secs(60)).unwrap();
            prop_assert_eq!(passed + told + rest, total);
        }
    }
}
