use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The right time, so many seconds after the start.
fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// The clocks of a host whose wall clock is right.
fn at(seconds: u64) -> Reading {
    behind(seconds, 0)
}

/// The clocks of a host whose wall clock is so many seconds behind.
fn behind(seconds: u64, by: u64) -> Reading {
    Reading {
        wall: time(seconds) - Duration::from_secs(by),
        monotonic: *START + Duration::from_secs(seconds),
    }
}

fn creds(id: &str, expires: Option<u64>) -> Credentials {
    Credentials::new(id, "hush", None, expires.map(time), "test")
}

/// An attempt gives these, by a right clock, without jitter.
fn fetch(schedule: &mut RenewalSchedule, given: Credentials, renewal: Renewal, now: u64) {
    let taken = schedule.fetched(given, renewal, at(now), time(now), 0.0);
    taken.unwrap();
}

/// Holds `id`, fetched at 0 without jitter.
fn holding(id: &str, expires: Option<u64>, renewal: Renewal) -> RenewalSchedule {
    let mut schedule = RenewalSchedule::default();
    fetch(&mut schedule, creds(id, expires), renewal, 0);
    schedule
}

fn id(schedule: &mut RenewalSchedule, now: u64) -> Option<String> {
    let held = schedule.current(at(now))?;
    Some(held.credentials.access_key_id().to_owned())
}

fn due(seconds: u64) -> NextStep {
    NextStep::At(at(seconds).monotonic)
}

#[test]
fn the_window_is_scaled_to_the_life() {
    for (life, renewal, earliest, latest) in [
        (900, Renewal::Timed, 675.0, 697.5),
        (3600, Renewal::Timed, 3300.0, 3330.0),
        (6 * 3600, Renewal::Timed, 21300.0, 21330.0),
        // at least hourly
        (6 * 3600, Renewal::Stable, 3300.0, 3330.0),
        (60, Renewal::Timed, 45.0, 46.5),
        // not hammered
        (1, Renewal::Timed, 1.0, 1.0),
        // no such life: as if it were the longest that there is
        (1_000_000, Renewal::Timed, 129_300.0, 129_330.0),
    ] {
        for (random, expected) in [(0.0, earliest), (1.0, latest)] {
            let mut schedule = RenewalSchedule::default();
            assert_eq!(schedule.next(at(0)), NextStep::Now);
            schedule
                .fetched(creds("A", Some(life)), renewal, at(0), time(0), random)
                .unwrap();
            let passed = Duration::from_secs_f64(expected);
            let due = Reading {
                wall: time(0) + passed,
                monotonic: *START + passed,
            };
            assert_eq!(
                schedule.next(at(0)),
                NextStep::At(due.monotonic),
                "{life} {random}"
            );
            assert_eq!(schedule.next(due), NextStep::Now, "{life} {random}");
        }
    }
}

#[test]
fn credentials_without_expiry_are_renewed_on_refusal_only() {
    let mut schedule = holding("A", None, Renewal::Timed);
    assert_eq!(schedule.next(at(1_000_000)), NextStep::Asleep);
    assert_eq!(schedule.next(behind(1_000_000, 9_000)), NextStep::Asleep);
    assert!(schedule.reject(1, at(10)));
    assert_eq!(schedule.next(at(10)), NextStep::Now);
    schedule.failed(at(11), 0.0);
    assert_eq!(
        schedule.next(at(11)),
        NextStep::Asleep,
        "they may still work"
    );
    assert_eq!(id(&mut schedule, 12).as_deref(), Some("A"));
}

#[test]
fn fixed_credentials_end_the_work() {
    let mut schedule = holding("A", None, Renewal::Fixed);
    assert_eq!(schedule.next(at(1)), NextStep::Done);
    assert!(!schedule.reject(1, at(1)));
    assert_eq!(schedule.next(at(1)), NextStep::Done);
    assert_eq!(id(&mut schedule, 2).as_deref(), Some("A"));
}

#[test]
fn a_failed_renewal_keeps_what_still_works_and_no_longer() {
    let mut schedule = holding("A", Some(3600), Renewal::Timed);
    // A quarter of what is left, between 5 and 60 s.
    for (now, pause) in [(3300, 60), (3400, 50), (3590, 5)] {
        assert_eq!(schedule.next(at(now)), NextStep::Now);
        schedule.failed(at(now), 0.0);
        assert_eq!(schedule.next(at(now)), due(now + pause));
        assert_eq!(id(&mut schedule, now).as_deref(), Some("A"));
    }
    assert_eq!(id(&mut schedule, 3599).as_deref(), Some("A"));
    assert_eq!(schedule.used_until(at(3599)), Some(time(3600)));
    assert_eq!(id(&mut schedule, 3600), None, "equal is expired");
    assert_eq!(schedule.used_until(at(3600)), None);
}

#[test]
fn without_credentials_attempts_slow_down_and_rest_unless_somebody_asks() {
    let mut schedule = RenewalSchedule::default();
    let mut now = 0;
    for pause in [1, 2, 4, 8, 16] {
        assert_eq!(schedule.next(at(now)), NextStep::Now);
        schedule.failed(at(now), 0.0);
        assert_eq!(schedule.next(at(now)), due(now + pause));
        now += pause;
    }
    schedule.failed(at(now), 0.0);
    assert_eq!(schedule.next(at(now + 1_000)), NextStep::Asleep);

    assert_eq!(id(&mut schedule, now), None);
    assert_eq!(schedule.next(at(now)), due(now + 30));
    schedule.failed(at(now + 30), 0.0);
    assert_eq!(
        schedule.next(at(now + 30)),
        due(now + 60),
        "asked once, tried until it works"
    );
    fetch(
        &mut schedule,
        creds("A", Some(now + 9_000)),
        Renewal::Timed,
        now + 60,
    );
    assert_eq!(schedule.failures(), 0);
}

#[test]
fn a_refusal_forces_one_renewal_in_30_seconds() {
    let mut schedule = holding("A", Some(3600), Renewal::Timed);
    let refused = creds("A", Some(3600));
    assert!(schedule.reject(1, at(100)));
    assert!(schedule.reject(1, at(100)), "the renewal is on its way");
    assert!(schedule.is_rejected());
    assert_eq!(schedule.next(at(100)), NextStep::Now);
    assert_eq!(id(&mut schedule, 100).as_deref(), Some("A"));
    // The source has nothing newer.
    fetch(&mut schedule, refused.clone(), Renewal::Timed, 101);
    assert_eq!(schedule.generation(), 1);
    assert!(!schedule.is_rejected());
    assert!(!schedule.reject(1, at(129)));
    assert_ne!(schedule.next(at(129)), NextStep::Now);
    assert!(schedule.reject(1, at(130)));
    fetch(&mut schedule, creds("B", Some(3600)), Renewal::Timed, 131);
    assert_eq!(schedule.generation(), 2);
    // Late refusals of the old ones are old news.
    assert!(schedule.reject(1, at(200)));
    assert_ne!(schedule.next(at(200)), NextStep::Now);
}

/// Keys that live `life`, fetched while the time was thought to be `ahead` of the right time: until
/// when they are handed out, and when they are renewed, by the time that passes.
#[test]
fn a_wrong_clock_never_withholds_fresh_credentials() {
    const HOUR: i64 = 3600;
    const NO_END: u64 = u64::MAX;
    const BASE: u64 = 1_000_000_000;
    for (life, ahead, ends, renewed) in [
        (HOUR, 0, 3600, 3300),
        (HOUR, 600, 3000, 2700),
        (HOUR, HOUR, NO_END, 600),
        (HOUR, 2 * HOUR, NO_END, 600),
        (6 * HOUR, 7 * HOUR, NO_END, 600),
        (6 * HOUR, 900_000_000, NO_END, 600),
        (HOUR, -600, 4200, 3900),
        // AWS refuses them after an hour.
        (HOUR, -2 * HOUR, 3 * 3600, 3 * 3600 - 300),
        (6 * HOUR, -30 * HOUR, 36 * 3600, 36 * 3600 - 300),
        (6 * HOUR, -31 * HOUR, NO_END, 36 * 3600 - 300),
        (6 * HOUR, -900_000_000, NO_END, 36 * 3600 - 300),
    ] {
        let given = creds("A", Some(BASE.saturating_add_signed(life)));
        let thought = time(BASE.saturating_add_signed(ahead));
        let mut schedule = RenewalSchedule::default();
        schedule
            .fetched(given, Renewal::Timed, at(0), thought, 0.0)
            .unwrap();
        assert_eq!(schedule.next(at(0)), due(renewed), "{life} {ahead}");
        let last = if ends == NO_END {
            100_000_000
        } else {
            ends - 1
        };
        assert!(schedule.is_available(at(last)), "{life} {ahead}");
        let over = ends != NO_END && !schedule.is_available(at(ends));
        assert_eq!(over, ends != NO_END, "{life} {ahead}");
    }
}

/// NTP sets the clock, or the host wakes up: renewed soon, once, and what is in hand is used on.
#[test]
fn a_wall_clock_that_jumps_renews() {
    for (before, after) in [(7_200, 0), (0, 7_200), (61, 0)] {
        let mut schedule = RenewalSchedule::default();
        let given = creds("A", Some(3_600));
        schedule
            .fetched(given, Renewal::Timed, behind(0, before), time(0), 0.0)
            .unwrap();
        assert_eq!(schedule.next(behind(20, before)), due(3_300));
        assert_eq!(schedule.next(behind(20, after)), due(30), "not at once");
        let now = behind(40, after);
        assert_eq!(schedule.next(now), NextStep::Now);
        assert!(schedule.is_available(now));
        let given = creds("B", Some(3_640));
        schedule
            .fetched(given, Renewal::Timed, now, time(40), 0.0)
            .unwrap();
        assert_eq!(schedule.next(now), due(3_340), "once");
    }
    let schedule = holding("A", Some(3600), Renewal::Timed);
    assert_eq!(schedule.next(behind(100, 60)), due(3_300), "NTP at work");
    let mut schedule = RenewalSchedule::default();
    schedule.failed(behind(100, 7_200), 0.0);
    assert_eq!(schedule.next(at(100)), due(101), "no pause is stretched");
}

#[test]
fn older_credentials_do_not_replace_those_in_hand() {
    let mut schedule = holding("A", Some(900), Renewal::Timed);
    let older = creds("B", Some(700));
    let answer = schedule.fetched(older.clone(), Renewal::Timed, at(700), time(700), 0.0);
    assert_eq!(answer, Err(time(700)));
    assert_eq!(schedule.failures(), 1);
    assert_eq!(id(&mut schedule, 700).as_deref(), Some("A"));
    // Unless AWS has refused those in hand.
    assert!(schedule.reject(1, at(701)));
    fetch(&mut schedule, older, Renewal::Timed, 702);
    assert_eq!(id(&mut schedule, 702).as_deref(), Some("B"));
}

#[test]
fn credentials_that_come_expired_are_used_and_asked_for_again() {
    for renewal in [Renewal::Timed, Renewal::Stable] {
        for (random, again) in [(0.0, 600), (1.0, 900)] {
            let mut schedule = RenewalSchedule::default();
            let expired = creds("A", Some(10));
            schedule
                .fetched(expired, renewal, at(5_000), time(5_000), random)
                .unwrap();
            assert_eq!(schedule.next(at(5_000)), due(5_000 + again));
            let until = (renewal == Renewal::Stable).then(|| time(5_000 + again));
            assert_eq!(schedule.used_until(at(5_000)), until);
            for (given, end, now) in [("A", 10, 6_000), ("A", 10, 7_000), ("B", 20, 8_000)] {
                let given = creds(given, Some(end));
                schedule
                    .fetched(given, renewal, at(now), time(now), random)
                    .expect("they are no older");
                assert_eq!(schedule.next(at(now)), due(now + again));
            }
            assert_eq!(id(&mut schedule, 8_000).as_deref(), Some("B"));
            fetch(&mut schedule, creds("A", Some(20)), renewal, 5_000);
            assert_eq!(id(&mut schedule, 50_000).as_deref(), Some("A"));
            let generation = schedule.generation();
            assert!(
                schedule.reject(generation, at(5_001)),
                "a refusal ends them"
            );
            assert_eq!(schedule.next(at(5_001)), NextStep::Now);
            schedule.failed(at(5_002), 0.0);
            assert!(matches!(schedule.next(at(5_002)), NextStep::At(_)));
        }
    }
}

#[test]
fn ec2_credentials_outlive_an_outage() {
    for (random, extended) in [(0.0, 300), (1.0, 900)] {
        let mut schedule = holding("A", Some(1000), Renewal::Stable);
        schedule.failed(at(800), random);
        assert_eq!(schedule.used_until(at(800)), Some(time(800 + extended)));
        assert_eq!(schedule.ends(), Some(at(800 + extended).monotonic));
        assert!(matches!(schedule.next(at(800)), NextStep::At(_)));
    }
    let mut schedule = holding("A", Some(10_000), Renewal::Stable);
    schedule.failed(at(3_300), 0.0);
    assert_eq!(
        schedule.used_until(at(3_300)),
        Some(time(10_000)),
        "still far from expiry"
    );
    assert_eq!(id(&mut schedule, 20_000).as_deref(), Some("A"));
    assert_eq!(schedule.next(at(20_000)), NextStep::Now);
}

#[derive(Debug, Clone)]
enum Step {
    Fetched(Option<i64>, Renewal),
    Failed,
    Rejected,
    Asked,
    /// Somebody sets the wall clock.
    Set(u64),
}

fn step() -> impl Strategy<Value = (u64, f64, Step)> {
    let renewal = prop_oneof![Just(Renewal::Timed), Just(Renewal::Stable)];
    let step = prop_oneof![
        (proptest::option::of(-20_000..20_000i64), renewal).prop_map(|(e, r)| Step::Fetched(e, r)),
        Just(Step::Failed),
        Just(Step::Rejected),
        Just(Step::Asked),
        (0..40_000u64).prop_map(Step::Set),
    ];
    (0..4_000u64, 0.0..1.0, step)
}

proptest! {
    /// Whatever the wall clock does: no two attempts within a second, an attempt always follows
    /// where one is needed, and credentials are withheld only after their measured life.
    #[test]
    fn attempts_are_neither_rushed_nor_forgotten(
        steps in proptest::collection::vec(step(), 1..30),
    ) {
        let mut schedule = RenewalSchedule::default();
        let (mut now, mut wrong) = (100_000, 0);
        let mut over = None;
        for (passed, random, step) in steps {
            now += passed;
            let reading = behind(now, wrong);
            match step {
                Step::Fetched(life, renewal) => {
                    let expires = life.map(|life| now.saturating_add_signed(life) - wrong);
                    let given = creds("A", expires);
                    if schedule.fetched(given, renewal, reading, reading.wall, random).is_ok() {
                        over = life.filter(|life| *life > 0).map(|life| now + life as u64);
                    }
                    prop_assert_ne!(schedule.next(reading), NextStep::Now);
                }
                Step::Failed => {
                    schedule.failed(reading, random);
                    prop_assert_ne!(schedule.next(reading), NextStep::Now);
                }
                Step::Rejected => {
                    schedule.reject(1, reading);
                }
                Step::Asked => {
                    let issued = schedule.current(reading);
                    if issued.is_none() {
                        prop_assert_ne!(schedule.next(reading), NextStep::Asleep);
                    }
                    let held = schedule.generation() > 0;
                    let still_lives = held && over.is_none_or(|over| over > now);
                    let expected = still_lives || (held && schedule.renewal == Renewal::Stable);
                    prop_assert_eq!(issued.is_some(), expected);
                }
                Step::Set(to) => wrong = to,
            }
            let reading = behind(now, wrong);
            if let NextStep::At(due) = schedule.next(reading) {
                prop_assert!(due > reading.monotonic);
                let then = now + (due - reading.monotonic).as_secs() + 1;
                let then = schedule.next(behind(then, wrong));
                prop_assert!(then == NextStep::Now || then == NextStep::Asleep);
            }
        }
    }
}
