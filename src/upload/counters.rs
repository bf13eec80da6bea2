//! The books: one counter for every fate of a segment.
//!
//! `received = sent + rejected + spilled + held` at every moment; what the kernel dropped before
//! the daemon could read it stands beside.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters since the start of the process. Every thread that decides the fate of a segment
/// counts it here, once.
#[derive(Debug, Default)]
pub struct Books {
    received: AtomicU64,
    sent: AtomicU64,
    rejected: AtomicU64,
    spilled: AtomicU64,
    held_bytes: AtomicU64,
    kernel_drops: AtomicU64,
}

/// The books read at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Datagrams read from the socket, malformed ones included.
    pub received: u64,
    /// Documents that X-Ray took.
    pub sent: u64,
    /// Malformed datagrams, and documents that X-Ray refused.
    pub rejected: u64,
    /// Documents dropped, oldest first, because the buffer was full or time ran out at exit.
    pub spilled: u64,
    /// Bytes of the documents waiting or in flight, as they stand in a request.
    pub held_bytes: u64,
    /// Datagrams that the kernel dropped because the socket's buffer was full.
    pub kernel_drops: u64,
}

impl Totals {
    /// Documents waiting or in flight.
    pub fn held(&self) -> u64 {
        self.received
            .saturating_sub(self.sent + self.rejected + self.spilled)
    }

    /// Segments that will never reach X-Ray.
    pub fn lost(&self) -> u64 {
        self.rejected + self.spilled + self.kernel_drops
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "received {} = sent {} + rejected {} + spilled {} + held {}; kernel drops {}",
            self.received,
            self.sent,
            self.rejected,
            self.spilled,
            self.held(),
            self.kernel_drops
        )
    }
}

impl Books {
    /// A datagram was read.
    pub fn received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    /// X-Ray took `n` documents.
    pub fn sent(&self, n: usize) {
        self.sent.fetch_add(n as u64, Relaxed);
    }

    /// `n` documents will never be accepted.
    pub fn rejected(&self, n: usize) {
        self.rejected.fetch_add(n as u64, Relaxed);
    }

    /// `n` documents were dropped for lack of room or time.
    pub fn spilled(&self, n: usize) {
        self.spilled.fetch_add(n as u64, Relaxed);
    }

    /// Sets the gauge of bytes held.
    pub fn set_held_bytes(&self, bytes: usize) {
        self.held_bytes.store(bytes as u64, Relaxed);
    }

    /// Sets the kernel's own count of drops on the UDP socket. Of two threads that read it at once,
    /// the slower one does not set it back: what was lost since the last look is a difference.
    pub fn set_kernel_drops(&self, drops: u64) {
        self.kernel_drops.fetch_max(drops, Relaxed);
    }

    /// Whether any datagram has arrived yet.
    pub fn any_received(&self) -> bool {
        self.received.load(Relaxed) > 0
    }

    /// Reads all counters. The fates are read before `received`, so that a segment counted in
    /// between shows as held, never as a deficit.
    pub fn totals(&self) -> Totals {
        let (sent, rejected, spilled) = (
            self.sent.load(Relaxed),
            self.rejected.load(Relaxed),
            self.spilled.load(Relaxed),
        );
        Totals {
            received: self.received.load(Relaxed),
            sent,
            rejected,
            spilled,
            held_bytes: self.held_bytes.load(Relaxed),
            kernel_drops: self.kernel_drops.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set back, the difference to the count before was below zero, and the log told of 2^64
    /// segments that were lost.
    #[test]
    fn kernel_drops_are_never_set_back() {
        let books = Books::default();
        for drops in [3, 5, 4] {
            books.set_kernel_drops(drops);
        }
        assert_eq!(books.totals().lost(), 5);
    }
}
