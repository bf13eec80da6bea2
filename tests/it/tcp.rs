//! The TCP port of the real binary: its flags, what it logs and counts, and its end.

use std::io::{Read, Write};
use std::net::TcpStream;

use xray_test_support::daemon::Launch;
use xray_test_support::http::Response;
use xray_test_support::http_client::exchange;
use xray_test_support::process::Signal;
use xray_test_support::watch::DEADLINE;
use xray_test_support::xray::FakeXray;
use xray_test_support::xray::Fault;

/// A request with a JSON body of two bytes.
fn post(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: xray\r\nConnection: close\r\n{headers}Content-Length: 2\r\n\r\n{{}}"
    )
    .into_bytes()
}

fn answers(fake: &FakeXray, path: &str, answer: Response) {
    fake.update(|state| state.answers.insert(path.to_owned(), answer));
}

#[test]
fn what_x_ray_refuses_is_logged_and_counted() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let error = |status, code: &str, message: &str| {
        let body = format!("{{\"message\":\"{message}\"}}");
        Response::new(status, body).with("x-amzn-ErrorType", code)
    };
    answers(
        &fake,
        "/GetSamplingRules",
        error(403, "AccessDeniedException", "User is not authorized"),
    );
    answers(
        &fake,
        "/SamplingTargets",
        error(429, "ThrottledException", "Rate exceeded"),
    );
    answers(
        &fake,
        "/Something",
        error(404, "UnknownOperationException", ""),
    );
    for path in ["/GetSamplingRules", "/SamplingTargets", "/Something"] {
        for _ in 0..3 {
            exchange(daemon.tcp, &post(path, "")).unwrap();
        }
    }
    for line in [
        "[Warn] X-Ray answered GetSamplingRules on TCP with 403: AccessDeniedException: User is \
         not authorized; allow xray:GetSamplingRules in the policy of the daemon's role",
        "[Warn] X-Ray answered GetSamplingTargets on TCP with 429: ThrottledException: Rate \
         exceeded; let clients ask less often",
        "[Warn] X-Ray answered other on TCP with 404: UnknownOperationException; this service",
    ] {
        daemon.wait_log(line);
        let lines = daemon.log();
        assert_eq!(
            lines.iter().filter(|l| l.contains(line)).count(),
            1,
            "{line}"
        );
    }
    for (action, outcome) in [
        ("GetSamplingRules", "4xx"),
        ("GetSamplingTargets", "429"),
        ("other", "4xx"),
    ] {
        let line =
            format!("xray_proxy_requests_total{{action=\"{action}\",outcome=\"{outcome}\"}} 3");
        // An answer is there a moment before it is counted.
        daemon.wait_metric(&line);
    }
}

/// What dashboards for any program ask for.
#[cfg(target_os = "linux")]
#[test]
fn the_process_is_measured_as_prometheus_clients_do() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let text = daemon.metrics();
    let value = |name: &str| -> f64 {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let values: Vec<&str> = lines.filter(|l| l.0 == name).map(|l| l.1).collect();
        assert_eq!(values.len(), 1, "{name} in\n{text}");
        values[0].parse().unwrap()
    };
    for name in [
        "process_cpu_seconds_total",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
        "process_virtual_memory_max_bytes",
        "process_max_fds",
    ] {
        value(name);
    }
    // Its log, its two ports, and this very connection.
    let descriptors = value("process_open_fds");
    assert!(descriptors >= 5.0 && descriptors <= value("process_max_fds"));
    assert!(value("process_threads") >= 5.0);
    let resident = value("process_resident_memory_bytes");
    // The kernel counts pages a little late, and not always by as much.
    let most = (daemon.peak_kb() + 1024) as f64 * 1024.0;
    assert!(resident >= 100_000.0 && resident <= most, "{resident}");
}

#[test]
fn big_bodies_and_grpc_are_logged() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let big = b"POST /v1/traces HTTP/1.1\r\nHost: xray\r\nContent-Length: 7000000\r\n\r\n";
    assert_eq!(exchange(daemon.tcp, big).unwrap().status, 413);
    daemon.wait_log("[Warn] a request on TCP was answered 413: its body is over ");
    let mut grpc = TcpStream::connect(daemon.tcp).unwrap();
    grpc.set_read_timeout(Some(DEADLINE)).unwrap();
    grpc.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let mut frames = Vec::new();
    grpc.read_to_end(&mut frames).unwrap();
    assert_eq!(&frames[..4], [0, 0, 0, 4]);
    daemon.wait_log("[Warn] a client speaks HTTP/2 or gRPC on TCP");
}

#[test]
fn web_pages_are_refused_unless_their_origin_is_allowed() {
    let fake = FakeXray::start();
    answers(&fake, "/SamplingTargets", Response::new(200, "{}"));
    let allowed = "Origin: https://app.example.com\r\n";
    let other = "Origin: https://evil.example\r\n";
    let daemon = Launch::against(&fake)
        .args(["--allow-origin", "https://app.example.com"])
        .start();
    let ask = |headers: &str| exchange(daemon.tcp, &post("/SamplingTargets", headers)).unwrap();
    assert_eq!(ask(allowed).status, 200);
    for _ in 0..3 {
        assert_eq!(ask(other).status, 403);
    }
    let line = "a request of a web page was answered 403 (from https://evil.example)";
    daemon.wait_log(line);
    let log = daemon.log();
    assert_eq!(log.iter().filter(|l| l.contains(line)).count(), 1);
    // By default there is none.
    let daemon = Launch::against(&fake).start();
    let answer = exchange(daemon.tcp, &post("/SamplingTargets", allowed)).unwrap();
    assert_eq!(answer.status, 403);
}

#[test]
fn sampling_rules_are_kept_unless_told_otherwise() {
    let rules = r#"{"SamplingRuleRecords":[]}"#;
    for (arguments, expected) in [
        (&[] as &[&str], (200, rules)),
        (&["--sampling-cache", "0"], (502, "")),
    ] {
        let mut fake = FakeXray::start();
        answers(&fake, "/GetSamplingRules", Response::new(200, rules));
        let daemon = Launch::against(&fake)
            .args(arguments.iter().copied())
            .start();
        let ask = || exchange(daemon.tcp, &post("/GetSamplingRules", "")).unwrap();
        assert_eq!(ask().status, 200);
        fake.inject(Fault::Gone);
        let answer = ask();
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!((answer.status, body.as_str()), expected);
        // Whoever reads the log learns why.
        daemon.wait_log("[Warn] GetSamplingRules on TCP was answered 502: no answer from X-Ray");
    }
}

/// As somebody types it: `printf … | nc`.
#[test]
fn requests_with_bare_line_feeds_are_taken() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    for request in [
        "GET /healthz HTTP/1.0\n\n",
        "GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n",
    ] {
        let answer = exchange(daemon.tcp, request.as_bytes()).unwrap();
        // That the uploader does not answer in time is no word about the request.
        assert!(matches!(answer.status, 200 | 503), "{request:?} {answer:?}");
    }
}

/// The last call of an application is often under way when its daemon is told to stop.
#[test]
fn a_request_under_way_at_the_end_is_answered() {
    let mut fake = FakeXray::start();
    answers(&fake, "/SamplingTargets", Response::new(200, "{}"));
    let daemon = Launch::against(&fake)
        .args(["--shutdown-timeout", "60s"])
        .start();
    let connect = || {
        let client = TcpStream::connect(daemon.tcp).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client
    };
    let mut idle = connect();
    // From here on there is a connection to X-Ray.
    let request = post("/SamplingTargets", "");
    assert_eq!(exchange(daemon.tcp, &request).unwrap().status, 200);
    let before = fake.read(|state| state.requests);
    fake.inject(Fault::Hang);
    let mut client = connect();
    client.write_all(&request).unwrap();
    fake.wait_for("the request", |state| state.requests == before + 1);

    daemon.signal(Signal::TERM);
    assert_eq!(
        idle.read(&mut [0]).unwrap(),
        0,
        "idle connections are closed"
    );
    let late = exchange(daemon.tcp, &request).unwrap();
    assert_eq!((late.status, late.body.len()), (503, 0));
    let close = |answer: &Response| {
        let header = answer.headers.iter().find(|(name, _)| name == "Connection");
        header.is_some_and(|(_, value)| value == "close")
    };
    assert!(close(&late), "{late:?}");

    // What the fake holds it closes, and the request is sent again.
    fake.recover();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(
        answer.contains("Connection: close") && answer.ends_with("{}"),
        "{answer}"
    );
    assert_eq!(daemon.wait_exit(DEADLINE).code, Some(0));
}
