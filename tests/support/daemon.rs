//! The real binary as a process of its own, in a clean environment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::fake_xray::{FakeXray, KEY_ID, REGION, SECRET};
use super::watch::{DEADLINE, Watch};

/// How to start a daemon.
pub struct Launch {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    descriptors: Option<u32>,
    directory: PathBuf,
}

impl Launch {
    /// No arguments, and of the environment only what keeps metadata endpoints out of it.
    pub fn bare() -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("empty");
        std::fs::create_dir_all(&directory).unwrap();
        let launch = Self {
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            descriptors: None,
            directory: directory.clone(),
        };
        launch
            .env("HOME", directory.to_str().unwrap())
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// On free ports, in local mode, with keys and a region, its X-Ray being `fake`.
    pub fn against(fake: &FakeXray) -> Self {
        let launch = Self::bare()
            .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0", "-o", "-n", REGION])
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_ENDPOINT_URL_XRAY", &fake.url());
        match &fake.authority {
            None => launch,
            Some(authority) => {
                let port = fake.url().rsplit(':').next().unwrap().to_owned();
                let name = format!("{port}-{}.pem", std::process::id());
                let bundle = launch.directory.with_file_name(name);
                std::fs::write(&bundle, &authority.pem).unwrap();
                launch.env("AWS_CA_BUNDLE", bundle.to_str().unwrap())
            }
        }
    }

    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(str::to_owned));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Lets the daemon open this many descriptors at most.
    pub fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Starts the process.
    pub fn spawn(&self) -> Daemon {
        // Another build, such as the static one that is shipped.
        let other = std::env::var("XRAY_UNDER_TEST");
        let binary = other.as_deref().unwrap_or(env!("CARGO_BIN_EXE_xray"));
        let limit = self.descriptors.map(|most| format!("ulimit -n {most}; "));
        let script = format!("{}exec \"$0\" \"$@\"", limit.unwrap_or_default());
        // Whoever started the tests may ignore signals, as nohup does, and that is inherited.
        let mut command = Command::new("env");
        command.args(["--default-signal", "sh", "-c", &script, binary]);
        let mut child = command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let process = Arc::new(Watch::new(Process::default()));
        let out = follow(&process, child.stdout.take().unwrap(), |p| &mut p.log);
        let err = follow(&process, child.stderr.take().unwrap(), |p| &mut p.errors);
        let pid = child.id();
        let watch = process.clone();
        thread::spawn(move || {
            let status = child.wait().unwrap();
            // The status comes last, so that whoever sees it sees the whole log.
            out.join().unwrap();
            err.join().unwrap();
            watch.update(|process| process.status = Some(status));
        });
        Daemon { pid, process }
    }

    /// Starts the process and waits until both its ports are open.
    #[track_caller]
    pub fn start(&self) -> Running {
        let daemon = self.spawn();
        let port = |text| -> SocketAddr {
            let line = daemon.wait_log(text);
            let (_, address) = line.split_once(text).unwrap();
            address.trim().parse().unwrap()
        };
        Running {
            udp: port("Listening on udp "),
            tcp: port("Starting proxy http server on "),
            daemon,
        }
    }

    /// Runs the process to its end.
    #[track_caller]
    pub fn run(&self) -> Ended {
        self.spawn().wait_exit(DEADLINE)
    }
}

fn follow(
    process: &Arc<Watch<Process>>,
    stream: impl Read + Send + 'static,
    lines: fn(&mut Process) -> &mut Vec<String>,
) -> thread::JoinHandle<()> {
    let process = process.clone();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches('\n').to_owned();
            process.update(|process| lines(process).push(text));
            line.clear();
        }
    })
}

#[derive(Default)]
struct Process {
    log: Vec<String>,
    errors: Vec<String>,
    status: Option<ExitStatus>,
}

/// A process that was started; killed when dropped.
pub struct Daemon {
    pid: u32,
    process: Arc<Watch<Process>>,
}

/// A daemon whose ports are open.
pub struct Running {
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
    daemon: Daemon,
}

impl std::ops::Deref for Running {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

/// What a process that has ended leaves behind.
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub log: Vec<String>,
    pub errors: Vec<String>,
}

impl Daemon {
    /// Waits for a log line that contains `text`.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        self.wait_log_count(text, 1)
    }

    /// Waits for the `nth` log line (from 1) that contains `text`.
    #[track_caller]
    pub fn wait_log_count(&self, text: &str, nth: usize) -> String {
        let find = |process: &Process| {
            let mut lines = process.log.iter().filter(|line| line.contains(text));
            match lines.nth(nth - 1) {
                Some(line) => Some(Some(line.clone())),
                None if process.status.is_some() => Some(None),
                None => None,
            }
        };
        match self.process.wait(DEADLINE, find) {
            Some(Some(line)) => line,
            Some(None) => panic!("the daemon ended without a line with {text:?}"),
            None => panic!("no line with {text:?} after {DEADLINE:?}"),
        }
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.process.read(|process| process.log.clone())
    }

    /// Sends a signal by name: `TERM`, `INT`, `HUP`, `STOP`.
    pub fn signal(&self, name: &str) {
        if self.process.read(|process| process.status.is_some()) {
            return;
        }
        let script = format!("kill -{name} {}", self.pid);
        // Fails only where the process has just ended by itself.
        let _ = Command::new("sh").args(["-c", &script]).status().unwrap();
    }

    /// Waits for the process to end.
    #[track_caller]
    pub fn wait_exit(&self, deadline: Duration) -> Ended {
        let ended = self.process.wait(deadline, |process| {
            let status = process.status?;
            Some(Ended {
                code: status.code(),
                log: process.log.clone(),
                errors: process.errors.clone(),
            })
        });
        ended.unwrap_or_else(|| panic!("the daemon still runs after {deadline:?}"))
    }

    /// SIGTERM, then waits for the end; the code must be 0.
    #[track_caller]
    pub fn stop(&self) -> Ended {
        self.signal("TERM");
        let ended = self.wait_exit(DEADLINE);
        assert_eq!(ended.code, Some(0), "exit code after SIGTERM");
        ended
    }

    /// Resident memory now, in kilobytes.
    pub fn resident_kb(&self) -> u64 {
        self.status_field("VmRSS:")
    }

    /// The most memory that was ever resident, in kilobytes.
    pub fn peak_kb(&self) -> u64 {
        self.status_field("VmHWM:")
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Open descriptors.
    pub fn open_descriptors(&self) -> usize {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        entries.count()
    }
}

impl Running {
    /// Datagrams that the kernel dropped because the socket's buffer was full.
    pub fn kernel_drops(&self) -> u64 {
        let table = if self.udp.is_ipv4() { "udp" } else { "udp6" };
        let port = format!(":{:04X}", self.udp.port());
        let table = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap();
        let line = table.lines().find(|line| {
            let local = line.split_whitespace().nth(1);
            local.is_some_and(|local| local.ends_with(&port))
        });
        let drops = line.and_then(|line| line.split_whitespace().last());
        drops.unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal("KILL");
        let log = self.log();
        let secret = log.iter().find(|line| {
            let secrets = [SECRET, "AWS4-HMAC", "Signature="];
            secrets.iter().any(|secret| line.contains(secret))
        });
        if !thread::panicking() {
            assert_eq!(secret, None, "a secret in the log");
        } else {
            self.process.read(|process| {
                eprintln!(
                    "---- daemon {} ({:?}) ----\n{}\n---- its stderr ----\n{}",
                    self.pid,
                    process.status,
                    process.log.join("\n"),
                    process.errors.join("\n")
                );
            });
        }
    }
}
