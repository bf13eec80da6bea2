//! `xray check`: what it says of settings that work, and of each that does not.

use xray_test_support::daemon::Launch;
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::Response;
use xray_test_support::process::Ended;
use xray_test_support::scratch::ScratchDir;
use xray_test_support::server::closed_address;
use xray_test_support::xray::{FakeXray, Fault, KEY_ID, REGION, SECRET};

const RULES: &str = "/GetSamplingRules";

/// A service that answers all that a check asks for.
fn service(fake: FakeXray) -> FakeXray {
    fake.update(|state| {
        state.takes_empty_batches = true;
        let rules = Response::new(200, r#"{"SamplingRuleRecords":[]}"#);
        state.answers.insert(RULES.to_owned(), rules);
    });
    fake
}

fn check(fake: &FakeXray) -> Launch {
    Launch::against(fake).args(["check"])
}

/// The words of the report, however they are wrapped.
fn words(ended: &Ended) -> String {
    let text = ended.log.join(" ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn expect(ended: &Ended, code: i32, parts: &[&str]) {
    let text = words(ended);
    assert_eq!(ended.code, Some(code), "{:#?}", ended.log);
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {:#?}", ended.log);
    }
    // Not even the id of a key is whole.
    for secret in [SECRET, KEY_ID, "AWS4-HMAC"] {
        assert!(!text.contains(secret), "{secret} in {:#?}", ended.log);
    }
}

#[test]
fn all_is_well() {
    let fake = service(FakeXray::start_tls());
    let ended = check(&fake).run();
    expect(
        &ended,
        0,
        &[
            "ok configuration the command line; there is no cfg.yaml",
            "ok region us-east-1 (from -n or cfg.yaml)",
            &format!("ok endpoint {}", fake.url()),
            "ok proxy none",
            "ok credentials environment (AWS_ACCESS_KEY_ID is set): AKID…, do not expire",
            "ok connection answered with TLS in",
            "ok sampling rules GetSamplingRules is allowed",
            "ok upload PutTraceSegments is allowed",
            "Segments reach X-Ray.",
        ],
    );
    fake.read(|state| {
        let uploads: Vec<usize> = state.batches.iter().map(|batch| batch.documents).collect();
        assert_eq!(uploads, [0], "one upload, of nothing");
        assert!(state.telemetry.is_empty() && state.accepted.is_empty());
    });
    // It goes to a file or another program: aligned, and without colours.
    let verdicts = ["ok", "warning", "failed", "not tried"];
    for line in ended.log.iter().filter(|line| line.starts_with("  ")) {
        let column = |start: usize, length: usize| {
            let text: String = line.chars().skip(start).take(length).collect();
            text.trim().to_owned()
        };
        let verdict = column(2, 9);
        assert!(
            verdicts.contains(&verdict.as_str()) || verdict.is_empty(),
            "{line}"
        );
        assert_eq!(column(11, 2) + &column(27, 2), "", "{line}");
    }
    assert!(!ended.log.join("").contains('\x1b'));
    assert_eq!(ended.stderr, [""; 0]);
}

#[test]
fn a_terminal_gets_colours() {
    let fake = service(FakeXray::start());
    for (launch, coloured) in [
        (check(&fake), true),
        (check(&fake).env("NO_COLOR", "1"), false),
    ] {
        let ended = launch.env("TERM", "xterm").on_terminal().run();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
        let green = ended.log.iter().any(|line| line.contains("\x1b[32mok"));
        assert_eq!(green, coloured, "{:#?}", ended.log);
    }
}

#[test]
fn a_denied_upload_is_a_failure() {
    let fake = service(FakeXray::start());
    for fault in [
        Fault::None,
        Fault::None,
        Fault::error(403, "AccessDeniedException"),
    ] {
        fake.inject_once(fault);
    }
    expect(
        &check(&fake).run(),
        1,
        &[
            "ok sampling rules",
            "failed upload PutTraceSegments: HTTP 403: AccessDeniedException: because the test \
             said so; give the role of this daemon",
            "Segments do not reach X-Ray.",
        ],
    );
}

#[test]
fn a_denied_sampling_call_is_a_warning() {
    let fake = service(FakeXray::start());
    fake.inject_once(Fault::None);
    fake.inject_once(Fault::error(403, "AccessDeniedException"));
    expect(
        &check(&fake).run(),
        0,
        &[
            "warning sampling rules GetSamplingRules: HTTP 403: AccessDeniedException",
            "ok upload",
            "Segments reach X-Ray, with 1 warning.",
        ],
    );
}

/// A service that looks at the permission first, and then finds that there is nothing in it.
#[test]
fn a_refusal_of_the_empty_batch_is_well() {
    let fake = service(FakeXray::start());
    for (message, expected) in [
        (
            "Value '[]' at 'traceSegmentDocuments' failed to satisfy constraint",
            "ok upload PutTraceSegments is allowed;",
        ),
        (
            "The request is not valid today",
            "warning upload PutTraceSegments: HTTP 400: InvalidRequestException: The request is \
             not valid today",
        ),
    ] {
        let body = format!(r#"{{"message":"{message}"}}"#);
        let answer = Response::new(400, body).with("x-amzn-ErrorType", "InvalidRequestException");
        for fault in [Fault::None, Fault::None, Fault::Answer(answer)] {
            fake.inject_once(fault);
        }
        expect(&check(&fake).run(), 0, &[expected]);
    }
}

#[test]
fn the_directory_of_the_spool() {
    let fake = service(FakeXray::start());
    let scratch = ScratchDir::new();
    let path = |name: &str| scratch.path().join(name).display().to_string();
    let (private, missing) = (path("private"), path("missing"));
    std::fs::create_dir(&private).unwrap();
    std::fs::write(path("file"), "").unwrap();
    for (directory, expected) in [
        (&private, format!("ok spool {private}; at most 256 MB")),
        (
            &missing,
            format!("ok spool {missing}, which the daemon creates;"),
        ),
        (
            &path("file"),
            "warning spool cannot use the spool".to_owned(),
        ),
        (
            &path("no/such"),
            "warning spool cannot use the spool".to_owned(),
        ),
    ] {
        let ended = check(&fake).args(["--spool", directory]).run();
        expect(&ended, 0, &[&expected]);
    }
    // Whoever asks may be another user than the daemon: nothing is left behind.
    assert!(!std::fs::exists(&missing).unwrap());
    assert_eq!(std::fs::read_dir(&private).unwrap().count(), 0);
}

#[test]
fn keys_that_the_service_does_not_know() {
    let fake = service(FakeXray::start());
    let launch = check(&fake).env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLF");
    expect(
        &launch.run(),
        1,
        &[
            "AKIA…MPLF",
            "failed upload PutTraceSegments: HTTP 403: UnrecognizedClientException",
            "this region is enabled",
        ],
    );
}

#[test]
fn no_credentials() {
    let fake = service(FakeXray::start());
    let launch = check(&fake)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY");
    expect(
        &launch.run(),
        1,
        &[
            "failed credentials no AWS credentials found",
            "ok connection",
            "not tried upload",
        ],
    );
}

#[test]
fn no_way_to_the_service() {
    let fake = service(FakeXray::start());
    let gone = closed_address();
    for (endpoint, parts) in [
        (
            "http://xray.no-such-name.invalid".to_owned(),
            &[
                "failed addresses xray.no-such-name.invalid:",
                "not tried upload",
            ][..],
        ),
        (
            format!("http://{gone}"),
            &["ok addresses 127.0.0.1", "failed connection", "refused"],
        ),
    ] {
        let ended = check(&fake).env("AWS_ENDPOINT_URL_XRAY", &endpoint).run();
        expect(&ended, 1, parts);
    }
}

#[test]
fn a_certificate_that_is_not_trusted() {
    let fake = service(FakeXray::start_tls());
    let ended = check(&fake).without_env("AWS_CA_BUNDLE").run();
    expect(
        &ended,
        1,
        &["failed connection", "AWS_CA_BUNDLE", "not tried upload"],
    );
}

/// The time that one request may take ends it.
#[test]
fn a_silent_service() {
    let mut fake = service(FakeXray::start());
    fake.inject(Fault::Hang);
    expect(
        &check(&fake).run(),
        1,
        &["failed connection", "not tried upload"],
    );
}

#[test]
fn a_proxy_that_says_no() {
    let fake = service(FakeXray::start_tls());
    let proxy = Endpoint::start(|_, _| Reply::Send(Response::new(407, "")));
    let address = format!("http://user:pa55word@{}", proxy.address());
    let ended = check(&fake).args(["-p", &address]).run();
    assert!(!words(&ended).contains("pa55word"), "{:#?}", ended.log);
    expect(
        &ended,
        1,
        &[
            &format!("ok proxy {}", proxy.address()),
            "(of the proxy): 127.0.0.1",
            "failed connection",
            "proxy",
        ],
    );
}

#[test]
fn settings_that_cannot_work() {
    let fake = service(FakeXray::start());
    for (arguments, part) in [
        (&["-c", "/no/such/cfg.yaml"][..], "failed configuration"),
        (&["-n", ""], "failed region Cannot fetch region"),
        (&["-p", "socks5://x:1"], "failed proxy"),
    ] {
        let ended = check(&fake).args(arguments.iter().copied()).run();
        expect(&ended, 1, &[part]);
    }
    let gone = format!("http://{}", closed_address());
    let launch = check(&fake).args(["-n", "us-east-1a"]);
    let ended = launch.env("AWS_ENDPOINT_URL_XRAY", &gone).run();
    expect(
        &ended,
        1,
        &["warning region us-east-1a", "did you mean us-east-1?"],
    );
    let ended = check(&fake).env("AWS_PROFILE", "missing").run();
    expect(&ended, 1, &["failed profile"]);
}

/// An hour of difference: the daemon corrects it, and so does the check.
#[test]
fn a_wrong_clock_is_a_warning() {
    let fake = service(FakeXray::start());
    fake.update(|state| state.clock_offset = 3600);
    expect(
        &check(&fake).run(),
        0,
        &[
            "ok upload",
            "warning clock the clock of this host is 3",
            "s behind X-Ray's",
        ],
    );
}

/// Beside a running daemon, on its ports.
#[test]
fn it_binds_nothing() {
    let fake = service(FakeXray::start());
    let daemon = Launch::against(&fake).start();
    let (udp, tcp) = (daemon.udp.to_string(), daemon.tcp.to_string());
    let launch = Launch::against(&fake).args(["-b", &udp, "-t", &tcp, "check", "-n", REGION]);
    expect(&launch.run(), 0, &["Segments reach X-Ray."]);
}
