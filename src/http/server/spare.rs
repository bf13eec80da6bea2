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
