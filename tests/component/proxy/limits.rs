//! Clients that are slow, many, large or not HTTP at all.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use xray::http::server::Request;
use xray::proxy::{Body, ForwardError, Front, Limits, LocalSampling, Response, Upstream};

use xray_test_support::DEADLINE;
use xray_test_support::http_client::HttpClient;
use xray_test_support::watch::wait_until;

use super::harness::{counted, front};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
const ASK: &str = "POST /x HTTP/1.1\r\nHost: h\r\n\r\n";

/// Says when a call has begun, and answers it when told to.
struct Held {
    began: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Upstream for Held {
    fn forward(&self, _: &Request) -> Result<Response, ForwardError> {
        self.began.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        Ok(Response {
            status: 200,
            headers: Vec::new(),
            body: Body::Full(Vec::new()),
        })
    }
}

fn held() -> (Arc<Held>, Receiver<()>, Sender<()>) {
    let (began, begun) = channel();
    let (go, wait) = channel();
    let upstream = Held {
        began,
        go: Mutex::new(wait),
    };
    (Arc::new(upstream), begun, go)
}

fn connections(connections: usize) -> Limits {
    Limits {
        connections,
        ..Limits::DEFAULT
    }
}

#[track_caller]
fn stop(front: Front) {
    assert!(front.stop(DEADLINE), "threads are left over");
}

#[test]
fn the_connection_idle_longest_makes_room() {
    let (address, front, counts) = counted(connections(2), Arc::new(LocalSampling));
    let (mut first, mut second) = (HttpClient::connect(address), HttpClient::connect(address));
    assert_eq!(first.ask(HEALTH).status, 200);
    assert_eq!(second.ask(HEALTH).status, 200);
    // An answer is there a moment before its connection is idle again.
    wait_until("both are idle", || counts.idle() == 2);
    // Used again: now the second one is the oldest.
    assert_eq!(first.ask(HEALTH).status, 200);
    wait_until("both are idle", || counts.idle() == 2);
    let mut third = HttpClient::connect(address);
    assert_eq!(third.ask(HEALTH).status, 200);
    assert!(second.is_closed());
    assert_eq!(first.ask(HEALTH).status, 200);
    assert_eq!(counts.shed(), 1);
    stop(front);
}

#[test]
fn a_connection_that_never_asks_makes_room_too() {
    let (address, front) = front(connections(1), Arc::new(LocalSampling));
    let mut silent = HttpClient::connect(address);
    let mut client = HttpClient::connect(address);
    assert_eq!(client.ask(HEALTH).status, 200);
    assert!(silent.is_closed());
    stop(front);
}

#[test]
fn when_all_are_busy_the_new_one_is_told() {
    let (upstream, begun, go) = held();
    let (address, front) = front(connections(1), upstream);
    let mut busy = HttpClient::connect(address);
    busy.send(ASK);
    begun.recv_timeout(DEADLINE).unwrap();

    let mut refused = HttpClient::connect(address);
    let answer = refused.response();
    answer.assert_empty(503);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(refused.is_closed());

    go.send(()).unwrap();
    assert_eq!(busy.response().status, 200);
    // And it is over as soon as one is free: the first is idle again and makes room.
    let mut next = HttpClient::connect(address);
    assert_eq!(next.ask(HEALTH).status, 200);
    stop(front);
}

#[test]
fn a_slow_client_gets_its_place_taken() {
    let limits = Limits {
        request: Duration::from_millis(50),
        ..connections(1)
    };
    for slow in [
        "G",
        "POST /x HTTP/1.1\r\n",
        "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{",
    ] {
        let (address, front) = front(limits, Arc::new(LocalSampling));
        let mut client = HttpClient::connect(address);
        client.send(slow);
        client.response().assert_empty(408);
        assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
        stop(front);
    }
}

/// The deadline is for the whole request: a byte now and then does not move it.
#[test]
fn a_trickle_does_not_keep_a_connection() {
    let limits = Limits {
        request: Duration::from_millis(50),
        ..connections(1)
    };
    let (address, front) = front(limits, Arc::new(LocalSampling));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"POST /x HTTP/1.1\r\nA: ").unwrap();
    // Ends because the other side has closed.
    while stream.write_all(b"x").is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
    stop(front);
}

#[test]
fn an_idle_connection_ends_in_silence() {
    let limits = Limits {
        idle: Duration::from_millis(50),
        ..Limits::DEFAULT
    };
    let (address, front) = front(limits, Arc::new(LocalSampling));
    let mut client = HttpClient::connect(address);
    assert_eq!(client.ask(HEALTH).status, 200);
    assert!(client.is_closed());
    stop(front);
}

/// A client that does not read its answer is no reason to keep the answer for ever.
#[test]
fn an_answer_that_is_not_taken_is_given_up() {
    struct Endless;
    impl Upstream for Endless {
        fn forward(&self, _: &Request) -> Result<Response, ForwardError> {
            Ok(Response {
                status: 200,
                headers: Vec::new(),
                body: Body::Stream {
                    reader: Box::new(std::io::repeat(b'x')),
                    length: None,
                },
            })
        }
    }
    let limits = Limits {
        answer: Duration::from_millis(50),
        ..connections(1)
    };
    let (address, front) = front(limits, Arc::new(Endless));
    let mut deaf = HttpClient::connect(address);
    deaf.send(ASK);
    assert!(deaf.response().is_cut_off);
    assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
    stop(front);
}

#[test]
fn refusals_are_empty_and_close() {
    let (address, front, counts) = counted(Limits::DEFAULT, Arc::new(LocalSampling));
    let endless = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "a".repeat(70_000));
    let rows: &[(&[u8], u16)] = &[
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n", 413),
        (endless.as_bytes(), 431),
    ];
    for (sent, status) in rows {
        let mut client = HttpClient::connect(address);
        client.try_send(sent);
        let answer = client.response();
        answer.assert_empty(*status);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed());
    }
    assert_eq!(counts.refused(), rows.len() as u64);
    stop(front);
}

/// The client is still sending when it is refused: a reset would hide the answer from it.
#[test]
fn a_body_too_large_is_refused_in_a_way_that_arrives() {
    let (address, front) = front(Limits::DEFAULT, Arc::new(LocalSampling));
    let mut client = HttpClient::connect(address);
    client.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n");
    client.try_send(&vec![b'x'; 9_000_000]);
    client.response().assert_empty(413);
    stop(front);
}

#[test]
fn large_bodies_share_a_budget_and_small_ones_need_none() {
    let (upstream, begun, go) = held();
    let limits = Limits {
        bodies: 3 * 1024 * 1024,
        ..Limits::DEFAULT
    };
    let (address, front) = front(limits, upstream);
    let large = |client: &mut HttpClient| {
        client.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n");
        client.try_send(&vec![b'x'; 2_000_000]);
    };
    let mut first = HttpClient::connect(address);
    large(&mut first);
    begun.recv_timeout(DEADLINE).unwrap();

    let mut second = HttpClient::connect(address);
    large(&mut second);
    second.response().assert_empty(503);

    let mut small = HttpClient::connect(address);
    small.send(format!(
        "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n{}",
        "x".repeat(60_000)
    ));
    begun.recv_timeout(DEADLINE).unwrap();
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    assert_eq!(
        (first.response().status, small.response().status),
        (200, 200)
    );

    // The room is given back with the answer.
    large(&mut first);
    begun.recv_timeout(DEADLINE).unwrap();
    go.send(()).unwrap();
    assert_eq!(first.response().status, 200);
    stop(front);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_a_client_sends_stops_the_others(
        garbage in prop::collection::vec(any::<u8>(), 0..2000),
        start in prop::sample::select(&["", "GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"]),
    ) {
        let (address, front) = front(Limits::DEFAULT, Arc::new(LocalSampling));
        let mut client = HttpClient::connect(address);
        client.try_send(start.as_bytes());
        client.try_send(&garbage);
        prop_assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
        drop(client);
        stop(front);
    }
}
