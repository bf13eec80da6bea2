//! Which entities of a large trace are only counted.
//!
//! SDKs send children before their parents, so the root of a large trace comes last. Roots and
//! the ancestors of what is shown stay; leaves make room for them.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::entity::Entity;
use crate::view::model::{Mark, SpanKind};

/// Entities shown of one trace, if its ancestors alone are not more. More than a screen shows.
pub(super) const MAX_SHOWN: usize = 500;
/// Entities shown of one trace in any case: of a chain of so many calls each is an ancestor.
pub(super) const MAX_ANCESTORS: usize = 2_000;
/// Ids remembered of folded entities, so that a copy is not counted again and a late child finds
/// its place.
const MAX_IDS: usize = 10_000;

/// How many entities are folded in one place, and what they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) entities: usize,
    /// By [`Mark`], in its order.
    marks: [usize; 3],
}

impl Count {
    fn one(mark: Option<Mark>) -> Count {
        let mut count = Count {
            entities: 1,
            ..Count::default()
        };
        count.mark(mark);
        count
    }

    fn mark(&mut self, mark: Option<Mark>) {
        if let Some(mark) = mark {
            self.marks[mark as usize] += 1;
        }
    }

    pub(super) fn add(&mut self, other: Count) {
        self.entities += other.entities;
        for (own, other) in self.marks.iter_mut().zip(other.marks) {
            *own += other;
        }
    }

    /// How many have each mark, the worst first; without the marks that none has.
    pub(super) fn marks(&self) -> impl Iterator<Item = (Mark, usize)> {
        let marks = [Mark::Fault, Mark::Throttle, Mark::Error];
        let counts = marks.map(|mark| (mark, self.marks[mark as usize]));
        counts.into_iter().filter(|(_, count)| *count > 0)
    }
}

/// The folded entities of a trace.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// By the id of the parent below which they were; the empty id for roots.
    counts: HashMap<String, Count>,
    /// The parent of each, by its id; the empty id for roots.
    parents: HashMap<String, String>,
}

impl Folded {
    /// How many there are below each parent, which may not have come.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, Count)> {
        self.counts
            .iter()
            .map(|(parent, count)| (parent.as_str(), *count))
    }

    /// How many there are.
    pub(super) fn total(&self) -> Count {
        let mut total = Count::default();
        for count in self.counts.values() {
            total.add(*count);
        }
        total
    }

    /// Whether this id is one of them.
    pub(super) fn holds(&self, id: &str) -> bool {
        self.parents.contains_key(id)
    }

    /// Approximate bytes of memory that it takes.
    pub(super) fn weight(&self) -> usize {
        // Two ids of 16 characters and the maps' own memory.
        (self.parents.len() + self.counts.len()) * 128
    }

    /// Takes an entity that is folded itself, or whose parent is, and says whether that changed
    /// anything. Any other is not taken.
    pub(super) fn take(&mut self, entity: &Entity) -> Option<bool> {
        if self.holds(&entity.id) {
            // What is counted may end with an error.
            let place = self.place_of(&entity.id);
            let count = self.counts.entry(place).or_default();
            let worse = entity.mark.filter(|mark| count.marks[*mark as usize] == 0);
            count.mark(worse);
            return Some(worse.is_some());
        }
        let folded = entity.parent.as_ref().is_some_and(|id| self.holds(id));
        folded.then(|| {
            self.fold(entity);
            true
        })
    }

    /// Removes leaves from `entities` until there are `shown`, and ancestors until there are
    /// `ancestors`.
    pub(super) fn make_room(&mut self, entities: &mut Vec<Entity>, shown: usize, ancestors: usize) {
        let mut left = entities.len();
        let mut gone = vec![false; left];
        let ids: HashMap<_, _> = entities.iter().map(|e| e.id.as_str()).zip(0..).collect();
        let parents: Vec<Option<usize>> = entities
            .iter()
            .map(|e| ids.get(e.parent.as_deref()?).copied())
            .collect();
        let mut children = vec![0usize; left];
        for parent in parents.iter().flatten() {
            children[*parent] += 1;
        }
        for at in leaves(entities, &children) {
            if left <= shown {
                break;
            }
            gone[at] = true;
            left -= 1;
            if let Some(parent) = parents[at] {
                children[parent] -= 1;
            }
            self.fold(&entities[at]);
        }
        // Then new leaves, and at last roots and entities in a cycle.
        let is_root = |at: usize| entities[at].parent.is_none();
        let is_leaf = |at: &usize| children[*at] == 0 && !gone[*at] && !is_root(*at);
        let mut next: Vec<usize> = (0..entities.len()).filter(is_leaf).collect();
        let mut last = entities.len();
        while left > ancestors {
            let Some(at) = next.pop().or_else(|| {
                last = (0..last).rfind(|at| !gone[*at])?;
                Some(last)
            }) else {
                break;
            };
            if std::mem::replace(&mut gone[at], true) {
                continue;
            }
            left -= 1;
            if let Some(parent) = parents[at] {
                children[parent] -= 1;
                if children[parent] == 0 && !is_root(parent) {
                    next.push(parent);
                }
            }
            self.fold(&entities[at]);
        }
        let mut gone = gone.into_iter();
        entities.retain(|_| !gone.next().unwrap_or(false));
    }

    /// Counts an entity, and what has been counted below it, below its parent.
    fn fold(&mut self, entity: &Entity) {
        let parent = entity.parent.clone().unwrap_or_default();
        let mut count = Count::one(entity.mark);
        if let Some(below) = self.counts.remove(&entity.id) {
            count.add(below);
        }
        let place = self.place_of(&parent);
        self.counts.entry(place).or_default().add(count);
        if self.parents.len() < MAX_IDS {
            self.parents.insert(entity.id.clone(), parent);
        }
    }

    /// The nearest ancestor of an id that is not folded, or the id itself.
    fn place_of(&self, id: &str) -> String {
        let mut place = id;
        // Parents may be in a circle.
        for _ in 0..MAX_ANCESTORS {
            match self.parents.get(place) {
                Some(parent) => place = parent,
                None => break,
            }
        }
        place.to_owned()
    }
}

/// The entities without children that may be folded, the least important first: without an error,
/// without a call, and the latest start. A leaf that is the only child stays, since the line that
/// counts it would be as long.
fn leaves(entities: &[Entity], children: &[usize]) -> Vec<usize> {
    let mut siblings: HashMap<&str, usize> = HashMap::new();
    let parent = |at: usize| entities[at].parent.as_deref();
    for id in (0..entities.len()).filter_map(parent) {
        *siblings.entry(id).or_default() += 1;
    }
    let mut leaves: Vec<usize> = (0..entities.len())
        .filter(|at| children[*at] == 0)
        .filter(|at| parent(*at).is_some_and(|id| siblings[id] > 1))
        .collect();
    leaves.sort_unstable_by_key(|at| {
        let entity = &entities[*at];
        let calls = matches!(entity.kind, SpanKind::Segment | SpanKind::Remote);
        let start = (entity.start.unwrap_or(0.0) * 1e6) as i64;
        (entity.mark, entity.in_progress, calls, Reverse(start), *at)
    });
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::document::{Format, spans};

    fn entity(id: &str, parent: &str, rest: &str) -> Entity {
        let parent = if parent.is_empty() {
            String::new()
        } else {
            format!(r#","parent_id":"{parent}""#)
        };
        let text = format!(r#"{{"id":"{id}","type":"subsegment","end_time":9{parent}{rest}}}"#);
        let mut entities = Vec::new();
        spans(Format::XRay, &text, &mut |span| {
            entities.push(Entity::new(span, false))
        });
        entities.remove(0)
    }

    fn ids(entities: &[Entity]) -> Vec<&str> {
        entities.iter().map(|e| e.id.as_str()).collect()
    }

    const FAULT: &str = r#","fault":true"#;

    #[test]
    fn leaves_go_and_roots_and_ancestors_stay() {
        let mut folded = Folded::default();
        let mut entities = vec![
            entity("lone root", "", ""),
            entity("first", "p", r#","start_time":1"#),
            entity("bad", "p", FAULT),
            entity("late", "p", r#","start_time":3"#),
            entity("call", "p", r#","start_time":9,"namespace":"remote""#),
            entity("only", "call", ""),
            entity("waits", "unseen", r#","start_time":7"#),
            entity("waits too", "unseen", r#","start_time":8"#),
            entity("p", "root", ""),
            entity("root", "", ""),
        ];
        folded.make_room(&mut entities, 7, 100);
        assert_eq!(
            ids(&entities),
            ["lone root", "first", "bad", "call", "only", "p", "root"]
        );
        let mut counts: Vec<_> = folded
            .counts()
            .map(|(id, count)| (id, count.entities))
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [("p", 1), ("unseen", 2)]);
        folded.make_room(&mut entities, 0, 3);
        assert_eq!(ids(&entities), ["lone root", "p", "root"], "roots go last");
        let total = folded.total();
        assert_eq!(total.entities, 7);
        assert_eq!(total.marks().collect::<Vec<_>>(), [(Mark::Fault, 1)]);
        folded.make_room(&mut entities, 0, 0);
        assert_eq!(ids(&entities), [""; 0]);
        let counts: Vec<_> = folded
            .counts()
            .map(|(id, count)| (id, count.entities))
            .collect();
        assert!(
            counts.contains(&("", 8)) && folded.total().entities == 10,
            "{counts:?}"
        );
    }

    #[test]
    fn a_chain_stays_as_it_is_until_it_is_too_long() {
        let chain = || -> Vec<Entity> {
            let link = |n: i32| entity(&n.to_string(), &(n - 1).to_string(), "");
            (0..1_000).map(link).collect()
        };
        let mut entities = chain();
        let mut folded = Folded::default();
        folded.make_room(&mut entities, 500, 1_000);
        assert_eq!((entities.len(), folded.total().entities), (1_000, 0));
        folded.make_room(&mut entities, 500, 900);
        assert_eq!(entities.last().unwrap().id, "899");
        assert_eq!(folded.counts().collect::<Vec<_>>()[0].0, "899");
        assert_eq!(folded.total().entities, 100);
    }

    #[test]
    fn circles_are_folded_at_last() {
        let mut entities = vec![
            entity("a", "b", ""),
            entity("b", "a", ""),
            entity("c", "c", ""),
        ];
        let mut folded = Folded::default();
        folded.make_room(&mut entities, 0, 3);
        assert_eq!(entities.len(), 3);
        folded.make_room(&mut entities, 0, 0);
        assert_eq!((entities.len(), folded.total().entities), (0, 3));
        assert_eq!(folded.take(&entity("a", "b", FAULT)), Some(true));
    }

    #[test]
    fn copies_and_children_of_the_folded_are_taken() {
        let mut entities = vec![entity("a", "p", ""), entity("b", "p", "")];
        let mut folded = Folded::default();
        folded.make_room(&mut entities, 1, 1);
        let gone = if entities[0].id == "a" { "b" } else { "a" };
        assert_eq!(folded.take(&entity(gone, "p", "")), Some(false), "a copy");
        assert_eq!(
            folded.take(&entity(gone, "p", FAULT)),
            Some(true),
            "its end"
        );
        assert_eq!(folded.take(&entity(gone, "p", FAULT)), Some(false));
        assert_eq!(folded.take(&entity("child", gone, "")), Some(true));
        assert!(folded.holds("child"));
        let (place, count) = folded.counts().next().unwrap();
        assert_eq!((place, count.entities), ("p", 2));
        assert_eq!(count.marks().next(), Some((Mark::Fault, 1)));
        assert!(folded.take(&entity("new", "p", "")).is_none());
    }
}
