//! What has to wait takes less memory, and what can be sent costs nothing more.

use super::*;

/// Fills a batch of its own.
const FULL: usize = 50;

fn used(simulation: &Simulation) -> usize {
    simulation.uploader.snapshot(simulation.now).buffer_used
}

#[test]
fn what_waits_in_an_outage_takes_a_fraction_and_arrives_as_it_was() {
    let mut simulation = Simulation::ready(8, 3_000_000);
    simulation.documents(FULL, 1000);
    simulation.finish(0, &Answer::Unavailable);
    for _ in 0..150 {
        simulation.documents(FULL, 1000);
    }
    assert!(used(&simulation) < 1_000_000, "{}", used(&simulation));
    let counts = simulation.uploader.counts();
    assert_eq!((counts.held, counts.spilled), (151 * 50, 0));
    // `Simulation` compares each document that goes out with those that came.
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(60));
    assert_eq!(simulation.uploader.counts().sent, 151 * 50);
    assert!(simulation.uploader.packer.is_none(), "memory goes back");
}

#[test]
fn nothing_is_compressed_while_it_can_be_sent() {
    let mut simulation = Simulation::ready(2, 3_000_000);
    for _ in 0..20 {
        let before = used(&simulation);
        simulation.documents(FULL, 1000);
        assert!(used(&simulation) > before + 50_000);
        simulation.documents(FULL, 1000);
        simulation.documents(FULL, 1000);
        assert!(simulation.uploader.packer.is_none());
        simulation.run(Some(&Answer::Delivered), Duration::from_millis(1));
        assert_eq!(used(&simulation), 0);
    }
}

#[test]
fn more_than_can_be_sent_is_compressed_from_half_of_the_buffer_on() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    for _ in 0..100 {
        simulation.documents(FULL, 1000);
        assert!(used(&simulation) < 1_700_000, "{}", used(&simulation));
    }
    assert_eq!(simulation.uploader.counts().spilled, 0);
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(60));
    assert_eq!(simulation.uploader.counts().sent, 5000);
}

#[test]
fn only_some_are_compressed_at_a_time() {
    let mut simulation = Simulation::ready(1, 30_000_000);
    for _ in 0..100 {
        simulation.documents(FULL, 1000);
    }
    let mut before = used(&simulation);
    assert!(before > 5_000_000);
    simulation.finish(0, &Answer::Unavailable);
    for _ in 0..9 {
        let gone = before - used(&simulation);
        assert!((8 * 40_000..8 * 55_000).contains(&gone), "{gone}");
        before = used(&simulation);
        simulation.pass(Duration::ZERO);
    }
    for _ in 0..9 {
        simulation.pass(Duration::ZERO);
    }
    let rest = used(&simulation);
    assert!((150_000..500_000).contains(&rest), "{rest}");
}

#[test]
fn a_compressed_batch_is_halved_as_a_plain_one_is() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    for _ in 0..10 {
        simulation.documents(FULL - 1, 1000);
        simulation.bad_document();
    }
    simulation.finish(0, &Answer::Unavailable);
    for answer in [Answer::WithoutReason, Answer::Refused] {
        simulation.run(Some(&Answer::judging(&answer)), Duration::from_secs(300));
        simulation.documents(1, 10);
    }
    simulation.run(
        Some(&Answer::judging(&Answer::Refused)),
        Duration::from_secs(900),
    );
    let counts = simulation.uploader.counts();
    assert_eq!((counts.held, counts.rejected), (0, 10), "{counts}");
}
