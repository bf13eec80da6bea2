//! What answers teach of the service's time: a date is measured rightly or not at all, no answer
//! that is no refusal moves the time by more than five minutes unless another one agrees, and one
//! right answer of a service that checks signatures makes them good again, whatever came before.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use libfuzzer_sys::fuzz_target;
use xray::aws::clock::{DatedAnswer, Reading, SigningTime, Skew, SkewEstimate, measure};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

const MINUTES: i64 = 60_000;

/// The clocks of a host that is `behind` milliseconds behind the service, `passed` seconds after the
/// start.
fn reading(passed: u64, behind: i64) -> Reading {
    let right = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + passed);
    Reading {
        wall: Skew(behind).correct(right),
        monotonic: *START + Duration::from_secs(passed),
    }
}

struct Told {
    passed: u16,
    /// Milliseconds between the host's wall clock and the date told.
    shown: i32,
    is_refusal: bool,
    has_age: bool,
    has_request_id: bool,
}

struct Host {
    estimate: SkewEstimate,
    passed: u64,
    truth: i64,
}

impl Host {
    /// An answer comes. The skew before and after it.
    fn learn(&mut self, told: &Told) -> (Skew, Skew) {
        self.passed += u64::from(told.passed);
        let at = reading(self.passed, -self.truth);
        let shown = i64::from(told.shown) % (20 * 3_600_000);
        let date = httpdate::fmt_http_date(Skew(shown).correct(at.wall));
        let before = self.estimate.at(at);
        let signed = SigningTime { at, skew: before };
        let answer = DatedAnswer {
            received: at,
            date: Some(&date),
            has_age: told.has_age,
            has_request_id: told.has_request_id,
            code: match told.is_refusal {
                true => "RequestTimeTooSkewed",
                false => "",
            },
        };
        let lesson = self.estimate.learn(signed, &answer);
        let after = self.estimate.at(at);
        if told.has_age || !told.has_request_id {
            assert_eq!(after, before);
            assert!(!lesson.refused_time);
        }
        (before, after)
    }
}

fuzz_target!(|input: (i32, Vec<(u16, i32, u8)>, &str)| {
    let (behind, told, date) = input;
    let truth = i64::from(behind) % (20 * 3_600_000);
    let at = reading(0, -truth);
    // Any text is a date or is not.
    let answer = DatedAnswer {
        received: at,
        date: Some(date),
        has_age: false,
        has_request_id: true,
        code: "",
    };
    if let Some(skew) = measure(at, &answer) {
        let told = httpdate::parse_http_date(date).expect("it was measured");
        let apart =
            |a: SystemTime, b: SystemTime| a.duration_since(b).unwrap_or_else(|e| e.duration());
        assert!(apart(skew.correct(at.wall), told) < Duration::from_millis(2));
    }
    let mut host = Host {
        estimate: SkewEstimate::new(at),
        passed: 0,
        truth,
    };
    let mut is_first = true;
    for (passed, shown, flags) in told.into_iter().take(20) {
        let told = Told {
            passed,
            shown,
            is_refusal: flags & 1 != 0,
            has_age: flags & 6 == 6,
            has_request_id: flags & 24 != 24,
        };
        let (before, after) = host.learn(&told);
        if is_first && !told.is_refusal {
            let is_near = |of: i64| after.0.abs_diff(of) <= 5 * MINUTES.unsigned_abs();
            assert!(after == before || is_near(0) || is_near(before.0));
        }
        is_first = false;
    }
    let skew = host.estimate.at(reading(host.passed, -truth)).0;
    let right = Told {
        passed: 1,
        shown: i32::try_from(truth).expect("less than a day"),
        is_refusal: skew.abs_diff(truth) > 5 * MINUTES.unsigned_abs(),
        has_age: false,
        has_request_id: true,
    };
    let (_, after) = host.learn(&right);
    let missed = after.0.abs_diff(truth);
    assert!(missed <= 1_001, "{missed} ms beside the truth");
});
