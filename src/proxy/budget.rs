//! A shared limit on memory: each client takes bytes from it and gives them back.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A number of bytes that is shared out.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    limit: usize,
    state: Mutex<BudgetState>,
    /// Signalled when bytes are given back while somebody waits.
    freed: Condvar,
}

#[derive(Debug, Default)]
struct BudgetState {
    /// Bytes that are taken.
    used: usize,
    /// Threads that wait for bytes. Without them a signal would be a system call for nobody.
    waiting: usize,
}

/// A part of a [`ByteBudget`]. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl ByteBudget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(ByteBudget {
            limit,
            state: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are taken now.
    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    /// Takes `bytes`, if so many are free.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let mut charge = Charge {
            budget: Arc::clone(self),
            bytes: 0,
        };
        charge.resize(bytes).then_some(charge)
    }

    /// The same, but waits up to `limit` until enough bytes are free.
    pub(crate) fn wait(self: &Arc<Self>, bytes: usize, limit: Duration) -> Option<Charge> {
        let deadline = Instant::now() + limit;
        loop {
            let mut state = self.lock();
            if state.used.saturating_add(bytes) <= self.limit {
                drop(state);
                match self.charge(bytes) {
                    None => continue,
                    charge => return charge,
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state.waiting += 1;
            // The loop checks again after a wake-up and after a time-out.
            let waited = self.freed.wait_timeout(state, left);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Charge {
    /// Changes the charge to `bytes`. Returns `false` and changes nothing when there are not so
    /// many.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let mut state = self.budget.lock();
        let others = state.used - self.bytes;
        if bytes > self.bytes && others.saturating_add(bytes) > self.budget.limit {
            return false;
        }
        state.used = others + bytes;
        let is_awaited = bytes < self.bytes && state.waiting > 0;
        self.bytes = bytes;
        drop(state);
        if is_awaited {
            self.budget.freed.notify_all();
        }
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;

    #[test]
    fn what_is_given_back_is_given_to_who_waits() {
        let budget = ByteBudget::new(10);
        let first = budget.charge(8).unwrap();
        assert!(budget.charge(3).is_none());
        assert!(budget.wait(3, Duration::ZERO).is_none());
        let waiting = thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.wait(10, Duration::from_secs(60)).is_some()
        });
        while budget.lock().waiting == 0 {
            thread::yield_now();
        }
        drop(first);
        assert!(waiting.join().unwrap());
        assert_eq!(budget.used(), 0);
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_nothing_is_lost(
            steps in prop::collection::vec((0usize..4, 0usize..80), 1..60),
        ) {
            let budget = ByteBudget::new(100);
            let mut charges: Vec<Charge> = (0..4).map(|_| budget.charge(0).unwrap()).collect();
            let mut model = [0usize; 4];
            for (which, bytes) in steps {
                let others: usize = model.iter().sum::<usize>() - model[which];
                let fits = bytes <= model[which] || others + bytes <= 100;
                prop_assert_eq!(charges[which].resize(bytes), fits);
                if fits {
                    model[which] = bytes;
                }
                prop_assert_eq!(budget.used(), model.iter().sum::<usize>());
            }
            charges.clear();
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
