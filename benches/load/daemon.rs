//! One daemon under test, or the floor: starts it, waits for it, ends it.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use xray_test_support::process::{Process, Stdout};

use crate::backend::Backend;
use crate::sender;

/// What can be run.
#[derive(Clone, PartialEq)]
pub enum Program {
    /// This very executable, as the floor.
    Floor,
    /// A daemon with the flags of the official one.
    Daemon(PathBuf),
}

/// A running process that listens for segments. Ended when dropped.
pub struct Daemon {
    process: Process,
    pub address: SocketAddr,
    /// From before the fork to the first datagram that the kernel could queue for it.
    pub started: Duration,
}

/// Longer than this is no start.
const START_LIMIT: Duration = Duration::from_secs(20);

impl Daemon {
    /// Starts `program` against `backend`; returns when one segment has come through.
    /// A daemon is given these flags too.
    pub fn start(program: &Program, backend: &Backend, flags: &[&str]) -> io::Result<Self> {
        let address = free_address()?;
        let mut command = match program {
            Program::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args([
                    "floor",
                    &address.to_string(),
                    &backend.server.address().to_string(),
                ]);
                command.args(&backend.authority);
                command
            }
            Program::Daemon(path) => {
                let mut command = daemon(path, address, &backend.server.url())?;
                command.args(["-o", "-n", "us-east-1"]).args(flags);
                command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
                command.env(
                    "AWS_SECRET_ACCESS_KEY",
                    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                );
                command
            }
        };
        let daemon = Self::spawn(&mut command, address)?;
        daemon.deliver_one(backend)?;
        Ok(daemon)
    }

    /// Starts a daemon that has to ask metadata endpoints for everything, and none answers.
    pub fn start_without_metadata(path: &Path) -> io::Result<Self> {
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let nobody = format!("http://{}/", silent.local_addr()?);
        let address = free_address()?;
        let mut command = daemon(path, address, &nobody)?;
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &nobody);
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &nobody);
        command.env("ECS_CONTAINER_METADATA_URI_V4", &nobody);
        Self::spawn(&mut command, address)
    }

    fn spawn(command: &mut Command, address: SocketAddr) -> io::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let start = Instant::now();
        let process = Process::spawn(command, Stdout::Read)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot start {program}: {e}")))?;
        let mut daemon = Self {
            process,
            address,
            started: Duration::ZERO,
        };
        let probe = UdpSocket::bind("127.0.0.1:0")?;
        probe.connect(address)?;
        probe.set_nonblocking(true)?;
        // On loopback the refusal of a datagram is there as soon as send returns.
        while probe.send(&sender::datagram(0)).is_err() || refused(&probe) {
            if daemon.process.has_ended() {
                let ended = daemon.process.wait_exit(START_LIMIT);
                return Err(io::Error::other(format!(
                    "{program} ended before it listened: {ended:?}"
                )));
            }
            if start.elapsed() > START_LIMIT {
                return Err(io::Error::other(format!(
                    "{program} did not listen within {START_LIMIT:?}"
                )));
            }
            thread::sleep(Duration::from_micros(100));
        }
        daemon.started = start.elapsed();
        Ok(daemon)
    }

    /// Waits until segment 0 has reached the backend: connections and keys are warm then.
    fn deliver_one(&self, backend: &Backend) -> io::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while backend.counts.documents.load(Relaxed) == 0 {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "no segment came through within {START_LIMIT:?}: {}",
                    self.process.log().join("\n")
                )));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The flags and the cfg.yaml that the official daemon and ours share.
fn daemon(path: &Path, address: SocketAddr, endpoint: &str) -> io::Result<Command> {
    let config = std::env::temp_dir().join(format!("xray-bench-{}.yaml", std::process::id()));
    fs::write(
        &config,
        format!("Version: 2\nEndpoint: \"{endpoint}\"\nNoVerifySSL: true\n"),
    )?;
    let mut command = Command::new(path);
    command.arg("-c").arg(config);
    command.args(["-b", &address.to_string(), "-t", &address.to_string()]);
    command.env_clear().env("HOME", "/nonexistent");
    Ok(command)
}

/// A port that is free for UDP and for TCP: the daemons are given one number for both.
fn free_address() -> io::Result<SocketAddr> {
    loop {
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}

fn refused(probe: &UdpSocket) -> bool {
    let answer = probe.recv(&mut [0]);
    answer.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}
