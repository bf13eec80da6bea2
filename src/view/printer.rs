//! The printer replaces the uploader when traces are shown here instead of being sent to X-Ray: it
//! receives the same messages, and nothing leaves the machine.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::upload::counters::{ReaderLedger, SegmentCounts};
use crate::upload::message::{Event, Message};
use crate::upload::metrics::Snapshot;
use crate::upload::spans::{SpanAmount, SpanCounts, SpanRequest, SpanVerdict};
use crate::upload::{Health, UploadChannel};
use crate::view::{
    Console, OtlpError, SharedStore, json_line, otlp_line, plain_body, terminal_columns,
};

/// Interval between two checks of incomplete traces. Only used while there are any.
const TICK: Duration = Duration::from_millis(250);

/// How documents are shown.
pub(crate) enum PrintStyle {
    /// Traces as waterfalls.
    Console(Console),
    /// Each document on a line.
    Json,
}

/// The state of the thread `printer`.
pub(crate) struct Printer {
    messages: Receiver<Message>,
    channel: UploadChannel,
    readers: ReaderLedger,
    counts: SegmentCounts,
    spans: SpanCounts,
    style: PrintStyle,
    /// Keeps what is shown for the page.
    store: Option<Arc<SharedStore>>,
    text: String,
    limit: usize,
}

impl Printer {
    /// With nothing to show yet. `limit` is that of the buffer, for the metrics.
    pub(crate) fn new(
        messages: Receiver<Message>,
        channel: UploadChannel,
        readers: ReaderLedger,
        style: PrintStyle,
        store: Option<Arc<SharedStore>>,
        limit: usize,
    ) -> Self {
        Printer {
            messages,
            channel,
            readers,
            counts: SegmentCounts::default(),
            spans: SpanCounts::default(),
            style,
            store,
            text: String::new(),
            limit,
        }
    }

    /// Prints until the readers have ended. Returns how every segment ended. `on_drained` is called
    /// when the shutdown begins: what was received is shown, so that nothing is waited for.
    pub(crate) fn run(
        mut self,
        kernel_drops: &dyn Fn() -> Option<u64>,
        on_drained: &dyn Fn(),
    ) -> SegmentCounts {
        loop {
            let message = if self.waits() {
                self.messages.recv_timeout(TICK)
            } else {
                let message = self.messages.recv();
                message.map_err(|_| RecvTimeoutError::Disconnected)
            };
            let now = Instant::now();
            if let PrintStyle::Console(console) = &mut self.style
                && let Some(columns) = terminal_columns(io::stdout())
            {
                console.resize(columns);
            }
            let is_over = match message {
                Ok(Message::Event(Event::ReadersEnded)) | Err(RecvTimeoutError::Disconnected) => {
                    true
                }
                Ok(Message::Event(Event::BeginShutdown(_))) => {
                    on_drained();
                    false
                }
                Ok(message) => {
                    self.take(message, kernel_drops, now);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
            };
            if let PrintStyle::Console(console) = &mut self.style {
                if is_over {
                    console.finish(&mut self.text);
                } else {
                    console.tick(now, &mut self.text);
                }
            }
            self.print();
            if is_over {
                self.count_drops(kernel_drops);
                return self.counts;
            }
        }
    }

    fn take(&mut self, message: Message, kernel_drops: &dyn Fn() -> Option<u64>, now: Instant) {
        match message {
            Message::Event(Event::Batch(hand_over)) => {
                self.channel.received(&hand_over);
                self.readers.received(hand_over.reader);
                let documents = hand_over.batch.len();
                self.counts
                    .add_taken(documents, hand_over.malformed, hand_over.empty);
                self.counts.shown += documents as u64;
                self.show(&hand_over.batch, now);
            }
            Message::Event(Event::Spans(offer)) => {
                let Some((request, reply)) = offer.take() else {
                    return;
                };
                let verdict = match self.show_spans(&request, now) {
                    Ok(()) => {
                        let amount = SpanAmount::one(request.spans, request.body.len());
                        self.spans.count(|fates| &mut fates.accepted, amount);
                        self.spans.count(|fates| &mut fates.shown, amount);
                        SpanVerdict::Taken
                    }
                    Err(error) => {
                        log::debug!("spans cannot be shown: {error}");
                        SpanVerdict::Unreadable
                    }
                };
                reply.give(verdict);
            }
            Message::Event(Event::SpansOnCredit(_)) => {
                unreachable!("the printer gives no credit")
            }
            Message::Event(_) => {}
            // The asking thread may have given up.
            Message::AskHealth(reply) => drop(reply.try_send(Health::default())),
            Message::AskSnapshot(reply) => {
                self.count_drops(kernel_drops);
                let mut segments = self.counts;
                for unreported in self.readers.unreported().into_iter().flatten() {
                    segments.add_unreported(unreported);
                }
                let snapshot = Snapshot {
                    segments,
                    spans: self.spans,
                    buffer_used: self.store.as_ref().map_or(0, |store| store.used()),
                    buffer_limit: self.limit,
                    ..Snapshot::default()
                };
                let _ = reply.try_send(Box::new(snapshot));
            }
        }
    }

    fn count_drops(&mut self, kernel_drops: &dyn Fn() -> Option<u64>) {
        if let Some(drops) = kernel_drops() {
            self.counts.set_kernel_drops(drops);
        }
    }

    fn waits(&self) -> bool {
        matches!(&self.style, PrintStyle::Console(console) if console.waits())
    }

    fn show(&mut self, batch: &Batch, now: Instant) {
        for document in batch.documents() {
            match &mut self.style {
                PrintStyle::Console(console) => console.document(&document, now, &mut self.text),
                PrintStyle::Json => {
                    self.text.push_str(&json_line(&document));
                    self.text.push('\n');
                }
            }
            if let Some(store) = &self.store {
                store.document(&document);
            }
        }
    }

    fn show_spans(&mut self, request: &SpanRequest, now: Instant) -> Result<(), OtlpError> {
        let content_type = request.content_type();
        let body = plain_body(&request.body, request.is_gzip)?;
        match &mut self.style {
            PrintStyle::Console(console) => {
                console.otlp(&body, content_type, now, &mut self.text)?;
            }
            PrintStyle::Json => {
                self.text.push_str(&otlp_line(&body, content_type)?);
                self.text.push('\n');
            }
        }
        match &self.store {
            Some(store) => store.otlp(&body, content_type),
            None => Ok(()),
        }
    }

    fn print(&mut self) {
        if !self.text.is_empty() {
            let mut out = io::stdout().lock();
            // Stdout may be closed; the daemon goes on.
            let _ = out
                .write_all(self.text.as_bytes())
                .and_then(|()| out.flush());
            self.text.clear();
        }
    }
}
