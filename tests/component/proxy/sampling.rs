//! Sampling rules while X-Ray is away.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use xray::proxy::Limits;

use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http_client::HttpClient;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::KEY_ID;

use super::harness::{
    ProxyHarness, agents, answered, connections, credential_cache, key, reply, stop_by, target,
};

const RULES: &str = r#"{"SamplingRuleRecords":[{"SamplingRule":{"RuleName":"r"}}]}"#;

fn ask(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn rules() -> Reply {
    let headers = "Content-Type: application/json\r\nx-amzn-RequestId: 7\r\n";
    reply("200 OK", headers, RULES)
}

/// A service that answers like what was set last.
fn changing() -> (Arc<Mutex<Reply>>, Endpoint) {
    let reply = Arc::new(Mutex::new(rules()));
    let now = Arc::clone(&reply);
    let service = Endpoint::start(move |_, _| now.lock().unwrap().clone());
    (reply, service)
}

#[test]
fn the_last_good_rules_are_served_instead_of_an_error() {
    for (then, kept) in [
        (reply("503 Service Unavailable", "", ""), true),
        (reply("500 Internal Server Error", "", "{}"), true),
        (Reply::RawThenClose(Vec::new()), true),
        (
            Reply::RawThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_vec()),
            true,
        ),
        (Reply::Hang, true),
        (reply("400 Bad Request", "", "{\"message\":\"no\"}"), false),
        (reply("403 Forbidden", "", "{\"message\":\"no\"}"), false),
        (
            reply("429 Too Many Requests", "", "{\"message\":\"no\"}"),
            false,
        ),
    ] {
        let (reply, service) = changing();
        let proxy = ProxyHarness::new(&service);
        let mut client = proxy.client();
        let first = client.ask(ask("/GetSamplingRules", "{}"));
        assert_eq!((first.status, first.header("age")), (200, None));
        *reply.lock().unwrap() = then;
        let second = client.ask(ask("/GetSamplingRules", "{}"));
        assert_eq!(second.body == RULES.as_bytes(), kept, "{second:?}");
        if kept {
            assert_eq!(second.status, 200);
            let age: u64 = second.header("age").unwrap().parse().unwrap();
            assert!(age < 60, "{age}");
            assert_eq!(second.header("content-type"), Some("application/json"));
            assert_eq!(second.header("x-amzn-requestid"), None);
            assert_eq!(answered(&proxy.counts, "kept"), 1);
        }
        // Never another request's answer, and never targets.
        for (path, body) in [
            ("/GetSamplingRules", "{ }"),
            ("/GetSamplingRules?x=y", "{}"),
            ("/SamplingTargets", "{}"),
        ] {
            if !matches!(*reply.lock().unwrap(), Reply::Hang) {
                let other = proxy.client().ask(ask(path, body));
                assert_ne!(other.body, RULES.as_bytes(), "{path} {body}");
            }
        }
        assert!(stop_by(&proxy.server, std::time::Instant::now()));
    }
}

#[test]
fn the_last_good_rules_are_served_without_credentials() {
    let (_, service) = changing();
    let endpoint = format!("http://{}", service.address());
    let keys = vec![key(KEY_ID, None)];
    let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, keys);
    let mut client = proxy.client();
    assert_eq!(client.ask(ask("/GetSamplingRules", "")).status, 200);
    proxy.forwarder.set_target(target(
        &agents(None),
        &endpoint,
        &credential_cache(Vec::new()),
    ));
    let kept = client.ask(ask("/GetSamplingRules", ""));
    assert_eq!((kept.status, &kept.body[..]), (200, RULES.as_bytes()));
    client.ask(ask("/SamplingTargets", "")).assert_empty(502);
    proxy.stop();
}

/// Answers each request when told to.
fn told() -> (Sender<()>, Endpoint) {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let service = Endpoint::start(move |_, _| {
        wait.lock().unwrap().recv().unwrap();
        rules()
    });
    (go, service)
}

/// A request that is taken up only after the answer has come asks anew; all others share one attempt.
#[test]
fn the_same_question_is_asked_together() {
    let (go, service) = told();
    let proxy = ProxyHarness::new(&service);
    let mut clients: Vec<HttpClient> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(ask("/GetSamplingRules", "{}"));
    }
    wait_until("all requests are under way", || {
        connections(&proxy.counts, "busy") == 20
    });
    for _ in 0..20 {
        go.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.response().body, RULES.as_bytes());
    }
    let mut asked = 0;
    while service.has_more_requests() {
        service.next_request();
        asked += 1;
    }
    assert!((1..20).contains(&asked), "{asked} requests for 20 clients");
    proxy.stop();
}

/// Otherwise a client whose request is refused for a header would spoil those of the others.
#[test]
fn a_request_with_other_headers_is_another_question() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let service = Endpoint::start(move |_, request| {
        wait.lock().unwrap().recv().unwrap();
        match request.header("content-encoding") {
            Some(_) => reply("400 Bad Request", "", "{}"),
            None => rules(),
        }
    });
    let proxy = ProxyHarness::new(&service);
    let (mut odd, mut usual) = (proxy.client(), proxy.client());
    odd.send(ask("/GetSamplingRules", "{}").replace("Host", "Content-Encoding: gzip\r\nHost"));
    service.wait_requests(1);
    usual.send(ask("/GetSamplingRules", "{}"));
    wait_until("both are under way", || {
        connections(&proxy.counts, "busy") == 2
    });
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    assert_eq!(usual.response().body, RULES.as_bytes());
    assert_eq!(odd.response().status, 400);
    proxy.stop();
}
