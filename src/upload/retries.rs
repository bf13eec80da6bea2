//! Batches that X-Ray has refused, whole or in part, each with a time of its own.

use std::time::Instant;

use super::item::{History, Item, RetryCause};

/// Items with a [`History`], in the order in which they were refused. They wait apart from the
/// queue, so that a bad document does not hold up its neighbours.
#[derive(Debug, Default)]
pub(super) struct Retries {
    items: Vec<Item>,
    bytes: usize,
    documents: usize,
}

impl Retries {
    pub(super) fn push(&mut self, mut item: Item, history: History) {
        if item.batch.is_empty() {
            return;
        }
        item.batch.shrink();
        item.history = Some(history);
        self.bytes += item.bytes();
        self.documents += item.documents();
        self.items.push(item);
    }

    /// Takes the item that may go first. `deliveries` tells whether others passed since a refusal,
    /// `is_alone` that nothing else waits: a batch that answers 400 without a reason is then halved,
    /// since waiting for others to pass would be waiting for nothing.
    pub(super) fn pop(&mut self, deliveries: u64, is_alone: bool, now: Instant) -> Option<Item> {
        let index = self.first(now)?;
        let item = self.remove(index);
        let Some(history) = item.history else {
            return Some(item);
        };
        let others_passed = deliveries > history.last_refusal;
        if history.cause == RetryCause::Suspected
            && item.documents() > 1
            && (others_passed || is_alone)
        {
            let (first, second) = item.batch.split();
            let half = |batch| Item {
                batch,
                queued_at: item.queued_at,
                history: Some(History::new(RetryCause::Suspected, deliveries, now)),
            };
            let second = half(second);
            self.bytes += second.bytes();
            self.documents += second.documents();
            self.items.insert(index, second);
            return Some(half(first));
        }
        Some(item)
    }

    /// When the first item may go. `None` without any.
    pub(super) fn next_time(&self) -> Option<Instant> {
        self.items.iter().filter_map(not_before).min()
    }

    /// Drops the item that was refused first. Answers how many documents were in it.
    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        (!self.items.is_empty()).then(|| self.remove(0).documents())
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
        self.bytes -= item.bytes();
        self.documents -= item.documents();
        if self.items.is_empty() {
            self.items.shrink_to(0);
        }
        item
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn documents(&self) -> usize {
        self.documents
    }
}

fn not_before(item: &Item) -> Option<Instant> {
    Some(item.history?.not_before)
}
