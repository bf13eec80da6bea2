//! The loop of one reader thread.

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::open_batch::OpenBatch;
use crate::logging::RateLimit;
use crate::upload::UploadChannel;

/// Largest datagram: a UDP length field cannot say more.
const MAX_DATAGRAM: usize = 65_535;

/// The buffer of a reader: so large that the allocator maps fresh pages for it, of which only those
/// that a datagram reaches are ever touched. On the stack it would be zeroed, 64 KB resident.
const BUFFER: usize = 256 * 1024;

/// The kernel's time-out is set anew when the time that is left differs from it by more than this.
/// So a batch leaves at most so much late, and a burst of datagrams costs few system calls.
const TIMEOUT_SLACK: Duration = Duration::from_millis(50);

/// During the shutdown the socket is polled: nothing can wake a reader twice.
const POLL: Duration = Duration::from_millis(5);

/// The last read of the shutdown ends when the kernel holds no more datagrams. A sender that never stops
/// must not make it last for ever: it also ends when more was read than the kernel can have held, or after
/// this time, which is long because this thread may have to wait for the processor.
const LAST_READ: Duration = Duration::from_secs(3);

/// The kernel takes at least so many bytes for a datagram beside what is in it.
const KERNEL_OVERHEAD: usize = 256;

/// What a reader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for datagrams and lets batches fill.
    Read,
    /// The shutdown has begun: hands over at once what comes.
    Drain,
    /// Reads what the kernel still holds, and ends.
    LastRead,
    /// Ends without reading on.
    End,
}

/// One thread that reads from the socket into its own open batch.
pub(super) struct Reader<'a> {
    pub socket: &'a UdpSocket,
    pub channel: &'a UploadChannel,
    pub open: OpenBatch,
    /// How long a batch that is not full waits for more documents.
    pub linger: Duration,
    /// Whether this reader may set the time-out of the socket, which belongs to all readers.
    pub owns_timeout: bool,
    /// The time-out that this reader has set last.
    pub timeout: Option<Duration>,
}

impl Reader<'_> {
    /// Reads until it is over. `phase` is asked after every datagram, with `true`, and after every
    /// time-out, with `false`. `polling` is the time-out while another reader waits on the same
    /// socket.
    pub(super) fn run(
        &mut self,
        mut phase: impl FnMut(bool) -> Phase,
        polling: impl Fn() -> Option<Duration>,
    ) {
        let mut memory = vec![0; BUFFER];
        let buffer = &mut memory[..MAX_DATAGRAM];
        let mut came = true;
        while phase(came) == Phase::Read {
            match self.socket.recv(buffer) {
                // The thread that begins the shutdown wakes the readers with it.
                Ok(0) if phase(true) != Phase::Read => break,
                Ok(length) => {
                    came = true;
                    self.push(&buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    came = false;
                    if !is_timeout(&error) {
                        pause_after(&error);
                    }
                }
            }
            self.look_at_the_time(came, polling());
        }
        self.hand_over();
        if phase(true) == Phase::End || self.socket.set_nonblocking(true).is_err() {
            return;
        }
        while phase(true) == Phase::Drain {
            if !self.read_waiting(buffer) {
                std::thread::sleep(POLL);
            }
        }
        self.read_waiting(buffer);
    }

    /// Reads what the kernel holds, and hands it over. Answers whether anything was there.
    fn read_waiting(&mut self, buffer: &mut [u8]) -> bool {
        let end = Instant::now() + LAST_READ;
        let most = SockRef::from(self.socket).recv_buffer_size();
        let most = most.unwrap_or(usize::MAX);
        let mut read = 0_usize;
        while let Ok(length) = self.socket.recv(buffer) {
            self.push(&buffer[..length]);
            read = read.saturating_add(length + KERNEL_OVERHEAD);
            if read > most || Instant::now() >= end {
                break;
            }
        }
        self.hand_over();
        read > 0
    }

    fn push(&mut self, datagram: &[u8]) {
        if self.open.push(datagram, Instant::now) {
            self.hand_over();
        }
    }

    /// Hands over a batch whose time has come, and sets the time-out for one whose time will come.
    fn look_at_the_time(&mut self, came: bool, polling: Option<Duration>) {
        let mut left = None;
        if let Some(since) = self.open.since() {
            let remaining = (since + self.linger).saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                self.hand_over();
            } else {
                left = Some(remaining);
            }
        } else if !came {
            self.open.free_spares();
        }
        if !self.owns_timeout {
            return;
        }
        let wanted = polling.or(left);
        let is_near = match (self.timeout, wanted) {
            (Some(set), Some(wanted)) => set.abs_diff(wanted) <= TIMEOUT_SLACK,
            (None, None) => true,
            // A time-out that is still set while the batch is empty ends with its first expiry.
            (Some(_), None) => came,
            (None, Some(_)) => false,
        };
        if !is_near && self.socket.set_read_timeout(wanted).is_ok() {
            self.timeout = wanted;
        }
    }

    fn hand_over(&mut self) {
        if !self.open.is_empty() {
            self.open
                .hand_over(|hand_over| self.channel.hand_over(hand_over));
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn pause_after(error: &io::Error) {
    static ERRORS: RateLimit = RateLimit::new(1, Duration::from_secs(60));
    if let Some(held_back) = ERRORS.allow(Instant::now()) {
        log::error!("cannot read from the UDP socket: {error}; trying again{held_back}");
    }
    std::thread::sleep(Duration::from_millis(50));
}
