//! The one channel to the uploader, bounded in bytes.

use std::sync::mpsc::{self, Receiver, Sender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::health::Health;
use super::message::{Event, HandOver, Message};
use super::metrics::Snapshot;
use super::spans::{SpanRequest, SpanVerdict};

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

    /// Gives spans to the uploader, if it has room for them. Never waits.
    pub(crate) fn offer_spans(&self, request: SpanRequest) -> SpanVerdict {
        let verdict = self.bytes.reserve(request.body.len());
        if verdict == SpanVerdict::Taken {
            self.send(Event::Spans(request));
        }
        verdict
    }

    /// Says how much room there is for spans. Without room, or after the end, nothing is taken.
    pub fn set_span_room(&self, room: SpanRoom) {
        self.bytes.set_span_room(room);
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

    /// A request with spans has been received. It takes of the room for them.
    pub fn spans_received(&self, request: &SpanRequest) {
        self.bytes.release_spans(request.body.len());
    }

    /// Takes no more spans. Those that wait have to be received.
    pub fn close(&self) {
        self.bytes.close();
    }

    /// Whether neither batches nor spans wait.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.waiting() == 0
    }

    pub(super) fn bytes(&self) -> Arc<ChannelBytes> {
        Arc::clone(&self.bytes)
    }
}

/// The bytes that wait in the channel, and those for which there is room behind it.
pub(super) struct ChannelBytes {
    limit: usize,
    waiting: Mutex<Waiting>,
    taken: Condvar,
}

#[derive(Default)]
struct Waiting {
    batches: usize,
    spans: usize,
    /// Threads in `acquire`: while there are none, nobody has to be woken, which is a system call.
    readers: usize,
    span_room: SpanRoom,
    /// No more spans are taken, whatever room there is.
    is_closed: bool,
}

/// The memory that is free for spans behind the channel, in bytes.
#[derive(Clone, Copy, Default)]
pub struct SpanRoom {
    /// Most bytes of one request.
    pub most: usize,
    /// What spans may still take.
    pub spans: usize,
    /// What everything may still take. The batches in the channel will take some of it.
    pub all: usize,
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
        waiting.span_room.all = waiting.span_room.all.saturating_sub(bytes);
        if waiting.readers > 0 {
            self.taken.notify_all();
        }
    }

    /// Makes sure that there is room for a request with spans.
    pub(super) fn reserve(&self, bytes: usize) -> SpanVerdict {
        let mut waiting = self.lock();
        let room = waiting.span_room;
        let spans = waiting.spans + bytes;
        if waiting.is_closed {
            SpanVerdict::Stopping
        } else if bytes > room.most {
            SpanVerdict::TooLong(room.most)
        } else if spans > room.spans || spans + waiting.batches > room.all {
            SpanVerdict::Full
        } else {
            waiting.spans = spans;
            SpanVerdict::Taken
        }
    }

    /// A request with spans has left the channel.
    pub(super) fn release_spans(&self, bytes: usize) {
        let mut waiting = self.lock();
        waiting.spans -= bytes;
        let room = &mut waiting.span_room;
        room.spans = room.spans.saturating_sub(bytes);
        room.all = room.all.saturating_sub(bytes);
    }

    pub(super) fn set_span_room(&self, room: SpanRoom) {
        self.lock().span_room = room;
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Bytes of batches and spans that wait now.
    pub(super) fn waiting(&self) -> usize {
        let waiting = self.lock();
        waiting.batches + waiting.spans
    }

    /// Bytes of spans that wait now.
    pub(super) fn waiting_spans(&self) -> usize {
        self.lock().spans
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

    fn spans(bytes: usize) -> SpanRequest {
        SpanRequest {
            body: vec![b's'; bytes].into(),
            hash: None,
            is_json: false,
            is_gzip: false,
            spans: 1,
        }
    }

    #[test]
    fn spans_are_taken_as_long_as_there_is_room_behind_the_channel() {
        let (channel, receiver) = UploadChannel::new(1000);
        let offer = |bytes| channel.offer_spans(spans(bytes));
        assert_eq!(offer(1), SpanVerdict::TooLong(0));
        let room = SpanRoom {
            most: 60,
            spans: 100,
            all: 150,
        };
        channel.set_span_room(room);
        assert_eq!(offer(61), SpanVerdict::TooLong(60));
        assert_eq!(
            (offer(60), offer(41)),
            (SpanVerdict::Taken, SpanVerdict::Full)
        );
        // Segments that wait take the room that all have together.
        let batch = hand_over(&[b'x'; 40]);
        let segments = batch.batch.body().len();
        assert!((51..=89).contains(&segments), "{segments}");
        channel.hand_over(batch);
        let left = 150 - 60 - segments;
        assert_eq!(offer(left + 1), SpanVerdict::Full);
        assert_eq!(offer(left), SpanVerdict::Taken);
        assert_eq!(channel.bytes.waiting(), 150);
        // What is received takes room until the uploader says what is left.
        channel.bytes.release_spans(60);
        channel.bytes.release(segments);
        assert_eq!(
            (offer(1), channel.bytes.waiting()),
            (SpanVerdict::Full, left)
        );
        channel.set_span_room(room);
        assert_eq!(offer(60), SpanVerdict::Taken);
        // What was taken is in the channel, also when no more is.
        channel.bytes.close();
        assert_eq!(offer(1), SpanVerdict::Stopping);
        let taken = receiver.try_iter().filter_map(|message| match message {
            Message::Event(Event::Spans(request)) => Some(request.body.len()),
            _ => None,
        });
        assert_eq!(taken.collect::<Vec<_>>(), [60, left, 60]);
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
