//! The memory of the last long body, in which the next one is received.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BODY_STEP;

/// Bodies whose memory is kept. That of shorter ones costs little to get again, and that of longer ones
/// would be missing elsewhere.
const KEPT: RangeInclusive<usize> = 16 * 1024..=BODY_STEP;

/// Memory of one body, for all connections. The system gives memory page by page, as it is written to,
/// which takes longer than receiving into it.
#[derive(Default)]
pub(crate) struct SpareBody(Mutex<Option<Arc<Vec<u8>>>>);

impl SpareBody {
    /// Keeps the memory of a body until nobody else needs the body any more.
    pub(super) fn keep(&self, body: &Arc<Vec<u8>>) {
        if KEPT.contains(&body.capacity()) {
            *self.lock() = Some(Arc::clone(body));
        }
    }

    /// Empty memory for a body of `length` bytes. It is no more than that: who holds a body counts its
    /// length.
    pub(super) fn take(&self, length: usize) -> Vec<u8> {
        if !KEPT.contains(&length) {
            return Vec::new();
        }
        let spare = self.lock().take();
        let mut body = spare.and_then(Arc::into_inner).unwrap_or_default();
        body.clear();
        body.shrink_to(length);
        body
    }

    /// Whether there is some.
    pub(crate) fn is_kept(&self) -> bool {
        self.lock().is_some()
    }

    /// Lets the memory go.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Vec<u8>>>> {
        // It is held for assignments only, so it cannot be left half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(length: usize) -> Arc<Vec<u8>> {
        Arc::new(vec![b'x'; length])
    }

    #[test]
    fn a_body_is_received_into_the_memory_of_one_that_is_over() {
        let spare = SpareBody::default();
        let first = body(100_000);
        spare.keep(&first);
        drop(first);
        assert!(spare.is_kept());
        let second = spare.take(90_000);
        assert_eq!((second.len(), second.capacity()), (0, 90_000));
        let third = spare.take(90_000);
        assert_eq!(third.capacity(), 0, "it was given away");
        spare.keep(&Arc::new(second));
        let longer = spare.take(200_000);
        assert_eq!(longer.capacity(), 90_000);
    }

    #[test]
    fn a_body_that_somebody_holds_is_left_alone() {
        let spare = SpareBody::default();
        let held = body(100_000);
        spare.keep(&held);
        assert_eq!(spare.take(100_000).capacity(), 0);
        assert_eq!(held.len(), 100_000);
        spare.keep(&held);
        drop(held);
        spare.clear();
        assert_eq!(spare.take(100_000).capacity(), 0);
    }

    #[test]
    fn short_and_very_long_bodies_are_not_kept() {
        let spare = SpareBody::default();
        for length in [0, KEPT.start() - 1, KEPT.end() + 1] {
            spare.keep(&body(length));
            assert!(!spare.is_kept(), "{length}");
        }
        spare.keep(&body(100_000));
        for length in [KEPT.start() - 1, KEPT.end() + 1] {
            assert_eq!(spare.take(length).capacity(), 0, "{length}");
        }
        assert!(spare.is_kept(), "for one that fits");
    }
}
