//! Only X-Ray itself can say that segments are delivered or at fault. Whatever else answers in its
//! place, they are held, and delivered when X-Ray is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use xray_test_support::daemon::Launch;
use xray_test_support::http::Response;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::totals::Totals;
use xray_test_support::xray::{FakeXray, Fault};

const SEGMENTS: usize = 200;

/// How long the service answers wrongly in the issue that this test is for.
const OUTAGE: Duration = Duration::from_secs(6);

/// Requests that a back-off of equal jitter allows in [`OUTAGE`], and those of all senders that were
/// in flight when the first one failed.
const MOST_REQUESTS: usize = 12 + 8;

/// Requests that the back-off allows beyond those in [`OUTAGE`], because this thread had to wait for the
/// processor: by then it is one in two seconds at the most.
fn late(begin: Instant) -> usize {
    begin.elapsed().saturating_sub(OUTAGE).as_secs() as usize
}

fn wrong_answers() -> Vec<(&'static str, Response)> {
    let json = |status, body: &str| Response::new(status, body.to_owned());
    let code =
        |status, code: &str| Response::new(status, "{}".to_owned()).with("x-amzn-ErrorType", code);
    vec![
        ("200 without a body", json(200, "")),
        ("200 with an empty object", json(200, "{}")),
        ("200 with another object", json(200, r#"{"status":"ok"}"#)),
        ("200 with a page", json(200, "<html>sign in</html>")),
        ("201", json(201, r#"{"UnprocessedTraceSegments":[]}"#)),
        ("202", json(202, "{}")),
        ("204", json(204, "")),
        ("206", json(206, r#"{"UnprocessedTraceSegments":[]}"#)),
        ("400 with a page", json(400, "<html>bad</html>")),
        ("400 without a body", json(400, "")),
        ("400 InternalFailure", code(400, "InternalFailure")),
        ("400 ServiceUnavailable", code(400, "ServiceUnavailable")),
        ("400 with an unknown code", code(400, "SomethingNew")),
        ("413 with a page", json(413, "<html>large</html>")),
        ("413 without a body", json(413, "")),
    ]
}

#[test]
fn nobody_else_delivers_or_refuses_segments() {
    thread::scope(|scope| {
        for (name, answer) in wrong_answers() {
            scope.spawn(move || {
                let mut fake = FakeXray::start();
                fake.inject(Fault::Impostor(answer));
                let daemon = Launch::against(&fake).start();
                let client = UdpClient::new(daemon.udp);
                let begin = Instant::now();
                client.load(0..SEGMENTS, 1_000);
                thread::sleep(OUTAGE);
                let requests = fake.read(|state| state.requests);
                let most = MOST_REQUESTS + late(begin);
                assert!(requests <= most, "{name}: {requests} requests");
                fake.wait_for("further attempts", |state| state.requests >= 3);
                fake.recover();
                fake.wait_for("all of them", |state| state.different() == SEGMENTS);
                let totals = Totals::at_the_end_of(&daemon.stop().log);
                let all = SEGMENTS as u64;
                assert_eq!((totals.received, totals.sent), (all, all), "{name}");
            });
        }
    });
}

/// A proxy that cannot take one document must not cost the others more than a moment.
#[test]
fn poison_behind_a_400_without_a_reason_is_found_and_its_neighbours_arrive() {
    let mut fake = FakeXray::start();
    fake.inject(Fault::AnswerToContaining(
        "POISON",
        Response::new(400, "<html>"),
    ));
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    client.load(0..20, 1_000);
    client.document(r#"{"id":"00000000deadbeef","name":"POISON"}"#);
    client.load(20..100, 1_000);
    fake.wait_for("the neighbours", |state| state.different() == 100);
    // Others have to pass while the bad document is tried.
    let next = AtomicUsize::new(100);
    while !daemon
        .log()
        .iter()
        .any(|line| line.contains("refused a segment"))
    {
        let n = next.fetch_add(1, SeqCst);
        client.document(segment(n));
        fake.wait_for("another", |state| state.different() > n);
    }
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!(totals.rejected, 1);
    assert_eq!(totals.sent + 1, totals.received);
}

/// X-Ray's own code for every batch: an outage, until ten minutes have passed.
#[test]
fn a_service_that_refuses_everything_is_backed_off_from() {
    let mut fake = FakeXray::start();
    fake.inject(Fault::error(400, "InvalidRequestException"));
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    // Four batches, of which the first two are halved before it is clear.
    client.load(0..SEGMENTS, 1_000);
    daemon.wait_log("refuses every batch");
    let begin = Instant::now();
    let before = fake.read(|state| state.requests);
    thread::sleep(OUTAGE);
    let requests = fake.read(|state| state.requests) - before;
    assert!(requests <= 12 + late(begin), "{requests} requests");
    fake.recover();
    fake.wait_for("what was held", |state| state.different() >= SEGMENTS - 100);
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert!(totals.rejected <= 100, "{totals:?}");
    assert_eq!(totals.sent + totals.rejected, SEGMENTS as u64);
}

/// A segment that X-Ray could not process just now is not lost.
#[test]
fn a_segment_that_was_not_processed_for_a_passing_reason_is_sent_again() {
    for code in [
        "ThrottlingException",
        "InternalFailure",
        "ServiceUnavailable",
    ] {
        let mut fake = FakeXray::start();
        let refusals = AtomicUsize::new(0);
        let id = "00000000000000aa";
        fake.inject(Fault::Unprocessed(Arc::new(move |document| {
            let chosen = document.contains(id) && refusals.fetch_add(1, SeqCst) < 3;
            chosen.then(|| json!({"Id": id, "ErrorCode": code, "Message": "later"}))
        })));
        let daemon = Launch::against(&fake).start();
        let client = UdpClient::new(daemon.udp);
        client.document(format!(r#"{{"id":"{id}"}}"#));
        client.load(0..10, 1_000);
        fake.wait_for("all of them", |state| state.different() == 11);
        let totals = Totals::at_the_end_of(&daemon.stop().log);
        assert_eq!((totals.sent, totals.rejected), (11, 0), "{code}");
    }
}

#[test]
fn entries_about_segments_that_were_not_sent_change_no_counter() {
    let mut fake = FakeXray::start();
    let stranger = json!({"UnprocessedTraceSegments": [
        {"Id": "ffffffffffffffff", "ErrorCode": "InvalidSegment", "Message": "whose?"},
        {"Id": "ffffffffffffffff", "ErrorCode": "InvalidSegment", "Message": "whose?"},
    ]});
    fake.inject(Fault::Answer(Response::new(200, stranger.to_string())));
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    (0..10).for_each(|n| client.document(segment(n)));
    daemon.wait_log("named a segment that was not in the request");
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.sent, totals.rejected), (10, 0));
}

/// Services that imitate X-Ray leave the list out, but send the header that every AWS service sends.
#[test]
fn an_imitation_of_x_ray_with_a_request_id_delivers() {
    for body in ["{}", r#"{"UnprocessedTraceSegments":null}"#] {
        let mut fake = FakeXray::start();
        fake.inject(Fault::Answer(Response::new(200, body)));
        let daemon = Launch::against(&fake).start();
        UdpClient::new(daemon.udp).document(segment(1));
        daemon.wait_log("Successfully sent batch of 1 segments");
        let totals = Totals::at_the_end_of(&daemon.stop().log);
        assert_eq!(totals.sent, 1, "{body}");
    }
}
