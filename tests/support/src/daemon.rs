//! The real binary as a process of its own, in a clean environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::http::Response;
use crate::http_client::exchange;
use crate::process::{Ended, Process, Signal, Stdout, limited_command};
use crate::procfs;
use crate::scratch::ScratchDir;
use crate::watch::{DEADLINE, wait_until};
use crate::xray::{FakeXray, KEY_ID, REGION, SECRET};

/// How to start a daemon.
#[derive(Clone)]
pub struct Launch {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    descriptors: Option<u32>,
    /// Commands of the shell that start it.
    wrapper: Option<String>,
    stdout: Stdout,
    /// Home and working directory, empty but for the authority to trust.
    directory: Arc<ScratchDir>,
}

impl Launch {
    /// No arguments, and of the environment only what keeps metadata endpoints out of it.
    pub fn bare() -> Self {
        let directory = Arc::new(ScratchDir::new());
        let home = directory.path().display().to_string();
        let launch = Self {
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            descriptors: None,
            wrapper: None,
            stdout: Stdout::Read,
            directory,
        };
        launch
            .env("HOME", &home)
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
                let bundle = launch.directory.file("authority.pem", &authority.pem);
                launch.env("AWS_CA_BUNDLE", &bundle.display().to_string())
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

    /// Lets a shell run these commands first. The last of them becomes the daemon: it is given the
    /// daemon's command line.
    pub fn by_shell(mut self, commands: &str) -> Self {
        self.wrapper = Some(commands.to_owned());
        self
    }

    /// Writes a file into its working directory.
    pub fn write(&self, name: &str, content: &str) {
        self.directory.file(name, content);
    }

    /// Leaves what it writes to standard output in the pipe, until that is full.
    pub fn unread_stdout(mut self) -> Self {
        self.stdout = Stdout::Unread;
        self
    }

    /// Makes its standard output a terminal.
    pub fn on_terminal(mut self) -> Self {
        self.stdout = Stdout::Terminal;
        self
    }

    /// Starts the process.
    pub fn spawn(&self) -> Daemon {
        let mut command = limited_command(&binary(), self.descriptors);
        if let Some(wrapper) = &self.wrapper {
            let mut outer = Command::new("sh");
            outer.args(["-c", &format!("{wrapper} \"$0\" \"$@\"")]);
            outer.arg(command.get_program()).args(command.get_args());
            command = outer;
        }
        // Whoever started the tests may ignore signals, as nohup does, and that is inherited.
        if cfg!(target_os = "linux") {
            let mut outer = Command::new("env");
            outer.arg("--default-signal").arg(command.get_program());
            outer.args(command.get_args());
            command = outer;
        }
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.directory.path());
        Daemon {
            process: Process::spawn(&mut command, self.stdout).expect("the daemon can be started"),
            directory: self.directory.clone(),
        }
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

/// The binary under test: the one that Cargo has built for the tests, or another build, such as the
/// static one that is shipped.
fn binary() -> PathBuf {
    let named = ["XRAY_UNDER_TEST", "CARGO_BIN_EXE_xray"];
    let named = named.iter().find_map(std::env::var_os);
    let binary = named.expect("run by `cargo test`, or with XRAY_UNDER_TEST=/path/to/xray");
    // It is started in another folder.
    std::path::absolute(binary).expect("the path of the binary is not empty")
}

/// A daemon that was started. Dropping it kills it, and fails the test if a secret is in the log.
pub struct Daemon {
    process: Process,
    directory: Arc<ScratchDir>,
}

/// A daemon whose ports are open.
pub struct Running {
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
    daemon: Daemon,
}

impl Deref for Running {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl Deref for Daemon {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Daemon {
    /// Its working directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// SIGTERM, then waits for the end; the code must be 0.
    #[track_caller]
    pub fn stop(&self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.wait_exit(DEADLINE);
        assert_eq!(ended.code, Some(0), "exit code after SIGTERM");
        ended
    }

    #[track_caller]
    fn usage(&self) -> procfs::Usage {
        procfs::usage(self.pid()).expect("the daemon still runs")
    }

    /// Resident memory now, in kilobytes.
    #[track_caller]
    pub fn resident_kb(&self) -> u64 {
        self.usage().resident
    }

    /// The most memory that was ever resident, in kilobytes.
    #[track_caller]
    pub fn peak_kb(&self) -> u64 {
        self.usage().peak
    }

    /// Open descriptors.
    #[track_caller]
    pub fn open_descriptors(&self) -> usize {
        procfs::open_descriptors(self.pid()).expect("the daemon still runs")
    }
}

impl Running {
    /// Datagrams that the kernel dropped because the socket's buffer was full.
    pub fn kernel_drops(&self) -> u64 {
        procfs::drops(self.udp)
    }

    /// What it answers to `GET` of one of the paths for operators. Asked again while the thread that
    /// delivers does not answer in time, because it may have to wait for the processor.
    #[track_caller]
    pub fn operator(&self, path: &str) -> Response {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.tcp);
        let request = format!("{head}Connection: close\r\n\r\n");
        let end = Instant::now() + DEADLINE;
        loop {
            let answer = exchange(self.tcp, request.as_bytes()).expect("an answer");
            let text = String::from_utf8_lossy(&answer.body);
            if !text.contains("does not answer") || Instant::now() > end {
                return answer;
            }
        }
    }

    /// The metrics of this moment.
    #[track_caller]
    pub fn metrics(&self) -> String {
        let answer = self.operator("/metrics");
        String::from_utf8(answer.body).expect("text")
    }

    /// The value of a metric without labels, as soon as there is one.
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(' ')?.parse());
        let end = Instant::now() + DEADLINE;
        loop {
            let text = self.metrics();
            if let Some(value) = text.lines().find_map(value) {
                return value.expect("a number");
            }
            assert!(Instant::now() < end, "no {name} in\n{text}");
        }
    }

    /// Waits for a line of the metrics.
    #[track_caller]
    pub fn wait_metric(&self, line: &str) {
        wait_until(line, || self.metrics().lines().any(|l| l == line));
    }

    /// Waits until the daemon has taken every datagram from the kernel.
    #[track_caller]
    pub fn wait_received(&self) {
        wait_until("all datagrams received", || procfs::queued(self.udp) == 0);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if thread::panicking() {
            return;
        }
        let secrets = [SECRET, "AWS4-HMAC", "Signature="];
        let lines = self.last_lines();
        let leak = lines
            .iter()
            .find(|line| secrets.iter().any(|secret| line.contains(secret)));
        assert_eq!(leak, None, "a secret in the log");
    }
}
