//! Decides when to fetch credentials again and which ones to use until then. No I/O, no clock.
//!
//! Everything is due by the time that passes. The wall clock counts once only, when credentials
//! come: their expiry less the time then is how long they live. A wall clock that is wrong, or is
//! set later, therefore never makes good credentials look expired for longer than until the next
//! renewal.

use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;

use super::{IssuedCredentials, Renewal};
use crate::aws::clock::Reading;

/// Renewal at the latest this long before expiry; sooner by at most a quarter of the life, so
/// that a session of 15 minutes is not renewed for a third of it.
const WINDOW: Duration = Duration::from_secs(300);
/// Time between two attempts that the service's refusals, or a wall clock that jumps, ask for.
const FORCED: Duration = Duration::from_secs(30);
/// Without usable credentials: 1, 2, 4 … seconds between attempts, up to this many.
const SLOWEST: Duration = Duration::from_secs(30);
/// Attempts that are made although no thread has asked for credentials.
const UNASKED: u32 = 6;
/// EC2 credentials are looked at this often, as the Go SDK does.
const HOURLY: Duration = Duration::from_secs(3600);
/// No temporary credentials of AWS live longer. A longer life is a clock that is wrong.
const LONGEST_LIFE: Duration = Duration::from_secs(36 * 3600);
/// A source that gave expired credentials is asked again after this long and up to a half more.
const EXPIRED: Duration = Duration::from_secs(600);

/// The state between attempts. One owner makes the attempts and reports each by
/// [`fetched`](Self::fetched) or [`failed`](Self::failed).
#[derive(Debug)]
pub(crate) struct RenewalSchedule {
    held: Option<Held>,
    /// Of the credentials held last; 0 before the first.
    generation: u64,
    renewal: Renewal,
    /// When the last attempt ended; `None` before the first.
    attempted: Option<Reading>,
    /// When the next attempt falls due by itself; `None` when it does not.
    due: Option<Instant>,
    failures: u32,
    wanted: bool,
    rejected: bool,
    forced: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    credentials: Credentials,
    /// Until when they are used, for messages. For extended EC2 credentials this is later than
    /// their own expiry. `None`: until the service refuses them.
    used_until: Option<SystemTime>,
    /// When they expire by the monotonic clock. `None`: only a refusal by the service ends them,
    /// because they have no expiry, or an impossible one.
    ends: Option<Instant>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextStep {
    Now,
    At(Instant),
    /// Wait for a refusal or for a request for credentials.
    Asleep,
    /// Nothing more: the current credentials never change.
    Done,
}

impl Default for RenewalSchedule {
    fn default() -> Self {
        Self {
            held: None,
            generation: 0,
            renewal: Renewal::Timed,
            attempted: None,
            due: None,
            failures: 0,
            wanted: false,
            rejected: false,
            forced: None,
        }
    }
}

impl RenewalSchedule {
    /// What to do at `now`.
    pub(crate) fn next(&self, now: Reading) -> NextStep {
        if self.renewal == Renewal::Fixed && self.held.is_some() {
            return NextStep::Done;
        }
        let Some(attempted) = self.attempted.filter(|_| !self.rejected) else {
            return NextStep::Now;
        };
        if self.held(now).is_none() && self.failures >= UNASKED && !self.wanted {
            return NextStep::Asleep;
        }
        let Some(mut due) = self.due else {
            return NextStep::Asleep;
        };
        if now.jumped_since(attempted) {
            // The monotonic clock has not counted the time while the host was asleep, and the life
            // of the credentials may have been measured with a wrong clock.
            due = due.min(attempted.monotonic + FORCED);
        }
        if due > now.monotonic {
            NextStep::At(due)
        } else {
            NextStep::Now
        }
    }

    /// The credentials to use at `now`. Asking for them when there are none is what keeps the
    /// attempts going.
    pub(crate) fn current(&mut self, now: Reading) -> Option<IssuedCredentials> {
        let issued = self.usable(now);
        self.wanted |= issued.is_none();
        issued
    }

    /// As [`current`](Self::current), but without causing an attempt.
    pub(crate) fn usable(&self, now: Reading) -> Option<IssuedCredentials> {
        self.held(now).map(|held| IssuedCredentials {
            generation: self.generation,
            credentials: held.credentials.clone(),
        })
    }

    /// Whether [`current`](Self::current) would give credentials.
    pub(crate) fn is_available(&self, now: Reading) -> bool {
        self.held(now).is_some()
    }

    /// The number of the credentials held last; 0 before the first.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Until when the current credentials are used, by a right clock. `None` when there are none, or
    /// when only a refusal by the service ends them.
    pub(crate) fn used_until(&self, now: Reading) -> Option<SystemTime> {
        self.held(now)?.used_until
    }

    /// The credentials held last, whether they can still be used or not.
    pub(crate) fn newest(&self) -> Option<&Credentials> {
        self.held.as_ref().map(|held| &held.credentials)
    }

    /// When the current credentials expire if they are not renewed.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.held.as_ref()?.ends
    }

    /// Whether a refusal is waiting for its attempt.
    pub(crate) fn is_rejected(&self) -> bool {
        self.rejected
    }

    /// Failed attempts since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// The service refused the credentials of `generation` as expired or unknown. Returns whether
    /// there are other ones already or an attempt follows now. There is no attempt when nothing can
    /// be renewed, nor within 30 s of the last such attempt.
    pub(crate) fn reject(&mut self, generation: u64, now: Reading) -> bool {
        if self.held.is_none() || self.rejected || generation < self.generation {
            return true;
        }
        let lately = |at: Instant| now.monotonic < at + FORCED;
        if self.renewal == Renewal::Fixed || self.forced.is_some_and(lately) {
            return false;
        }
        self.forced = Some(now.monotonic);
        self.rejected = true;
        true
    }

    /// An attempt gave credentials. `time` is the right time, as far as it is known; `random` is in
    /// 0..1. Whether they were taken.
    ///
    /// Credentials that look expired are taken: a clock may be wrong, and the EC2 metadata service
    /// hands out expired ones that still work. If they have really expired, the service will refuse
    /// them.
    ///
    /// # Errors
    /// The time at which they expired, when the current ones live longer. Then the attempt counts
    /// as failed.
    pub(crate) fn fetched(
        &mut self,
        credentials: Credentials,
        renewal: Renewal,
        now: Reading,
        time: SystemTime,
        random: f64,
    ) -> Result<(), SystemTime> {
        let expires = credentials.expiry();
        let left = expires.map(|end| end.duration_since(time).unwrap_or_default());
        let (mut used_until, mut ends, mut due) = (expires, None, None);
        match (left, expires) {
            (Some(Duration::ZERO), Some(expired)) => {
                let held = self.held(now);
                let is_older = held.is_some_and(|held| held.credentials.expiry() > expires);
                if is_older && !self.rejected {
                    self.failed(now, random);
                    return Err(expired);
                }
                let again = EXPIRED + (EXPIRED / 2).mul_f64(random);
                due = Some(now.monotonic + again);
                used_until = (renewal == Renewal::Stable).then(|| time + again);
            }
            (Some(left), _) => {
                let longest = match renewal {
                    Renewal::Stable => HOURLY,
                    Renewal::Timed | Renewal::Fixed => LONGEST_LIFE,
                };
                let life = left.min(longest);
                let window = WINDOW.min(life / 4).mul_f64(1.0 - random / 10.0);
                // At least a second, so that a source of short-lived credentials is not asked all
                // the time.
                due = Some(now.monotonic + (life - window).max(Duration::from_secs(1)));
                ends = (left <= LONGEST_LIFE).then_some(now.monotonic + left);
            }
            (None, _) => {}
        }
        let same_keys = |held: &Held| same(&held.credentials, &credentials);
        if !self.held.as_ref().is_some_and(same_keys) {
            self.generation += 1;
        }
        *self = Self {
            held: Some(Held {
                credentials,
                used_until,
                ends,
            }),
            generation: self.generation,
            renewal,
            attempted: Some(now),
            due,
            failures: 0,
            wanted: false,
            rejected: false,
            forced: self.forced,
        };
        Ok(())
    }

    /// An attempt failed. The current credentials stay in use. `random` is in 0..1.
    pub(crate) fn failed(&mut self, now: Reading, random: f64) {
        self.failures = self.failures.saturating_add(1);
        self.rejected = false;
        self.attempted = Some(now);
        if self.renewal == Renewal::Stable {
            self.extend(now.monotonic, random);
        }
        let pause = match self.held(now) {
            Some(Held {
                ends: Some(end), ..
            }) => {
                let left = end.saturating_duration_since(now.monotonic);
                (left / 4).clamp(Duration::from_secs(5), Duration::from_secs(60))
            }
            Some(held) if held.credentials.expiry().is_some() => WINDOW,
            // Without expiry: only a refusal asks for another attempt.
            Some(_) => {
                self.due = None;
                return;
            }
            None => SLOWEST.min(Duration::from_secs(1 << (self.failures - 1).min(5))),
        };
        self.due = Some(now.monotonic + pause);
    }

    /// EC2 credentials that have expired, or nearly, are used for five to fifteen minutes more.
    fn extend(&mut self, now: Instant, random: f64) {
        let Some(held) = &mut self.held else { return };
        let soon = now + WINDOW;
        if let Some(end) = held.ends.filter(|end| *end < soon) {
            let later = soon + Duration::from_secs(600).mul_f64(random);
            held.ends = Some(later);
            held.used_until = held.used_until.map(|until| until + (later - end));
        }
    }

    fn held(&self, now: Reading) -> Option<&Held> {
        self.held.as_ref().filter(|held| {
            self.renewal == Renewal::Stable || held.ends.is_none_or(|end| end > now.monotonic)
        })
    }
}

/// Whether these are the same keys, whatever their expiry.
fn same(a: &Credentials, b: &Credentials) -> bool {
    a.access_key_id() == b.access_key_id()
        && a.secret_access_key() == b.secret_access_key()
        && a.session_token() == b.session_token()
}

#[cfg(test)]
mod tests;
