//! The uploader with everybody who sends it events, in any order, without threads.

mod compression;
mod fake_spool;
mod simulation;
mod spans;
mod spooled_spans;
mod spooling;

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::upload::health::Health;
use simulation::{Answer, Simulation};

#[derive(Debug, Clone)]
enum Step {
    Documents(usize, usize),
    BadDocument,
    Spans(usize, usize, bool),
    SpansOnCredit(usize, usize),
    ReceiveSpans,
    Target,
    Credentials(bool),
    Threads(bool),
    Finishes(Index, Answer),
    Passes(Duration),
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Delivered),
        1 => Just(Answer::SomeUnprocessed),
        1 => Just(Answer::AllToBeRetried),
        2 => Just(Answer::Unavailable),
        1 => (0u64..60).prop_map(Answer::Throttled),
        1 => Just(Answer::Refused),
        1 => Just(Answer::WithoutReason),
        1 => Just(Answer::NotXRay),
        1 => Just(Answer::ExpiredToken),
        1 => Just(Answer::Unreachable),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let documents = prop_oneof![
        (1usize..50).prop_map(|count| (count, 10)),
        (1usize..12).prop_map(|count| (count, 3_000)),
    ];
    prop_oneof![
        6 => documents.prop_map(|(count, size)| Step::Documents(count, size)),
        1 => Just(Step::BadDocument),
        3 => (1usize..40, 10usize..60_000, any::<bool>())
            .prop_map(|(spans, size, gzip)| Step::Spans(spans, size, gzip)),
        3 => (1usize..40, 10usize..60_000)
            .prop_map(|(spans, size)| Step::SpansOnCredit(spans, size)),
        2 => Just(Step::ReceiveSpans),
        1 => Just(Step::Target),
        1 => prop::bool::weighted(0.6).prop_map(Step::Credentials),
        1 => prop::bool::weighted(0.7).prop_map(Step::Threads),
        8 => (any::<Index>(), answer()).prop_map(|(which, answer)| Step::Finishes(which, answer)),
        4 => (0u64..2000).prop_map(|ms| Step::Passes(Duration::from_millis(ms))),
        1 => Just(Step::Passes(Duration::from_secs(61))),
    ]
}

impl Simulation {
    fn step(&mut self, step: Step) {
        match step {
            Step::Documents(count, size) => self.documents(count, size),
            Step::BadDocument => self.bad_document(),
            Step::Spans(spans, size, gzip) => drop(self.spans(spans, size, gzip)),
            Step::SpansOnCredit(spans, size) => drop(self.take_on_credit(spans, size)),
            Step::ReceiveSpans => self.receive_spans(),
            Step::Target => self.target(),
            Step::Credentials(available) => self.credentials(available),
            Step::Threads(available) => self.threads = available,
            Step::Finishes(which, answer) => {
                if !self.out.is_empty() {
                    let index = which.index(self.out.len());
                    self.finish(index, &answer);
                }
            }
            Step::Passes(time) => self.pass(time),
        }
    }
}

/// What is wrong when the daemon is told to stop.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Nothing,
    Service,
    NoAnswer,
    NoCredentials,
}

/// A quarter of the usual number, since each case is many steps.
fn some_cases() -> ProptestConfig {
    ProptestConfig::with_cases(ProptestConfig::default().cases / 4)
}

proptest! {
    #![proptest_config(some_cases())]

    #[test]
    fn whatever_happens_everything_is_delivered_when_all_is_well(
        steps in prop::collection::vec(step(), 0..120),
        concurrency in 1usize..5,
        limit in 100_000usize..300_000,
    ) {
        let mut simulation = Simulation::new(concurrency, limit);
        for step in steps {
            simulation.step(step);
        }
        simulation.threads = true;
        simulation.target();
        simulation.credentials(true);
        simulation.run(Some(&Answer::Delivered), Duration::from_secs(130));
        let counts = simulation.uploader.counts();
        prop_assert_eq!(counts.held, 0);
        prop_assert_eq!(simulation.uploader.span_counts().spans.held, 0);
        prop_assert!(simulation.out.is_empty());
    }

    #[test]
    fn whatever_happens_it_ends_in_time(
        steps in prop::collection::vec(step(), 0..120),
        concurrency in 1usize..5,
        patience in prop_oneof![0u64..5, 60u64..150],
        wrong in prop_oneof![
            Just(Wrong::Nothing),
            Just(Wrong::Service),
            Just(Wrong::NoAnswer),
            Just(Wrong::NoCredentials),
        ],
    ) {
        let mut simulation = Simulation::ready(concurrency, 200_000);
        for step in steps {
            simulation.step(step);
        }
        simulation.threads = true;
        simulation.target();
        simulation.credentials(!matches!(wrong, Wrong::NoCredentials));
        let answer = match wrong {
            Wrong::Service => Some(&Answer::Unavailable),
            Wrong::NoAnswer => None,
            _ => Some(&Answer::Delivered),
        };
        let told = simulation.now;
        let before = simulation.uploader.counts();
        let counts = simulation.shut_down(answer, Duration::from_secs(patience));
        prop_assert!(simulation.now <= told + Duration::from_secs(patience));
        prop_assert_eq!(counts.held, 0);
        prop_assert_eq!(
            counts.received,
            counts.sent + counts.rejected + counts.spilled
        );
        if matches!(wrong, Wrong::Nothing) && patience > 10 {
            prop_assert_eq!(counts.spilled, before.spilled);
        }
    }
}

#[test]
fn one_bad_document_costs_nobody_else() {
    for answer in [Answer::Refused, Answer::WithoutReason] {
        let mut simulation = Simulation::ready(1, 3_000_000);
        simulation.documents(20, 10);
        simulation.bad_document();
        simulation.documents(20, 10);
        for _ in 0..40 {
            simulation.run(Some(&Answer::judging(&answer)), Duration::from_secs(2));
            simulation.documents(3, 10);
        }
        simulation.run(Some(&Answer::judging(&answer)), Duration::from_secs(60));
        let counts = simulation.uploader.counts();
        assert_eq!((counts.rejected, counts.held), (1, 0), "{answer:?}");
        assert_eq!(counts.sent, counts.received - 1, "{answer:?}");
    }
}

#[test]
fn a_service_that_answers_400_without_a_reason_is_asked_at_most_twelve_times_in_six_seconds() {
    let mut simulation = Simulation::ready(8, 3_000_000);
    simulation.documents(45, 10);
    simulation.documents(45, 10);
    simulation.documents(45, 10);
    let at_once = simulation.out.len();
    simulation.run(Some(&Answer::WithoutReason), Duration::from_secs(6));
    assert!(
        simulation.requests <= 12 + at_once,
        "{}",
        simulation.requests
    );
    let counts = simulation.uploader.counts();
    assert_eq!((counts.rejected, counts.held), (0, 135));
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(60));
    assert_eq!(simulation.uploader.counts().sent, 135);
}

#[test]
fn a_service_that_refuses_everything_is_an_outage_for_ten_minutes() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    for _ in 0..5 {
        simulation.documents(50, 10);
    }
    simulation.run(Some(&Answer::Refused), Duration::from_secs(590));
    let counts = simulation.uploader.counts();
    // Two batches had been halved before it was clear.
    assert!(counts.rejected <= 100, "{counts}");
    let rejected_before = counts.rejected;
    simulation.run(Some(&Answer::Refused), Duration::from_secs(120));
    assert!(simulation.uploader.counts().rejected > rejected_before);
    let rejected = simulation.uploader.counts().rejected;
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(60));
    let counts = simulation.uploader.counts();
    assert_eq!((counts.held, counts.rejected), (0, rejected));
}

#[test]
fn documents_that_x_ray_wants_again_are_sent_again_and_at_last_rejected() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.documents(10, 10);
    simulation.run(Some(&Answer::AllToBeRetried), Duration::from_secs(1));
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(10));
    assert_eq!(simulation.uploader.counts().sent, 10);
    simulation.documents(10, 10);
    simulation.run(Some(&Answer::AllToBeRetried), Duration::from_secs(620));
    let counts = simulation.uploader.counts();
    assert_eq!((counts.sent, counts.rejected), (10, 10));
}

/// It throttles as a 429 does, whatever the status of its answers.
#[test]
fn a_service_that_takes_none_of_the_documents_for_now_is_backed_off_from() {
    let mut simulation = Simulation::ready(4, 3_000_000);
    for _ in 0..8 {
        simulation.documents(50, 10);
    }
    let at_once = simulation.out.len();
    simulation.run(Some(&Answer::AllToBeRetried), Duration::from_secs(6));
    let requests = simulation.requests;
    assert!(requests <= 12 + at_once, "{requests}");
    assert!(!simulation.is_healthy());
    simulation.run(Some(&Answer::AllToBeRetried), Duration::from_secs(300));
    let counts = simulation.uploader.counts();
    assert_eq!((counts.rejected, counts.held), (0, 400), "{counts}");
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(60));
    assert_eq!(simulation.uploader.counts().sent, 400);
}

#[test]
fn at_the_end_a_service_that_takes_nothing_for_now_is_asked_at_a_pace_and_rejects_nothing() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.documents(5, 10);
    let told = simulation.requests;
    let counts = simulation.shut_down(Some(&Answer::AllToBeRetried), Duration::from_secs(5));
    assert_eq!((counts.rejected, counts.spilled), (0, 5), "{counts}");
    let requests = simulation.requests - told;
    assert!(requests <= 50, "{requests}");
}

/// Some documents make a service fail. What says nothing of documents never rejects one.
#[test]
fn a_document_that_makes_the_service_fail_holds_up_nobody_else() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.documents(20, 10);
    simulation.bad_document();
    simulation.documents(20, 10);
    let answer = Answer::judging(&Answer::Unavailable);
    for _ in 0..20 {
        simulation.run(Some(&answer), Duration::from_secs(2));
        simulation.documents(50, 10);
    }
    simulation.run(Some(&answer), Duration::from_secs(60));
    let counts = simulation.uploader.counts();
    assert_eq!((counts.rejected, counts.held), (0, 1), "{counts}");
    assert_eq!(counts.sent, counts.received - 1, "{counts}");
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(60));
    assert_eq!(simulation.uploader.counts().held, 0);
}

#[test]
fn a_refusal_of_old_credentials_asks_for_nothing_and_one_of_the_current_ones_once() {
    let mut simulation = Simulation::ready(2, 3_000_000);
    simulation.documents(5, 10);
    simulation.credentials(true);
    simulation.finish(0, &Answer::ExpiredToken);
    assert_eq!(simulation.rejected_generations, [0; 0]);
    assert_eq!(simulation.out.len(), 1, "sent again at once");
    let generation = simulation.generation;
    simulation.finish(0, &Answer::ExpiredToken);
    assert_eq!(simulation.rejected_generations, [generation]);
    assert_eq!(simulation.out.len(), 0, "newer ones are waited for");
    assert!(simulation.is_healthy(), "the service works");
    simulation.credentials(true);
    assert_eq!(simulation.out.len(), 1);
    simulation.finish(0, &Answer::Delivered);
    assert_eq!(simulation.uploader.counts().sent, 5);
}

#[test]
fn credentials_that_never_change_are_tried_again() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.documents(5, 10);
    simulation.run(Some(&Answer::ExpiredToken), Duration::from_secs(60));
    assert_eq!(simulation.rejected_generations, [simulation.generation]);
    assert!(
        (8..40).contains(&simulation.requests),
        "{}",
        simulation.requests
    );
}

#[test]
fn in_flight_takes_at_most_half_of_the_buffer() {
    let mut simulation = Simulation::ready(8, 2_000_000);
    for _ in 0..8 {
        simulation.documents(9, 30_000);
    }
    assert!(
        (2..=4).contains(&simulation.out.len()),
        "{}",
        simulation.out.len()
    );
}

#[test]
fn a_thread_that_cannot_be_had_is_no_failure_of_the_service() {
    let mut simulation = Simulation::ready(4, 3_000_000);
    simulation.threads = false;
    for _ in 0..4 {
        simulation.documents(50, 10);
    }
    assert_eq!(simulation.out.len(), 1);
    assert!(simulation.is_healthy());
    simulation.threads = true;
    simulation.pass(Duration::from_secs(4));
    assert_eq!(simulation.out.len(), 1, "five seconds after the refusal");
    simulation.pass(Duration::from_secs(2));
    assert!(simulation.out.len() > 1);
}

#[test]
fn only_senders_that_all_hang_while_segments_wait_are_a_problem() {
    let mut simulation = Simulation::ready(2, 3_000_000);
    for _ in 0..4 {
        simulation.documents(50, 10);
    }
    assert_eq!(simulation.out.len(), 2);
    simulation.pass(Duration::from_secs(61));
    assert!(simulation.uploader.health(simulation.now).problem.is_some());
    simulation.finish(0, &Answer::Unavailable);
    let health = simulation.uploader.health(simulation.now);
    assert_eq!(health.problem, None);
    assert!(health.notes.len() == 2, "{:?}", health.notes);
}

/// The log has that list already, once.
#[test]
fn health_alone_lists_all_places_without_credentials() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    let error = "no AWS credentials found: environment: nothing; IMDS: nothing";
    simulation.credentials_or(false, error);
    simulation.documents(50, 10);
    let health = simulation.uploader.health(simulation.now);
    assert_eq!(
        health.notes,
        [
            "cannot upload for 0 s: no AWS credentials found".to_owned(),
            format!("no AWS credentials for 0 s ({error})"),
        ]
    );
}

/// X-Ray closes connections that are idle for long: this is no outage.
#[test]
fn a_kept_connection_that_was_closed_is_no_failure() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.documents(50, 10);
    simulation.finish(0, &Answer::ClosedIdle);
    assert_eq!(simulation.out.len(), 1, "it is sent again at once");
    assert!(simulation.is_healthy());
    assert_eq!(
        simulation.uploader.health(simulation.now),
        Health::default()
    );
}

#[test]
fn health_says_that_nothing_can_be_signed_although_nothing_is_held() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.credentials(false);
    simulation.pass(Duration::from_secs(7));
    let health = simulation.uploader.health(simulation.now);
    assert_eq!(health.problem, None);
    assert_eq!(
        health.notes,
        ["no AWS credentials for 7 s (nobody has any)"]
    );
    simulation.credentials(true);
    assert_eq!(
        simulation.uploader.health(simulation.now),
        Health::default()
    );
}

#[test]
fn with_nothing_held_the_shutdown_ends_at_once() {
    for mut simulation in [
        Simulation::new(1, 3_000_000),
        Simulation::ready(1, 3_000_000),
    ] {
        let told = simulation.now;
        simulation.shut_down(None, Duration::from_secs(10));
        assert_eq!(simulation.now, told);
    }
}

#[test]
fn idle_senders_end_but_for_the_first() {
    let mut simulation = Simulation::ready(4, 3_000_000);
    for _ in 0..4 {
        simulation.documents(50, 10);
    }
    assert_eq!(simulation.uploader.snapshot(simulation.now).senders, 4);
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(15));
    assert_eq!(simulation.uploader.snapshot(simulation.now).senders, 1);
    assert_eq!(simulation.ended.len(), 3);
}

/// The thread did not run when a segment was to be sent again, between an event and its next look at the time.
#[test]
fn what_has_become_due_meanwhile_does_not_wait_for_another_event() {
    let mut simulation = Simulation::ready(1, 1_000_000);
    simulation.documents(1, 100);
    simulation.finish(0, &Answer::AllToBeRetried);
    simulation.now += Duration::from_secs(1);
    let due = simulation.uploader.next_deadline();
    assert!(due.is_some_and(|at| at < simulation.now));
}
