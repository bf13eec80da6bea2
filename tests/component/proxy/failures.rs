//! When something is missing, late or wrong upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use xray::proxy::{Handler, Limits};

use xray_test_support::DEADLINE;
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http_client::HttpClient;
use xray_test_support::scratch::ScratchFile;
use xray_test_support::server::closed_address;
use xray_test_support::tls::Authority;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::{KEY_ID, SECRET};

use super::harness::{
    ProxyHarness, agents, answered, assert_signed_by, connections, credential_cache, forwarder,
    key, ok, reply, server, stop, stop_by, target,
};

const ASK: &str = "POST /GetSamplingRules HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn own_errors_are_empty_and_leave_the_connection_usable() {
    let replies = [
        Reply::RawThenClose(Vec::new()),
        Reply::RawThenClose(b"HTTP/1.1 20".to_vec()),
        Reply::RawThenClose(b"<html>a captive portal</html>\r\n\r\n".to_vec()),
        Reply::RawThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_vec()),
        // No final answer: the client would go on waiting for one.
        Reply::RawThenClose(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_vec()),
    ];
    for reply in replies {
        let service = Endpoint::start(move |_, _| reply.clone());
        let proxy = ProxyHarness::new(&service);
        let mut client = proxy.client();
        client.ask(ASK).assert_empty(502);
        client.ask(ASK).assert_empty(502);
        assert_eq!(answered(&proxy.counts, "no_answer"), 2);
        proxy.stop();
    }
    let endpoint = format!("http://{}", closed_address());
    let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, vec![key(KEY_ID, None)]);
    proxy.client().ask(ASK).assert_empty(502);
    proxy.stop();
}

#[test]
fn without_credentials_nothing_is_sent() {
    let service = Endpoint::start(|_, _| ok());
    let endpoint = format!("http://{}", service.address());
    let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, Vec::new());
    proxy.client().ask(ASK).assert_empty(502);
    assert!(!service.has_more_requests());
    proxy.stop();
}

/// The first call of an application that starts beside the daemon: a failure would cost it 300 s
/// of blind sampling.
#[test]
fn a_call_waits_a_moment_for_the_region() {
    let service = Endpoint::start(|_, _| ok());
    let endpoint = format!("http://{}", service.address());
    let forwarder = forwarder();
    let (address, server) = server(Limits::DEFAULT, Arc::clone(&forwarder) as Arc<dyn Handler>);
    HttpClient::connect(address).ask(ASK).assert_empty(502);

    let mut client = HttpClient::connect(address);
    client.send(ASK);
    let cache = credential_cache(vec![key(KEY_ID, None)]);
    forwarder.set_target(target(&agents(None), &endpoint, &cache));
    assert_eq!(client.response().status, 200);
    stop(&server);
}

#[test]
fn warming_up_asks_unsigned_and_learns_the_time() {
    let service = Endpoint::start(|_, request| match request.line().as_str() {
        "HEAD /" => Reply::Raw(
            b"HTTP/1.1 403 Forbidden\r\nDate: Fri, 15 Jan 2100 12:00:00 GMT\r\n\
              x-amzn-RequestId: id\r\n\r\n"
                .to_vec(),
        ),
        _ => ok(),
    });
    let proxy = ProxyHarness::new(&service);
    // Two that agree: one date alone may be wrong.
    for _ in 0..2 {
        proxy.forwarder.warm();
        assert_eq!(service.next_request().header("authorization"), None);
    }
    assert_eq!(proxy.client().ask(ASK).status, 200);
    let received = service.next_request();
    assert_eq!(&received.header("x-amz-date").unwrap()[..6], "210001");
    proxy.stop();
}

#[test]
fn a_wrong_clock_costs_the_client_nothing() {
    let later = SystemTime::now() + Duration::from_secs(3600);
    let date = httpdate::fmt_http_date(later);
    let asked = AtomicUsize::new(0);
    let service = Endpoint::start(move |_, _| {
        let date = format!(
            "Date: {date}\r\nx-amzn-RequestId: id\r\nx-amzn-ErrorType: InvalidSignatureException:\r\n"
        );
        match asked.fetch_add(1, SeqCst) {
            0 => reply(
                "403 Forbidden",
                &date,
                "{\"message\":\"Signature expired\"}",
            ),
            _ => ok(),
        }
    });
    let proxy = ProxyHarness::new(&service);
    assert_eq!(proxy.client().ask(ASK).status, 200);
    let (first, second) = (service.next_request(), service.next_request());
    assert!(first.header("x-amz-date") < second.header("x-amz-date"));
    assert_signed_by(&second, KEY_ID, SECRET);
    assert_eq!(second.body, b"{}");
    proxy.stop();
}

fn refused(code: &str) -> Reply {
    let headers = format!("x-amzn-ErrorType: {code}\r\n");
    reply("403 Forbidden", &headers, "{\"message\":\"refused\"}")
}

#[test]
fn refused_credentials_are_renewed_within_the_call() {
    for code in [
        "ExpiredTokenException",
        "UnrecognizedClientException",
        // The secret was read while its file was written.
        "InvalidSignatureException",
    ] {
        let service = Endpoint::start(move |_, request| {
            let authorization = request.header("authorization").unwrap();
            if authorization.contains("Credential=OLD/") {
                refused(code)
            } else {
                ok()
            }
        });
        let endpoint = format!("http://{}", service.address());
        let keys = vec![key("OLD", None), key("NEW", None)];
        let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, keys);
        assert_eq!(proxy.client().ask(ASK).status, 200, "{code}");
        assert_signed_by(&service.next_request(), "OLD", SECRET);
        assert_signed_by(&service.next_request(), "NEW", SECRET);
        proxy.stop();
    }
}

#[test]
fn a_refusal_that_nothing_cures_goes_back_whole() {
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(100_000));
    let replies = [
        refused("ExpiredTokenException"),
        reply(
            "403 Forbidden",
            "x-amzn-ErrorType: AccessDeniedException\r\n",
            &long,
        ),
        reply(
            "400 Bad Request",
            "",
            "{\"__type\":\"InvalidRequestException\"}",
        ),
    ];
    for reply in replies {
        let Reply::Raw(bytes) = reply.clone() else {
            unreachable!()
        };
        let service = Endpoint::start(move |_, _| reply.clone());
        let proxy = ProxyHarness::new(&service);
        let answer = proxy.client().ask(ASK);
        assert!(!answer.is_cut_off && bytes.ends_with(&answer.body) && !answer.body.is_empty());
        service.next_request();
        assert!(!service.has_more_requests());
        proxy.stop();
    }
}

#[test]
fn stopping_lets_a_call_under_way_finish() {
    let (go, wait) = channel::<()>();
    let (began, begun) = channel();
    let wait = std::sync::Mutex::new(wait);
    let service = Endpoint::start(move |_, _| {
        began.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        ok()
    });
    let proxy = ProxyHarness::new(&service);
    let mut idle = proxy.client();
    assert_eq!(
        idle.ask("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").status,
        200
    );
    let mut client = proxy.client();
    client.send(ASK);
    begun.recv_timeout(DEADLINE).unwrap();
    let address = proxy.address;
    let stopping = thread::spawn(move || proxy.stop());
    assert!(idle.is_closed());
    go.send(()).unwrap();
    let answer = client.response();
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
    let service = Endpoint::start(|_, _| Reply::Hang);
    let proxy = ProxyHarness::new(&service);
    let mut client = proxy.client();
    client.send(ASK);
    service.next_request();
    assert!(stop_by(&proxy.server, Instant::now()));
    // Either the connection or the call ended first.
    if !client.is_closed() {
        client.response().assert_empty(502);
    }
}

/// A client that stalls costs the time that there is, and no more.
#[test]
fn stopping_waits_for_no_half_sent_request_beyond_its_time() {
    let service = Endpoint::start(|_, _| ok());
    let proxy = ProxyHarness::new(&service);
    let mut client = proxy.client();
    client.send("POST /GetSamplingRules HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
    wait_until("a part of the request", || {
        connections(&proxy.counts, "receiving") == 1
    });
    let (over, is_over) = channel();
    let on_over = move |all_ended| over.send(all_ended).unwrap();
    proxy.server.begin_stop(Instant::now(), Box::new(on_over));
    assert!(client.is_closed());
    // Whoever closes the connection says at once that it is over: there is no later.
    drop(proxy);
    assert_eq!(is_over.recv_timeout(DEADLINE), Ok(true));
}

#[test]
fn stopping_ends_a_wait_for_the_region() {
    let forwarder = forwarder();
    let (address, server) = server(Limits::DEFAULT, forwarder);
    let mut client = HttpClient::connect(address);
    client.send(ASK);
    assert!(stop_by(&server, Instant::now()));
}

/// The stack of a connection's thread has to hold a TLS handshake, in a debug build too.
#[test]
fn a_connections_thread_can_do_tls() {
    let authority = Authority::new(&["localhost"]);
    let bundle = ScratchFile::new(&authority.pem);
    let service = Endpoint::start_tls(authority.server, |_, _| ok());
    let port = service.address().port();
    let cache = credential_cache(vec![key(KEY_ID, None)]);
    let forwarder = forwarder();
    let agents = agents(Some(bundle.text()));
    forwarder.set_target(target(
        &agents,
        &format!("https://localhost:{port}"),
        &cache,
    ));
    let (address, server) = server(Limits::DEFAULT, forwarder);
    let mut client = HttpClient::connect(address);
    for _ in 0..3 {
        assert_eq!(client.ask(ASK).status, 200);
        assert_signed_by(&service.next_request(), KEY_ID, SECRET);
    }
    stop(&server);
}
