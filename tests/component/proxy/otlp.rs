//! The front for OpenTelemetry, with the test in the uploader's place.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use xray::proxy::{ClientResources, LocalSampling, OtlpFront, ProxyServer};
use xray::upload::UploadChannel;
use xray::upload::message::{Event, Message};
use xray::upload::spans::{SpanOffer, SpanRequest, SpanVerdict};

use xray_test_support::http::Response;
use xray_test_support::http_client::HttpClient;
use xray_test_support::watch::{DEADLINE, wait_until};

use super::harness::{connections, parts, started, stop};
use xray::proxy::{Counts, Limits};

/// An operator's request.
const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";

/// A request with one span.
const SPAN: &[u8] = b"\x0a\x04\x12\x02\x12\x00";

struct Front {
    server: ProxyServer,
    main: SocketAddr,
    otlp: SocketAddr,
    counts: Arc<Counts>,
    channel: UploadChannel,
    messages: Receiver<Message>,
}

fn front(memory: usize, limits: Limits) -> Front {
    let (channel, messages) = UploadChannel::new(1 << 20);
    let resources = ClientResources::new(memory, 0);
    let counts = Arc::<Counts>::default();
    let handler = OtlpFront {
        next: Arc::new(LocalSampling),
        channel: channel.clone(),
        resources: Arc::clone(&resources),
        feed: None,
        is_enabled: true,
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let otlp = listener.local_addr().unwrap();
    let mut parts = parts(limits, resources, Arc::new(handler), Arc::clone(&counts));
    parts.otlp = Some(listener);
    let (main, server) = started(parts);
    Front {
        server,
        main,
        otlp,
        counts,
        channel,
        messages,
    }
}

impl Front {
    #[track_caller]
    fn offer(&self) -> SpanOffer {
        match self.messages.recv_timeout(DEADLINE) {
            Ok(Message::Event(Event::Spans(offer))) => offer,
            _ => panic!("no spans are offered"),
        }
    }

    /// Answers an offer.
    #[track_caller]
    fn decide(&self, verdict: SpanVerdict) -> SpanRequest {
        let (request, reply) = self.offer().take().expect("its client waits");
        reply.give(verdict);
        request
    }

    /// What was taken on credit.
    #[track_caller]
    fn taken(&self) -> SpanRequest {
        match self.messages.recv_timeout(DEADLINE) {
            Ok(Message::Event(Event::SpansOnCredit(request))) => {
                self.channel.spans_received(&request);
                request
            }
            _ => panic!("no spans are taken"),
        }
    }
}

fn head(length: usize, coding: &str) -> String {
    format!(
        "POST /v1/traces HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-protobuf\r\n{coding}\
         Content-Length: {length}\r\n\r\n"
    )
}

fn export(to: SocketAddr, coding: &str, body: &[u8]) -> Response {
    let head = head(body.len(), coding);
    HttpClient::connect(to).ask([head.as_bytes(), body].concat())
}

#[test]
fn a_client_is_told_what_the_uploader_says() {
    let front = front(64 << 20, Limits::DEFAULT);
    for (verdict, status, words) in [
        (SpanVerdict::Taken, 200, ""),
        (
            SpanVerdict::TooLong(99),
            413,
            "99 that all waiting spans may take",
        ),
        (SpanVerdict::Full, 503, "send them again later"),
        (SpanVerdict::Unreadable, 400, "no ExportTraceServiceRequest"),
    ] {
        for to in [front.main, front.otlp] {
            let client = thread::spawn(move || export(to, "", SPAN));
            let request = front.decide(verdict);
            assert_eq!((&**request.body, request.spans), (SPAN, 1));
            let answer = client.join().unwrap();
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.status, status, "{text}");
            assert!(text.contains(words), "{text}");
            assert_eq!(answer.header("retry-after").is_some(), status == 503);
        }
    }
    // Nobody has to be asked about nothing.
    assert_eq!(export(front.otlp, "", b"").status, 200);
    assert!(front.messages.try_recv().is_err());
    stop(&front.server);
}

/// The client sends them again, so that they must not be held as well.
#[test]
fn what_the_uploader_takes_too_late_is_not_taken() {
    let front = front(64 << 20, Limits::DEFAULT);
    let answer = export(front.otlp, "", SPAN);
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    assert!(front.offer().take().is_none());
    stop(&front.server);
    let words = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(words.contains("no time to take the spans"), "{words}");
}

#[test]
fn hostile_bodies_are_refused_and_the_next_client_is_served() {
    let front = front(2 << 20, Limits::DEFAULT);
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bomb.extend(miniz_oxide::deflate::compress_to_vec(
        &vec![0; 100 << 20],
        6,
    ));
    let endless = vec![0xff; 300_000];
    for (coding, body, status) in [
        ("Content-Encoding: gzip\r\n", bomb.as_slice(), 413),
        ("Content-Encoding: gzip\r\n", b"no gzip", 400),
        ("Content-Encoding: br\r\n", SPAN, 415),
        ("", &endless, 400),
        ("", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 400),
    ] {
        assert_eq!(export(front.otlp, coding, body).status, status, "{coding}");
    }
    let to = front.otlp;
    let client = thread::spawn(move || export(to, "", SPAN));
    front.decide(SpanVerdict::Taken);
    assert_eq!(client.join().unwrap().status, 200);
    stop(&front.server);
}

#[test]
fn short_requests_with_spans_need_no_thread() {
    // A quarter of it is for threads, and is too little for one.
    let front = front(100 << 10, Limits::DEFAULT);
    let forwarded = "POST /v1/logs HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    let mut others = HttpClient::connect(front.main);
    others.send(forwarded);
    let request = [head(SPAN.len(), "").as_bytes(), SPAN].concat();
    for to in [front.main, front.otlp] {
        front.channel.give_credit(10_000);
        // Also those that stand one behind the other, and beside others that wait for a thread.
        let mut client = HttpClient::connect(to);
        client.send(request.repeat(10));
        for _ in 0..10 {
            assert_eq!(client.response().status, 200);
            assert_eq!(&**front.taken().body, SPAN);
        }
    }
    assert_eq!(others.response().status, 503);
    // What may take longer waits for a thread.
    let gzip = "Content-Encoding: gzip\r\n";
    assert_eq!(export(front.otlp, gzip, SPAN).status, 503);
    stop(&front.server);
}

#[test]
fn without_credit_a_short_request_waits_for_the_uploader_and_others_do_not() {
    let front = front(64 << 20, Limits::DEFAULT);
    let to = front.otlp;
    let client = thread::spawn(move || export(to, "", SPAN));
    let offer = front.offer();
    let metrics = HttpClient::connect(front.main).ask(METRICS);
    assert_eq!(metrics.status, 200);
    let (_, reply) = offer.take().unwrap();
    reply.give(SpanVerdict::Taken);
    assert_eq!(client.join().unwrap().status, 200);
    stop(&front.server);
}

/// These clients send requests until the others have got their answers.
#[test]
fn clients_with_many_requests_at_once_hold_up_nobody() {
    let front = front(64 << 20, Limits::DEFAULT);
    front.channel.give_credit(1000);
    let others = Arc::new(());
    thread::scope(|scope| {
        let others = others;
        for _ in 0..8 {
            let mut busy = HttpClient::connect(front.otlp);
            let others = Arc::downgrade(&others);
            scope.spawn(move || {
                while others.strong_count() > 0 {
                    busy.send(head(0, "").repeat(100));
                    for _ in 0..100 {
                        assert_eq!(busy.response().status, 200);
                    }
                }
            });
        }
        for to in [front.main, front.otlp] {
            for _ in 0..20 {
                assert_eq!(export(to, "", b"").status, 200);
                let metrics = HttpClient::connect(front.main).ask(METRICS);
                assert_eq!(metrics.status, 200);
            }
        }
        // Also where one of these has failed.
        drop(others);
    });
    stop(&front.server);
}

/// Otherwise the thread that answers it could answer nobody else.
#[test]
fn a_client_that_reads_no_answers_loses_its_connection() {
    let front = front(64 << 20, Limits::DEFAULT);
    front.channel.give_credit(1000);
    let mut greedy = TcpStream::connect(front.otlp).unwrap();
    let requests = head(0, "").repeat(1000).into_bytes();
    // The connection ends when the kernel holds no more of its answers.
    while greedy.write_all(&requests).is_ok() {}
    assert_eq!(export(front.otlp, "", b"").status, 200);
    stop(&front.server);
}

/// A body that is not even read is refused in the client's encoding, too, and by its limit.
#[test]
fn a_body_that_is_too_long_to_be_read_is_told_the_limit() {
    for (memory, words) in [
        (64 << 20, "more than 5242880 bytes uncompressed"),
        (2 << 20, "the daemon's -m"),
    ] {
        let front = front(memory, Limits::DEFAULT);
        for content_type in ["application/x-protobuf", "application/json"] {
            for (framing, chunk) in [
                ("Content-Length: 7000000", ""),
                ("Content-Length: 7000000\r\nExpect: 100-continue", ""),
                ("Transfer-Encoding: chunked", "7000000\r\n"),
            ] {
                let request = format!(
                    "POST /v1/traces HTTP/1.1\r\nHost: h\r\nContent-Type: {content_type}\r\n\
                     {framing}\r\n\r\n{chunk}"
                );
                let answer = HttpClient::connect(front.otlp).ask(request);
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                assert_eq!(answer.status, 413, "{framing}");
                assert_eq!(answer.header("content-type"), Some(content_type));
                assert!(text.contains(words), "{framing}: {text:?}");
                let is_json = content_type == "application/json";
                assert_eq!(text.starts_with("{\"code\":8,"), is_json, "{text:?}");
            }
        }
        // What is no request with spans is answered as ever.
        let other = "POST /v1/logs HTTP/1.1\r\nHost: h\r\nContent-Length: 7000000\r\n\r\n";
        let answer = HttpClient::connect(front.otlp).ask(other);
        answer.assert_empty(413);
        stop(&front.server);
    }
}

/// Both sockets have one thread: clients that stall on either keep out nobody.
#[test]
fn slow_clients_hold_up_nobody_on_the_other_port() {
    let limits = Limits {
        request: Duration::from_secs(600),
        ..Limits::DEFAULT
    };
    let front = front(64 << 20, limits);
    let slow: Vec<_> = (0..50)
        .map(|n| {
            let to = if n % 2 == 0 { front.main } else { front.otlp };
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(head(1000, "").as_bytes()).unwrap();
            stream.write_all(b"\x0a").unwrap();
            stream
        })
        .collect();
    wait_until("all are read", || {
        connections(&front.counts, "receiving") == 50
    });
    for to in [front.main, front.otlp] {
        let client = thread::spawn(move || export(to, "", SPAN));
        front.decide(SpanVerdict::Taken);
        assert_eq!(client.join().unwrap().status, 200);
    }
    drop(slow);
    stop(&front.server);
}
