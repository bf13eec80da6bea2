//! One daemon a directory: a lock on the file `lock` in it, which says who holds it.
//!
//! The system releases the lock when its holder ends, in whatever way. On NFS, and so on EFS, the
//! lock works across hosts.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;

use crate::logging::escape;

/// Name of the file.
pub(super) const NAME: &str = "lock";

/// Most bytes that are read of the holder's description.
const MAX_HOLDER: usize = 200;

/// Why there is no lock.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it.
    Held(String),
    /// The system cannot lock, or cannot write the file.
    System(io::Error),
}

/// Locks the open file, until it is closed, and writes into it who has done so.
pub(super) fn acquire(file: OwnedFd) -> Result<File, LockError> {
    let mut file = File::from(file);
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&mut file))),
        Err(TryLockError::Error(error)) => return Err(LockError::System(error)),
    }
    // The text is only for people. On a full disk it is missing, and the lock still works.
    let host = rustix::system::uname();
    let _ = file.set_len(0).and_then(|()| {
        let host = host.nodename().to_string_lossy();
        write!(file, "process {} on host {host}", std::process::id())
    });
    Ok(file)
}

/// The holder's description, made safe for a log.
fn holder(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(MAX_HOLDER as u64).read_to_end(&mut bytes));
    match read {
        Ok(length) if length > 0 => escape(&bytes, MAX_HOLDER),
        _ => "another process that has not said who it is".to_owned(),
    }
}
