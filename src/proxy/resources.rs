//! What clients may take together: memory, and threads.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::budget::ByteBudget;
use super::system_limits::ThreadRoom;
use crate::http::server::{MAX_BODY, MAX_HEAD};

/// The stack of a thread that serves a client. A TLS handshake in a debug build is the deepest it
/// goes. Only the used part of it takes memory.
const STACK: usize = 256 * 1024;

/// What a thread takes: the part of its stack that is used, and the kernel's own.
pub(super) const THREAD_MEMORY: usize = 32 * 1024;

/// What a request that is forwarded takes besides: the buffers of a TLS connection.
pub(super) const FORWARD_MEMORY: usize = 112 * 1024;

/// How long a thread that has served a request waits for another one. A client that exports all the time
/// needs no new thread for each request, and at rest there is none.
const REST: Duration = Duration::from_secs(1);

/// The resources of the clients.
#[derive(Debug)]
pub struct ClientResources {
    /// For requests that come in. Half of the memory, so that bodies never keep out small calls.
    pub(super) bodies: Arc<ByteBudget>,
    /// For the threads that answer: a quarter, so that waiting requests do not take the memory that
    /// they wait for.
    pub(super) answers: Arc<ByteBudget>,
    /// For requests that are forwarded: the last quarter.
    pub(super) forwards: Arc<ByteBudget>,
    threads: Mutex<ThreadRoom>,
    resting: RestingThread,
}

impl ClientResources {
    /// Clients may use `memory` bytes, and threads as long as `reserved_threads` are left for
    /// uploading.
    #[must_use]
    pub fn new(memory: usize, reserved_threads: usize) -> Arc<Self> {
        Arc::new(ClientResources {
            bodies: ByteBudget::new(memory / 2),
            answers: ByteBudget::new(memory / 4),
            forwards: ByteBudget::new(memory / 4),
            threads: Mutex::new(ThreadRoom::new(reserved_threads)),
            resting: RestingThread::new(REST),
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

    /// Serves a client by `job`, on the thread that has served one just now or on a new one of this
    /// name. Returns the job when there is no thread.
    pub(super) fn serve<F>(self: &Arc<Self>, name: &str, job: F) -> Result<(), NoThread<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        match self.resting.give(job) {
            Ok(()) => Ok(()),
            Err(job) => {
                let resources = Arc::clone(self);
                self.spawn(name, job, move || resources.resting.rest())
            }
        }
    }

    /// Starts a thread for `job`, or returns the job when there is no thread.
    pub(super) fn start<F>(self: &Arc<Self>, name: &str, job: F) -> Result<(), NoThread<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        self.spawn(name, job, || {})
    }

    fn spawn<F, A>(self: &Arc<Self>, name: &str, job: F, after: A) -> Result<(), NoThread<F>>
    where
        F: FnOnce() + Send + 'static,
        A: FnOnce() + Send + 'static,
    {
        let now = Instant::now();
        let Some(running) = self.take_thread(now) else {
            return Err(NoThread { job, error: None });
        };
        // The job is kept here too, since a thread that does not start drops its closure.
        let slot = Arc::new(Mutex::new(Some((job, running))));
        let take = |slot: &Mutex<Option<(F, ServingThread)>>| {
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
                        after();
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
            // The slot is empty only if a running thread has taken the job.
            None => Ok(()),
        }
    }

    fn take_thread(self: &Arc<Self>, now: Instant) -> Option<ServingThread> {
        self.threads()
            .take(now)
            .then(|| ServingThread(Arc::clone(self)))
    }

    fn threads(&self) -> MutexGuard<'_, ThreadRoom> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one thread that may wait for another request.
struct RestingThread {
    /// How long it waits.
    time: Duration,
    rest: Mutex<Rest>,
    given: Condvar,
}

#[derive(Default)]
struct Rest {
    is_taken: bool,
    job: Option<Box<dyn FnOnce() + Send>>,
}

impl RestingThread {
    fn new(time: Duration) -> Self {
        RestingThread {
            time,
            rest: Mutex::default(),
            given: Condvar::new(),
        }
    }

    /// Gives the job to the thread that rests. Returns the job if none does.
    fn give<F: FnOnce() + Send + 'static>(&self, job: F) -> Result<(), F> {
        let mut rest = self.lock();
        if !rest.is_taken || rest.job.is_some() {
            return Err(job);
        }
        rest.job = Some(Box::new(job));
        // Otherwise the thread wakes only to wait for the lock.
        drop(rest);
        self.given.notify_one();
        Ok(())
    }

    /// Does jobs until none comes in time. Where another thread rests, it does none.
    fn rest(&self) {
        while let Some(job) = self.next_job() {
            job();
        }
    }

    fn next_job(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut rest = self.lock();
        if rest.is_taken {
            return None;
        }
        rest.is_taken = true;
        let waited = self
            .given
            .wait_timeout_while(rest, self.time, |rest| rest.job.is_none());
        let (mut rest, _) = waited.unwrap_or_else(PoisonError::into_inner);
        rest.is_taken = false;
        rest.job.take()
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        // It is held for assignments only, so it cannot be left half changed.
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RestingThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RestingThread")
    }
}

/// One thread that serves a client.
struct ServingThread(Arc<ClientResources>);

impl Drop for ServingThread {
    fn drop(&mut self) {
        self.0.threads().give_back();
    }
}

/// A job for which there is no thread.
pub(super) struct NoThread<F> {
    pub(super) job: F,
    /// The system's error; `None` if no thread was requested, because too few are left.
    pub(super) error: Option<io::Error>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter::from_fn;
    use std::sync::mpsc::channel;

    /// Otherwise many clients could use up all memory for threads, which would then wait for memory
    /// for ever.
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
    fn one_thread_rests_and_is_given_one_job_at_a_time() {
        let resting = Arc::new(RestingThread::new(Duration::from_secs(3600)));
        assert!(resting.give(|| ()).is_err(), "nobody rests");
        thread::spawn({
            let resting = Arc::clone(&resting);
            move || resting.rest()
        });
        for _ in 0..3 {
            while !resting.lock().is_taken {
                thread::yield_now();
            }
            // A second one does not rest.
            resting.rest();
            let ((started, start), (finish, finished)) = (channel(), channel::<()>());
            let job = move || {
                started.send(()).unwrap();
                finished.recv().unwrap();
            };
            assert!(resting.give(job).is_ok());
            assert!(resting.give(|| ()).is_err(), "it has a job");
            start.recv().unwrap();
            assert!(resting.give(|| ()).is_err(), "it is at work");
            finish.send(()).unwrap();
        }
        RestingThread::new(Duration::ZERO).rest();
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
        // After the system has refused a thread, only one may run for a while.
        clients.threads().take(Instant::now());
        clients.threads().refused(Instant::now());
        let back = clients.start("tcp-8", || ()).err();
        assert!(back.is_some_and(|back| back.error.is_none()));
    }
}
