//! The desk with everything that can come to it, in any order.

mod cases;
mod checks;
mod parts;
mod world;

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use parts::Outcome;
use world::{Lane, State, World};

#[derive(Debug, Clone)]
enum Step {
    Documents(usize, usize),
    Target,
    Credentials(bool),
    Threads(bool),
    Ping,
    /// The uploader, when it is awake.
    Turn,
    /// A lane that was called, is out, or rests.
    Comes(Index),
    Returns(Index, Outcome),
    Ends(Index),
    Passes(Duration),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let after = prop::option::of((0u64..60).prop_map(Duration::from_secs));
    prop_oneof![
        4 => Just(Outcome::Delivered { unprocessed: 0 }),
        1 => (0usize..70).prop_map(|unprocessed| Outcome::Delivered { unprocessed }),
        2 => (after, any::<bool>()).prop_map(|(after, stale)| Outcome::Held { after, stale }),
        1 => Just(Outcome::Refused),
        1 => Just(Outcome::Unreachable),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let documents = prop_oneof![
        (1usize..70).prop_map(|count| (count, 10)),
        (1usize..12).prop_map(|count| (count, 30_000)),
    ];
    prop_oneof![
        6 => documents.prop_map(|(count, size)| Step::Documents(count, size)),
        1 => Just(Step::Target),
        1 => prop::bool::weighted(0.6).prop_map(Step::Credentials),
        1 => prop::bool::weighted(0.7).prop_map(Step::Threads),
        1 => Just(Step::Ping),
        8 => Just(Step::Turn),
        8 => any::<Index>().prop_map(Step::Comes),
        6 => (any::<Index>(), outcome()).prop_map(|(lane, how)| Step::Returns(lane, how)),
        1 => any::<Index>().prop_map(Step::Ends),
        4 => (0u64..2000).prop_map(|ms| Step::Passes(Duration::from_millis(ms))),
        1 => Just(Step::Passes(Duration::from_secs(61))),
    ]
}

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Documents(count, size) => self.documents(count, size),
            Step::Target => self.target(),
            Step::Credentials(valid) => self.credentials(valid),
            Step::Threads(threads) => self.threads = threads,
            Step::Ping => {
                self.event(Event::Ping(std::sync::mpsc::sync_channel(1).0));
                assert!(!matches!(self.uploader, State::Asleep(_)));
            }
            Step::Turn => self.turn(),
            Step::Comes(which) => self.with_lane(which, Lane::is_called, World::comes),
            Step::Returns(which, how) => {
                self.with_lane(which, Lane::is_carrying, |world, lane| {
                    world.returns(lane, &how)
                });
            }
            Step::Ends(which) => self.with_lane(which, Lane::is_resting, World::ends),
            Step::Passes(time) => self.passes(time),
        }
    }

    /// One of the lanes that are so, if there is any.
    fn with_lane(
        &mut self,
        which: Index,
        so: impl Fn(&Lane) -> bool,
        work: impl FnOnce(&mut World, usize),
    ) {
        let lanes: Vec<usize> = self.lanes_that(so).collect();
        if !lanes.is_empty() {
            work(self, *which.get(&lanes));
        }
    }

    /// Lets everybody do what there is to be done, until then. `None`: the backend does not answer.
    fn goes_on(&mut self, outcome: Option<&Outcome>, until: Instant) {
        for _ in 0..20_000 {
            if matches!(self.uploader, State::Awake | State::Starting(_)) {
                self.turn();
            } else if let Some(lane) = self.lane(Lane::is_called) {
                self.comes(lane);
            } else if let (Some(lane), Some(outcome)) = (self.lane(Lane::is_carrying), outcome) {
                self.returns(lane, outcome);
            } else if let State::Asleep(Some(next)) = self.uploader
                && next <= until
            {
                self.passes(next - self.now);
            } else {
                return;
            }
        }
        panic!("they never rest");
    }
}

const DELIVERED: Outcome = Outcome::Delivered { unprocessed: 0 };

/// What is wrong when the daemon is told to stop.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Nothing,
    Backend,
    NoAnswer,
    NoCredentials,
    NoThreads,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_everything_is_delivered_when_all_is_well(
        steps in prop::collection::vec(step(), 0..120),
        concurrency in 1usize..5,
        limit in 100_000usize..2_000_000,
    ) {
        let mut world = World::new(concurrency, limit);
        for step in steps {
            world.step(step);
        }
        world.threads = true;
        world.target();
        world.credentials(true);
        world.goes_on(Some(&DELIVERED), world.now + Duration::from_secs(130));
        prop_assert_eq!(world.books.totals().held(), 0);
        prop_assert_eq!(world.desk.outbox.clone(), None);
    }

    #[test]
    fn whatever_happens_it_ends_in_time(
        steps in prop::collection::vec(step(), 0..120),
        concurrency in 1usize..5,
        patience in prop_oneof![0u64..5, 60u64..150],
        wrong in prop_oneof![
            Just(Wrong::Nothing),
            Just(Wrong::Backend),
            Just(Wrong::NoAnswer),
            Just(Wrong::NoCredentials),
            Just(Wrong::NoThreads),
        ],
    ) {
        let mut world = World::ready(concurrency);
        for step in steps {
            world.step(step);
        }
        let credentials = !matches!(wrong, Wrong::NoCredentials);
        if world.may_send() != credentials {
            world.target();
            world.credentials(credentials);
        }
        world.threads = !matches!(wrong, Wrong::NoThreads);
        let outcome = match wrong {
            Wrong::Backend => Some(&Outcome::Unreachable),
            Wrong::NoAnswer => None,
            _ => Some(&DELIVERED),
        };
        let told = world.now;
        let deadline = told + Duration::from_secs(patience);
        world.event(Event::Stop(deadline));
        let before = world.books.totals();
        world.goes_on(outcome, deadline);
        prop_assert_eq!(world.uploader, State::Ended);
        let after = world.books.totals();
        if matches!(wrong, Wrong::Nothing) && patience > 0 {
            prop_assert_eq!(world.now, told, "whatever wait was asked for before");
            prop_assert_eq!(after.spilled, before.spilled);
        }
        // Those who come too late change nothing, and get nothing more to do.
        for lane in world.lanes_that(Lane::is_carrying).collect::<Vec<_>>() {
            world.returns(lane, &DELIVERED);
        }
        world.goes_on(outcome, deadline);
        prop_assert_eq!(world.lane(|lane| !lane.is_resting()), None);
        prop_assert_eq!(world.books.totals().to_string(), after.to_string());
    }
}
