//! Items that X-Ray has refused, completely or in part, each with its own time for the next
//! attempt.

use std::time::Instant;

use super::item::{History, Item, RequestRoom, RetryCause, Split};
use super::packer::Packer;
use super::sizes::Sizes;

/// Items with a [`History`], in the order in which they were refused. They wait apart from the
/// queue, so that a bad document does not hold up its neighbours.
#[derive(Debug, Default)]
pub(super) struct Retries {
    items: Vec<Item>,
    sizes: Sizes,
}

impl Retries {
    pub(super) fn push(&mut self, mut item: Item, history: History) {
        if item.documents() == 0 {
            return;
        }
        item.body.shrink();
        item.history = Some(history);
        self.sizes += &item;
        self.items.push(item);
    }

    /// Takes the item that may go first. `deliveries` shows whether others were delivered since a
    /// refusal; `is_alone` means that nothing else waits: then a batch that was answered 400
    /// without a reason is halved, because there are no others to wait for. `None` where no item is
    /// due or there is no room for it.
    pub(super) fn pop(
        &mut self,
        deliveries: u64,
        is_alone: bool,
        room: RequestRoom,
        now: Instant,
    ) -> Option<Item> {
        let index = self.first(now)?;
        if !room.fits(&self.items[index]) {
            return None;
        }
        let mut item = self.remove(index);
        let is_to_be_halved = item.history.is_some_and(|history| {
            let others_passed = deliveries > history.last_refusal;
            match history.cause {
                RetryCause::Suspected => others_passed || is_alone,
                RetryCause::Failed => others_passed,
                RetryCause::Split | RetryCause::Unprocessed => false,
            }
        });
        if let Some(history) = item.history.filter(|_| is_to_be_halved) {
            let history = Some(History::new(history.cause, deliveries, now));
            match item.split() {
                Split::Halves([mut first, mut second]) => {
                    first.history = history;
                    second.history = history;
                    self.sizes += &second;
                    self.items.insert(index, second);
                    return Some(first);
                }
                Split::Whole(whole) => item = whole,
            }
        }
        item.body.open();
        Some(item)
    }

    /// Compresses the first item that is not compressed. Returns whether there was one.
    pub(super) fn compress_oldest(&mut self, packer: &mut Packer) -> bool {
        if self.sizes.plain == 0 {
            return false;
        }
        let mut items = self.items.iter_mut();
        let Some(item) = items.find(|item| !item.body.is_compressed()) else {
            return false;
        };
        self.sizes -= &*item;
        item.body.compress(packer);
        self.sizes += &*item;
        true
    }

    /// When the first item may go. `None` without any.
    pub(super) fn next_time(&self) -> Option<Instant> {
        self.items.iter().filter_map(not_before).min()
    }

    /// Everything that waits.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// The same. The bodies must not be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.items.iter_mut()
    }

    /// Takes the item that was refused first as it is.
    pub(super) fn pop_front(&mut self) -> Option<Item> {
        (!self.items.is_empty()).then(|| self.remove(0))
    }

    /// Takes an item as it is that stepped aside and was queued before this time.
    pub(super) fn pop_failed(&mut self, than: Instant) -> Option<Item> {
        let is_older = |item: &Item| stepped_aside(item) && item.queued_at <= than;
        let index = self.items.iter().position(is_older)?;
        Some(self.remove(index))
    }

    /// When the oldest item was queued that stepped aside. `None` without any.
    pub(super) fn oldest_failed(&self) -> Option<Instant> {
        let failed = self.items.iter().filter(|item| stepped_aside(item));
        failed.map(|item| item.queued_at).min()
    }

    /// Lets every item go at once, because there is no later.
    pub(super) fn begin_shutdown(&mut self, now: Instant) {
        for history in self
            .items
            .iter_mut()
            .filter_map(|item| item.history.as_mut())
        {
            history.not_before = history.not_before.min(now);
        }
    }

    fn first(&self, now: Instant) -> Option<usize> {
        let is_due = |item: &Item| not_before(item).is_some_and(|at| at <= now);
        self.items.iter().position(is_due)
    }

    fn remove(&mut self, index: usize) -> Item {
        let item = self.items.remove(index);
        self.sizes -= &item;
        if self.items.is_empty() {
            self.items.shrink_to(0);
        }
        item
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn sizes(&self) -> &Sizes {
        &self.sizes
    }
}

fn not_before(item: &Item) -> Option<Instant> {
    Some(item.history?.not_before)
}
/// Whether the service failed at it, and did not refuse it.
fn stepped_aside(item: &Item) -> bool {
    item.history
        .is_some_and(|history| history.cause == RetryCause::Failed)
}
