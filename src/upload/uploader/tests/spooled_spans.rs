//! Spans in the spool: counted, limited and delivered as they are in memory.

use super::fake_spool::FakeSpool;
use super::spooling::{spans_left, with};
use super::*;
use crate::spool::{RecordAmount, SpoolItem, XRayApi};
use crate::upload::copies::MOST_STORING;
use crate::upload::spans::{Fates, SpanVerdict};

const MANY: Duration = Duration::from_secs(120);

fn fates(simulation: &Simulation) -> Fates {
    simulation.uploader.span_counts().spans
}

fn on_disk(simulation: &mut Simulation) -> RecordAmount {
    simulation.disk().amount(XRayApi::Otlp)
}

/// The simulation compares every body that is sent with those that were taken.
#[test]
fn an_outage_longer_than_memory_loses_no_span() {
    for is_gzip in [true, false] {
        let mut simulation = with(FakeSpool::default(), 1_000_000);
        for n in 0..60 {
            let verdict = simulation.spans(10, 50_000 + n % 2, is_gzip);
            assert_eq!(verdict, SpanVerdict::Taken, "{n}");
            simulation.run(Some(&Answer::Unavailable), Duration::from_millis(500));
        }
        let spans = fates(&simulation);
        assert!(spans.spooled > 550 && spans.held <= 50, "{spans:?}");
        assert_eq!(on_disk(&mut simulation).documents, spans.spooled);
        simulation.run(Some(&Answer::Delivered), MANY);
        let counts = simulation.uploader.span_counts();
        assert_eq!(
            (counts.spans.delivered, counts.requests.delivered),
            (600, 60)
        );
        assert_eq!(on_disk(&mut simulation), RecordAmount::default());
    }
}

#[test]
fn spans_of_a_healthy_service_cost_no_disk() {
    let mut simulation = with(FakeSpool::default(), 1_000_000);
    for _ in 0..20 {
        simulation.spans(10, 450_000, true);
        simulation.run(Some(&Answer::Delivered), Duration::from_millis(300));
    }
    simulation.shut_down(Some(&Answer::Delivered), Duration::from_secs(10));
    assert_eq!(
        (fates(&simulation).delivered, fates(&simulation).spooled),
        (200, 0)
    );
    assert_eq!(simulation.disk().flushes, 0);
}

#[test]
fn requests_that_hang_do_not_fill_the_memory_of_spans() {
    let mut simulation = with(FakeSpool::default(), 1_000_000);
    for n in 0..40 {
        assert_eq!(simulation.spans(1, 50_000, true), SpanVerdict::Taken, "{n}");
        simulation.run(None, Duration::ZERO);
    }
    simulation.run(Some(&Answer::Delivered), MANY);
    assert_eq!(fates(&simulation).delivered, 40);
}

/// It takes more than three quarters of what spans may take, so it is on disk between two attempts.
#[test]
fn a_very_large_request_that_was_refused_is_sent_again() {
    let mut simulation = with(FakeSpool::default(), 100_000);
    assert_eq!(simulation.spans(1, 39_000, true), SpanVerdict::Taken);
    simulation.finish(0, &Answer::WithoutReason);
    simulation.run(Some(&Answer::WithoutReason), Duration::from_secs(20));
    assert_eq!(fates(&simulation).delivered, 0);
    simulation.run(Some(&Answer::Delivered), MANY);
    assert_eq!(fates(&simulation).delivered, 1);
    assert_eq!(on_disk(&mut simulation), RecordAmount::default());
}

/// A large request that X-Ray had refused before was read, and makes the memory full.
#[test]
fn what_goes_back_for_want_of_memory_is_not_read_again_at_once() {
    let mut simulation = Simulation::new(2, 1_000_000);
    let refused = SpoolItem {
        attempts: 1,
        ..spans_left(&mut simulation, 2, 200_000)
    };
    simulation = simulation.restart_with(FakeSpool::holding(vec![refused]));
    simulation.target();
    simulation.credentials(true);
    assert_eq!(simulation.spans(1, 200_000, true), SpanVerdict::Taken);
    assert_eq!(simulation.out.len(), 1);
    simulation.run(None, Duration::from_secs(10));
    let reads = simulation.disk().reads;
    assert!(reads <= 12, "{reads} reads");
    simulation.run(Some(&Answer::Delivered), MANY);
    assert_eq!(fates(&simulation).delivered, 3);
    assert_eq!(on_disk(&mut simulation), RecordAmount::default());
}

#[test]
fn a_stop_keeps_spans_for_the_next_start_those_in_flight_too() {
    for answer in [Some(&Answer::Unavailable), None] {
        for is_gzip in [true, false] {
            let mut simulation = with(FakeSpool::default(), 1_000_000);
            for _ in 0..4 {
                simulation.spans(5, 10_000, is_gzip);
            }
            simulation.documents(3, 100);
            let counts = simulation.shut_down(answer, Duration::from_secs(10));
            let spans = fates(&simulation);
            assert_eq!((spans.spooled, spans.dropped), (20, 0), "{spans:?}");
            assert_eq!((counts.spooled, counts.spilled), (3, 0), "{counts}");
            let spool = simulation.spool.take().unwrap();
            let items: Vec<_> = spool.unread.into_iter().map(|(_, item)| item).collect();
            let mut next = simulation.restart_with(FakeSpool::holding(items));
            next.target();
            next.credentials(true);
            next.run(Some(&Answer::Delivered), MANY);
            let spans = fates(&next);
            assert_eq!(
                (spans.restored, spans.delivered, spans.spooled),
                (20, 20, 0)
            );
            assert_eq!(next.uploader.counts().sent, 3);
        }
    }
}

/// All of them are looked at whenever something happens: with thousands, the end took longer than its time.
#[test]
fn few_items_are_on_their_way_to_the_spool_at_once() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    simulation.spool.as_mut().unwrap().hangs = true;
    for _ in 0..500 {
        assert_eq!(simulation.spans(1, 1, true), SpanVerdict::Taken);
    }
    simulation.run(Some(&Answer::Unavailable), Duration::from_secs(20));
    let spool = simulation.spool.as_mut().unwrap();
    assert!((1..=MOST_STORING).contains(&spool.storing()));
    spool.hangs = false;
    simulation.run(Some(&Answer::Delivered), MANY);
    assert_eq!(fates(&simulation).delivered, 500);
}

#[test]
fn a_refused_request_from_the_spool_is_settled() {
    let mut simulation = with(FakeSpool::default(), 1_000_000);
    simulation.spans(5, 100, false);
    simulation.run(Some(&Answer::Unavailable), Duration::from_secs(5));
    assert_eq!(fates(&simulation).spooled, 5);
    simulation.run(Some(&Answer::Refused), MANY);
    assert_eq!(fates(&simulation).refused, 5);
    assert_eq!(on_disk(&mut simulation), RecordAmount::default());
}

/// Its memory was larger, or clients have filled it meanwhile.
#[test]
fn spans_that_come_back_evict_nothing_and_all_arrive() {
    const LIMIT: usize = 200_000;
    let mut simulation = Simulation::with_spool(1, LIMIT, Some(FakeSpool::default()));
    let items = (1..=9).map(|n| spans_left(&mut simulation, n, 12_000 * n));
    let items = items.collect();
    simulation.spool = Some(FakeSpool::holding(items));
    simulation.credentials(true);
    simulation.target();
    for _ in 0..30 {
        simulation.spans(1, 90_000, true);
        simulation.documents(5, 1_000);
        simulation.run(Some(&Answer::Delivered), Duration::from_millis(700));
    }
    simulation.run(Some(&Answer::Delivered), MANY);
    let spans = fates(&simulation);
    assert_eq!((spans.restored, spans.spooled, spans.held), (45, 0, 0));
    assert_eq!(spans.delivered, spans.accepted + 45);
    assert_eq!(simulation.uploader.counts().sent, 150);
}

/// The spool is told to read while there is room, which others take before it answers.
#[test]
fn what_is_read_without_room_stays_in_the_spool_or_is_said_to_be_lost() {
    for forgets in [false, true] {
        let mut simulation = Simulation::with_spool(1, 200_000, Some(FakeSpool::default()));
        let items = vec![spans_left(&mut simulation, 2, 60_000)];
        simulation.spool = Some(FakeSpool::holding(items));
        simulation.disk().forgets = forgets;
        simulation.credentials(true);
        simulation.target();
        assert!(simulation.spool_answers(), "it opens, and is told to read");
        assert_eq!(simulation.spans(1, 90_000, true), SpanVerdict::Taken);
        while simulation.spool_answers() {}
        let spans = fates(&simulation);
        assert_eq!(
            (spans.spooled, spans.dropped, spans.held),
            match forgets {
                false => (2, 0, 1),
                true => (0, 2, 1),
            }
        );
        simulation.run(Some(&Answer::Delivered), MANY);
        assert_eq!(fates(&simulation).delivered, if forgets { 1 } else { 3 });
    }
}

#[test]
fn what_the_spool_loses_is_dropped() {
    let mut simulation = with(FakeSpool::default(), 1_000_000);
    simulation.spans(5, 100, false);
    simulation.documents(3, 100);
    simulation.run(Some(&Answer::Unavailable), Duration::from_secs(5));
    while let Some(event) = simulation.disk().lose() {
        simulation.spool_says(event);
    }
    assert_eq!(
        (fates(&simulation).dropped, fates(&simulation).spooled),
        (5, 0)
    );
    assert_eq!(simulation.uploader.counts().spilled, 3);
}

#[test]
fn spans_that_nobody_takes_do_not_keep_segments_in_the_spool() {
    let mut simulation = with(FakeSpool::default(), 1_000_000);
    for _ in 0..20 {
        simulation.spans(5, 20_000, false);
        simulation.documents(5, 1_000);
        simulation.run(Some(&Answer::Unavailable), Duration::from_secs(1));
    }
    for _ in 0..200 {
        while let Some(index) = simulation.find_out(false) {
            simulation.finish(index, &Answer::Delivered);
        }
        if let Some(index) = simulation.find_out(true) {
            simulation.finish(index, &Answer::Unavailable);
        }
        simulation.run(None, Duration::from_millis(500));
    }
    assert_eq!(simulation.uploader.counts().sent, 100);
    assert_eq!(fates(&simulation).spooled + fates(&simulation).held, 100);
}

#[test]
fn a_spool_without_room_for_spans_takes_segments_all_the_same() {
    let mut simulation = with(FakeSpool::default(), 1_000_000);
    simulation.disk().has_no_room_for_spans = true;
    for _ in 0..30 {
        simulation.spans(1, 1_000, true);
        simulation.documents(5, 1_000);
        simulation.run(Some(&Answer::Unavailable), Duration::from_millis(100));
        let old = simulation.uploader.counts().received.saturating_sub(11 * 5);
        assert!(simulation.disk().documents() >= old);
    }
    // A copy of what is in flight is not kept off the disk by spans either.
    simulation.run(Some(&Answer::Delivered), MANY);
    simulation.spans(1, 1_000, true);
    simulation.run(None, Duration::from_secs(1));
    simulation.documents(5, 1_000);
    simulation.run(None, Duration::from_secs(2));
    assert_eq!(simulation.disk().documents(), 5);
}
