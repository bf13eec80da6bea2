//! Holds the credentials in use and renews them on a thread of their own.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;

use super::schedule::{Next, Refresh};
use super::{Source, Timing, date};

/// The one place that hands out credentials. Only the thread in [`run`](Self::run) does I/O.
pub struct Keeper {
    source: Mutex<Box<dyn Source>>,
    state: Mutex<State>,
    /// Signalled when an attempt has ended, when one is wanted, and at the end.
    changed: Condvar,
    timing: Timing,
}

struct State {
    refresh: Refresh,
    status: Status,
    /// The thread has ended, or has been told to.
    over: bool,
}

/// What the metrics and the start-up log tell. Without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The source's name.
    pub source: String,
    /// Whether there are credentials to sign with.
    pub available: bool,
    /// Until when the credentials in hand are used; `None` without credentials or without end.
    pub expires: Option<SystemTime>,
    /// When they were fetched; `None` until the first success.
    pub fetched: Option<SystemTime>,
    /// Attempts that gave credentials.
    pub successes: u64,
    /// Attempts that did not.
    pub failures: u64,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<String>,
}

impl Keeper {
    /// Has no credentials until [`run`](Self::run) has fetched some.
    pub fn new(source: Box<dyn Source>, timing: Timing) -> Arc<Self> {
        let status = Status {
            source: source.name(),
            ..Status::default()
        };
        Arc::new(Self {
            source: Mutex::new(source),
            state: Mutex::new(State {
                refresh: Refresh::default(),
                status,
                over: false,
            }),
            changed: Condvar::new(),
            timing,
        })
    }

    /// The credentials to sign with now; `None` while there are none that have not expired. Never
    /// waits for an attempt. When it gives `None`, attempts go on until one succeeds.
    pub fn current(&self) -> Option<Credentials> {
        let now = (self.timing.now)();
        self.hand_out(&mut self.lock(), now)
    }

    /// As [`current`](Self::current), but waits up to `limit` for an attempt that is under way or
    /// due by then, also for the one that a refusal asked for.
    pub fn wait(&self, limit: Duration) -> Option<Credentials> {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            let now = (self.timing.now)();
            let credentials = self.hand_out(&mut state, now);
            if state.over || (credentials.is_some() && !state.refresh.is_rejected()) {
                return credentials;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let due = match state.refresh.next(now) {
                Next::Now => true,
                Next::At(time) => time <= now + left,
                Next::Asleep | Next::Done => false,
            };
            if !due || left.is_zero() {
                return credentials;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn hand_out(&self, state: &mut State, now: SystemTime) -> Option<Credentials> {
        let credentials = state.refresh.current(now);
        // The thread sleeps by the computer's clock, which may have been corrected or suspended
        // since.
        if state.refresh.next(now) == Next::Now {
            self.changed.notify_all();
        }
        credentials
    }

    /// The service refused `credentials` as expired or unknown: asks for new ones, at most once
    /// in 30 s. Whether it is worth signing again, after [`wait`](Self::wait) or a pause: `false`
    /// when the answer would be the same.
    pub fn reject(&self, credentials: &Credentials) -> bool {
        let now = (self.timing.now)();
        let mut state = self.lock();
        let worth = state.refresh.reject(credentials, now);
        self.changed.notify_all();
        worth && !state.over
    }

    /// For the metrics.
    pub fn status(&self) -> Status {
        let now = (self.timing.now)();
        let state = self.lock();
        Status {
            available: state.refresh.is_available(now),
            expires: state.refresh.expires(),
            ..state.status.clone()
        }
    }

    /// The thread `credentials`. Calls `on_change` after each attempt that gave credentials.
    /// Sleeps until the next attempt is due or asked for, without polling. Ends after
    /// [`stop`](Self::stop), and once it holds credentials that never change.
    pub fn run(&self, on_change: Box<dyn Fn() + Send>) {
        while self.sleep() {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = source.fetch();
            let (name, renewal) = (source.name(), source.renewal());
            drop(source);

            let now = (self.timing.now)();
            let random = (self.timing.random)();
            let mut state = self.lock();
            let State {
                refresh, status, ..
            } = &mut *state;
            let said = answer.as_ref().ok().and_then(Credentials::expiry);
            let problem = match answer {
                Ok(credentials) => {
                    refresh
                        .fetched(credentials, renewal, now, random)
                        .map_err(|end| {
                            format!(
                                "{name} gave credentials that expired at {}",
                                date::format(end)
                            )
                        })
                }
                Err(error) => {
                    refresh.failed(now, random);
                    Err(error.to_string())
                }
            };
            status.source = name;
            match &problem {
                Ok(()) => {
                    report_success(status, refresh.expires(), said.filter(|end| *end <= now));
                    status.successes += 1;
                    status.fetched = Some(now);
                }
                Err(error) => {
                    report_failure(status, error, refresh);
                    status.failures += 1;
                }
            }
            status.error = problem.err();
            let taken = status.error.is_none();
            drop(state);
            self.changed.notify_all();
            if taken {
                on_change();
            }
        }
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Ends [`run`](Self::run). An attempt that is under way ends by its own time-outs; there is
    /// nothing to save, so it need not be waited for.
    pub fn stop(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Until an attempt is due. `false`: never again.
    fn sleep(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.over {
                return false;
            }
            let now = (self.timing.now)();
            state = match state.refresh.next(now) {
                Next::Now => return true,
                Next::Done => return false,
                Next::Asleep => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Next::At(time) => {
                    let pause = time.duration_since(now).unwrap_or_default();
                    self.changed
                        .wait_timeout(state, pause)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first success, and the first after failures, are news; the others are routine. `expired`:
/// they were taken all the same, for want of better ones.
fn report_success(before: &Status, expires: Option<SystemTime>, expired: Option<SystemTime>) {
    let name = &before.source;
    if let (Some(expired), Some(end)) = (expired, expires) {
        log::warn!(
            "AWS credentials from {name} expired at {}, and it has no newer ones: they are used \
             until {} while it is asked again",
            date::format(expired),
            date::format(end)
        );
        return;
    }
    let level = match before.successes == 0 || before.error.is_some() {
        true => log::Level::Info,
        false => log::Level::Debug,
    };
    let until = expires.map_or_else(
        || "do not expire".to_owned(),
        |at| format!("are used until {}", date::format(at)),
    );
    log::log!(level, "AWS credentials from {name} {until}");
}

/// A failure is told when it is another than the last, and at the 1st, 2nd, 4th, 8th … in a row:
/// an outage of a day is some lines, not thousands.
fn report_failure(before: &Status, error: &str, refresh: &Refresh) {
    if before.error.as_deref() == Some(error) && !refresh.failures().is_power_of_two() {
        log::debug!(
            "Cannot get AWS credentials (attempt {}): {error}",
            refresh.failures()
        );
        return;
    }
    match refresh.expires() {
        Some(end) => log::warn!(
            "Cannot renew AWS credentials, those in hand are used until {}: {error}",
            date::format(end)
        ),
        None => log::warn!("Cannot get AWS credentials: {error}"),
    }
}

#[cfg(test)]
mod tests;
