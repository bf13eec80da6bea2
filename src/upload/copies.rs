//! Knows which of the held items have a copy in the spool, or one that is on its way there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::item::{ITEM_MEMORY, Item};
use crate::spool::{RecordAmount, RecordId, RecordRange, STORE_WINDOW, SpoolItem, XRayApi};

/// If the spool has not answered after this time, the item may be sent although it is being stored:
/// the disk may hang for ever.
const OVERDUE: Duration = Duration::from_secs(1);

/// Most items on their way to the spool. All of them are looked at for each thing that happens, and the spool
/// has enough to do with so many.
pub(super) const MOST_STORING: usize = 64;

/// The link from an item to its copy. Each part of an item that was split has one.
#[derive(Debug, Clone)]
pub(super) struct CopyRef {
    id: u64,
    /// Documents of the copy.
    documents: usize,
    /// Counts the parts that are held.
    parts: Arc<()>,
}

impl CopyRef {
    /// Whether these are all documents of the copy.
    pub(super) fn is_whole(&self, documents: usize) -> bool {
        self.documents == documents
    }
}

/// Where a copy is.
#[derive(Debug)]
enum Copy {
    /// On its way to the spool. The item waits here meanwhile, unless it is in flight.
    Storing {
        item: Option<Item>,
        since: Instant,
        amount: RecordAmount,
    },
    /// On its way to the spool, and not needed any more.
    Superfluous,
    /// In the spool, and not read since it was stored: the item was in flight meanwhile.
    Stored(RecordId, RecordAmount),
    /// In the spool, from which it was read.
    Read(RecordId),
}

impl Copy {
    /// Whether an item waits that may go out to this API. A part of another record has a copy already, so that it
    /// can have no second one: it waits for the answer.
    fn can_go(&self, api: XRayApi) -> bool {
        match self {
            Copy::Storing {
                item: Some(item), ..
            } => item.copy.is_none() && item.body.api() == api,
            _ => false,
        }
    }

    fn since(&self) -> Option<Instant> {
        match self {
            Copy::Storing { since, .. } => Some(*since),
            _ => None,
        }
    }
}

/// What to do with an item that cannot be sent now.
#[derive(Debug)]
pub(super) enum PutAway {
    /// It is in the spool and can stay there only, unless the spool has lost it meanwhile.
    Release(RecordId, Item),
    /// It is on its way to the spool, and waits for the answer.
    OnItsWay,
    /// The spool has nothing, or only a part of it.
    Store(Item),
}

/// What has become of an item that was stored.
#[derive(Debug)]
pub(super) enum Stored {
    /// It is in the spool only.
    Moved(Item),
    /// It is in flight, or was split; the copy stays until the item has ended.
    Copied,
    /// It has ended: the spool needs it no more.
    Superfluous,
}

#[derive(Debug)]
pub(super) struct SpoolCopies {
    /// Most bytes on their way to the spool.
    window: usize,
    copies: BTreeMap<u64, Copy>,
    last_id: u64,
    /// Compressed bytes of all that is on its way to the spool.
    storing: BTreeMap<u64, usize>,
    storing_bytes: usize,
    /// While a `Read` is under way: the records that were settled since it was sent and before they were
    /// read, because it may still return them.
    settled_unread: Option<BTreeSet<RecordId>>,
}

impl SpoolCopies {
    /// At most a quarter of `buffer` may be on its way to the spool, because such items can be
    /// neither sent nor dropped.
    pub(super) fn new(buffer: usize) -> Self {
        SpoolCopies {
            window: STORE_WINDOW.min(buffer / 4),
            copies: BTreeMap::new(),
            last_id: 0,
            storing: BTreeMap::new(),
            storing_bytes: 0,
            settled_unread: None,
        }
    }

    /// Whether this many more bytes may be sent to the spool. One body always may.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.storing.is_empty()
            || self.storing.len() < MOST_STORING && self.storing_bytes + bytes <= self.window
    }

    fn add(&mut self, copy: Copy, documents: usize) -> CopyRef {
        self.last_id += 1;
        self.copies.insert(self.last_id, copy);
        CopyRef {
            id: self.last_id,
            documents,
            parts: Arc::default(),
        }
    }

    /// A record was read from the spool. `None`: its item is held already, or was settled after the
    /// `Read` was sent.
    pub(super) fn read(&mut self, record: RecordId, documents: usize) -> Option<CopyRef> {
        let settled = self.settled_unread.as_mut();
        if settled.is_some_and(|settled| settled.remove(&record)) {
            return None;
        }
        let is_it = |copy: &&mut Copy| matches!(copy, Copy::Stored(stored, _) if *stored == record);
        if let Some(copy) = self.copies.values_mut().find(is_it) {
            *copy = Copy::Read(record);
            return None;
        }
        Some(self.add(Copy::Read(record), documents))
    }

    /// The spool has lost what stood there. Answers how much of it were copies of what is held: they are
    /// in no count of the spool, and are made anew.
    pub(super) fn lost(&mut self, range: &RecordRange) -> RecordAmount {
        let mut amount = RecordAmount::default();
        self.copies.retain(|_, copy| match copy {
            Copy::Stored(record, stored) if range.contains(*record) => {
                amount += *stored;
                false
            }
            _ => true,
        });
        amount
    }

    /// A `Read` is sent. Records that were settled before are not read any more.
    pub(super) fn read_begins(&mut self) {
        self.settled_unread = Some(BTreeSet::new());
    }

    /// Nothing is being read any more.
    pub(super) fn read_finished(&mut self) {
        self.settled_unread = None;
    }

    /// Whether a `Read` is under way.
    pub(super) fn is_reading(&self) -> bool {
        self.settled_unread.is_some()
    }

    fn settled_before_read(&mut self, record: RecordId) {
        if let Some(settled) = &mut self.settled_unread {
            settled.insert(record);
        }
    }

    /// An item is sent to the spool, and waits here. Returns its number.
    pub(super) fn store(&mut self, item: Item, now: Instant) -> u64 {
        let (bytes, documents) = (item.bytes(), item.documents());
        let copy = Copy::Storing {
            amount: RecordAmount::of(documents, item.body.opened_bytes()),
            item: Some(item),
            since: now,
        };
        let id = self.add(copy, documents).id;
        self.begin(id, bytes);
        id
    }

    /// A copy of an item in flight is sent to the spool. Returns its number and the item's link to
    /// it.
    pub(super) fn store_copy(&mut self, item: &SpoolItem, now: Instant) -> (u64, CopyRef) {
        let copy = Copy::Storing {
            item: None,
            since: now,
            amount: RecordAmount::of_item(item),
        };
        let reference = self.add(copy, item.body.count());
        self.begin(reference.id, item.body.bytes().len() + ITEM_MEMORY);
        (reference.id, reference)
    }

    fn begin(&mut self, id: u64, bytes: usize) {
        self.storing.insert(id, bytes);
        self.storing_bytes += bytes;
    }

    fn end(&mut self, id: u64) {
        self.storing_bytes -= self.storing.remove(&id).unwrap_or_default();
    }

    /// The spool has stored the copy with this number.
    pub(super) fn stored(&mut self, id: u64, record: RecordId) -> Stored {
        self.end(id);
        match self.copies.remove(&id) {
            Some(Copy::Storing {
                item: Some(item), ..
            }) => Stored::Moved(item),
            Some(Copy::Storing {
                item: None, amount, ..
            }) => {
                self.copies.insert(id, Copy::Stored(record, amount));
                Stored::Copied
            }
            _ => {
                self.settled_before_read(record);
                Stored::Superfluous
            }
        }
    }

    /// The spool has not stored the copy with this number. Returns the item, if it waited here.
    pub(super) fn failed(&mut self, id: u64) -> Option<Item> {
        self.end(id);
        match self.copies.remove(&id) {
            Some(Copy::Storing { item, .. }) => item,
            _ => None,
        }
    }

    /// The item, or this part of it, has ended. Returns the record to settle, if this was the last
    /// part and all of it is in the spool.
    pub(super) fn ended(&mut self, copy: Option<CopyRef>) -> Option<RecordId> {
        let CopyRef { id, parts, .. } = copy?;
        Arc::into_inner(parts)?;
        match self.copies.remove(&id)? {
            Copy::Read(record) => Some(record),
            Copy::Stored(record, _) => {
                self.settled_before_read(record);
                Some(record)
            }
            Copy::Storing { .. } | Copy::Superfluous => {
                self.copies.insert(id, Copy::Superfluous);
                None
            }
        }
    }

    /// The item is to leave the memory.
    pub(super) fn put_away(&mut self, item: Item) -> PutAway {
        let Some(copy) = item
            .copy
            .as_ref()
            .filter(|copy| copy.is_whole(item.documents()))
        else {
            return PutAway::Store(item);
        };
        let id = copy.id;
        match self.copies.remove(&id) {
            Some(Copy::Read(record) | Copy::Stored(record, _)) => PutAway::Release(record, item),
            Some(Copy::Storing { since, amount, .. }) => {
                let item = Some(Item { copy: None, ..item });
                let copy = Copy::Storing {
                    item,
                    since,
                    amount,
                };
                self.copies.insert(id, copy);
                PutAway::OnItsWay
            }
            Some(Copy::Superfluous) | None => PutAway::Store(Item { copy: None, ..item }),
        }
    }

    /// When the next item that waits here may go out although the spool has not answered. With
    /// `is_over` the spool's answers are not waited for.
    pub(super) fn overdue(&self, api: XRayApi, is_over: bool) -> Option<Instant> {
        let mut copies = self.on_their_way();
        let since = copies.find_map(|copy| copy.can_go(api).then_some(copy.since()?))?;
        Some(if is_over { since } else { since + OVERDUE })
    }

    /// Takes the first item that waits here.
    pub(super) fn pop(&mut self, api: XRayApi) -> Option<Item> {
        let can_go = |id: &&u64| self.copies.get(id).is_some_and(|copy| copy.can_go(api));
        let id = *self.storing.keys().find(can_go)?;
        let Some(Copy::Storing { item, .. }) = self.copies.get_mut(&id) else {
            return None;
        };
        let item = item.take()?;
        let copy = CopyRef {
            id,
            documents: item.documents(),
            parts: Arc::default(),
        };
        Some(Item {
            copy: Some(copy),
            ..item
        })
    }

    /// Whether nothing is on its way to the spool.
    pub(super) fn is_idle(&self) -> bool {
        self.storing.is_empty()
    }

    /// The items that wait here.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Item> {
        self.on_their_way().filter_map(|copy| match copy {
            Copy::Storing { item, .. } => item.as_ref(),
            _ => None,
        })
    }

    /// The copies for which the spool has not answered: few, where the others may be all that is held.
    fn on_their_way(&self) -> impl Iterator<Item = &Copy> {
        self.storing.keys().filter_map(|id| self.copies.get(id))
    }

    /// Whether there is a copy. There is none if the spool has refused to store it.
    pub(super) fn has(&self, copy: Option<&CopyRef>) -> bool {
        copy.is_some_and(|copy| self.copies.contains_key(&copy.id))
    }

    /// Whether this copy is in the spool.
    pub(super) fn is_stored(&self, copy: &CopyRef) -> bool {
        matches!(
            self.copies.get(&copy.id),
            Some(Copy::Read(_) | Copy::Stored(..))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::batch::compressed::Compressor;
    use crate::spool::BodyKind;
    use std::time::SystemTime;

    /// A copy is made, stored, and settled because its item was delivered. Returns the record.
    fn settle_one(copies: &mut SpoolCopies, number: u64) -> RecordId {
        let item = SpoolItem {
            body: Arc::new(Batch::new().compress(&mut Compressor::default())),
            kind: BodyKind::Segments,
            received_at: SystemTime::now(),
            attempts: 0,
        };
        let (id, copy) = copies.store_copy(&item, Instant::now());
        let record = RecordId::for_test(number);
        assert!(matches!(copies.stored(id, record), Stored::Copied));
        assert_eq!(copies.ended(Some(copy)), Some(record));
        record
    }

    #[test]
    fn settled_records_are_remembered_only_while_they_may_still_be_read() {
        let mut copies = SpoolCopies::new(1_000_000);
        copies.read_begins();
        let record = settle_one(&mut copies, 1);
        assert!(copies.read(record, 1).is_none());
        copies.read_finished();
        for number in 2..100 {
            settle_one(&mut copies, number);
        }
        assert_eq!(copies.settled_unread, None);
        assert!(copies.copies.is_empty() && copies.storing.is_empty());
    }
}
