//! The order of the rows: parents before their children, siblings by start.

use std::mem::replace;

use super::entity::{Entity, Kind};

/// A row of the waterfall.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) entity: &'a Entity,
    /// One for each level of the tree down to the row: whether a sibling follows on that level.
    /// Empty for a root.
    pub(crate) levels: Vec<bool>,
    pub(crate) has_children: bool,
    /// Which service did this, counted from 0 by the first appearance of its name.
    pub(crate) service: usize,
}

/// All entities, each once. One whose parent is not there is a root; so is one of each circle of
/// parents.
pub(crate) fn rows(entities: &[Entity]) -> Vec<Row<'_>> {
    let mut ids: Vec<_> = entities
        .iter()
        .zip(0..)
        .map(|(e, at)| (&e.id, at))
        .collect();
    ids.sort_unstable();
    let find = |id: &String| {
        let found = ids.binary_search_by(|(other, _)| (*other).cmp(id)).ok()?;
        Some(ids[found].1)
    };
    let mut order: Vec<usize> = (0..entities.len()).collect();
    // Stable: what has no start comes last, in order of arrival.
    order.sort_by(|a, b| {
        let start = |at: &usize| entities[*at].start.unwrap_or(f64::INFINITY);
        start(a).total_cmp(&start(b))
    });
    let mut roots = Vec::new();
    let mut children = vec![Vec::new(); entities.len()];
    for at in &order {
        match entities[*at].parent.as_ref().and_then(find) {
            Some(parent) => children[parent].push(*at),
            None => roots.push(*at),
        }
    }

    let mut rows = Vec::with_capacity(entities.len());
    let mut services: Vec<&str> = Vec::new();
    let mut seen = vec![false; entities.len()];
    // What hangs on no root is in a circle or below one; after the roots it is what is not seen.
    for root in roots.into_iter().chain(order) {
        let mut stack = vec![(root, Vec::new(), 0)];
        while let Some((at, levels, mut service)) = stack.pop() {
            if replace(&mut seen[at], true) {
                continue;
            }
            let entity = &entities[at];
            if entity.kind == Kind::Segment {
                let name = entity.name.as_str();
                service = services.iter().position(|s| *s == name).unwrap_or_else(|| {
                    services.push(name);
                    services.len() - 1
                });
            }
            for (follows, child) in children[at].iter().rev().enumerate() {
                let mut levels = levels.clone();
                levels.push(follows > 0);
                stack.push((*child, levels, service));
            }
            rows.push(Row {
                entity,
                levels,
                has_children: !children[at].is_empty(),
                service,
            });
        }
    }
    rows
}
