//! The reader threads: `udp-1`, which under the heaviest load is helped by `udp-2`.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::open_batch::OpenBatch;
use super::pace::Pace;
use super::reader::{DatagramReader, ReaderPhase};
use super::socket;
use crate::batch::Batch;
use crate::upload::UploadChannel;
use crate::upload::counters::ReaderCounts;

/// Several times the stack that a datagram and a log line need.
const STACK: usize = 64 * 1024;

/// The time-out of the socket while both readers wait on it.
const SHARED_TIMEOUT: Duration = Duration::from_millis(250);

/// What the readers work with.
pub(crate) struct ReaderParts {
    pub socket: Arc<UdpSocket>,
    /// To the thread that delivers.
    pub channel: UploadChannel,
    /// What each reader has taken and not handed over.
    pub counts: [Arc<ReaderCounts>; 2],
    /// Memory of delivered batches.
    pub recycled: Receiver<Batch>,
    /// How long a batch that is not full waits for more documents.
    pub(crate) batch_wait: Duration,
    /// True until the readers have ended.
    pub reading: Arc<AtomicBool>,
    /// Called when they have ended.
    pub(crate) on_ended: Box<dyn Fn() + Send>,
}

pub(crate) struct Readers {
    shared: Arc<ReadersShared>,
}

struct ReadersShared {
    socket: Arc<UdpSocket>,
    channel: UploadChannel,
    counts: [Arc<ReaderCounts>; 2],
    batch_wait: Duration,
    phase: AtomicU8,
    /// Whether `udp-2` is wanted.
    is_crowded: AtomicBool,
    /// Whether `udp-2` runs. Until it has ended, no read may wait without a time-out.
    has_helper: AtomicBool,
}

const READ: u8 = 0;
const DRAIN: u8 = 1;
const LAST_READ: u8 = 2;

impl Readers {
    /// Starts to read.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn start(parts: ReaderParts) -> io::Result<Readers> {
        let shared = Arc::new(ReadersShared {
            socket: parts.socket,
            channel: parts.channel,
            counts: parts.counts,
            batch_wait: parts.batch_wait,
            phase: AtomicU8::new(READ),
            is_crowded: AtomicBool::new(false),
            has_helper: AtomicBool::new(false),
        });
        let readers = Readers {
            shared: Arc::clone(&shared),
        };
        let (recycled, reading, on_ended) = (parts.recycled, parts.reading, parts.on_ended);
        spawn("udp-1", &shared, move |shared| {
            shared.read_first(recycled);
            reading.store(false, SeqCst);
            on_ended();
        })?;
        Ok(readers)
    }

    /// From now on everything that comes is handed over at once.
    pub(crate) fn begin_shutdown(&self) {
        self.shared.phase.store(DRAIN, SeqCst);
        socket::wake_readers(&self.shared.socket);
    }

    /// Ends the threads after a last read of what the kernel holds.
    pub(crate) fn end(&self) {
        self.shared.phase.store(LAST_READ, SeqCst);
        socket::wake_readers(&self.shared.socket);
    }
}

fn spawn(
    name: &str,
    shared: &Arc<ReadersShared>,
    work: impl FnOnce(&Arc<ReadersShared>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(move || work(&shared))
}

impl ReadersShared {
    fn read_first(self: &Arc<Self>, recycled: Receiver<Batch>) {
        let mut pace = Pace::new();
        let mut helper: Option<JoinHandle<()>> = None;
        let mut reader = self.reader(0, Some(recycled));
        reader.run(
            |came| {
                let phase = self.phase();
                if phase == ReaderPhase::Read
                    && let Some(is_crowded) = pace.step(came, Instant::now)
                {
                    self.is_crowded.store(is_crowded, SeqCst);
                    if is_crowded && !self.has_helper.load(SeqCst) {
                        helper = self.start_helper();
                    }
                }
                phase
            },
            || self.has_helper.load(SeqCst).then_some(SHARED_TIMEOUT),
        );
        if let Some(helper) = helper {
            let _ = helper.join();
        }
    }

    /// Without the thread `udp-1` reads as fast as it can.
    fn start_helper(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        self.socket.set_read_timeout(Some(SHARED_TIMEOUT)).ok()?;
        self.has_helper.store(true, SeqCst);
        let helper = spawn("udp-2", self, |shared| {
            shared.read_second();
            shared.has_helper.store(false, SeqCst);
        });
        if helper.is_err() {
            self.has_helper.store(false, SeqCst);
        }
        helper.ok()
    }

    fn read_second(&self) {
        let phase = |_| match self.phase() {
            ReaderPhase::Read if !self.is_crowded.load(SeqCst) => ReaderPhase::End,
            phase => phase,
        };
        self.reader(1, None).run(phase, || None);
    }

    fn reader(&self, number: usize, recycled: Option<Receiver<Batch>>) -> DatagramReader<'_> {
        DatagramReader {
            socket: &self.socket,
            channel: &self.channel,
            open: OpenBatch::new(number, Arc::clone(&self.counts[number]), recycled),
            batch_wait: self.batch_wait,
            owns_timeout: number == 0,
            timeout: None,
        }
    }

    fn phase(&self) -> ReaderPhase {
        match self.phase.load(SeqCst) {
            READ => ReaderPhase::Read,
            DRAIN => ReaderPhase::Drain,
            _ => ReaderPhase::LastRead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::message::{Event, Message};
    use std::sync::mpsc::{channel, sync_channel};
    use xray_test_support::DEADLINE;

    #[test]
    fn a_malformed_datagram_alone_is_handed_over_in_time() {
        let socket = Arc::new(socket::udp("127.0.0.1:0").unwrap());
        let (uploads, messages) = UploadChannel::new(1_000_000);
        let (ended, has_ended) = channel();
        let readers = Readers::start(ReaderParts {
            socket: Arc::clone(&socket),
            channel: uploads,
            counts: Default::default(),
            recycled: sync_channel(1).1,
            batch_wait: Duration::from_millis(10),
            reading: Arc::new(AtomicBool::new(true)),
            on_ended: Box::new(move || ended.send(()).unwrap()),
        })
        .unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        client.send_to(b"no header", address).unwrap();
        let Ok(Message::Event(Event::Batch(hand_over))) = messages.recv_timeout(DEADLINE) else {
            panic!("it is handed over");
        };
        assert_eq!((hand_over.batch.len(), hand_over.malformed), (0, 1));
        readers.end();
        has_ended.recv_timeout(DEADLINE).unwrap();
    }
}
