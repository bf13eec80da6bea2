//! The segments of one trace, joined as they come in.

use std::time::{Duration, Instant};

use super::entity::Entity;

/// Segments and subsegments kept of one trace. More than a screen shows; a trace of X-Ray is
/// limited to some 500 KB anyway.
pub(crate) const MAX_ENTITIES: usize = 500;
/// A complete trace is printed when nothing of it has come for so long: the documents of one
/// request arrive together, those of its asynchronous work within about this.
pub(crate) const QUIET: Duration = Duration::from_secs(1);
/// An incomplete trace (a parent not seen, a segment in progress) is printed after so long.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(10);

/// A trace.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Trace id, see [`super::entity::trace_key`].
    pub(crate) id: String,
    /// In the order of first arrival, at most [`MAX_ENTITIES`], each id once.
    pub(crate) entities: Vec<Entity>,
    /// Entities that came beyond the limit.
    pub(crate) omitted: usize,
    /// Whether it has been printed and came again.
    pub(crate) printed: bool,
    /// Whether there is something not printed yet.
    pub(crate) news: bool,
    /// Bytes of memory the entities take, roughly.
    pub(crate) weight: usize,
    /// When the first news since the last print came.
    waiting_since: Instant,
    /// When the last entity came.
    pub(crate) touched: Instant,
}

impl Trace {
    pub(crate) fn new(id: String, now: Instant) -> Trace {
        Trace {
            id,
            entities: Vec::new(),
            omitted: 0,
            printed: false,
            news: false,
            weight: size_of::<Trace>(),
            waiting_since: now,
            touched: now,
        }
    }

    /// Adds an entity, or replaces the one with its id. One that has ended is not replaced by
    /// its own beginning, since datagrams may overtake each other.
    pub(crate) fn add(&mut self, entity: Entity, now: Instant) {
        self.touched = now;
        let full = self.entities.len() >= MAX_ENTITIES;
        match self.entities.iter_mut().find(|e| e.id == entity.id) {
            Some(known) if entity.in_progress && !known.in_progress => return,
            Some(known) if *known == entity => return,
            Some(known) => {
                self.weight = self.weight + entity.weight() - known.weight();
                *known = entity;
            }
            None if full => self.omitted += 1,
            None => {
                self.weight += entity.weight();
                self.entities.push(entity);
            }
        }
        if !self.news {
            self.news = true;
            self.waiting_since = now;
        }
    }

    /// Whether it is time to print.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let past = |since: Instant, wait| now.saturating_duration_since(since) >= wait;
        self.news
            && (past(self.waiting_since, MAX_WAIT)
                || past(self.touched, QUIET) && self.is_complete())
    }

    /// Everything has ended and every parent is here.
    fn is_complete(&self) -> bool {
        self.entities.iter().all(|e| !e.in_progress) && self.missing_parents() == 0
    }

    /// How many parents are named that did not come.
    pub(crate) fn missing_parents(&self) -> usize {
        let mut known: Vec<_> = self.entities.iter().map(|e| e.id.as_str()).collect();
        known.sort_unstable();
        let mut missing: Vec<_> = self
            .entities
            .iter()
            .filter_map(|e| e.parent.as_deref())
            .filter(|parent| known.binary_search(parent).is_err())
            .collect();
        missing.sort_unstable();
        missing.dedup();
        missing.len()
    }
}
