//! A kept connection that X-Ray closes at the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::xray::{KEY_ID, SECRET};

use super::harness::{ProxyHarness, assert_signed_by, ok};

fn ask(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}")
}

/// Answers well, but the requests with these numbers (from 0) with `instead`.
fn service(odd: &'static [usize], instead: Reply) -> Endpoint {
    let asked = Arc::new(AtomicUsize::new(0));
    Endpoint::start(move |_, _| match asked.fetch_add(1, SeqCst) {
        n if odd.contains(&n) => instead.clone(),
        _ => ok(),
    })
}

#[test]
fn a_known_call_is_sent_once_more() {
    for line in ["POST /GetSamplingRules", "POST /SamplingTargets"] {
        let service = service(&[1], Reply::RawThenClose(Vec::new()));
        let proxy = ProxyHarness::new(&service);
        let mut client = proxy.client();
        assert_eq!(client.ask(ask(line)).status, 200);
        assert_eq!(client.ask(ask(line)).status, 200, "{line}");
        for _ in 0..3 {
            let received = service.next_request();
            assert_eq!(received.body, b"{}");
            assert_signed_by(&received, KEY_ID, SECRET);
        }
        assert!(!service.has_more_requests());
        assert_eq!(proxy.counts.snapshot().sent_again, 1);
        proxy.stop();
    }
}

#[test]
fn nothing_else_is_sent_twice() {
    let closed = || Reply::RawThenClose(Vec::new());
    let part = || Reply::RawThenClose(b"HTTP/1.1 20".to_vec());
    for (line, odd, instead) in [
        // Nobody knows what it does.
        (
            "POST /PutEncryptionConfig",
            &[1_usize] as &[usize],
            closed(),
        ),
        ("GET /GetSamplingRules", &[1], closed()),
        // The connection is new.
        ("POST /SamplingTargets", &[0], closed()),
        // X-Ray has begun to answer.
        ("POST /SamplingTargets", &[1], part()),
        // Twice is enough.
        ("POST /SamplingTargets", &[1, 2], closed()),
    ] {
        let service = service(odd, instead);
        let proxy = ProxyHarness::new(&service);
        let mut client = proxy.client();
        let requests = odd[0] + 1;
        for _ in 1..requests {
            assert_eq!(client.ask(ask(line)).status, 200);
        }
        client.ask(ask(line)).assert_empty(502);
        for _ in 0..requests.max(odd[odd.len() - 1] + 1) {
            service.next_request();
        }
        assert!(!service.has_more_requests(), "{line}");
        proxy.stop();
    }
}
