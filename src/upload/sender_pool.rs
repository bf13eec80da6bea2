//! The senders, and what each of them carries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::item::{ITEM_MEMORY, Item};
use super::sender::{Payload, SenderId};

/// A sender that has carried nothing for this long ends, except the last one.
const IDLE: Duration = Duration::from_secs(10);

/// After the system has refused a thread, no new one is started for this long.
const REFUSED: Duration = Duration::from_secs(5);

/// A request takes ten seconds at most. A sender that takes longer counts as hanging.
const OVERDUE: Duration = Duration::from_secs(60);

/// What is in flight.
#[derive(Debug)]
pub(super) struct InFlight {
    pub load: Load,
    /// Shared with the sender, which only reads it.
    pub payload: Arc<Payload>,
    /// The back-off's epoch when the request went out.
    pub(crate) epoch: u64,
    /// The generation of the credentials that it was signed with.
    pub generation: u64,
    pub since: Instant,
}

impl InFlight {
    /// Bytes of memory that it takes. Telemetry counts for nothing: there is one call at most.
    pub(super) fn memory(&self) -> usize {
        match self.load {
            Load::Documents { .. } => self.payload.document_bytes() + ITEM_MEMORY,
            Load::Telemetry => 0,
        }
    }

    /// The documents in the request, with their history. `None`: it is telemetry.
    pub(super) fn into_item(self) -> Option<Item> {
        let body = Arc::unwrap_or_clone(self.payload).into_body();
        match (self.load, body) {
            (Load::Documents { item, .. }, Some(body)) => Some(item.with_body(body)),
            _ => None,
        }
    }
}

/// What the request belongs to.
#[derive(Debug)]
pub(super) enum Load {
    /// An item, whose body is the payload.
    Documents {
        item: Item<()>,
        /// Bytes by which the body became longer when it was opened.
        growth: usize,
    },
    Telemetry,
}

#[derive(Debug)]
struct Slot {
    id: SenderId,
    state: SlotState,
}

#[derive(Debug)]
enum SlotState {
    Idle(Instant),
    Busy(InFlight),
}

/// The senders, by what they do.
#[derive(Debug)]
pub(super) struct SenderPool {
    limit: usize,
    slots: Vec<Slot>,
    started: SenderId,
    /// When the system last refused a thread.
    refused: Option<Instant>,
}

/// The sender for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Idle(SenderId),
    New(SenderId),
}

impl SenderPool {
    /// With one sender, which runs already and is never ended, and at most `limit`.
    pub(super) fn new(limit: usize, now: Instant) -> Self {
        SenderPool {
            limit,
            slots: vec![Slot {
                id: 1,
                state: SlotState::Idle(now),
            }],
            started: 1,
            refused: None,
        }
    }

    /// Who can carry a request. A further sender is worth its memory only while full requests wait
    /// (`is_crowded`) and all others are out.
    pub(super) fn choose(&self, is_crowded: bool, now: Instant) -> Option<Choice> {
        let idle = |slot: &&Slot| matches!(slot.state, SlotState::Idle(_));
        // The oldest first, so that the younger ones grow idle and end.
        if let Some(slot) = self.slots.iter().find(idle) {
            return Some(Choice::Idle(slot.id));
        }
        let refused = self.refused.is_some_and(|at| now < at + REFUSED);
        let may_start = is_crowded && self.slots.len() < self.limit && !refused;
        may_start.then_some(Choice::New(self.started + 1))
    }

    /// When [`choose`](Self::choose) may answer otherwise although nothing has happened.
    pub(super) fn refusal_ends(&self, now: Instant) -> Option<Instant> {
        self.refused.map(|at| at + REFUSED).filter(|at| *at > now)
    }

    pub(super) fn send(&mut self, choice: Choice, in_flight: InFlight) {
        let state = SlotState::Busy(in_flight);
        match choice {
            Choice::Idle(id) => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) {
                    slot.state = state;
                }
            }
            Choice::New(id) => {
                self.started = id;
                self.slots.push(Slot { id, state });
            }
        }
    }

    /// A sender is back. `None` for one that is not known or was not out.
    pub(super) fn returned(&mut self, id: SenderId, now: Instant) -> Option<InFlight> {
        let slot = self.slots.iter_mut().find(|slot| slot.id == id)?;
        match std::mem::replace(&mut slot.state, SlotState::Idle(now)) {
            SlotState::Busy(in_flight) => Some(in_flight),
            SlotState::Idle(since) => {
                slot.state = SlotState::Idle(since);
                None
            }
        }
    }

    /// The system refused the thread of a new sender. What it should have carried comes back.
    pub(super) fn refused(&mut self, id: SenderId, now: Instant) -> Option<InFlight> {
        self.refused = Some(now);
        let index = self.slots.iter().position(|slot| slot.id == id)?;
        match self.slots.remove(index).state {
            SlotState::Busy(in_flight) => Some(in_flight),
            SlotState::Idle(_) => None,
        }
    }

    /// Removes the senders that have been idle for long, and names them.
    pub(super) fn end_idle(&mut self, now: Instant) -> Vec<SenderId> {
        let mut ended = Vec::new();
        self.slots.retain(|slot| {
            let ends =
                slot.id != 1 && matches!(slot.state, SlotState::Idle(since) if since + IDLE <= now);
            if ends {
                ended.push(slot.id);
            }
            !ends
        });
        ended
    }

    /// When the next sender has been idle for long.
    pub(super) fn idle_ends(&self) -> Option<Instant> {
        let ends = |slot: &Slot| match slot.state {
            SlotState::Idle(since) if slot.id != 1 => Some(since + IDLE),
            _ => None,
        };
        self.slots.iter().filter_map(ends).min()
    }

    /// Sender threads that exist.
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// What is out.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            SlotState::Busy(in_flight) => Some(in_flight),
            SlotState::Idle(_) => None,
        })
    }

    /// What is out, to be changed.
    pub(super) fn in_flight_mut(&mut self) -> impl Iterator<Item = &mut InFlight> {
        self.slots
            .iter_mut()
            .filter_map(|slot| match &mut slot.state {
                SlotState::Busy(in_flight) => Some(in_flight),
                SlotState::Idle(_) => None,
            })
    }

    /// Whether every sender has been out for longer than any request may take.
    pub(super) fn all_overdue(&self, now: Instant) -> bool {
        self.in_flight().count() == self.slots.len()
            && self.in_flight().all(|one| now >= one.since + OVERDUE)
    }

    /// How many senders have been out for longer than any request may take.
    pub(super) fn overdue(&self, now: Instant) -> usize {
        let overdue = |one: &&InFlight| now >= one.since + OVERDUE;
        self.in_flight().filter(overdue).count()
    }
}
