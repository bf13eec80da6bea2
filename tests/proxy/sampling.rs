//! Sampling rules while X-Ray is away.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use xray::proxy::Limits;

use crate::client::Client;
use crate::house::{House, answered, key};
use crate::service::{KEY, Reply, Service};

const RULES: &str = r#"{"SamplingRuleRecords":[{"SamplingRule":{"RuleName":"r"}}]}"#;

fn ask(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn rules() -> Reply {
    let headers = "Content-Type: application/json\r\nx-amzn-RequestId: 7\r\n";
    Reply::new("200 OK", headers, RULES)
}

/// A service that answers like what was set last.
fn changing() -> (Arc<Mutex<Reply>>, Service) {
    let reply = Arc::new(Mutex::new(rules()));
    let now = Arc::clone(&reply);
    let service = Service::start(move |_| now.lock().unwrap().clone());
    (reply, service)
}

#[test]
fn the_last_good_rules_are_served_instead_of_an_error() {
    for (then, kept) in [
        (Reply::new("503 Service Unavailable", "", ""), true),
        (Reply::new("500 Internal Server Error", "", "{}"), true),
        (Reply::Close(Vec::new()), true),
        (
            Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_vec()),
            true,
        ),
        (Reply::Hang, true),
        (
            Reply::new("400 Bad Request", "", "{\"message\":\"no\"}"),
            false,
        ),
        (
            Reply::new("403 Forbidden", "", "{\"message\":\"no\"}"),
            false,
        ),
        (
            Reply::new("429 Too Many Requests", "", "{\"message\":\"no\"}"),
            false,
        ),
    ] {
        let (reply, service) = changing();
        let house = House::new(&service);
        let mut client = house.client();
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
            assert_eq!(answered(&house.counts, "kept"), 1);
        }
        // Never another request's answer, and never targets.
        for (path, body) in [
            ("/GetSamplingRules", "{ }"),
            ("/GetSamplingRules?x=y", "{}"),
            ("/SamplingTargets", "{}"),
        ] {
            if !matches!(*reply.lock().unwrap(), Reply::Hang) {
                let other = house.client().ask(ask(path, body));
                assert_ne!(other.body, RULES.as_bytes(), "{path} {body}");
            }
        }
        assert!(house.server.stop(std::time::Instant::now()));
    }
}

#[test]
fn the_last_good_rules_are_served_without_credentials() {
    let (_, service) = changing();
    let endpoint = format!("http://{}", service.address);
    let keys = vec![key(KEY, None)];
    let house = House::with(&endpoint, Limits::DEFAULT, keys);
    let mut client = house.client();
    assert_eq!(client.ask(ask("/GetSamplingRules", "")).status, 200);
    house.forwarder.set_target(crate::house::target(
        &crate::house::agents(None),
        &endpoint,
        &crate::house::keeper(Vec::new()),
    ));
    let kept = client.ask(ask("/GetSamplingRules", ""));
    assert_eq!((kept.status, &kept.body[..]), (200, RULES.as_bytes()));
    client.ask(ask("/SamplingTargets", "")).is_own(502);
    house.stop();
}

/// Answers each request when told to.
fn told() -> (Sender<()>, Service) {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let service = Service::start(move |_| {
        wait.lock().unwrap().recv().unwrap();
        rules()
    });
    (go, service)
}

#[test]
fn the_same_question_is_asked_once() {
    let (go, service) = told();
    let house = House::new(&service);
    let mut clients: Vec<Client> = (0..20).map(|_| house.client()).collect();
    for client in &mut clients {
        client.send(ask("/GetSamplingRules", "{}"));
    }
    crate::client::wait_until(|| crate::house::connections(&house.counts, "busy") == 20);
    go.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.answer().body, RULES.as_bytes());
    }
    service.received();
    assert!(!service.has_more());
    house.stop();
}
