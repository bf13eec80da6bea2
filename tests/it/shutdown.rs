//! How it ends: what arrived is delivered, and nothing makes it miss its deadline.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use xray_test_support::DEADLINE;
use xray_test_support::daemon::Launch;
use xray_test_support::http::Response;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::process::Signal;
#[cfg(target_os = "linux")]
use xray_test_support::process::signal_by_number;
use xray_test_support::totals::Totals;
use xray_test_support::watch::SetAtEnd;
use xray_test_support::xray::FakeXray;
use xray_test_support::xray::Fault;

use crate::otlp::{PROTOBUF, TRACES, spans};

#[test]
fn each_of_these_signals_delivers_what_is_held() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP] {
        let fake = FakeXray::start();
        let daemon = Launch::against(&fake).start();
        UdpClient::new(daemon.udp).document(segment(1));
        daemon.signal(signal);
        let ended = daemon.wait_exit(DEADLINE);
        assert_eq!(ended.code, Some(0), "{signal:?}");
        assert!(ended.log.iter().any(|l| l.contains("Got shutdown signal")));
        fake.read(|state| assert_eq!(state.accepted, [segment(1)], "{signal:?}"));
        let totals = Totals::at_the_end_of(&ended.log);
        assert_eq!((totals.received, totals.sent), (1, 1));
    }
}

/// What the kernel had taken from the clients when the signal came is still read and delivered.
#[test]
fn what_the_kernel_holds_is_delivered() {
    // Few enough for the smallest receive buffer a kernel grants.
    const N: usize = 60;
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    daemon.signal(Signal::STOP);
    let client = UdpClient::new(daemon.udp);
    (0..N).for_each(|n| client.document(segment(n)));
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::CONT);
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(0));
    let totals = Totals::at_the_end_of(&ended.log);
    assert_eq!((totals.received, totals.sent), (N as u64, N as u64));
    fake.read(|state| assert_eq!(state.different(), N));
}

#[test]
fn during_load_everything_received_is_delivered() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake)
        .args(["--shutdown-timeout", "1m"])
        .start();
    let told = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            let client = UdpClient::new(daemon.udp);
            // It goes on for a second where the daemon does not end before.
            let mut left = 20;
            for n in 0.. {
                client.load(n * 50..(n + 1) * 50, 1_000);
                left -= usize::from(told.load(SeqCst));
                if left == 0 || daemon.has_ended() {
                    return;
                }
            }
        });
        let _told = SetAtEnd(&told);
        fake.wait_for("load", |state| state.accepted.len() > 300);
        daemon.signal(Signal::TERM);
        told.store(true, SeqCst);
        daemon.wait_exit(DEADLINE)
    });
    assert_eq!(ended.code, Some(0));
    let totals = Totals::at_the_end_of(&ended.log);
    let accepted = fake.read(|state| {
        assert_eq!(state.different(), state.accepted.len());
        state.accepted.len() as u64
    });
    let expected = Totals {
        received: accepted,
        sent: accepted,
        kernel_drops: totals.kernel_drops,
        ..Totals::default()
    };
    assert_eq!(totals, expected);
}

#[test]
fn a_dead_backend_does_not_hold_it_past_the_deadline() {
    for behaviour in [Fault::Hang, Fault::Gone, Fault::error(503, "")] {
        let mut fake = FakeXray::start();
        let name = format!("{behaviour:?}");
        let daemon = Launch::against(&fake)
            .args(["--shutdown-timeout", "500ms"])
            .start();
        // Otherwise a busy machine may say so behind the totals.
        daemon.wait_log("AWS credentials from environment do not expire");
        fake.inject(behaviour);
        let client = UdpClient::new(daemon.udp);
        (0..70).for_each(|n| client.document(segment(n)));
        let ended = daemon.stop();
        let totals = Totals::at_the_end_of(&ended.log);
        let expected = Totals {
            received: 70,
            spilled: 70,
            ..Totals::default()
        };
        assert_eq!(totals, expected, "{name}");
    }
}

/// `timeout` signals the process and then its group: the second one must not throw away what is
/// held. Both are there when the process goes on.
#[test]
fn a_signal_and_its_echo_are_one() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    daemon.signal(Signal::STOP);
    UdpClient::new(daemon.udp).document(segment(1));
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::INT);
    daemon.signal(Signal::CONT);
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(0));
    assert_eq!(Totals::at_the_end_of(&ended.log).sent, 1);
}

/// The hour proves that it was the second signal, and not the deadline, that ended it.
#[test]
fn the_second_signal_ends_it_at_once() {
    let mut fake = FakeXray::start();
    fake.inject(Fault::Hang);
    let daemon = Launch::against(&fake)
        .args(["--shutdown-timeout", "1h"])
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the request", |state| state.unanswered.len() == 1);
    daemon.terminate_twice();
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(1));
    let line = "Totals: received 1 = sent 0 + rejected 0 + spilled 0 + held 1;";
    assert!(
        ended.log.iter().any(|l| l.contains(line)),
        "{:#?}",
        ended.log
    );
}

/// A paused pager: the printer waits for it, and the readers for the printer, but not for ever.
#[test]
fn a_stdout_that_nobody_reads_does_not_hold_it() {
    let daemon = Launch::bare()
        .args("--exporter json -b 127.0.0.1:0 -t 127.0.0.1:0 --shutdown-timeout 0s".split(' '))
        .unread_stdout()
        .start();
    let client = UdpClient::new(daemon.udp);
    // More than a pipe holds.
    (0..200).for_each(|n| client.document(segment(n)));
    daemon.signal(Signal::TERM);
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(1));
    let complaint = "is stdout not read?";
    assert!(ended.stderr.iter().any(|line| line.contains(complaint)));
}

/// The hour proves that nothing is waited for: what was received is printed already.
#[test]
fn without_x_ray_it_ends_at_once() {
    for exporter in ["json", "console"] {
        let daemon = Launch::bare()
            .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0"])
            .args(["--exporter", exporter, "--shutdown-timeout", "1h"])
            .start();
        UdpClient::new(daemon.udp).document(segment(1));
        daemon.stop();
    }
}

#[test]
fn the_shutdown_delay_keeps_receiving() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake)
        .args(["--shutdown-delay", "3s"])
        .start();
    daemon.signal(Signal::TERM);
    daemon.wait_log("Got shutdown signal");
    UdpClient::new(daemon.udp).document(segment(1));
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(0));
    fake.read(|state| assert_eq!(state.accepted, [segment(1)]));
}

/// Telemetry is the last thing sent, so that its figures are the final ones.
#[test]
fn telemetry_at_the_end_counts_every_segment() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    (0..70).for_each(|n| client.document(segment(n)));
    client.raw(b"malformed");
    daemon.stop();
    let sum = |name: &str| {
        fake.read(|state| {
            let records = state.telemetry.iter();
            records
                .flat_map(|body| body["TelemetryRecords"].as_array().unwrap())
                .map(|record| record[name].as_u64().unwrap())
                .sum::<u64>()
        })
    };
    assert_eq!(sum("SegmentsReceivedCount"), 71);
    assert_eq!(sum("SegmentsSentCount"), 70);
    assert_eq!(sum("SegmentsRejectedCount"), 1);
    assert_eq!(sum("SegmentsSpilloverCount"), 0);
}

/// The official daemon, as every Go program, ignores them.
#[test]
fn other_signals_change_nothing() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    UdpClient::new(daemon.udp).document(segment(1));
    for signal in [
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::XCPU,
        Signal::XFSZ,
    ] {
        daemon.signal(signal);
    }
    #[cfg(target_os = "linux")]
    {
        daemon.signal(Signal::POWER);
        for number in [35, 50, 64] {
            signal_by_number(daemon.pid(), number);
        }
    }
    fake.wait_for("the segment", |state| state.accepted.len() == 1);
    daemon.stop();
}

/// The write fails as on a full disk, and the segments stay in memory.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_the_size_of_files_ends_nothing() {
    let mut fake = FakeXray::start();
    fake.inject(Fault::error(503, "ServiceUnavailable"));
    let daemon = Launch::against(&fake)
        .args(["--spool", "spool"])
        .by_shell("ulimit -f 1; exec")
        .start();
    let client = UdpClient::new(daemon.udp);
    (0..200).for_each(|n| client.document(segment(n)));
    daemon.wait_log("spool");
    fake.recover();
    fake.wait_for("all segments", |state| state.different() == 200);
    daemon.stop();
}

/// An application's last flush is just then, and so are its last segments.
#[test]
fn while_a_request_is_under_way_at_the_end_segments_and_its_spans_are_taken() {
    const N: usize = 20;
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake)
        .args(["--otlp", "127.0.0.1:0", "--shutdown-timeout", "1m"])
        .start();
    let text = "Listening for OTLP on ";
    let line = daemon.wait_log(text);
    let otlp = line.split_once(text).unwrap().1.trim();
    let mut client = TcpStream::connect(otlp).unwrap();
    let body = spans(3, "last");
    let head = format!(
        "POST {TRACES} HTTP/1.1\r\nHost: h\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (first, second) = body.split_at(5);
    client
        .write_all(&[head.as_bytes(), first].concat())
        .unwrap();
    daemon.wait_metric("xray_proxy_connections{state=\"receiving\"} 1");
    daemon.signal(Signal::TERM);
    daemon.wait_log("delivering 0 segments");
    let segments = UdpClient::new(daemon.udp);
    for n in 0..N {
        // A daemon that had read for the last time would take one more at most.
        segments.document(segment(n));
        fake.wait_for("the segment", |state| state.accepted.len() == n + 1);
    }
    client.write_all(second).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(0));
    let totals = Totals::at_the_end_of(&ended.log);
    assert_eq!((totals.received, totals.sent), (N as u64, N as u64));
    fake.read(|state| assert_eq!(state.exports.len(), 1));
}

/// Between the signal and the end, the kernel takes datagrams for the daemon all the same.
#[cfg(target_os = "linux")]
#[test]
fn what_comes_during_the_drain_is_delivered() {
    const DURING: usize = 500;
    let mut fake = FakeXray::start();
    fake.inject(Fault::Hang);
    let daemon = Launch::against(&fake)
        .args(["--shutdown-timeout", "1m"])
        .start();
    let client = UdpClient::new(daemon.udp);
    client.document(segment(0));
    fake.wait_for("the request", |state| state.unanswered.len() == 1);
    daemon.signal(Signal::TERM);
    daemon.wait_log("delivering 1 segments");
    client.load(1..1 + DURING, 1_000);
    daemon.wait_received();
    fake.recover();
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(0));
    let totals = Totals::at_the_end_of(&ended.log);
    let all = 1 + DURING as u64;
    assert_eq!((totals.received, totals.sent), (all, all));
    fake.read(|state| assert_eq!(state.different(), 1 + DURING));
}

/// At a random moment under load, with a service that fails now and then: every segment is in exactly
/// one counter, and what is counted as sent has arrived.
#[test]
fn at_any_moment_the_totals_add_up() {
    for round in 0..4 {
        let mut fake = FakeXray::start();
        let daemon = Launch::against(&fake)
            .args(["--shutdown-timeout", "5s", "-m", "3"])
            .start();
        let client = UdpClient::new(daemon.udp);
        let faults = [
            Fault::error(503, "ServiceUnavailable"),
            Fault::Answer(Response::new(400, "<html>")),
            Fault::error(403, "ExpiredTokenException"),
            Fault::CloseAfterReading,
        ];
        client.load(0..500, 2_000);
        fake.inject(faults[round].clone());
        client.load(500..1500, 5_000);
        if round % 2 == 0 {
            fake.recover();
        }
        daemon.signal(Signal::TERM);
        client.load(1500..2000, 5_000);
        let ended = daemon.wait_exit(DEADLINE);
        let totals = Totals::at_the_end_of(&ended.log);
        assert_eq!(totals.held, 0);
        let accepted = fake.read(|state| state.accepted.len() as u64);
        assert!(totals.sent <= accepted, "{round}: {totals:?} {accepted}");
        assert_eq!(totals.rejected, 0, "{round}: {totals:?}");
    }
}
