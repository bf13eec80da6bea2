//! The signals of a process that only passes them on.

use std::ffi::c_int;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::{Signal, getpgrp};
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
    SIGVTALRM, SIGWINCH,
};
use signal_hook::iterator::Signals;

use crate::app::signals::{SIGPWR, survive_others};

/// The events that `exec` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExecEvent {
    /// A child has ended, or several.
    ChildEnded,
    /// A signal for the program.
    Signal(Signal),
}

/// All signals that a process can catch, except those about the process itself, such as SIGSEGV and
/// SIGXFSZ, those that stop it, and real-time signals, which cannot be sent without unsafe code.
const PASSED_ON: [c_int; 13] = [
    SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR,
    SIGCONT, SIGWINCH,
];

/// A small stack is enough, because the thread only waits and sends.
const STACK: usize = 32 * 1024;

/// Installs the handlers, before any child is started.
///
/// # Errors
/// When the system refuses a handler, or the thread that receives the signals.
pub(super) fn listen() -> io::Result<Receiver<ExecEvent>> {
    let (sender, receiver) = channel();
    let mut signals = Signals::new(PASSED_ON.iter().chain([&SIGCHLD]))?;
    survive_others(&signals.handle());
    thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            for number in signals.forever() {
                let event = match number {
                    SIGCHLD => Some(ExecEvent::ChildEnded),
                    number if PASSED_ON.contains(&number) => {
                        Signal::from_named_raw(number).map(ExecEvent::Signal)
                    }
                    _ => None,
                };
                // If main has ended, there is no receiver any more.
                let _ = event.map(|event| sender.send(event));
            }
        })?;
    Ok(receiver)
}

/// Whether the terminal has sent this signal to the program as well: Ctrl-C goes to all processes
/// of the foreground, and a program that gets it twice takes it for an impatient user.
pub(super) fn came_from_terminal(signal: Signal) -> bool {
    let by_key = [Signal::INT, Signal::QUIT, Signal::WINCH].contains(&signal);
    let foreground = || {
        tcgetpgrp(io::stdin())
            .or_else(|_| tcgetpgrp(io::stdout()))
            .or_else(|_| tcgetpgrp(io::stderr()))
    };
    by_key && foreground().is_ok_and(|group| group == getpgrp())
}
