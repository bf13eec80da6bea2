//! The signals that do not end a process of this program, although they would by default.

use std::ffi::c_int;

use signal_hook::consts::{SIGALRM, SIGIO, SIGPROF, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU};
use signal_hook::iterator::Handle;

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
pub(super) const SIGPWR: c_int = 30;
#[cfg(not(target_os = "linux"))]
pub(super) const SIGPWR: c_int = SIGUSR1;

/// Adds a handler for each of them, where there is none yet.
pub(super) fn survive_others(handle: &Handle) {
    for signal in IGNORED.into_iter().chain(REAL_TIME) {
        // Where a handler is refused, somebody else needs the signal: valgrind does, for one.
        let _ = handle.add_signal(signal);
    }
}
