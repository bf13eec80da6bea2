//! Shows on the page what is uploaded. Uploading never waits for it: what comes faster than the
//! page can store it is not shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::{OtlpError, SharedStore, plain_body};
use crate::batch::Batch;
use crate::logging::RateLimit;
use crate::upload::spans::SpanRequest;

static NOT_SHOWN: RateLimit = RateLimit::new(1, Duration::from_secs(60));

/// The sending side of the feed.
#[derive(Clone)]
pub struct Feed {
    sender: Sender<FeedItem>,
    waiting: Arc<AtomicUsize>,
    /// Most bytes that wait for the thread `view`.
    limit: usize,
}

/// The receiving side, for the thread `view`.
pub(crate) struct FeedReceiver {
    receiver: Receiver<FeedItem>,
    waiting: Arc<AtomicUsize>,
}

enum FeedItem {
    Documents(Batch),
    Spans(SpanRequest),
}

impl FeedItem {
    fn bytes(&self) -> usize {
        match self {
            FeedItem::Documents(batch) => batch.body().len(),
            FeedItem::Spans(request) => request.body.len(),
        }
    }
}

impl Feed {
    /// Both sides of a feed in which nothing waits, and at most `limit` bytes will, or a single batch or
    /// request.
    pub(crate) fn new(limit: usize) -> (Feed, FeedReceiver) {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let feed = Feed {
            sender,
            waiting: Arc::clone(&waiting),
            limit,
        };
        (feed, FeedReceiver { receiver, waiting })
    }

    /// Shows the documents of a batch. Never waits.
    pub(crate) fn documents(&self, batch: &Batch) {
        if !batch.is_empty() {
            self.show(batch.body().len(), || FeedItem::Documents(batch.clone()));
        }
    }

    /// Shows the spans of a request. Never waits.
    pub(crate) fn spans(&self, request: SpanRequest) {
        self.show(request.body.len(), || FeedItem::Spans(request));
    }

    fn show(&self, bytes: usize, shown: impl FnOnce() -> FeedItem) {
        let before = self.waiting.fetch_add(bytes, Relaxed);
        // A single one always fits.
        if before > 0 && before + bytes > self.limit {
            self.waiting.fetch_sub(bytes, Relaxed);
            if let Some(held_back) = NOT_SHOWN.allow(Instant::now()) {
                log::warn!(
                    "traces come faster than the page can take them: some are uploaded and not \
                     shown{held_back}"
                );
            }
            return;
        }
        // Fails only when the thread has ended. Then nothing is shown any more.
        let _ = self.sender.send(shown());
    }
}

impl FeedReceiver {
    /// Stores everything in `store`, until the last [`Feed`] is dropped.
    pub(crate) fn run(self, store: &SharedStore) {
        for shown in self.receiver {
            match &shown {
                FeedItem::Documents(batch) => {
                    for document in batch.documents() {
                        store.document(&document);
                    }
                }
                FeedItem::Spans(request) => {
                    if let Err(error) = store_spans(store, request) {
                        log::debug!("spans are not shown: {error}");
                    }
                }
            }
            self.waiting.fetch_sub(shown.bytes(), Relaxed);
        }
    }
}

fn store_spans(store: &SharedStore, request: &SpanRequest) -> Result<(), OtlpError> {
    let body = plain_body(&request.body, request.is_gzip)?;
    store.otlp(&body, request.content_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::store::DaemonInfo;

    const LIMIT: usize = 100_000;

    fn batch(note: usize) -> Batch {
        let mut batch = Batch::new();
        let name = "n".repeat(note);
        batch.push(
            format!(r#"{{"id":"{note:016x}","name":"{name}","trace_id":"1-{note}"}}"#).as_bytes(),
        );
        batch
    }

    fn store() -> SharedStore {
        let daemon = DaemonInfo {
            version: "1",
            udp: String::new(),
            exporter: "xray",
        };
        SharedStore::new(64 << 20, daemon)
    }

    #[test]
    fn what_fits_is_kept_and_the_rest_is_let_go() {
        let (feed, feeder) = Feed::new(LIMIT);
        feed.documents(&Batch::new());
        feed.documents(&batch(2 * LIMIT));
        feed.documents(&batch(1));
        assert_eq!(feeder.receiver.try_iter().count(), 1, "one always fits");
        feeder.waiting.store(0, Relaxed);
        let half = LIMIT / 2;
        for note in [1, half, half + 1, 2] {
            feed.documents(&batch(note));
        }
        drop(feed);
        let waiting = Arc::clone(&feeder.waiting);
        let store = store();
        feeder.run(&store);
        assert_eq!(waiting.load(Relaxed), 0);
        let used = store.used();
        assert!((half..half + half / 2).contains(&used), "{used} bytes");
    }

    #[test]
    fn spans_are_kept_as_the_request_says_that_they_are_written() {
        let request = |is_json, is_gzip| {
            SpanRequest {
            body: Arc::new(br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5759e988bd862e3fe1be46a994272793","spanId":"53995c3f42cd8ad8","name":"n"}]}]}]}"#.to_vec()),
            is_json,
            is_gzip,
            spans: 1,
            hash: None,
        }
        };
        let (feed, feeder) = Feed::new(LIMIT);
        feed.spans(request(false, false));
        feed.spans(request(true, true));
        drop(feed);
        let kept = store();
        feeder.run(&kept);
        assert_eq!(kept.used(), 0);
        let (feed, feeder) = Feed::new(LIMIT);
        feed.spans(request(true, false));
        drop(feed);
        feeder.run(&kept);
        assert!(kept.used() > 0);
    }
}
