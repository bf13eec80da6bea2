//! Corrects a wrong local clock with the time in the service's answers.
//!
//! X-Ray refuses signatures that are minutes old, so a host with a wrong clock would lose everything.

mod skew;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::aws::profile::Profiles;
use crate::env::{Lookup, switch};

pub use skew::{DatedAnswer, Reading, SigningTime, Skew, SkewEstimate, measure};

/// The time as the service tells it, learnt from its answers. Shared by all who talk to AWS
/// services; metadata endpoints must not teach it, because they tell the time of this host.
#[derive(Debug)]
pub struct Clock {
    /// `None`: the local clock is taken as it is.
    estimate: Option<Mutex<SkewEstimate>>,
}

/// Whether the correction is switched off, for [`Clock::new`]: by the environment, else by the
/// selected profile.
pub(crate) fn is_disabled(env: &Lookup<'_>, profiles: &Profiles) -> bool {
    switch(env, "AWS_DISABLE_CLOCK_SKEW_CORRECTION")
        .unwrap_or_else(|| profiles.is_true("disable_clock_skew_correction"))
}

impl Clock {
    /// With `disabled` (see [`is_disabled`]) the local clock is taken as it is and nothing is learnt.
    pub fn new(disabled: bool) -> Self {
        let estimate = || Mutex::new(SkewEstimate::new(Reading::now()));
        Self {
            estimate: (!disabled).then(estimate),
        }
    }

    /// The time to compare expiry dates with.
    pub fn now(&self) -> SystemTime {
        self.signing_time().time()
    }

    /// The time to sign a request with. Keep it for [`learn`](Self::learn).
    pub(crate) fn signing_time(&self) -> SigningTime {
        let at = Reading::now();
        let skew = self.lock().map_or(Skew(0), |mut known| known.at(at));
        SigningTime { at, skew }
    }

    /// What has been learnt so far.
    pub fn skew(&self) -> Skew {
        self.signing_time().skew
    }

    /// Learns from any answer of the service, success or error. Whether the answer refuses the
    /// time of the request, so that it is worth signing and sending again; newer credentials do not
    /// cure that.
    pub fn learn(&self, signed: SigningTime, answer: &DatedAnswer<'_>) -> bool {
        let Some(mut estimate) = self.lock() else {
            return false;
        };
        let lesson = estimate.learn(signed, answer);
        let skew = estimate.at(answer.received);
        drop(estimate);
        if lesson.is_new {
            report(skew);
        }
        lesson.refused_time
    }

    fn lock(&self) -> Option<MutexGuard<'_, SkewEstimate>> {
        let estimate = self.estimate.as_ref()?;
        Some(estimate.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Logs a skew that differs from the one before by more than five minutes.
fn report(skew: Skew) {
    let seconds = skew.0.unsigned_abs() / 1000;
    if seconds <= 300 {
        log::info!("The clock of this host agrees with that of AWS again");
        return;
    }
    let side = if skew.0 > 0 { "behind" } else { "ahead of" };
    log::warn!(
        "The clock of this host is {seconds} s {side} that of AWS: requests are signed with AWS's \
         time; set the clock of this host"
    );
}

#[cfg(test)]
mod tests;
