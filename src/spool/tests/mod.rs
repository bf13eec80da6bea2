//! What all tests of the spool need: items, a directory of their own, and a spool in it.

mod directory;
mod disk;
mod files;
mod format;
mod model;
mod process;
mod reader;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::state::Spool;
use super::*;
use crate::batch::compressed::Compressor;

/// A directory of its own for each test, removed at the end.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("xray-spool-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        TempDir(path)
    }

    /// The directory of the spool, which the spool creates.
    fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// The spool files, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        files(&self.spool())
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some()).collect();
    files.sort();
    files
}

fn identity() -> SpoolIdentity {
    SpoolIdentity::new("eu-west-1", "https://xray.eu-west-1.amazonaws.com", "")
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn item_of(body: &[u8], count: usize, kind: BodyKind, received_at: SystemTime) -> SpoolItem {
    SpoolItem {
        body: Arc::new(Compressor::default().compress(body, count)),
        kind,
        received_at,
        attempts: 3,
    }
}

/// A body of one document that nobody else has.
fn item(number: u64) -> SpoolItem {
    let body = format!(r#"{{"TraceSegmentDocuments":["{{\"id\":\"{number:016x}\"}}"]}}"#);
    item_of(
        body.as_bytes(),
        1,
        BodyKind::Segments,
        at(1_000_000 + number),
    )
}

fn spans(number: u64) -> SpoolItem {
    let kind = BodyKind::Otlp {
        json: false,
        gzip: true,
    };
    item_of(&number.to_le_bytes(), 1, kind, at(number))
}

/// A spool whose clock the test sets.
struct Tested {
    spool: Spool,
    now: Instant,
    /// Where what was lost stood. It is not in the events.
    lost: Vec<RecordRange>,
}

const LIMIT: u64 = 1 << 20;

impl Tested {
    /// The spool of a process that has just started.
    fn start(directory: &Path, limit: u64) -> (Self, Vec<SpoolEvent>) {
        let mut tested = Tested {
            spool: Spool::new(SpoolSettings {
                directory: directory.to_owned(),
                limit,
            }),
            now: Instant::now(),
            lost: Vec::new(),
        };
        let events = tested.send(SpoolMessage::Open(identity()));
        (tested, events)
    }

    /// One that finds nothing.
    fn empty(directory: &Path, limit: u64) -> Self {
        let (tested, events) = Self::start(directory, limit);
        assert_eq!(events, []);
        tested
    }

    /// All that happens at the message, but for the usage.
    fn send(&mut self, message: SpoolMessage) -> Vec<SpoolEvent> {
        self.spool.handle(message, self.now);
        self.events()
    }

    fn events(&mut self) -> Vec<SpoolEvent> {
        self.spool.tick(self.now);
        let mut events = self.spool.take_events();
        events.retain(|event| !matches!(event, SpoolEvent::Usage(_)));
        for event in &mut events {
            if let SpoolEvent::Lost { range, .. } = event {
                self.lost.extend(range.take());
            }
        }
        events
    }

    /// Stores what there is room for.
    fn store(&mut self, item: &SpoolItem) -> RecordId {
        let item = item.clone();
        match self.send(SpoolMessage::Store { id: 7, item })[..] {
            [SpoolEvent::Stored { id: 7, record }] => record,
            ref events => panic!("{events:?}"),
        }
    }

    fn read(&mut self, destination: XRayApi, max_bytes: usize) -> Vec<SpoolEvent> {
        self.send(SpoolMessage::Read {
            destination,
            max_bytes,
            not_before: UNIX_EPOCH,
        })
    }

    /// All segments that can be read, and what else happens at it.
    fn drain(&mut self) -> (Vec<(RecordId, SpoolItem)>, Vec<SpoolEvent>) {
        let (mut items, mut others) = (Vec::new(), Vec::new());
        loop {
            let mut more = false;
            for event in self.read(XRayApi::Segments, 1000) {
                match event {
                    SpoolEvent::Restored { record, item } => items.push((record, item)),
                    SpoolEvent::ReadFinished { more: m, .. } => more = m,
                    other => others.push(other),
                }
            }
            if !more {
                return (items, others);
            }
        }
    }

    /// All segments that can be read, where nothing else happens.
    fn drain_items(&mut self) -> Vec<SpoolItem> {
        let (items, others) = self.drain();
        assert_eq!(others, []);
        items.into_iter().map(|(_, item)| item).collect()
    }

    fn settle(&mut self, record: RecordId) {
        assert_eq!(self.send(SpoolMessage::Settled(record)), []);
    }

    fn usage(&self) -> u64 {
        self.spool.bytes(None)
    }
}

fn amount<'a>(items: impl IntoIterator<Item = &'a SpoolItem>) -> RecordAmount {
    let mut amount = RecordAmount::default();
    for item in items {
        amount += RecordAmount::of_item(item);
    }
    amount
}

fn found<'a>(items: impl IntoIterator<Item = &'a SpoolItem>) -> SpoolEvent {
    SpoolEvent::Found {
        destination: XRayApi::Segments,
        amount: amount(items),
    }
}

fn lost<'a>(items: impl IntoIterator<Item = &'a SpoolItem>, reason: LossReason) -> SpoolEvent {
    SpoolEvent::Lost {
        destination: XRayApi::Segments,
        amount: amount(items),
        reason,
        range: None,
    }
}
