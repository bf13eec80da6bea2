//! Spans beside segments: neither stops the other, and what was taken is kept to the end.

use super::*;
use crate::upload::item::{ITEM_MEMORY, Item};
use crate::upload::message::Event;
use crate::upload::spans::SpanVerdict;

const LIMIT: usize = 200_000;

#[test]
fn spans_take_half_of_the_buffer_and_evict_nothing() {
    let mut simulation = Simulation::new(1, LIMIT);
    let longest = SpanVerdict::TooLong(LIMIT / 2 - ITEM_MEMORY);
    assert_eq!(simulation.spans(1, LIMIT / 2, true), longest);
    for _ in 0..3 {
        assert_eq!(simulation.spans(9, 30_000, true), SpanVerdict::Taken);
    }
    assert_eq!(simulation.spans(9, 30_000, true), SpanVerdict::Full);
    // Segments have the other half, and drop nothing but segments.
    while simulation.uploader.counts().spilled == 0 {
        simulation.documents(10, 1_500);
    }
    let spans = simulation.uploader.span_counts();
    assert_eq!((spans.requests.held, spans.spans.held), (3, 27));
    // The buffer is full of segments: they stay, and the client keeps its spans.
    let mut simulation = Simulation::new(1, LIMIT);
    while simulation.uploader.counts().spilled == 0 {
        simulation.documents(10, 1_500);
    }
    let before = simulation.uploader.counts();
    assert_eq!(simulation.spans(1, 60_000, true), SpanVerdict::Full);
    assert_eq!(simulation.uploader.counts(), before);
}

/// Their memory is mostly that of the queue.
#[test]
fn requests_of_a_few_bytes_are_limited_too() {
    assert!(
        ITEM_MEMORY >= 2 * size_of::<Item>() + 64,
        "a queue has grown to twice its length"
    );
    let mut simulation = Simulation::new(1, LIMIT);
    let mut taken = 0;
    while simulation.spans(1, 0, false) == SpanVerdict::Taken {
        taken += 1;
    }
    assert!((1..=LIMIT / 2 / ITEM_MEMORY).contains(&taken), "{taken}");
}

#[test]
fn a_destination_that_takes_nothing_does_not_stop_the_other() {
    for spans_fail in [true, false] {
        let mut simulation = Simulation::ready(2, 3_000_000);
        for _ in 0..20 {
            simulation.spans(5, 1_000, false);
            simulation.documents(1, 100);
            for _ in 0..4 {
                while let Some(index) = simulation.find_out(!spans_fail) {
                    simulation.finish(index, &Answer::Delivered);
                }
                if let Some(index) = simulation.find_out(spans_fail) {
                    simulation.finish(index, &Answer::Unavailable);
                }
            }
            simulation.pass(Duration::from_secs(1));
        }
        // One that does not answer at all takes one sender, and the other has one of its own.
        simulation.spans(5, 1_000, false);
        simulation.documents(1, 100);
        simulation.pass(Duration::from_secs(1));
        while let Some(index) = simulation.find_out(!spans_fail) {
            simulation.finish(index, &Answer::Delivered);
        }
        let segments = simulation.uploader.counts();
        let spans = simulation.uploader.span_counts().spans;
        let (good, bad) = match spans_fail {
            true => (segments.held, spans.held),
            false => (spans.held, segments.held),
        };
        assert_eq!(good, 0, "{segments} {spans:?}");
        assert!(bad > 0, "{segments} {spans:?}");
        let health = simulation.uploader.health(simulation.now);
        assert_eq!(health.notes.len(), 1, "{health:?}");
        assert_eq!(
            health.notes[0].starts_with("cannot upload spans for"),
            spans_fail
        );
    }
}

#[test]
fn what_waits_is_compressed_unless_it_is_already() {
    for (is_gzip, least) in [(true, 900_000), (false, 0)] {
        let mut simulation = Simulation::ready(1, 3_000_000);
        for _ in 0..20 {
            simulation.spans(5, 50_000, is_gzip);
        }
        simulation.finish(0, &Answer::Unavailable);
        simulation.pass(Duration::from_millis(1));
        simulation.pass(Duration::from_millis(1));
        let used = simulation.uploader.snapshot(simulation.now).buffer_used;
        assert!(used >= least && (is_gzip || used < 400_000), "{used}");
        simulation.run(Some(&Answer::Delivered), Duration::from_secs(60));
        assert_eq!(simulation.uploader.span_counts().spans.delivered, 100);
    }
}

#[test]
fn partial_success_and_refusals_are_counted() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.spans(5, 100, false);
    simulation.finish(0, &Answer::SomeUnprocessed);
    simulation.spans(7, 100, false);
    simulation.finish(0, &Answer::Refused);
    let counts = simulation.uploader.span_counts();
    let fates =
        |fates: crate::upload::spans::Fates| (fates.accepted, fates.delivered, fates.refused);
    assert_eq!(fates(counts.spans), (12, 4, 8));
    assert_eq!(fates(counts.requests), (2, 1, 1));
}

#[test]
fn the_shutdown_delivers_spans_or_says_that_they_are_lost() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.spans(5, 100, false);
    simulation.finish(0, &Answer::Unavailable);
    simulation.shut_down(Some(&Answer::Delivered), Duration::from_secs(5));
    assert_eq!(simulation.uploader.span_counts().spans.delivered, 5);
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.spans(5, 100, false);
    simulation.shut_down(None, Duration::from_secs(5));
    let spans = simulation.uploader.span_counts().spans;
    assert_eq!((spans.accepted, spans.dropped), (5, 5));
}

#[test]
fn there_is_credit_only_while_no_spans_wait() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    assert!(simulation.spans_on_credit(5, 100));
    let sent = &Answer::Delivered;
    simulation.run(Some(sent), Duration::from_secs(1));
    assert_eq!(simulation.uploader.span_counts().spans.delivered, 5);
    // More than half of what is free is not taken unasked.
    assert!(!simulation.spans_on_credit(5, 750_000));
    assert!(simulation.spans_on_credit(5, 700_000));
    // One more is sent, and the next one has to wait.
    while simulation.spans_on_credit(5, 1_000) {}
    assert_eq!(simulation.spans(5, 1_000, true), SpanVerdict::Taken);
    assert!(!simulation.spans_on_credit(5, 1_000));
    simulation.run(Some(sent), Duration::from_secs(1));
    assert!(simulation.spans_on_credit(5, 1_000));
    simulation.run(Some(sent), Duration::from_secs(1));
    // Segments that are held leave less.
    simulation.documents(50, 20_000);
    assert!(!simulation.spans_on_credit(5, 300_000));
    assert!(simulation.spans_on_credit(5, 100_000));
}

/// Its client has been told that they were taken.
#[test]
fn what_was_taken_in_the_last_moment_is_received_before_the_end() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    assert!(simulation.take_on_credit(5, 100));
    simulation.event(Event::BeginShutdown(simulation.now));
    assert!(!simulation.take_on_credit(5, 100));
    simulation.event(Event::ReadersEnded);
    assert!(!simulation.uploader.is_over(simulation.now));
    simulation.receive_spans();
    assert!(simulation.uploader.is_over(simulation.now));
    simulation.uploader.close();
    let spans = simulation.uploader.span_counts().spans;
    assert_eq!((spans.accepted, spans.dropped), (5, 5));
}

/// It sends them again: held as well, they would arrive twice.
#[test]
fn spans_of_a_client_that_has_left_are_not_taken() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.spans_of_a_client_that_left();
    let counts = simulation.uploader.span_counts();
    assert_eq!(counts, crate::upload::spans::SpanCounts::default());
}

#[test]
fn an_api_that_does_not_answer_takes_one_sender_and_leaves_another() {
    for spans_first in [true, false] {
        let mut simulation = Simulation::ready(2, 3_000_000);
        for is_otlp in [spans_first, !spans_first] {
            match is_otlp {
                true => drop(simulation.spans(1, 100, false)),
                false => simulation.documents(1, 100),
            }
        }
        assert_eq!(simulation.out.len(), 2, "{spans_first}");
    }
}

/// A request takes more memory while it is out than while it waits. When it comes back and nothing else
/// with spans waits, it is not compressed again for that reason.
#[test]
fn spans_that_are_sent_in_vain_cost_no_segment() {
    let mut simulation = Simulation::ready(4, LIMIT);
    let fail = |simulation: &mut Simulation, is_otlp: bool| {
        while let Some(index) = simulation.find_out(is_otlp) {
            simulation.finish(index, &Answer::Unavailable);
        }
    };
    for _ in 0..4 {
        simulation.spans(1, LIMIT / 20, false);
    }
    fail(&mut simulation, true);
    while simulation.uploader.counts().spilled < 200 {
        simulation.documents(50, 1_000);
        fail(&mut simulation, false);
    }
    let before = simulation.uploader.counts().spilled;
    simulation.pass(Duration::from_secs(1));
    let probe = simulation.find_out(true).expect("one goes out alone");
    simulation.finish(probe, &Answer::Delivered);
    // The oldest is not answered before the others are delivered.
    while simulation.uploader.span_counts().spans.held > 1 {
        let newest = simulation.find_last_out(true).expect("they go out");
        simulation.finish(newest, &Answer::Delivered);
    }
    assert!(simulation.find_out(true).is_some(), "the oldest is out");
    fail(&mut simulation, true);
    assert_eq!(simulation.uploader.counts().spilled, before);
}

/// However many requests with spans hang, and whatever `Concurrency` is.
#[test]
fn spans_that_are_not_answered_leave_a_sender_to_segments() {
    for (concurrency, expected) in [(1, 1), (2, 1), (8, 7)] {
        let mut simulation = Simulation::ready(concurrency, 3_000_000);
        for _ in 0..10 {
            simulation.spans(1, 20_000, true);
        }
        simulation.pass(Duration::from_secs(1));
        assert_eq!(simulation.out.len(), expected);
        simulation.documents(1, 100);
        assert!(simulation.find_out(false).is_some(), "{concurrency}");
    }
}

#[test]
fn segments_stay_plain_and_flow_while_spans_fill_their_half() {
    let mut simulation = Simulation::ready(2, 3_000_000);
    while simulation.spans(1, 100_000, true) == SpanVerdict::Taken {}
    while let Some(index) = simulation.find_out(true) {
        simulation.finish(index, &Answer::Unavailable);
    }
    let used = |simulation: &Simulation| simulation.uploader.snapshot(simulation.now).buffer_used;
    let before = used(&simulation);
    assert!(before > 1_200_000, "{before}");
    for n in 1..13 {
        simulation.documents(50, 1_000);
        assert!(used(&simulation) >= before + n * 50_000, "{n} compressed");
    }
    while let Some(index) = simulation.find_out(false) {
        simulation.finish(index, &Answer::Delivered);
    }
    assert_eq!(simulation.uploader.counts().sent, 600);
}

#[test]
fn telemetry_that_waits_for_segments_does_not_stop_spans() {
    let mut simulation = Simulation::ready(1, 3_000_000);
    simulation.documents(1, 100);
    // A minute later a telemetry record is due, and the request with segments hangs.
    simulation.pass(Duration::from_secs(61));
    simulation.spans(5, 100, false);
    assert!(simulation.find_out(true).is_some());
    simulation.finish(0, &Answer::Delivered);
    assert_eq!(simulation.out.len(), 2, "telemetry follows");
}
