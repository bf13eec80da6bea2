//! Collects children that have ended.

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// A process that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: Pid,
    /// Its status as shells tell it.
    pub(super) code: u8,
}

/// Collects every child that has ended: children that this process has started, and orphans that it
/// has inherited as the first process of a container.
pub(super) fn reap() -> impl Iterator<Item = Ended> {
    std::iter::from_fn(|| {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((id, status))) => {
                    let code = code(status);
                    return Some(Ended { id, code });
                }
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    })
}

/// The exit status; for a signal, 128 and its number.
fn code(status: WaitStatus) -> u8 {
    let signal = || Some(128 + status.terminating_signal()?);
    let code = status.exit_status().or_else(signal).unwrap_or_default();
    u8::try_from(code).unwrap_or(u8::MAX)
}
