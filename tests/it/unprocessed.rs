//! Documents that X-Ray takes but does not process: counted, and named in the log.

use std::sync::Arc;

use serde_json::{Value, json};

use xray_test_support::daemon::Launch;
use xray_test_support::http::Response;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::totals::Totals;
use xray_test_support::xray::FakeXray;
use xray_test_support::xray::Fault;

/// Answers `entry` for every document that contains `text`.
fn refuse(text: &'static str, entry: Value) -> Fault {
    Fault::Unprocessed(Arc::new(move |document| {
        document.contains(text).then(|| entry.clone())
    }))
}

#[test]
fn are_named_by_the_ids_they_carry() {
    // The document's own ids come first; those of its subsegments must not be taken for them.
    let documents = [
        (
            r#"{"trace_id":"1-6a1b2c3d-aaaaaaaaaaaaaaaaaaaaaaaa","id":"aaaaaaaaaaaaaaaa","subsegments":[{"id":"ffffffffffffffff"}]}"#,
            "1-6a1b2c3d-aaaaaaaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaa",
        ),
        (
            r#"{"id": "bbbbbbbbbbbbbbbb", "trace_id": "1-6a1b2c3d-bbbbbbbbbbbbbbbbbbbbbbbb", "subsegments": [{"id": "ffffffffffffffff"}]}"#,
            "1-6a1b2c3d-bbbbbbbbbbbbbbbbbbbbbbbb",
            "bbbbbbbbbbbbbbbb",
        ),
    ];
    for (document, trace_id, id) in documents {
        let mut fake = FakeXray::start();
        fake.inject(refuse(
            id,
            json!({"Id": id, "ErrorCode": "InvalidTraceId", "Message": "Trace Size Exceeded."}),
        ));
        let daemon = Launch::against(&fake).start();
        let client = UdpClient::new(daemon.udp);
        client.document(document);
        (0..5).for_each(|n| client.document(segment(n)));
        fake.wait_for("all answered", |state| {
            state.accepted.len() + state.unprocessed.len() == 6
        });
        let ended = daemon.stop();
        let lines: Vec<_> = ended.log.iter().filter(|l| l.contains(id)).collect();
        let [line] = lines[..] else {
            panic!("not one line: {lines:#?}");
        };
        for part in [trace_id, "InvalidTraceId", "Trace Size Exceeded."] {
            assert!(line.contains(part), "no {part:?} in {line:?}");
        }
        assert!(!line.contains("ffff"), "a subsegment's id in {line:?}");
        let totals = Totals::at_the_end_of(&ended.log);
        assert_eq!((totals.received, totals.sent, totals.rejected), (6, 5, 1));
    }
}

#[test]
fn may_come_without_an_id() {
    for entry in [
        json!({"ErrorCode": "ParseError", "Message": "Cannot parse"}),
        json!({"Id": null, "ErrorCode": "ParseError", "Message": "Cannot parse"}),
        json!({"Id": "", "ErrorCode": "ParseError", "Message": null}),
    ] {
        let mut fake = FakeXray::start();
        fake.inject(refuse("no JSON", entry));
        let daemon = Launch::against(&fake).start();
        let client = UdpClient::new(daemon.udp);
        client.document("no JSON");
        client.document(segment(1));
        daemon.wait_log("ParseError");
        let totals = Totals::at_the_end_of(&daemon.stop().log);
        assert_eq!((totals.received, totals.sent, totals.rejected), (2, 1, 1));
    }
}

/// The answer comes from the network: it must not write log lines of its own, nor long ones.
#[test]
fn cannot_forge_or_flood_the_log() {
    let mut fake = FakeXray::start();
    // Three of these are longer than any line, and much shorter than the answer that is given up.
    let message = format!(
        "a\n2026-11-22T00:00:00Z [Error] forged\x1b[31m{}",
        "x".repeat(20_000)
    );
    fake.inject(Fault::Unprocessed(Arc::new(move |document| {
        let id = (document == segment(1)).then_some(&message);
        Some(json!({"Id": id, "ErrorCode": message, "Message": message}))
    })));
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    (1..3).for_each(|n| client.document(segment(n)));
    fake.wait_for("the answer", |state| state.unprocessed.len() == 2);
    let log = daemon.stop().log;
    let quotes = log.iter().filter(|line| line.contains("[Error] forged"));
    assert_eq!(quotes.count(), 2, "each quoted in one line: {log:#?}");
    for line in log {
        assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
        assert!(!line.starts_with("2026-11-22T00:00:00Z"), "{line:?}");
        assert!(line.len() < 4_096, "{} bytes in a line", line.len());
    }
}

/// A list longer than the batch, or one that is no list, does not unbalance the totals.
#[test]
fn are_never_more_than_were_sent() {
    let many: Vec<Value> = (0..1_000)
        .map(|n| json!({"Id": n, "ErrorCode": "X"}))
        .collect();
    for body in [
        json!({"UnprocessedTraceSegments": many}),
        json!({"UnprocessedTraceSegments": {"Id": "1"}}),
        json!({"UnprocessedTraceSegments": [null, 1, "x", []]}),
        json!(null),
        json!([]),
    ] {
        let fake = FakeXray::start();
        fake.inject_once(Fault::Answer(Response::new(200, body.to_string())));
        let daemon = Launch::against(&fake).start();
        let client = UdpClient::new(daemon.udp);
        // Full batches, which wait for nothing.
        (0..50).for_each(|n| client.document(segment(n)));
        fake.wait_for("the request", |state| !state.batches.is_empty());
        (50..100).for_each(|n| client.document(segment(n)));
        fake.wait_for("the next documents", |state| {
            state.accepted.contains(&segment(99))
        });
        let totals = Totals::at_the_end_of(&daemon.stop().log);
        assert_eq!((totals.received, totals.spilled, totals.held), (100, 0, 0));
    }
}
