//! Shows on the page what is uploaded. Uploading never waits for it: what comes faster than the
//! page can store it is not shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::SharedStore;
use crate::batch::Batch;
use crate::http::server::Request;
use crate::logging::RateLimit;

/// Most bytes that wait for the thread `view`.
const MAX_WAITING: usize = 2 * 1024 * 1024;

static NOT_SHOWN: RateLimit = RateLimit::new(1, Duration::from_secs(60));

/// The sending side of the feed.
#[derive(Clone)]
pub struct Feed {
    sender: Sender<FeedItem>,
    waiting: Arc<AtomicUsize>,
}

/// The receiving side, for the thread `view`.
pub(crate) struct FeedReceiver {
    receiver: Receiver<FeedItem>,
    waiting: Arc<AtomicUsize>,
}

enum FeedItem {
    Documents(Batch),
    /// The body of a `POST /v1/traces`.
    Spans(Arc<Request>),
}

impl FeedItem {
    fn bytes(&self) -> usize {
        match self {
            FeedItem::Documents(batch) => batch.body().len(),
            FeedItem::Spans(request) => request.memory(),
        }
    }
}

impl Feed {
    /// Both sides of a feed in which nothing waits.
    pub(crate) fn new() -> (Feed, FeedReceiver) {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let feed = Feed {
            sender,
            waiting: Arc::clone(&waiting),
        };
        (feed, FeedReceiver { receiver, waiting })
    }

    /// Shows the documents of a batch. Never waits.
    pub(crate) fn documents(&self, batch: &Batch) {
        if !batch.is_empty() {
            self.show(batch.body().len(), || FeedItem::Documents(batch.clone()));
        }
    }

    /// Shows the spans in the body of a request. Never waits.
    pub(crate) fn spans(&self, request: &Arc<Request>) {
        self.show(request.memory(), || FeedItem::Spans(Arc::clone(request)));
    }

    fn show(&self, bytes: usize, shown: impl FnOnce() -> FeedItem) {
        let before = self.waiting.fetch_add(bytes, Relaxed);
        // A single one always fits.
        if before > 0 && before + bytes > MAX_WAITING {
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
                    if let Err(error) = store.request(request) {
                        log::debug!("spans are not shown: {error}");
                    }
                }
            }
            self.waiting.fetch_sub(shown.bytes(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::store::DaemonInfo;

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
        let (feed, feeder) = Feed::new();
        feed.documents(&Batch::new());
        feed.documents(&batch(2 * MAX_WAITING));
        feed.documents(&batch(1));
        assert_eq!(feeder.receiver.try_iter().count(), 1, "one always fits");
        feeder.waiting.store(0, Relaxed);
        let half = MAX_WAITING / 2;
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
    fn spans_are_kept_as_their_content_type_says() {
        let request = |content_type: &str, coding: Option<&str>| {
            let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
            let coding = coding.map(|coding| header("Content-Encoding", coding));
            Arc::new(Request {
                method: "POST".to_owned(),
                target: "/v1/traces".to_owned(),
                http10: false,
                keep_alive: true,
                headers: std::iter::once(header("Content-Type", content_type))
                    .chain(coding)
                    .collect(),
                body: br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5759e988bd862e3fe1be46a994272793","spanId":"53995c3f42cd8ad8","name":"n"}]}]}]}"#.to_vec().into(),
            })
        };
        let (feed, feeder) = Feed::new();
        feed.spans(&request("application/x-protobuf", None));
        feed.spans(&request("application/json", Some("gzip")));
        drop(feed);
        let kept = store();
        feeder.run(&kept);
        assert_eq!(kept.used(), 0);
        let (feed, feeder) = Feed::new();
        feed.spans(&request("application/json", Some("identity")));
        drop(feed);
        feeder.run(&kept);
        assert!(kept.used() > 0);
    }
}
