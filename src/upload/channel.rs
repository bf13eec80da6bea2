//! The one channel to the uploader, bounded in bytes.

use std::sync::mpsc::{self, Receiver, Sender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::health::Health;
use super::item::ITEM_MEMORY;
use super::message::{Event, HandOver, Message};
use super::metrics::Snapshot;
use super::spans::{SpanOffer, SpanRequest, SpanVerdict};
use crate::spool::XRayApi;

/// The sending side. Every thread that has something for the uploader has a clone.
#[derive(Clone)]
pub struct UploadChannel {
    sender: Sender<Message>,
    bytes: Arc<ChannelBytes>,
}

impl UploadChannel {
    /// A channel in which batches of at most `limit` bytes wait; one batch always fits.
    pub fn new(limit: usize) -> (UploadChannel, Receiver<Message>) {
        let (sender, receiver) = mpsc::channel();
        let bytes = Arc::new(ChannelBytes {
            limit,
            waiting: Mutex::default(),
            taken: Condvar::new(),
        });
        (UploadChannel { sender, bytes }, receiver)
    }

    /// Hands a batch over. Waits while the channel is full, so that the kernel's buffer takes the
    /// datagrams meanwhile.
    pub fn hand_over(&self, hand_over: HandOver) {
        self.bytes.acquire(hand_over.batch.body().len());
        self.send(Event::Batch(hand_over));
    }

    /// Sends an event to the uploader. Never waits. After the uploader has ended the event is
    /// dropped.
    pub fn send(&self, event: Event) {
        let _ = self.sender.send(Message::Event(event));
    }

    /// Whether there is credit for this many bytes of spans at this moment.
    pub(crate) fn has_credit(&self, bytes: usize) -> bool {
        self.bytes.lock().has_credit(bytes)
    }

    /// Hands spans over: at once where the uploader has given credit for them, and otherwise by an offer that it
    /// has to answer within `patience`. `None`: it did not, or there was no time for it, and it has not accepted
    /// them.
    pub(crate) fn hand_over_spans(
        &self,
        request: SpanRequest,
        patience: Duration,
    ) -> Option<SpanVerdict> {
        if self.bytes.use_credit(request.body.len()) {
            self.send(Event::SpansOnCredit(request));
            return Some(SpanVerdict::Taken);
        }
        if patience.is_zero() {
            return None;
        }
        let (offer, answer) = SpanOffer::new(request);
        self.send(Event::Spans(offer));
        answer.within(patience)
    }

    /// Whether uploads go on. `None`: the uploader did not answer within `patience`.
    pub(crate) fn ask_health(&self, patience: Duration) -> Option<Health> {
        let (reply, answer) = sync_channel(1);
        self.sender.send(Message::AskHealth(reply)).ok()?;
        answer.recv_timeout(patience).ok()
    }

    /// All counters of one moment. `None`: the uploader did not answer within `patience`.
    pub(crate) fn ask_snapshot(&self, patience: Duration) -> Option<Box<Snapshot>> {
        let (reply, answer) = sync_channel(1);
        self.sender.send(Message::AskSnapshot(reply)).ok()?;
        answer.recv_timeout(patience).ok()
    }

    /// A batch that was handed over has been received.
    pub fn received(&self, hand_over: &HandOver) {
        self.bytes.release(hand_over.batch.body().len());
    }

    /// A request with spans that was taken on credit has been received.
    pub fn spans_received(&self, request: &SpanRequest) {
        self.bytes.release_spans(request.body.len());
    }

    /// See [`ChannelBytes::give_credit`].
    pub fn give_credit(&self, bytes: usize) {
        self.bytes.give_credit(bytes);
    }

    pub(super) fn bytes(&self) -> Arc<ChannelBytes> {
        Arc::clone(&self.bytes)
    }
}

/// The bytes that wait in the channel, and the credit for spans.
pub(super) struct ChannelBytes {
    limit: usize,
    waiting: Mutex<Waiting>,
    taken: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Bytes of batches.
    batches: usize,
    /// Bytes of memory of requests with spans that were taken on credit.
    spans: usize,
    /// The number of such requests.
    span_requests: usize,
    /// Most bytes of such requests.
    credit: usize,
    /// Threads in `acquire`: while there are none, nobody has to be woken, which is a system call.
    readers: usize,
}

/// Most requests with spans in the channel that were taken on credit. Health, metrics and the shutdown have to
/// wait for them.
const MOST_ON_CREDIT: usize = 16;

impl Waiting {
    fn has_credit(&self, bytes: usize) -> bool {
        self.span_requests < MOST_ON_CREDIT && self.spans + bytes + ITEM_MEMORY <= self.credit
    }
}

impl ChannelBytes {
    fn acquire(&self, bytes: usize) {
        let is_full =
            |waiting: &mut Waiting| waiting.batches > 0 && waiting.batches + bytes > self.limit;
        let mut waiting = self.lock();
        waiting.readers += 1;
        let mut waiting = self
            .taken
            .wait_while(waiting, is_full)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.readers -= 1;
        waiting.batches += bytes;
    }

    /// A batch has left the channel.
    pub(super) fn release(&self, bytes: usize) {
        let mut waiting = self.lock();
        waiting.batches -= bytes;
        if waiting.readers > 0 {
            self.taken.notify_all();
        }
    }

    /// Takes a request with spans into the account of the channel, if there is credit for it.
    pub(super) fn use_credit(&self, bytes: usize) -> bool {
        let mut waiting = self.lock();
        let has_credit = waiting.has_credit(bytes);
        if has_credit {
            waiting.spans += bytes + ITEM_MEMORY;
            waiting.span_requests += 1;
        }
        has_credit
    }

    /// A request that was taken on credit has left the channel. The credit stays that much smaller until the
    /// uploader gives it anew.
    pub(super) fn release_spans(&self, bytes: usize) {
        let mut waiting = self.lock();
        let memory = bytes + ITEM_MEMORY;
        waiting.spans -= memory;
        waiting.span_requests -= 1;
        waiting.credit = waiting.credit.saturating_sub(memory);
    }

    /// Lets clients hand over spans without waiting for an answer, as long as they take at most this many bytes
    /// of memory in the channel.
    pub(super) fn give_credit(&self, bytes: usize) {
        self.lock().credit = bytes;
    }

    /// Bytes of batches and spans that wait now.
    pub(super) fn waiting(&self) -> usize {
        let waiting = self.lock();
        waiting.batches + waiting.spans
    }

    /// Bytes for one API that wait now.
    pub(super) fn waiting_of(&self, api: XRayApi) -> usize {
        let waiting = self.lock();
        match api {
            XRayApi::Segments => waiting.batches,
            XRayApi::Otlp => waiting.spans,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // The lock is held for additions only, so it cannot be left half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use std::sync::Barrier;
    use std::sync::mpsc::TryRecvError;
    use std::thread;

    fn hand_over(document: &[u8]) -> HandOver {
        let mut batch = Batch::new();
        batch.push(document);
        HandOver {
            batch,
            ..HandOver::default()
        }
    }

    /// Otherwise the client would send again what was accepted.
    #[test]
    fn an_answer_at_the_last_moment_reaches_the_client_or_nobody() {
        let request = SpanRequest {
            body: Arc::default(),
            hash: None,
            is_json: false,
            is_gzip: false,
            spans: 1,
        };
        for n in 0..20_000u32 {
            let (offer, answer) = SpanOffer::new(request.clone());
            let starting = Barrier::new(2);
            let (is_taken, told) = thread::scope(|scope| {
                let uploader = scope.spawn(|| {
                    starting.wait();
                    let taken = offer.take();
                    let reply = taken.map(|(_, reply)| reply.give(SpanVerdict::Taken));
                    reply.is_some()
                });
                starting.wait();
                let told = answer.within(Duration::ZERO);
                (uploader.join().unwrap(), told)
            });
            assert_eq!(told, is_taken.then_some(SpanVerdict::Taken), "{n}");
        }
    }

    #[test]
    fn as_many_spans_are_taken_unasked_as_there_is_credit_for() {
        let bytes = UploadChannel::new(100).0.bytes();
        assert!(!bytes.use_credit(1));
        let two = 100 + 2 * ITEM_MEMORY;
        bytes.give_credit(two);
        assert!(!bytes.use_credit(101 + ITEM_MEMORY));
        assert!(bytes.use_credit(60));
        assert!(!bytes.use_credit(41));
        assert!(bytes.use_credit(40));
        let waiting = (bytes.waiting(), bytes.waiting_of(XRayApi::Otlp));
        assert_eq!(waiting, (two, two));
        // What is received counts until the uploader gives credit anew.
        bytes.release_spans(60);
        assert!(!bytes.use_credit(1));
        bytes.give_credit(two - 30);
        assert!(bytes.use_credit(30));
        assert!(!bytes.use_credit(1));
        bytes.release_spans(40);
        bytes.release_spans(30);
        // However short they are, the messages behind them must not wait for many.
        for _ in 0..2 {
            bytes.give_credit(1000 * two);
            let taken = (0..1000).filter(|_| bytes.use_credit(1)).count();
            assert_eq!(taken, MOST_ON_CREDIT);
            (0..taken).for_each(|_| bytes.release_spans(1));
        }
    }

    #[test]
    fn a_batch_waits_while_the_channel_is_full_and_one_always_fits() {
        let (channel, receiver) = UploadChannel::new(100);
        channel.hand_over(hand_over(&[b'x'; 1000]));
        let second = {
            let channel = channel.clone();
            thread::spawn(move || channel.hand_over(hand_over(b"{}")))
        };
        let Ok(Message::Event(Event::Batch(first))) = receiver.recv() else {
            panic!("the first batch is in the channel");
        };
        assert_eq!(channel.bytes.waiting(), first.batch.body().len());
        assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
        channel.bytes.release(first.batch.body().len());
        second.join().unwrap();
        assert!(matches!(
            receiver.try_recv(),
            Ok(Message::Event(Event::Batch(_)))
        ));
    }
}
