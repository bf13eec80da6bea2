//! The uploader with a spool that is late, refuses, loses and hangs.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::fake_spool::FakeSpool;
use super::*;
use crate::batch::Batch;
use crate::batch::compressed::{CompressedBody, Compressor};
use crate::spool::{BodyKind, RecordAmount, SpoolEvent, SpoolItem, XRayApi};

const MANY: Duration = Duration::from_secs(120);

pub(super) fn with(spool: FakeSpool, buffer: usize) -> Simulation {
    let mut simulation = Simulation::with_spool(2, buffer, Some(spool));
    simulation.target();
    simulation.credentials(true);
    simulation
}

impl Simulation {
    pub(super) fn disk(&mut self) -> &mut FakeSpool {
        self.spool.as_mut().expect("there is one")
    }
}

fn item(body: CompressedBody) -> SpoolItem {
    SpoolItem {
        body: Arc::new(body),
        kind: BodyKind::Segments,
        received_at: SystemTime::now(),
        attempts: 0,
    }
}

/// What an earlier process has left: one record of so many documents.
fn left(simulation: &mut Simulation, documents: usize) -> SpoolItem {
    let mut batch = Batch::new();
    for number in 0..documents {
        let document = format!(r#"{{"id":"earlier-{number}"}}"#);
        simulation.expect(document.clone());
        batch.push(document.as_bytes());
    }
    item(batch.compress(&mut Compressor::default()))
}

/// The same with a request of so many spans.
pub(super) fn spans_left(simulation: &mut Simulation, spans: usize, size: usize) -> SpoolItem {
    let body = format!("earlier {spans} {}", "s".repeat(size));
    simulation.expect_spans(body.as_bytes());
    SpoolItem {
        kind: BodyKind::Otlp {
            json: false,
            gzip: spans.is_multiple_of(2),
        },
        ..item(match spans.is_multiple_of(2) {
            true => CompressedBody::uncompressed(body.into_bytes().into(), spans),
            false => Compressor::default().compress(body.as_bytes(), spans),
        })
    }
}

#[test]
fn in_an_outage_all_but_the_last_second_is_on_disk_and_all_is_sent_afterwards() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    for _ in 0..100 {
        simulation.documents(50, 1000);
        simulation.run(Some(&Answer::Unavailable), Duration::from_millis(100));
    }
    let counts = simulation.uploader.counts();
    assert!(counts.held <= 12 * 50, "{counts}");
    assert_eq!(counts.spooled + counts.held, 5000, "{counts}");
    assert_eq!(simulation.disk().documents(), counts.spooled);
    simulation.run(Some(&Answer::Delivered), MANY);
    let counts = simulation.uploader.counts();
    assert_eq!((counts.sent, counts.restored), (5000, 0), "{counts}");
    assert_eq!(simulation.disk().documents(), 0);
}

#[test]
fn while_x_ray_only_hangs_all_but_the_last_seconds_is_on_disk() {
    let mut simulation = with(FakeSpool::default(), 30_000_000);
    for _ in 0..100 {
        simulation.documents(50, 1000);
        simulation.run(None, Duration::from_millis(100));
        assert!(simulation.is_healthy(), "no request was answered");
    }
    let counts = simulation.uploader.counts();
    assert_eq!(simulation.out.len(), 2, "they are in flight, and copied");
    let (in_memory, on_disk) = (12 * 50, simulation.disk().documents());
    assert!(on_disk + in_memory >= 5000, "{on_disk} of {counts}");
    simulation.run(Some(&Answer::Delivered), MANY);
    let counts = simulation.uploader.counts();
    assert_eq!((counts.sent, counts.restored), (5000, 0), "{counts}");
    assert_eq!(simulation.disk().documents(), 0);
}

#[test]
fn what_is_in_flight_is_copied_after_two_seconds_and_not_before() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    simulation.documents(50, 1000);
    simulation.run(None, Duration::from_millis(1900));
    assert_eq!(simulation.disk().documents(), 0);
    simulation.run(None, Duration::from_millis(200));
    assert_eq!(simulation.disk().documents(), 50);
    assert_eq!(simulation.uploader.counts().held, 50);
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(1));
    assert_eq!(simulation.uploader.counts().sent, 50);
    assert_eq!(simulation.disk().documents(), 0);
}

/// What it refuses waits in memory until it is clear whether the documents are at fault.
#[test]
fn while_x_ray_refuses_everything_all_but_the_last_seconds_is_on_disk() {
    for answer in [
        Answer::WithoutReason,
        Answer::Refused,
        Answer::AllToBeRetried,
    ] {
        let mut simulation = with(FakeSpool::default(), 30_000_000);
        for _ in 0..600 {
            simulation.documents(10, 100);
            simulation.run(Some(&answer), Duration::from_millis(100));
        }
        let counts = simulation.uploader.counts();
        let (in_memory, on_disk) = (22 * 10, simulation.disk().documents());
        let rejected = counts.rejected;
        assert!(counts.held > 2 * in_memory, "{counts}");
        let kept = on_disk + in_memory + rejected;
        assert!(kept >= 6000, "{on_disk} of {counts}");
        simulation.run(Some(&Answer::Delivered), MANY);
        let counts = simulation.uploader.counts();
        assert_eq!(counts.sent + rejected, 6000, "{counts}");
        assert_eq!(counts.restored, 0, "{counts}");
        assert_eq!(simulation.disk().documents(), 0);
    }
}

#[test]
fn a_healthy_service_costs_no_disk() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    for _ in 0..20 {
        simulation.documents(50, 1000);
        simulation.run(Some(&Answer::Delivered), Duration::from_millis(300));
    }
    let counts = simulation.shut_down(Some(&Answer::Delivered), Duration::from_secs(10));
    assert_eq!((counts.sent, counts.spooled), (1000, 0));
    assert_eq!(simulation.disk().flushes, 0);
}

#[test]
fn what_does_not_fit_into_memory_goes_to_disk_instead_of_being_dropped() {
    let mut simulation = with(FakeSpool::default(), 150_000);
    // X-Ray does not answer: it is not known to be away.
    for _ in 0..200 {
        simulation.documents(50, 1000);
        simulation.run(None, Duration::ZERO);
    }
    let counts = simulation.uploader.counts();
    assert_eq!((counts.spilled, counts.received), (0, 10_000), "{counts}");
    assert!(counts.spooled > 3_000, "{counts}");
    simulation.run(Some(&Answer::Delivered), MANY);
    assert_eq!(simulation.uploader.counts().sent, 10_000);
}

#[test]
fn what_an_earlier_process_has_left_is_sent_beside_what_is_new() {
    let mut simulation = Simulation::with_spool(1, 3_000_000, Some(FakeSpool::default()));
    let items: Vec<SpoolItem> = (0..3000).map(|_| left(&mut simulation, 50)).collect();
    simulation.spool = Some(FakeSpool::holding(items));
    simulation.credentials(true);
    simulation.target();
    // A new batch with every two requests: none of them waits for all that is on disk.
    while simulation.uploader.counts().sent < 2000 {
        simulation.documents(50, 10);
        for _ in 0..2 {
            while simulation.spool_answers() {}
            simulation.finish(0, &Answer::Delivered);
        }
        let counts = simulation.uploader.counts();
        assert!(counts.spooled > 0, "{counts}");
    }
    assert_eq!(simulation.uploader.counts().restored, 150_000);
    let (new, all) = (simulation.new_requests, simulation.requests);
    assert!((all / 4..=all * 3 / 4).contains(&new), "{new} of {all}");
    simulation.run(Some(&Answer::Delivered), MANY);
    let counts = simulation.uploader.counts();
    assert_eq!(counts.sent, counts.received + 150_000, "{counts}");
    assert_eq!(simulation.disk().documents(), 0);
}

/// Without anything new, one record at a time finds out whether X-Ray is back.
#[test]
fn what_is_on_disk_is_sent_after_an_outage_although_nothing_new_comes() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    for _ in 0..10 {
        simulation.documents(50, 1000);
    }
    simulation.run(Some(&Answer::Unavailable), MANY);
    assert_eq!(simulation.uploader.counts().held, 0);
    let requests = simulation.requests;
    simulation.run(Some(&Answer::Unavailable), Duration::from_secs(60));
    let probes = simulation.requests - requests;
    assert!((8..40).contains(&probes), "{probes}");
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(10));
    assert_eq!(simulation.uploader.counts().sent, 500);
}

#[test]
fn what_waits_for_a_disk_that_hangs_is_sent_when_x_ray_is_well() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(1));
    simulation.disk().hangs = true;
    simulation.documents(50, 1000);
    simulation.run(Some(&Answer::Unavailable), Duration::from_secs(5));
    assert_eq!(simulation.uploader.counts().held, 50);
    simulation.documents(1, 1000);
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(30));
    let counts = simulation.uploader.counts();
    assert_eq!((counts.sent, counts.held), (51, 0), "{counts}");
    // What it stores at last is not sent again.
    simulation.disk().hangs = false;
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(30));
    assert_eq!(simulation.disk().documents(), 0);
    assert_eq!(simulation.uploader.counts().sent, 51);
}

#[test]
fn a_disk_that_hangs_costs_what_memory_cannot_hold_and_no_more() {
    let mut simulation = with(FakeSpool::default(), 150_000);
    simulation.run(Some(&Answer::Delivered), Duration::from_secs(1));
    simulation.disk().hangs = true;
    for _ in 0..400 {
        simulation.documents(50, 1000);
        simulation.run(Some(&Answer::Unavailable), Duration::from_millis(50));
    }
    let counts = simulation.uploader.counts();
    assert!(counts.spilled > 0 && counts.held > 50 * 50, "{counts}");
    let told = simulation.now;
    let counts = simulation.shut_down(Some(&Answer::Unavailable), Duration::from_secs(4));
    assert!(simulation.now <= told + Duration::from_secs(6));
    assert_eq!((counts.held, counts.spooled), (0, 0), "{counts}");
}

#[test]
fn a_stop_in_an_outage_keeps_everything_at_once() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    for _ in 0..20 {
        simulation.documents(50, 1000);
    }
    simulation.run(Some(&Answer::Unavailable), Duration::from_millis(10));
    let told = simulation.now;
    let counts = simulation.shut_down(Some(&Answer::Unavailable), Duration::from_secs(10));
    assert!(simulation.now < told + Duration::from_secs(1));
    assert_eq!((counts.spooled, counts.spilled), (1000, 0), "{counts}");
    assert_eq!(simulation.disk().documents(), 1000);
    assert_eq!(simulation.disk().flushes, 1);
}

#[test]
fn what_is_in_flight_at_the_end_is_kept_as_a_copy() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    for _ in 0..4 {
        simulation.documents(50, 1000);
    }
    let counts = simulation.shut_down(None, Duration::from_secs(10));
    assert_eq!((counts.spooled, counts.spilled), (200, 0), "{counts}");
    assert_eq!(simulation.disk().documents(), 200);
}

#[test]
fn a_record_that_turns_out_to_be_damaged_is_in_the_metrics() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    for (reason, damaged) in [
        (crate::spool::LossReason::Limit, 0),
        (crate::spool::LossReason::Damaged, 1),
    ] {
        simulation.spool_says(SpoolEvent::Lost {
            destination: XRayApi::Segments,
            amount: crate::spool::RecordAmount::of(5, 100),
            reason,
            range: None,
        });
        let metrics = simulation.uploader.snapshot(simulation.now).spool.unwrap();
        assert_eq!(metrics.damaged, damaged);
    }
}

#[test]
fn a_second_signal_sends_nothing_more_and_keeps_everything() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    for _ in 0..20 {
        simulation.documents(50, 1000);
    }
    simulation.begin_shutdown(Duration::from_secs(3600));
    simulation.run(None, Duration::from_secs(1));
    let (told, requests) = (simulation.now, simulation.requests);
    let counts = simulation.stop_sending();
    assert!(simulation.now < told + Duration::from_secs(1));
    assert_eq!(simulation.requests, requests);
    assert_eq!((counts.spooled, counts.spilled), (1000, 0), "{counts}");
    assert_eq!(simulation.disk().documents(), 1000);
}

#[test]
fn a_copy_that_the_spool_refused_is_made_anew() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    simulation.disk().refuses = true;
    simulation.documents(50, 1000);
    simulation.run(None, Duration::from_secs(4));
    assert_eq!(simulation.disk().documents(), 0);
    simulation.disk().refuses = false;
    simulation.run(None, Duration::from_secs(4));
    assert_eq!(simulation.disk().documents(), 50);
}

#[test]
fn a_copy_of_what_is_delivered_in_the_last_second_is_not_kept() {
    let mut simulation = with(FakeSpool::default(), 3_000_000);
    simulation.documents(50, 1000);
    simulation.begin_shutdown(Duration::from_secs(10));
    simulation.run(None, Duration::from_secs(9));
    assert_eq!(simulation.disk().documents(), 50);
    assert_eq!(simulation.uploader.counts().held, 50);
    let counts = simulation.shut_down(Some(&Answer::Delivered), Duration::from_secs(1));
    assert_eq!((counts.sent, counts.spooled), (50, 0), "{counts}");
    assert_eq!(simulation.disk().documents(), 0);
}

/// A batch of nine came from the spool, was refused as a whole, and its first half was delivered.
fn with_half_of_a_restored_batch_delivered() -> Simulation {
    let mut simulation = Simulation::with_spool(1, 3_000_000, Some(FakeSpool::default()));
    let items = vec![left(&mut simulation, 9)];
    simulation.spool = Some(FakeSpool::holding(items));
    simulation.credentials(true);
    simulation.target();
    simulation.run(None, Duration::from_millis(10));
    simulation.finish(0, &Answer::Refused);
    simulation.finish(0, &Answer::Delivered);
    simulation
}

#[test]
fn a_restored_batch_that_is_refused_is_settled_when_all_its_parts_are() {
    let mut simulation = with_half_of_a_restored_batch_delivered();
    while simulation.spool_answers() {}
    assert_eq!(simulation.disk().documents(), 9, "a part is held");
    simulation.run(Some(&Answer::Delivered), MANY);
    assert_eq!(simulation.uploader.counts().sent, 9);
    assert_eq!(simulation.disk().documents(), 0);
}

#[test]
fn a_part_of_a_restored_batch_is_stored_anew_at_the_end() {
    let mut simulation = with_half_of_a_restored_batch_delivered();
    let counts = simulation.shut_down(Some(&Answer::Unavailable), Duration::from_secs(10));
    assert_eq!((counts.sent, counts.spooled), (4, 5), "{counts}");
    assert_eq!(simulation.disk().documents(), 5);
}

#[test]
fn a_whole_record_that_is_no_batch_is_lost_and_said_and_never_sent() {
    let body = Compressor::default().compress(br#"{"TraceSegmentDocuments":["a",]}"#, 1);
    let mut simulation = with(FakeSpool::holding(vec![item(body)]), 3_000_000);
    simulation.run(Some(&Answer::Delivered), MANY);
    let counts = simulation.uploader.counts();
    assert_eq!((counts.restored, counts.spilled, counts.sent), (1, 1, 0));
    assert_eq!(simulation.requests, 0);
    assert_eq!(simulation.disk().documents(), 0);
}

#[test]
fn nothing_is_stored_before_the_target_is_known() {
    let mut simulation = Simulation::with_spool(1, 400_000, Some(FakeSpool::default()));
    for _ in 0..100 {
        simulation.documents(50, 1000);
        simulation.run(None, Duration::from_millis(100));
    }
    assert!(!simulation.disk().is_open);
    let counts = simulation.shut_down(None, Duration::from_secs(1));
    assert_eq!(counts.spooled, 0);
}

/// The disk is so slow that the item goes out meanwhile, and fails.
#[test]
fn what_was_sent_in_vain_while_it_was_stored_is_in_the_spool_afterwards() {
    for answers_before in [true, false] {
        let mut simulation = Simulation::with_spool(1, 3_000_000, Some(FakeSpool::default()));
        simulation.documents(20, 1000);
        simulation.pass(Duration::from_secs(2));
        simulation.target();
        simulation.credentials(true);
        simulation.pass(Duration::from_secs(2));
        assert_eq!(simulation.out.len(), 1);
        if answers_before {
            while simulation.spool_answers() {}
        }
        simulation.finish(0, &Answer::Unavailable);
        // It is held only while it is a probe.
        let mut spooled = 0;
        for _ in 0..300 {
            simulation.run(Some(&Answer::Unavailable), Duration::from_millis(100));
            let counts = simulation.uploader.counts();
            spooled += usize::from(counts.spooled == 20);
            assert_eq!(counts.spooled + counts.held, 20, "{counts}");
        }
        assert!(spooled > 150, "{spooled}");
        simulation.run(Some(&Answer::Delivered), MANY);
        assert_eq!(simulation.uploader.counts().sent, 20);
        assert_eq!(simulation.disk().documents(), 0);
    }
}

#[derive(Debug, Clone)]
enum SpoolStep {
    Uploader(Step),
    Answers(usize),
    Hangs(bool),
    Refuses(bool),
    Forgets(bool),
    Loses,
    Problem(bool),
}

fn spool_step() -> impl Strategy<Value = SpoolStep> {
    prop_oneof![
        12 => step().prop_map(SpoolStep::Uploader),
        8 => (1usize..12).prop_map(SpoolStep::Answers),
        1 => any::<bool>().prop_map(SpoolStep::Hangs),
        1 => any::<bool>().prop_map(SpoolStep::Refuses),
        1 => any::<bool>().prop_map(SpoolStep::Forgets),
        1 => Just(SpoolStep::Loses),
        1 => any::<bool>().prop_map(SpoolStep::Problem),
    ]
}

impl Simulation {
    fn spool_step(&mut self, step: SpoolStep) {
        match step {
            SpoolStep::Uploader(step) => self.step(step),
            SpoolStep::Answers(times) => {
                for _ in 0..times {
                    self.spool_answers();
                }
            }
            SpoolStep::Hangs(hangs) => self.disk().hangs = hangs,
            SpoolStep::Refuses(refuses) => self.disk().refuses = refuses,
            SpoolStep::Forgets(forgets) => self.disk().forgets = forgets,
            SpoolStep::Loses => {
                // What it answers comes before what it says later.
                self.disk().hangs = false;
                while self.spool_answers() {}
                if self.disk().is_open
                    && let Some(event) = self.disk().lose()
                {
                    self.spool_says(event);
                }
            }
            SpoolStep::Problem(true) => {
                self.spool_says(SpoolEvent::Problem("the disk is full".to_owned()));
            }
            SpoolStep::Problem(false) => self.spool_says(SpoolEvent::Recovered),
        }
    }
}

proptest! {
    #![proptest_config(some_cases())]

    #[test]
    fn whatever_the_spool_does_everything_is_delivered_when_all_is_well(
        steps in prop::collection::vec(spool_step(), 0..160),
        concurrency in 1usize..5,
        limit in 100_000usize..300_000,
        earlier in 0usize..9,
    ) {
        let mut simulation = Simulation::with_spool(concurrency, limit, None);
        let mut items: Vec<SpoolItem> = Vec::new();
        for n in 1..=earlier {
            items.push(left(&mut simulation, n));
            items.push(spans_left(&mut simulation, n, 9_000 * n));
        }
        simulation = simulation.restart_with(FakeSpool::holding(items));
        for step in steps {
            simulation.spool_step(step);
        }
        simulation.threads = true;
        let disk = simulation.disk();
        (disk.hangs, disk.refuses, disk.forgets) = (false, false, false);
        simulation.spool_says(SpoolEvent::Recovered);
        simulation.target();
        simulation.credentials(true);
        simulation.run(Some(&Answer::Delivered), Duration::from_secs(200));
        let counts = simulation.uploader.counts();
        prop_assert_eq!((counts.held, counts.spooled), (0, 0), "{}", counts);
        prop_assert_eq!(simulation.disk().documents(), 0);
        let spans = simulation.uploader.span_counts();
        prop_assert_eq!((spans.requests.held, spans.requests.spooled), (0, 0));
        prop_assert_eq!(simulation.disk().amount(XRayApi::Otlp), RecordAmount::default());
    }

    #[test]
    fn whatever_the_spool_does_it_ends_in_time_and_what_is_kept_is_on_disk(
        steps in prop::collection::vec(spool_step(), 0..160),
        patience in 0u64..12,
        delivers in any::<bool>(),
        works in any::<bool>(),
    ) {
        let mut simulation = with(FakeSpool::default(), 200_000);
        for step in steps {
            simulation.spool_step(step);
        }
        let disk = simulation.disk();
        if works {
            (disk.hangs, disk.refuses, disk.forgets) = (false, false, false);
            simulation.spool_says(SpoolEvent::Recovered);
        }
        let told: Instant = simulation.now;
        let answer = if delivers { &Answer::Delivered } else { &Answer::Unavailable };
        let spilled = simulation.uploader.counts().spilled;
        let dropped = simulation.uploader.span_counts().bytes.dropped;
        let counts = simulation.shut_down(Some(answer), Duration::from_secs(patience));
        prop_assert!(simulation.now <= told + Duration::from_secs(patience + 2));
        prop_assert_eq!(counts.held, 0);
        let fates = counts.sent + counts.rejected + counts.spilled + counts.spooled;
        prop_assert_eq!(counts.received + counts.restored, fates);
        let spans = simulation.uploader.span_counts();
        for fates in [spans.requests, spans.spans, spans.bytes] {
            let ended = fates.delivered + fates.refused + fates.dropped + fates.spooled;
            prop_assert_eq!(fates.accepted + fates.restored, ended);
        }
        let on_disk = simulation.disk().documents();
        let spans_on_disk = simulation.disk().amount(XRayApi::Otlp);
        if works {
            // What was lost while a copy of it was in flight may be counted as kept.
            let has_lost = !simulation.disk().lost.is_empty();
            prop_assert!(has_lost || spans.bytes.spooled <= spans_on_disk.bytes, "{:?}", spans);
            prop_assert_eq!(spans.bytes.dropped, dropped, "{:?}", spans);
            prop_assert!(has_lost || counts.spooled <= on_disk, "{} of {}", on_disk, counts);
            prop_assert_eq!(counts.spilled, spilled, "{}", counts);
        }
    }
}
