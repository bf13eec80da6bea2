//! Where requests go: nothing at first, then the target, nothing again after the stop.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::credentials::target::Target;

#[derive(Default)]
pub(super) struct TargetSlot {
    known: Mutex<KnownTarget>,
    changed: Condvar,
}

#[derive(Default)]
enum KnownTarget {
    #[default]
    NotYet,
    Is(Arc<Target>),
    Stopped,
}

impl TargetSlot {
    /// Sets the target, unless [`stop`](Self::stop) was called.
    pub(super) fn set(&self, target: Arc<Target>) {
        let mut known = self.lock();
        if !matches!(*known, KnownTarget::Stopped) {
            *known = KnownTarget::Is(target);
            self.changed.notify_all();
        }
    }

    /// The target. Waits at most `limit` until it is set.
    pub(super) fn wait(&self, limit: Duration) -> Option<Arc<Target>> {
        let (known, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |known| {
                matches!(known, KnownTarget::NotYet)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match &*known {
            KnownTarget::Is(target) => Some(Arc::clone(target)),
            KnownTarget::NotYet | KnownTarget::Stopped => None,
        }
    }

    /// From now on [`wait`](Self::wait) returns `None` at once. Returns the target, if it was set.
    pub(super) fn stop(&self) -> Option<Arc<Target>> {
        let before = std::mem::replace(&mut *self.lock(), KnownTarget::Stopped);
        self.changed.notify_all();
        match before {
            KnownTarget::Is(target) => Some(target),
            KnownTarget::NotYet | KnownTarget::Stopped => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, KnownTarget> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
