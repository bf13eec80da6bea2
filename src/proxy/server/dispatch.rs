//! Answers short requests, gives others to threads, and takes their connections back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{Client, ClientConnection, ConnectionPhase};
use super::shedding::slowest_answer;
use super::{Mailbox, Server, ServerMessage};
use crate::proxy::budget::Charge;
use crate::proxy::exchange::{Progress, Stage};
use crate::proxy::handler::Entrance;
use crate::proxy::resources::{NoThread, THREAD_MEMORY};

/// How long a request waits for a thread and memory. SDKs have 2 s of patience, and need some of
/// it for the answer.
pub(super) const QUEUE_TIME: Duration = Duration::from_secs(1);

/// How often it is tried again to start what waits.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(50);

/// How long short requests are answered on this thread before other clients have their turn.
const SHORT_TIME: Duration = Duration::from_millis(5);

/// Connections, and simultaneous requests, beyond the limits, for operators' requests.
pub(super) const OPERATOR_SLOTS: usize = 4;

/// Says that a request is over, however it ends.
struct Finish {
    mailbox: Mailbox,
    id: u64,
    keep_open: bool,
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.mailbox.send(ServerMessage::Finished {
            id: self.id,
            keep_open: self.keep_open,
        });
    }
}

impl Server {
    /// Answers short requests, and starts a thread for each other one that waits, as far as there are threads
    /// and memory: first those of the operator, then the oldest. Each connection has one turn.
    pub(super) fn start_waiting(&mut self, now: Instant) {
        let waiting = (0..self.connections.len()).filter_map(|index| {
            let connection = &self.connections[index];
            let order = (!self.is_operators(index), connection.since, connection.id);
            self.is_waiting(index).then_some(order)
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable();
        let mut is_full = false;
        self.has_turn_left = false;
        for (_, _, id) in waiting {
            let Some(index) = self.index_of(id) else {
                continue;
            };
            let has_time = Instant::now() < now + SHORT_TIME;
            if has_time && self.is_short(index) && self.answer_at_once(index, now) {
                continue;
            }
            // Those of the operator have their own places.
            if (!is_full || self.is_operators(index))
                && let Some(index) = self.make_regular(index, now)
            {
                is_full |= !self.start(index, now);
            }
            let index = self.index_of(id).filter(|_| !has_time);
            self.has_turn_left |= index.is_some_and(|index| self.is_short(index));
        }
        if is_full {
            self.end_slow_requests(now);
        }
    }

    fn is_short(&self, index: usize) -> bool {
        let connection = &self.connections[index];
        match &connection.phase {
            ConnectionPhase::Waiting(request) => {
                !connection.is_extra && self.service.is_short(request)
            }
            _ => false,
        }
    }

    fn is_waiting(&self, index: usize) -> bool {
        matches!(self.connections[index].phase, ConnectionPhase::Waiting(_))
    }

    /// Answers a short request on this thread: waking another one would cost more than the answer. `false`
    /// when it needs a thread all the same.
    fn answer_at_once(&mut self, index: usize, now: Instant) -> bool {
        let connection = &self.connections[index];
        let ConnectionPhase::Waiting(request) = &connection.phase else {
            return true;
        };
        let Some(keep_open) = self.service.exchange_at_once(&connection.stream, request) else {
            return false;
        };
        let id = connection.id;
        self.finished(id, keep_open, now);
        // The next request may have come with this one.
        let index = self.index_of(id);
        self.has_turn_left |= index.is_some_and(|index| self.is_waiting(index));
        true
    }

    /// Finds a regular place for a connection that was accepted beyond the limit, unless it is
    /// one of the operator's: its index, or `None` when it has to wait.
    fn make_regular(&mut self, index: usize, now: Instant) -> Option<usize> {
        if !self.connections[index].is_extra || self.is_operators(index) {
            return Some(index);
        }
        let id = self.connections[index].id;
        if self.connections.len() > self.limits.connections {
            self.shed(Duration::ZERO, now);
        }
        if self.connections.len() > self.limits.connections {
            return None;
        }
        let index = self.index_of(id)?;
        self.connections[index].is_extra = false;
        Some(index)
    }

    fn index_of(&self, id: u64) -> Option<usize> {
        self.connections.iter().position(|c| c.id == id)
    }

    /// Ends requests whose clients are slow to take the answer, or seem to be gone.
    fn end_slow_requests(&mut self, now: Instant) {
        if let Some(slow) = slowest_answer(&self.connections, now) {
            self.service.counts.shed();
            self.connections[slow].cut();
        }
        for connection in &mut self.connections {
            let is_busy = matches!(connection.phase, ConnectionPhase::Busy(_));
            if is_busy && connection.client == Client::HalfClosed {
                connection.give_up();
            }
        }
    }

    /// Starts a thread for a request that waits. `false` when there is none, or no memory.
    fn start(&mut self, index: usize, now: Instant) -> bool {
        let is_operators = self.is_operators(index);
        let Some(memory) = self.slot(is_operators) else {
            return false;
        };
        let connection = &mut self.connections[index];
        let ConnectionPhase::Waiting(request) = &connection.phase else {
            return true;
        };
        let (id, progress) = (
            connection.id,
            Progress::new(connection.entrance, connection.since),
        );
        let job = {
            let (request, stream) = (Arc::clone(request), Arc::clone(&connection.stream));
            let (service, progress) = (Arc::clone(&self.service), Arc::clone(&progress));
            let mailbox = self.mailbox.clone();
            move || {
                let mut finish = Finish {
                    mailbox,
                    id,
                    keep_open: false,
                };
                finish.keep_open = stream.set_nonblocking(false).is_ok()
                    && service.exchange(&stream, &request, &progress)
                    && stream.set_nonblocking(true).is_ok();
                // Both are free before the next request of the connection comes.
                drop((request, memory));
            }
        };
        match self.resources.serve(&format!("tcp-{id}"), job) {
            Ok(()) => {}
            // If there is no thread, health and metrics are answered on the thread `tcp`.
            Err(NoThread { job, .. }) if is_operators => {
                progress.be_brief();
                job();
            }
            Err(NoThread { error, .. }) => {
                if let Some(error) = error {
                    log::debug!("no thread for a request on TCP: {error}");
                }
                return false;
            }
        }
        connection.is_operators = is_operators;
        connection.enter(ConnectionPhase::Busy(progress), now);
        true
    }

    /// A place for one more request: the memory for its thread, which those of the operator have
    /// apart.
    fn slot(&self, is_operators: bool) -> Option<Option<Charge>> {
        let running = self.connections.iter().filter(|c| match &c.phase {
            // Streams of events are few, and last.
            ConnectionPhase::Busy(progress) => {
                c.is_operators == is_operators && progress.stage() != Stage::Live
            }
            _ => false,
        });
        let most = match is_operators {
            true => OPERATOR_SLOTS,
            false => self.limits.calls,
        };
        if running.count() >= most {
            return None;
        }
        match is_operators {
            true => Some(None),
            false => self.resources.answers.charge(THREAD_MEMORY).map(Some),
        }
    }

    /// Whether the request that waits on a connection is one for the daemon itself.
    pub(super) fn is_operators(&self, index: usize) -> bool {
        let connection = &self.connections[index];
        match &connection.phase {
            ConnectionPhase::Waiting(request) => {
                connection.entrance == Entrance::Main && self.service.operator.owns(request)
            }
            _ => false,
        }
    }

    /// The answer of a connection has been sent.
    pub(super) fn finished(&mut self, id: u64, keep_open: bool, now: Instant) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        let connection = &mut self.connections[index];
        if connection.client == Client::Gone {
            self.connections.swap_remove(index);
        } else if keep_open && self.stopping.is_none() {
            let received = connection.next_request(now);
            self.received(index, received, now);
        } else {
            connection.close_when_read(now);
        }
    }

    pub(super) fn remove(&mut self, index: usize) -> ClientConnection {
        let mut connection = self.connections.swap_remove(index);
        connection.cut();
        connection
    }
}
