//! The command line as task definitions and scripts use it: exit codes, streams, start-up lines.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use xray_test_support::DEADLINE;
use xray_test_support::daemon::Launch;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::process::Ended;
use xray_test_support::process::Signal;
use xray_test_support::scratch::ScratchDir;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::FakeXray;

#[track_caller]
fn run(arguments: &str) -> Ended {
    Launch::bare().args(arguments.split_whitespace()).run()
}

/// Standard output and standard error, as one text.
fn text(ended: &Ended) -> String {
    format!("{}\n{}", ended.log.join("\n"), ended.stderr.join("\n"))
}

#[test]
fn help_and_version() {
    for flag in ["-h", "-help", "--help"] {
        let ended = run(flag);
        assert_eq!(ended.code, Some(0), "{flag}");
        for option in ["--bind ", "--bind-tcp", "--region", "--buffer-memory"] {
            assert!(text(&ended).contains(option), "{flag}: no {option}");
        }
    }
    for flag in ["-v", "--version", "-o -n us-east-1 -v"] {
        let ended = run(flag);
        assert_eq!(ended.code, Some(0), "{flag}");
        let version = concat!("AWS X-Ray daemon version: ", env!("CARGO_PKG_VERSION"));
        assert_eq!(ended.log, [version], "{flag}");
    }
}

#[test]
fn what_cannot_be_understood_exits_2() {
    for arguments in [
        "-x",
        "--no-such-flag",
        "-ob 127.0.0.1:0",
        "-n",
        "-o=maybe",
        "-m x",
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments}");
        let flag = arguments.split([' ', '=']).next().unwrap();
        let name = flag.trim_start_matches('-');
        assert!(text(&ended).contains(name), "{arguments}: {}", text(&ended));
    }
}

/// Whoever writes these does not want a daemon, or not with the defaults.
#[test]
fn what_was_meant_is_said() {
    for (arguments, hint) in [
        (&["healthchek"][..], "did you mean healthcheck?"),
        (&["version"], "did you mean --version?"),
        (&["start", "-n", "us-east-1"], "xray is the daemon"),
        (&["--regoin", "us-east-1"], "did you mean --region?"),
        (&["--", "job"], "did you mean `xray exec ... -- job`?"),
        (
            &["-o", "-n", "r", "--", "job"],
            "did you mean `xray exec ... -- job`?",
        ),
        (&["healthcheck", "foo"], "takes flags only"),
        (&["check", "--", "foo"], "takes flags only"),
        (&["-o -n us-east-1"], "\"-o\", \"-n\", \"us-east-1\""),
        (&["-o=true -n us-east-1"], "\"-n\", \"us-east-1\""),
    ] {
        let ended = Launch::bare().args(arguments.iter().copied()).run();
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        let stderr = ended.stderr.join("\n");
        assert!(
            stderr.contains(hint),
            "{arguments:?}: no {hint} in\n{stderr}"
        );
    }
}

/// `command: ["/xray", …]` in a container whose entry point is `/xray` already.
#[test]
fn the_entry_point_repeated_is_a_word_to_ignore() {
    let fake = FakeXray::start();
    for word in ["xray", "/xray", "/usr/bin/xray"] {
        let daemon = Launch::against(&fake)
            .args([word, "-n", "eu-west-9"])
            .start();
        daemon.wait_log(&format!("ignored from \"{word}\" on"));
        daemon.stop();
        let ended = run(&format!("{word} -b 127.0.0.1:0"));
        let text = text(&ended);
        assert_eq!(ended.code, Some(1), "no region\n{text}");
        assert!(
            text.contains(&format!("ignored from \"{word}\" on")),
            "{text}"
        );
    }
}

#[test]
fn a_command_has_a_help_of_its_own() {
    let ended = run("-t 127.0.0.1:1 healthcheck --help");
    assert_eq!(ended.code, Some(0));
    let text = text(&ended);
    assert!(text.contains("Usage: xray healthcheck [options]"), "{text}");
    assert!(!text.contains("--shutdown-timeout"), "{text}");
}

#[test]
fn what_cannot_be_done_exits_1_and_says_why() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = udp.local_addr().unwrap().to_string();
    let tcp = tcp.local_addr().unwrap().to_string();
    let local = "-o -n us-east-1 -t 127.0.0.1:0 -b 127.0.0.1:0";
    let cases = [
        ("-o -b 127.0.0.1:0 -t 127.0.0.1:0".to_owned(), "region"),
        (format!("{local} -m 2"), "3"),
        (
            format!("{local} -r my-role"),
            "-r \"my-role\" is not the ARN of a role",
        ),
        (format!("{local} -b nonsense"), "nonsense"),
        (format!("{local} -b 127.0.0.1:99999"), "99999"),
        (format!("{local} -b 192.0.2.1:0"), "this machine"),
        (format!("{local} -b {udp}"), udp.as_str()),
        (format!("{local} -t {tcp}"), tcp.as_str()),
        (format!("{local} -c /no/such/cfg.yaml"), "/no/such/cfg.yaml"),
        (
            format!("{local} -f /dev/null/xray.log"),
            "/dev/null/xray.log",
        ),
    ];
    for (arguments, reason) in cases {
        let ended = run(&arguments);
        let text = text(&ended);
        assert_eq!(ended.code, Some(1), "{arguments}\n{text}");
        assert!(text.contains(reason), "{arguments}: no {reason} in\n{text}");
    }
}

#[test]
fn a_missing_region_says_what_to_do() {
    let ended = run("-o -b 127.0.0.1:0 -t 127.0.0.1:0");
    let text = text(&ended);
    for part in ["-n", "AWS_REGION"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn go_flag_grammar() {
    let fake = FakeXray::start();
    // The image's entry point has -t and -b already; users repeat them. The last one wins, both
    // dashes and both forms of a value are legal, and the first plain word ends the flags.
    let daemon = Launch::against(&fake)
        .args([
            "-bind-tcp=nonsense",
            "--bind-tcp=127.0.0.1:0",
            "-o=false",
            "-o=true",
            "--local-mode",
            "-region",
            "eu-west-9",
            "-n=us-east-1",
            "word",
            "--no-such-flag",
        ])
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
}

#[test]
fn the_region_comes_from_the_environment_too() {
    for (name, other) in [
        ("AWS_REGION", Some("AWS_DEFAULT_REGION")),
        ("AWS_DEFAULT_REGION", None),
    ] {
        let fake = FakeXray::start();
        let mut launch = Launch::bare()
            .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0", "-o"])
            .env("AWS_ACCESS_KEY_ID", xray_test_support::xray::KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", xray_test_support::xray::SECRET)
            .env("AWS_ENDPOINT_URL_XRAY", &fake.url())
            .env(name, "us-east-1");
        if let Some(other) = other {
            launch = launch.env(other, "eu-west-9");
        }
        let daemon = launch.start();
        daemon.wait_log("Using region: us-east-1");
        UdpClient::new(daemon.udp).document(segment(1));
        fake.wait_for("the document", |state| state.accepted.len() == 1);
    }
}

/// `-o true` ends the flags, as in Go, and the region behind it is gone: nobody would guess.
#[test]
fn words_that_are_ignored_are_named() {
    let ended = run("-b 127.0.0.1:0 -t 127.0.0.1:0 -o true -n us-east-1");
    let text = text(&ended);
    assert!(text.contains("ignored from \"true\" on"), "{text}");
}

/// They go to a program: `xray --exporter json | jq`.
#[test]
fn json_documents_have_stdout_to_themselves() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let ended = run(&format!("--exporter json -b 127.0.0.1:0 -t {taken}"));
    assert_eq!(ended.log, [""; 0]);
    let errors = ended.stderr.join("\n");
    for part in ["Initializing", "cannot listen on tcp"] {
        assert!(errors.contains(part), "no {part:?} in\n{errors}");
    }
}

/// The lines that runbooks and support articles tell people to look for.
#[test]
fn start_up_lines_in_the_official_format() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    UdpClient::new(daemon.udp).document(segment(1));
    daemon.wait_log("Successfully sent batch of 1 segments (");
    let ended = daemon.stop();
    for part in [
        "[Info] Initializing AWS X-Ray daemon",
        "[Info] Using region: us-east-1",
        "[Info] Starting proxy http server on 127.0.0.1:",
        "Got shutdown signal",
    ] {
        assert!(ended.log.iter().any(|l| l.contains(part)), "no {part:?}");
    }
    for line in &ended.log {
        let (time, rest) = line.split_once(' ').unwrap();
        let shape: String = time
            .chars()
            .map(|c| if c.is_ascii_digit() { '9' } else { c })
            .collect();
        assert_eq!(shape, "9999-99-99T99:99:99Z", "{line}");
        assert!(rest.starts_with('['), "{line}");
    }
    assert_eq!(ended.stderr, [""; 0], "all logs go to stdout");
}

/// A closed terminal must not leave a daemon behind on the port.
#[test]
fn sighup_drains_and_ends_it() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    daemon.signal(Signal::HUP);
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(0));
    assert!(ended.log.iter().any(|line| line.contains("Totals: ")));
}

/// With a log file, SIGHUP is how logrotate says that the file was renamed.
#[test]
fn sighup_opens_the_log_file_anew() {
    let fake = FakeXray::start();
    let directory = ScratchDir::new();
    let path = directory.path().join("xray.log");
    let daemon = Launch::against(&fake)
        .args(["-f", &path.display().to_string()])
        .spawn();
    let contains =
        |path: &Path, text: &str| std::fs::read_to_string(path).is_ok_and(|log| log.contains(text));
    wait_until("the daemon to listen", || {
        contains(&path, "Listening on udp")
    });
    let renamed = directory.path().join("xray.log.1");
    std::fs::rename(&path, &renamed).unwrap();
    daemon.signal(Signal::HUP);
    wait_until("the new file", || contains(&path, "Got hangup signal"));
    assert!(contains(&renamed, "Listening on udp"));
    daemon.stop();
}

#[test]
fn a_log_at_debug_level_never_shows_secrets() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).args(["-l", "dev"]).start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    // Every daemon's log is searched for secrets when it is dropped: this one's is the longest.
    daemon.stop();
}
