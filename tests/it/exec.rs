//! `xray exec`: a program, and a daemon that lives as long as it has segments to deliver.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use xray_test_support::DEADLINE;
use xray_test_support::daemon::{Daemon, Launch};
use xray_test_support::load::{UdpClient, segment};
#[cfg(target_os = "linux")]
use xray_test_support::process::signal_by_number;
use xray_test_support::process::{Ended, Signal};
use xray_test_support::watch::wait_until;
use xray_test_support::xray::{FakeXray, Fault, KEY_ID, REGION, SECRET};

/// Set in the program that this file's own test process becomes.
const SENDS: &str = "XRAY_TEST_SENDS";

/// `xray exec` with keys, a region and the address of the fake, and with no port given.
fn exec(fake: &FakeXray) -> Launch {
    Launch::bare()
        .args(["exec", "-o", "-n", REGION])
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_ENDPOINT_URL_XRAY", &fake.url())
        .env("PATH", "/usr/bin:/bin")
}

fn shell(fake: &FakeXray, script: &str) -> Launch {
    exec(fake).args(["--", "sh", "-c", script])
}

/// A program that sends one segment and does then what the script says.
fn sender(fake: &FakeXray, script: &str) -> Launch {
    sends(exec(fake), script)
}

fn sends(exec: Launch, script: &str) -> Launch {
    let me = std::env::current_exe().unwrap();
    let me = me.to_str().unwrap();
    let script = format!("\"$0\" --exact exec::the_program_that_sends --nocapture; {script}");
    exec.args(["--", "sh", "-c", &script, me]).env(SENDS, "1")
}

/// Not a test, but the program of the others.
#[test]
fn the_program_that_sends() {
    if std::env::var_os(SENDS).is_some() {
        let address = std::env::var("AWS_XRAY_DAEMON_ADDRESS").unwrap();
        let address: SocketAddr = address.parse().unwrap();
        // Both ports are open, and the same.
        TcpStream::connect(address).unwrap();
        UdpClient::new(address).document(segment(1));
    }
}

#[track_caller]
fn errors(ended: &Ended, part: &str) {
    let text = ended.stderr.join("\n");
    assert!(text.contains(part), "no {part:?} in\n{text}");
}

#[test]
fn the_last_segment_arrives_and_the_status_is_the_programs() {
    let fake = FakeXray::start();
    // What lingers is delivered at the end, and not before.
    let launch = sender(&fake, "exit 7").env("XRAY_TEST_BATCH_WAIT_MS", "3600000");
    let ended = launch.run();
    assert_eq!(ended.code, Some(7), "{ended:#?}");
    assert_eq!(fake.read(|state| state.accepted.len()), 1);
    // The log goes to stderr, and the output is the program's alone.
    errors(&ended, "Initializing AWS X-Ray daemon");
    errors(&ended, "Totals: received 1");
    assert!(
        !ended.log.iter().any(|line| line.contains("[Info]")),
        "{ended:#?}"
    );
}

#[test]
fn statuses_are_those_of_shells() {
    let fake = FakeXray::start();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        assert_eq!(shell(&fake, script).run().code, Some(code), "{script}");
    }
    for (program, code) in [
        ("/no/such/program", 127),
        ("no-such-program", 127),
        ("/", 126),
        ("", 127),
    ] {
        let ended = exec(&fake).args(["--", program]).run();
        assert_eq!(ended.code, Some(code), "{program}");
        errors(&ended, &format!("exec: cannot start {program:?}: "));
        // The daemon was there, and has ended.
        errors(&ended, "Totals: received 0");
        let stderr = ended.stderr.join("\n");
        assert!(!stderr.contains("has ended"), "{stderr}");
    }
}

#[test]
fn without_a_program_it_is_a_wrong_command_line() {
    let fake = FakeXray::start();
    for (arguments, part) in [
        (&[][..], "no program is given"),
        (&["--"], "no program is given"),
        (&["true"], "write -- before the program"),
        (&["--no-such", "--", "true"], "not defined: -no-such"),
    ] {
        let ended = exec(&fake).args(arguments.iter().copied()).run();
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        errors(&ended, part);
        errors(&ended, "see `xray exec --help`");
        assert_eq!(ended.log, [""; 0], "{arguments:?}");
    }
}

#[test]
fn addresses_are_told_as_they_are() {
    let fake = FakeXray::start();
    let script = "echo address $AWS_XRAY_DAEMON_ADDRESS";
    for (arguments, part) in [
        (&[][..], "address 127.0.0.1:"),
        (
            &["-b", "0.0.0.0:0", "-t", "0.0.0.0:0"],
            "address tcp:127.0.0.1:",
        ),
    ] {
        let launch = exec(&fake).args(arguments.iter().copied());
        let ended = launch.args(["--", "sh", "-c", script]).run();
        assert_eq!(ended.code, Some(0));
        assert!(
            ended.log.iter().any(|line| line.contains(part)),
            "{ended:#?}"
        );
    }
}

#[test]
fn exporters_of_opentelemetry_are_told_too() {
    let fake = FakeXray::start();
    let script = "echo ${OTEL_EXPORTER_OTLP_ENDPOINT-none} ${OTEL_EXPORTER_OTLP_PROTOCOL-none}; \
                  until [ -e ended ]; do sleep 0.02; done; exit 3";
    let with_otlp = || exec(&fake).args(["--otlp", "127.0.0.1:0"]);
    for (launch, expected) in [
        (exec(&fake), Some("none none")),
        (with_otlp(), None),
        (
            with_otlp().env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:4317"),
            Some("http://other:4317 none"),
        ),
        (
            with_otlp().env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            Some("http/json"),
        ),
    ] {
        let running = launch.args(["--", "sh", "-c", script]).spawn();
        match expected {
            Some(expected) => {
                running.wait_log(expected);
            }
            None => {
                let line = running.wait_log(" http/protobuf");
                let address = line.strip_prefix("http://").unwrap();
                let address = address.strip_suffix(" http/protobuf").unwrap();
                TcpStream::connect(address).unwrap();
                running.wait_log(&format!("Listening for OTLP on {address}"));
            }
        }
        end(&running);
    }
}

/// Whatever is wrong with the daemon, the program runs.
#[test]
fn a_fault_of_the_daemon_stops_no_program() {
    let fake = FakeXray::start();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = udp.local_addr().unwrap().to_string();
    let tcp = tcp.local_addr().unwrap().to_string();
    let script = "echo \"address ${AWS_XRAY_DAEMON_ADDRESS-none}\"; exit 5";
    for (arguments, part) in [
        (["-c", "/no/such/cfg.yaml"], "/no/such/cfg.yaml"),
        (["-b", &udp], "cannot listen on udp"),
        (["-t", &tcp], "cannot listen on tcp"),
        (["-r", "my-role"], "not the ARN of a role"),
    ] {
        let launch = exec(&fake).args(arguments);
        let ended = launch.args(["--", "sh", "-c", script]).run();
        assert_eq!(ended.code, Some(5), "{arguments:?}");
        errors(&ended, part);
        errors(&ended, "runs without a daemon");
        let stderr = ended.stderr.join("\n");
        assert_eq!(stderr.matches("lost").count(), 1, "said once:\n{stderr}");
        assert_eq!(ended.log, ["address none"], "{arguments:?}");
    }
}

/// It ends a moment after it has begun to listen.
#[test]
fn a_daemon_without_a_region_stops_no_program() {
    let fake = FakeXray::start();
    let running = exec(&fake)
        .args(["-n", "", "--", "sh", "-c", UNTIL_ENDED])
        .spawn();
    running.wait_log("Cannot fetch region");
    running.wait_log("the daemon has ended");
    end(&running);
}

/// A program that ends when it is told to.
const UNTIL_ENDED: &str =
    "echo ready; until [ -e ended ] || ! kill -0 $PPID; do sleep 0.02; done; exit 3";

#[track_caller]
fn end(running: &Daemon) -> Ended {
    std::fs::write(running.directory().join("ended"), "").unwrap();
    let ended = running.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(3));
    ended
}

/// Killed as by the kernel for memory.
#[cfg(target_os = "linux")]
#[test]
fn a_daemon_that_is_killed_stops_no_program() {
    let fake = FakeXray::start();
    let running = shell(&fake, UNTIL_ENDED).spawn();
    running.wait_log("ready");
    let daemon = daemon_of(running.pid());
    assert!(
        Command::new("sh")
            .args(["-c", &format!("kill -KILL {daemon}")])
            .status()
            .unwrap()
            .success()
    );
    running.wait_log("the daemon has ended");
    end(&running);
}

/// The child of `parent` that is the daemon.
#[cfg(target_os = "linux")]
fn daemon_of(parent: u32) -> u32 {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let children = std::fs::read_to_string(children).unwrap();
    let is_daemon = |pid: &&str| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
        command.is_ok_and(|line| line.starts_with("xray\0exec-daemon\0"))
    };
    let pid = children.split_whitespace().find(is_daemon);
    pid.expect("the daemon runs").parse().unwrap()
}

#[test]
fn signals_are_passed_on() {
    let fake = FakeXray::start();
    for (signal, name, code) in [
        (Signal::TERM, "TERM", 4),
        (Signal::INT, "INT", 4),
        (Signal::HUP, "HUP", 4),
        (Signal::USR1, "USR1", 4),
    ] {
        let script = format!(
            "trap 'exit {code}' {name}; echo ready; while kill -0 $PPID; do sleep 0.02; done"
        );
        let running = shell(&fake, &script).spawn();
        running.wait_log("ready");
        running.signal(signal);
        assert_eq!(running.wait_exit(DEADLINE).code, Some(code), "{name}");
    }
}

/// They are about this process, or cannot be sent on.
#[cfg(target_os = "linux")]
#[test]
fn other_signals_neither_end_it_nor_reach_the_program() {
    let fake = FakeXray::start();
    let script = "trap 'echo passed on' 24 25 35 64; trap 'echo second' USR2; trap 'exit 5' USR1; \
                  echo ready; while kill -0 $PPID; do sleep 0.02; done";
    let running = shell(&fake, script).spawn();
    running.wait_log("ready");
    for number in [24, 25, 35, 64] {
        signal_by_number(running.pid(), number);
    }
    // What came before the second is looked at before what comes after it.
    running.signal(Signal::USR2);
    running.wait_log("second");
    running.signal(Signal::USR1);
    let ended = running.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(5));
    assert!(!ended.log.iter().any(|line| line == "passed on"));
}

/// Containers that ignore the signal are killed when the time for it is over: what they have sent
/// by then must be delivered.
#[test]
fn a_program_that_ignores_the_signal_loses_nothing() {
    let fake = FakeXray::start();
    let script = "trap '' TERM; echo ready; while kill -0 $PPID; do sleep 0.02; done";
    let launch = sender(&fake, script).env("XRAY_TEST_BATCH_WAIT_MS", "3600000");
    let running = launch.spawn();
    running.wait_log("ready");
    assert_eq!(fake.read(|state| state.accepted.len()), 0, "it lingers");
    running.signal(Signal::TERM);
    fake.wait_for("the segment", |state| state.accepted.len() == 1);
    assert!(!running.has_ended());
    // What comes later goes out, too.
    let address = listens(&running);
    UdpClient::new(address).document(segment(2));
    fake.wait_for("the next one", |state| state.accepted.len() == 2);
    running.signal(Signal::KILL);
    // The daemon sees the end of its parent, and ends as well.
    wait_until("the end of the daemon", || UdpSocket::bind(address).is_ok());
}

fn listens(running: &Daemon) -> SocketAddr {
    let line = running.wait_log("Listening on udp ");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The last call of a program that X-Ray does not answer in time ends with the time for it.
#[test]
fn the_end_has_its_time() {
    let mut fake = FakeXray::start();
    fake.inject(Fault::Hang);
    let me = std::env::current_exe().unwrap();
    let me = me.to_str().unwrap();
    let ended = exec(&fake)
        .args(["--shutdown-timeout", "100ms", "--", me])
        .args(["--exact", "exec::the_program_that_sends"])
        .env(SENDS, "1")
        .run();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    errors(&ended, "Totals: received 1 = sent 0 ");
}

/// A container that is stopped while the last segments are on their way: the signal was meant for
/// the program, and only another one is impatience. The hour proves that it is no deadline.
#[test]
fn the_first_signal_after_the_program_drops_nothing() {
    let mut fake = FakeXray::start();
    for (signal, is_repeated) in [
        (Signal::TERM, false),
        (Signal::INT, false),
        (Signal::TERM, true),
    ] {
        fake.inject(Fault::error(503, "ServiceUnavailable"));
        let before = fake.read(|state| state.accepted.len());
        let patient = exec(&fake).args(["--shutdown-timeout", "1h"]);
        let running = sends(patient, "exit 7").spawn();
        running.wait_log("delivering ");
        running.wait_log("cannot upload");
        running.signal(signal);
        running.wait_log("still delivering; signal again to end at once");
        if is_repeated {
            wait_until("the end", || {
                running.signal(signal);
                running.has_ended()
            });
            running.wait_log("a second signal");
        }
        fake.recover();
        assert_eq!(running.wait_exit(DEADLINE).code, Some(7), "{signal:?}");
        let delivered = fake.read(|state| state.accepted.len()) - before;
        assert_eq!(delivered, usize::from(!is_repeated), "{signal:?}");
    }
}

/// Runs the script as the first process's program in a process namespace of its own. `None` where
/// the system does not let this user have one.
fn as_first_process(fake: &FakeXray, script: &str) -> Option<Ended> {
    let unshare = [
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    let possible = Command::new("unshare").args(unshare).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no process namespace to be had here");
        return None;
    }
    let launch = shell(fake, script);
    Some(
        launch
            .by_shell(&format!("exec unshare {}", unshare.join(" ")))
            .run(),
    )
}

#[test]
fn as_the_first_process_it_collects_orphans() {
    let fake = FakeXray::start();
    // The orphan is collected when its entry in /proc is gone.
    let script = "(sh -c 'echo $$ > orphan; exit 0' &); \
                  until [ -s orphan ]; do sleep 0.02; done; read orphan < orphan; \
                  while [ -e /proc/$orphan ]; do sleep 0.02; done; \
                  echo first $PPID; exit 6";
    let Some(ended) = as_first_process(&fake, script) else {
        return;
    };
    assert_eq!(ended.code, Some(6), "{ended:#?}");
    assert!(ended.log.iter().any(|line| line == "first 1"), "{ended:#?}");
}

#[test]
fn as_the_first_process_it_passes_signals_on() {
    let fake = FakeXray::start();
    let script = "trap 'exit 9' TERM; kill -TERM 1; while kill -0 $PPID; do sleep 0.02; done";
    if let Some(ended) = as_first_process(&fake, script) {
        assert_eq!(ended.code, Some(9), "{ended:#?}");
        errors(&ended, "Got a signal to end: ");
    }
}

/// Programs that give credentials are children of the daemon: nobody collects them in its place.
#[test]
fn credential_programs_are_not_taken_away() {
    let fake = FakeXray::start();
    let launch = sender(&fake, UNTIL_ENDED)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONFIG_FILE", "config");
    let keys =
        format!("{{\"Version\":1,\"AccessKeyId\":\"{KEY_ID}\",\"SecretAccessKey\":\"{SECRET}\"}}");
    launch.write("keys", &keys);
    launch.write("config", "[default]\ncredential_process = /bin/cat keys\n");
    let running = launch.spawn();
    fake.wait_for("the segment", |state| state.accepted.len() == 1);
    end(&running);
}
