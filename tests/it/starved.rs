//! Clients of the TCP port under the limits of a small container: the real binary in a control
//! group, with few tasks, with little memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use xray_test_support::DEADLINE;
use xray_test_support::daemon::{Launch, Running};
use xray_test_support::http::Response;
use xray_test_support::http_client::exchange;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::process::Signal;
use xray_test_support::totals::Totals;
use xray_test_support::watch::SetAtEnd;
use xray_test_support::xray::{FakeXray, Fault};

const RULES: &[u8] = b"POST /GetSamplingRules HTTP/1.1\r\nHost: xray\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
const TARGETS: &[u8] = b"POST /SamplingTargets HTTP/1.1\r\nHost: xray\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

/// How long SDKs wait for an answer.
const SDK_PATIENCE: Duration = Duration::from_secs(2);

/// Connections that say `start` and then nothing.
fn silent_clients(daemon: &Running, number: usize, start: &[u8]) -> Vec<TcpStream> {
    (0..number)
        .filter_map(|_| {
            let mut client = TcpStream::connect(daemon.tcp).ok()?;
            client.set_write_timeout(Some(SDK_PATIENCE)).unwrap();
            // It may have been told to go already.
            let _ = client.write_all(start);
            Some(client)
        })
        .collect()
}

#[track_caller]
fn is_healthy(daemon: &Running) {
    let health = daemon.operator("/healthz");
    assert_eq!(health.status, 200, "{health:?}");
}

/// Sends segments until all of them have arrived.
#[track_caller]
fn delivers(fake: &FakeXray, daemon: &Running, first: usize) {
    let segments = first..first + 2_000;
    UdpClient::new(daemon.udp).load(segments.clone(), 2_000);
    let expected: Vec<String> = segments.map(segment).collect();
    fake.wait_for("every segment has arrived", |state| {
        expected
            .iter()
            .all(|segment| state.accepted.contains(segment))
    });
}

fn answers_rules(fake: &FakeXray) {
    fake.update(|state| {
        let rules = Response::new(200, r#"{"SamplingRuleRecords":[]}"#);
        state
            .answers
            .insert("/GetSamplingRules".to_owned(), rules.clone());
        state.answers.insert("/SamplingTargets".to_owned(), rules);
    });
}

/// The status of the answer.
#[track_caller]
fn asked(daemon: &Running, request: &[u8]) -> u16 {
    exchange(daemon.tcp, request).expect("an answer").status
}

/// The status that an SDK gets; an error where it has given up.
fn asked_in_time(daemon: &Running, request: &[u8]) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(daemon.tcp)?;
    stream.set_read_timeout(Some(SDK_PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = String::from_utf8_lossy(&answer);
    let status = status
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other(format!("{answer:?}")))
}

/// A control group with at most `tasks`, below the one of this process; removed at the end.
struct Tasks(PathBuf);

impl Tasks {
    /// `None` where this user may not make one.
    fn at_most(tasks: u32) -> Option<Tasks> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = own.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, group) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            let mount = match controllers {
                "" => "/sys/fs/cgroup".to_owned(),
                "pids" => "/sys/fs/cgroup/pids".to_owned(),
                _ => return None,
            };
            Some(Path::new(&mount).join(group))
        });
        for mount in mounts {
            let group = mount.join(format!("xray-test-{}-{tasks}", std::process::id()));
            if std::fs::create_dir(&group).is_err() {
                continue;
            }
            let group = Tasks(group);
            // The kernel puts this file there, unless the folder is no control group.
            let most = group.0.join("pids.max");
            if most.exists() && std::fs::write(most, tasks.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }

    /// From now on no further task is to be had.
    fn close(&self) {
        std::fs::write(self.0.join("pids.max"), "1").unwrap();
    }

    /// How often a task was refused.
    fn refused(&self) -> u64 {
        let events = std::fs::read_to_string(self.0.join("pids.events")).unwrap_or_default();
        let number = events.lines().find_map(|line| line.strip_prefix("max "));
        number.map_or(0, |number| number.trim().parse().unwrap())
    }

    /// The command of the shell that enters it.
    fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && exec", self.0.display())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // The last task may still be on its way out.
        while self.0.exists() && std::fs::remove_dir(&self.0).is_err() {
            thread::yield_now();
        }
    }
}

/// As many clients as there are tasks, of each kind, take no thread that uploading needs.
fn clients_leave_threads(fake: &mut FakeXray, daemon: &Running, tasks: usize) {
    answers_rules(fake);
    let mut first = 0;
    for start in [&b""[..], b"POST /Get", &RULES[..RULES.len() - 1]] {
        let clients = silent_clients(daemon, tasks, start);
        delivers(fake, daemon, first);
        first += 10_000;
        is_healthy(daemon);
        assert_eq!(asked(daemon, RULES), 200);
        drop(clients);
    }
    // And as many that always have a request under way.
    fake.inject(Fault::Delay(Duration::from_millis(200)));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..tasks {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    // On a busy machine some give up.
                    let _ = asked_in_time(daemon, TARGETS);
                }
            });
        }
        let _end = SetAtEnd(&over);
        delivers(fake, daemon, first);
        is_healthy(daemon);
    });
}

#[test]
fn few_tasks_in_the_control_group() {
    for tasks in [24, 128] {
        let Some(group) = Tasks::at_most(tasks) else {
            eprintln!("not run: this user may not make control groups");
            return;
        };
        let mut fake = FakeXray::start();
        let daemon = Launch::against(&fake).by_shell(&group.enter()).start();
        clients_leave_threads(&mut fake, &daemon, tasks as usize);
        // Nobody ever asked for a task that was not to be had.
        assert_eq!(group.refused(), 0);
        drop(daemon);
    }
}

/// The shutdown needs no thread that is not there already.
#[test]
fn without_a_thread_to_be_had_the_shutdown_delivers() {
    let Some(group) = Tasks::at_most(64) else {
        eprintln!("not run: this user may not make control groups");
        return;
    };
    let mut fake = FakeXray::start();
    fake.inject(Fault::Delay(Duration::from_millis(200)));
    let daemon = Launch::against(&fake)
        .by_shell(&group.enter())
        .args(["--shutdown-timeout", "60s"])
        .start();
    let client = UdpClient::new(daemon.udp);
    client.document(segment(0));
    fake.wait_for("the first segment", |state| !state.accepted.is_empty());
    is_healthy(&daemon);
    group.close();
    // So many that a further sender is wanted.
    client.load(1..1_000, 5_000);
    daemon.signal(Signal::TERM);
    let ended = daemon.wait_exit(DEADLINE);
    assert_ne!(group.refused(), 0, "the limit was not reached");
    assert_eq!(ended.code, Some(0), "{:?}", ended.log);
    let totals = Totals::at_the_end_of(&ended.log);
    assert_eq!((totals.received, totals.sent), (1_000, 1_000));
    fake.read(|state| assert_eq!(state.different(), 1_000));
}

/// The same by the limit of a user, which does not hold for root.
#[test]
fn few_tasks_of_the_user() {
    // Another run of these tests at the same time must not share the limit.
    let user = (50_000 + std::process::id() % 15_000).to_string();
    let able = Command::new("setpriv")
        .args(["--reuid", &user, "true"])
        .status();
    if !able.is_ok_and(|status| status.success()) {
        eprintln!("not run: this user may not become another");
        return;
    }
    let mut fake = FakeXray::start();
    let limits = format!("exec prlimit --nproc=24 setpriv --reuid {user} --clear-groups");
    let daemon = Launch::against(&fake).by_shell(&limits).start();
    clients_leave_threads(&mut fake, &daemon, 24);
}

/// The most that a daemon with `-m 3` may take, whatever clients do. A build for debugging has
/// code of that size; the figure that counts is the one of the static binary (XRAY_UNDER_TEST).
const MOST_KB: u64 = if cfg!(debug_assertions) {
    32 * 1024
} else {
    12 * 1024
};

#[track_caller]
fn took_little(daemon: &Running) {
    let peak = daemon.peak_kb();
    eprintln!("peak {peak} KB");
    let most = match std::env::var_os("XRAY_UNDER_TEST") {
        Some(_) => 12 * 1024,
        None => MOST_KB,
    };
    assert!(peak <= most, "{peak} KB");
}

#[test]
fn half_sent_bodies_take_little_memory() {
    let fake = FakeXray::start();
    answers_rules(&fake);
    let daemon = &Launch::against(&fake).args(["-m", "3"]).start();
    let mut start =
        b"POST /v1/traces HTTP/1.1\r\nHost: xray\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    start.resize(600_000, b'x');
    let clients = silent_clients(daemon, 120, &start);
    delivers(&fake, daemon, 0);
    is_healthy(daemon);
    assert_eq!(asked(daemon, RULES), 200);
    took_little(daemon);
    drop(clients);
    // What clients that have gone took is there for others at once.
    daemon.wait_metric("xray_proxy_memory_bytes 0");
    let mut body = start;
    body.resize(600_000 + 400_000 + 80, b'x');
    let head = body.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    body.truncate(head + 1_000_000);
    let status = exchange(daemon.tcp, &body).unwrap().status;
    assert_ne!(status, 503);
}

#[test]
fn pollers_while_x_ray_hangs_take_little_memory() {
    let mut fake = FakeXray::start_tls();
    let daemon = &Launch::against(&fake).args(["-m", "3"]).start();
    fake.inject(Fault::Hang);
    // Clients that ask, wait for two seconds, and ask again.
    thread::scope(|scope| {
        for n in 0..130 {
            scope.spawn(move || {
                for round in 0..4 {
                    let request = if (n + round) % 5 == 0 { RULES } else { TARGETS };
                    if let Ok(status) = asked_in_time(daemon, request) {
                        assert!(matches!(status, 502 | 503), "{status}");
                    }
                }
            });
        }
        let client = UdpClient::new(daemon.udp);
        client.load(0..2_000, 500);
    });
    is_healthy(daemon);
    took_little(daemon);
    fake.recover();
    answers_rules(&fake);
    delivers(&fake, daemon, 10_000);
}

/// Health has places of its own, and an honest call does not wait for those that are slow.
#[test]
fn slow_clients_hold_up_nobody() {
    let fake = FakeXray::start();
    answers_rules(&fake);
    let daemon = &Launch::against(&fake).args(["-m", "3"]).start();
    let mut stalled = silent_clients(daemon, 300, &RULES[..RULES.len() - 1]);
    for round in 0..10 {
        // A byte of a header now and then.
        for client in silent_clients(daemon, 200, b"POST / HTTP/1.1\r\nA: ") {
            let _ = (&client).write_all(b"x");
            stalled.push(client);
        }
        is_healthy(daemon);
        for request in [RULES, TARGETS] {
            assert_eq!(asked(daemon, request), 200, "{round}");
        }
    }
    delivers(&fake, daemon, 0);
    took_little(daemon);
}
