//! The threads that read from the UDP socket.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::ingest::intake::Intake;
use crate::ingest::socket;
use crate::logging::RateLimit;
use crate::upload::message::Events;

/// Largest datagram: a UDP length field cannot say more.
const MAX_DATAGRAM: usize = 65_535;

/// The buffer of a reader: so large that the allocator maps fresh pages for it, of which only those
/// that a datagram reaches are ever touched. On the stack it would be zeroed, 64 KB resident.
const BUFFER: usize = 256 * 1024;

/// Several times what the way of a datagram into a batch and a line of the log take.
const STACK: usize = 64 * 1024;

/// At the end, the kernel's buffer is emptied; a sender that never stops must not keep us.
const LAST_READS: Duration = Duration::from_millis(500);

/// `udp-1` looks at the time after so many datagrams, and starts `udp-2` when they took less than
/// this: above 100,000 a second. Two that always read would wake each other for nothing: measured, a
/// third more CPU a segment at 1,000 to 100,000 a second.
const STRETCH: u32 = 1024;
const CROWDED: Duration = Duration::from_millis(10);

/// What the readers work with.
pub struct Parts {
    /// The bound socket.
    pub socket: Arc<UdpSocket>,
    /// The open batch.
    pub intake: Arc<Intake>,
    /// To the part that delivers.
    pub events: Events,
    /// True until they have ended.
    pub reading: Arc<AtomicBool>,
}

/// The reader threads: `udp-1`, which under the heaviest load is helped by `udp-2`.
pub struct Readers {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    parts: Parts,
    stopping: AtomicBool,
    crowded: AtomicBool,
}

impl Readers {
    /// Starts to read.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(parts: Parts) -> io::Result<Readers> {
        let shared = Arc::new(Shared {
            parts,
            stopping: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
        });
        let thread = spawn("udp-1", &shared, |shared| {
            let mut pace = Pace::new();
            let mut helper = None;
            shared.read(|| {
                if let Some(crowded) = pace.step(Instant::now) {
                    shared.crowded.store(crowded, SeqCst);
                    if crowded && helper.as_ref().is_none_or(JoinHandle::is_finished) {
                        // Without the thread this one reads as fast as it can.
                        helper = spawn("udp-2", shared, |shared| {
                            shared.read(|| shared.crowded.load(SeqCst));
                        })
                        .ok();
                    }
                }
                true
            });
            if let Some(helper) = helper {
                let _ = helper.join();
            }
            shared.parts.reading.store(false, SeqCst);
        })?;
        Ok(Readers { shared, thread })
    }

    /// Reads what the kernel still holds, then ends the threads.
    pub fn stop(self) {
        self.shared.stopping.store(true, SeqCst);
        socket::wake_readers(&self.shared.parts.socket);
        let _ = self.thread.join();
    }
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    work: impl FnOnce(&Arc<Shared>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(move || work(&shared))
}

impl Shared {
    /// Reads until `go_on`, asked after each datagram, says no, or until the end.
    fn read(&self, mut go_on: impl FnMut() -> bool) {
        static ERRORS: RateLimit = RateLimit::new(1, Duration::from_secs(60));
        let mut buffer = vec![0; BUFFER];
        let buffer = &mut buffer[..MAX_DATAGRAM];
        let mut end = None;
        loop {
            match self.parts.socket.recv(buffer) {
                Ok(0) if self.stopping.load(SeqCst) && end.is_none() => {
                    // From here on reads do not wait: the loop ends when the kernel holds no more.
                    end = Some(Instant::now() + LAST_READS);
                    if self.parts.socket.set_nonblocking(true).is_err() {
                        return;
                    }
                }
                // An empty datagram: the official daemon ignores it too.
                Ok(0) => {}
                Ok(length) => {
                    if let Some(event) = self.parts.intake.datagram(&buffer[..length]) {
                        (self.parts.events)(event);
                    }
                    if !go_on() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if end.is_some() || self.stopping.load(SeqCst) => return,
                Err(error) => {
                    if let Some(held_back) = ERRORS.allow(Instant::now()) {
                        log::error!(
                            "cannot read from the UDP socket: {error}; trying again{held_back}"
                        );
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return;
            }
        }
    }
}

/// Whether datagrams come faster than one thread should take them.
struct Pace {
    count: u32,
    since: Option<Instant>,
    crowded: bool,
}

impl Pace {
    fn new() -> Self {
        Pace {
            count: 0,
            since: None,
            crowded: false,
        }
    }

    /// Counts a datagram; after a stretch of them, whether it is crowded. While the other thread
    /// helps, this one sees half of the datagrams.
    fn step(&mut self, now: impl FnOnce() -> Instant) -> Option<bool> {
        self.count += 1;
        if self.count < STRETCH {
            return None;
        }
        self.count = 0;
        let now = now();
        let before = self.since.replace(now)?;
        let limit = if self.crowded { 2 * CROWDED } else { CROWDED };
        self.crowded = now - before < limit;
        Some(self.crowded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_called_above_100_000_a_second_and_sent_away_below_half_of_it_each() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        let mut stretch = |took: u64| {
            now += Duration::from_millis(took);
            (0..STRETCH).filter_map(|_| pace.step(|| now)).last()
        };
        assert_eq!(stretch(0), None, "a first stretch has no beginning");
        for (took, crowded) in [(11, false), (9, true), (19, true), (21, false), (19, false)] {
            assert_eq!(stretch(took), Some(crowded), "{took} ms");
        }
    }
}
