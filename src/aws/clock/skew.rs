//! Estimates the difference between the service's clock and the local one. Pure.
//!
//! The rules are those of the AWS SDKs' clock skew correction, whose published cases run as tests,
//! with one difference: the SDKs believe every answer, and here a large skew needs a second sign,
//! because one wrong `Date` must not make every signature wrong.

use std::time::{Duration, Instant, SystemTime};

use ureq::http::HeaderMap;

use crate::aws::error_codes;

/// If the round trip took longer than this, the time at which the `Date` header was written is too
/// uncertain.
const TRUSTED_ROUND_TRIP: Duration = Duration::from_secs(15 * 60);
/// A refusal is blamed on the clock only beyond this: services allow five minutes.
const TOLERATED: u64 = 4 * 60 * 1000;
/// A change up to this is believed at once: signatures are good for five minutes.
const SMALL: u64 = 5 * 60 * 1000;
/// Two answers that differ by no more than this agree.
const AGREEMENT: u64 = 60 * 1000;
/// The local clock was set, or the host slept, when its wall clock has moved this much more, or
/// less, than time has passed. Smaller changes are how NTP corrects a clock that runs.
pub(crate) const JUMP: Duration = Duration::from_secs(60);
/// A change of the wall clock within one exchange from which its middle is wrong by too much.
const UNSTEADY: Duration = Duration::from_secs(2);
/// 2016-01-01, before X-Ray existed, and 2200-01-01. A date outside of this range is not believed;
/// signing needs a year of four digits.
pub(crate) const PLAUSIBLE: std::ops::Range<u64> = 1_451_606_400..7_258_118_400;

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

    fn is_within(self, most: u64, of: Skew) -> bool {
        self.0.abs_diff(of.0) <= most
    }
}

/// Both clocks of this host at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock, uncorrected. An operator or NTP may set it at any time.
    pub wall: SystemTime,
    /// The monotonic clock. It stands still while a Linux host sleeps.
    pub monotonic: Instant,
}

impl Reading {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            monotonic: Instant::now(),
        }
    }

    /// By how much the wall clock was moved since `earlier`, in either direction.
    fn moved_since(self, earlier: Reading) -> Duration {
        let passed = self.monotonic.saturating_duration_since(earlier.monotonic);
        match self.wall.duration_since(earlier.wall) {
            Ok(by_wall) => by_wall.abs_diff(passed),
            Err(set_back) => set_back.duration().saturating_add(passed),
        }
    }

    /// Whether the wall clock was set, or the host slept, since `earlier`.
    pub(crate) fn jumped_since(self, earlier: Reading) -> bool {
        self.moved_since(earlier) > JUMP
    }
}

/// The time at which a request was signed. Keep it until the answer has arrived.
#[derive(Debug, Clone, Copy)]
pub struct SigningTime {
    /// The local clocks.
    pub at: Reading,
    /// What the local time was corrected by.
    pub skew: Skew,
}

impl SigningTime {
    /// The time to sign with.
    pub fn time(self) -> SystemTime {
        self.skew.correct(self.at.wall)
    }
}

/// The parts of an answer that say something about time.
#[derive(Debug, Clone, Copy)]
pub struct DatedAnswer<'a> {
    /// The local clocks when its header had been read.
    pub received: Reading,
    /// Its `Date`.
    pub date: Option<&'a str>,
    /// Whether it has an `Age`: then a cache answered and the date is old.
    pub has_age: bool,
    /// Whether it has AWS's `x-amzn-requestid`: a proxy or a portal that answers in between has a
    /// clock of its own.
    pub has_request_id: bool,
    /// The error code of a refusal; empty for a success, or where there is none.
    pub code: &'a str,
}

impl<'a> DatedAnswer<'a> {
    /// Reads what counts in the header of an answer.
    pub fn new(received: Reading, headers: &'a HeaderMap, code: &'a str) -> Self {
        Self {
            received,
            date: headers.get("date").and_then(|date| date.to_str().ok()),
            has_age: headers.contains_key("age"),
            has_request_id: headers.contains_key("x-amzn-requestid"),
            code,
        }
    }
}

/// What has been learnt so far.
#[derive(Debug)]
pub struct SkewEstimate {
    skew: Skew,
    /// A large skew that one answer has shown.
    candidate: Option<Skew>,
    /// When the local clocks were last looked at.
    looked: Reading,
}

/// What an answer has changed.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Lesson {
    /// Whether a skew has been learnt that differs by more than five minutes from the one before.
    pub is_new: bool,
    /// Whether the answer refuses the time of the request, so that it is worth signing again.
    pub refused_time: bool,
}

impl SkewEstimate {
    /// The local clock is right until an answer says otherwise.
    pub fn new(now: Reading) -> Self {
        Self {
            skew: Skew(0),
            candidate: None,
            looked: now,
        }
    }

    /// The skew at `now`. One that was learnt before the local clock was set is forgotten.
    pub fn at(&mut self, now: Reading) -> Skew {
        // Another thread may have looked since this one read the clocks.
        if now.monotonic >= self.looked.monotonic {
            if now.jumped_since(self.looked) {
                self.skew = Skew(0);
                self.candidate = None;
            }
            self.looked = now;
        }
        self.skew
    }

    /// Learns from the answer to a request that was signed at `signed`.
    ///
    /// A skew within five minutes of the one in use, or of none, is taken from any answer. Another
    /// one is taken when X-Ray has refused the time of the request, or when two answers in a row
    /// agree on it. So a wrong date does harm until the next right one, and no longer.
    pub fn learn(&mut self, signed: SigningTime, answer: &DatedAnswer<'_>) -> Lesson {
        let before = self.at(answer.received);
        let is_stale = self.looked.jumped_since(answer.received);
        let Some(measured) = measure(signed.at, answer).filter(|_| !is_stale) else {
            return Lesson::default();
        };
        let refused_time =
            error_codes::may_be_clock(answer.code) && !measured.is_within(TOLERATED, signed.skew);
        let is_small = measured.is_within(SMALL, Skew(0)) || measured.is_within(SMALL, before);
        let is_seen_twice = self
            .candidate
            .is_some_and(|candidate| measured.is_within(AGREEMENT, candidate));
        if !(is_small || refused_time || is_seen_twice) {
            self.candidate = Some(measured);
            return Lesson::default();
        }
        self.skew = measured;
        self.candidate = None;
        Lesson {
            is_new: !measured.is_within(SMALL, before),
            refused_time,
        }
    }
}

/// The skew that an exchange shows: the answer's date against the middle of its round trip. The
/// date has whole seconds, so the result may be wrong by one second.
pub fn measure(sent: Reading, answer: &DatedAnswer<'_>) -> Option<Skew> {
    let received = answer.received;
    if answer.has_age || !answer.has_request_id || received.moved_since(sent) > UNSTEADY {
        return None;
    }
    let date = httpdate::parse_http_date(answer.date?).ok()?;
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    if !PLAUSIBLE.contains(&since_epoch.as_secs()) {
        return None;
    }
    let round_trip = received.monotonic.checked_duration_since(sent.monotonic)?;
    if round_trip > TRUSTED_ROUND_TRIP {
        return None;
    }
    let middle = sent.wall.checked_add(round_trip / 2)?;
    let milliseconds = |d: Duration| i64::try_from(d.as_millis()).ok();
    Some(Skew(match date.duration_since(middle) {
        Ok(ahead) => milliseconds(ahead)?,
        Err(behind) => -milliseconds(behind.duration())?,
    }))
}
