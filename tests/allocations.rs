//! What a segment costs in allocations, from the datagram to the batch: nothing, once memory is
//! warm. A test program of its own, because counting replaces the allocator.

use std::sync::Arc;

use allocation_counter::measure;
use xray::batch::MAX_DOCUMENTS;
use xray::ingest::intake::Intake;
use xray::upload::counters::Books;
use xray::upload::message::Event;

const DATAGRAM: &[u8] = br#"{"format":"json","version":1}
{"name":"shop","id":"70de5b6f19ff9a0a","trace_id":"1-581cf771-a006649127e371903a2de979"}"#;

fn fill_one_batch(intake: &Intake) {
    let mut full = None;
    for _ in 0..MAX_DOCUMENTS {
        if let Some(Event::Batch(batch)) = intake.datagram(DATAGRAM) {
            full = Some(batch);
        }
    }
    intake.recycle(full.expect("the documents fill a batch"));
}

#[test]
fn a_segment_allocates_nothing_on_its_way_into_a_batch() {
    let intake = Intake::new(Arc::new(Books::default()));
    // The first batches grow the memory that the later ones use again.
    for _ in 0..4 {
        fill_one_batch(&intake);
    }

    let steady = measure(|| {
        for _ in 0..100 {
            fill_one_batch(&intake);
        }
    });

    assert_eq!(steady.count_total, 0, "{steady:?}");
}
