//! When to ask for credentials again, and which ones to use meanwhile. No I/O, no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;

use super::{IssuedCredentials, Renewal};

/// RenewalSchedule at the latest this long before expiry; sooner by at most a quarter of the life, so
/// that a session of 15 minutes is not renewed for a third of it.
const WINDOW: Duration = Duration::from_secs(300);
/// Time between two attempts that the service's refusals ask for.
const FORCED: Duration = Duration::from_secs(30);
/// Without usable credentials: 1, 2, 4 … seconds between attempts, up to this many.
const SLOWEST: Duration = Duration::from_secs(30);
/// Attempts that are made although nobody has asked for credentials.
const UNASKED: u32 = 6;
/// EC2 credentials are looked at this often, as the Go SDK does.
const HOURLY: Duration = Duration::from_secs(3600);

/// The state between attempts. One owner makes the attempts and reports each by
/// [`fetched`](Self::fetched) or [`failed`](Self::failed).
#[derive(Debug)]
pub struct RenewalSchedule {
    held: Option<Held>,
    /// Of the credentials held last; 0 before the first.
    generation: u64,
    renewal: Renewal,
    due: Due,
    failures: u32,
    wanted: bool,
    rejected: bool,
    forced: Option<SystemTime>,
}

#[derive(Debug)]
struct Held {
    credentials: Credentials,
    /// When to stop using them: later than what they say, for extended EC2 credentials.
    expires: Option<SystemTime>,
}

/// When the next attempt falls due by itself.
#[derive(Debug)]
enum Due {
    At(SystemTime),
    /// A pause after an attempt. Kept as start and length: when the clock is set back to before
    /// the start, waiting for the end could take any time.
    After(SystemTime, Duration),
    Never,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Make an attempt.
    Now,
    /// Make one then.
    At(SystemTime),
    /// Wait for a refusal, or for somebody who wants credentials.
    Asleep,
    /// Nothing, ever: the credentials in hand are the only ones there will be.
    Done,
}

impl Default for RenewalSchedule {
    fn default() -> Self {
        Self {
            held: None,
            generation: 0,
            renewal: Renewal::Timed,
            due: Due::At(UNIX_EPOCH),
            failures: 0,
            wanted: false,
            rejected: false,
            forced: None,
        }
    }
}

impl RenewalSchedule {
    /// What to do at `now`.
    pub fn next(&self, now: SystemTime) -> Next {
        if self.renewal == Renewal::Fixed && self.held.is_some() {
            return Next::Done;
        }
        if self.rejected {
            return Next::Now;
        }
        if self.held(now).is_none() && self.failures >= UNASKED && !self.wanted {
            return Next::Asleep;
        }
        match self.due {
            Due::At(time) if time > now => Next::At(time),
            Due::After(start, pause) if (start..start + pause).contains(&now) => {
                Next::At(start + pause)
            }
            Due::Never => Next::Asleep,
            _ => Next::Now,
        }
    }

    /// The credentials to use at `now`. Asking for them when there are none is what keeps the
    /// attempts going.
    pub fn current(&mut self, now: SystemTime) -> Option<IssuedCredentials> {
        let issued = self.usable(now);
        self.wanted |= issued.is_none();
        issued
    }

    /// As [`current`](Self::current), for those who only look.
    pub fn usable(&self, now: SystemTime) -> Option<IssuedCredentials> {
        self.held(now).map(|held| IssuedCredentials {
            generation: self.generation,
            credentials: held.credentials.clone(),
        })
    }

    /// Whether [`current`](Self::current) would give credentials.
    pub fn is_available(&self, now: SystemTime) -> bool {
        self.held(now).is_some()
    }

    /// The number of the credentials held last; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Until when the credentials in hand are used. `None` when there are none, or no end.
    pub fn expires(&self) -> Option<SystemTime> {
        self.held.as_ref()?.expires
    }

    /// Whether a refusal is waiting for its attempt.
    pub fn is_rejected(&self) -> bool {
        self.rejected
    }

    /// Attempts that failed since the last that did not.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The service refused the credentials of `generation` as expired or unknown. Whether other
    /// ones are in hand or will be asked for now: not when nothing can be renewed, nor within 30 s
    /// of the last such attempt.
    pub fn reject(&mut self, generation: u64, now: SystemTime) -> bool {
        if self.held.is_none() || self.rejected || generation < self.generation {
            return true;
        }
        let lately = |at: SystemTime| (at..at + FORCED).contains(&now);
        if self.renewal == Renewal::Fixed || self.forced.is_some_and(lately) {
            return false;
        }
        self.forced = Some(now);
        self.rejected = true;
        true
    }

    /// An attempt gave credentials. `random` is in 0..1. Whether they were taken.
    ///
    /// # Errors
    /// The time at which they expired: then the attempt counts as failed. EC2 credentials
    /// ([`Renewal::Stable`]) are taken all the same and used for 10 to 15 minutes more.
    pub fn fetched(
        &mut self,
        credentials: Credentials,
        renewal: Renewal,
        now: SystemTime,
        random: f64,
    ) -> Result<(), SystemTime> {
        let mut expires = credentials.expiry();
        if let Some(expired) = expires.filter(|&at| at <= now) {
            if renewal != Renewal::Stable {
                self.failed(now, random);
                return Err(expired);
            }
            expires =
                Some(now + Duration::from_secs(600) + Duration::from_secs(300).mul_f64(random));
        }
        self.due = match expires {
            None => Due::Never,
            Some(end) => {
                let left = end.duration_since(now).unwrap_or_default();
                let life = if renewal == Renewal::Stable {
                    left.min(HOURLY)
                } else {
                    left
                };
                let window = WINDOW.min(life / 4).mul_f64(1.0 - random / 10.0);
                // At least a second, so that a source of short-lived ones is not hammered.
                Due::At(now + (life - window).max(Duration::from_secs(1)))
            }
        };
        let same_keys = |held: &Held| same(&held.credentials, &credentials);
        if !self.held.as_ref().is_some_and(same_keys) {
            self.generation += 1;
        }
        self.held = Some(Held {
            credentials,
            expires,
        });
        self.renewal = renewal;
        self.failures = 0;
        self.wanted = false;
        self.rejected = false;
        Ok(())
    }

    /// An attempt gave nothing. What is in hand stays in use. `random` is in 0..1.
    pub fn failed(&mut self, now: SystemTime, random: f64) {
        self.failures = self.failures.saturating_add(1);
        self.rejected = false;
        if let (Renewal::Stable, Some(held)) = (self.renewal, &mut self.held) {
            let soon = now + WINDOW;
            if held.expires.is_some_and(|end| end < soon) {
                held.expires = Some(soon + Duration::from_secs(600).mul_f64(random));
            }
        }
        let pause = match self.held(now) {
            Some(Held {
                expires: Some(end), ..
            }) => {
                let left = end.duration_since(now).unwrap_or_default();
                (left / 4).clamp(Duration::from_secs(5), Duration::from_secs(60))
            }
            // Without end: only a refusal asks for another attempt.
            Some(_) => {
                self.due = Due::Never;
                return;
            }
            None => SLOWEST.min(Duration::from_secs(1 << (self.failures - 1).min(5))),
        };
        self.due = Due::After(now, pause);
    }

    fn held(&self, now: SystemTime) -> Option<&Held> {
        self.held.as_ref().filter(|held| {
            self.renewal == Renewal::Stable || held.expires.is_none_or(|end| end > now)
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
