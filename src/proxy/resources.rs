//! What clients may take together: memory, and threads.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::budget::ByteBudget;
use super::system_limits::ThreadRoom;
use crate::http::server::{MAX_BODY, MAX_HEAD};

/// The stack of a thread that serves a client. A TLS handshake in a debug build is the deepest it
/// goes. Only what is used of it takes memory.
const STACK: usize = 256 * 1024;

/// What a thread takes: the part of its stack that is used, and the kernel's own.
pub(super) const THREAD_MEMORY: usize = 32 * 1024;

/// What a request that is forwarded takes besides: the buffers of a TLS connection.
pub(super) const FORWARD_MEMORY: usize = 112 * 1024;

/// The resources of the clients.
#[derive(Debug)]
pub struct ClientResources {
    /// For requests that come in. Half of the memory, so that bodies never keep out small calls.
    pub(super) bodies: Arc<ByteBudget>,
    /// For the threads that answer: a quarter, so that those which wait to be forwarded do not take
    /// what they wait for.
    pub(super) answers: Arc<ByteBudget>,
    /// For requests that are forwarded: the last quarter.
    pub(super) forwards: Arc<ByteBudget>,
    threads: Mutex<ThreadRoom>,
}

impl ClientResources {
    /// Clients may take `memory` bytes, and threads as long as `reserved_threads` are left to
    /// uploading.
    #[must_use]
    pub fn new(memory: usize, reserved_threads: usize) -> Arc<Self> {
        Arc::new(ClientResources {
            bodies: ByteBudget::new(memory / 2),
            answers: ByteBudget::new(memory / 4),
            forwards: ByteBudget::new(memory / 4),
            threads: Mutex::new(ThreadRoom::new(reserved_threads)),
        })
    }

    /// The longest body that is taken.
    pub(super) fn max_body(&self) -> usize {
        MAX_BODY.min(self.bodies.limit().saturating_sub(2 * MAX_HEAD))
    }

    /// Bytes in use, and how many there are.
    pub(super) fn memory(&self) -> (usize, usize) {
        let parts = [&self.bodies, &self.answers, &self.forwards];
        let used = parts.iter().map(|part| part.used()).sum();
        let limit = parts.iter().map(|part| part.limit()).sum();
        (used, limit)
    }

    /// Starts a thread for `job`, or gives the job back when there is none to be had.
    pub(super) fn start<F>(self: &Arc<Self>, name: &str, job: F) -> Result<(), NoThread<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        let now = Instant::now();
        let Some(running) = self.take_thread(now) else {
            return Err(NoThread { job, error: None });
        };
        // The job comes back by this way, since a thread that does not start drops its closure.
        let slot = Arc::new(Mutex::new(Some((job, running))));
        let take = |slot: &Mutex<Option<(F, Running)>>| {
            slot.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let started = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn({
                let slot = Arc::clone(&slot);
                move || {
                    if let Some((job, running)) = take(&slot) {
                        job();
                        drop(running);
                    }
                }
            });
        let Err(error) = started else { return Ok(()) };
        self.threads().refused(now);
        match take(&slot) {
            Some((job, _)) => Err(NoThread {
                job,
                error: Some(error),
            }),
            // Only a thread that runs can have taken it.
            None => Ok(()),
        }
    }

    fn take_thread(self: &Arc<Self>, now: Instant) -> Option<Running> {
        self.threads().take(now).then(|| Running(Arc::clone(self)))
    }

    fn threads(&self) -> MutexGuard<'_, ThreadRoom> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread that serves a client.
struct Running(Arc<ClientResources>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.threads().give_back();
    }
}

/// A job for which there is no thread.
pub(super) struct NoThread<F> {
    pub(super) job: F,
    /// What the system said; `None` when it was not asked, because too few are left.
    pub(super) error: Option<io::Error>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter::from_fn;
    use std::sync::mpsc::channel;

    /// Otherwise a crowd could take all memory for threads, which then wait for it in vain.
    #[test]
    fn nobody_takes_what_others_wait_for() {
        let clients = ClientResources::new(3 * 1024 * 1024, 0);
        let parts = [
            (&clients.bodies, 64 * 1024),
            (&clients.answers, THREAD_MEMORY),
            (&clients.forwards, FORWARD_MEMORY),
        ];
        for taken in 0..parts.len() {
            let (budget, bytes) = parts[taken];
            let all: Vec<_> = from_fn(|| budget.charge(bytes)).collect();
            assert!(all.len() > 5, "{} of {bytes} bytes", all.len());
            for (other, (budget, bytes)) in parts.iter().enumerate() {
                assert!(other == taken || budget.charge(*bytes).is_some());
            }
        }
        assert_eq!(clients.memory(), (0, 3 * 1024 * 1024));
    }

    #[test]
    fn a_job_runs_on_a_thread_or_comes_back() {
        let clients = ClientResources::new(0, 0);
        let (sender, name) = channel();
        let job = move || {
            let name = thread::current().name().map(str::to_owned);
            sender.send(name).unwrap();
        };
        assert!(clients.start("tcp-7", job).is_ok());
        assert_eq!(name.recv().unwrap().as_deref(), Some("tcp-7"));
        // The system has refused a thread, so that only one may run for a while.
        clients.threads().take(Instant::now());
        clients.threads().refused(Instant::now());
        let back = clients.start("tcp-8", || ()).err();
        assert!(back.is_some_and(|back| back.error.is_none()));
    }
}
