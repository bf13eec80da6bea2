//! Clients that are slow, many, large or not HTTP at all.

use std::io::{Read, Write};
use std::iter;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use socket2::SockRef;
use xray::http::server::Request;
use xray::proxy::{
    Body, ClientResources, ForwardError, Incoming, Limits, LocalSampling, RequestHandler, Response,
};

use xray_test_support::DEADLINE;
use xray_test_support::http_client::HttpClient;
use xray_test_support::watch::wait_until;

use super::harness::{self, counted, parts, server, started, stop};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
const LONG: usize = 100_000;
const ASK: &str = "POST /x HTTP/1.1\r\nHost: h\r\n\r\n";

/// Says when a call has begun, and answers it when told to.
struct Held {
    began: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl RequestHandler for Held {
    fn handle(&self, _: &Incoming<'_>) -> Result<Response, ForwardError> {
        self.began.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        Ok(Response::new(200, Vec::new(), Body::Full(Vec::new())))
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

#[test]
fn the_connection_idle_longest_makes_room() {
    let (address, server, counts) = counted(connections(2), Arc::new(LocalSampling));
    let (mut first, mut second) = (HttpClient::connect(address), HttpClient::connect(address));
    assert_eq!(first.ask(HEALTH).status, 200);
    assert_eq!(second.ask(HEALTH).status, 200);
    // An answer is there a moment before its connection is idle again.
    wait_until("the connections are idle", || {
        harness::connections(&counts, "idle") == 2
    });
    // Used again: now the second one is the oldest.
    assert_eq!(first.ask(HEALTH).status, 200);
    wait_until("the connections are idle", || {
        harness::connections(&counts, "idle") == 2
    });
    let mut third = HttpClient::connect(address);
    assert_eq!(third.ask(HEALTH).status, 200);
    assert!(second.is_closed());
    assert_eq!(first.ask(HEALTH).status, 200);
    assert_eq!(counts.snapshot().shed, 1);
    stop(&server);
}

/// Takes all but health for short, and says which thread has to answer it.
struct Short {
    began: Sender<String>,
    go: Mutex<Receiver<()>>,
}

impl RequestHandler for Short {
    fn handle(&self, incoming: &Incoming<'_>) -> Result<Response, ForwardError> {
        let path = incoming.request.path();
        self.began.send(format!("{path} on a thread")).unwrap();
        Ok(Response::new(200, Vec::new(), Body::Full(Vec::new())))
    }

    fn is_short(&self, request: &Request) -> bool {
        request.path() != "/healthz"
    }

    fn handle_at_once(&self, request: &Arc<Request>) -> Option<Response> {
        let start = Instant::now();
        self.began
            .send(format!("{} at once", request.path()))
            .unwrap();
        if request.path() != "/last" {
            self.go.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            // As if all of it had been work.
            while start.elapsed() < Duration::from_millis(20) {}
        }
        Some(Response::new(200, Vec::new(), Body::Full(Vec::new())))
    }
}

#[test]
fn operators_go_first_and_short_requests_have_so_much_time() {
    let (began, begun) = channel();
    let (go, wait) = channel();
    let handler = Short {
        began,
        go: Mutex::new(wait),
    };
    let (address, server) = server(Limits::DEFAULT, Arc::new(handler));
    let mut clients = [(); 4].map(|()| {
        let mut client = HttpClient::connect(address);
        assert_eq!(client.ask(HEALTH).status, 200);
        client
    });
    let begins = || begun.recv_timeout(DEADLINE).unwrap();
    let ask = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    clients[0].send(ask("/first"));
    assert_eq!(begins(), "/first at once");
    // All of these are here when the thread looks again.
    clients[1].send(ask("/second"));
    clients[2].send(ask("/last"));
    clients[3].send(HEALTH);
    go.send(()).unwrap();
    assert_eq!(begins(), "/second at once");
    // The second one is not over before this one is answered.
    assert_eq!(clients[3].response().status, 200);
    go.send(()).unwrap();
    assert_eq!(begins(), "/last on a thread");
    for client in &mut clients[..3] {
        assert_eq!(client.response().status, 200);
    }
    stop(&server);
}

/// The memory of the kernel has a limit too: only so many clients get a longer receive buffer.
#[test]
fn clients_that_send_long_bodies_get_a_longer_receive_buffer() {
    let (handler, begun, go) = held();
    let (address, server) = server(Limits::DEFAULT, handler);
    let long = format!("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: {LONG}\r\n\r\n");
    let clients = [(); 17].map(|()| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(long.as_bytes()).unwrap();
        client.write_all(&[b'x'; LONG]).unwrap();
        begun.recv_timeout(DEADLINE).unwrap();
        go.send(()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        client
    });
    // While a request is under way, nothing more is read.
    let [first, last] = [&clients[0], &clients[16]].map(|mut client| {
        client.write_all(ASK.as_bytes()).unwrap();
        begun.recv_timeout(DEADLINE).unwrap();
        SockRef::from(client).set_send_buffer_size(4096).unwrap();
        // Until the kernel has taken nothing for so long.
        let time = Duration::from_millis(300);
        client.set_write_timeout(Some(time)).unwrap();
        iter::from_fn(|| client.write(&[b'x'; 1024]).ok()).sum::<usize>()
    });
    assert!(first > last + 50_000, "{first} and {last} bytes");
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    stop(&server);
}

#[test]
fn a_connection_that_never_asks_makes_room_too() {
    let (address, server) = server(connections(1), Arc::new(LocalSampling));
    let mut silent = HttpClient::connect(address);
    let mut client = HttpClient::connect(address);
    assert_eq!(client.ask(HEALTH).status, 200);
    assert!(silent.is_closed());
    stop(&server);
}

#[test]
fn when_all_are_busy_the_new_one_is_told() {
    let (handler, begun, go) = held();
    let (address, server) = server(connections(1), handler);
    let mut busy = HttpClient::connect(address);
    busy.send(ASK);
    begun.recv_timeout(DEADLINE).unwrap();

    let mut refused = HttpClient::connect(address);
    let answer = refused.ask(ASK);
    answer.assert_empty(503);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(refused.is_closed());
    // Health has places of its own.
    assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);

    go.send(()).unwrap();
    assert_eq!(busy.response().status, 200);
    // And it is over as soon as one is free: the first is idle again and makes room.
    let mut next = HttpClient::connect(address);
    assert_eq!(next.ask(HEALTH).status, 200);
    stop(&server);
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
        let (address, server) = server(limits, Arc::new(LocalSampling));
        let mut client = HttpClient::connect(address);
        client.send(slow);
        client.response().assert_empty(408);
        assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
        stop(&server);
    }
}

/// The deadline is for the whole request: a byte now and then does not move it.
#[test]
fn a_trickle_does_not_keep_a_connection() {
    let limits = Limits {
        request: Duration::from_millis(50),
        ..connections(1)
    };
    let (address, server) = server(limits, Arc::new(LocalSampling));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"POST /x HTTP/1.1\r\nA: ").unwrap();
    // Ends because the other side has closed.
    while stream.write_all(b"x").is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
    stop(&server);
}

#[test]
fn an_idle_connection_ends_in_silence() {
    let limits = Limits {
        // The client must have asked by then.
        idle: Duration::from_secs(3),
        ..Limits::DEFAULT
    };
    let (address, server) = server(limits, Arc::new(LocalSampling));
    let mut client = HttpClient::connect(address);
    assert_eq!(client.ask(HEALTH).status, 200);
    assert!(client.is_closed());
    stop(&server);
}

/// A client that does not read its answer is no reason to keep the answer for ever.
#[test]
fn an_answer_that_is_not_taken_is_given_up() {
    struct Endless;
    impl RequestHandler for Endless {
        fn handle(&self, _: &Incoming<'_>) -> Result<Response, ForwardError> {
            let reader = Box::new(std::io::repeat(b'x'));
            let length = None;
            Ok(Response::new(
                200,
                Vec::new(),
                Body::Stream { reader, length },
            ))
        }
    }
    let limits = Limits {
        // The answer to the second client must be written by then.
        answer: Duration::from_secs(3),
        ..connections(1)
    };
    let (address, server) = server(limits, Arc::new(Endless));
    let mut deaf = HttpClient::connect(address);
    deaf.send(ASK);
    assert!(deaf.response().is_cut_off);
    assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
    stop(&server);
}

#[test]
fn refusals_are_empty_and_close() {
    let (address, server, counts) = counted(Limits::DEFAULT, Arc::new(LocalSampling));
    let endless = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "a".repeat(70_000));
    let rows: &[(&[u8], u16)] = &[
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
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
    let refused = counts.snapshot().refused;
    let refused: u64 = refused.iter().map(|(_, count)| count).sum();
    assert_eq!(refused, rows.len() as u64);
    stop(&server);
}

/// Text of HTTP/1.1 would be unreadable to it.
#[test]
fn a_client_of_grpc_is_told_what_to_set() {
    let (address, server, counts) = counted(Limits::DEFAULT, Arc::new(LocalSampling));
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut frames = Vec::new();
    client.read_to_end(&mut frames).unwrap();
    assert_eq!(&frames[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0], "settings");
    assert_eq!(frames[12], 7, "go away");
    let hint = String::from_utf8_lossy(&frames);
    assert!(
        hint.contains("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        "{hint}"
    );
    let refused = counts.snapshot().refused;
    assert!(refused.contains(&("http2", 1)), "{refused:?}");
    stop(&server);
}

/// The client is still sending when it is refused: a reset would hide the answer from it.
#[test]
fn a_body_too_large_is_refused_in_a_way_that_arrives() {
    let (address, server) = server(Limits::DEFAULT, Arc::new(LocalSampling));
    let mut client = HttpClient::connect(address);
    client.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n");
    client.try_send(&vec![b'x'; 9_000_000]);
    client.response().assert_empty(413);
    stop(&server);
}

#[test]
fn large_bodies_share_a_budget_and_small_ones_need_none() {
    let (handler, begun, go) = held();
    // Half of it is for bodies.
    let resources = ClientResources::new(6 * 1024 * 1024, 0);
    let counts = Arc::default();
    let (address, server) = started(parts(Limits::DEFAULT, resources, handler, counts));
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
    stop(&server);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]
    #[test]
    fn nothing_a_client_sends_stops_the_others(
        garbage in prop::collection::vec(any::<u8>(), 0..2000),
        start in prop::sample::select(&["", "GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"]),
    ) {
        let (address, server) = server(Limits::DEFAULT, Arc::new(LocalSampling));
        let mut client = HttpClient::connect(address);
        client.try_send(start.as_bytes());
        client.try_send(&garbage);
        prop_assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
        drop(client);
        stop(&server);
    }
}
