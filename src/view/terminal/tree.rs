//! The order of the rows: parents before their children, siblings by start.

use std::collections::HashMap;
use std::mem::replace;

use super::entity::Entity;
use super::fold::Count;
use super::trace::Trace;
use crate::view::model::SpanKind;

/// A row of the waterfall.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) content: Content<'a>,
    /// One for each level of the tree down to the row: whether a sibling follows on that level.
    /// Empty for a root.
    pub(super) levels: Vec<bool>,
    pub(super) has_children: bool,
    /// Which service did this, counted from 0 by the first appearance of its name.
    pub(super) service: usize,
}

/// What a row shows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Entity(&'a Entity),
    /// Siblings that are only counted.
    Folded(Count),
}

impl<'a> Row<'a> {
    /// The entity it shows, if it shows one.
    pub(super) fn entity(&self) -> Option<&'a Entity> {
        match self.content {
            Content::Entity(entity) => Some(entity),
            Content::Folded(_) => None,
        }
    }
}

/// All entities, each once. One whose parent is not there is a root; so is one of each circle of
/// parents. What is folded comes after its siblings.
pub(super) fn rows(trace: &Trace) -> Vec<Row<'_>> {
    let entities = &trace.entities;
    let ids: HashMap<_, _> = entities.iter().map(|e| e.id.as_str()).zip(0..).collect();
    let mut order: Vec<usize> = (0..entities.len()).collect();
    // Entities without a start come last, in order of arrival.
    order.sort_unstable_by(|a, b| {
        let start = |at: &usize| entities[*at].start.unwrap_or(f64::INFINITY);
        start(a).total_cmp(&start(b)).then(a.cmp(b))
    });
    let mut roots = Vec::new();
    let mut children = vec![Vec::new(); entities.len()];
    for at in &order {
        let parent = entities[*at].parent.as_deref();
        match parent.and_then(|id| ids.get(id)) {
            Some(parent) => children[*parent].push(*at),
            None => roots.push(*at),
        }
    }
    let mut folded = vec![None; entities.len()];
    let mut folded_roots = Count::default();
    for (parent, count) in trace.folded.counts() {
        match ids.get(parent) {
            Some(parent) => folded[*parent] = Some(count),
            None => folded_roots.add(count),
        }
    }

    let mut rows = Vec::with_capacity(entities.len());
    let mut services: Vec<&str> = Vec::new();
    let mut seen = vec![false; entities.len()];
    // Entities that are not below a root are in a cycle or below one. They follow after the roots.
    for root in roots.into_iter().chain(order) {
        let mut stack = vec![(NextRow::Entity(root), Vec::new(), 0)];
        while let Some((next, levels, mut service)) = stack.pop() {
            let at = match next {
                NextRow::Entity(at) => at,
                NextRow::Folded(count) => {
                    rows.push(folded_row(count, levels, service));
                    continue;
                }
            };
            if replace(&mut seen[at], true) {
                continue;
            }
            let entity = &entities[at];
            if entity.kind == SpanKind::Segment {
                let name = entity.name.as_str();
                service = services.iter().position(|s| *s == name).unwrap_or_else(|| {
                    services.push(name);
                    services.len() - 1
                });
            }
            let below = children[at].iter().map(|child| NextRow::Entity(*child));
            let below = below.chain(folded[at].map(NextRow::Folded));
            let first = stack.len();
            stack.extend(below.map(|next| (next, [&levels[..], &[true]].concat(), service)));
            let has_children = stack.len() > first;
            stack[first..].reverse();
            if let Some(last) = stack.get_mut(first)
                && let Some(follows) = last.1.last_mut()
            {
                *follows = false;
            }
            rows.push(Row {
                content: Content::Entity(entity),
                levels,
                has_children,
                service,
            });
        }
    }
    if folded_roots.entities > 0 {
        rows.push(folded_row(folded_roots, Vec::new(), 0));
    }
    rows
}

/// A row that is still to be made.
enum NextRow {
    Entity(usize),
    Folded(Count),
}

fn folded_row<'a>(count: Count, levels: Vec<bool>, service: usize) -> Row<'a> {
    Row {
        content: Content::Folded(count),
        levels,
        has_children: false,
        service,
    }
}
