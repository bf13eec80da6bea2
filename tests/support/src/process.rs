//! A process under test: its output line by line, signals, and its end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

pub use rustix::process::Signal;

use crate::watch::{DEADLINE, Watch};

/// A process that was started; killed when dropped, also by a test that fails.
pub struct Process {
    pid: Pid,
    state: Arc<Watch<State>>,
    /// Standard output, where nobody is to read it.
    _unread: Option<ChildStdout>,
}

#[derive(Default)]
struct State {
    log: Vec<String>,
    stderr: Vec<String>,
    /// Set in one step with the end of the process, so that no signal goes to another one that has
    /// got its number.
    has_ended: bool,
    /// Set when its output was read to the end, too.
    status: Option<ExitStatus>,
}

/// What a process that has ended leaves behind.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The lines of standard output, where the daemon logs.
    pub log: Vec<String>,
    /// The lines of standard error.
    pub stderr: Vec<String>,
}

/// Whether a process's standard output is read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Stdout {
    #[default]
    Read,
    /// It is a pipe that fills up.
    Unread,
    /// It is read, and a terminal.
    Terminal,
}

/// A command that may open so many descriptors at most.
pub fn limited_command(program: &Path, descriptors: Option<u32>) -> Command {
    let Some(most) = descriptors else {
        return Command::new(program);
    };
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(program);
    command
}

impl Process {
    /// Starts a program without an input.
    pub fn spawn(command: &mut Command, stdout: Stdout) -> io::Result<Self> {
        let (terminal, output) = match stdout {
            Stdout::Terminal => {
                let (ours, theirs) = terminal()?;
                (Some(ours), theirs.into())
            }
            Stdout::Read | Stdout::Unread => (None, Stdio::piped()),
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()?;
        // It holds the program's end of the terminal, which must close with the program.
        command.stdout(Stdio::null());
        let state = Arc::new(Watch::new(State::default()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let mut readers = vec![follow(&state, err, |state| &mut state.stderr)];
        let mut unread = None;
        match stdout {
            Stdout::Read => readers.push(follow(&state, out, |state| &mut state.log)),
            Stdout::Unread => unread = out,
            Stdout::Terminal => {
                readers.push(follow(&state, terminal, |state| &mut state.log));
            }
        }
        let pid = Pid::from_child(&child);
        let watched = state.clone();
        thread::spawn(move || wait(child, pid, readers, &watched));
        Ok(Self {
            pid,
            state,
            _unread: unread,
        })
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    pub fn has_ended(&self) -> bool {
        self.state.read(|state| state.has_ended)
    }

    /// Waits for a line of its output that contains `text`.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        self.wait_log_count(text, 1)
    }

    /// Waits for the `nth` line (from 1) that contains `text`.
    #[track_caller]
    pub fn wait_log_count(&self, text: &str, nth: usize) -> String {
        let find = |state: &State| {
            let lines = state.log.iter().chain(&state.stderr);
            let mut lines = lines.filter(|line| line.contains(text));
            match lines.nth(nth - 1) {
                Some(line) => Some(Some(line.clone())),
                None => state.status.is_some().then_some(None),
            }
        };
        match self.state.wait(DEADLINE, find) {
            Some(Some(line)) => line,
            Some(None) => panic!("the process ended without a line with {text:?}"),
            None => panic!("no line with {text:?} after {DEADLINE:?}"),
        }
    }

    /// The lines of standard output so far.
    pub fn log(&self) -> Vec<String> {
        self.state.read(|state| state.log.clone())
    }

    /// The lines of both outputs of a process that ends now. What it has started may keep the outputs open,
    /// so this does not wait for long.
    pub fn last_lines(&self) -> Vec<String> {
        let _ = self
            .state
            .wait(Duration::from_secs(5), |state| state.status);
        let lines = |state: &State| state.log.iter().chain(&state.stderr).cloned().collect();
        self.state.read(lines)
    }

    /// Sends a signal; does nothing where the process has ended.
    pub fn signal(&self, signal: Signal) {
        self.state.read(|state| {
            if !state.has_ended {
                kill_process(self.pid, signal).expect("a process of ours takes our signals");
            }
        });
    }

    /// Asks the daemon twice to end, as somebody does who does not want to wait.
    pub fn terminate_twice(&self) {
        self.signal(Signal::TERM);
        self.wait_log("signal again to end at once");
        // One that comes close behind the first is its echo, and a third one would end even the spool.
        thread::sleep(Duration::from_secs(1));
        self.signal(Signal::TERM);
        self.wait_log("a second signal");
    }

    /// Waits for the process to end.
    #[track_caller]
    pub fn wait_exit(&self, deadline: Duration) -> Ended {
        let ended = self.state.wait(deadline, |state| {
            let status = state.status?;
            Some(Ended {
                code: status.code(),
                log: state.log.clone(),
                stderr: state.stderr.clone(),
            })
        });
        ended.unwrap_or_else(|| panic!("the process still runs after {deadline:?}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if thread::panicking() {
            self.state.read(|state| {
                eprintln!(
                    "---- process {} ({:?}) ----\n{}\n---- its stderr ----\n{}",
                    self.pid(),
                    state.status,
                    state.log.join("\n"),
                    state.stderr.join("\n")
                );
            });
        }
    }
}

/// Both ends of a new terminal: the one to read from, and the program's.
fn terminal() -> io::Result<(File, File)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let name = name.to_str().expect("the system names it in ASCII");
    let theirs = File::options().read(true).write(true).open(name)?;
    Ok((File::from(ours), theirs))
}

fn follow(
    state: &Arc<Watch<State>>,
    stream: Option<impl Read + Send + 'static>,
    lines: fn(&mut State) -> &mut Vec<String>,
) -> thread::JoinHandle<()> {
    let state = state.clone();
    let stream = stream.expect("both outputs are pipes");
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']).to_owned();
            state.update(|state| lines(state).push(text));
            line.clear();
        }
    })
}

/// Waits for the end of a process, and tells of it once all of its output is there.
fn wait(mut child: Child, pid: Pid, readers: Vec<thread::JoinHandle<()>>, state: &Watch<State>) {
    // Leaves the number of the process taken until nobody can send a signal to it any more.
    let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    retry_on_intr(|| waitid(WaitId::Pid(pid), exited)).expect("a child can be waited for");
    let status = state.update(|state| {
        state.has_ended = true;
        child.wait().expect("a child can be waited for")
    });
    for reader in readers {
        reader.join().expect("a reader ends with its pipe");
    }
    state.update(|state| state.status = Some(status));
}

/// Sends a signal that has no name.
///
/// # Panics
/// When there is no such process.
#[track_caller]
pub fn signal_by_number(pid: u32, number: u32) {
    let command = format!("kill -{number} {pid}");
    let status = Command::new("sh").args(["-c", &command]).status();
    assert!(status.expect("there is a shell").success());
}
