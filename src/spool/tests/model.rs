//! Any order of messages, restarts, damage and removed files, beside a model that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proptest::prelude::*;

use super::*;

/// Small, so that it is reached.
const SMALL_LIMIT: u64 = 40_000;

#[derive(Debug, Clone)]
enum Step {
    Store {
        spans: bool,
    },
    Read {
        spans: bool,
        max_bytes: usize,
    },
    Settle(prop::sample::Index),
    /// Something is stored and settled before it is read.
    StoreAndSettle {
        spans: bool,
    },
    Release(prop::sample::Index),
    Wait,
    Flush,
    Restart,
    /// One byte of one file becomes another.
    Damage(prop::sample::Index, prop::sample::Index, u8),
    Remove(prop::sample::Index),
}

fn step(with_damage: bool) -> impl Strategy<Value = Step> {
    let store = any::<bool>().prop_map(|spans| Step::Store { spans });
    let read = (any::<bool>(), 0usize..3000)
        .prop_map(|(spans, max_bytes)| Step::Read { spans, max_bytes });
    let damage = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        1u8..,
    )
        .prop_map(|(file, place, bits)| Step::Damage(file, place, bits));
    let settle_unread = any::<bool>().prop_map(|spans| Step::StoreAndSettle { spans });
    let weight = u32::from(with_damage);
    prop_oneof![
        12 => store,
        3 * (1 - weight) => settle_unread,
        4 => read,
        5 => any::<prop::sample::Index>().prop_map(Step::Settle),
        1 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => Just(Step::Wait),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
        2 * weight => damage,
        weight => any::<prop::sample::Index>().prop_map(Step::Remove),
    ]
}

struct Model {
    directory: PathBuf,
    tested: Tested,
    /// All that was ever stored, by the time received.
    stored: BTreeMap<SystemTime, SpoolItem>,
    settled: BTreeSet<SystemTime>,
    /// What is on disk to be read, by the events.
    unread: BTreeMap<XRayApi, RecordAmount>,
    /// Records that were read and are not settled.
    in_hand: Vec<(RecordId, SystemTime)>,
}

impl Model {
    fn new(directory: PathBuf) -> Self {
        Model {
            tested: Tested::empty(&directory, SMALL_LIMIT),
            directory,
            stored: BTreeMap::new(),
            settled: BTreeSet::new(),
            unread: BTreeMap::new(),
            in_hand: Vec::new(),
        }
    }

    fn unread(&mut self, destination: XRayApi) -> &mut RecordAmount {
        self.unread.entry(destination).or_default()
    }

    fn take(&mut self, destination: XRayApi, amount: RecordAmount) {
        let unread = self.unread(destination);
        let rest = unread.saturating_sub(amount);
        let mut sum = rest;
        sum += amount;
        assert_eq!(sum, *unread, "more is taken than there is");
        *unread = rest;
    }

    /// Takes the events into account. Returns whether more can be read.
    fn account(&mut self, events: Vec<SpoolEvent>) -> bool {
        let mut readable = false;
        for event in events {
            match event {
                SpoolEvent::Found {
                    destination,
                    amount,
                } => *self.unread(destination) += amount,
                SpoolEvent::Lost {
                    destination,
                    amount,
                    ..
                } => self.take(destination, amount),
                SpoolEvent::Restored { record, item } => {
                    let time = item.received_at;
                    assert_eq!(self.stored.get(&time), Some(&item), "a foreign item");
                    assert!(!self.settled.contains(&time), "sent again");
                    assert!(
                        self.in_hand.iter().all(|(_, other)| *other != time),
                        "twice"
                    );
                    self.take(item.kind.destination(), RecordAmount::of_item(&item));
                    self.in_hand.push((record, time));
                }
                SpoolEvent::ReadFinished { more, .. } => readable = more,
                SpoolEvent::Damaged { .. } => {}
                SpoolEvent::Flushed => {}
                other => panic!("{other:?}"),
            }
        }
        readable
    }

    fn read(&mut self, destination: XRayApi, max_bytes: usize) -> bool {
        let events = self.tested.read(destination, max_bytes);
        self.account(events)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Store { spans } => {
                self.store(spans);
            }
            Step::Read { spans, max_bytes } => {
                self.read(destination(spans), max_bytes);
            }
            Step::Settle(index) if !self.in_hand.is_empty() => {
                let index = index.index(self.in_hand.len());
                let (record, time) = self.in_hand.swap_remove(index);
                self.settled.insert(time);
                let events = self.tested.send(SpoolMessage::Settled(record));
                self.account(events);
            }
            Step::StoreAndSettle { spans } => {
                if let Some((record, time)) = self.store(spans) {
                    let item = &self.stored[&time];
                    let (destination, amount) =
                        (item.kind.destination(), RecordAmount::of_item(item));
                    self.settled.insert(time);
                    self.take(destination, amount);
                    let events = self.tested.send(SpoolMessage::Settled(record));
                    assert_eq!(events, []);
                }
            }
            Step::Release(index) if !self.in_hand.is_empty() => {
                let index = index.index(self.in_hand.len());
                let (record, time) = self.in_hand.swap_remove(index);
                let item = &self.stored[&time];
                let (destination, amount) = (item.kind.destination(), RecordAmount::of_item(item));
                let mut events = self.tested.send(SpoolMessage::Release(record));
                let SpoolEvent::Released { kept, .. } = events.remove(0) else {
                    panic!("{events:?}");
                };
                if kept {
                    *self.unread(destination) += amount;
                }
                self.account(events);
            }
            Step::Wait => {
                self.tested.now += Duration::from_secs(6);
                let events = self.tested.events();
                self.account(events);
            }
            Step::Flush => {
                let events = self.tested.send(SpoolMessage::Flush);
                self.account(events);
            }
            Step::Restart => self.restart(),
            Step::Damage(file, place, bits) => {
                let files = files(&self.directory);
                if !files.is_empty() {
                    let path = &files[file.index(files.len())];
                    let mut bytes = fs::read(path).unwrap();
                    let place = place.index(bytes.len());
                    bytes[place] ^= bits;
                    fs::write(path, bytes).unwrap();
                }
            }
            Step::Remove(file) => {
                let files = files(&self.directory);
                if !files.is_empty() {
                    fs::remove_file(&files[file.index(files.len())]).unwrap();
                }
            }
            Step::Settle(_) | Step::Release(_) => {}
        }
    }

    /// Returns what was stored, and where.
    fn store(&mut self, spans: bool) -> Option<(RecordId, SystemTime)> {
        let number = self.stored.len() as u64;
        let item = SpoolItem {
            received_at: at(number),
            ..if spans {
                super::spans(number)
            } else {
                super::item(number)
            }
        };
        let mut events = self.tested.send(SpoolMessage::Store {
            id: number,
            item: item.clone(),
        });
        // After a file was removed the first try only finds that out.
        if let [SpoolEvent::Problem(_), _] = events[..] {
            self.tested.now += Duration::from_secs(3);
            events = self.tested.events();
            assert_eq!(events.pop(), Some(SpoolEvent::Recovered));
            self.account(events);
            return None;
        }
        let mut stored = None;
        match events.pop() {
            Some(SpoolEvent::Stored { id, record }) => {
                assert_eq!(id, number);
                stored = Some((record, item.received_at));
                *self.unread(item.kind.destination()) += RecordAmount::of_item(&item);
                self.stored.insert(item.received_at, item);
            }
            Some(SpoolEvent::StoreFailed { error, .. }) => assert_eq!(error, StoreError::NoRoom),
            other => panic!("{other:?}"),
        }
        self.account(events);
        assert!(self.tested.usage() <= SMALL_LIMIT);
        stored
    }

    fn restart(&mut self) {
        self.tested.spool = Spool::new(SpoolSettings {
            directory: self.directory.clone(),
            limit: SMALL_LIMIT,
        });
        self.unread.clear();
        self.in_hand.clear();
        let events = self.tested.send(SpoolMessage::Open(identity()));
        self.account(events);
    }

    /// Reads and settles until there is nothing left.
    fn drain(&mut self) {
        for destination in XRayApi::ALL {
            while self.read(destination, 500) {}
        }
        for (record, time) in std::mem::take(&mut self.in_hand) {
            self.settled.insert(time);
            let events = self.tested.send(SpoolMessage::Settled(record));
            self.account(events);
        }
        assert!(
            self.unread
                .values()
                .all(|unread| *unread == RecordAmount::default()),
            "{:?}",
            self.unread
        );
        assert_eq!(self.tested.usage(), 0);
    }
}

fn destination(spans: bool) -> XRayApi {
    if spans {
        XRayApi::Otlp
    } else {
        XRayApi::Segments
    }
}

proptest! {
    // Each case synchronises files many times.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]

    #[test]
    fn everything_stored_is_read_once_or_counted_as_lost(
        steps in prop::collection::vec(step(false), 0..200),
    ) {
        let temp = TempDir::new();
        let mut model = Model::new(temp.spool());
        for step in steps {
            model.step(step);
            let on_disk: u64 = temp.files().iter().map(|f| f.metadata().unwrap().len()).sum();
            assert_eq!(on_disk, model.tested.usage());
        }
        // What the next process finds is what this one knew of.
        let mut expected = model.unread.clone();
        for (_, time) in &model.in_hand {
            let item = &model.stored[time];
            *expected.entry(item.kind.destination()).or_default() += RecordAmount::of_item(item);
        }
        expected.retain(|_, amount| *amount != RecordAmount::default());
        model.restart();
        prop_assert_eq!(&model.unread, &expected);
        let settled = model.settled.len();
        model.drain();
        let read = (model.settled.len() - settled) as u64;
        prop_assert_eq!(read, expected.values().map(|amount| amount.records).sum::<u64>());
        prop_assert_eq!(temp.files(), Vec::<PathBuf>::new());
    }

    #[test]
    fn with_damage_too_nothing_is_foreign_and_the_counts_agree(
        steps in prop::collection::vec(step(true), 0..150),
    ) {
        let temp = TempDir::new();
        let mut model = Model::new(temp.spool());
        for step in steps {
            model.step(step);
        }
        model.drain();
    }
}
