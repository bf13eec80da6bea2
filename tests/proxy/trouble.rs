//! When something is missing, late or wrong upstream.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use xray::proxy::{Handler, Limits};

use crate::client::{Client, PATIENCE};
use crate::house::{House, agents, answered, forwarder, keeper, key, server, stop, target};
use crate::service::{KEY, Reply, SECRET, Service, nobody};

const ASK: &str = "POST /GetSamplingRules HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn own_errors_are_empty_and_leave_the_connection_usable() {
    let replies = [
        Reply::Close(Vec::new()),
        Reply::Close(b"HTTP/1.1 20".to_vec()),
        Reply::Close(b"<html>a captive portal</html>\r\n\r\n".to_vec()),
        Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_vec()),
        // No final answer: the client would go on waiting for one.
        Reply::Close(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_vec()),
    ];
    for reply in replies {
        let service = Service::start(move |_| reply.clone());
        let house = House::new(&service);
        let mut client = house.client();
        client.ask(ASK).is_own(502);
        client.ask(ASK).is_own(502);
        assert_eq!(answered(&house.counts, "no_answer"), 2);
        house.stop();
    }
    let endpoint = format!("http://{}", nobody());
    let house = House::with(&endpoint, Limits::DEFAULT, vec![key(KEY, None)]);
    house.client().ask(ASK).is_own(502);
    house.stop();
}

#[test]
fn without_credentials_nothing_is_sent() {
    let service = Service::start(|_| Reply::ok());
    let endpoint = format!("http://{}", service.address);
    let house = House::with(&endpoint, Limits::DEFAULT, Vec::new());
    house.client().ask(ASK).is_own(502);
    assert!(!service.has_more());
    house.stop();
}

/// The first call of an application that starts beside the daemon: a failure would cost it 300 s
/// of blind sampling.
#[test]
fn a_call_waits_a_moment_for_the_region() {
    let service = Service::start(|_| Reply::ok());
    let endpoint = format!("http://{}", service.address);
    let forwarder = forwarder();
    let handler = Arc::clone(&forwarder) as Arc<dyn Handler>;
    let (address, server) = server(Limits::DEFAULT, handler);
    Client::connect(address).ask(ASK).is_own(502);

    let mut client = Client::connect(address);
    client.send(ASK);
    let keeper = keeper(vec![key(KEY, None)]);
    forwarder.set_target(target(&agents(None), &endpoint, &keeper));
    assert_eq!(client.answer().status, 200);
    stop(&server);
}

#[test]
fn warming_up_asks_unsigned_and_learns_the_time() {
    let service = Service::start(|request| match request.line.as_str() {
        "HEAD / HTTP/1.1" => Reply::Open(
            b"HTTP/1.1 403 Forbidden\r\nDate: Fri, 15 Jan 2100 12:00:00 GMT\r\n\r\n".to_vec(),
        ),
        _ => Reply::ok(),
    });
    let house = House::new(&service);
    house.forwarder.warm();
    assert_eq!(service.received().header("authorization"), None);
    assert_eq!(house.client().ask(ASK).status, 200);
    let received = service.received();
    assert_eq!(&received.header("x-amz-date").unwrap()[..6], "210001");
    house.stop();
}

#[test]
fn a_wrong_clock_costs_the_client_nothing() {
    let later = SystemTime::now() + Duration::from_secs(3600);
    let date = httpdate::fmt_http_date(later);
    let asked = AtomicUsize::new(0);
    let service = Service::start(move |_| {
        let date = format!("Date: {date}\r\nx-amzn-ErrorType: InvalidSignatureException:\r\n");
        match asked.fetch_add(1, SeqCst) {
            0 => Reply::new(
                "403 Forbidden",
                &date,
                "{\"message\":\"Signature expired\"}",
            ),
            _ => Reply::ok(),
        }
    });
    let house = House::new(&service);
    assert_eq!(house.client().ask(ASK).status, 200);
    let (first, second) = (service.received(), service.received());
    assert!(first.header("x-amz-date") < second.header("x-amz-date"));
    second.is_signed_by(KEY, SECRET);
    assert_eq!(second.body, b"{}");
    house.stop();
}

fn refused(code: &str) -> Reply {
    let headers = format!("x-amzn-ErrorType: {code}\r\n");
    Reply::new("403 Forbidden", &headers, "{\"message\":\"refused\"}")
}

#[test]
fn refused_credentials_are_renewed_within_the_call() {
    for code in [
        "ExpiredTokenException",
        "UnrecognizedClientException",
        // The secret was read while its file was written.
        "InvalidSignatureException",
    ] {
        let service = Service::start(move |request| {
            let authorization = request.header("authorization").unwrap();
            if authorization.contains("Credential=OLD/") {
                refused(code)
            } else {
                Reply::ok()
            }
        });
        let endpoint = format!("http://{}", service.address);
        let keys = vec![key("OLD", None), key("NEW", None)];
        let house = House::with(&endpoint, Limits::DEFAULT, keys);
        assert_eq!(house.client().ask(ASK).status, 200, "{code}");
        service.received().is_signed_by("OLD", SECRET);
        service.received().is_signed_by("NEW", SECRET);
        house.stop();
    }
}

#[test]
fn a_refusal_that_nothing_cures_goes_back_whole() {
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(100_000));
    let replies = [
        refused("ExpiredTokenException"),
        Reply::new(
            "403 Forbidden",
            "x-amzn-ErrorType: AccessDeniedException\r\n",
            &long,
        ),
        Reply::new(
            "400 Bad Request",
            "",
            "{\"__type\":\"InvalidRequestException\"}",
        ),
    ];
    for reply in replies {
        let Reply::Open(bytes) = reply.clone() else {
            unreachable!()
        };
        let service = Service::start(move |_| reply.clone());
        let house = House::new(&service);
        let answer = house.client().ask(ASK);
        assert!(answer.is_whole && bytes.ends_with(&answer.body) && !answer.body.is_empty());
        service.received();
        assert!(!service.has_more());
        house.stop();
    }
}

#[test]
fn stopping_lets_a_call_under_way_finish() {
    let (go, wait) = channel::<()>();
    let (began, begun) = channel();
    let wait = std::sync::Mutex::new(wait);
    let service = Service::start(move |_| {
        began.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        Reply::ok()
    });
    let house = House::new(&service);
    let mut idle = house.client();
    assert_eq!(
        idle.ask("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").status,
        200
    );
    let mut client = house.client();
    client.send(ASK);
    begun.recv_timeout(PATIENCE).unwrap();
    let address = house.address;
    let stopping = thread::spawn(move || house.stop());
    assert!(idle.is_closed());
    go.send(()).unwrap();
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert!(client.is_closed());
    stopping.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn stopping_interrupts_a_call_that_hangs() {
    let service = Service::start(|_| Reply::Hang);
    let house = House::new(&service);
    let mut client = house.client();
    client.send(ASK);
    service.received();
    assert!(house.server.stop(Instant::now()));
    house.keeper.stop();
    // Either the connection or the call ended first.
    if !client.is_closed() {
        client.answer().is_own(502);
    }
}

#[test]
fn stopping_ends_a_wait_for_the_region() {
    let forwarder = forwarder();
    let (address, server) = server(Limits::DEFAULT, forwarder);
    let mut client = Client::connect(address);
    client.send(ASK);
    assert!(server.stop(Instant::now()));
}

/// The stack of a connection's thread has to hold a TLS handshake, in a debug build too.
#[test]
fn a_connections_thread_can_do_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let bundle = std::env::temp_dir().join(format!("xray-proxy-{}.pem", std::process::id()));
    std::fs::write(&bundle, certified.cert.pem()).unwrap();
    let key_der =
        rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key_der.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, received) = channel();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = rustls::StreamOwned::new(tls, tcp.unwrap());
            crate::service::serve(stream, &sender, &|_| Reply::ok());
        }
    });
    let keeper = keeper(vec![key(KEY, None)]);
    let forwarder = forwarder();
    let agents = agents(Some(bundle.to_str().unwrap().to_owned()));
    forwarder.set_target(target(
        &agents,
        &format!("https://localhost:{port}"),
        &keeper,
    ));
    let (address, server) = server(Limits::DEFAULT, forwarder);
    let mut client = Client::connect(address);
    for _ in 0..3 {
        assert_eq!(client.ask(ASK).status, 200);
        received
            .recv_timeout(PATIENCE)
            .unwrap()
            .is_signed_by(KEY, SECRET);
    }
    stop(&server);
    std::fs::remove_file(bundle).unwrap();
}
