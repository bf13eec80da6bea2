//! Clients of the TCP port under the limits of a small container: the real binary in a control
//! group, with few tasks, with little memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use xray_test_support::http::Response;
use xray_test_support::http_client::exchange;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::watch::Watch;
use xray_test_support::xray::Fault;
use xray_test_support::xray::{FakeXray, KEY_ID, REGION, SECRET};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: xray\r\nConnection: close\r\n\r\n";
const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: xray\r\nConnection: close\r\n\r\n";
const RULES: &[u8] = b"POST /GetSamplingRules HTTP/1.1\r\nHost: xray\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
const TARGETS: &[u8] = b"POST /SamplingTargets HTTP/1.1\r\nHost: xray\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

/// How long SDKs wait for an answer.
const SDK_PATIENCE: Duration = Duration::from_secs(2);

/// A daemon that was started by a shell, which set its limits first.
struct Limited {
    child: Child,
    udp: SocketAddr,
    tcp: SocketAddr,
}

impl Limited {
    /// `limits` are commands of the shell; the last one may be what starts the daemon.
    fn start(fake: &FakeXray, limits: &str, arguments: &[&str]) -> Limited {
        let other = std::env::var("XRAY_UNDER_TEST");
        let binary = other.as_deref().unwrap_or(env!("CARGO_BIN_EXE_xray"));
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limits} \"$0\" \"$@\""), binary])
            .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0", "-o", "-n", REGION])
            .args(arguments)
            .env_clear()
            .envs([
                ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("AWS_ACCESS_KEY_ID", KEY_ID),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
                ("AWS_ENDPOINT_URL_XRAY", &fake.url()),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(authority) = &fake.authority {
            let port = fake.url().rsplit(':').next().unwrap().to_owned();
            let bundle = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("starved-{port}.pem"));
            std::fs::write(&bundle, &authority.pem).unwrap();
            command.env("AWS_CA_BUNDLE", bundle);
        }
        let mut child = command.spawn().unwrap();
        let log = Watch::new(Vec::<String>::new());
        let log = std::sync::Arc::new(log);
        let out = child.stdout.take().unwrap();
        let lines = std::sync::Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                lines.update(|log| log.push(line));
            }
        });
        let address = |text: &str| {
            let find = |log: &Vec<String>| {
                let line = log.iter().find_map(|line| line.split_once(text))?;
                line.1.trim().parse().ok()
            };
            let found = log.wait(xray_test_support::watch::DEADLINE, find);
            found.unwrap_or_else(|| panic!("no {text:?} in {:?}", log.read(Clone::clone)))
        };
        Limited {
            udp: address("Listening on udp "),
            tcp: address("Starting proxy http server on "),
            child,
        }
    }

    /// The most memory that was ever resident, in kilobytes.
    fn peak_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[track_caller]
    fn is_healthy(&self) {
        let health = exchange(self.tcp, HEALTH).expect("health");
        assert_eq!(health.status, 200);
    }

    fn metrics(&self) -> String {
        String::from_utf8(exchange(self.tcp, METRICS).unwrap().body).unwrap()
    }

    /// Connections that say `start` and then nothing.
    fn silent_clients(&self, number: usize, start: &[u8]) -> Vec<TcpStream> {
        (0..number)
            .filter_map(|_| {
                let mut client = TcpStream::connect(self.tcp).ok()?;
                client.set_write_timeout(Some(SDK_PATIENCE)).unwrap();
                // It may have been told to go already.
                let _ = client.write_all(start);
                Some(client)
            })
            .collect()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends segments until all of them have arrived.
#[track_caller]
fn delivers(fake: &FakeXray, daemon: &Limited, first: usize) {
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
fn asked(daemon: &Limited, request: &[u8]) -> u16 {
    exchange(daemon.tcp, request).expect("an answer").status
}

/// The status that an SDK gets; an error where it has given up.
fn asked_in_time(daemon: &Limited, request: &[u8]) -> std::io::Result<u16> {
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
            if std::fs::write(group.0.join("pids.max"), tasks.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
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
fn clients_leave_threads(fake: &mut FakeXray, daemon: &Limited, tasks: usize) {
    answers_rules(fake);
    let mut first = 0;
    for start in [&b""[..], b"POST /Get", &RULES[..RULES.len() - 1]] {
        let clients = daemon.silent_clients(tasks, start);
        delivers(fake, daemon, first);
        first += 10_000;
        daemon.is_healthy();
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
        delivers(fake, daemon, first);
        daemon.is_healthy();
        over.store(true, SeqCst);
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
        let daemon = Limited::start(&fake, &group.enter(), &[]);
        clients_leave_threads(&mut fake, &daemon, tasks as usize);
        drop(daemon);
    }
}

/// The same by the limit of a user, which does not hold for root.
#[test]
fn few_tasks_of_the_user() {
    const USER: &str = "61234";
    let able = Command::new("setpriv")
        .args(["--reuid", USER, "true"])
        .status();
    if !able.is_ok_and(|status| status.success()) {
        eprintln!("not run: this user may not become another");
        return;
    }
    let mut fake = FakeXray::start();
    let limits = format!("exec prlimit --nproc=24 setpriv --reuid {USER} --clear-groups");
    let daemon = Limited::start(&fake, &limits, &[]);
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
fn took_little(daemon: &Limited) {
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
    let daemon = Limited::start(&fake, "exec", &["-m", "3"]);
    let mut start =
        b"POST /v1/traces HTTP/1.1\r\nHost: xray\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    start.resize(600_000, b'x');
    let clients = daemon.silent_clients(120, &start);
    delivers(&fake, &daemon, 0);
    daemon.is_healthy();
    assert_eq!(asked(&daemon, RULES), 200);
    took_little(&daemon);
    drop(clients);
    // What clients that have gone took is there for others at once.
    let memory = |daemon: &Limited| -> u64 {
        let metrics = daemon.metrics();
        let line = metrics
            .lines()
            .find(|l| l.starts_with("xray_proxy_memory_bytes "));
        line.unwrap().split(' ').nth(1).unwrap().parse().unwrap()
    };
    while memory(&daemon) > 0 {
        thread::yield_now();
    }
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
    let daemon = Limited::start(&fake, "exec", &["-m", "3"]);
    fake.inject(Fault::Hang);
    // Clients that ask, wait for two seconds, and ask again.
    thread::scope(|scope| {
        for n in 0..130 {
            let daemon = &daemon;
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
    daemon.is_healthy();
    took_little(&daemon);
    fake.recover();
    answers_rules(&fake);
    delivers(&fake, &daemon, 10_000);
}

/// Health has places of its own, and an honest call does not wait for those that are slow.
#[test]
fn slow_clients_hold_up_nobody() {
    let fake = FakeXray::start();
    answers_rules(&fake);
    let daemon = Limited::start(&fake, "exec", &["-m", "3"]);
    let mut stalled = daemon.silent_clients(300, &RULES[..RULES.len() - 1]);
    for round in 0..10 {
        // A byte of a header now and then.
        for client in daemon.silent_clients(200, b"POST / HTTP/1.1\r\nA: ") {
            let _ = (&client).write_all(b"x");
            stalled.push(client);
        }
        daemon.is_healthy();
        for request in [RULES, TARGETS] {
            assert_eq!(asked(&daemon, request), 200, "{round}");
        }
    }
    delivers(&fake, &daemon, 0);
    took_little(&daemon);
}
