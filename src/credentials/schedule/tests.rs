use super::*;
use proptest::prelude::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn creds(id: &str, expires: Option<u64>) -> Credentials {
    Credentials::new(id, "hush", None, expires.map(at), "test")
}

/// Holds `id`, fetched at 0 without jitter.
fn holding(id: &str, expires: Option<u64>, renewal: Renewal) -> RenewalSchedule {
    let mut schedule = RenewalSchedule::default();
    schedule
        .fetched(creds(id, expires), renewal, at(0), 0.0)
        .unwrap();
    schedule
}

fn id(schedule: &mut RenewalSchedule, now: u64) -> Option<String> {
    let held = schedule.current(at(now))?;
    Some(held.credentials.access_key_id().to_owned())
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
    ] {
        for (random, expected) in [(0.0, earliest), (1.0, latest)] {
            let mut schedule = RenewalSchedule::default();
            assert_eq!(schedule.next(at(0)), Next::Now);
            schedule
                .fetched(creds("A", Some(life)), renewal, at(0), random)
                .unwrap();
            let due = at(0) + Duration::from_secs_f64(expected);
            assert_eq!(schedule.next(at(0)), Next::At(due), "{life} {random}");
            assert_eq!(schedule.next(due), Next::Now, "{life} {random}");
        }
    }
}

#[test]
fn credentials_without_expiry_are_renewed_on_refusal_only() {
    let mut schedule = holding("A", None, Renewal::Timed);
    assert_eq!(schedule.next(at(1_000_000)), Next::Asleep);
    assert!(schedule.reject(1, at(10)));
    assert_eq!(schedule.next(at(10)), Next::Now);
    schedule.failed(at(11), 0.0);
    assert_eq!(schedule.next(at(11)), Next::Asleep, "they may still work");
    assert_eq!(id(&mut schedule, 12).as_deref(), Some("A"));
}

#[test]
fn fixed_credentials_end_the_work() {
    let mut schedule = holding("A", None, Renewal::Fixed);
    assert_eq!(schedule.next(at(1)), Next::Done);
    assert!(!schedule.reject(1, at(1)));
    assert_eq!(schedule.next(at(1)), Next::Done);
    assert_eq!(id(&mut schedule, 2).as_deref(), Some("A"));
}

#[test]
fn a_failed_schedule_keeps_what_still_works_and_no_longer() {
    let mut schedule = holding("A", Some(3600), Renewal::Timed);
    // A quarter of what is left, between 5 and 60 s.
    for (now, pause) in [(3300, 60), (3400, 50), (3590, 5)] {
        assert_eq!(schedule.next(at(now)), Next::Now);
        schedule.failed(at(now), 0.0);
        assert_eq!(schedule.next(at(now)), Next::At(at(now + pause)));
        assert_eq!(id(&mut schedule, now).as_deref(), Some("A"));
    }
    assert_eq!(id(&mut schedule, 3599).as_deref(), Some("A"));
    assert_eq!(id(&mut schedule, 3600), None, "equal is expired");
}

#[test]
fn without_credentials_attempts_slow_down_and_rest_unless_somebody_asks() {
    let mut schedule = RenewalSchedule::default();
    let mut now = 0;
    for pause in [1, 2, 4, 8, 16] {
        assert_eq!(schedule.next(at(now)), Next::Now);
        schedule.failed(at(now), 0.0);
        assert_eq!(schedule.next(at(now)), Next::At(at(now + pause)));
        now += pause;
    }
    schedule.failed(at(now), 0.0);
    assert_eq!(schedule.next(at(now + 1_000)), Next::Asleep);

    assert_eq!(id(&mut schedule, now), None);
    assert_eq!(schedule.next(at(now)), Next::At(at(now + 30)));
    schedule.failed(at(now + 30), 0.0);
    assert_eq!(
        schedule.next(at(now + 30)),
        Next::At(at(now + 60)),
        "asked once, tried until it works"
    );
    schedule
        .fetched(
            creds("A", Some(now + 9_000)),
            Renewal::Timed,
            at(now + 60),
            0.0,
        )
        .unwrap();
    assert_eq!(schedule.failures(), 0);
}

#[test]
fn a_clock_set_back_does_not_stretch_a_pause() {
    let mut schedule = RenewalSchedule::default();
    schedule.failed(at(100_000), 0.0);
    assert_eq!(schedule.next(at(50)), Next::Now);

    let mut schedule = holding("A", None, Renewal::Timed);
    assert!(schedule.reject(1, at(100_000)));
    schedule.failed(at(100_000), 0.0);
    assert!(schedule.reject(1, at(50)));
    assert_eq!(schedule.next(at(50)), Next::Now);
}

#[test]
fn a_refusal_forces_one_schedule_in_30_seconds() {
    let mut schedule = holding("A", Some(3600), Renewal::Timed);
    let refused = creds("A", Some(3600));
    assert!(schedule.reject(1, at(100)));
    assert!(schedule.reject(1, at(100)), "the schedule is on its way");
    assert!(schedule.is_rejected());
    assert_eq!(schedule.next(at(100)), Next::Now);
    assert_eq!(id(&mut schedule, 100).as_deref(), Some("A"));
    // The source has nothing newer.
    schedule
        .fetched(refused.clone(), Renewal::Timed, at(101), 0.0)
        .unwrap();
    assert!(!schedule.is_rejected());
    assert!(!schedule.reject(1, at(129)));
    assert_ne!(schedule.next(at(129)), Next::Now);
    assert!(schedule.reject(1, at(130)));
    schedule
        .fetched(creds("B", Some(3600)), Renewal::Timed, at(131), 0.0)
        .unwrap();
    // Late refusals of the old ones are old news.
    assert!(schedule.reject(1, at(132)));
    assert_ne!(schedule.next(at(132)), Next::Now);
}

#[test]
fn fetched_but_expired_is_a_failure_except_on_ec2() {
    let mut schedule = holding("A", Some(900), Renewal::Timed);
    let answer = schedule.fetched(creds("B", Some(700)), Renewal::Timed, at(700), 0.0);
    assert_eq!(answer, Err(at(700)));
    assert_eq!(schedule.failures(), 1);
    assert_eq!(id(&mut schedule, 700).as_deref(), Some("A"));

    for (random, more) in [(0.0, 600), (1.0, 900)] {
        let mut schedule = RenewalSchedule::default();
        let expired = creds("A", Some(10));
        schedule
            .fetched(expired, Renewal::Stable, at(5_000), random)
            .unwrap();
        assert_eq!(schedule.expires(), Some(at(5_000 + more)));
        assert!(matches!(schedule.next(at(5_000)), Next::At(_)));
        assert_eq!(id(&mut schedule, 5_000).as_deref(), Some("A"));
    }
}

#[test]
fn ec2_credentials_outlive_an_outage() {
    for (random, extended) in [(0.0, 300), (1.0, 900)] {
        let mut schedule = holding("A", Some(1000), Renewal::Stable);
        schedule.failed(at(800), random);
        assert_eq!(schedule.expires(), Some(at(800 + extended)));
        assert!(matches!(schedule.next(at(800)), Next::At(_)));
    }
    let mut schedule = holding("A", Some(10_000), Renewal::Stable);
    schedule.failed(at(3_300), 0.0);
    assert_eq!(
        schedule.expires(),
        Some(at(10_000)),
        "still far from expiry"
    );
    // The host was suspended past the expiry.
    assert_eq!(id(&mut schedule, 20_000).as_deref(), Some("A"));
    assert_eq!(schedule.next(at(20_000)), Next::Now);
}

#[derive(Debug, Clone)]
enum Step {
    Fetched(Option<u64>, Renewal),
    Failed,
    Rejected,
    Asked,
}

fn step() -> impl Strategy<Value = (u64, f64, Step)> {
    let renewal = prop_oneof![Just(Renewal::Timed), Just(Renewal::Stable)];
    let step = prop_oneof![
        (proptest::option::of(0..20_000u64), renewal).prop_map(|(e, r)| Step::Fetched(e, r)),
        Just(Step::Failed),
        Just(Step::Rejected),
        Just(Step::Asked),
    ];
    (0..4_000u64, 0.0..1.0, step)
}

proptest! {
    #[test]
    fn never_hands_out_expired_ones_nor_attempts_twice_in_a_second(
        steps in proptest::collection::vec(step(), 1..30),
    ) {
        let mut schedule = RenewalSchedule::default();
        let mut now = 0;
        for (passed, random, step) in steps {
            now += passed;
            match step {
                Step::Fetched(life, renewal) => {
                    let taken = creds("A", life.map(|l| now + l));
                    let _ = schedule.fetched(taken, renewal, at(now), random);
                    prop_assert_ne!(schedule.next(at(now)), Next::Now);
                }
                Step::Failed => {
                    schedule.failed(at(now), random);
                    prop_assert_ne!(schedule.next(at(now)), Next::Now);
                }
                Step::Rejected => {
                    schedule.reject(1, at(now));
                }
                Step::Asked => {
                    match schedule.current(at(now)) {
                        None => prop_assert_ne!(schedule.next(at(now)), Next::Asleep),
                        Some(_) if schedule.renewal == Renewal::Stable => {}
                        Some(_) => prop_assert!(schedule.expires().is_none_or(|end| end > at(now))),
                    }
                }
            }
            if let Next::At(time) = schedule.next(at(now)) {
                prop_assert!(time > at(now));
                prop_assert!(schedule.next(time) == Next::Now || schedule.next(time) == Next::Asleep);
            }
        }
    }
}
