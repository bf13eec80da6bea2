//! Documents that wait for a lane: a queue of batches, bounded in bytes.

use std::collections::VecDeque;

use crate::batch::Batch;

/// Batches that the empty queue keeps room for.
const USUAL: usize = 4;

/// Batches, oldest first. When the limit is passed, the oldest go.
#[derive(Debug)]
pub struct Pending {
    queue: VecDeque<Batch>,
    bytes: usize,
    limit: usize,
}

impl Pending {
    /// A queue of at most `limit` bytes of request bodies, those in flight included.
    pub fn new(limit: usize) -> Self {
        Pending {
            queue: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Adds new documents. They join the batch before them where one request can carry both, so
    /// that an hour of single documents becomes few requests and little memory.
    pub fn push(&mut self, mut batch: Batch) {
        // The open batch may have filled up and gone while it was looked at.
        if batch.is_empty() {
            return;
        }
        if !self.queue.is_empty() {
            // It will wait: only what is about to leave may take more memory than its documents.
            batch.shrink();
        }
        match self.queue.back_mut() {
            Some(last) if last.takes(&batch) => {
                self.bytes -= last.body().len();
                last.append(&batch);
                self.bytes += last.body().len();
            }
            _ => {
                self.bytes += batch.body().len();
                self.queue.push_back(batch);
            }
        }
    }

    /// Puts back documents that could not be delivered; they are the oldest.
    pub fn put_back(&mut self, mut batch: Batch) {
        batch.shrink();
        self.bytes += batch.body().len();
        self.queue.push_front(batch);
    }

    /// Takes the oldest batch, joined with those behind it as far as one request can carry.
    pub fn pop(&mut self) -> Option<Batch> {
        let mut batch = self.queue.pop_front()?;
        self.bytes -= batch.body().len();
        while let Some(next) = self.queue.front().filter(|next| batch.takes(next)) {
            self.bytes -= next.body().len();
            batch.append(next);
            self.queue.pop_front();
        }
        Some(batch)
    }

    /// Drops the oldest batches until the queue and `in_flight` bytes are within the limit.
    /// Answers how many documents were dropped.
    pub fn spill(&mut self, in_flight: usize) -> usize {
        let mut spilled = 0;
        while self.bytes + in_flight > self.limit
            && let Some(oldest) = self.queue.pop_front()
        {
            self.bytes -= oldest.body().len();
            spilled += oldest.len();
        }
        if self.queue.is_empty() {
            // The memory of a burst goes back.
            self.queue.shrink_to(USUAL);
        }
        spilled
    }

    /// Whether the oldest batch is worth a further lane: it fills a request, or batches wait
    /// behind it.
    pub fn is_crowded(&self) -> bool {
        self.queue.len() > 1 || self.queue.front().is_some_and(Batch::is_full)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of the bodies that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of batches that wait.
    pub fn batches(&self) -> usize {
        self.queue.len()
    }

    /// Number of documents that wait.
    pub fn documents(&self) -> usize {
        self.queue.iter().map(Batch::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(documents: &[u32]) -> Batch {
        let mut batch = Batch::new();
        for document in documents {
            batch.push(document.to_string().as_bytes());
        }
        batch
    }

    fn read(batch: &Batch) -> Vec<u32> {
        batch.documents().map(|d| d.parse().unwrap()).collect()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Pop,
        PutBack,
        SplitAndPutBack,
        Spill(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0usize..60).prop_map(Step::Push),
            Just(Step::Pop),
            Just(Step::PutBack),
            Just(Step::SplitAndPutBack),
            (0usize..500).prop_map(Step::Spill),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        /// The model is a plain list of document numbers.
        #[test]
        fn keeps_order_and_loses_only_the_oldest(steps in steps(), limit in 300usize..3000) {
            let mut pending = Pending::new(limit);
            let mut model: Vec<u32> = Vec::new();
            let mut flying: Option<Batch> = None;
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Push(n) => {
                        let fresh: Vec<u32> = (0..n.min(50)).map(|i| next + i as u32).collect();
                        next += 50;
                        model.extend(&fresh);
                        pending.push(batch(&fresh));
                    }
                    Step::Pop => {
                        let popped = pending.pop();
                        if let Some(popped) = &popped {
                            let expected: Vec<u32> = model.drain(..popped.len()).collect();
                            prop_assert_eq!(read(popped), expected);
                            prop_assert!(!popped.is_empty());
                            prop_assert!(popped.len() <= crate::batch::MAX_DOCUMENTS);
                        } else {
                            prop_assert!(model.is_empty());
                        }
                        flying = popped;
                    }
                    Step::PutBack => if let Some(batch) = flying.take() {
                        model.splice(..0, read(&batch));
                        pending.put_back(batch);
                    },
                    Step::SplitAndPutBack => if let Some(batch) = flying.take() {
                        model.splice(..0, read(&batch));
                        let (first, second) = batch.split();
                        if !second.is_empty() { pending.put_back(second); }
                        if !first.is_empty() { pending.put_back(first); }
                    },
                    Step::Spill(in_flight) => {
                        let spilled = pending.spill(in_flight);
                        model.drain(..spilled);
                        prop_assert!(pending.is_empty() || pending.bytes() + in_flight <= limit);
                    }
                }
                prop_assert_eq!(pending.documents(), model.len());
                prop_assert_eq!(pending.is_empty(), model.is_empty());
            }
        }
    }
}
