//! The one channel on which main waits: signals, fatal errors, and the steps of the shutdown.

use std::ffi::c_int;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::credentials::target::TargetError;
use crate::upload::counters::SegmentCounts;

use super::signals::survive_others;

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

/// Installs the signal handlers. It comes first in main, so that no signal finds the defaults.
///
/// # Errors
/// When the system refuses a handler, or the thread that receives the signals.
pub(super) fn listen() -> io::Result<(Sender<Exit>, Receiver<Exit>)> {
    let (sender, receiver) = channel();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP])?;
    survive_others(&signals.handle());
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
