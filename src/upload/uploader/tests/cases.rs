//! What once went wrong, each with how it showed.

use std::sync::mpsc::{TryRecvError, sync_channel};
use std::time::Duration;

use super::super::*;
use super::DELIVERED;
use super::parts::Outcome;
use super::world::{Lane, State, World};
use crate::upload::sender::{Cargo, Job};

const MINUTE: Duration = Duration::from_secs(60);

/// Some documents have been delivered, and all rest.
fn at_rest(concurrency: usize) -> World {
    let mut world = World::ready(concurrency);
    world.documents(150, 10);
    world.goes_on(Some(&DELIVERED), world.now);
    assert_eq!(world.books.totals().sent, 150);
    world
}

fn carries_telemetry(lane: &Lane) -> bool {
    matches!(
        lane,
        Lane::Carrying(Job {
            cargo: Cargo::Telemetry(_),
            ..
        })
    )
}

/// The uploader slept for no time at all until the end, because nobody minded what was due.
#[test]
fn telemetry_that_falls_due_while_stopping_keeps_nobody_awake() {
    let mut world = at_rest(1);
    world.documents(1, 10);
    let end = world.now + 2 * MINUTE;
    world.event(Event::Stop(end));
    world.goes_on(Some(&Outcome::Unreachable), end);
    assert_eq!(world.uploader, State::Ended);
}

/// The daemon stopped at its deadline instead of at once.
#[test]
fn telemetry_that_cannot_go_does_not_hold_up_the_end() {
    for (credentials, threads) in [(false, true), (true, false)] {
        let mut world = at_rest(1);
        let lane = world.lane(Lane::is_resting).unwrap();
        world.ends(lane);
        world.credentials(credentials);
        world.threads = threads;
        let end = world.now + MINUTE;
        world.event(Event::Stop(end));
        world.goes_on(Some(&DELIVERED), end);
        assert_eq!(world.uploader, State::Ended);
        assert!(world.now < end);
    }
}

/// The last record was given up when one was on its way at the end.
#[test]
fn the_last_record_follows_the_one_that_is_out() {
    let mut world = at_rest(1);
    world.passes(MINUTE);
    world.goes_on(None, world.now);
    let lane = world.lane(carries_telemetry).unwrap();
    world.event(Event::Stop(world.now + MINUTE));
    world.goes_on(None, world.now);
    world.returns(lane, &DELIVERED);
    world.goes_on(None, world.now);
    assert_eq!(world.lane(carries_telemetry), Some(lane));
}

/// It was taken for a failure of X-Ray, and the first answer for its end: the lanes that there were
/// went one at a time, and the log got two lines with each answer.
#[test]
fn the_other_lanes_go_on_when_there_is_no_thread() {
    let mut world = World::ready(2);
    world.documents(50, 10);
    world.goes_on(None, world.now);
    let lane = world.lane(Lane::is_carrying).unwrap();
    world.threads = false;
    world.documents(150, 10);
    world.goes_on(None, world.now);
    assert!(world.desk.back_off.is_healthy());
    world.returns(lane, &DELIVERED);
    world.comes(lane);
    assert!(
        matches!(world.uploader, State::Asleep(_)),
        "no second try at once"
    );
    world.passes(MINUTE);
    world.threads = true;
    world.goes_on(None, world.now);
    assert_eq!(world.lanes.len(), 2);
}

/// While the first of those that rest was on its way, another was started.
#[test]
fn no_lane_is_started_while_one_rests() {
    let mut world = at_rest(4);
    assert_eq!(world.count(Lane::is_resting), 3);
    world.credentials(false);
    world.documents(200, 10);
    world.credentials(true);
    world.passes(Duration::from_secs(1));
    world.turn();
    assert!(matches!(world.uploader, State::Asleep(_)));
}

/// The metrics showed it until the next segment came.
#[test]
fn a_lane_that_has_ended_is_not_shown() {
    let mut world = at_rest(1);
    assert_eq!(world.gauges.lanes(), 1);
    let lane = world.lane(Lane::is_resting).unwrap();
    world.ends(lane);
    assert_eq!(world.gauges.lanes(), 0);
}

/// Each took memory for as long as the uploader did not answer.
#[test]
fn no_more_questions_wait_than_can_be_asked_at_once() {
    let mut world = World::ready(1);
    let answers: Vec<_> = (0..1000)
        .map(|_| {
            let (answer, answered) = sync_channel(1);
            world.event(Event::Ping(answer));
            answered
        })
        .collect();
    let count = |what| answers.iter().filter(|one| one.try_recv() == what).count();
    assert_eq!(count(Err(TryRecvError::Disconnected)), 1000 - 128);
    world.turn();
    assert_eq!(count(Ok(())), 128);
}
