//! `xray exec [options] -- PROGRAM`: runs a program with a daemon beside it, where nothing else can
//! start one, and delivers its last segments when it has ended.
//!
//! The daemon is a process of its own, so that nothing that happens to it touches the program. This
//! module only starts both, forwards signals and collects processes that have ended. As the first
//! process of a container it also collects orphans. No other code in this process waits for
//! children: credential programs are children of the daemon's process.
//!
//! Both are joined by a socket, which is the daemon's standard input: the daemon writes its address
//! to it, and reads the end of the program from it, also when this process is killed.

mod address;
mod children;
mod hosted;
mod signals;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::config::DEFAULT_SHUTDOWN_TIMEOUT;
use crate::config::cli::{Flags, HOSTED};
use crate::logging;
use children::{Ended, reap};
pub(super) use hosted::run as run_hosted;
use signals::ExecEvent;

/// Where SDKs look for the daemon.
const ADDRESS_VARIABLE: &str = "AWS_XRAY_DAEMON_ADDRESS";

/// Where exporters of OpenTelemetry look for a receiver, and how they speak to it.
const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL_VARIABLE: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const PROTOCOL: &str = "http/protobuf";

/// The daemon binds its ports within milliseconds, unless it has to look a name up.
const BIND: Duration = Duration::from_secs(5);

/// The longest addresses are three names with their ports.
const MAX_ADDRESSES: u64 = 1024;

/// How long the daemon may take to end beyond the times of its shutdown. It keeps to these itself,
/// and needs longer only where it cannot be scheduled.
const OVERDUE: Duration = Duration::from_secs(20);

/// The statuses of shells for a program that cannot be started, and that is not there.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// This process cannot do its work.
const FAILED: u8 = 1;

/// Runs the program and answers its exit status: 128 and the number of the signal that ended it,
/// 126 or 127 if it cannot be started. `options` are the arguments before the program.
pub(super) fn run(options: &[OsString], flags: &Flags, program: &[OsString]) -> ExitCode {
    let Some((name, arguments)) = program.split_first() else {
        return ExitCode::from(FAILED);
    };
    let events = match signals::listen() {
        Ok(events) => events,
        Err(error) => {
            logging::startup_error(&format!("cannot handle signals: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let mut daemon = match DaemonProcess::start(options) {
        Ok(daemon) => Some(daemon),
        Err(error) => {
            say(&format!("the daemon cannot be started: {error}; {LOST}"));
            None
        }
    };
    let mut command = Command::new(name);
    command.args(arguments);
    let addresses = daemon.as_mut().map(DaemonProcess::addresses);
    let is_lost = !matches!(addresses, Some(Some(_)));
    match addresses {
        Some(Some((address, otlp))) => {
            command.env(ADDRESS_VARIABLE, address);
            // If the user has set an endpoint, the protocol is the user's choice too.
            if !otlp.is_empty() && std::env::var_os(ENDPOINT_VARIABLE).is_none() {
                command.env(ENDPOINT_VARIABLE, otlp);
                if std::env::var_os(PROTOCOL_VARIABLE).is_none() {
                    command.env(PROTOCOL_VARIABLE, PROTOCOL);
                }
            }
        }
        Some(None) => say(LOST),
        None => {}
    }
    let mut running = RunningProcesses {
        program: None,
        daemon: daemon.as_ref().and_then(|daemon| daemon.id),
        is_lost,
    };
    let status = match command.spawn() {
        Ok(child) => {
            running.program = id(child.id());
            running.wait_for_program(&events)
        }
        Err(error) => {
            say(&format!("cannot start {name:?}: {error}"));
            match error.kind() {
                ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTABLE,
            }
        }
    };
    // Closes the link: this is how the daemon learns that the program has ended.
    drop(daemon);
    let times = [
        flags.shutdown_delay.unwrap_or_default(),
        flags.shutdown_timeout.unwrap_or(DEFAULT_SHUTDOWN_TIMEOUT),
        OVERDUE,
    ];
    running.wait_for_daemon(&events, Instant::now() + times.iter().sum::<Duration>());
    ExitCode::from(status)
}

/// The consequence when there is no daemon, for messages.
const LOST: &str = "the program runs without a daemon: what it traces is lost";

/// A line on stderr, in the words of the log.
fn say(text: &str) {
    logging::startup_error(&format!("exec: {text}"));
}

/// The number of a process, as the system calls take it.
fn id(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// The process in which the daemon runs.
struct DaemonProcess {
    id: Option<Pid>,
    link: UnixStream,
}

impl DaemonProcess {
    /// In a process group of its own, so that Ctrl-C in a terminal does not end it before the
    /// program's last segments are there.
    fn start(options: &[OsString]) -> io::Result<DaemonProcess> {
        let (link, theirs) = UnixStream::pair()?;
        let child = Command::new(own_path()?)
            .arg0("xray")
            .arg(HOSTED)
            .args(options)
            .stdin(OwnedFd::from(theirs))
            .process_group(0)
            .spawn()?;
        Ok(DaemonProcess {
            id: id(child.id()),
            link,
        })
    }

    /// Where it listens, for the variable of the SDKs, and for that of exporters of OpenTelemetry,
    /// empty if it has no port for them; `None` if it has ended, or is not ready in time.
    fn addresses(&mut self) -> Option<(String, String)> {
        self.link.set_read_timeout(Some(BIND)).ok()?;
        let mut lines = BufReader::new((&self.link).take(MAX_ADDRESSES)).lines();
        Some((lines.next()?.ok()?, lines.next()?.ok()?))
    }
}

/// The file that this process runs. By its name in `/proc` it is found even after an update has
/// replaced it.
fn own_path() -> io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    match own.exists() {
        true => Ok(own.to_owned()),
        false => std::env::current_exe(),
    }
}

/// The two processes; `None` for one that has ended, because the system may have given its number
/// to another process.
struct RunningProcesses {
    program: Option<Pid>,
    daemon: Option<Pid>,
    /// Whether the log already says that there is no daemon.
    is_lost: bool,
}

impl RunningProcesses {
    /// The exit status of the program.
    fn wait_for_program(&mut self, events: &Receiver<ExecEvent>) -> u8 {
        loop {
            match events.recv() {
                Ok(ExecEvent::ChildEnded) => {
                    let had_daemon = self.daemon.is_some();
                    if let Some(status) = self.collect() {
                        return status;
                    }
                    if had_daemon && self.daemon.is_none() && !self.is_lost {
                        say("the daemon has ended: what the program traces from here on is lost");
                    }
                }
                Ok(ExecEvent::Signal(signal)) => {
                    if ends(signal) {
                        // Segments that the program has sent so far are delivered at once, because
                        // the program may soon be killed.
                        send(self.daemon, Signal::TERM);
                    }
                    if !signals::came_from_terminal(signal) {
                        send(self.program, signal);
                    }
                }
                Err(_) => return FAILED,
            }
        }
    }

    /// The daemon delivers what it holds. A second signal ends that at once.
    fn wait_for_daemon(&mut self, events: &Receiver<ExecEvent>, until: Instant) {
        while self.daemon.is_some() {
            let left = until.saturating_duration_since(Instant::now());
            match events.recv_timeout(left) {
                Ok(ExecEvent::ChildEnded) => {
                    self.collect();
                }
                Ok(ExecEvent::Signal(signal)) if ends(signal) => send(self.daemon, Signal::TERM),
                Ok(ExecEvent::Signal(_)) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    say("the daemon does not end, and is killed");
                    send(self.daemon, Signal::KILL);
                    return;
                }
            }
        }
    }

    /// Collects every child that has ended. The status of the program, if it is among them.
    fn collect(&mut self) -> Option<u8> {
        let mut status = None;
        for Ended { id, code } in reap() {
            if self.program == Some(id) {
                self.program = None;
                status = Some(code);
            } else if self.daemon == Some(id) {
                self.daemon = None;
            }
        }
        status
    }
}

/// Whether a signal asks a program to end.
fn ends(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP].contains(&signal)
}

fn send(to: Option<Pid>, signal: Signal) {
    if let Some(id) = to {
        // The signal may fail: the program may run as another user by now, or may have ended.
        let _ = kill_process(id, signal);
    }
}
