//! A spool in memory, which can be late, refuse, lose and hang.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::spool::{
    LossReason, RecordAmount, RecordId, RecordRange, SpoolEvent, SpoolItem, SpoolMessage,
    StoreError, XRayApi,
};

#[derive(Debug, Default)]
pub(super) struct FakeSpool {
    /// What it was told and has not done yet.
    inbox: VecDeque<SpoolMessage>,
    pub unread: VecDeque<(RecordId, SpoolItem)>,
    /// Read, and neither settled nor released.
    pub outstanding: BTreeMap<RecordId, SpoolItem>,
    /// It does nothing at all.
    pub hangs: bool,
    /// It stores nothing.
    pub refuses: bool,
    /// It has no room for spans.
    pub has_no_room_for_spans: bool,
    /// Released records are gone.
    pub forgets: bool,
    pub is_open: bool,
    pub flushes: usize,
    pub reads: usize,
    /// Lost records.
    pub lost: BTreeSet<RecordId>,
    /// Whether a record is gone, or was gone before its item was delivered all the same.
    has_lost: bool,
    records: u64,
}

impl FakeSpool {
    /// With what an earlier process has left.
    pub(super) fn holding(items: Vec<SpoolItem>) -> Self {
        let mut spool = FakeSpool::default();
        for item in items {
            let record = spool.new_record();
            spool.unread.push_back((record, item));
        }
        spool
    }

    fn new_record(&mut self) -> RecordId {
        self.records += 1;
        RecordId::for_test(self.records)
    }

    pub(super) fn told(&mut self, message: SpoolMessage) {
        self.inbox.push_back(message);
    }

    /// Takes what it is to do next.
    pub(super) fn next(&mut self) -> Option<SpoolMessage> {
        if self.hangs {
            return None;
        }
        self.inbox.pop_front()
    }

    /// How many items it was told to store and has not stored yet.
    pub(super) fn storing(&self) -> usize {
        let is_store = |message: &&SpoolMessage| matches!(message, SpoolMessage::Store { .. });
        self.inbox.iter().filter(is_store).count()
    }

    /// Whether it has nothing to do, or does nothing.
    pub(super) fn rests(&mut self) -> bool {
        self.hangs || self.inbox.is_empty()
    }

    /// Segments on disk that would be found by the next process.
    pub(super) fn documents(&self) -> u64 {
        self.amount(XRayApi::Segments).documents
    }

    /// What the next process would find for this API.
    pub(super) fn amount(&self, api: XRayApi) -> RecordAmount {
        let unread = self.unread.iter().map(|(_, item)| item);
        let all = unread.chain(self.outstanding.values());
        let mut amount = RecordAmount::default();
        all.filter(|item| item.kind.destination() == api)
            .for_each(|item| amount += RecordAmount::of_item(item));
        amount
    }

    /// Whether a record has ever gone that was not settled then.
    pub(super) fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// Loses the oldest record that was not read.
    pub(super) fn lose(&mut self) -> Option<SpoolEvent> {
        let (record, item) = self.unread.pop_front()?;
        self.lost.insert(record);
        self.has_lost = true;
        Some(SpoolEvent::Lost {
            destination: item.kind.destination(),
            amount: RecordAmount::of_item(&item),
            reason: LossReason::Limit,
            range: Some(RecordRange::only(record)),
        })
    }

    fn store(&mut self, id: u64, item: SpoolItem) -> SpoolEvent {
        let destination = item.kind.destination();
        let error = match () {
            () if self.refuses || !self.is_open => StoreError::Unavailable,
            () if self.has_no_room_for_spans && destination == XRayApi::Otlp => StoreError::NoRoom,
            () => {
                let record = self.new_record();
                self.unread.push_back((record, item));
                return SpoolEvent::Stored { id, record };
            }
        };
        SpoolEvent::StoreFailed {
            id,
            destination,
            error,
        }
    }

    pub(super) fn answer(&mut self, message: SpoolMessage) -> Vec<SpoolEvent> {
        match message {
            SpoolMessage::Open(_) => {
                assert!(!std::mem::replace(&mut self.is_open, true));
                let found = XRayApi::ALL.map(|destination| SpoolEvent::Found {
                    destination,
                    amount: self.amount(destination),
                });
                found.into()
            }
            SpoolMessage::Store { id, item } => vec![self.store(id, item)],
            SpoolMessage::Read {
                destination,
                max_bytes,
                ..
            } => self.read(destination, max_bytes),
            SpoolMessage::Settled(record) => {
                let was_read = self.outstanding.remove(&record).is_some();
                let before = self.unread.len();
                self.unread.retain(|(unread, _)| *unread != record);
                let is_known = was_read || self.unread.len() < before;
                assert!(is_known || self.lost.remove(&record), "settled twice");
                Vec::new()
            }
            SpoolMessage::Release(record) => {
                let mut kept = !self.forgets;
                match self.outstanding.remove(&record) {
                    Some(item) if kept => self.unread.push_front((record, item)),
                    Some(_) => {}
                    None => {
                        kept &= self.unread.iter().any(|(unread, _)| *unread == record);
                        self.unread.retain(|(unread, _)| kept || *unread != record);
                    }
                }
                self.has_lost |= !kept;
                vec![SpoolEvent::Released { record, kept }]
            }
            SpoolMessage::Flush => {
                self.flushes += 1;
                vec![SpoolEvent::Flushed]
            }
        }
    }

    fn first(&self, destination: XRayApi) -> Option<usize> {
        let mut unread = self.unread.iter();
        unread.position(|(_, item)| item.kind.destination() == destination)
    }

    fn read(&mut self, destination: XRayApi, max_bytes: usize) -> Vec<SpoolEvent> {
        self.reads += 1;
        let mut events = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes.max(1)
            && let Some(index) = self.first(destination)
            && let Some((record, item)) = self.unread.remove(index)
        {
            bytes += item.body.bytes().len();
            self.outstanding.insert(record, item.clone());
            events.push(SpoolEvent::Restored { record, item });
        }
        let more = self.first(destination).is_some();
        events.push(SpoolEvent::ReadFinished { destination, more });
        events
    }
}
