//! Who is connected: a cap, and who goes first when it is reached.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Counts;

/// How long a shed connection's thread may take to give its place free. It only has to wake up.
const SHED: Duration = Duration::from_millis(500);

/// The connections of the front.
pub(super) struct Slots {
    limit: usize,
    counts: Arc<Counts>,
    table: Arc<Table>,
}

struct Table {
    state: Mutex<State>,
    /// Signalled when a connection has ended, and when all shall.
    changed: Condvar,
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
            counts,
            table: Arc::new(Table {
                state: Mutex::new(State {
                    connections: Vec::new(),
                    next: 1,
                    closing: false,
                }),
                changed: Condvar::new(),
            }),
        }
    }

    /// A place for `stream`, idle at first; if need be, that of the connection which has been idle
    /// longest. `None` when all are busy.
    pub(super) fn enter(&self, stream: &Arc<TcpStream>) -> Option<Slot> {
        let full = |state: &mut State| state.connections.len() >= self.limit;
        let mut state = self.table.lock();
        if full(&mut state) && self.shed(&mut state) {
            state = self
                .table
                .changed
                .wait_timeout_while(state, SHED, full)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if full(&mut state) || state.closing {
            self.counts.shed.fetch_add(1, Relaxed);
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
        Some(Slot {
            number,
            table: Arc::clone(&self.table),
        })
    }

    /// Closes the connection that has been idle longest.
    pub(super) fn shed_idle(&self) {
        self.shed(&mut self.table.lock());
    }

    fn shed(&self, state: &mut State) -> bool {
        let oldest = state
            .connections
            .iter_mut()
            .filter(|connection| connection.idle_since.is_some())
            .min_by_key(|connection| connection.idle_since);
        let Some(oldest) = oldest else {
            return false;
        };
        oldest.idle_since = None;
        oldest.shed = true;
        // Fails only when the client was faster.
        let _ = oldest.stream.shutdown(Shutdown::Both);
        self.counts.shed.fetch_add(1, Relaxed);
        true
    }

    /// Rests for `time`, or until the front closes.
    pub(super) fn pause(&self, time: Duration) {
        let state = self.table.lock();
        let _unlocked = self
            .table
            .changed
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
        self.table.changed.notify_all();
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
            .changed
            .wait_timeout_while(state, limit, |state| !state.connections.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.connections.is_empty()
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.table.changed.notify_all();
    }
}
