//! When to try again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// First wait after a failure, before jitter.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Longest wait. A single small probe every few seconds harms no backend, and the daemon is back
/// within seconds of the end of an outage.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Longest wait while stopping, when there is no later.
const LONGEST_WAIT_STOPPING: Duration = Duration::from_millis(250);

/// When the next request may go out. Healthy: at once, on every lane. After a failure: one probe,
/// after a wait with full jitter that doubles up to `LONGEST_WAIT`; full speed as soon as one
/// succeeds.
#[derive(Debug, Default)]
pub struct BackOff {
    failures: u32,
    until: Option<Instant>,
    epoch: u64,
    hurried: bool,
}

impl BackOff {
    /// To be kept with each request that goes out, and given back with its failure.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A request failed. Requests that were already out when the first of them failed say nothing
    /// new. `jitter` is in 0..1.
    pub fn failed(&mut self, epoch: u64, now: Instant, after: Option<Duration>, jitter: f64) {
        if epoch != self.epoch {
            return;
        }
        self.epoch += 1;
        let doubled = FIRST_WAIT * 2u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        self.until = Some(if self.hurried {
            now + LONGEST_WAIT_STOPPING.min(doubled).mul_f64(jitter)
        } else {
            now + LONGEST_WAIT
                .min(doubled)
                .mul_f64(jitter)
                .max(after.unwrap_or_default())
        });
    }

    /// A request succeeded.
    pub fn succeeded(&mut self) {
        if self.failures > 0 {
            *self = BackOff {
                epoch: self.epoch + 1,
                hurried: self.hurried,
                ..BackOff::default()
            };
        }
    }

    /// The daemon is stopping: from now on waits are short, whatever the backend asks for.
    pub fn hurry(&mut self) {
        self.hurried = true;
        self.until = None;
    }

    /// Ends a wait, because what was missing has come.
    pub fn retry_now(&mut self) {
        self.until = None;
    }

    /// Whether the last thing heard was a success.
    pub fn is_healthy(&self) -> bool {
        self.failures == 0
    }

    /// When the next request may go out, with `in_flight` already out. `None`: not before one of
    /// them comes back.
    pub fn next(&self, in_flight: usize, now: Instant) -> Option<Instant> {
        if self.is_healthy() {
            Some(now)
        } else if in_flight == 0 {
            Some(self.until.unwrap_or(now).max(now))
        } else {
            None
        }
    }
}

/// A number in 0..1, different each time. Spreads the retries of many hosts; guards no secret.
pub fn jitter() -> f64 {
    let random = RandomState::new().hash_one(0u8);
    (random >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn jitter_stays_in_range() {
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&jitter()));
        }
    }

    proptest! {
        /// Model: healthy lets all go; after a failure one goes at a time, never later than the
        /// longest wait.
        #[test]
        fn one_probe_while_down_and_all_lanes_after_a_success(outcomes in prop::collection::vec((any::<bool>(), 0.0..1.0f64), 1..40)) {
            let mut back_off = BackOff::default();
            let mut now = Instant::now();
            for (success, jitter) in outcomes {
                let epoch = back_off.epoch();
                if success {
                    back_off.succeeded();
                    prop_assert_eq!(back_off.next(7, now), Some(now));
                } else {
                    back_off.failed(epoch, now, None, jitter);
                    let waited = back_off.next(0, now).unwrap() - now;
                    prop_assert!(waited <= LONGEST_WAIT);
                    prop_assert_eq!(back_off.next(1, now), None);
                    let before = back_off.next(0, now);
                    back_off.failed(epoch, now, None, jitter);
                    prop_assert_eq!(back_off.next(0, now), before, "an old request counted twice");
                    now += waited;
                }
            }
        }
    }
}
