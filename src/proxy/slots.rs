//! Who is connected: a cap, and who goes first when it is reached.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Counts;

/// How long a new connection waits for room, and those behind it with it: a call takes a fraction
/// of this, and SDKs have 2 s of patience.
const ROOM: Duration = Duration::from_millis(500);

/// The connections of the front.
pub(super) struct Slots {
    limit: usize,
    table: Arc<Table>,
}

struct Table {
    counts: Arc<Counts>,
    state: Mutex<State>,
    /// Signalled when a connection has ended or become idle, and when all shall end.
    change: Condvar,
}

struct State {
    connections: Vec<Connection>,
    next: u64,
    closing: bool,
}

struct Connection {
    number: u64,
    stream: Arc<TcpStream>,
    /// Since when no request is under way; `None` while one is, and once it has been shed.
    idle_since: Option<Instant>,
    shed: bool,
}

/// One connection's place. Gives it free when dropped.
pub(super) struct Slot {
    number: u64,
    table: Arc<Table>,
}

impl Slots {
    pub(super) fn new(limit: usize, counts: Arc<Counts>) -> Self {
        Slots {
            limit,
            table: Arc::new(Table {
                counts,
                state: Mutex::new(State {
                    connections: Vec::new(),
                    next: 1,
                    closing: false,
                }),
                change: Condvar::new(),
            }),
        }
    }

    /// A place for `stream`, idle at first. When there is none, it closes the connection that has
    /// been idle longest, or waits a moment for a busy one. `None` when that was in vain.
    pub(super) fn enter(&self, stream: &Arc<TcpStream>) -> Option<Slot> {
        let deadline = Instant::now() + ROOM;
        let mut state = self.table.lock();
        while state.connections.len() >= self.limit {
            if !state.connections.iter().any(|connection| connection.shed) {
                self.table.shed(&mut state, Duration::ZERO);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.closing {
                self.table.counts.shed.fetch_add(1, Relaxed);
                return None;
            }
            let waited = self.table.change.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.closing {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.connections.push(Connection {
            number,
            stream: Arc::clone(stream),
            idle_since: Some(Instant::now()),
            shed: false,
        });
        self.table.changed(&state);
        Some(Slot {
            number,
            table: Arc::clone(&self.table),
        })
    }

    /// Closes the connection that has been idle longest, if that is at least `age`.
    pub(super) fn shed_idle(&self, age: Duration) {
        self.table.shed(&mut self.table.lock(), age);
    }

    /// Rests for `time`, or until the front closes.
    pub(super) fn pause(&self, time: Duration) {
        let state = self.table.lock();
        let _unlocked = self
            .table
            .change
            .wait_timeout_while(state, time, |state| !state.closing);
    }

    /// Lets no request begin any more; those under way go on.
    pub(super) fn close(&self) {
        let mut state = self.table.lock();
        state.closing = true;
        for connection in &state.connections {
            let idle = connection.idle_since.is_some();
            let how = if idle { Shutdown::Both } else { Shutdown::Read };
            let _ = connection.stream.shutdown(how);
        }
        self.table.change.notify_all();
    }

    /// Closes every connection, whatever it does.
    pub(super) fn interrupt(&self) {
        for connection in &self.table.lock().connections {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits for all connections to end. Whether they have.
    pub(super) fn wait_until_empty(&self, limit: Duration) -> bool {
        let state = self.table.lock();
        let (state, _) = self
            .table
            .change
            .wait_timeout_while(state, limit, |state| !state.connections.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.connections.is_empty()
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, state: &State) {
        let idle = state.connections.iter().filter(|c| c.idle_since.is_some());
        self.counts.idle.store(idle.count(), Relaxed);
        self.counts.open.store(state.connections.len(), Relaxed);
        self.change.notify_all();
    }

    fn shed(&self, state: &mut State, age: Duration) {
        let oldest = state
            .connections
            .iter_mut()
            .filter(|connection| connection.idle_since.is_some_and(|at| at.elapsed() >= age))
            .min_by_key(|connection| connection.idle_since);
        let Some(oldest) = oldest else {
            return;
        };
        oldest.idle_since = None;
        oldest.shed = true;
        // Fails only when the client was faster.
        let _ = oldest.stream.shutdown(Shutdown::Both);
        self.counts.shed.fetch_add(1, Relaxed);
        self.changed(state);
    }
}

impl Slot {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// A request begins. `false` when the connection has been shed, or the front closes.
    pub(super) fn begin(&self) -> bool {
        self.set(None)
    }

    /// No request is under way. `false` as for [`begin`](Self::begin).
    pub(super) fn rest(&self) -> bool {
        self.set(Some(Instant::now()))
    }

    fn set(&self, idle_since: Option<Instant>) -> bool {
        let mut state = self.table.lock();
        if state.closing {
            return false;
        }
        match state
            .connections
            .iter_mut()
            .find(|c| c.number == self.number)
        {
            Some(connection) if !connection.shed => {
                connection.idle_since = idle_since;
                self.table.changed(&state);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.table.lock();
        state.connections.retain(|c| c.number != self.number);
        self.table.changed(&state);
    }
}
