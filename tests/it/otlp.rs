//! Spans of OpenTelemetry: taken at once, delivered like segments, and logs and metrics to where they
//! belong.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use xray_test_support::daemon::{Daemon, Launch};
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::{Request, Response};
use xray_test_support::http_client::exchange;
use xray_test_support::keys::Keys;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::process::Signal;
use xray_test_support::protobuf::field;
use xray_test_support::sigv4::{parse_date, verify};
use xray_test_support::totals::Totals;
use xray_test_support::watch::{DEADLINE, wait_until};
use xray_test_support::xray::{FakeXray, Fault, KEY_ID, REGION, SECRET};

pub const PROTOBUF: &str = "application/x-protobuf";
pub const JSON: &str = "application/json";
pub const TRACES: &str = "/v1/traces";

/// A request with so many spans, all of one name.
pub fn spans(count: usize, name: &str) -> Vec<u8> {
    let span = field(2, &field(5, name.as_bytes()));
    field(1, &field(2, &span.repeat(count)))
}

pub fn json_spans(count: usize) -> Vec<u8> {
    let spans = vec![r#"{"name":"GET /"}"#; count].join(",");
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#).into_bytes()
}

pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.extend(miniz_oxide::deflate::compress_to_vec(body, 6));
    // The checksum is for X-Ray to look at.
    out.extend([0; 4]);
    out.extend((body.len() as u32).to_le_bytes());
    out
}

pub fn post(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: xray\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n", body.len());
    exchange(to, &[request.as_bytes(), body].concat()).unwrap()
}

pub fn export(to: SocketAddr, body: &[u8]) -> Response {
    post(to, TRACES, &[("Content-Type", PROTOBUF)], body)
}

/// Sends spans until they are taken. On a busy machine the uploader may not answer in time, and the
/// client is told, as any exporter of OpenTelemetry, to send them again.
#[track_caller]
pub fn post_until_taken(to: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = post(to, TRACES, headers, body);
        if answer.status != 503 || Instant::now() > end {
            return answer;
        }
    }
}

#[track_caller]
pub fn accepted(to: SocketAddr, body: &[u8]) {
    let answer = post_until_taken(to, &[("Content-Type", PROTOBUF)], body);
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some(PROTOBUF));
}

/// The address of `--otlp 127.0.0.1:0`.
fn otlp_port(daemon: &Daemon) -> SocketAddr {
    let text = "Listening for OTLP on ";
    let line = daemon.wait_log(text);
    line.split_once(text).unwrap().1.trim().parse().unwrap()
}

fn bodies(fake: &FakeXray) -> Vec<Vec<u8>> {
    fake.read(|state| state.exports.iter().map(|one| one.body.clone()).collect())
}

fn error(status: u16, code: &str, message: &str) -> Response {
    Response::new(status, format!("{{\"message\":\"{message}\"}}"))
        .with("x-amzn-ErrorType", code)
        .with("Content-Type", JSON)
}

fn answers(fake: &FakeXray, answer: Response) {
    fake.update(|state| state.answers.insert(TRACES.to_owned(), answer));
}

fn well_again(fake: &FakeXray) {
    fake.update(|state| state.answers.remove(TRACES));
}

#[test]
fn spans_reach_x_ray_byte_for_byte_on_both_ports() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake)
        .args(["--otlp", "127.0.0.1:0"])
        .start();
    let mut sent = 0;
    for to in [daemon.tcp, otlp_port(&daemon)] {
        for (content_type, plain) in [(PROTOBUF, spans(3, "GET /")), (JSON, json_spans(2))] {
            for coding in [None, Some("gzip")] {
                let body = match coding {
                    Some(_) => gzip(&plain),
                    None => plain.clone(),
                };
                let mut headers = vec![("Content-Type", content_type)];
                headers.extend(coding.map(|coding| ("Content-Encoding", coding)));
                let answer = post_until_taken(to, &headers, &body);
                let empty = match content_type {
                    JSON => "{}",
                    _ => "",
                };
                assert_eq!((answer.status, &*answer.body), (200, empty.as_bytes()));
                assert_eq!(answer.header("content-type"), Some(content_type));
                sent += 1;
                fake.wait_for("the request", |state| state.exports.len() == sent);
                let request = fake.read(|state| state.exports.last().unwrap().clone());
                assert_eq!(request.body, body);
                assert_eq!(request.header("content-type"), Some(content_type));
                assert_eq!(request.header("content-encoding"), coding);
            }
        }
    }
    for line in [
        "xray_spans_accepted_total 20",
        "xray_spans_delivered_total 20",
        "xray_span_requests_delivered_total 8",
        "xray_spans_held 0",
        "xray_proxy_requests_total{action=\"v1/traces\",outcome=\"2xx\"} 8",
    ] {
        daemon.wait_metric(line);
    }
    daemon.wait_log("Successfully sent 3 spans");
    let log = daemon.stop().log;
    let line = "Spans: accepted 20 = delivered 20 + refused 0 + dropped 0 + held 0, in 8 requests";
    assert!(log.iter().any(|l| l.ends_with(line)), "{log:?}");
    assert_eq!(Totals::at_the_end_of(&log), Totals::default());
}

#[test]
fn an_outage_loses_no_span() {
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    fake.inject(Fault::Gone);
    let all: Vec<_> = (0..30)
        .map(|n| spans(1 + n, &format!("span {n}")))
        .collect();
    for body in &all {
        accepted(daemon.tcp, body);
    }
    daemon.wait_log("[Error] cannot upload spans: ");
    daemon.wait_metric("xray_span_requests_held 30");
    let health = daemon.operator("/healthz");
    let text = String::from_utf8(health.body).unwrap();
    assert_eq!(health.status, 200);
    assert!(text.contains("cannot upload spans for"), "{text}");
    fake.recover();
    fake.wait_for("all spans", |state| state.exports.len() >= 30);
    daemon.wait_log("uploading spans again after ");
    daemon.stop();
    let mut delivered = bodies(&fake);
    delivered.sort();
    let mut expected = all;
    expected.sort();
    assert_eq!(delivered, expected, "each once");
}

#[test]
fn the_end_delivers_what_was_accepted() {
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake)
        .args(["--shutdown-timeout", "60s"])
        .start();
    fake.inject(Fault::Gone);
    accepted(daemon.tcp, &spans(5, "late"));
    daemon.wait_log("cannot upload spans");
    daemon.signal(Signal::TERM);
    daemon.wait_log("delivering 0 segments and 5 spans, for at most 60s");
    fake.recover();
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(0));
    assert_eq!(bodies(&fake), [spans(5, "late")]);
}

#[test]
fn what_the_end_cannot_deliver_is_counted_as_dropped() {
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake)
        .args(["--shutdown-timeout", "100ms"])
        .start();
    fake.inject(Fault::Gone);
    accepted(daemon.tcp, &spans(5, "lost"));
    let log = daemon.stop().log;
    for line in [
        "[Error] 5 spans could not be delivered before the daemon had to stop",
        "Spans: accepted 5 = delivered 0 + refused 0 + dropped 5 + held 0",
    ] {
        assert!(log.iter().any(|l| l.contains(line)), "{line} in {log:?}");
    }
}

/// However many requests are under way at SIGTERM: what their clients were told is what the totals say.
#[test]
fn what_was_answered_200_up_to_the_end_is_in_the_totals() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let to = daemon.tcp;
    let clients = [(); 8].map(|()| thread::spawn(move || taken_until_the_end(to)));
    wait_until("some spans are delivered", || bodies(&fake).len() >= 50);
    daemon.signal(Signal::TERM);
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(0));
    let told: usize = clients.map(|client| client.join().unwrap()).iter().sum();
    let line = ended
        .log
        .iter()
        .find(|line| line.contains("Spans: accepted"));
    let numbers = line.unwrap().split(|c: char| !c.is_ascii_digit());
    let numbers: Vec<usize> = numbers.filter_map(|text| text.parse().ok()).collect();
    let [.., accepted, delivered, 0, 0, 0, requests] = numbers[..] else {
        panic!("{line:?}");
    };
    assert_eq!((accepted, requests), (delivered, delivered), "{line:?}");
    // A client may not have read its last answers.
    assert!(accepted >= told, "{line:?}, and {told} were answered");
}

/// Sends one span after the other, some at once, until the daemon takes no more. Returns how many were taken.
fn taken_until_the_end(to: SocketAddr) -> usize {
    let body = spans(1, "GET /");
    let length = body.len();
    let head = format!(
        "POST {TRACES} HTTP/1.1\r\nHost: xray\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {length}\r\n\r\n"
    );
    let requests = [head.as_bytes(), &body].concat().repeat(4);
    let mut stream = TcpStream::connect(to).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut taken = 0;
    while stream.write_all(&requests).is_ok() {
        let of_these = answers.by_ref().map_while(Result::ok);
        let of_these = of_these.filter(|line| line.starts_with("HTTP/1.1 "));
        let of_these: Vec<_> = of_these.take(4).collect();
        let were_taken = of_these.iter().filter(|line| line.contains(" 200 "));
        taken += were_taken.count();
        if of_these.len() < 4 {
            break;
        }
    }
    taken
}

/// Until somebody has done what the log says, the spans wait.
#[test]
fn what_an_operator_can_cure_is_said_and_waited_for() {
    let destination =
        "The OTLP API is supported with CloudWatch Logs as a Trace Segment Destination.";
    let status = field(2, destination.as_bytes());
    for (answer, line) in [
        (
            error(400, "InvalidRequestException", destination),
            "run `aws xray update-trace-segment-destination --destination CloudWatchLogs`",
        ),
        (
            Response::new(400, status).with("Content-Type", PROTOBUF),
            "run `aws xray update-trace-segment-destination --destination CloudWatchLogs`",
        ),
        (
            error(403, "AccessDeniedException", "User is not authorized"),
            "allow xray:PutSpans and xray:PutSpansForIndexing",
        ),
    ] {
        let fake = FakeXray::start();
        answers(&fake, answer);
        let daemon = Launch::against(&fake).start();
        accepted(daemon.tcp, &spans(2, "waits"));
        daemon.wait_log(line);
        daemon.wait_metric("xray_spans_held 2");
        well_again(&fake);
        fake.wait_for("the spans", |state| state.exports.len() == 1);
        daemon.wait_metric("xray_spans_delivered_total 2");
    }
}

#[test]
fn what_x_ray_refuses_for_good_is_counted_and_said_in_its_words() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    answers(
        &fake,
        error(400, "ValidationException", "A span is too old"),
    );
    accepted(daemon.tcp, &spans(4, "old"));
    daemon.wait_log(
        "[Error] X-Ray refused a request with 4 spans: HTTP 400: ValidationException: A span is \
         too old",
    );
    let partial = [vec![1 << 3, 3], field(2, b"too large")].concat();
    let partial = Response::new(200, field(1, &partial)).with("Content-Type", PROTOBUF);
    answers(&fake, partial);
    accepted(daemon.tcp, &spans(5, "large"));
    daemon.wait_log("[Error] X-Ray refused 3 of 5 spans: too large");
    // Words without a number are a warning.
    let warning = Response::new(200, field(1, &field(2, b"clocks differ")));
    answers(&fake, warning.with("Content-Type", PROTOBUF));
    accepted(daemon.tcp, &spans(6, "well"));
    daemon.wait_log("[Warn] X-Ray took 6 spans and says: clocks differ");
    for line in [
        "xray_spans_accepted_total 15",
        "xray_spans_delivered_total 8",
        "xray_spans_refused_total 7",
        "xray_span_requests_refused_total 1",
    ] {
        daemon.wait_metric(line);
    }
}

#[test]
fn segments_and_spans_do_not_stop_each_other() {
    let unavailable = Box::new(Fault::Answer(Response::new(503, "")));
    for fault in [Box::new(Fault::Hang), unavailable] {
        let mut fake = FakeXray::start();
        let daemon = Launch::against(&fake).start();
        let client = UdpClient::new(daemon.udp);
        fake.inject(Fault::OnPath(TRACES, fault.clone()));
        // So many that they would take all senders.
        let waiting = spans(1, &"waits".repeat(20_000));
        for _ in 0..20 {
            accepted(daemon.tcp, &waiting);
        }
        fake.wait_for("an attempt", |state| state.requests > 0);
        (0..20).for_each(|n| client.document(segment(n)));
        fake.wait_for("the segments", |state| state.different() == 20);
        assert_eq!(bodies(&fake).len(), 0);

        fake.inject(Fault::OnPath("/TraceSegments", fault));
        let before = fake.read(|state| state.batches.len());
        client.document(segment(20));
        fake.wait_for("an attempt", |state| state.batches.len() > before);
        for n in 0..10 {
            accepted(daemon.tcp, &spans(1, &n.to_string()));
        }
        fake.wait_for("the spans", |state| state.exports.len() >= 30);
        assert_eq!(fake.read(|state| state.different()), 20);
        fake.recover();
        fake.wait_for("the last segment", |state| state.different() == 21);
    }
}

#[test]
fn limits_are_said_in_the_encoding_of_the_client() {
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake).args(["-m", "3"]).start();
    let filler = vec![b'x'; 5 << 20];
    let too_long = gzip(&field(9, &filler));
    let many = spans(10_001, "");
    for (headers, body, status, words) in [
        (
            vec![("Content-Type", PROTOBUF), ("Content-Encoding", "gzip")],
            too_long,
            413,
            "more than 5242880 bytes uncompressed",
        ),
        (
            vec![("Content-Type", JSON)],
            json_spans(10_001),
            400,
            "has 10001 spans",
        ),
        (
            vec![("Content-Type", PROTOBUF)],
            many,
            400,
            "has 10001 spans",
        ),
        (
            vec![("Content-Type", JSON)],
            b"{".to_vec(),
            400,
            "no ExportTraceServiceRequest in JSON",
        ),
        (
            vec![("Content-Type", PROTOBUF), ("Content-Encoding", "zstd")],
            Vec::new(),
            415,
            "neither gzip nor left away",
        ),
        (
            vec![("Content-Type", "text/plain")],
            Vec::new(),
            415,
            "application/x-protobuf",
        ),
    ] {
        let answer = post(daemon.tcp, TRACES, &headers, &body);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{text}");
        assert!(text.contains(words), "{text}");
        let is_json = headers[0].1 != PROTOBUF;
        let expected = if is_json { JSON } else { PROTOBUF };
        assert_eq!(answer.header("content-type"), Some(expected));
        assert_eq!(text.starts_with("{\"code\":"), is_json, "{text}");
    }
    let get = format!("GET {TRACES} HTTP/1.1\r\nHost: xray\r\nConnection: close\r\n\r\n");
    let answer = exchange(daemon.tcp, get.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));

    // Spans take half of -m: a longer body never fits, and others are to come again later.
    fake.inject(Fault::Gone);
    let body = |length: usize| field(1, &field(2, &field(2, &vec![b'x'; length])));
    let answer = export(daemon.tcp, &body(1_600_000));
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 413, "{text}");
    assert!(text.contains("raise the daemon's -m"), "{text}");
    let noise = |n: u64| {
        let mut state = n;
        let bytes = (0..1_000_000).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        field(1, &field(2, &field(2, &bytes.collect::<Vec<_>>())))
    };
    accepted(daemon.tcp, &noise(1));
    let full = export(daemon.tcp, &noise(2));
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")));
    assert!(String::from_utf8_lossy(&full.body).contains("send them again later"));
    daemon.wait_log("[Warn] spans of a client on TCP were answered ");
}

/// One of the services beside X-Ray.
fn service() -> Endpoint {
    Endpoint::start(|_, _| Reply::json("{\"ok\":1}"))
}

#[track_caller]
fn assert_signed_for(request: &Request, service: &str) {
    let keys = Keys::new(KEY_ID, SECRET, request.header("x-amz-security-token"));
    let time = request.header("x-amz-date").and_then(parse_date).unwrap();
    let verdict = verify(request, &[keys], REGION, service, time);
    assert_eq!(verdict, Ok(()), "{request:?}");
}

const INSTRUMENTATION: [&str; 2] = [
    "/list-instrumentation-configurations",
    "/report-instrumentation-configuration-status",
];

#[test]
fn logs_metrics_and_instrumentation_go_to_their_services() {
    let fake = FakeXray::start();
    let (logs, monitoring, signals) = (service(), service(), service());
    let url = |endpoint: &Endpoint| format!("http://{}", endpoint.address());
    let daemon = Launch::against(&fake)
        .args(["--otlp", "127.0.0.1:0"])
        .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &url(&logs))
        .env("AWS_ENDPOINT_URL_CLOUDWATCH", &url(&monitoring))
        .env("AWS_ENDPOINT_URL_APPLICATION_SIGNALS", &url(&signals))
        .start();
    let otlp = otlp_port(&daemon);
    for to in [otlp, daemon.tcp] {
        let headers = [
            ("Content-Type", PROTOBUF),
            ("x-aws-log-group", "shop"),
            ("X-Aws-Log-Stream", "one"),
            ("x-other", "not passed on"),
        ];
        let body = b"logs".as_slice();
        assert_eq!(post(to, "/v1/logs", &headers, body).status, 200);
        let request = logs.next_request();
        assert_eq!((request.path(), &*request.body), ("/v1/logs", body));
        assert_eq!(request.header("x-aws-log-group"), Some("shop"));
        assert_eq!(request.header("x-aws-log-stream"), Some("one"));
        assert_eq!(request.header("x-other"), None);
        assert_signed_for(&request, "logs");

        assert_eq!(post(to, "/v1/metrics", &headers, b"metrics").status, 200);
        let request = monitoring.next_request();
        assert_eq!(request.header("x-aws-log-group"), None);
        assert_signed_for(&request, "monitoring");

        for path in INSTRUMENTATION {
            assert_eq!(post(to, path, &[("Content-Type", JSON)], b"{}").status, 200);
            let request = signals.next_request();
            assert_eq!(request.path(), path);
            assert_signed_for(&request, "application-signals");
        }
    }
    // Nothing but OTLP is taken on its port.
    for path in ["/GetSamplingRules", "/TraceSegments", "/"] {
        let answer = post(otlp, path, &[], b"{}");
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 404, "{text}");
        assert!(text.contains("takes OTLP over HTTP only"), "{text}");
    }
    for path in ["/healthz", "/metrics"] {
        let get = format!("GET {path} HTTP/1.1\r\nHost: xray\r\nConnection: close\r\n\r\n");
        assert_eq!(exchange(otlp, get.as_bytes()).unwrap().status, 404);
    }
    assert_eq!(fake.read(|state| state.calls.len()), 0);
}

#[test]
fn without_the_option_no_other_service_is_reached() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    for path in [
        "/v1/logs",
        "/v1/metrics",
        INSTRUMENTATION[0],
        INSTRUMENTATION[1],
    ] {
        let answer = post(daemon.tcp, path, &[("Content-Type", PROTOBUF)], b"x");
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert!(text.contains("--otlp ADDRESS"), "{text}");
    }
    assert_eq!(fake.read(|state| state.calls.len()), 0);
}

#[test]
fn a_port_that_is_taken() {
    let fake = FakeXray::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let launch = Launch::against(&fake).args(["--otlp", &address]);
    let ended = launch.run();
    assert_eq!(ended.code, Some(1));
    let line = format!("[Error] cannot listen on tcp {address}");
    assert!(
        ended.log.iter().any(|l| l.contains(&line)),
        "{:?}",
        ended.log
    );
    // Where traces may be shown here, a collector that runs beside is no reason not to start.
    let daemon = launch.args(["--exporter", "auto"]).start();
    daemon.wait_log("a collector may be running");
    accepted(daemon.tcp, &spans(1, "by the other port"));
    fake.wait_for("the spans", |state| state.exports.len() == 1);
}

#[test]
fn spans_are_shown_here_where_segments_are() {
    let launch = |exporter: &str| {
        Launch::bare()
            .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0"])
            .args(["--otlp", "127.0.0.1:0", "--exporter", exporter])
    };
    let daemon = launch("json").start();
    let otlp = otlp_port(&daemon);
    accepted(otlp, &spans(1, "as JSON"));
    daemon.wait_log(r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"as JSON"}]}]}]}"#);
    let headers = [("Content-Type", PROTOBUF), ("Content-Encoding", "gzip")];
    let answer = post_until_taken(otlp, &headers, &gzip(&spans(1, "compressed")));
    assert_eq!(answer.status, 200);
    daemon.wait_log(r#""name":"compressed""#);
    // What cannot be shown was not taken.
    let broken = field(1, &field(2, &field(2, b"\xff")));
    assert_eq!(export(otlp, &broken).status, 400);
    let daemon = launch("console").start();
    let ids = [field(1, &[7; 16]), field(2, &[8; 8]), field(5, b"drawn")].concat();
    accepted(otlp_port(&daemon), &field(1, &field(2, &field(2, &ids))));
    daemon.wait_log("drawn");
}
