//! Batches that wait for a sender, bounded in bytes.

use std::collections::VecDeque;

use super::item::Item;

/// Batches that the empty queue keeps room for.
const USUAL: usize = 4;

/// Items that were not refused yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    documents: usize,
}

impl Queue {
    /// Adds new documents. They join the batch before them where one request can carry both, so
    /// that an hour of single documents becomes few requests and little memory.
    pub(super) fn push(&mut self, mut item: Item) {
        if item.batch.is_empty() {
            return;
        }
        if !self.items.is_empty() {
            // It will wait: only what is about to leave may take more memory than its documents.
            item.batch.shrink();
        }
        self.documents += item.documents();
        match self.items.back_mut() {
            Some(last) if last.batch.can_append(&item.batch) => {
                self.bytes -= last.bytes();
                last.batch.append(&item.batch);
                self.bytes += last.bytes();
            }
            _ => {
                self.bytes += item.bytes();
                self.items.push_back(item);
            }
        }
    }

    /// Puts an item back that could not be delivered; it is older than what waits.
    pub(super) fn requeue_front(&mut self, mut item: Item) {
        item.batch.shrink();
        self.bytes += item.bytes();
        self.documents += item.documents();
        self.items.push_front(item);
    }

    /// Takes the oldest batch, joined with those behind it as far as one request can carry.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let mut item = self.pop_front()?;
        while self
            .items
            .front()
            .is_some_and(|next| item.batch.can_append(&next.batch))
            && let Some(next) = self.pop_front()
        {
            item.batch.append(&next.batch);
        }
        Some(item)
    }

    /// Drops the oldest batch. Answers how many documents were in it.
    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        self.pop_front().map(|item| item.documents())
    }

    fn pop_front(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes();
        self.documents -= item.documents();
        if self.items.is_empty() {
            // The memory of a burst goes back.
            self.items.shrink_to(USUAL);
        }
        Some(item)
    }

    /// Whether a further sender would have a full request to carry.
    pub(super) fn is_crowded(&self) -> bool {
        self.items.len() > 1 || self.items.front().is_some_and(|item| item.batch.is_full())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, MAX_DOCUMENTS};
    use proptest::prelude::*;
    use std::time::Instant;

    fn item(documents: &[u32]) -> Item {
        let mut batch = Batch::new();
        for document in documents {
            batch.push(document.to_string().as_bytes());
        }
        Item::new(batch, Instant::now())
    }

    fn read(item: &Item) -> Vec<u32> {
        let documents = item.batch.documents();
        documents.map(|d| d.parse().unwrap()).collect()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Pop,
        Requeue,
        DropOldest,
    }

    proptest! {
        /// The model is a plain list of document numbers.
        #[test]
        fn keeps_the_order_and_drops_only_the_oldest(
            steps in prop::collection::vec(
                prop_oneof![
                    (0usize..60).prop_map(Step::Push),
                    Just(Step::Pop),
                    Just(Step::Requeue),
                    Just(Step::DropOldest),
                ],
                0..60,
            ),
        ) {
            let mut queue = Queue::default();
            let mut model: Vec<u32> = Vec::new();
            let mut in_flight: Option<Item> = None;
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Push(n) => {
                        let fresh: Vec<u32> = (0..n.min(50)).map(|i| next + i as u32).collect();
                        next += 50;
                        model.extend(&fresh);
                        queue.push(item(&fresh));
                    }
                    Step::Pop => {
                        in_flight = queue.pop();
                        if let Some(popped) = &in_flight {
                            let expected: Vec<u32> = model.drain(..popped.documents()).collect();
                            prop_assert_eq!(read(popped), expected);
                            prop_assert!((1..=MAX_DOCUMENTS).contains(&popped.documents()));
                        } else {
                            prop_assert!(model.is_empty());
                        }
                    }
                    Step::Requeue => if let Some(item) = in_flight.take() {
                        model.splice(..0, read(&item));
                        queue.requeue_front(item);
                    },
                    Step::DropOldest => {
                        let dropped = queue.drop_oldest();
                        prop_assert_eq!(dropped.is_none(), model.is_empty());
                        model.drain(..dropped.unwrap_or_default());
                    }
                }
                prop_assert_eq!(queue.documents(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                let bytes: usize = queue.items.iter().map(Item::bytes).sum();
                prop_assert_eq!(queue.bytes(), bytes);
            }
        }
    }
}
