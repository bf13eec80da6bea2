//! `--spool`: outages that are longer than memory, and restarts in the middle of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use xray_test_support::DEADLINE;
use xray_test_support::daemon::{Launch, Running};
use xray_test_support::load::{UdpClient, noisy_segment, segment};
use xray_test_support::process::Signal;
use xray_test_support::scratch::ScratchDir;
use xray_test_support::totals::Totals;
use xray_test_support::xray::{FakeXray, Fault};

use crate::faults::RECOVERY;
use crate::otlp;

/// A directory that the daemon is to create.
struct Spool {
    scratch: ScratchDir,
}

impl Spool {
    fn new() -> Self {
        Spool {
            scratch: ScratchDir::in_memory(),
        }
    }

    /// For more than memory may hold.
    fn on_disk() -> Self {
        Spool {
            scratch: ScratchDir::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("spool")
    }

    fn launch(&self, fake: &FakeXray) -> Launch {
        let path = self.path().display().to_string();
        Launch::against(fake).args(["--spool", path.as_str()])
    }

    /// What it holds in its files.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|ext| ext == "spool"));
        files.sort();
        files
    }
}

#[track_caller]
fn wait_metric(daemon: &Running, name: &str, done: impl Fn(u64) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done(daemon.metric(name)) {
        assert!(Instant::now() < end, "{name} is {}", daemon.metric(name));
        thread::sleep(Duration::from_millis(20));
    }
}

/// A daemon with this spool, which has been sent segments while X-Ray is not there.
fn in_an_outage(spool: &Spool, segments: usize) -> (FakeXray, Running) {
    let mut fake = FakeXray::start();
    fake.inject(Fault::Gone);
    let daemon = spool.launch(&fake).start();
    let client = UdpClient::new(daemon.udp);
    (0..segments).for_each(|n| client.document(segment(n)));
    (fake, daemon)
}

/// Documents that were accepted, each once.
#[track_caller]
fn accepted_once(fake: &FakeXray) -> usize {
    fake.read(|state| {
        assert_eq!(state.different(), state.accepted.len(), "one came twice");
        state.different()
    })
}

#[test]
fn killed_in_an_outage_it_loses_the_last_seconds_and_nothing_else() {
    killed_while(Fault::Gone);
}

/// No request fails, and none is answered.
#[test]
fn killed_while_x_ray_hangs_it_loses_the_last_seconds_and_nothing_else() {
    killed_while(Fault::Hang);
}

/// What it refuses stays in memory until it is clear whether the documents are at fault.
#[test]
fn killed_while_x_ray_refuses_everything_it_loses_the_last_seconds_and_nothing_else() {
    killed_while(Fault::error(400, ""));
}

fn killed_while(fault: Fault) {
    let hangs = matches!(fault, Fault::Hang);
    const RATE: usize = 500;
    const ALL: usize = 6 * RATE;
    // Two seconds by the daemon's own rules; the rest is for a busy machine.
    const OLD: usize = ALL - 4 * RATE;
    let spool = Spool::new();
    let mut fake = FakeXray::start();
    fake.inject(fault);
    let daemon = spool.launch(&fake).start();
    UdpClient::new(daemon.udp).load(0..ALL, RATE as u32);
    daemon.signal(Signal::KILL);
    daemon.wait_exit(DEADLINE);

    fake.recover();
    let daemon = spool.launch(&fake).start();
    let found = daemon.wait_log("segments of an earlier run in the spool");
    fake.wait_at_most(RECOVERY, "what was kept", |state| state.different() >= OLD);
    wait_metric(&daemon, "xray_segments_spooled", |spooled| spooled == 0);
    wait_metric(&daemon, "xray_segments_held", |held| held == 0);
    if !hangs {
        accepted_once(&fake);
    }
    fake.read(|state| {
        let times = state.times_accepted();
        let missing = (0..OLD).find(|n| !times.contains_key(segment(*n).as_str()));
        assert_eq!(missing, None, "{found}");
    });
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.received, totals.spilled), (0, 0));
    assert_eq!(totals.restored, totals.sent);
    assert_eq!(spool.files(), Vec::<PathBuf>::new());
}

/// An outage with more segments than memory can hold: `-m` megabytes, `all` segments.
fn an_outage_that_outlasts_memory(spool: &Spool, buffer: &str, all: usize, rate: u32) {
    let mut fake = FakeXray::start();
    fake.inject(Fault::error(503, ""));
    let launch = spool.launch(&fake).args(["-m", buffer]);
    let daemon = launch.args(["--spool-limit", "2000"]).start();
    UdpClient::new(daemon.udp).load_of(noisy_segment, 0..all, rate);
    daemon.wait_received();
    fake.recover();
    let arrived = all - daemon.kernel_drops() as usize;
    fake.wait_at_most(3 * RECOVERY, "every segment", |state| {
        state.different() >= arrived
    });
    accepted_once(&fake);
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.spilled, totals.rejected), (0, 0), "{totals:?}");
    assert_eq!(totals.received, totals.sent);
    assert_eq!(spool.files(), Vec::<PathBuf>::new());
}

#[test]
fn an_outage_that_outlasts_memory_loses_nothing() {
    an_outage_that_outlasts_memory(&Spool::new(), "3", 12_000, 3_000);
}

/// `make spool`.
#[test]
#[ignore = "ten minutes"]
fn ten_minutes_of_outage_at_a_thousand_a_second_lose_nothing() {
    an_outage_that_outlasts_memory(&Spool::on_disk(), "16", 600_000, 1_000);
}

#[test]
fn stopped_in_an_outage_it_keeps_everything_for_the_next_start() {
    const ALL: usize = 70;
    let spool = Spool::new();
    for fault in [Fault::Gone, Fault::Hang] {
        let mut fake = FakeXray::start();
        let hangs = matches!(fault, Fault::Hang);
        fake.inject(fault);
        let launch = spool.launch(&fake).args(["--shutdown-timeout", "2s"]);
        let daemon = launch.start();
        let client = UdpClient::new(daemon.udp);
        (0..ALL).for_each(|n| client.document(segment(n)));
        let ended = daemon.stop();
        let totals = Totals::at_the_end_of(&ended.log);
        assert_eq!((totals.spooled, totals.spilled), (ALL as u64, 0));
        let last = ended.log.last().unwrap();
        assert!(last.ends_with("70 kept for the next start"), "{last}");

        fake.recover();
        let daemon = launch.start();
        fake.wait_for("all", |state| state.different() == ALL);
        let totals = Totals::at_the_end_of(&daemon.stop().log);
        assert_eq!((totals.restored, totals.sent), (ALL as u64, ALL as u64));
        if !hangs {
            accepted_once(&fake);
        }
        assert_eq!(spool.files(), Vec::<PathBuf>::new());
    }
}

/// A request with spans as it is sent: content type, content coding, body.
type Export = (&'static str, Option<&'static str>, Vec<u8>);

fn exports() -> Vec<Export> {
    let mut all = Vec::new();
    for n in 1..6 {
        let plain = otlp::spans(n, &format!("span {n}").repeat(1000));
        all.push((otlp::PROTOBUF, Some("gzip"), otlp::gzip(&plain)));
        all.push((otlp::PROTOBUF, None, plain));
        all.push((otlp::JSON, None, otlp::json_spans(n)));
    }
    all.sort();
    all
}

fn exported(fake: &FakeXray) -> Vec<Export> {
    let known = |value: Option<&str>| {
        let known = [otlp::PROTOBUF, otlp::JSON, "gzip"];
        known.into_iter().find(|known| Some(*known) == value)
    };
    fake.read(|state| {
        let exports = state.exports.iter().map(|one| {
            let content_type = known(one.header("content-type")).unwrap();
            let coding = known(one.header("content-encoding"));
            (content_type, coding, one.body.clone())
        });
        let mut exports: Vec<Export> = exports.collect();
        exports.sort();
        exports
    })
}

#[test]
fn spans_of_an_outage_are_delivered_after_a_restart() {
    let all = exports();
    for (fault, signal) in [
        (Fault::Gone, Signal::TERM),
        (Fault::Hang, Signal::TERM),
        (Fault::Gone, Signal::KILL),
    ] {
        let spool = Spool::new();
        let mut fake = FakeXray::start();
        let hangs = matches!(fault, Fault::Hang);
        fake.inject(fault);
        let launch = spool.launch(&fake).args(["--shutdown-timeout", "2s"]);
        let daemon = launch.start();
        for (content_type, coding, body) in &all {
            let mut headers = vec![("Content-Type", *content_type)];
            headers.extend(coding.map(|coding| ("Content-Encoding", coding)));
            let answer = otlp::post_until_taken(daemon.tcp, &headers, body);
            assert_eq!(answer.status, 200);
        }
        if signal == Signal::KILL {
            wait_metric(&daemon, "xray_spans_spooled", |spooled| spooled == 45);
        }
        daemon.signal(signal);
        let ended = daemon.wait_exit(DEADLINE);
        if signal == Signal::TERM {
            let line = "held 0 + spooled 45, in 15 requests; 45 kept for the next start";
            assert!(
                ended.log.iter().any(|l| l.ends_with(line)),
                "{:?}",
                ended.log
            );
        }

        fake.recover();
        let daemon = launch.start();
        daemon.wait_log("Found 45 spans of an earlier run in the spool");
        wait_metric(&daemon, "xray_spans_delivered_total", |spans| spans == 45);
        let log = daemon.stop().log;
        let line = "Spans: accepted 0 + restored 45 = delivered 45 + refused 0 + dropped 0 + held 0 + \
                    spooled 0, in 15 requests";
        assert!(log.iter().any(|l| l.ends_with(line)), "{log:?}");
        let mut delivered = exported(&fake);
        if hangs {
            // What X-Ray had read before it was stopped came twice.
            delivered.dedup();
        }
        assert_eq!(delivered, all);
        assert_eq!(spool.files(), Vec::<PathBuf>::new());
    }
}

/// The hour proves that it was the second signal, and not the deadline, that ended it.
#[test]
fn a_second_signal_ends_it_at_once_and_keeps_everything() {
    let spool = Spool::new();
    let mut fake = FakeXray::start();
    fake.inject(Fault::Hang);
    let launch = spool.launch(&fake).args(["--shutdown-timeout", "1h"]);
    let daemon = launch.start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the request", |state| state.unanswered.len() == 1);
    daemon.terminate_twice();
    let ended = daemon.wait_exit(DEADLINE);
    assert_eq!(ended.code, Some(1));
    let kept = |line: &String| {
        line.contains("spilled 0 + held 0 + spooled 1;")
            && line.ends_with("1 kept for the next start")
    };
    assert!(ended.log.iter().any(kept), "{:?}", ended.log);
    fake.recover();
    let daemon = launch.start();
    fake.wait_for("it", |state| state.different() == 1);
    daemon.stop();
}

#[test]
fn what_it_says_to_be_kept_is_there_although_the_directory_was_removed() {
    let spool = Spool::new();
    let (mut fake, daemon) = in_an_outage(&spool, 30);
    wait_metric(&daemon, "xray_segments_spooled", |spooled| spooled == 30);
    fs::remove_dir_all(spool.path()).unwrap();
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.received, totals.spilled), (30, 0), "{totals:?}");
    fake.recover();
    let daemon = spool.launch(&fake).start();
    fake.wait_for("all", |state| state.different() == 30);
    let restored = Totals::at_the_end_of(&daemon.stop().log).restored;
    assert_eq!(restored, totals.spooled);
}

#[test]
fn the_metrics_tell_of_it() {
    let spool = Spool::new();
    let (mut fake, daemon) = in_an_outage(&spool, 20);
    // Now and then they are read for a probe, and are held again for a moment.
    wait_metric(&daemon, "xray_segments_spooled", |spooled| spooled == 20);
    assert_eq!(daemon.metric("xray_spool_up"), 1);
    wait_metric(&daemon, "xray_spool_bytes", |bytes| {
        let lengths = spool.files().into_iter().map(|file| file.metadata());
        bytes == lengths.map(|file| file.unwrap().len()).sum::<u64>()
    });
    fake.recover();
    fake.wait_for("all", |state| state.different() == 20);
    wait_metric(&daemon, "xray_spool_bytes", |bytes| bytes == 0);
    assert_eq!(daemon.metric("xray_segments_sent_total"), 20);
}

#[test]
fn of_two_daemons_with_one_directory_the_second_says_who_holds_it() {
    let spool = Spool::new();
    let mut fake = FakeXray::start();
    let first = spool.launch(&fake).start();
    first.wait_log("Using region");
    wait_metric(&first, "xray_spool_up", |up| up == 1);
    let second = spool.launch(&fake).start();
    let line = second.wait_log("in use by process");
    assert!(line.contains(&first.pid().to_string()), "{line}");
    // It works without.
    UdpClient::new(second.udp).document(segment(1));
    fake.wait_for("one", |state| state.different() == 1);
    assert_eq!(second.metric("xray_spool_up"), 0);
    // And takes over when the first one ends.
    fake.inject(Fault::Gone);
    first.stop();
    UdpClient::new(second.udp).document(segment(2));
    wait_metric(&second, "xray_segments_spooled", |spooled| spooled == 1);
    let lines = second.log();
    let said = lines.iter().filter(|line| line.contains("in use by"));
    assert_eq!(said.count(), 1);
}

#[test]
fn nothing_is_sent_that_the_daemon_has_not_written() {
    let spool = Spool::new();
    let (mut fake, daemon) = in_an_outage(&spool, 60);
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!(totals.spooled, 60);
    // One file of noise, one of noise behind a good header, one that is empty, and something else.
    let good = fs::read(&spool.files()[0]).unwrap();
    let noise: Vec<u8> = (0..40_000u32)
        .map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8)
        .collect();
    let path = |number: u64| spool.path().join(format!("{number:016x}.spool"));
    fs::write(path(100), &noise).unwrap();
    fs::write(path(101), [&good[..200], &noise[..]].concat()).unwrap();
    fs::write(path(102), b"").unwrap();
    fs::write(spool.path().join("notes.txt"), b"nothing of ours").unwrap();
    for file in [100, 101, 102] {
        own(&path(file));
    }

    fake.recover();
    let daemon = spool.launch(&fake).start();
    daemon.wait_log("left alone");
    fake.wait_for("what was stored", |state| state.different() == 60);
    UdpClient::new(daemon.udp).document(segment(1000));
    fake.wait_for("what is new", |state| state.different() == 61);
    daemon.stop();
    accepted_once(&fake);
    assert!(path(100).exists(), "it is nobody's");
}

/// Lets only its owner write, whatever the file mode creation mask is.
fn own(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn what_was_kept_for_another_endpoint_is_left_alone() {
    let spool = Spool::new();
    let (mut fake, daemon) = in_an_outage(&spool, 1);
    assert_eq!(Totals::at_the_end_of(&daemon.stop().log).spooled, 1);

    let other = FakeXray::start();
    let daemon = spool.launch(&other).start();
    let line = daemon.wait_log("left alone");
    assert!(line.contains("it was written for region"), "{line}");
    UdpClient::new(daemon.udp).document(segment(2));
    other.wait_for("its own", |state| state.different() == 1);
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.restored, totals.sent), (0, 1));

    fake.recover();
    let daemon = spool.launch(&fake).start();
    fake.wait_for("what was kept", |state| state.accepted == [segment(0)]);
    daemon.stop();
}

/// Needs the right to mount; without it there is no test.
#[test]
fn on_a_full_disk_it_goes_on_in_memory_and_says_it_once() {
    let may_mount = Command::new("unshare").args(["-m", "true"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        eprintln!("not run: nothing can be mounted here");
        return;
    }
    const ALL: usize = 3_000;
    let spool = Spool::new();
    let mut fake = FakeXray::start();
    fake.inject(Fault::error(503, ""));
    let mount = spool.scratch.path().display().to_string();
    let commands = format!(
        "exec unshare -m sh -c 'mount -t tmpfs -o size=512k none {mount} && exec \"$0\" \"$@\"'"
    );
    let daemon = spool.launch(&fake).by_shell(&commands).start();
    UdpClient::new(daemon.udp).load_of(noisy_segment, 0..ALL, 1_000);
    daemon.wait_log("make room on the disk");
    fake.recover();
    let arrived = ALL - daemon.kernel_drops() as usize;
    fake.wait_at_most(RECOVERY, "every segment", |state| {
        state.different() >= arrived
    });
    accepted_once(&fake);
    let ended = daemon.stop();
    let totals = Totals::at_the_end_of(&ended.log);
    assert_eq!((totals.spilled, totals.sent), (0, arrived as u64));
    let said = ended.log.iter().filter(|line| line.contains("make room"));
    assert!(said.count() <= 3, "at most so often a minute");
}

#[test]
fn where_traces_are_shown_there_is_no_spool() {
    let spool = Spool::new();
    let fake = FakeXray::start();
    let daemon = spool.launch(&fake).args(["--exporter", "json"]).start();
    daemon.wait_log("the spool (--spool) is not used");
    daemon.stop();
    assert!(!spool.path().exists());
}

/// 200 MB in files, and a thousand new segments a second beside them. `make spool`.
#[test]
#[ignore = "minutes"]
fn a_big_spool_is_sent_within_a_minute_beside_new_load() {
    const KEPT_BYTES: u64 = 200 * 1024 * 1024;
    let spool = Spool::on_disk();
    let mut fake = FakeXray::start();
    fake.inject(Fault::Gone);
    let launch = spool.launch(&fake).args(["--spool-limit", "2000"]);
    let daemon = launch.start();
    let client = UdpClient::new(daemon.udp);
    let mut sent = 0;
    while daemon.metric("xray_spool_bytes") < KEPT_BYTES {
        client.load_of(noisy_segment, sent..sent + 5_000, 10_000);
        sent += 5_000;
    }
    let kept = Totals::at_the_end_of(&daemon.stop().log).spooled as usize;

    fake.recover();
    let daemon = launch.start();
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| UdpClient::new(daemon.udp).load(0..60_000, 1_000));
        fake.wait_at_most(Duration::from_secs(60), "all of the spool", |state| {
            state.different() >= kept
        });
        println!("{kept} segments in {:?}", start.elapsed());
    });
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.spilled, totals.spooled), (0, 0), "{totals:?}");
}
