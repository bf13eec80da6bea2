//! The pure parts, each alone, a fixed number of times: for instruction counts under callgrind,
//! which repeat to the digit where times do not. docs/performance.md has the command.

use std::hint::black_box;
use std::time::{Instant, UNIX_EPOCH};

use aws_credential_types::Credentials;
use xray::aws::sigv4::{BodyToSign, SignRequest, sign};
use xray::batch::Batch;
use xray::batch::compressed::Compressor;
use xray::ingest::header;

#[path = "load/sender.rs"]
#[expect(dead_code, reason = "only its datagram is needed here")]
mod sender;

mod realistic;

/// Documents in one batch.
const BATCH: u64 = 50;

fn main() {
    // `cargo bench` adds --bench; without it this is `cargo test --all-targets`: nothing to test.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(part), Some(times)) = (arguments.first(), arguments.get(1)) else {
        println!("usage: pure header|push|batch|sign|compress|open TIMES");
        return;
    };
    let times: u64 = times.parse().expect("TIMES is a number");
    let datagram = sender::datagram(1);
    let start = Instant::now();
    match part.as_str() {
        "header" => header(&datagram, times),
        "push" => push(&datagram, times),
        "batch" => batch(&datagram, times),
        "sign" => signature(&datagram, times),
        "compress" => compress(times),
        "open" => open(times),
        other => panic!("no part is called {other}"),
    }
    let each = start.elapsed().as_nanos() / u128::from(times.max(1));
    println!("{part}: {times} times, {each} ns each");
}

/// The header check of one datagram.
fn header(datagram: &[u8], times: u64) {
    for _ in 0..times {
        black_box(header::document(black_box(datagram)).expect("the sender's header is good"));
    }
}

/// One document into a batch whose memory is warm: check, escape, append.
fn push(datagram: &[u8], times: u64) {
    let document = header::document(datagram).expect("the sender's header is good");
    let mut batch = Batch::new();
    for _ in 0..times {
        if batch.is_full() {
            batch = batch.clear();
        }
        batch.push(black_box(document));
    }
    black_box(batch);
}

/// A whole batch: 50 documents, in memory that is used again.
fn batch(datagram: &[u8], times: u64) {
    let document = header::document(datagram).expect("the sender's header is good");
    let mut batch = Batch::new();
    for _ in 0..times {
        for _ in 0..BATCH {
            batch.push(black_box(document));
        }
        batch = black_box(batch).clear();
    }
}

/// The signature over the body of one batch.
fn signature(datagram: &[u8], times: u64) {
    let document = header::document(datagram).expect("the sender's header is good");
    let mut batch = Batch::new();
    for _ in 0..BATCH {
        batch.push(document);
    }
    let credentials = Credentials::new("AKIDEXAMPLE", "SECRETEXAMPLE", None, None, "bench");
    for _ in 0..times {
        let signed = sign(&SignRequest {
            method: "POST",
            url: "https://xray.us-east-1.amazonaws.com/TraceSegments",
            headers: &[("content-type", "application/json")],
            body: BodyToSign::Bytes(black_box(batch.body())),
            region: "us-east-1",
            service: "xray",
            time: UNIX_EPOCH,
            credentials: &credentials,
        });
        black_box(signed.expect("the call can be signed"));
    }
}

fn realistic_batch() -> Batch {
    let mut batch = Batch::new();
    for number in 0..BATCH {
        batch.push(realistic::document(number).as_bytes());
    }
    batch
}

/// A batch that has to wait.
fn compress(times: u64) {
    let batch = realistic_batch();
    let mut compressor = Compressor::default();
    for _ in 0..times {
        black_box(black_box(&batch).compress(&mut compressor));
    }
    let (before, after) = (
        batch.body().len(),
        batch.compress(&mut compressor).bytes().len(),
    );
    let ratio = before as f64 / after as f64;
    println!("{before} bytes become {after}, ratio {ratio:.2}");
}

/// A batch that has waited.
fn open(times: u64) {
    let batch = realistic_batch();
    let compressed = batch.compress(&mut Compressor::default());
    for _ in 0..times {
        black_box(Batch::from_compressed(black_box(&compressed)));
    }
}
