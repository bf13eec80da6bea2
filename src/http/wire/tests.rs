//! Against a peer that reads whole requests and writes what it is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::*;
use crate::http::client::{HttpClientConfig, HttpClientFactory};
use crate::http::dns::Resolver;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What the peer does upon a request.
#[derive(Clone, Copy)]
enum Act {
    Answer(&'static str),
    /// Answers and closes the connection.
    Close(&'static str),
    /// Answers as soon as the head is there, and closes the connection with the body unread.
    Hurry(&'static str),
}

/// What the peer saw: the number of the connection, the head and the body.
type Seen = (usize, String, Vec<u8>);

/// Acts one request after another, on as many connections as come. It says when each is done.
fn peer(acts: &[Act]) -> (Uri, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let acts = acts.to_vec();
    let (say, seen) = channel();
    thread::spawn(move || {
        let mut acts = acts.into_iter().peekable();
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            while let Some(act) = acts.peek().copied() {
                let Some((head, body)) = request(&mut stream, matches!(act, Act::Hurry(_))) else {
                    break;
                };
                acts.next();
                let (Act::Answer(answer) | Act::Close(answer) | Act::Hurry(answer)) = act;
                stream.write_all(answer.as_bytes()).unwrap();
                let closes = !matches!(act, Act::Answer(_));
                if closes {
                    let _ = stream.shutdown(Shutdown::Write);
                }
                say.send((number, head, body)).unwrap();
                if closes {
                    break;
                }
            }
        }
    });
    (uri.parse().unwrap(), seen)
}

fn request(stream: &mut TcpStream, head_only: bool) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end.map(|end| end + 4) {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if head_only || bytes.len() >= end + length.unwrap().parse::<usize>().unwrap() {
                return Some((head, bytes.split_off(end)));
            }
        }
        match stream.read(&mut piece).unwrap_or(0) {
            0 => return None,
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
}

fn wire(endpoint: Uri) -> Wire {
    let patience = Duration::from_secs(20);
    let limits = Limits {
        connect: patience,
        whole: patience,
        silence: patience,
        idle: patience,
    };
    let config = ureq::Agent::config_builder().proxy(None).build();
    let factory = HttpClientFactory::new(HttpClientConfig {
        resolver: Resolver::start().unwrap(),
        proxy_address: "",
        no_verify_ssl: true,
        profile_ca_bundle: None,
        connections: 2,
        user_agent: "xray/test",
        env: &|_| None,
    });
    let connect = factory.unwrap().connect();
    Wire::new(endpoint, config, connect, limits, "xray/test".to_owned(), 2)
}

fn status(answer: &Result<Answer, WireError>) -> u16 {
    answer.as_ref().map(|answer| answer.status).unwrap()
}

#[test]
fn a_request_is_what_was_asked_for_and_no_more() {
    let (uri, seen) = peer(&[Act::Answer(OK)]);
    let port = uri.port_u16().unwrap();
    let wire = wire(uri);
    let headers = [("content-type", "application/json".into())];
    let answer = wire.post("/TraceSegments", &headers, b"{}").unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"ok"[..]));
    let (_, head, body) = seen.recv().unwrap();
    let expected = format!(
        "POST /TraceSegments HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: xray/test\r\n\
         content-length: 2\r\ncontent-type: application/json\r\n\r\n"
    );
    assert_eq!((head, &*body), (expected, &b"{}"[..]));
}

#[test]
fn the_endpoint_says_host_and_path() {
    for (endpoint, host, path) in [
        (
            "https://xray.eu-west-1.amazonaws.com",
            "xray.eu-west-1.amazonaws.com",
            "/Call",
        ),
        ("https://localhost:443/", "localhost", "/Call"),
        ("http://localhost:443/a/b", "localhost:443", "/a/b/Call"),
        ("http://localhost:80", "localhost", "/Call"),
        ("https://[::1]:80/a/", "[::1]:80", "/a/Call"),
    ] {
        let wire = wire(endpoint.parse().unwrap());
        assert_eq!(
            (wire.host(), &*wire.path("Call")),
            (host, path),
            "{endpoint}"
        );
    }
}

#[test]
fn a_connection_carries_one_request_after_another() {
    let (uri, seen) = peer(&[Act::Answer(OK); 3]);
    let wire = wire(uri);
    for _ in 0..3 {
        assert_eq!(status(&wire.post("/", &[], b"{}")), 200);
        assert_eq!(seen.recv().unwrap().0, 0);
    }
}

/// A body is many times as long as the buffers.
#[test]
fn a_long_body_arrives_whole() {
    let (uri, seen) = peer(&[Act::Answer(OK)]);
    let body: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    assert_eq!(status(&wire(uri).post("/", &[], &body)), 200);
    assert!(seen.recv().unwrap().2 == body);
}

#[test]
fn a_connection_that_cannot_be_used_again_is_not() {
    for act in [
        Act::Close(OK),
        Act::Answer("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        Act::Answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nand more"),
        Act::Answer("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
        Act::Close("HTTP/1.1 200 OK\r\n\r\nto the end"),
    ] {
        let (uri, seen) = peer(&[act, Act::Answer(OK)]);
        let wire = wire(uri);
        for connection in 0..2 {
            assert_eq!(status(&wire.post("/", &[], b"{}")), 200);
            assert_eq!(seen.recv().unwrap().0, connection);
        }
    }
}

#[test]
fn a_connection_that_was_idle_for_long_is_not_used_again() {
    let (uri, seen) = peer(&[Act::Answer(OK); 2]);
    let mut wire = wire(uri);
    wire.limits.idle = Duration::ZERO;
    for connection in 0..2 {
        assert_eq!(status(&wire.post("/", &[], b"{}")), 200);
        assert_eq!(seen.recv().unwrap().0, connection);
    }
}

/// A front that refuses a request for its length does not read it to its end; one that takes what it
/// has not read is none.
#[test]
fn an_answer_that_comes_too_early_counts_if_it_refuses() {
    let refused = "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
    let body = vec![b'x'; 32 * 1024 * 1024];
    let (uri, _seen) = peer(&[Act::Hurry(refused)]);
    assert_eq!(status(&wire(uri).post("/", &[], &body)), 413);
    let (uri, _seen) = peer(&[Act::Hurry(OK)]);
    let error = wire(uri).post("/", &[], &body).unwrap_err();
    assert!(
        matches!(error, WireError::Transport(ureq::Error::Io(_))),
        "{error}"
    );
}

#[test]
fn a_head_that_is_too_long_is_an_error() {
    let (uri, _seen) = peer(&[Act::Answer(OK)]);
    let token = [("x-amz-security-token", "x".repeat(1 << 20).into())];
    let error = wire(uri).post("/", &token, b"{}").unwrap_err();
    assert!(matches!(error, WireError::HeadTooLong(_)), "{error}");
}

#[test]
fn no_answer_says_why() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint: Uri = format!("http://{}", silent.local_addr().unwrap())
        .parse()
        .unwrap();
    let mut to_silent = wire(endpoint);
    to_silent.limits.silence = Duration::from_millis(50);
    let error = to_silent.post("/", &[], b"{}").unwrap_err();
    assert!(
        matches!(error, WireError::Transport(ureq::Error::Timeout(_))),
        "{error}"
    );
    to_silent.limits.whole = Duration::ZERO;
    let error = to_silent.post("/", &[], b"{}").unwrap_err();
    assert!(matches!(error, WireError::Transport(_)), "{error}");

    let (uri, _seen) = peer(&[Act::Close("")]);
    let error = wire(uri).post("/", &[], b"{}").unwrap_err();
    assert!(
        matches!(error, WireError::Answer(BadAnswer::Nothing)),
        "{error}"
    );
}
