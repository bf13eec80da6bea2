//! The stream of server-sent events: it says that something changed, and not what it is now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Store;

/// Between two events of a stream: several changes are one event.
const PAUSE: Duration = Duration::from_millis(250);
/// Interval between two comments in the stream, by which a broken connection is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Ids in one event.
const MAX_IDS: usize = 100;

/// Streams at a time: each keeps a thread.
pub(super) const MAX_STREAMS: usize = 16;

/// Counts the streams that are open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<()>);

impl Streams {
    /// Another stream, which has written nothing yet; `None` when there are enough.
    pub(crate) fn open(&self) -> Option<EventStream> {
        // Each stream holds a clone until it is dropped.
        (Arc::strong_count(&self.0) <= MAX_STREAMS).then(|| EventStream {
            known: None,
            alive: None,
            _open: self.clone(),
        })
    }
}

/// What one client of the stream knows.
#[derive(Debug)]
pub(crate) struct EventStream {
    /// The version of the store in the last event, and when that was written.
    known: Option<(u64, Instant)>,
    /// When anything was written last.
    alive: Option<Instant>,
    _open: Streams,
}

/// The next step of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamStep {
    /// Write this, and ask again.
    Write(String),
    /// Ask again when the store has changed, or after this time.
    Wait(Duration),
}

impl EventStream {
    /// What to do at this time. `now` must not run backwards.
    pub(crate) fn next(&mut self, store: &Store, now: Instant) -> StreamStep {
        let Some((version, written)) = self.known else {
            let event = event(store, Vec::new(), false);
            return self.write(store, now, ["retry: 2000\n\n", &event].concat());
        };
        let left = |since: Instant, time: Duration| (since + time).checked_duration_since(now);
        if version < store.version {
            if let Some(left) = left(written, PAUSE).filter(|left| !left.is_zero()) {
                return StreamStep::Wait(left);
            }
            let (ids, more) = store.changed_since(version, MAX_IDS);
            return self.write(store, now, event(store, ids, more));
        }
        match self.alive.and_then(|alive| left(alive, HEARTBEAT)) {
            Some(left) if !left.is_zero() => StreamStep::Wait(left),
            _ => {
                self.alive = Some(now);
                StreamStep::Write(":\n\n".to_owned())
            }
        }
    }

    fn write(&mut self, store: &Store, now: Instant, text: String) -> StreamStep {
        self.known = Some((store.version, now));
        self.alive = Some(now);
        StreamStep::Write(text)
    }
}

fn event(store: &Store, ids: Vec<&str>, more: bool) -> String {
    let data = json!({
        "version": store.version,
        "total": store.traces.len(),
        "ids": ids,
        "more": more,
    });
    let version = store.version.to_string();
    [
        "event: change\nid: ",
        &version,
        "\ndata: ",
        &data.to_string(),
        "\n\n",
    ]
    .concat()
}
