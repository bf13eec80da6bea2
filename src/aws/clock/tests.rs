use super::skew::{Lesson, PLAUSIBLE};
use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const NOON: &str = "Thu, 01 Jan 2026 12:00:00 GMT";
const REFUSAL: &str = "RequestTimeTooSkewed";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn noon() -> SystemTime {
    httpdate::parse_http_date(NOON).unwrap()
}

/// The local clocks `passed` seconds after the start. The wall clock is `skew` away from a service
/// where it was noon at the start.
fn reading(passed: u64, skew: i64) -> Reading {
    let passed = Duration::from_secs(passed);
    Reading {
        wall: Skew(-skew).correct(noon() + passed),
        monotonic: *START + passed,
    }
}

/// An answer of the service at once, `passed` seconds after the start.
fn exchange<'a>(
    estimate: &mut SkewEstimate,
    at: Reading,
    date: &'a str,
    code: &'a str,
) -> (SigningTime, DatedAnswer<'a>) {
    let skew = estimate.at(at);
    let answer = DatedAnswer {
        received: at,
        date: Some(date),
        has_age: false,
        has_request_id: true,
        code,
    };
    (SigningTime { at, skew }, answer)
}

/// The service answers with a date that is `shown` milliseconds away from the local wall clock.
fn learn(estimate: &mut SkewEstimate, at: Reading, shown: i64, code: &str) -> Lesson {
    let date = httpdate::fmt_http_date(Skew(shown).correct(at.wall));
    let (signed, answer) = exchange(estimate, at, &date, code);
    estimate.learn(signed, &answer)
}

#[test]
fn what_an_answer_teaches() {
    // The skew in use, what answers show one after the other, and the skew after each.
    type Case<'a> = (&'a str, &'a [(i64, &'a str, i64)]);
    let cases: [Case<'_>; 8] = [
        (
            "a small skew at once, either way",
            &[(5 * MINUTE, "", 5 * MINUTE), (-5 * MINUTE, "", -5 * MINUTE)],
        ),
        (
            "a large one at the second time",
            &[
                (2 * HOUR, "", 0),
                (2 * HOUR + MINUTE, "", 2 * HOUR + MINUTE),
            ],
        ),
        (
            "a large one from a refusal of the time at once",
            &[
                (2 * HOUR, REFUSAL, 2 * HOUR),
                (-7 * HOUR, "InvalidSignatureException", -7 * HOUR),
            ],
        ),
        (
            "two that do not agree teach nothing",
            &[(2 * HOUR, "", 0), (3 * HOUR, "", 0), (2 * HOUR, "", 0)],
        ),
        (
            "one in between breaks the row",
            &[(2 * HOUR, "", 0), (0, "", 0), (2 * HOUR, "", 0)],
        ),
        (
            "a refusal for another reason is like any answer",
            &[(2 * HOUR, "ThrottledException", 0)],
        ),
        (
            "a large one is followed closely, and unlearnt by one answer",
            &[
                (2 * HOUR, REFUSAL, 2 * HOUR),
                (2 * HOUR + 4 * MINUTE, "", 2 * HOUR + 4 * MINUTE),
                (MINUTE, "", MINUTE),
            ],
        ),
        (
            "a wrong refusal is unlearnt by one answer",
            &[(7 * HOUR, REFUSAL, 7 * HOUR), (0, "", 0)],
        ),
    ];
    for (name, steps) in cases {
        let mut estimate = SkewEstimate::new(reading(0, 0));
        for (number, (shown, code, expected)) in steps.iter().enumerate() {
            let at = reading(number as u64, 0);
            learn(&mut estimate, at, *shown, code);
            assert_eq!(estimate.at(at), Skew(*expected), "{name}: answer {number}");
        }
    }
}

#[test]
fn answers_that_teach_nothing() {
    let at = reading(10, 0);
    let good = DatedAnswer {
        received: at,
        date: Some(NOON),
        has_age: false,
        has_request_id: true,
        code: REFUSAL,
    };
    let dated = |date| DatedAnswer { date, ..good };
    let received = |received| DatedAnswer { received, ..good };
    for (name, answer) in [
        ("no date", dated(None)),
        ("no date in it", dated(Some("noon"))),
        ("empty", dated(Some(""))),
        ("no clock", dated(Some("Thu, 01 Jan 1970 00:00:00 GMT"))),
        (
            "no time to sign with",
            dated(Some("Fri, 31 Dec 9999 23:59:59 GMT")),
        ),
        (
            "a cache",
            DatedAnswer {
                has_age: true,
                ..good
            },
        ),
        (
            "a proxy",
            DatedAnswer {
                has_request_id: false,
                ..good
            },
        ),
        ("too late", received(reading(10 + 901, 0))),
        ("the clock was set meanwhile", received(reading(11, 3_000))),
        (
            "the clock was set back meanwhile",
            received(reading(11, -3_000)),
        ),
    ] {
        assert_eq!(measure(at, &answer), None, "{name}");
        let mut estimate = SkewEstimate::new(reading(0, 0));
        learn(&mut estimate, reading(9, 0), MINUTE, "");
        let signed = SigningTime { at, skew: Skew(0) };
        assert_eq!(estimate.learn(signed, &answer), Lesson::default(), "{name}");
        assert_eq!(estimate.at(answer.received), Skew(MINUTE), "{name}");
    }
}

#[test]
fn which_refusals_are_the_clocks_fault() {
    let limit = 4 * MINUTE;
    for (code, signed_with, measured, expected) in [
        (REFUSAL, 0, limit + 1_000, true),
        (REFUSAL, 0, limit, false),
        (REFUSAL, 0, -limit - 1_000, true),
        ("InvalidSignatureException", 0, 10 * MINUTE, true),
        ("SignatureDoesNotMatch", 0, 10 * MINUTE, true),
        ("AuthFailure", 0, 10 * MINUTE, true),
        ("AccessDeniedException", 0, 1_000, false),
        ("AccessDeniedException", 0, 10 * MINUTE, true),
        // Signed with the right skew: it is refused for another reason.
        ("AccessDeniedException", 10 * MINUTE, 10 * MINUTE, false),
        // Signed with a stale skew: a small one measured now is worth signing again.
        ("InvalidSignatureException", 10 * MINUTE, 0, true),
        ("ThrottlingException", 0, 10 * MINUTE, false),
        ("", 0, 10 * MINUTE, false),
        (REFUSAL, i64::MIN, HOUR, true),
    ] {
        let at = reading(0, 0);
        let date = httpdate::fmt_http_date(Skew(measured).correct(at.wall));
        let mut estimate = SkewEstimate::new(at);
        let (_, answer) = exchange(&mut estimate, at, &date, code);
        let signed = SigningTime {
            at,
            skew: Skew(signed_with),
        };
        let lesson = estimate.learn(signed, &answer);
        assert_eq!(
            lesson.refused_time, expected,
            "{code} {signed_with} {measured}"
        );
    }
}

/// The host was behind, X-Ray has taught by how much, and then somebody sets the clock, or the host
/// wakes up with a clock that was set.
#[test]
fn a_clock_that_is_set_ends_what_was_learnt_of_the_old_one() {
    for (after, kept) in [
        (2 * HOUR, true),
        (2 * HOUR - 50_000, true),
        (0, false),
        (2 * HOUR - 61_000, false),
        (2 * HOUR + 61_000, false),
    ] {
        let mut estimate = SkewEstimate::new(reading(0, 2 * HOUR));
        learn(&mut estimate, reading(1, 2 * HOUR), 2 * HOUR, REFUSAL);
        assert_eq!(estimate.at(reading(3_600, 2 * HOUR)), Skew(2 * HOUR));
        let expected = if kept { 2 * HOUR } else { 0 };
        assert_eq!(
            estimate.at(reading(3_601, after)),
            Skew(expected),
            "{after}"
        );
    }
}

#[test]
fn the_three_date_forms_of_http() {
    let at = reading(0, 0);
    for date in [
        NOON,
        "Thursday, 01-Jan-26 12:00:00 GMT",
        "Thu Jan  1 12:00:00 2026",
    ] {
        let mut estimate = SkewEstimate::new(at);
        let (_, answer) = exchange(&mut estimate, at, date, "");
        assert_eq!(measure(at, &answer), Some(Skew(0)), "{date}");
    }
}

#[test]
fn disabled_learns_nothing() {
    for (disabled, expected) in [(true, Skew(0)), (false, Skew(HOUR))] {
        let clock = Clock::new(disabled);
        let signed = clock.signing_time();
        let date = httpdate::fmt_http_date(signed.at.wall + Duration::from_secs(3600));
        let answer = DatedAnswer {
            received: signed.at,
            date: Some(&date),
            has_age: false,
            has_request_id: true,
            code: REFUSAL,
        };
        assert_eq!(clock.learn(signed, &answer), !disabled);
        let found = clock.signing_time().skew;
        assert!(found.0.abs_diff(expected.0) < 2_000, "{found:?}");
    }
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
        let profiles = Profiles::load(&|name| (name == "HOME").then(|| "/".to_owned()), &|_| {
            Ok(file.clone().into_bytes())
        })
        .unwrap();
        let env = |_: &str| variable.map(str::to_owned);
        assert_eq!(is_disabled(&env, &profiles), expected, "{variable:?} {key}");
    }
}

/// What a service that checks signatures answers to a request signed with `skew` where `truth` is
/// right.
fn code_of(skew: Skew, truth: i64) -> &'static str {
    if skew.0.abs_diff(truth) > 5 * 60_000 {
        REFUSAL
    } else {
        ""
    }
}

proptest! {
    #[test]
    fn a_measured_skew_brings_the_local_clock_to_the_services(
        local in 0u64..4_000_000_000, server in PLAUSIBLE, round_trip in 0u64..900,
    ) {
        let round_trip = Duration::from_secs(round_trip);
        let sent = Reading {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(local),
            monotonic: *START,
        };
        let received = Reading {
            wall: sent.wall + round_trip,
            monotonic: sent.monotonic + round_trip,
        };
        let server = SystemTime::UNIX_EPOCH + Duration::from_secs(server);
        let date = httpdate::fmt_http_date(server);
        let answer = DatedAnswer {
            received, date: Some(&date), has_age: false, has_request_id: true, code: "",
        };
        let skew = measure(sent, &answer).unwrap();
        prop_assert_eq!(skew.correct(sent.wall + round_trip / 2), server);
    }

    /// Whatever dates came before, with refusals or without: after one right answer of a service
    /// that checks the time of requests, signatures are good.
    #[test]
    fn whatever_was_learnt_the_next_right_answer_heals(
        wrong in proptest::collection::vec((-8 * HOUR..8 * HOUR, any::<bool>()), 0..6),
        truth in -8 * HOUR..8 * HOUR,
    ) {
        let mut estimate = SkewEstimate::new(reading(0, truth));
        let mut seconds = 0;
        for (shown, refused) in wrong {
            seconds += 1;
            learn(&mut estimate, reading(seconds, truth), shown, if refused { REFUSAL } else { "" });
        }
        let at = reading(seconds + 1, truth);
        let code = code_of(estimate.at(at), truth);
        learn(&mut estimate, at, truth, code);
        prop_assert!(estimate.at(at).0.abs_diff(truth) <= 1_000, "{:?}", estimate.at(at));
        prop_assert_eq!(code_of(estimate.at(at), truth), "");
    }

    /// A service that takes every signature, such as an emulator, heals with two.
    #[test]
    fn two_right_answers_heal_without_a_refusal(
        wrong in proptest::collection::vec((-8 * HOUR..8 * HOUR, any::<bool>()), 0..6),
        truth in -8 * HOUR..8 * HOUR,
    ) {
        let mut estimate = SkewEstimate::new(reading(0, truth));
        let mut seconds = 0;
        for (shown, refused) in wrong {
            seconds += 1;
            learn(&mut estimate, reading(seconds, truth), shown, if refused { REFUSAL } else { "" });
        }
        for _ in 0..2 {
            seconds += 1;
            learn(&mut estimate, reading(seconds, truth), truth, "");
        }
        let found = estimate.at(reading(seconds, truth));
        prop_assert!(found.0.abs_diff(truth) <= 1_000, "{:?}", found);
    }

    /// Without a refusal, a date that nobody repeats moves the time by five minutes at most.
    #[test]
    fn one_wrong_date_alone_does_little(shown in -8 * HOUR..8 * HOUR) {
        let at = reading(0, 0);
        let mut estimate = SkewEstimate::new(at);
        learn(&mut estimate, at, shown, "");
        prop_assert!(estimate.at(at).0.unsigned_abs() <= 5 * 60_000);
    }

    #[test]
    fn no_header_and_no_skew_panics(date in "\\PC{0,40}", skew: i64, signed_with: i64) {
        let at = reading(0, skew);
        let mut estimate = SkewEstimate::new(at);
        let (_, answer) = exchange(&mut estimate, at, &date, REFUSAL);
        estimate.learn(SigningTime { at, skew: Skew(signed_with) }, &answer);
        Skew(skew).correct(noon());
    }
}
