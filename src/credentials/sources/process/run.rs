//! Runs a program to its end, within limits of time and output, and leaves nothing behind.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpgid,
};

/// No answer is longer.
const LARGEST: usize = 64 * 1024;
/// A program may close its output before it ends, and its children may keep the output open after
/// it has ended. So output and process are checked in turn.
const TURN: Duration = Duration::from_millis(20);
/// How long a killed program may take to disappear. It takes longer only while it waits in the
/// kernel for a disk or a network file system.
const GONE: Duration = Duration::from_secs(2);

/// The program that runs now, for the code that ends this process: the program would go on without
/// it.
#[derive(Debug, Clone, Default)]
pub struct RunningProgram(Arc<Mutex<ProgramState>>);

#[derive(Debug, Default)]
struct ProgramState {
    group: Option<Pid>,
    /// A program that starts now would not be ended by anybody.
    is_over: bool,
}

impl RunningProgram {
    /// Kills the program that runs now, if any, with all that it has started, and every later one.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        if let Some(group) = state.group {
            kill(group);
        }
    }

    /// Remembers a program that was started, unless it came too late.
    fn set(&self, group: Pid) {
        let mut state = self.lock();
        match state.is_over {
            true => kill(group),
            false => state.group = Some(group),
        }
    }

    fn clear(&self) {
        self.lock().group = None;
    }

    fn lock(&self) -> MutexGuard<'_, ProgramState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs programs one after the other.
pub(super) struct ProcessRunner {
    running: RunningProgram,
    /// A program that was killed and has not ended yet.
    stuck: Option<Child>,
}

/// The result of a program.
#[derive(Debug)]
pub(super) struct ProcessOutput {
    pub stdout: Vec<u8>,
    /// The exit status. `None` if it is lost, as happens when SIGCHLD is ignored.
    pub status: Option<ExitStatus>,
}

impl ProcessRunner {
    /// Says in `running` what runs.
    pub(super) fn new(running: RunningProgram) -> Self {
        Self {
            running,
            stuck: None,
        }
    }

    /// Runs a program in a process group of its own, with nothing to read. At its end, or after
    /// `limit`, everything in its group is killed: a process that is to stay must start a session
    /// of its own, as daemons do.
    ///
    /// # Errors
    /// Why there is no output; without any of it.
    pub(super) fn run(
        &mut self,
        words: &[String],
        limit: Duration,
    ) -> Result<ProcessOutput, String> {
        self.collect_stuck()?;
        let (program, arguments) = words.split_first().ok_or("names no program")?;
        let end = Instant::now() + limit;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot be started: {error}"))?;
        let (Some(stdout), Some(group)) = (child.stdout.take(), group(&child)) else {
            return Err("has no output".to_owned());
        };
        self.running.set(group);
        let read = read(stdout, group, end).map_err(|problem| match problem {
            ProcessProblem::Time => format!("did not end within {} s", limit.as_secs()),
            ProcessProblem::TooMuch => "printed more than 64 KiB".to_owned(),
            ProcessProblem::System(error) => format!("cannot be read: {error}"),
        });
        // Before its number is free for others: it has not been waited for.
        kill(group);
        self.running.clear();
        let status = self.wait(child);
        collect_orphans(group);
        Ok(ProcessOutput {
            stdout: read?,
            status: status?,
        })
    }

    /// Collects a program that has ended or was killed.
    fn wait(&mut self, mut child: Child) -> Result<Option<ExitStatus>, String> {
        let end = Instant::now() + GONE;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(Some(status)),
                Ok(None) if Instant::now() < end => std::thread::sleep(TURN),
                Ok(None) => {
                    self.stuck = Some(child);
                    return Err("cannot be killed".to_owned());
                }
                // Something else has collected it, for example because SIGCHLD is ignored.
                Err(_) => return Ok(None),
            }
        }
    }

    fn collect_stuck(&mut self) -> Result<(), String> {
        if let Some(child) = &mut self.stuck
            && let Ok(None) = child.try_wait()
        {
            return Err("of the last attempt was killed, but is still there".to_owned());
        }
        self.stuck = None;
        Ok(())
    }
}

enum ProcessProblem {
    Time,
    TooMuch,
    System(io::Error),
}

impl From<io::Error> for ProcessProblem {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// All that the program prints until it has ended; what others do with its output then does not
/// matter.
fn read(mut stdout: ChildStdout, program: Pid, end: Instant) -> Result<Vec<u8>, ProcessProblem> {
    let mut printed = Vec::new();
    let mut is_open = true;
    loop {
        // Checked first, so that all output from before the end is read below.
        let has_ended = has_ended(program)?;
        while is_open && is_readable(&stdout, if has_ended { Duration::ZERO } else { TURN })? {
            let mut part = [0; 4096];
            match stdout.read(&mut part)? {
                0 => is_open = false,
                length => printed.extend_from_slice(&part[..length]),
            }
            if printed.len() > LARGEST {
                return Err(ProcessProblem::TooMuch);
            }
            if Instant::now() >= end {
                return Err(ProcessProblem::Time);
            }
        }
        if has_ended {
            return Ok(printed);
        }
        if Instant::now() >= end {
            return Err(ProcessProblem::Time);
        }
        if !is_open {
            std::thread::sleep(TURN);
        }
    }
}

/// Whether a read would not wait.
fn is_readable(stdout: &ChildStdout, patience: Duration) -> io::Result<bool> {
    let mut asked = [PollFd::new(stdout, PollFlags::IN)];
    let patience = Timespec {
        tv_sec: 0,
        tv_nsec: patience.subsec_nanos().into(),
    };
    match poll(&mut asked, Some(&patience)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether it has ended, without collecting it: its number stays taken, so that its group can be
/// killed without hitting another one.
fn has_ended(program: Pid) -> io::Result<bool> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(program), look) {
        Ok(status) => Ok(status.is_some()),
        // Something else has collected it, for example because SIGCHLD is ignored.
        Err(Errno::CHILD) => Ok(true),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Where this process is the first one of a container, what the program has left becomes its child.
fn collect_orphans(group: Pid) {
    let end = Instant::now() + GONE;
    while Instant::now() < end {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => std::thread::sleep(TURN),
            // Nobody is left.
            Err(_) => return,
        }
    }
}

fn group(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

fn kill(group: Pid) {
    // Fails only where nobody is left in it.
    let _ = kill_process_group(group, Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Long enough for any machine; reached only when the test has failed.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn run(script: &str, limit: Duration) -> Result<ProcessOutput, String> {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        ProcessRunner::new(RunningProgram::default()).run(&words, limit)
    }

    /// Whether a process with this text among its arguments lives. The dead have no arguments.
    fn lives(mark: &str) -> bool {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .any(|line| String::from_utf8_lossy(&line).contains(mark))
    }

    /// A signal takes a moment.
    fn dies(mark: &str) -> bool {
        let end = Instant::now() + PATIENCE;
        while lives(mark) && Instant::now() < end {
            std::thread::yield_now();
        }
        !lives(mark)
    }

    #[test]
    fn what_a_program_leaves_behind_neither_delays_nor_outlives_it() {
        let mark = format!("{}.5001", std::process::id());
        let script = format!("sleep {mark} & (yes {mark} >/dev/null) & echo hush");
        let output = run(&script, PATIENCE).unwrap();
        assert_eq!(output.stdout, b"hush\n");
        assert!(output.status.is_none_or(|status| status.success()));
        assert!(dies(&mark));
    }

    /// Others go on writing where the program has ended.
    #[test]
    fn a_flood_that_outlives_the_program_is_cut() {
        let mark = format!("{}.5002", std::process::id());
        let output = run(&format!("yes {mark} & exit 3"), PATIENCE);
        match output {
            Ok(output) => assert!(output.stdout.len() <= LARGEST),
            Err(why) => assert_eq!(why, "printed more than 64 KiB"),
        }
        assert!(dies(&mark));
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        for (number, script) in [
            "sleep MARK & wait",
            "exec >&-; sleep MARK",
            "trap '' TERM HUP INT; sleep MARK; sleep MARK",
        ]
        .iter()
        .enumerate()
        {
            let mark = format!("{}.600{number}", std::process::id());
            let script = script.replace("MARK", &mark);
            let error = run(&script, Duration::from_millis(50)).unwrap_err();
            assert_eq!(error, "did not end within 0 s", "{script}");
            assert!(dies(&mark), "{script}");
        }
    }

    #[test]
    fn whoever_ends_this_process_can_end_the_program() {
        let mark = format!("{}.7001", std::process::id());
        let running = RunningProgram::default();
        let mut runner = ProcessRunner::new(running.clone());
        let words = ["/bin/sleep".to_owned(), mark.clone()];
        let thread = std::thread::spawn(move || {
            // The second one is started when the first has ended, or later.
            [(); 2].map(|()| runner.run(&words, PATIENCE).unwrap())
        });
        while !lives(&mark) {
            std::thread::yield_now();
        }
        running.end();
        for output in thread.join().unwrap() {
            assert!(output.status.is_none_or(|status| !status.success()));
        }
        assert!(dies(&mark));
    }

    #[test]
    fn a_program_finds_nothing_to_read_and_a_group_of_its_own() {
        // There is a group of this number only if the program leads it.
        let output = run("cat; kill -0 -$$ && echo leads", PATIENCE).unwrap();
        assert_eq!(output.stdout, b"leads\n");
    }
}
