//! A batch on its way through the uploader.

use std::time::Instant;

use crate::batch::Batch;

/// A batch and its history.
#[derive(Debug)]
pub(super) struct Item {
    pub batch: Batch,
    /// When the uploader got its oldest document.
    pub queued_at: Instant,
    /// Set once X-Ray has refused it or part of it.
    pub history: Option<History>,
}

/// How an item has fared so far. Deliveries are counted by the destination: whether others passed
/// since a refusal tells a bad document from a service that takes nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub cause: RetryCause,
    /// Refusals of exactly these documents.
    pub attempts: u32,
    /// Deliveries before the first of them.
    pub first_refusal: u64,
    /// Deliveries before the last of them.
    pub last_refusal: u64,
    /// Not to be sent before this time.
    pub not_before: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryCause {
    /// The answer to it was 400 or 413 and did not say why.
    Suspected,
    /// A part of a batch that was refused.
    Split,
    /// X-Ray took others of the same request and asked to send these again.
    Unprocessed,
}

impl History {
    /// Of documents that were not refused alone yet. `deliveries` is the count of now.
    pub(super) fn new(cause: RetryCause, deliveries: u64, not_before: Instant) -> Self {
        History {
            cause,
            attempts: 0,
            first_refusal: deliveries,
            last_refusal: deliveries,
            not_before,
        }
    }
}

impl Item {
    pub(super) fn new(batch: Batch, now: Instant) -> Self {
        Item {
            batch,
            queued_at: now,
            history: None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.batch.body().len()
    }

    pub(super) fn documents(&self) -> usize {
        self.batch.len()
    }
}
