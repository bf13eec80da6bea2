//! Holds the credentials in use and renews them on a thread of their own.

mod failure_log;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;

use failure_log::FailureLog;

use super::schedule::{NextStep, RenewalSchedule};
use super::{Source, Timing, date};
use crate::aws::clock::Reading;

/// The one place that hands out credentials. Only the thread in [`run`](Self::run) does I/O.
pub struct CredentialCache {
    source: Mutex<Box<dyn Source>>,
    state: Mutex<CacheState>,
    /// Signalled when an attempt has ended, when one is wanted, and at the end.
    changed: Condvar,
    timing: Timing,
}

struct CacheState {
    schedule: RenewalSchedule,
    status: CredentialStatus,
    /// Since when there are none, as far as it was reported.
    missing_since: Option<Instant>,
    /// The thread has ended, or has been told to.
    over: bool,
}

/// Credentials with a generation number, by which older and newer ones can be distinguished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCredentials {
    /// Grows by one whenever a renewal brings other keys; the first ones have 1. A request keeps it
    /// for [`CredentialCache::reject`].
    pub generation: u64,
    /// What to sign with.
    pub credentials: Credentials,
}

/// What [`CredentialCache::run`] reports: everything that a thread needs for signing.
#[derive(Debug, Clone)]
pub struct CredentialSnapshot {
    /// That of the newest credentials, also after they have expired; 0 before the first ones.
    pub generation: u64,
    /// `None` while there are none that can be used.
    pub credentials: Option<Credentials>,
    /// Their state, for the log and the metrics.
    pub status: CredentialStatus,
}

/// The state of the credentials, for the log and the metrics. It contains no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialStatus {
    /// The source's name.
    pub source: String,
    /// Whether there are credentials to sign with.
    pub(crate) available: bool,
    /// Since when there are none; `None` while there are some.
    pub(crate) missing_since: Option<Instant>,
    /// Until when the current credentials are used; `None` if there are none, or if only a refusal
    /// ends them.
    pub expires: Option<SystemTime>,
    /// When they were fetched; `None` until the first success.
    pub(crate) fetched: Option<SystemTime>,
    /// Attempts that gave credentials.
    pub(crate) successes: u64,
    /// Attempts that did not.
    pub failures: u64,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<String>,
}

impl CredentialCache {
    /// Has no credentials until [`run`](Self::run) has fetched some.
    pub fn new(source: Box<dyn Source>, timing: Timing) -> Arc<Self> {
        let status = CredentialStatus {
            source: source.name(),
            ..CredentialStatus::default()
        };
        Arc::new(Self {
            source: Mutex::new(source),
            state: Mutex::new(CacheState {
                schedule: RenewalSchedule::default(),
                status,
                missing_since: Some((timing.reading)().monotonic),
                over: false,
            }),
            changed: Condvar::new(),
            timing,
        })
    }

    /// The credentials to sign with now; `None` while there are none that have not expired. Never
    /// waits for an attempt. When it gives `None`, attempts go on until one succeeds.
    pub(crate) fn current(&self) -> Option<IssuedCredentials> {
        let now = (self.timing.reading)();
        self.hand_out(&mut self.lock(), now)
    }

    /// As [`current`](Self::current), but waits up to `limit` for an attempt that is under way or
    /// due by then, also for the one that a refusal asked for.
    pub fn wait(&self, limit: Duration) -> Option<IssuedCredentials> {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            let now = (self.timing.reading)();
            let issued = self.hand_out(&mut state, now);
            if state.over || (issued.is_some() && !state.schedule.is_rejected()) {
                return issued;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let due = match state.schedule.next(now) {
                NextStep::Now => true,
                NextStep::At(due) => due <= now.monotonic + left,
                NextStep::Asleep | NextStep::Done => false,
            };
            if !due || left.is_zero() {
                return issued;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn hand_out(&self, state: &mut CacheState, now: Reading) -> Option<IssuedCredentials> {
        let issued = state.schedule.current(now);
        // The thread sleeps by the monotonic clock, so it does not notice a change of the wall
        // clock or a suspended host.
        if state.schedule.next(now) == NextStep::Now {
            self.changed.notify_all();
        }
        issued
    }

    /// A thread whose snapshot has no credentials has something to sign: attempts go on until one
    /// succeeds, instead of stopping after a few. Never waits.
    pub fn want(&self) {
        self.current();
        self.changed.notify_all();
    }

    /// The service refused the credentials of this generation as expired or unknown: asks for new
    /// ones, at most once in 30 s; an older generation changes nothing. Returns whether newer
    /// credentials are there or are being fetched; `false` means that another request would be
    /// refused too. Never waits.
    pub fn reject(&self, generation: u64) -> bool {
        let now = (self.timing.reading)();
        let mut state = self.lock();
        let worth = state.schedule.reject(generation, now);
        self.changed.notify_all();
        worth && !state.over
    }

    /// For the metrics.
    pub fn status(&self) -> CredentialStatus {
        let now = (self.timing.reading)();
        self.lock().snapshot(now).status
    }

    /// The thread `credentials`. Calls `report` after each attempt, whether it gave credentials or
    /// failed, and when credentials expire that could not be renewed. Sleeps until the next of
    /// these is due or asked for, without polling. Ends once it holds credentials that never
    /// change.
    pub fn run(&self, report: &dyn Fn(CredentialSnapshot)) {
        let mut failures = FailureLog::default();
        while self.sleep(report) {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = source.fetch();
            let (name, renewal) = (source.name(), source.renewal());
            drop(source);

            let (now, time) = ((self.timing.reading)(), (self.timing.now)());
            let random = (self.timing.random)();
            let mut state = self.lock();
            let CacheState {
                schedule, status, ..
            } = &mut *state;
            let problem = match answer {
                Ok(credentials) => schedule
                    .fetched(credentials, renewal, now, time, random)
                    .map_err(|end| {
                        format!(
                            "{name} gave credentials that expired at {}, before the current ones",
                            date::format(end)
                        )
                    }),
                Err(error) => {
                    schedule.failed(now, random);
                    Err(error.to_string())
                }
            };
            status.source = name;
            match &problem {
                Ok(()) => {
                    report_success(status, schedule, now, time);
                    failures.succeeded();
                    status.successes += 1;
                    status.fetched = Some(time);
                }
                Err(error) => {
                    let is_news = failures.is_news(error, now.monotonic);
                    report_failure(is_news, error, schedule, now);
                    status.failures += 1;
                }
            }
            status.error = problem.err();
            state.missing_since = match state.schedule.is_available(now) {
                true => None,
                false => state.missing_since.or(Some(now.monotonic)),
            };
            let snapshot = state.snapshot(now);
            drop(state);
            self.changed.notify_all();
            report(snapshot);
        }
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Ends [`run`](Self::run) after the attempt under way.
    #[cfg(test)]
    fn stop(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Until an attempt is due. `false`: never again.
    fn sleep(&self, report: &dyn Fn(CredentialSnapshot)) -> bool {
        let mut state = self.lock();
        loop {
            let now = (self.timing.reading)();
            let available = state.schedule.is_available(now);
            if state.missing_since.is_none() && !available {
                state.missing_since = Some(now.monotonic);
                let snapshot = state.snapshot(now);
                drop(state);
                report(snapshot);
                state = self.lock();
                continue;
            }
            if state.over {
                return false;
            }
            let attempt = match state.schedule.next(now) {
                NextStep::Now => return true,
                NextStep::Done => return false,
                NextStep::Asleep => None,
                NextStep::At(due) => Some(due),
            };
            let end = state.schedule.ends().filter(|_| available);
            state = match attempt.into_iter().chain(end).min() {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(time) => {
                    let pause = time.saturating_duration_since(now.monotonic);
                    self.changed
                        .wait_timeout(state, pause)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheState {
    fn snapshot(&self, now: Reading) -> CredentialSnapshot {
        let issued = self.schedule.usable(now);
        CredentialSnapshot {
            generation: self.schedule.generation(),
            status: CredentialStatus {
                available: issued.is_some(),
                missing_since: self.missing_since,
                expires: self.schedule.used_until(now),
                ..self.status.clone()
            },
            credentials: issued.map(|issued| issued.credentials),
        }
    }
}

/// Only the first success and a success after failures are logged at info.
fn report_success(
    before: &CredentialStatus,
    schedule: &RenewalSchedule,
    now: Reading,
    time: SystemTime,
) {
    let name = &before.source;
    let said = schedule.newest().and_then(Credentials::expiry);
    if let Some(expired) = said.filter(|end| *end <= time) {
        log::warn!(
            "AWS credentials from {name} expired at {}, and it has no newer ones: they are used \
             until AWS refuses them, while it is asked again (is the clock of this host right?)",
            date::format(expired)
        );
        return;
    }
    let level = match before.successes == 0 || before.error.is_some() {
        true => log::Level::Info,
        false => log::Level::Debug,
    };
    let is_temporary = schedule
        .newest()
        .is_some_and(|c| c.session_token().is_some());
    let until = match schedule.used_until(now) {
        Some(at) => format!("are used until {}", date::format(at)),
        // A session token expires, but only AWS knows when.
        None if is_temporary => {
            "are temporary and do not say their expiry: they are used until AWS refuses them"
                .to_owned()
        }
        None => "do not expire".to_owned(),
    };
    log::log!(level, "AWS credentials from {name} {until}");
}

fn report_failure(is_news: bool, error: &str, schedule: &RenewalSchedule, now: Reading) {
    if !is_news {
        log::debug!(
            "Cannot get AWS credentials (attempt {}): {error}",
            schedule.failures()
        );
        return;
    }
    if !schedule.is_available(now) {
        log::warn!("Cannot get AWS credentials: {error}");
        return;
    }
    let end = match schedule.used_until(now) {
        Some(end) => date::format(end),
        None => "AWS refuses them".to_owned(),
    };
    log::warn!("Cannot renew AWS credentials, the current ones are used until {end}: {error}");
}

#[cfg(test)]
mod tests;
