//! Corrects a wrong local clock by what the service says the time is.
//!
//! The rules are those of the AWS SDKs' clock skew correction, whose published cases run as tests.
//! X-Ray refuses signatures that are minutes old, so a host with a wrong clock would lose everything.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use crate::aws::error_codes;
use crate::aws::profile::Profiles;

/// An answer that took longer than this says too little about when its date was written.
const TRUSTED_ROUND_TRIP: Duration = Duration::from_secs(15 * 60);
/// A refusal is blamed on the clock only beyond this: services allow five minutes.
const TOLERATED: u64 = 4 * 60 * 1000;
/// 2016-01-01, before which no X-Ray answered, and 2200-01-01: a date outside is no clock, and
/// signing needs a year of four digits.
const PLAUSIBLE: std::ops::Range<u64> = 1_451_606_400..7_258_118_400;

/// How far the service's clock is ahead of the local one, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skew(pub i64);

impl Skew {
    /// `local` moved by this skew; unmoved where that is no time.
    pub fn correct(self, local: SystemTime) -> SystemTime {
        let by = Duration::from_millis(self.0.unsigned_abs());
        let corrected = if self.0 < 0 {
            local.checked_sub(by)
        } else {
            local.checked_add(by)
        };
        corrected.unwrap_or(local)
    }
}

/// The time as the service tells it, learnt from its answers. Shared by all who talk to X-Ray;
/// metadata endpoints must not teach it.
#[derive(Debug, Default)]
pub struct Clock {
    skew: AtomicI64,
    disabled: bool,
}

/// Whether the correction is switched off, for [`Clock::new`]: by the environment, else by the
/// selected profile.
pub fn is_disabled(env: &dyn Fn(&str) -> Option<String>, profiles: &Profiles) -> bool {
    match env("AWS_DISABLE_CLOCK_SKEW_CORRECTION")
        .as_deref()
        .map(str::trim)
    {
        None | Some("") => profiles.is_true("disable_clock_skew_correction"),
        Some(value) => value.eq_ignore_ascii_case("true"),
    }
}

/// One request's times on the local clock, and what its answer says about the service's.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// When the request was signed and sent, uncorrected.
    pub sent: SystemTime,
    /// When the answer's header had been read, uncorrected.
    pub received: SystemTime,
    /// The answer's `Date`.
    pub date: Option<&'a str>,
    /// Whether it had an `Age`: then a cache answered and the date is old.
    pub has_age: bool,
}

impl Clock {
    /// With `disabled` (see [`is_disabled`]) the local clock is taken as it is and nothing is learnt.
    pub fn new(disabled: bool) -> Self {
        Self {
            skew: AtomicI64::new(0),
            disabled,
        }
    }

    /// The time to sign with, and to compare expiry dates with.
    pub fn now(&self) -> SystemTime {
        self.skew().correct(SystemTime::now())
    }

    /// What has been learnt so far. Keep the value a request was signed with, for [`is_skew_error`].
    pub fn skew(&self) -> Skew {
        Skew(self.skew.load(Ordering::Relaxed))
    }

    /// Learns from any answer of the service, success or error. The measured skew, if the answer
    /// allows one; a good answer heals a stale skew in the same way.
    pub fn observe(&self, exchange: &Exchange<'_>) -> Option<Skew> {
        if self.disabled {
            return None;
        }
        let measured = measure(exchange)?;
        self.skew.store(measured.0, Ordering::Relaxed);
        Some(measured)
    }
}

/// The skew that an exchange shows: the answer's date against the middle of its round trip. The
/// date has whole seconds, so the result is a second vague.
pub fn measure(exchange: &Exchange<'_>) -> Option<Skew> {
    if exchange.has_age {
        return None;
    }
    let date = httpdate::parse_http_date(exchange.date?).ok()?;
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    if !PLAUSIBLE.contains(&since_epoch.as_secs()) {
        return None;
    }
    // An error here is a local clock that was set back meanwhile.
    let round_trip = exchange.received.duration_since(exchange.sent).ok()?;
    if round_trip > TRUSTED_ROUND_TRIP {
        return None;
    }
    let middle = exchange.sent.checked_add(round_trip / 2)?;
    let milliseconds = |d: Duration| i64::try_from(d.as_millis()).ok();
    Some(Skew(match date.duration_since(middle) {
        Ok(ahead) => milliseconds(ahead)?,
        Err(behind) => -milliseconds(behind.duration())?,
    }))
}

/// Whether a refusal is the clock's fault, so that the request is worth signing and sending again:
/// `code` is the service's error code, `signed_with` the skew of the refused request, `measured`
/// what its answer taught.
pub fn is_skew_error(code: &str, signed_with: Skew, measured: Option<Skew>) -> bool {
    error_codes::may_be_clock(code)
        && measured.is_some_and(|now| now.0.abs_diff(signed_with.0) > TOLERATED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: &str = "Thu, 01 Jan 2026 12:00:00 GMT";

    fn noon() -> SystemTime {
        httpdate::parse_http_date(NOON).unwrap()
    }

    fn exchange(sent: SystemTime, round_trip: u64, date: Option<&str>) -> Exchange<'_> {
        Exchange {
            sent,
            received: sent + Duration::from_secs(round_trip),
            date,
            has_age: false,
        }
    }

    #[test]
    fn twenty_minutes_either_way_are_learnt_and_healed() {
        let minutes = Duration::from_secs(20 * 60);
        for (local, ahead) in [
            (noon() - minutes, 1_200_000),
            (noon() + minutes, -1_200_000),
        ] {
            let clock = Clock::new(false);
            let measured = clock.observe(&exchange(local, 0, Some(NOON)));
            assert_eq!(measured, Some(Skew(ahead)));
            assert_eq!(clock.skew().correct(local), noon());
            assert!(is_skew_error("AccessDeniedException", Skew(0), measured));
            clock.observe(&exchange(noon(), 0, Some(NOON)));
            assert_eq!(clock.skew(), Skew(0));
        }
    }

    #[test]
    fn answers_that_teach_nothing() {
        let cases = [
            exchange(noon(), 1, None),
            exchange(noon(), 1, Some("noon")),
            exchange(noon(), 1, Some("")),
            exchange(noon(), 901, Some(NOON)),
            exchange(noon(), 1, Some("Thu, 01 Jan 1970 00:00:00 GMT")),
            exchange(noon(), 1, Some("Fri, 31 Dec 9999 23:59:59 GMT")),
            Exchange {
                has_age: true,
                ..exchange(noon(), 1, Some(NOON))
            },
            Exchange {
                received: noon() - Duration::from_secs(1),
                ..exchange(noon(), 0, Some(NOON))
            },
        ];
        let clock = Clock::new(false);
        clock.observe(&exchange(noon() - Duration::from_secs(60), 0, Some(NOON)));
        for case in &cases {
            assert_eq!(clock.observe(case), None, "{case:?}");
            assert_eq!(clock.skew(), Skew(60_000), "{case:?}");
        }
    }

    #[test]
    fn disabled_learns_nothing_and_retries_nothing() {
        let clock = Clock::new(true);
        let measured = clock.observe(&exchange(SystemTime::UNIX_EPOCH, 0, Some(NOON)));
        assert_eq!(measured, None);
        assert_eq!(clock.skew(), Skew(0));
        assert!(!is_skew_error("RequestTimeTooSkewed", Skew(0), measured));
    }

    #[test]
    fn who_disables_it() {
        for (variable, key, expected) in [
            (None, "", false),
            (Some("TRUE"), "", true),
            (Some("false"), "true", false),
            (Some(" "), "true", true),
            (None, "True", true),
            (None, "1", false),
        ] {
            let file = format!("[default]\ndisable_clock_skew_correction = {key}");
            let profiles =
                Profiles::load(&|name| (name == "HOME").then(|| "/".to_owned()), &|_| {
                    Ok(file.clone().into_bytes())
                })
                .unwrap();
            let env = |_: &str| variable.map(str::to_owned);
            assert_eq!(is_disabled(&env, &profiles), expected, "{variable:?} {key}");
        }
    }

    #[test]
    fn the_three_date_forms_of_http() {
        for date in [
            NOON,
            "Thursday, 01-Jan-26 12:00:00 GMT",
            "Thu Jan  1 12:00:00 2026",
        ] {
            assert_eq!(
                measure(&exchange(noon(), 0, Some(date))),
                Some(Skew(0)),
                "{date}"
            );
        }
    }

    #[test]
    fn which_refusals_are_the_clocks_fault() {
        let limit = TOLERATED as i64;
        for (code, signed_with, measured, expected) in [
            ("RequestTimeTooSkewed", 0, Some(limit + 1), true),
            ("RequestTimeTooSkewed", 0, Some(limit), false),
            ("RequestTimeTooSkewed", 0, Some(-limit - 1), true),
            ("RequestTimeTooSkewed", 0, None, false),
            ("InvalidSignatureException", 0, Some(600_000), true),
            ("SignatureDoesNotMatch", 0, Some(600_000), true),
            ("AuthFailure", 0, Some(600_000), true),
            ("AccessDeniedException", 0, Some(1_000), false),
            ("AccessDeniedException", 0, Some(600_000), true),
            // signed with the right skew: it is refused for another reason
            ("AccessDeniedException", 600_000, Some(600_500), false),
            // signed with a stale skew: a small skew measured now is worth a retry
            ("InvalidSignatureException", 600_000, Some(0), true),
            ("ThrottlingException", 0, Some(600_000), false),
            ("", 0, Some(600_000), false),
            ("AccessDeniedException", i64::MIN, Some(i64::MAX), true),
        ] {
            let decided = is_skew_error(code, Skew(signed_with), measured.map(Skew));
            assert_eq!(decided, expected, "{code} {signed_with} {measured:?}");
        }
    }

    proptest! {
        #[test]
        fn a_measured_skew_brings_the_local_clock_to_the_services(
            local in 0u64..4_000_000_000, server in PLAUSIBLE, round_trip in 0u64..900,
        ) {
            let sent = SystemTime::UNIX_EPOCH + Duration::from_secs(local);
            let server = SystemTime::UNIX_EPOCH + Duration::from_secs(server);
            let date = httpdate::fmt_http_date(server);
            let skew = measure(&exchange(sent, round_trip, Some(&date))).unwrap();
            let middle = sent + Duration::from_secs(round_trip) / 2;
            prop_assert_eq!(skew.correct(middle), server);
        }

        #[test]
        fn no_header_and_no_skew_panics(date in "\\PC{0,40}", skew: i64) {
            measure(&exchange(noon(), 1, Some(&date)));
            Skew(skew).correct(noon());
        }
    }
}
