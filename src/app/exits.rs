//! The one channel on which main waits: signals, fatal errors, and the steps of the shutdown.

use std::ffi::c_int;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
};
use signal_hook::iterator::Signals;

use crate::credentials::target::TargetError;
use crate::upload::counters::SegmentCounts;

/// The events that main waits for.
pub(super) enum Exit {
    /// A signal has come.
    Signal(SignalAction),
    /// The program beside which this daemon runs has ended.
    ProgramEnded,
    /// The daemon cannot go on.
    Fatal(TargetError),
    /// The shutdown has begun and nothing is held any more.
    Drained,
    /// The readers have read everything and ended.
    ReadersEnded,
    /// The shutdown has begun and every request that was under way on TCP is over.
    RequestsEnded,
    /// The uploader has ended: how every segment ended.
    UploaderEnded(SegmentCounts),
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignalAction {
    /// Deliver the held segments and end. The name is the one in the official daemon's log.
    ShutDown(&'static str),
    /// A terminal was closed, or a log file was rotated.
    HangUp,
}

/// Signals that would end the process by default and that Go programs ignore. A handler is better
/// than ignoring them: programs that this one starts would inherit the latter.
const IGNORED: [c_int; 9] = [
    SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGXCPU, SIGXFSZ,
];

/// Go ignores real-time signals, too. Those below are the C library's own.
#[cfg(target_os = "linux")]
const REAL_TIME: std::ops::RangeInclusive<c_int> = 35..=64;
#[cfg(not(target_os = "linux"))]
const REAL_TIME: std::ops::Range<c_int> = 0..0;

/// Not in signal-hook: the same number everywhere, except on MIPS. It comes when a file outgrows the
/// limit for the process; the write then fails, as on a full disk.
const SIGXFSZ: c_int = 25;

/// Not in signal-hook: the number on Linux, except on MIPS and SPARC.
#[cfg(target_os = "linux")]
const SIGPWR: c_int = 30;
#[cfg(not(target_os = "linux"))]
const SIGPWR: c_int = SIGUSR1;

/// Installs the signal handlers. It comes first in main, so that no signal finds the defaults.
///
/// # Errors
/// When the system refuses a handler, or the thread that receives the signals.
pub(super) fn listen() -> io::Result<(Sender<Exit>, Receiver<Exit>)> {
    let (sender, receiver) = channel();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP])?;
    let handle = signals.handle();
    for signal in IGNORED.into_iter().chain(REAL_TIME) {
        // Where a handler is refused, somebody else needs the signal: valgrind does, for one.
        let _ = handle.add_signal(signal);
    }
    let exits = sender.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            for action in signals.forever().filter_map(action) {
                // If main has ended, there is no receiver any more.
                let _ = exits.send(Exit::Signal(action));
            }
        })?;
    Ok((sender, receiver))
}

/// A small stack is enough, because the thread only waits and sends.
const STACK: usize = 32 * 1024;

fn action(signal: c_int) -> Option<SignalAction> {
    match signal {
        SIGTERM => Some(SignalAction::ShutDown("terminated")),
        SIGINT => Some(SignalAction::ShutDown("interrupt")),
        SIGQUIT => Some(SignalAction::ShutDown("quit")),
        SIGHUP => Some(SignalAction::HangUp),
        _ => None,
    }
}
