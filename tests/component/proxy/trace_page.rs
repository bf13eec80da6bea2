//! The page with the traces in front of another handler.

use std::net::SocketAddr;
use std::sync::Arc;

use xray::proxy::{ClientResources, Counts, Limits, LocalSampling, ProxyServer, TracePage};
use xray::view::SharedStore;
use xray::view::store::DaemonInfo;

use xray_test_support::http_client::HttpClient;
use xray_test_support::watch::wait_until;

use super::harness::{MEMORY, connections, parts, started, stop};

struct Page {
    address: SocketAddr,
    server: ProxyServer,
    store: Arc<SharedStore>,
    counts: Arc<Counts>,
}

fn page(origins: &str) -> Page {
    let daemon = DaemonInfo {
        version: "1",
        udp: "127.0.0.1:2000".to_owned(),
        exporter: "console",
    };
    let store = Arc::new(SharedStore::new(1 << 20, daemon));
    let counts = Arc::new(Counts::default());
    let handler = Arc::new(TracePage {
        store: Arc::clone(&store),
        any_host: false,
        others: Arc::new(LocalSampling),
    });
    let resources = ClientResources::new(MEMORY, 0);
    let mut parts = parts(Limits::DEFAULT, resources, handler, Arc::clone(&counts));
    parts.origins = xray::proxy::AllowedOrigins::new(origins);
    let (address, server) = started(parts);
    Page {
        address,
        server,
        store,
        counts,
    }
}

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost:2000\r\n{headers}\r\n")
}

/// Reads a stream until this comes.
fn read_until(client: &mut HttpClient, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(char::from(client.bytes(1)[0]));
    }
    text
}

#[test]
fn the_page_judges_its_own_requests_and_no_others() {
    let page = page("https://app.example.com");
    let mut client = HttpClient::connect(page.address);
    let own = "Origin: http://localhost:2000\r\nSec-Fetch-Site: same-origin\r\n";
    let app = "Origin: https://app.example.com\r\n";
    for (target, headers, status) in [
        ("/", "", 200),
        ("/", own, 200),
        ("/api/traces?limit=1", own, 200),
        ("/api/traces?limits=1", own, 400),
        ("/page/main.js", own, 200),
        ("/api/traces", app, 403),
        ("/api/traces", "Sec-Fetch-Site: cross-site\r\n", 403),
        // Two lines are one value.
        (
            "/api/traces",
            "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n",
            403,
        ),
        ("/api/traces", "Sec-Fetch-Site: \u{fc}\r\n", 403),
        ("/GetSamplingRules", own, 403),
        ("/GetSamplingRules", app, 404),
        ("/metrics", own, 403),
    ] {
        let answer = client.ask(get(target, headers));
        assert_eq!(answer.status, status, "{target} {headers}");
    }
    let answered = page.counts.snapshot().answered;
    let rows: Vec<_> = answered.iter().map(|row| (row.action, row.count)).collect();
    assert_eq!(rows, [("other", 1)], "the page is no request to X-Ray");
    let length = client.ask(get("/", "")).body.len();
    client.send(get("/", "").replace("GET", "HEAD"));
    let head = client.response_head();
    assert_eq!(
        head.header("content-length"),
        Some(length.to_string().as_str())
    );
    let tag = head.header("etag").unwrap().to_owned();
    let known = client.ask(get("/", &format!("If-None-Match: {tag}\r\n")));
    assert_eq!((known.status, known.body.len()), (304, 0));
    stop(&page.server);
}

#[test]
fn streams_are_bounded_in_number_and_end_with_the_server() {
    let page = page("");
    let events = || {
        let mut client = HttpClient::connect(page.address);
        client.send(get("/api/events", ""));
        let head = client.response_head();
        (client, head.status)
    };
    let mut streams: Vec<_> = (0..16).map(|_| events()).collect();
    for (client, status) in &mut streams {
        assert_eq!(*status, 200);
        assert!(read_until(client, "}\n\n\r\n").contains("\"ids\":[]"));
    }
    assert_eq!(events().1, 503);
    wait_until("16 streams", || connections(&page.counts, "busy") == 16);
    page.store
        .document(r#"{"id":"0000000000000001","name":"n","trace_id":"1-x"}"#);
    for (client, _) in &mut streams {
        assert!(read_until(client, "}\n\n\r\n").contains("\"ids\":[\"1-x\"]"));
    }
    // A page that is closed leaves its place to another.
    streams.pop();
    wait_until("a free place", || events().1 == 200);
    stop(&page.server);
    for (client, _) in &mut streams {
        assert!(client.is_closed());
    }
}
