//! The traces that the page shows, bounded in bytes. The oldest are dropped.
//!
//! Documents are kept as they were received. The summaries for the list and the service map are
//! made when a client asks, and only for traces that have changed, so that a store without clients
//! costs little more than the copies. There is no thread, socket or clock here.

mod answer;
mod call;
mod digest;
mod events;
mod filter;
mod service_map;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::document::{self, Format, TracePart, Unreadable};
use super::otlp::{self, OtlpError};
use digest::Digest;

pub use answer::DaemonInfo;
pub(crate) use events::{EventStream, StreamStep, Streams};
pub use filter::Filter;

/// The part of the store that one trace may fill.
const TRACE_PART: usize = 8;
/// The share of a trace's limit that is reserved for roots, which SDKs send last.
const ROOT_PART: usize = 8;
/// Documents looked at for a copy: a datagram or a request is repeated soon, if at all.
const MAX_COPIES: usize = 64;
/// How many ids of dropped traces are remembered, for streams of changes.
const MAX_GONE: usize = 128;
/// Bytes that a document or a trace takes beside its text, roughly.
const DOCUMENT_BYTES: usize = size_of::<StoredDocument>() + 16;
const TRACE_BYTES: usize = size_of::<KeptTrace>() + 200;

/// Traces by their ids. The one that changed least recently goes first when there is no room.
#[derive(Debug)]
pub struct Store {
    /// Bytes of all traces.
    limit: usize,
    used: usize,
    /// Traces that were let go.
    dropped: u64,
    /// Counts the changes.
    version: u64,
    traces: HashMap<Arc<str>, KeptTrace>,
    /// Ids by the version of their traces.
    order: BTreeMap<u64, Arc<str>>,
    /// Traces that were let go, and with which version.
    gone: VecDeque<(u64, Arc<str>)>,
}

/// A trace.
#[derive(Debug)]
struct KeptTrace {
    /// The number of its last change.
    version: u64,
    /// In the order of arrival.
    documents: Vec<StoredDocument>,
    /// Documents that came when it had no room.
    omitted: u64,
    /// Of its documents.
    bytes: usize,
    /// What the documents say; `None` since the last change.
    digest: Option<Box<Digest>>,
}

/// A document, or the part of it that belongs to one trace.
#[derive(Debug)]
struct StoredDocument {
    format: Format,
    /// Seconds since the epoch.
    received: f64,
    text: Box<str>,
}

impl Store {
    /// An empty store for so many bytes.
    pub fn new(limit: usize) -> Store {
        Store {
            limit,
            used: 0,
            dropped: 0,
            version: 0,
            traces: HashMap::new(),
            order: BTreeMap::new(),
            gone: VecDeque::new(),
        }
    }

    /// Adds a document from a datagram that came at `received` seconds since the epoch. A document
    /// that cannot be read becomes a trace of its own, so that its sender can find it. Metrics are
    /// ignored.
    pub fn document(&mut self, text: &str, received: f64) {
        let known = document::parts(text, &mut |part| self.add(part, received));
        match known {
            Ok(()) | Err(Unreadable::Metrics) => {}
            Err(Unreadable::NotJson(_) | Unreadable::Spans(_) | Unreadable::Empty) => {
                let part = TracePart {
                    trace: ["unreadable ", &(self.version + 1).to_string()].concat(),
                    format: Format::XRay,
                    text: text.into(),
                    root: true,
                };
                self.add(part, received);
            }
        }
    }

    /// Takes the body of a `POST /v1/traces`, not compressed.
    pub fn otlp(
        &mut self,
        body: &[u8],
        content_type: &str,
        received: f64,
    ) -> Result<(), OtlpError> {
        let request = otlp::body_to_json(body, content_type)?;
        match document::request_parts(&request, &mut |part| self.add(part, received)) {
            Err(Unreadable::Spans(error)) => Err(error),
            // A request may hold no span.
            _ => Ok(()),
        }
    }

    /// Bytes of memory that the traces take, roughly.
    pub fn used(&self) -> usize {
        self.used
    }

    fn add(&mut self, part: TracePart<'_>, received: f64) {
        let id: Arc<str> = part.trace.into();
        let room = self.limit / TRACE_PART;
        let trace = self.traces.entry(Arc::clone(&id)).or_insert_with(|| {
            self.used += TRACE_BYTES + 2 * id.len();
            KeptTrace {
                version: 0,
                documents: Vec::new(),
                omitted: 0,
                bytes: 0,
                digest: None,
            }
        });
        let mut last = trace.documents.iter().rev().take(MAX_COPIES);
        if last.any(|document| *document.text == *part.text) {
            return;
        }
        let bytes = DOCUMENT_BYTES + part.text.len();
        let room = if part.root {
            room
        } else {
            room - room / ROOT_PART
        };
        if trace.bytes + bytes > room {
            trace.omitted += 1;
        } else {
            trace.documents.push(StoredDocument {
                format: part.format,
                received,
                text: part.text.into(),
            });
            trace.bytes += bytes;
            self.used += bytes;
        }
        let digest = trace.digest.take();
        self.used -= digest.map_or(0, |digest| digest.bytes());
        self.version += 1;
        self.order.remove(&trace.version);
        trace.version = self.version;
        self.order.insert(self.version, id);
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.used > self.limit
            && let Some((_, id)) = self.order.pop_first()
        {
            let Some(trace) = self.traces.remove(&id) else {
                continue;
            };
            let digest = trace.digest.as_ref().map_or(0, |digest| digest.bytes());
            self.used -= trace.bytes + digest + TRACE_BYTES + 2 * id.len();
            self.dropped += 1;
            self.version += 1;
            if self.gone.len() == MAX_GONE {
                self.gone.pop_front();
            }
            self.gone.push_back((self.version, id));
        }
    }

    /// Reads what has changed since the last time.
    fn refresh(&mut self) {
        self.refresh_some(usize::MAX);
    }

    /// Reads at most so many of the traces that have changed since the last time, and says whether
    /// there may be others. A full store would take half a second, which is too long for threads
    /// that wait for the lock.
    pub(crate) fn refresh_some(&mut self, most: usize) -> bool {
        let stale = self
            .traces
            .values_mut()
            .filter(|trace| trace.digest.is_none());
        let mut count = 0;
        for trace in stale.take(most) {
            let digest = Digest::of(&trace.documents);
            self.used += digest.bytes();
            trace.digest = Some(Box::new(digest));
            count += 1;
        }
        self.make_room();
        count == most
    }

    /// All traces with what they say, after a [`Store::refresh`].
    fn digests(&self) -> impl Iterator<Item = (&str, &KeptTrace, &Digest)> {
        self.traces
            .iter()
            .filter_map(|(id, trace)| Some((&**id, trace, trace.digest.as_deref()?)))
    }

    /// The ids of at most `most` traces that changed or were let go after a version, and whether
    /// there are others.
    fn changed_since(&self, version: u64, most: usize) -> (Vec<&str>, bool) {
        let kept = self.order.range(version + 1..).map(|(_, id)| &**id);
        let gone = self.gone.iter().filter(|(at, _)| *at > version);
        let mut ids: Vec<_> = kept
            .chain(gone.map(|(_, id)| &**id))
            .take(most + 1)
            .collect();
        // More traces may have been dropped than are remembered.
        let first_known = self.gone.front().map_or(0, |(at, _)| *at);
        let forgotten = self.gone.len() == MAX_GONE && version + 1 < first_known;
        let more = ids.len() > most || forgotten;
        ids.truncate(most);
        (ids, more)
    }
}
