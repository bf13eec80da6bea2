//! What a segment costs in allocations, from the datagram to the batch: nothing, once memory is
//! warm; and the memory for reading a request with spans. A test program of its own, because counting
//! replaces the allocator.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use allocation_counter::measure;
use xray::batch::MAX_DOCUMENTS;
use xray::ingest::OpenBatch;
use xray::otlp;
use xray::upload::counters::ReaderCounts;

const DATAGRAM: &[u8] = br#"{"format":"json","version":1}
{"name":"shop","id":"70de5b6f19ff9a0a","trace_id":"1-581cf771-a006649127e371903a2de979"}"#;

#[test]
fn a_segment_allocates_nothing_on_its_way_into_a_batch() {
    let (recycle, recycled) = sync_channel(4);
    let mut open = OpenBatch::new(0, Arc::new(ReaderCounts::default()), Some(recycled));
    let mut fill_one_batch = || {
        let mut is_full = false;
        for _ in 0..MAX_DOCUMENTS {
            is_full = open.push(DATAGRAM, Instant::now);
        }
        assert!(is_full, "the documents fill a batch");
        open.hand_over(|hand_over| {
            let delivered = hand_over.batch.clear();
            recycle.try_send(delivered).expect("there is room for one");
        });
    };
    // The first batches grow the memory that the later ones use again.
    for _ in 0..4 {
        fill_one_batch();
    }

    let steady = measure(|| {
        for _ in 0..100 {
            fill_one_batch();
        }
    });

    assert_eq!(steady.count_total, 0, "{steady:?}");
}

/// Each request is charged for a fixed amount of memory, before anything is known of its content.
#[test]
fn a_request_with_spans_is_read_in_little_memory_whatever_it_holds() {
    const LENGTH: usize = 5 * 1024 * 1024 - 1024;
    let long = "a".repeat(LENGTH);
    for (what, body) in [
        ("a long key", format!(r#"{{"{long}":1}}"#)),
        (
            "an escaped key",
            format!(r#"{{"{}":1}}"#, r"\n".repeat(LENGTH / 2)),
        ),
        (
            "a string for a list",
            format!(r#"{{"resourceSpans":"{long}"}}"#),
        ),
        (
            "a long key of a span",
            format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"{long}":1}}]}}]}}]}}"#),
        ),
        (
            "a long number",
            format!(r#"{{"resourceSpans":1{}}}"#, "0".repeat(LENGTH)),
        ),
        ("deep lists", format!(r#"{{"x":{}"#, "[".repeat(LENGTH))),
        ("deep objects", r#"{"x":"#.repeat(LENGTH / 5)),
        (
            "deep lists of spans",
            format!(r#"{{"resourceSpans":{}"#, "[".repeat(LENGTH)),
        ),
    ] {
        let used = measure(|| {
            let _ = otlp::read("POST", b"application/json", b"", body.as_bytes());
        });
        assert!(used.bytes_max < 32 * 1024, "{what}: {used:?}");
    }
}
