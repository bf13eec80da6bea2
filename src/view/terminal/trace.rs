//! The segments of one trace, joined as they come in.

use std::time::{Duration, Instant};

use super::entity::Entity;
use super::fold::{Folded, MAX_ANCESTORS, MAX_SHOWN};

/// A complete trace is printed when nothing of it has come for so long: the documents of one
/// request arrive together, those of its asynchronous work within about this.
pub(super) const QUIET: Duration = Duration::from_secs(1);
/// An incomplete trace (a parent not seen, a segment in progress) is printed after so long.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(10);
/// How many entities above the limit are allowed until leaves are folded again, because each
/// folding reads all of them.
const SLACK: usize = MAX_SHOWN / 2;
/// Bytes of the entities of one trace, roughly, beyond which half of them are folded.
const MAX_WEIGHT: usize = 2 << 20;

/// A trace.
#[derive(Debug)]
pub(super) struct Trace {
    /// Trace id, see [`crate::view::model::trace_key`].
    pub(super) id: String,
    /// In the order of first arrival, each id once.
    pub(super) entities: Vec<Entity>,
    pub(super) folded: Folded,
    /// Whether it has been printed and came again.
    pub(super) printed: bool,
    /// Whether there is something not printed yet.
    pub(super) news: bool,
    /// Bytes of memory that [`Trace::entities`] take, roughly.
    entities_weight: usize,
    /// Number of entities at which leaves are to be folded.
    full_at: usize,
    /// When the first news since the last print came.
    waiting_since: Instant,
    /// When the last entity came.
    pub(super) touched: Instant,
}

impl Trace {
    pub(super) fn new(id: String, now: Instant) -> Trace {
        Trace {
            id,
            entities: Vec::new(),
            folded: Folded::default(),
            printed: false,
            news: false,
            entities_weight: 0,
            full_at: MAX_SHOWN + SLACK,
            waiting_since: now,
            touched: now,
        }
    }

    /// Adds an entity, or replaces the one with its id. One that has ended is not replaced by
    /// its own beginning, since datagrams may overtake each other.
    pub(super) fn add(&mut self, entity: Entity, now: Instant) {
        self.touched = now;
        let changed = match self.folded.take(&entity) {
            Some(changed) => changed,
            None => self.join(entity),
        };
        if changed && !self.news {
            self.news = true;
            self.waiting_since = now;
        }
        if self.entities.len() >= self.full_at {
            self.fold();
        }
        if self.entities_weight > MAX_WEIGHT {
            let half = self.entities.len() / 2;
            self.folded.make_room(&mut self.entities, half, half);
            self.weigh();
        }
    }

    fn join(&mut self, entity: Entity) -> bool {
        match self.entities.iter_mut().find(|e| e.id == entity.id) {
            Some(known) if entity.in_progress && !known.in_progress => return false,
            Some(known) if *known == entity => return false,
            Some(known) => {
                self.entities_weight -= known.weight();
                self.entities_weight += entity.weight();
                *known = entity;
            }
            None => {
                self.entities_weight += entity.weight();
                self.entities.push(entity);
            }
        }
        true
    }

    /// Folds entities above the limit.
    pub(super) fn fold(&mut self) {
        if self.entities.len() > MAX_SHOWN {
            self.folded
                .make_room(&mut self.entities, MAX_SHOWN, MAX_ANCESTORS);
            self.full_at = self.entities.len().max(MAX_SHOWN) + SLACK;
            self.weigh();
        }
    }

    fn weigh(&mut self) {
        self.entities_weight = self.entities.iter().map(Entity::weight).sum();
    }

    /// Approximate bytes of memory that it takes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Trace>() + self.id.len() + self.entities_weight + self.folded.weight()
    }

    /// Whether it is time to print.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let past = |since: Instant, wait| now.saturating_duration_since(since) >= wait;
        self.news
            && (past(self.waiting_since, MAX_WAIT)
                || past(self.touched, QUIET) && self.is_complete())
    }

    /// Everything has ended and every parent has arrived.
    fn is_complete(&self) -> bool {
        self.entities.iter().all(|e| !e.in_progress) && self.missing_parents() == 0
    }

    /// How many parents have not arrived.
    pub(super) fn missing_parents(&self) -> usize {
        let mut known: Vec<_> = self.entities.iter().map(|e| e.id.as_str()).collect();
        known.sort_unstable();
        let named = self.entities.iter().filter_map(|e| e.parent.as_deref());
        let counted = self.folded.counts().map(|(parent, _)| parent);
        let mut missing: Vec<_> = named
            .chain(counted.filter(|parent| !parent.is_empty()))
            .filter(|id| known.binary_search(id).is_err() && !self.folded.holds(id))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        missing.len()
    }
}
