//! The end, with clients still there.

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use xray::proxy::{Body, ForwardError, Incoming, Limits, RequestHandler, Response};

use xray_test_support::DEADLINE;
use xray_test_support::http_client::HttpClient;
use xray_test_support::watch::wait_until;

use super::harness::{connections, counted, server, stop_by};

const ASK: &str = "POST /x HTTP/1.1\r\nHost: h\r\n\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";

/// Answers when told to.
struct Told(Sender<()>, Mutex<Receiver<()>>);

impl RequestHandler for Told {
    fn handle(&self, _: &Incoming<'_>) -> Result<Response, ForwardError> {
        self.0.send(()).unwrap();
        self.1.lock().unwrap().recv().unwrap();
        Ok(Response::new(200, Vec::new(), Body::Full(b"done".to_vec())))
    }
}

fn told() -> (Arc<Told>, Receiver<()>, Sender<()>) {
    let (began, begun) = channel();
    let (go, wait) = channel();
    (Arc::new(Told(began, Mutex::new(wait))), begun, go)
}

#[test]
fn requests_under_way_finish_and_new_ones_are_turned_away() {
    let (handler, begun, go) = told();
    let (address, server, counts) = counted(Limits::DEFAULT, handler);
    let mut idle = HttpClient::connect(address);
    assert_eq!(idle.ask(HEALTH).status, 200);
    let mut busy = HttpClient::connect(address);
    busy.send(ASK);
    begun.recv_timeout(DEADLINE).unwrap();
    let mut sending = HttpClient::connect(address);
    sending.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{");
    wait_until("the request is being received", || {
        connections(&counts, "receiving") == 1
    });

    let server = Arc::new(server);
    let stopping = thread::spawn({
        let server = Arc::clone(&server);
        move || stop_by(&server, Instant::now() + DEADLINE)
    });
    assert!(idle.is_closed());
    // One that comes now.
    let mut late = HttpClient::connect(address);
    let answer = late.ask(ASK);
    answer.assert_empty(503);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(late.is_closed());
    // Operators still see how it goes.
    let answer = HttpClient::connect(address).ask(HEALTH);
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );

    // One that was being sent when the end began.
    sending.send("}");
    begun.recv_timeout(DEADLINE).unwrap();
    // Either of the two may get the first word.
    go.send(()).unwrap();
    go.send(()).unwrap();
    for client in [&mut busy, &mut sending] {
        let answer = client.response();
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.body, b"done");
    }
    assert!(stopping.join().unwrap());
    drop(server);
    // A program that another test starts at this moment may hold the socket until it runs.
    wait_until("the port is closed", || {
        std::net::TcpStream::connect(address).is_err()
    });
}

/// Events that never end.
struct Events(Mutex<Option<Receiver<Vec<u8>>>>);

struct Next(Receiver<Vec<u8>>);

impl Read for Next {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let event = self.0.recv().unwrap_or_default();
        out[..event.len()].copy_from_slice(&event);
        Ok(event.len())
    }
}

impl RequestHandler for Events {
    fn handle(&self, _: &Incoming<'_>) -> Result<Response, ForwardError> {
        let events = self.0.lock().unwrap().take().unwrap();
        Ok(Response::new(
            200,
            Vec::new(),
            Body::Live(Box::new(Next(events))),
        ))
    }
}

#[test]
fn events_come_at_once_take_no_place_and_hold_up_no_end() {
    let (sender, events) = channel();
    let limits = Limits {
        calls: 1,
        ..Limits::DEFAULT
    };
    let (address, server) = server(limits, Arc::new(Events(Mutex::new(Some(events)))));
    let mut client = HttpClient::connect(address);
    client.send("GET /events HTTP/1.0\r\n\r\n");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        sender.send(event.as_bytes().to_vec()).unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(event.as_bytes()) {
            seen.extend(client.bytes(1));
        }
    }
    assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
    // The handler waits for an event that does not come.
    assert!(stop_by(&server, Instant::now() + DEADLINE));
    assert!(client.is_closed());
    drop(sender);
}
