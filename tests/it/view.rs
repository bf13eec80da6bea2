//! The page with the traces, and where traces are shown instead of being sent.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use xray_test_support::DEADLINE;
use xray_test_support::daemon::{Launch, Running};
use xray_test_support::http::Response;
use xray_test_support::http_client::{HttpClient, exchange};
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::scratch::ScratchDir;
use xray_test_support::totals::Totals;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::FakeXray;

#[cfg(target_os = "linux")]
use crate::network::in_own_network;
use crate::otlp::gzip;

/// Two spans of one trace, as OTLP/JSON.
const SPANS: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"spans-shop"}}]},"scopeSpans":[{"spans":[{"traceId":"6553f1005f84c7a3e7d24ab39c55c2e0","spanId":"53995c3f42cd8ad8","name":"GET /basket","kind":2,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000500000000"}]}]}]}"#;

/// A daemon on free ports that needs no AWS.
fn launch(arguments: &str) -> Launch {
    Launch::bare()
        .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0"])
        .args(arguments.split_whitespace())
}

fn get(to: SocketAddr, target: &str, headers: &str) -> Response {
    let request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    exchange(to, request.as_bytes()).unwrap()
}

fn json(daemon: &Running, target: &str) -> Value {
    let answer = get(daemon.tcp, target, &host(daemon));
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

fn host(daemon: &Running) -> String {
    format!("Host: {}\r\n", daemon.tcp)
}

fn wait_total(daemon: &Running, count: u64) {
    wait_until("the traces of the page", || {
        json(daemon, "/api/traces?limit=0")["total"] == count
    });
}

fn post_spans(to: SocketAddr, headers: &str, body: impl AsRef<[u8]>) -> Response {
    let body = body.as_ref();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    // On a busy machine the printer or the uploader may not answer in time.
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = exchange(to, &request).unwrap();
        if answer.status != 503 || Instant::now() > end {
            return answer;
        }
    }
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn the_page_is_served_with_a_strict_policy_to_pages_of_its_own_only() {
    let daemon = launch("--exporter console").start();
    let line = daemon.wait_log("Open http://");
    assert!(
        line.contains(&format!(" Open http://{}/ ", daemon.tcp)),
        "{line}"
    );
    let own = host(&daemon);
    let page = get(daemon.tcp, "/", &own);
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    for hostile in [
        "Host: evil.example\r\n".to_owned(),
        format!("Host: evil.example:{}\r\n", daemon.tcp.port()),
        "Host: 127.0.0.1.evil.example\r\n".to_owned(),
        "Host: localhost, evil.example\r\n".to_owned(),
        format!("{own}Origin: https://evil.example\r\n"),
        format!("{own}Origin: null\r\n"),
        format!("{own}Sec-Fetch-Site: cross-site\r\n"),
        format!("{own}Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n"),
    ] {
        for target in ["/", "/api/traces", "/api/events", "/page/main.js"] {
            let answer = get(daemon.tcp, target, &hostile);
            assert_eq!(answer.status, 403, "{target} {hostile}");
            let text = String::from_utf8(answer.body).unwrap();
            assert!(text.starts_with("{\"error\":\""), "{text}");
        }
    }
    daemon.stop();
}

/// What the client says is not asked where it connected to.
#[cfg(target_os = "linux")] // A network of its own.
#[test]
fn the_page_is_for_this_machine_unless_an_option_opens_it() {
    in_own_network(
        "view::the_page_is_for_this_machine_unless_an_option_opens_it",
        "",
        || {
            let added = Command::new("ip")
                .args(["address", "add", "10.9.8.7/32", "dev", "lo"])
                .status();
            assert!(added.unwrap().success());
            for (option, status) in [("", 403), ("--view-any-host", 200)] {
                let arguments = "--exporter console -b 127.0.0.1:0 -t 0.0.0.0:0";
                let daemon = Launch::bare()
                    .args(arguments.split(' '))
                    .args(option.split_whitespace())
                    .start();
                let port = daemon.tcp.port();
                daemon.wait_log(&format!("Open http://127.0.0.1:{port}/"));
                let loopback = SocketAddr::from(([127, 0, 0, 1], port));
                let other = SocketAddr::from(([10, 9, 8, 7], port));
                let local = "Host: localhost\r\n";
                assert_eq!(get(loopback, "/", local).status, 200);
                for (to, headers) in [
                    (other, local.to_owned()),
                    (other, format!("Host: {other}\r\n")),
                    (loopback, "Host: daemon.internal\r\n".to_owned()),
                ] {
                    assert_eq!(get(to, "/", &headers).status, status, "{option} {headers}");
                }
                let foreign = format!("{local}Origin: https://evil.example\r\n");
                assert_eq!(get(loopback, "/", &foreign).status, 403);
                daemon.stop();
            }
            let arguments = "--exporter console -b 127.0.0.1:0 -t 10.9.8.7:0";
            let daemon = Launch::bare().args(arguments.split(' ')).start();
            daemon.wait_log("is shown at loopback addresses only, and 10.9.8.7:");
            daemon.stop();
        },
    );
}

#[test]
fn no_page_where_nobody_asked_for_it() {
    let fake = FakeXray::start();
    fake.update(|state| {
        state
            .answers
            .insert("/".to_owned(), Response::new(200, "of X-Ray"));
    });
    let production = Launch::against(&fake).start();
    let answer = get(production.tcp, "/", &host(&production));
    assert_eq!(answer.body, b"of X-Ray", "passed on as any other path");
    for arguments in ["--exporter json", "--exporter console --view=false"] {
        let daemon = launch(arguments).start();
        for target in ["/", "/api/traces", "/page/main.js"] {
            get(daemon.tcp, target, &host(&daemon)).assert_empty(404);
        }
        let ended = daemon.stop();
        let mut lines = ended.log.iter().chain(&ended.stderr);
        assert!(
            !lines.any(|line| line.contains("Open http://")),
            "{ended:?}"
        );
    }
    let ended = production.stop();
    assert!(!ended.log.iter().any(|line| line.contains("Open http://")));
}

#[test]
fn events_come_as_traces_do_and_end_with_the_daemon() {
    let daemon = launch("--exporter console --shutdown-timeout 1h").start();
    let mut stream = HttpClient::over(TcpStream::connect(daemon.tcp).unwrap());
    stream.send(format!("GET /api/events HTTP/1.0\r\n{}\r\n", host(&daemon)));
    let mut event = || {
        let mut text = String::new();
        while !text.ends_with("}\n\n") {
            text.push(char::from(stream.bytes(1)[0]));
        }
        text
    };
    assert!(event().contains("\"ids\":[],"));
    let client = UdpClient::new(daemon.udp);
    for n in 1..4 {
        client.document(segment(n));
        let id = format!("\"ids\":[\"1-6a1b2c3d-{n:024x}\"]");
        let event = event();
        assert!(event.contains(&id), "{event}");
    }
    // It holds up nothing: the hour proves it.
    daemon.stop();
    assert!(stream.is_closed());
}

#[test]
fn with_x_ray_everything_is_delivered_and_shown() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).args(["--view"]).start();
    daemon.wait_log("Open http://");
    UdpClient::new(daemon.udp).load(0..300, 2_000);
    fake.wait_for("every segment", |state| state.different() == 300);
    wait_total(&daemon, 300);
    assert_eq!(post_spans(daemon.tcp, JSON, SPANS).status, 200);
    wait_total(&daemon, 301);
    let found = json(&daemon, "/api/traces?service=spans-shop");
    assert_eq!(
        found["traces"][0]["id"],
        "1-6553f100-5f84c7a3e7d24ab39c55c2e0"
    );
    assert_eq!(found["daemon"]["exporter"], "xray");
    assert_eq!(daemon.metric("xray_segments_shown_total"), 0);
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.received, totals.sent), (300, 300));
}

/// Spans that are not taken are no traces.
#[test]
fn with_x_ray_refused_spans_are_not_shown() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).args(["--view"]).start();
    assert_eq!(post_spans(daemon.tcp, "", SPANS).status, 415);
    assert_eq!(post_spans(daemon.tcp, JSON, "{").status, 400);
    UdpClient::new(daemon.udp).document(segment(1));
    wait_total(&daemon, 1);
    let found = json(&daemon, "/api/traces");
    assert_eq!(found["services"], serde_json::json!(["load"]));
}

#[test]
fn old_traces_make_room_within_the_memory_of_the_buffer() {
    const ALL: usize = 20_000;
    for exporter in ["--exporter console", "--exporter json --view"] {
        let daemon = launch(&format!("-m 4 {exporter}")).start();
        let client = UdpClient::new(daemon.udp);
        for first in (0..ALL).step_by(500) {
            client.load(first..first + 500, 50_000);
            daemon.wait_received();
        }
        let last = format!("/api/traces/1-6a1b2c3d-{:024x}", ALL - 1);
        wait_until("the last trace", || {
            get(daemon.tcp, &last, &host(&daemon)).status == 200
        });
        let about = &json(&daemon, "/api/traces?limit=0")["daemon"];
        let number = |name: &str| about[name].as_u64().unwrap();
        assert_eq!(number("limit_bytes"), 2 << 20, "half of -m");
        assert!(number("used_bytes") <= number("limit_bytes"), "{about}");
        assert!(number("dropped") > ALL as u64 / 2, "{about}");
        assert!(daemon.metric("xray_buffer_used_bytes") <= 2 << 20);
        let peak = daemon.peak_kb();
        assert!(peak < 48 << 10, "{peak} KB");
        daemon.stop();
    }
}

#[test]
fn what_is_shown_is_not_counted_as_sent() {
    for (exporter, shown) in [
        ("console", "spans-shop  GET /basket"),
        ("json", "resourceSpans"),
    ] {
        let daemon = launch(&format!("--exporter {exporter}")).start();
        let client = UdpClient::new(daemon.udp);
        client.document(segment(1));
        client.raw(b"malformed");
        daemon.wait_metric("xray_segments_shown_total 1");
        daemon.wait_metric("xray_segments_received_total 2");
        assert_eq!(daemon.metric("xray_segments_sent_total"), 0);
        let health = daemon.operator("/healthz");
        assert_eq!((health.status, &health.body[..]), (200, &b"ok\n"[..]));
        let taken = post_spans(daemon.tcp, JSON, SPANS);
        assert_eq!((taken.status, &taken.body[..]), (200, &b"{}"[..]));
        daemon.wait_log(shown);
        assert_eq!(daemon.metric("xray_spans_shown_total"), 1);
        assert_eq!(daemon.metric("xray_spans_delivered_total"), 0);
        let ended = daemon.stop();
        let lines = match exporter {
            "json" => &ended.stderr,
            _ => &ended.log,
        };
        let at = lines
            .iter()
            .position(|line| line.contains("Totals: "))
            .unwrap();
        let totals = Totals::at_the_end_of(&lines[..=at]);
        assert_eq!((totals.shown, totals.sent, totals.rejected), (1, 0, 1));
    }
}

#[test]
fn spans_by_tcp_are_drawn_and_kept_or_refused() {
    let daemon = launch("--exporter console").start();
    for (headers, body, status) in [
        (JSON, SPANS, 200),
        (JSON, "{\"resourceSpans\":", 400),
        (
            "Content-Type: application/x-protobuf\r\n",
            "\u{1}\u{2}\u{3}",
            400,
        ),
        ("Content-Type: text/plain\r\n", SPANS, 415),
        (
            "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
            "\u{1f}",
            400,
        ),
    ] {
        let answer = post_spans(daemon.tcp, headers, body);
        assert_eq!(answer.status, status, "{headers} {body}");
    }
    daemon.wait_log("[Warn] spans of a client on TCP were answered 400: the body is no");
    daemon.wait_log("spans-shop  GET /basket");
    let trace = json(&daemon, "/api/traces/6553f1005f84c7a3e7d24ab39c55c2e0");
    assert_eq!(trace["trace"]["name"], "spans-shop");
    assert_eq!(trace["documents"][0]["format"], "otlp");
    assert_eq!(json(&daemon, "/api/traces?limit=0")["total"], 1);
    // X-Ray's segment of the same trace joins it.
    let call = r#"{"trace_id":"1-6553f100-5f84c7a3e7d24ab39c55c2e0","id":"00000000000000aa","parent_id":"53995c3f42cd8ad8","name":"stock","start_time":1700000000.1,"end_time":1700000000.2}"#;
    UdpClient::new(daemon.udp).document(call);
    wait_until("both in one trace", || {
        json(&daemon, "/api/traces")["traces"][0]["segments"] == 2
    });
    // What gzip has compressed is opened.
    let another = SPANS
        .replace("spans-shop", "gzip-shop")
        .replace("6553", "6554");
    let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let answer = post_spans(daemon.tcp, headers, gzip(another.as_bytes()));
    assert_eq!(answer.status, 200);
    daemon.wait_log("gzip-shop  GET /basket");
    daemon.stop();
}

#[test]
fn the_drawing_is_as_wide_as_the_terminal_at_that_moment() {
    let scratch = ScratchDir::new();
    let pipe = scratch.path().join("columns");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let resize = format!(
        "stty cols 70; (read columns <'{}'; stty cols \\$columns </dev/tty; echo resized) &",
        pipe.display()
    );
    let daemon = launch("--exporter console")
        .env("NO_COLOR", "1")
        .by_shell(&format!(
            "exec script --quiet --command \"{resize} exec $0 $*\" /dev/null #"
        ))
        .start();
    let client = UdpClient::new(daemon.udp);
    for (nth, columns) in [70, 83].into_iter().enumerate() {
        if nth > 0 {
            std::fs::write(&pipe, format!("{columns}\n")).unwrap();
            daemon.wait_log("resized");
        }
        client.document(segment(nth));
        let scale = daemon.wait_log_count(" 0 \u{2500}", nth + 1);
        assert_eq!(scale.trim_end().chars().count(), columns, "{scale}");
    }
}
