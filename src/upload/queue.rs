//! The items that wait for a sender, oldest first.

use std::collections::VecDeque;

use super::item::{Item, RequestRoom};
use super::packer::Packer;
use super::sizes::Sizes;
use crate::batch::Batch;

/// Items that the empty queue keeps room for.
const USUAL: usize = 4;

/// Items that were not refused yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    sizes: Sizes,
    /// The number of items at the front that are compressed.
    compressed: usize,
}

impl Queue {
    /// Adds something new. Documents join the batch before them where one request can carry both, so
    /// that an hour of single documents becomes few requests and little memory.
    pub(super) fn push(&mut self, mut item: Item) {
        if item.documents() == 0 {
            return;
        }
        if !self.items.is_empty() {
            // It will wait, so it must not take more memory than its documents.
            item.body.shrink();
        }
        match self.items.back_mut() {
            Some(last) if !last.body.is_compressed() && last.can_join(&item) => {
                self.sizes -= &*last;
                last.join(item);
                self.sizes += &*last;
            }
            _ => {
                self.sizes += &item;
                self.items.push_back(item);
            }
        }
    }

    /// Puts an item back that could not be delivered; it is older than what waits.
    pub(super) fn requeue_front(&mut self, mut item: Item) {
        item.body.shrink();
        self.sizes += &item;
        self.items.push_front(item);
        self.compressed = 0;
    }

    /// Takes the oldest item, joined with those behind it as far as one request can carry. `None`
    /// where nothing waits or there is no room for it.
    pub(super) fn pop(&mut self, mut room: RequestRoom) -> Option<Item> {
        if !room.fits(self.items.front()?) {
            return None;
        }
        let mut item = self.pop_front()?;
        room = room.without(&item);
        item.body.open();
        while self
            .items
            .front()
            .is_some_and(|next| item.can_join(next) && room.fits(next))
            && let Some(next) = self.pop_front()
        {
            room = room.without(&next);
            item.join(next);
        }
        Some(item)
    }

    /// Compresses the oldest item that is not compressed, if all such items take more than `keep`
    /// bytes. Returns whether there was one.
    pub(super) fn compress_oldest(&mut self, keep: usize, packer: &mut Packer) -> bool {
        if self.sizes.plain <= keep {
            return false;
        }
        let mut items = self.items.iter_mut().skip(self.compressed);
        let Some(found) = items.position(|item| !item.body.is_compressed()) else {
            return false;
        };
        self.compressed += found;
        let item = &mut self.items[self.compressed];
        self.sizes -= &*item;
        item.body.compress(packer);
        self.sizes += &*item;
        self.compressed += 1;
        true
    }

    /// Compresses the oldest item. Answers whether it was not compressed before.
    pub(super) fn compress_front(&mut self, packer: &mut Packer) -> bool {
        let Some(item) = self.items.front_mut() else {
            return false;
        };
        if item.body.is_compressed() {
            return false;
        }
        self.sizes -= &*item;
        item.body.compress(packer);
        self.sizes += &*item;
        self.compressed = self.compressed.max(1);
        true
    }

    /// Adds an item among those that are older and newer.
    pub(super) fn insert(&mut self, item: Item) {
        let older = |other: &Item| other.queued_at <= item.queued_at;
        let place = self.items.iter().take_while(|other| older(other)).count();
        self.sizes += &item;
        self.items.insert(place, item);
        self.compressed = self.compressed.min(place);
    }

    /// The oldest item.
    pub(super) fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    /// Takes the oldest item as it is.
    pub(super) fn pop_front(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.sizes -= &item;
        self.compressed = self.compressed.saturating_sub(1);
        if self.items.is_empty() {
            // Releases the memory of a burst.
            self.items.shrink_to(USUAL);
        }
        Some(item)
    }

    /// Whether a further sender would have a full request to carry.
    pub(super) fn is_crowded(&self) -> bool {
        let is_full = |item: &Item| item.body.batch().is_none_or(Batch::is_full);
        self.items.len() > 1 || self.items.front().is_some_and(is_full)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn sizes(&self) -> &Sizes {
        &self.sizes
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
        let documents = item.body.batch().unwrap().documents();
        documents.map(|d| d.parse().unwrap()).collect()
    }

    const KEEP: usize = 100;

    const ROOM: RequestRoom = RequestRoom {
        request: usize::MAX,
        growth: usize::MAX,
        is_idle: true,
    };

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Pop,
        PopWithin(usize, usize),
        Compress,
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
                    (0usize..2000, 0usize..500).prop_map(|(a, b)| Step::PopWithin(a, b)),
                    Just(Step::Compress),
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
            let mut packer = Packer::default();
            for step in steps {
                match step {
                    Step::Push(n) => {
                        let fresh: Vec<u32> = (0..n.min(50)).map(|i| next + i as u32).collect();
                        next += 50;
                        model.extend(&fresh);
                        queue.push(item(&fresh));
                    }
                    Step::Pop => {
                        in_flight = queue.pop(ROOM);
                        if let Some(popped) = &in_flight {
                            let expected: Vec<u32> = model.drain(..popped.documents()).collect();
                            prop_assert_eq!(read(popped), expected);
                            prop_assert!((1..=MAX_DOCUMENTS).contains(&popped.documents()));
                        } else {
                            prop_assert!(model.is_empty());
                        }
                    }
                    Step::PopWithin(request, growth) => {
                        let room = RequestRoom { request, growth, is_idle: false };
                        let held = queue.sizes().bytes;
                        if let Some(popped) = queue.pop(room) {
                            prop_assert!(popped.body.opened_bytes() <= request);
                            let grown = queue.sizes().bytes + popped.bytes();
                            prop_assert!(grown <= held + growth);
                            let expected: Vec<u32> = model.drain(..popped.documents()).collect();
                            prop_assert_eq!(read(&popped), expected);
                        }
                    }
                    Step::Compress => {
                        let plain = queue.sizes().plain;
                        let is_compressed = queue.compress_oldest(KEEP, &mut packer);
                        prop_assert_eq!(is_compressed, plain > KEEP);
                    }
                    Step::Requeue => if let Some(item) = in_flight.take() {
                        model.splice(..0, read(&item));
                        queue.requeue_front(item);
                    },
                    Step::DropOldest => {
                        let dropped = queue.pop_front();
                        prop_assert_eq!(dropped.is_none(), model.is_empty());
                        model.drain(..dropped.map_or(0, |item| item.documents()));
                    }
                }
                prop_assert_eq!(queue.sizes().documents, model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                let mut sizes = Sizes::default();
                queue.items.iter().for_each(|item| sizes += item);
                prop_assert_eq!(queue.sizes(), &sizes);
                let front = queue.items.iter().take(queue.compressed);
                prop_assert!(front.into_iter().all(|item| item.body.is_compressed()));
            }
        }
    }
}
