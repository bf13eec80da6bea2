//! Decides when requests to a destination may be sent.

use std::time::{Duration, Instant};

/// First wait after a failure, before jitter.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Longest wait. One request every few seconds harms no service, and uploads go on within seconds
/// of the end of an outage.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Longest wait during the shutdown, when there is no later.
const LONGEST_WAIT_IN_SHUTDOWN: Duration = Duration::from_millis(250);

/// When the next request may go out. Healthy: at once, on every sender. After a failure: one request
/// at a time (a probe), after a wait that doubles up to `LONGEST_WAIT`; full speed as soon as one
/// succeeds.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
    until: Option<Instant>,
    epoch: u64,
    is_shutdown: bool,
}

impl BackOff {
    /// A number to keep with each request, and to pass to [`failed`](Self::failed).
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The wait after so many failures in a row, with equal jitter: between half of the doubled wait
    /// and all of it. `jitter` is in 0..1.
    pub(crate) fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = FIRST_WAIT * 2u32.saturating_pow(failures.min(16));
        let longest = if self.is_shutdown {
            LONGEST_WAIT_IN_SHUTDOWN
        } else {
            LONGEST_WAIT
        };
        longest.min(doubled).mul_f64(0.5 + jitter / 2.0)
    }

    /// A request failed. Requests that were already out when the first of them failed say nothing
    /// new. `jitter` is in 0..1; `retry_after` is what the service asked for.
    pub(crate) fn failed(
        &mut self,
        epoch: u64,
        now: Instant,
        retry_after: Option<Duration>,
        jitter: f64,
    ) {
        if epoch != self.epoch {
            return;
        }
        self.epoch += 1;
        let wait = self.wait(self.failures, jitter);
        self.failures += 1;
        self.until = Some(match retry_after {
            Some(retry_after) if !self.is_shutdown => now + wait.max(retry_after),
            _ => now + wait,
        });
    }

    /// A request succeeded.
    pub(crate) fn succeeded(&mut self) {
        if self.failures > 0 {
            *self = BackOff {
                epoch: self.epoch + 1,
                is_shutdown: self.is_shutdown,
                ..BackOff::default()
            };
        }
    }

    /// From now on waits are short, whatever the service asks for.
    pub(crate) fn begin_shutdown(&mut self) {
        self.is_shutdown = true;
        self.until = None;
    }

    /// Ends the wait, because the missing credentials have arrived.
    pub(crate) fn retry_now(&mut self) {
        self.until = None;
    }

    /// Whether the last request that was answered succeeded.
    pub(crate) fn is_healthy(&self) -> bool {
        self.failures == 0
    }

    /// When the next request may go out, with `in_flight` already out. `None`: not before one of
    /// them comes back.
    pub(crate) fn next(&self, in_flight: usize, now: Instant) -> Option<Instant> {
        if self.is_healthy() {
            Some(now)
        } else if in_flight == 0 {
            Some(self.until.unwrap_or(now).max(now))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Model: a healthy destination lets all requests go; after a failure one goes at a time,
        /// never later than the longest wait.
        #[test]
        fn one_probe_after_a_failure_and_all_senders_after_a_success(
            outcomes in prop::collection::vec((any::<bool>(), 0.0..1.0f64), 1..40),
        ) {
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
                    prop_assert!(waited <= LONGEST_WAIT && waited >= FIRST_WAIT / 2);
                    prop_assert_eq!(back_off.next(1, now), None);
                    let before = back_off.next(0, now);
                    back_off.failed(epoch, now, None, jitter);
                    prop_assert_eq!(back_off.next(0, now), before, "an old request counted twice");
                    now += waited;
                }
            }
        }
    }

    #[test]
    fn at_most_twelve_requests_in_six_seconds_of_failures() {
        let mut back_off = BackOff::default();
        let start = Instant::now();
        let mut now = start;
        let mut requests = 0;
        while now < start + Duration::from_secs(6) {
            requests += 1;
            back_off.failed(back_off.epoch(), now, None, 0.0);
            now = back_off.next(0, now).unwrap();
        }
        assert!(requests <= 12, "{requests}");
    }
}
