//! The store between the thread that takes documents and those that answer.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use super::api::{self, ApiRequest, ApiResponse};
use super::otlp::OtlpError;
use super::store::{DaemonInfo, EventStream, Store, StreamStep, Streams};

/// Traces that are read under one lock.
const MAX_READ: usize = 200;

/// A [`Store`] with a lock and a clock.
#[derive(Debug)]
pub struct SharedStore {
    store: Mutex<Store>,
    changed: Condvar,
    streams: Streams,
    daemon: DaemonInfo,
}

impl SharedStore {
    /// Nothing kept yet, and room for so many bytes.
    pub fn new(limit: usize, daemon: DaemonInfo) -> SharedStore {
        SharedStore {
            store: Mutex::new(Store::new(limit)),
            changed: Condvar::new(),
            streams: Streams::default(),
            daemon,
        }
    }

    /// Keeps a document that came in a datagram.
    pub fn document(&self, text: &str) {
        self.lock().document(text, seconds_now());
        self.changed.notify_all();
    }

    /// Keeps the spans in the body of a `POST /v1/traces`, not compressed.
    pub(crate) fn otlp(&self, body: &[u8], content_type: &str) -> Result<(), OtlpError> {
        let taken = self.lock().otlp(body, content_type, seconds_now());
        self.changed.notify_all();
        taken
    }

    /// Bytes of memory that the kept traces take, roughly.
    pub fn used(&self) -> usize {
        self.lock().used()
    }

    /// Answers a request for the page or its API; `None` for a request of anything else.
    pub(crate) fn respond(&self, request: &ApiRequest<'_>) -> Option<ApiResponse> {
        // The lock is released in between, so that documents can be added.
        while request.target.starts_with("/api/") && self.lock().refresh_some(MAX_READ) {}
        api::respond(request, &mut self.lock(), &self.daemon, &self.streams)
    }

    /// Waits for the next event of a stream; `None` when there is none until `deadline`, so that
    /// the caller can check whether the daemon is stopping.
    pub(crate) fn next_event(&self, stream: &mut EventStream, deadline: Instant) -> Option<String> {
        let mut store = self.lock();
        loop {
            let now = Instant::now();
            let wait = match stream.next(&store, now) {
                StreamStep::Write(text) => return Some(text),
                StreamStep::Wait(wait) => wait.min(deadline.saturating_duration_since(now)),
            };
            if now >= deadline {
                return None;
            }
            let waited = self.changed.wait_timeout(store, wait);
            (store, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since the epoch.
fn seconds_now() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_stream_waits_for_a_change() {
        let daemon = DaemonInfo {
            version: "1",
            udp: String::new(),
            exporter: "console",
        };
        let store = Arc::new(SharedStore::new(1 << 20, daemon));
        let mut stream = store.streams.open().expect("the first stream");
        let now = Instant::now();
        let first = store.next_event(&mut stream, now).expect("the first event");
        assert!(first.contains("\"ids\":[]"), "{first}");
        assert_eq!(store.next_event(&mut stream, now), None);
        let writer = Arc::clone(&store);
        let writer = std::thread::spawn(move || {
            writer.document(r#"{"id":"a","name":"n","trace_id":"1-x"}"#);
        });
        let deadline = now + Duration::from_secs(600);
        let event = store.next_event(&mut stream, deadline).expect("a change");
        assert!(event.contains("\"ids\":[\"1-x\"]"), "{event}");
        writer.join().expect("the writer");
        assert!(store.used() > 0);
    }
}
